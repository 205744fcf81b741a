/** The keys of logs are changed by acts: told in `_admin`, by two persons where that is the rule, or by a schedule. */
import { describe, expect, test } from 'vitest';
import { Journal } from '../../server/admin/journal.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseNote } from '../../server/core/note.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex } from '../../server/core/units.ts';
import { KeyChanges } from '../../server/log/key-changes.ts';
import type { Log } from '../../server/log/log.ts';
import { ADMIN_LOG } from '../../server/log/names.ts';
import { rotating } from '../../server/main/rotating.ts';
import { World } from '../http/world.ts';

const DAY_MS = 86_400_000;

async function start(twoPersons = false): Promise<World> {
  const world = await World.start({ settings: { twoPersons } });
  await world.logs.create({ name: 'team' });
  return world;
}

const post = (world: World, path: string, token: string, value?: object) =>
  world.ask('POST', path, {
    token,
    ...(value === undefined ? {} : { body: JSON.stringify(value), type: 'application/json' }),
  });

/** How many lines the newest head has. */
const lines = (log: Log) =>
  parseNote(new TextEncoder().encode(log.head().checkpoint)).signatures.length;

const liveKeys = (world: World, name: string, purpose = 'identity') =>
  world.logs.use(name, (log) =>
    log.ownKeys().filter((key) => key.purpose === purpose && key.ended === undefined),
  );

/** What the entries of `_admin` say of keys, the oldest first. */
async function journal(world: World): Promise<object[]> {
  const { log, release } = await world.logs.lease(ADMIN_LOG);
  const said: object[] = [];
  for (let i = 0; i < log.head().size; i++) {
    const record = parseRecord(decodeEntry(await log.entry(leafIndex(i))).payload);
    if (record.kind === 'admin' && record.admin.act.startsWith('key.')) said.push(record.admin);
  }
  release();
  return said;
}

test('a change is told before it is done and after it', async () => {
  const world = await start();
  const keys = world.token({ holder: 'alice', roles: ['keys'] });
  const wanted = { purpose: 'identity', compromised: true };
  expect((await post(world, '/v1/admin/logs/team.access/keys/rotate', keys, wanted)).status).toBe(
    201,
  );
  expect(await journal(world)).toMatchObject([
    { act: 'key.rotate', holder: 'alice', log: 'team.access', state: 'begun', details: wanted },
    { act: 'key.rotate', holder: 'alice', log: 'team.access', state: 'done' },
  ]);
  await world.stop();
});

describe('the log of administration itself', () => {
  test('has keys that are changed, too, and goes on', async () => {
    const world = await start();
    const keys = world.token({ holder: 'alice', roles: ['keys', 'admin'] });
    // It begins with the first act.
    await post(world, '/v1/admin/logs', keys, { name: 'other' });
    const path = `/v1/admin/logs/${ADMIN_LOG}/keys`;
    expect((await post(world, `${path}/rotate`, keys, { purpose: 'identity' })).status).toBe(201);
    expect(await world.logs.use(ADMIN_LOG, lines)).toBe(2);
    const retired = await post(world, `${path}/retire`, keys, {
      purpose: 'identity',
      compromised: true,
    });
    expect(retired.status).toBe(200);
    expect(await world.logs.use(ADMIN_LOG, lines)).toBe(1);
    expect(await journal(world)).toHaveLength(4);
    await world.stop();
  });

  test('is for those who are bound to it', async () => {
    const world = await start();
    const admin = world.token({ roles: ['admin'] });
    await post(world, '/v1/admin/logs', admin, { name: 'other' });
    const keys = world.token({ roles: ['keys'], logs: ['team'] });
    const path = `/v1/admin/logs/${ADMIN_LOG}/keys/rotate`;
    expect((await post(world, path, keys, { purpose: 'identity' })).json()).toMatchObject({
      code: 'not_found',
    });
    await world.stop();
  });
});

test('with two persons nobody changes a key alone, not even one that others may have', async () => {
  const world = await start(true);
  const alice = world.token({ holder: 'alice', roles: ['keys'] });
  const bob = world.token({ holder: 'bob', roles: ['approve'], logs: ['team'] });
  for (const name of ['team', 'team.access']) {
    const path = `/v1/admin/logs/${name}/keys`;
    const wanted = { purpose: 'identity', compromised: true };
    const asked = await post(world, `${path}/rotate`, alice, wanted);
    expect(asked.status).toBe(202);
    const { request } = asked.json<{ request: { id: string } }>();
    expect(request).toMatchObject({ act: 'key.rotate', log: name, details: wanted });
    expect(await liveKeys(world, name)).toMatchObject([{ announced: 0 }]);
    const done = await post(world, `/v1/admin/requests/${request.id}/approve`, bob);
    expect(done.json()).toMatchObject({ purpose: 'identity', others: [{ registered: 0 }] });
    const [key] = await liveKeys(world, name);
    expect(key?.announced).toBeGreaterThan(0);
  }
  await world.stop();
});

test('what a schedule ends and what a crash left is told as well', async () => {
  const world = await start();
  const changes = new KeyChanges({
    logs: world.logs,
    instance: world.instance,
    clock: { now: () => world.now },
    identityOverlapMs: 30 * DAY_MS,
    changed: () => {},
  });
  await changes.rotate('team', { purpose: 'identity', finish: true });
  world.now += 30 * DAY_MS;
  const problems: unknown[] = [];
  const logger = { error: (...said: unknown[]) => problems.push(said) };
  const stop = await rotating(
    { anchor: undefined, gateways: undefined, overlapMs: 30 * DAY_MS },
    {
      logs: world.logs,
      changes,
      ownGateways: world.ownGateways,
      journal: new Journal(world.logs, () => {}),
    },
    { logger: logger as never, fatal: (error) => problems.push(error) },
  );
  await stop();
  expect(problems).toEqual([]);
  expect(await liveKeys(world, 'team')).toHaveLength(1);
  expect(await journal(world)).toMatchObject([
    { act: 'key.retire', holder: 'schedule', log: 'team', state: 'begun' },
    { act: 'key.retire', holder: 'schedule', log: 'team', state: 'done' },
  ]);
  await world.stop();
});
