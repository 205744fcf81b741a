/** `stele up` as a process, in a folder of its own, with everything that is needed to look at it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { readRunning } from '../../server/cli/running.ts';
import { LogClient } from '../../server/client/client.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { type Verdict, verifyReceipt } from '../../server/verify/verify.ts';

const STELE = fileURLToPath(new URL('../../server/cli/stele.js', import.meta.url));

export interface Running {
  readonly child: ChildProcess;
  readonly server: string;
  readonly proxy: string;
  /** With the token that may read, and the one that may read content. */
  readonly log: LogClient;
  readonly contents: LogClient;
  output(): string;
  /** Waits for the record, and checks its receipt offline. */
  verified(recordId: string): Promise<Verdict>;
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

export async function startStele(cwd: string, upstream: string): Promise<Running> {
  const data = join(cwd, 'data');
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, [STELE, 'up', '--data', 'data'], {
    cwd,
    env: {
      PATH,
      HOME,
      STELE_STATE: join(cwd, 'state'),
      STELE_LISTEN: '127.0.0.1:0',
      STELE_PROXY_LISTEN: '127.0.0.1:0',
      STELE_UPSTREAM_OPENAI: `${upstream}/v1`,
      STELE_UPSTREAM_ANTHROPIC: `${upstream}/v1`,
      STELE_VERIFY_THREADS: '1',
    },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  await new Promise<void>((resolve, reject) => {
    const look = (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('Ctrl-C stops it.')) resolve();
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('exit', (code) => reject(new Error(`ended with ${code}: ${output}`)));
  });
  const running = readRunning(data);
  if (running?.proxy === undefined) throw new Error('it runs and says nowhere where');
  const { server, proxy } = running;
  const base = `${server}/logs/default`;
  const clientOf = (role: string) =>
    new LogClient({ base, token: readFileSync(join(data, 'tokens', role), 'utf8').trim() });
  const log = clientOf('read');
  return {
    child,
    server,
    proxy,
    log,
    contents: clientOf('content'),
    output: () => output,
    async verified(recordId) {
      const receipt = await log.receipt(recordId, { wait: 20 });
      const trust = parseTrust(utf8(readFileSync(join(data, 'trust.json'), 'utf8')));
      return verifyReceipt(receipt, trust);
    },
    async stop(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await once(child, 'exit');
      // A killed process leaves the file that says where it was.
      if (signal === 'SIGKILL') rmSync(join(data, 'running.json'), { force: true });
    },
  };
}

/** All bytes of all files below a folder. */
export function everyByte(folder: string): Buffer {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Buffer.concat(
    files.filter((f) => f.isFile()).map((f) => readFileSync(join(f.parentPath, f.name))),
  );
}
