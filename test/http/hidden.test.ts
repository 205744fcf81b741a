/** A private log that cannot be opened: not even its trouble tells that it exists. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { World } from './world.ts';

let world: World;
/** The logs that were opened for somebody. */
let leased: string[];
let elsewhere: string;
let own: string;

beforeAll(async () => {
  world = await World.start();
  await world.log('hidden', 'private');
  await world.log('team-a', 'proofs');
  await world.log('works', 'proofs');
  elsewhere = world.token({ roles: ['read', 'admin'], logs: ['team-a'] });
  own = world.token({ roles: ['read'], logs: ['hidden'] });
  leased = [];
  const lease = world.logs.lease.bind(world.logs);
  world.logs.lease = async (name) => {
    leased.push(name);
    if (name === 'works') return lease(name);
    throw new SteleError('storage', '/data/logs/hidden.db: disk I/O error');
  };
});

afterAll(() => world.stop());

describe.each(['hidden', 'hidden.access'])('a private log that cannot be opened, %s', (name) => {
  test.each(['/checkpoint', '/v1/tree-head', '/v1/entries/0', '/v1/content/x/y'])(
    'does not exist for those who may not see it: %s',
    async (path) => {
      for (const token of [undefined, elsewhere]) {
        const ask = token === undefined ? {} : { token };
        const answer = await world.get(`/logs/${name}${path}`, ask);
        expect(answer.status).toBe(404);
        expect(answer.json()).toMatchObject({
          code: 'not_found',
          detail: `log: there is no log "${name}" here`,
        });
        expect(answer.headers['retry-after']).toBeUndefined();
        // Not even touched: what is not done takes no time that could be told.
        expect(leased).not.toContain(name);
      }
    },
  );

  test('is named as broken to those who may', async () => {
    const answer = await world.get(`/logs/${name}/checkpoint`, { token: own });
    expect(answer).toMatchObject({ status: 503 });
  });
});

test('a log whose proofs are public says that it is broken', async () => {
  expect((await world.get('/logs/team-a/checkpoint')).status).toBe(503);
});

test('a log that cannot be opened keeps nobody from the keys of the others', async () => {
  const known = await world.logs.use('works', (log) => log.verifierKeys());
  const keys = Object.values(known).map(({ text }) => text);
  const asked = async (token?: string) =>
    (await world.get('/v1/keys', { token })).json<{
      keys: { vkey: string }[];
      unavailable: string[];
    }>();
  const stranger = await asked();
  expect(stranger.keys.map(({ vkey }) => vkey)).toEqual(keys);
  expect(stranger.unavailable).toEqual(['team-a']);
  expect((await asked(own)).unavailable).toEqual(['hidden', 'team-a']);
});
