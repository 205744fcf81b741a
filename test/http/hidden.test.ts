/** A private log that cannot be opened: not even its trouble tells that it exists. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { World } from './world.ts';

let world: World;
let elsewhere: string;
let own: string;

beforeAll(async () => {
  world = await World.start();
  await world.log('hidden', 'private');
  await world.log('team-a', 'proofs');
  elsewhere = world.token({ roles: ['read', 'admin'], logs: ['team-a'] });
  own = world.token({ roles: ['read'], logs: ['hidden'] });
  const broken = async () => {
    throw new SteleError('storage', '/data/logs/hidden.db: disk I/O error');
  };
  world.logs.lease = broken;
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
