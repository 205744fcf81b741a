/**
 * The composition root: names the concrete parts and puts them together, and holds no logic.
 *
 * `server/cli/stele.js` calls `main` once it has seen that this Node is new enough.
 */
import { readFileSync } from 'node:fs';
import { runCli, type Starters } from './cli/program.ts';
import type { World } from './cli/terminal.ts';
import type { Program } from './main/start.ts';
import { useNativePrimitives } from './native.ts';

export async function main(): Promise<void> {
  useNativePrimitives();
  const program = { version: readVersion(), fatal: endAtOnce };
  process.exitCode = await runCli(process.argv.slice(2), thisProcess(), startersOf(program));
}

/**
 * What the commands need, from the parts that know how. Those are read in when they are asked for: a
 * command that only verifies a file does not wait for a server.
 */
export function startersOf(program: Program): Starters {
  const start = () => import('./main/start.ts');
  const offline = () => import('./main/offline.ts');
  return {
    version: program.version,
    up: async (options, world) => (await start()).run(program, options, world, { proxy: true }),
    serve: async (options, world) => (await start()).run(program, options, world, { proxy: false }),
    proxy: async (options, world) =>
      (await import('./main/proxy.ts')).runProxy(program, options, world),
    signer: async (options, world) =>
      (await import('./main/signer.ts')).runSigner(program, options, world),
    administer: async (data, world) => (await offline()).administer(program, data, world),
    restore: async (data, world) => (await offline()).restore(program, data, world),
    memories: async (config) => (await import('./main/memories.ts')).memoriesOf(config, program),
    checkLogs: async (config, request) =>
      (await import('./main/checks/command.ts')).checkLogs(config, request),
  };
}

export function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** A failed fsync: nobody goes on from here (P9). */
function endAtOnce(error: Error): void {
  process.stderr.write(`stele: ${error.message}\n`);
  process.exit(2);
}

function thisProcess(): World {
  // Whoever reads our output may stop reading, as `head` does: then there is nobody left to tell.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    throw error;
  });
  let interrupted: AbortSignal | undefined;
  return {
    env: process.env,
    cwd: process.cwd(),
    isTerminal: process.stderr.isTTY === true,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    stdin: () => process.stdin,
    now: () => Date.now(),
    get interrupted() {
      interrupted ??= untilInterrupted();
      return interrupted;
    },
  };
}

/**
 * One Ctrl-C may arrive twice: from the terminal, and from an npm that passes on what it gets. A signal
 * this soon after the first is the same one.
 */
const SAME_SIGNAL_MS = 500;

/** Aborted at the first Ctrl-C or SIGTERM; the second ends the process. */
function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  let firstMs = Number.POSITIVE_INFINITY;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      const now = performance.now();
      if (now - firstMs > SAME_SIGNAL_MS) process.exit(signal === 'SIGINT' ? 130 : 143);
      firstMs = Math.min(firstMs, now);
      controller.abort();
    });
  }
  return controller.signal;
}
