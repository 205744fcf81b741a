/**
 * Do the commands work that the pages show?
 *
 * A page's blocks marked `run` are one shell script, run in a folder of its own beside a server that was
 * started as the README says, against a provider that replays. `file=NAME` writes the block there first;
 * `text output` is what the block before it prints, where `…` stands for any text or any lines. The only
 * thing that is changed are the two addresses: a test takes ports that are free.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Replay, startReplay } from '../replay/replay.ts';
import { type Block, blocksOf, page, ROOT } from './pages.ts';

const SHOWN = [
  'README.md',
  'docs/compromised-key.md',
  'docs/gateways.md',
  'docs/operating.md',
  'docs/sdk.md',
  'docs/trust.md',
];
const LOG = 'http://127.0.0.1:8080';
const PROXY = 'http://127.0.0.1:8081';
const START_MS = 60_000;
/** A page is some twenty programs one after the other, each with a Node of its own. */
const SHOWN_MS = 240_000;
const MARK = '--- end of block';

const curlMissing = (() => {
  try {
    execFileSync('curl', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return true;
  }
})();

let provider: Replay;
beforeAll(async () => {
  const body = readFileSync(join(ROOT, 'test/replay/fixtures/openai-chat.json'));
  provider = await startReplay({ exchanges: [{ path: '/v1/chat/completions', body }] });
});
afterAll(() => provider.close());

/** A folder that looks like a checkout, with a data folder of its own. */
function makeCheckout(): { readonly folder: string; readonly env: NodeJS.ProcessEnv } {
  const folder = mkdtempSync(join(tmpdir(), 'stele-shown-'));
  for (const name of ['package.json', 'server', 'node_modules', 'migrations']) {
    symlinkSync(join(ROOT, name), join(folder, name));
  }
  const { HOME = folder, PATH = '' } = process.env;
  return {
    folder,
    env: {
      HOME,
      // Commands are for a supported Node: the one that runs this.
      PATH: [join(ROOT, 'node_modules/.bin'), dirname(process.execPath), PATH].join(delimiter),
      OPENAI_API_KEY: 'sk-planted-secret',
      STELE_STATE: join(folder, 'state'),
      STELE_LISTEN: '127.0.0.1:0',
      STELE_PROXY_LISTEN: '127.0.0.1:0',
      STELE_UPSTREAM_OPENAI: `${provider.url}/v1`,
      STELE_LOG_LEVEL: 'warn',
    },
  };
}

/** Runs the README's own line for starting, but for the installing. Resolves once it serves. */
async function start(folder: string, env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const block = blocksOf(page('README.md')).find(({ info }) => info === 'sh run=start');
  const [install, line = ''] = block?.text.trim().split(' && ') ?? [];
  expect(install).toBe('npm ci');
  const server = spawn('/bin/sh', ['-c', line], { cwd: folder, env, detached: true });
  let said = '';
  const running = new Promise<void>((resolve, reject) => {
    // Read to the end: a server whose output nobody takes would stand still.
    for (const stream of [server.stdout, server.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes('Ctrl-C stops it.')) resolve();
      });
    }
    server.once('exit', (code) => reject(new Error(`it ended with ${code}: ${said}`)));
  });
  const timer = setTimeout(() => interrupt(server), START_MS);
  await running.finally(() => clearTimeout(timer));
  return server;
}

/** What Ctrl-C does: the whole group is told. */
function interrupt(server: ChildProcess): void {
  if (server.pid !== undefined && server.exitCode === null) process.kill(-server.pid, 'SIGINT');
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = once(server, 'exit');
  interrupt(server);
  await ended;
}

interface Run {
  readonly block: Block;
  readonly output: string;
}

/** The blocks as one script, so that a variable lives on; each with what it printed. */
async function runAll(
  blocks: readonly Block[],
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<{ readonly runs: readonly Run[]; readonly errors: string }> {
  const { server, proxy } = JSON.parse(
    readFileSync(join(options.cwd, 'stele-data/running.json'), 'utf8'),
  ) as { server: string; proxy: string };
  const here = (text: string) => text.replaceAll(LOG, server).replaceAll(PROXY, proxy);
  for (const { info, text } of blocks) {
    const file = /\bfile=([a-z.]+)$/.exec(info)?.[1];
    if (file !== undefined) writeFileSync(join(options.cwd, file), here(text));
  }
  const runs = blocks.filter(({ info }) => info === 'sh run');
  const script = runs.map(({ text }) => `${here(text)}echo '${MARK}'\n`).join('');
  const { out, err } = await shell(`set -eu\n${script}`, options);
  const outputs = out.split(`${MARK}\n`);
  expect(outputs.length - 1, `blocks that ran to their end; ${err}\n${out}`).toBe(runs.length);
  return { runs: runs.map((block, i) => ({ block, output: outputs[i] ?? '' })), errors: err };
}

function shell(
  script: string,
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<{ readonly out: string; readonly err: string }> {
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-c', script], options, (_, out, err) => resolve({ out, err }));
  });
}

/** Whether the lines are as shown; `…` is any text inside a line, and any lines where it stands alone. */
function patternOf(shown: string): RegExp {
  const lines = shown
    .trimEnd()
    .split('\n')
    .map((line) => (line === '…' ? '[\\s\\S]*?' : `${escaped(line)}\\n`));
  return new RegExp(`^\\s*${lines.join('')}\\s*$`);
}

function escaped(line: string): string {
  return line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '.*');
}

describe.skipIf(curlMissing)('commands (skipped where curl is missing)', () => {
  test.each(SHOWN)('of %s work as shown', { timeout: SHOWN_MS }, async (path) => {
    const blocks = blocksOf(page(path));
    expect(blocks.filter(({ info }) => info === 'sh run').length).toBeGreaterThan(1);
    const { folder, env } = makeCheckout();
    let server: ChildProcess | undefined;
    try {
      server = await start(folder, env);
      const { runs } = await runAll(blocks, { cwd: folder, env });
      for (const [i, block] of blocks.entries()) {
        if (block.info !== 'text output') continue;
        const before = runs.find((run) => run.block === blocks[i - 1]);
        expect(before, `${path}:${block.line}: output without its commands`).toBeDefined();
        expect(before?.output, `${path}:${block.line}`).toMatch(patternOf(block.text));
      }
    } finally {
      if (server !== undefined) await stop(server);
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('what is shown', () => {
  test('is marked with words that this test knows', () => {
    for (const path of SHOWN) {
      for (const { info, line } of blocksOf(page(path))) {
        expect(info, `${path}:${line}`).toMatch(
          /^(sh( run(=start)?| script=[a-z-]+)?|text( output)?|(js|ts|python|go|sh|yaml) file=[a-z.]+|ts|ini|yaml|nginx|json)$/,
        );
      }
    }
  });

  test('as a script of test/scripts is that script, with nothing left out of it that is shown', () => {
    const blocks = SHOWN.flatMap((path) => blocksOf(page(path)));
    const walks = blocks.filter(({ info }) => info.startsWith('sh script='));
    expect(walks.length).toBeGreaterThan(0);
    for (const { info, text } of walks) {
      const script = page(`test/scripts/${info.slice('sh script='.length)}.txt`);
      const typed = script.split('\n').filter((line) => line.startsWith('$ '));
      let at = 0;
      for (const line of text.trimEnd().split('\n')) {
        const next = typed.findIndex((one, i) => i >= at && one.replace(/ &$/, '') === `$ ${line}`);
        expect(next, `${info}: ${line}`).toBeGreaterThanOrEqual(at);
        at = next + 1;
      }
    }
  });

  test('can fail', () => {
    expect('HOLDS: entry 2\n').toMatch(patternOf('HOLDS: entry …'));
    expect('DOES NOT HOLD: entry 2\n').not.toMatch(patternOf('HOLDS: entry …'));
    expect('a\nb\nc\n').toMatch(patternOf('a\n…\nc'));
    expect('a\nb\n').not.toMatch(patternOf('a\n…\nc'));
  });
});
