/**
 * A gateway that dies: at each step of its state and of its exchanges, before it and after it, also while its
 * log rolls over. The next one, from what was on disk, leaves every statement on record once.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { parseState } from '../../../server/client/gateway/state.ts';
import { StateFile } from '../../../server/client/gateway/state-file.ts';
import { formatTrust } from '../../../server/core/trust.ts';
import { uuidv7 } from '../../../server/core/uuid.ts';
import { createKeyFile } from '../../../server/keys/file.ts';
import { useNativePrimitives } from '../../../server/native.ts';
import { temporaryFolder } from '../../temporary.ts';
import { start } from '../served.ts';
import {
  annotation,
  checkChain,
  MemoryState,
  makeGateway,
  recordsIn,
  type Served,
  to,
} from './make.ts';

beforeAll(() => useNativePrimitives());

/** A life for each step, or a process for each kill: on a busy machine that takes a while. */
const LONG_MS = 240_000;

const CHILD = fileURLToPath(new URL('child.ts', import.meta.url));

const never = new Promise<never>(() => {});
let made = 0;
const newId = () => uuidv7(1_800_000_000_000 + made++, new Uint8Array(10));

/** Steps one after the other; from step `at` on nothing happens any more. */
class Mortal {
  readonly steps: string[] = [];
  readonly died = Promise.withResolvers<void>();
  readonly #at: number;
  readonly #how: 'before' | 'after';
  #isDead = false;

  constructor(at: number, how: 'before' | 'after') {
    this.#at = at;
    this.#how = how;
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#isDead) return never;
    const isLast = this.steps.push(name) - 1 === this.#at;
    if (isLast && this.#how === 'before') return this.#die();
    const result = await work();
    return isLast ? this.#die() : result;
  }

  #die(): Promise<never> {
    this.#isDead = true;
    this.died.resolve();
    return never;
  }
}

/** A life of a gateway on a log of its own that rolls over in the middle. Says which ids were answered for. */
async function live(served: Served, name: string, state: MemoryState, mortal: Mortal) {
  const { instance } = served;
  const dying = new MemoryState();
  dying.write = (value) => mortal.step('write', () => state.write(value));
  const fetching: typeof fetch = (input, init) =>
    init?.method === 'POST'
      ? mortal.step(String(input).split('/').at(-1)!, () => fetch(input, init))
      : fetch(input, init);
  const begun = makeGateway(
    {
      ...to(served),
      trust: undefined,
      log: name,
      state: dying,
      fetch: fetching,
    },
    { dies: true },
  );
  const given: string[] = [];
  const answered: string[] = [];
  const gateway = await Promise.race([begun, mortal.died.promise]);
  if (gateway === undefined) {
    await instance.logs.roll(name, `${name}-next`);
    return { given, answered };
  }
  const give = async (count: number) => {
    const ids = Array.from({ length: count }, newId);
    given.push(...ids);
    const all = ids.map(async (id) => {
      await gateway.gateway.submit(annotation(id));
      answered.push(id);
    });
    await Promise.race([Promise.all(all), mortal.died.promise]);
  };
  await give(1);
  await give(4);
  await instance.logs.roll(name, `${name}-next`);
  await give(3);
  await give(1);
  return { given, answered };
}

test('at any step, leaves each statement on record once, in one chain', {
  timeout: LONG_MS,
}, async () => {
  const served = await start();
  const { instance } = served;
  let steps = 0;
  let resent = 0;
  for (const how of ['before', 'after'] as const) {
    // The first does not die, and says how many steps there are.
    for (let at = -1; at < steps; at++) {
      const name = `${how}-${at + 1}`;
      await instance.logs.create({ name });
      await instance.logs.use(name, (log) => log.registerGateway(served.gateway.publicKey));
      const mortal = new Mortal(at, how);
      const state = new MemoryState();
      const { given, answered } = await live(served, name, state, mortal);
      steps = Math.max(steps, mortal.steps.length);
      const where = `${how} step ${at}, a ${mortal.steps[at]}`;

      const next = await makeGateway({
        ...to(served),
        trust: undefined,
        log: name,
        state: state.copy(),
      });
      for (const id of given.filter((one) => !answered.includes(one))) {
        resent++;
        // A crash left it unknown to its caller, who gives it again under the id that it had.
        await next.gateway.submit(annotation(id));
      }
      await next.gateway.close();
      const records = await recordsIn(instance.logs, name, `${name}-next`);
      const ids = records.filter(({ kind }) => kind !== 'gap').map(({ record_id }) => record_id);
      expect(ids.toSorted(), where).toEqual(given.toSorted());
      const sources = Map.groupBy(records, ({ source }) => source.id);
      for (const own of sources.values()) checkChain(own);
      // Only where nothing at all was on disk does another source begin.
      expect(sources.size, where).toBeLessThanOrEqual(at === 0 ? 2 : 1);
    }
  }
  // A write and a request for each round, and once more of each at the roll.
  expect(steps).toBeGreaterThan(10);
  expect(resent).toBeGreaterThan(20);
});

test('kill -9 in the middle of a window, again and again, loses nothing and forks nothing', {
  timeout: LONG_MS,
}, async () => {
  const served = await start();
  const { instance, log, server, token, trust } = served;
  const folder = temporaryFolder();
  const signer = await createKeyFile(join(folder, 'gateway.key'), 'ed25519');
  await log.registerGateway(signer.publicKey);
  writeFileSync(join(folder, 'trust.json'), formatTrust(trust));
  const path = join(folder, 'gateway.state');
  const answered = new Set<string>();
  const names = ['notes'];
  let windows = 0;
  for (let kill = 0; kill < 10 && (kill < 4 || windows === 0); kill++) {
    const child = fork(CHILD, [server.url, token, folder]);
    onTestFinished(() => void child.kill('SIGKILL'));
    const failed = Promise.withResolvers<never>();
    let count = 0;
    child.on('message', (said: { origin?: string; index?: number; error?: string }) => {
      if (said.error !== undefined) failed.reject(new Error(said.error));
      if (said.origin === undefined) return;
      answered.add(`${said.origin} ${said.index}`);
      count++;
    });
    const enough = expect.poll(() => count, { timeout: 30_000 }).toBeGreaterThan(100 + 40 * kill);
    if (kill === 1) {
      await instance.logs.roll('notes', 'next');
      names.push('next');
    }
    await Promise.race([enough, failed.promise]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    if (parseState(new Uint8Array(readFileSync(path))).pending.length > 1) windows++;
  }
  expect(windows).toBeGreaterThan(0);
  const last = await makeGateway({ ...to(served), signer, state: StateFile.open(path) });
  await last.gateway.submit(annotation());
  await last.gateway.close();
  const records = await recordsIn(instance.logs, ...names);
  checkChain(records);
  expect(new Set(records.map(({ source }) => source.id)).size).toBe(1);
  expect(records.filter(({ kind }) => kind === 'gap')).toEqual([]);
  const places = new Set<string>();
  for (const name of names) {
    const { origin, size } = await instance.logs.use(name, (one) => ({
      origin: one.origin,
      size: one.head().size,
    }));
    for (let at = 0; at < size; at++) places.add(`${origin} ${at}`);
  }
  for (const place of answered) expect(places).toContain(place);
  expect(records.length).toBeGreaterThanOrEqual(answered.size);
});
