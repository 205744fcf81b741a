/** `/readyz` tells the truth: what is wrong, to whom, and whether an entry could be taken (P9). */
import { afterEach, describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { NAMED_MAX, type Readiness, readinessOf } from '../../server/http/readiness.ts';
import type { Log } from '../../server/log/log.ts';
import type { TokenRow } from '../../server/storage/instance.ts';
import { World } from './world.ts';

const NOW = Date.UTC(2026, 0, 1);

/** A log as far as it is looked at. */
interface Fake {
  readonly name: string;
  readonly refusal?: SteleError;
  readonly stopped?: SteleError;
  readonly end?: object;
  readonly unpublishedMs?: number;
  readonly headMs?: number;
  readonly knew?: number;
  readonly isSignerAway?: boolean;
  readonly isFollowed?: boolean;
}

const split = new SteleError('split_view', 'log secret signs nothing');
const full = new SteleError('pushback', 'the queue of log secret is full', { retryAfterS: 1 });
const noDisk = new SteleError('storage', 'no room for log secret', { retryAfterS: 30 });

function logOf(fake: Fake): Log {
  const { name, stopped, end, unpublishedMs = 0, headMs = NOW, knew = 1 } = fake;
  const refusal = fake.refusal ?? stopped;
  return {
    name,
    origin: name,
    stopped,
    end,
    unpublishedMs,
    isSignerAway: fake.isSignerAway ?? false,
    memories: [{ kind: 'high-water', place: 'elsewhere', answered: knew === 1 }],
    head: () => ({ timeMs: headMs }),
    checkRoom: () => {
      if (refusal !== undefined) throw refusal;
    },
  } as unknown as Log;
}

interface Server {
  readonly open: readonly Fake[];
  /** Logs that take entries and are not open. */
  readonly closed?: readonly string[];
  readonly space?: SteleError;
  readonly isSteady?: boolean;
  readonly isStopping?: boolean;
}

function ask(
  { open, closed = [], space, isSteady = true, isStopping = false }: Server,
  token?: TokenRow,
) {
  const stopping = new AbortController();
  if (isStopping) stopping.abort();
  const active = open.filter(({ end, name }) => end === undefined && !name.endsWith('.access'));
  const parts = {
    stopping: stopping.signal,
    clock: { now: () => NOW },
    clockWatch: { isSteady: () => isSteady },
    instance: {
      followed: () => new Set(open.flatMap(({ name, isFollowed }) => (isFollowed ? [name] : []))),
    },
    logs: {
      opened: async () => open.map(logOf),
      list: () =>
        [...active.map(({ name }) => name), ...closed].map((name) => ({ name, state: 'active' })),
      checkSpace: () => {
        if (space !== undefined) throw space;
      },
    },
  };
  return readinessOf(parts as unknown as Parameters<typeof readinessOf>[0], token);
}

const tokenFor = (...logs: string[]) => ({ id: 't', logs }) as unknown as TokenRow;
const a = { name: 'a' };

/** What fails, by name. */
const failed = ({ checks }: Readiness) =>
  Object.entries(checks).flatMap(([check, holds]) => (holds ? [] : [check]));

describe('a server that takes entries', () => {
  test.each<[string, Server, Readiness['status'], readonly string[]]>([
    ['has no log open', { open: [] }, 'ready', []],
    ['has all in order', { open: [a, { name: 'a.access' }] }, 'ready', []],
    ['has a log that ended', { open: [a, { name: 'b', end: {}, refusal: split }] }, 'ready', []],
    ['has only logs that ended', { open: [{ name: 'b', end: {}, refusal: split }] }, 'ready', []],
    [
      'has a log that stopped and that another follows',
      { open: [a, { name: 'b', stopped: split, isFollowed: true }] },
      'ready',
      [],
    ],
    ['has a log that stopped', { open: [a, { name: 'b', stopped: split }] }, 'degraded', ['logs']],
    [
      'has a log that stopped, and others that are not open',
      { open: [{ name: 'b', stopped: split }], closed: ['a'] },
      'degraded',
      ['logs'],
    ],
    ['has a full queue', { open: [a, { name: 'b', refusal: full }] }, 'degraded', ['queue']],
    ['does not publish', { open: [{ name: 'a', unpublishedMs: 60_001 }] }, 'degraded', ['heads']],
    ['is about to publish', { open: [{ name: 'a', unpublishedMs: 60_000 }] }, 'ready', []],
    ['is behind a head', { open: [{ name: 'a', headMs: NOW + 60_001 }] }, 'degraded', ['clock']],
    ['is hardly behind a head', { open: [{ name: 'a', headMs: NOW + 60_000 }] }, 'ready', []],
    ['has a clock that was set', { open: [a], isSteady: false }, 'degraded', ['clock']],
    ['is not remembered', { open: [{ name: 'a', knew: 0 }] }, 'degraded', ['memories']],
    [
      'has an access log that stopped',
      { open: [a, { name: 'a.access', stopped: split }] },
      'degraded',
      ['logs'],
    ],
  ])('%s', async (_what, server, status, failing) => {
    const readiness = await ask(server);
    expect(readiness.status).toBe(status);
    expect(failed(readiness)).toEqual(failing);
    expect(JSON.stringify(readiness)).not.toContain('"b"');
  });

  test('counts what is open', async () => {
    const open = [
      a,
      { name: 'b', stopped: split },
      { name: 'c', end: {}, refusal: split },
      { name: 'd', knew: 0 },
    ];
    expect(await ask({ open })).toMatchObject({
      logs: { open: 4, accepting: 2, stopped: 1, ended: 1 },
      guard: {
        asked: 4,
        answered: 3,
        memories: [{ kind: 'high-water', asked: 4, answered: 3 }],
      },
    });
  });
});

describe('a server that takes none', () => {
  test.each<[string, Server, SteleError['code'], number | undefined]>([
    ['stops', { open: [a], isStopping: true }, 'pushback', 5],
    ['has no room', { open: [a], space: noDisk }, 'storage', 30],
    ['has no room and no log open', { open: [], space: noDisk }, 'storage', 30],
    ['has no keys', { open: [{ name: 'a', isSignerAway: true }] }, 'storage', 5],
    [
      'has only logs that stopped',
      { open: [{ name: 'a', stopped: split }] },
      'split_view',
      undefined,
    ],
    [
      'has only logs that stopped, and its own',
      { open: [{ name: 'a', stopped: split }, { name: '_admin' }] },
      'split_view',
      undefined,
    ],
    [
      'has full queues only',
      {
        open: [
          { name: 'a', refusal: full },
          { name: 'b', refusal: full },
        ],
      },
      'pushback',
      1,
    ],
    [
      'has a full queue and a log that stopped',
      {
        open: [
          { name: 'a', refusal: full },
          { name: 'b', stopped: split },
        ],
      },
      'split_view',
      undefined,
    ],
  ])('%s', async (_what, server, code, retryAfterS) => {
    const refusal = await ask(server).catch((error: unknown) => error);
    expect(refusal).toMatchObject({
      status: 503,
      code,
      members: { readiness: { status: 'unready' } },
    });
    expect((refusal as SteleError).retryAfterS).toBe(retryAfterS);
    expect((refusal as SteleError).message).not.toContain('secret');
  });
});

describe('names', () => {
  const open = [
    a,
    { name: 'b', stopped: split },
    { name: 'b.access', knew: 0 },
    { name: 'c', knew: 0 },
  ];

  test('are for whoever has a token for the log', async () => {
    expect((await ask({ open })).failing).toBeUndefined();
    expect((await ask({ open }, tokenFor('a'))).failing).toEqual([]);
    expect((await ask({ open }, tokenFor('b'))).failing).toEqual([
      { log: 'b', checks: ['logs'] },
      { log: 'b.access', checks: ['memories'] },
    ]);
    expect((await ask({ open }, tokenFor('*'))).failing).toHaveLength(3);
  });

  test('are bounded', async () => {
    const many = Array.from({ length: NAMED_MAX + 5 }, (_, i) => ({ name: `l${i}`, knew: 0 }));
    expect((await ask({ open: many }, tokenFor('*'))).failing).toHaveLength(NAMED_MAX);
  });
});

describe('over HTTP', () => {
  let world: World;
  afterEach(() => world.stop());

  test('a log that stopped is told of, and named to a token that may know of it', async () => {
    world = await World.start();
    await world.log('a');
    const { log } = await world.log('b', 'private');
    expect((await world.get('/readyz')).json()).toMatchObject({ status: 'ready' });
    log.stop(split);
    const stranger = await world.get('/readyz');
    expect(stranger.status).toBe(200);
    expect(stranger.json()).toMatchObject({
      status: 'degraded',
      checks: { logs: false, disk: true },
      logs: { stopped: 1 },
    });
    expect(stranger.json()).not.toHaveProperty('failing');
    const bound = world.token({ roles: ['submit'], logs: ['b'] });
    expect((await world.get('/readyz', { token: bound })).json()).toMatchObject({
      failing: [{ log: 'b', checks: ['logs'] }],
    });
    const other = world.token({ roles: ['submit'], logs: ['a'] });
    expect((await world.get('/readyz', { token: other })).json()).toMatchObject({ failing: [] });
  });

  test('a log that ended is as it should be, and when no other is left the server is ready', async () => {
    world = await World.start();
    await world.log('a');
    await world.logs.freeze('a');
    expect((await world.get('/readyz')).json()).toMatchObject({
      status: 'ready',
      logs: { ended: 1, stopped: 0 },
    });
  });

  test('a server whose only log stopped is not ready, and says in what state it is', async () => {
    world = await World.start();
    const { log } = await world.log('a');
    log.stop(split);
    const answer = await world.get('/readyz');
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({
      code: 'split_view',
      readiness: { status: 'unready', checks: { logs: false }, logs: { accepting: 0 } },
    });
    expect(answer.text).not.toContain('secret');
  });
});
