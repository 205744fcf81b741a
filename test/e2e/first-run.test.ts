/** The first run, as a process: from an empty folder, killed at every step, stopped, killed, started. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { readRunning } from '../../server/cli/running.ts';
import { LogClient } from '../../server/client/client.ts';
import { loadConfig } from '../../server/config.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { decodeEntry, gatewayKeyid } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { leafIndex } from '../../server/core/units.ts';
import { openInstance } from '../../server/main/instance.ts';
import { setUp } from '../../server/main/setup.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { startUpstream } from '../cli/upstream.ts';
import { temporaryFolder } from '../temporary.ts';

const STELE = fileURLToPath(new URL('../../server/cli/stele.js', import.meta.url));
const CHILD = fileURLToPath(new URL('./set-up-child.ts', import.meta.url));
const KILLER = new URL('./kill-at.ts', import.meta.url).href;

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** A process, what it printed, and how it ended. */
function start(args: readonly string[], env: Record<string, string>, cwd: string) {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, args, { cwd, env: { PATH, HOME, ...env } });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  const lookers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      output += data.toString('utf8');
      for (const look of lookers) look();
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
  /** Resolves once `text` was printed; rejects if the process ends without it. */
  const printed = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (output.includes(text)) resolve();
      };
      lookers.add(look);
      look();
      ended.then(
        () => reject(new Error(`ended without ${JSON.stringify(text)}: ${output}`)),
        reject,
      );
    });
  return { child, ended, printed };
}

async function startUp(cwd: string, upstream: string) {
  const env = {
    STELE_STATE: join(cwd, 'state'),
    STELE_LISTEN: '127.0.0.1:0',
    STELE_PROXY_LISTEN: '127.0.0.1:0',
    STELE_UPSTREAM_OPENAI: upstream,
    STELE_LOG_LEVEL: 'warn',
    STELE_VERIFY_THREADS: '1',
  };
  const up = start([STELE, 'up', '--data', 'data'], env, cwd);
  await up.printed('Ctrl-C stops it.');
  const running = readRunning(join(cwd, 'data'));
  if (running?.proxy === undefined) throw new Error('it runs and says nowhere where');
  const token = readFileSync(join(cwd, 'data', 'tokens', 'read'), 'utf8').trim();
  const log = new LogClient({ base: `${running.server}/logs/default`, token });
  return { ...up, server: running.server, proxy: running.proxy, log };
}

/** One call through the proxy; the id of its record. */
async function call(proxy: string): Promise<string> {
  const answer = await fetch(`${proxy}/openai/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"model":"gpt-x","messages":[{"role":"user","content":"Say hello."}]}',
  });
  expect(answer.status).toBe(200);
  await answer.text();
  return answer.headers.get('x-stele-record-id') ?? '';
}

async function exit(child: ChildProcess, ended: Promise<Ended>, signal: NodeJS.Signals) {
  child.kill(signal);
  return ended;
}

test('an empty folder becomes a running log, and what is in it outlives a kill', async () => {
  const upstream = await startUpstream();
  onTestFinished(() => upstream.close());
  const cwd = temporaryFolder();
  const first = await startUp(cwd, upstream.url);

  // Genesis and the proxy's key were there before it listened.
  expect((await first.log.head()).size).toBe(2);
  const [genesis, key] = [await first.log.entry(leafIndex(0)), await first.log.entry(leafIndex(1))];
  expect(parseRecord(decodeEntry(genesis).payload).kind).toBe('genesis');
  const trust = parseTrust(utf8(readFileSync(join(cwd, 'data', 'trust.json'), 'utf8')));
  const registered = parseRecord(decodeEntry(key).payload);
  const pinned = trust.logs[0]?.gateways[0]?.keyid;
  expect(registered.kind === 'key' && registered.key.keyid).toBe(pinned);

  const id = await call(first.proxy);
  const receipt = await first.log.receipt(id, { wait: 20 });
  const verdict = verifyReceipt(receipt, trust);
  expect(verdict.holds, JSON.stringify(verdict.steps)).toBe(true);
  expect(gatewayKeyid(decodeEntry(await first.log.entry(leafIndex(2))))).toBe(pinned);

  for (const name of [
    'keys',
    'tokens',
    ...readdirSync(join(cwd, 'data', 'tokens')).map((t) => `tokens/${t}`),
  ]) {
    expect(statSync(join(cwd, 'data', name)).mode & 0o077, name).toBe(0);
  }

  // A second process on the same folder is kept out.
  const second = start([STELE, 'up', '--data', 'data'], { STELE_LISTEN: '127.0.0.1:0' }, cwd);
  const refused = await second.ended;
  expect(refused.code).toBe(1);
  expect(refused.output).toContain('another process is using the data folder');

  expect(await exit(first.child, first.ended, 'SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
  const again = await startUp(cwd, upstream.url);
  expect(verifyReceipt(await again.log.receipt(id), trust).holds).toBe(true);
  await call(again.proxy);

  // Twice at once, as where npm passes on what the terminal sent already.
  again.child.kill('SIGTERM');
  const stopped = await exit(again.child, again.ended, 'SIGTERM');
  expect(stopped).toMatchObject({ code: 0, signal: null });
  expect(stopped.output).toMatch(/Stopping: .*\nStopped: everything is on disk\.\n$/);
  expect(existsSync(join(cwd, 'data', 'running.json'))).toBe(false);
});

test('the first interrupt waits for what is under way, the second does not', async () => {
  const cwd = temporaryFolder();
  const up = await startUp(cwd, 'http://127.0.0.1:9/v1');
  // A submission whose body never ends keeps the server busy.
  const { hostname, port } = new URL(up.server);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  const token = readFileSync(join(cwd, 'data', 'tokens', 'submit'), 'utf8').trim();
  socket.write(
    `POST /logs/default/v1/entries HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n` +
      'content-type: application/protobuf\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n',
  );
  await new Promise((resolve) => socket.once('data', resolve));
  up.child.kill('SIGINT');
  await up.printed('Stopping');
  // Sent until it ends: what comes right after the first is taken for an echo of it.
  const again = setInterval(() => up.child.kill('SIGINT'), 100);
  onTestFinished(() => clearInterval(again));
  expect(await up.ended).toMatchObject({ code: 130 });
});

test('a first run that was killed at any step is completed by the next', async () => {
  const whole = temporaryFolder();
  // Every child would compile the same files again.
  const cache = temporaryFolder();
  const counter = (dir: string) => join(dir, 'steps');
  const setUpIn = (dir: string, at: number) =>
    start(
      ['--import', KILLER, CHILD],
      { DIR: dir, KILL_AT: String(at), KILL_COUNTER: counter(dir), NODE_COMPILE_CACHE: cache },
      dir,
    ).ended;
  expect(await setUpIn(whole, 0)).toMatchObject({ code: 0 });
  const steps = statSync(counter(whole)).size;
  expect(steps).toBeGreaterThan(40);

  const from = (begin: number, stride: number) =>
    Array.from({ length: Math.ceil((steps - begin + 1) / stride) }, (_, i) => begin + i * stride);
  const lanes = [1, 2].map(async (begin) => {
    for (const at of from(begin, 2)) {
      const dir = temporaryFolder();
      const ended = await setUpIn(dir, at);
      // How threads take turns decides how many steps there are: the last ones are not always taken.
      const isOver = at > steps - 10 && statSync(counter(dir)).size < at;
      expect(ended, `killed before step ${at}`).toMatchObject(
        isOver ? { code: 0 } : { signal: 'SIGKILL' },
      );
      await setUpHere(dir);
      checkComplete(dir, at);
    }
  });
  await Promise.all(lanes);
}, 600_000);

/** The start after a kill, in this process. */
async function setUpHere(dir: string): Promise<void> {
  const config = loadConfig({
    env: { STELE_STATE: `${dir}/state` },
    cwd: dir,
    data: `${dir}/data`,
  });
  const fatal = (error: Error) => {
    throw error;
  };
  const options = { config, version: '0.0.0-test', logger: pino({ level: 'silent' }), fatal };
  const instance = await openInstance(options);
  try {
    await setUp(instance, config, { proxy: true });
    const log = (await instance.logs.lease('default')).log;
    expect(log.head().size).toBe(2);
    expect(log.stopped).toBeUndefined();
    expect((await instance.logs.lease('default.access')).log.head().size).toBe(2);
    expect(instance.store.listTokens()).toHaveLength(4);
  } finally {
    await instance.close();
  }
}

function checkComplete(dir: string, at: number): void {
  const data = join(dir, 'data');
  const where = `after a kill before step ${at}`;
  expect(readdirSync(join(data, 'tokens')).sort(), where).toEqual([
    'admin',
    'content',
    'read',
    'submit',
  ]);
  const trust = parseTrust(utf8(readFileSync(join(data, 'trust.json'), 'utf8')));
  expect(trust.logs[0]?.keys, where).toHaveLength(3);
  expect(trust.logs[0]?.gateways, where).toHaveLength(1);
  expect(readFileSync(join(data, 'stele.yaml'), 'utf8'), where).toContain('limits:');
}
