/** A log that has ended says where it goes on, with what proves it; and whoever might write here may go on there. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseBase64 } from '../../server/core/bytes.ts';
import type { Trust } from '../../server/core/trust.ts';
import { openSeam } from '../../server/verify/seam.ts';
import { World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.start();
  await world.log('a');
});
afterEach(() => world.stop());

const next = (token?: string) => world.get('/logs/a/v1/next', { token });

describe('a log that ended', () => {
  test('names the next one, and proves it to whoever trusts its own keys', async () => {
    const trust: Trust = await world.logs.use('a', (log) => ({
      logs: [
        {
          origin: log.origin,
          keys: Object.values(log.verifierKeys()).map((key) => ({ key })),
          gateways: [],
        },
      ],
    }));
    expect((await next()).json()).toMatchObject({ code: 'not_yet', status: 404 });
    await world.logs.roll('a', 'b');
    const answer = await next();
    expect(answer.headers['cache-control']).toBe('no-store');
    const { name, origin, last, genesis } = answer.json<Record<string, string>>();
    expect({ name, origin }).toEqual({ name: 'b', origin: 'log.example/logs/b' });
    const seam = openSeam(parseBase64(last!, 'last'), parseBase64(genesis!, 'genesis'), trust);
    expect(seam.next.origin).toBe(origin);
    // Also while the next one grows, and ends in its turn.
    await world.logs.roll('b', 'c');
    const later = (await next()).json<Record<string, string>>();
    expect(later.name).toBe('b');
    openSeam(parseBase64(later.last!, 'last'), parseBase64(later.genesis!, 'genesis'), trust);
  });

  test('for good says that none follows', async () => {
    await world.logs.freeze('a', { reason: 'done' });
    const { status, ...answer } = await next();
    expect(status).toBe(404);
    expect(answer.json()).toMatchObject({
      code: 'not_found',
      detail: expect.stringContaining('for good'),
    });
  });

  test('as one that is elsewhere says so', async () => {
    await world.logs.freeze('a', { next: 'elsewhere.example/logs/b' });
    expect((await next()).json()).toMatchObject({
      code: 'not_found',
      detail: expect.stringContaining('elsewhere.example/logs/b, which is not here'),
    });
  });

  test('as one that is still being made says to come again', async () => {
    // What a roll leaves that was cut short between the end and the beginning.
    world.instance.insertLog({
      name: 'b',
      origin: 'log.example/logs/b',
      visibility: 'proofs',
      rules: '{}',
      state: 'creating',
      createdMs: world.now,
      previous: '{"origin":"log.example/logs/a"}',
    });
    await world.logs.freeze('a', { next: 'log.example/logs/b' });
    expect((await next()).json()).toMatchObject({ code: 'not_yet', retry_after: 1 });
  });

  test('as one that was made private shows it to nobody else', async () => {
    await world.logs.roll('a', 'b');
    await world.logs.changeVisibility('b', 'private');
    const stranger = await next();
    expect(stranger.status).toBe(404);
    expect(stranger.text).not.toContain('genesis');
    expect((await next(world.token({ logs: ['other'] }))).status).toBe(404);
    expect((await next(world.token({ roles: ['submit'], logs: ['a'] }))).status).toBe(200);
  });
});

describe('a token for a log', () => {
  const head = async (name: string, token: string) =>
    (await world.get(`/logs/${name}/v1/entries/0`, { token })).status;

  test('is one for those that follow it, and is listed as it was made', async () => {
    const before = world.token({ logs: ['a'] });
    expect(await head('a', before)).toBe(200);
    await world.logs.roll('a', 'b');
    await world.logs.roll('b', 'c');
    await world.log('d');
    const after = world.token({ logs: ['a'], holder: 'made later' });
    const later = world.token({ logs: ['b'] });
    for (const token of [before, after]) {
      expect(await Promise.all(['a', 'b', 'c', 'd'].map((name) => head(name, token)))).toEqual([
        200, 200, 200, 403,
      ]);
    }
    expect(await Promise.all(['a', 'b', 'c'].map((name) => head(name, later)))).toEqual([
      403, 200, 200,
    ]);
    const admin = world.token({ roles: ['admin'] });
    const listed = await world.get('/v1/admin/tokens', { token: admin });
    const { tokens } = listed.json<{ tokens: { holder: string; logs: string[] }[] }>();
    expect(tokens.find(({ holder }) => holder === 'made later')?.logs).toEqual(['a']);
  });

  test('is none for a log that was only given its last head', async () => {
    const token = world.token({ logs: ['a'] });
    const { origin, size, root } = await world.logs.use('a', (log) => ({
      origin: log.origin,
      ...log.head(),
    }));
    const previous = { origin, size, root: Buffer.from(root).toString('base64') };
    await world.logs.create({ name: 'b', previous });
    expect(await head('b', token)).toBe(403);
  });

  test('that was revoked opens none of them', async () => {
    const token = world.token({ logs: ['a'] });
    await world.logs.roll('a', 'b');
    expect(await head('b', token)).toBe(200);
    const admin = world.token({ roles: ['admin'] });
    const id = token.split('_')[1];
    await world.ask('DELETE', `/v1/admin/tokens/${id}`, { token: admin });
    expect(await head('b', token)).toBe(401);
  });
});
