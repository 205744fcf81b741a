/** Administration: logs, gateways and tokens, each change visible at once and within the token's reach. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex } from '../../server/core/units.ts';
import { Gateway, newSigner, World } from './world.ts';

let world: World;
let admin: string;
let teamAdmin: string;

beforeAll(async () => {
  world = await World.start();
  admin = world.token({ roles: ['admin'], logs: ['*'], holder: 'root' });
  teamAdmin = world.token({ roles: ['admin'], logs: ['team'], holder: 'team lead' });
});

afterAll(() => world.stop());

const send = (method: string, path: string, value: unknown, token = admin) =>
  world.ask(method, path, {
    token,
    type: 'application/json',
    body: typeof value === 'string' ? value : JSON.stringify(value),
  });
const post = (path: string, value: unknown, token = admin) => send('POST', path, value, token);
const get = (path: string, token = admin) => world.get(path, { token });
const remove = (path: string, token = admin) => world.ask('DELETE', path, { token });

describe('logs', () => {
  test('are created with their genesis, listed and shown', async () => {
    const rules = { continuity: 'require' };
    const answer = await post('/v1/admin/logs', { name: 'team', visibility: 'private', rules });
    expect(answer.status).toBe(201);
    const log = (await world.logs.lease('team')).log;
    const { identity, anchor, sth } = log.verifierKeys();
    expect(answer.json()).toMatchObject({
      name: 'team',
      origin: 'log.example/logs/team',
      visibility: 'private',
      size: 1,
      rules: { continuity: 'require', payload_types: ['application/vnd.stele.record.v1+json'] },
      keys: [
        { purpose: 'identity', vkey: identity.text },
        { purpose: 'anchor', vkey: anchor.text },
        { purpose: 'sth', vkey: sth?.text },
      ],
    });
    expect((await get('/v1/admin/logs/team')).json()).toEqual(answer.json());
    const genesis = parseRecord(decodeEntry(await log.entry(leafIndex(0))).payload);
    expect(genesis).toMatchObject({ kind: 'genesis', genesis: { rules } });
    expect((await get('/v1/admin/logs')).json()).toMatchObject({
      logs: [
        { name: '_admin', visibility: 'private' },
        { name: 'team', visibility: 'private' },
      ],
    });
  });

  test('that exist are not created again', async () => {
    expect((await post('/v1/admin/logs', { name: 'twice' })).status).toBe(201);
    expect((await post('/v1/admin/logs', { name: 'twice' })).json()).toMatchObject({
      code: 'conflict',
      status: 409,
    });
  });

  test('follow one that has ended, and their genesis names its last head', async () => {
    const follow = (name: string, previous: string, token = admin) =>
      post('/v1/admin/logs', { name, previous }, token);
    expect((await post('/v1/admin/logs', { name: 'ends' })).status).toBe(201);
    expect((await follow('next', 'ends')).json()).toMatchObject({ code: 'conflict' });
    await world.logs.freeze('ends');
    const { size, root } = (await get('/v1/admin/logs/ends')).json<{
      size: number;
      root: string;
    }>();
    const answer = await follow('next', 'ends');
    expect(answer.status).toBe(201);
    expect(answer.json()).toMatchObject({
      previous: { origin: 'log.example/logs/ends', size, root },
    });
    expect((await follow('more', 'nothing')).status).toBe(404);
    expect((await follow('team-2', 'A')).json()).toMatchObject({ code: 'malformed' });
    // What a token is not bound to it can neither name nor learn of.
    expect((await follow('team', 'ends', teamAdmin)).status).toBe(403);
    expect((await follow('team', 'nothing', teamAdmin)).status).toBe(403);
  });

  test('asked for many times at once are created once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => post('/v1/admin/logs', { name: 'at-once' })),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([201, 409, 409, 409, 409, 409]);
    const log = (await world.logs.lease('at-once')).log;
    expect(log.head().size).toBe(1);
  });

  test('beyond the token’s reach are neither created, listed nor shown', async () => {
    expect((await post('/v1/admin/logs', { name: 'other' }, teamAdmin)).status).toBe(403);
    expect((await get('/v1/admin/logs/twice', teamAdmin)).status).toBe(404);
    const { logs } = (await get('/v1/admin/logs', teamAdmin)).json<{ logs: { name: string }[] }>();
    expect(logs.map(({ name }) => name)).toEqual(['team']);
    await expect(world.logs.lease('other')).rejects.toMatchObject({ code: 'not_found' });
  });

  test.each([
    ['no name', {}],
    ['a bad name', { name: 'A' }],
    ['a reserved name', { name: '_log' }],
    ['an access log', { name: 'a.access' }],
    ['a long name', { name: 'a'.repeat(64) }],
    ['a path', { name: '../a' }],
    ['an unknown member', { name: 'new', owner: 'x' }],
    ['an unknown visibility', { name: 'new', visibility: 'secret' }],
    ['an unknown rule', { name: 'new', rules: { continuity: 'require', speed: 1 } }],
    ['a list where an object is needed', { name: 'new', rules: [] }],
    ['a bad rule', { name: 'new', rules: { continuity: 'maybe' } }],
    ['no payload types', { name: 'new', rules: { payload_types: [] } }],
    ['the same payload type twice', { name: 'new', rules: { payload_types: ['a/b', 'a/b'] } }],
    ['a list', []],
    ['null', 'null'],
    ['a string', '"new"'],
    ['nothing', ''],
    ['half of it', '{"name":"new"'],
    ['two of it', '{"name":"new"}{}'],
    ['duplicate names', '{"name":"new","name":"newer"}'],
    ['a prototype', '{"name":"new","__proto__":{}}'],
    ['noise', '\u0000'],
  ])('are not made from %s', async (_, value) => {
    const answer = await post('/v1/admin/logs', value);
    expect(answer.json()).toMatchObject({ code: 'malformed', status: 400 });
    await expect(world.logs.lease('new')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('a body that is too large, or of another type, is refused', async () => {
    const large = await post('/v1/admin/logs', `{"name":"${'x'.repeat(65_536)}"}`);
    expect([large.status, large.json().code]).toEqual([413, 'too_large']);
    const form = await world.ask('POST', '/v1/admin/logs', {
      token: admin,
      type: 'application/x-www-form-urlencoded',
      body: 'name=new',
    });
    expect(form.status).toBe(415);
  });
});

describe('gateways', () => {
  const path = '/v1/admin/logs/team/gateways';

  test.each(['pem', 'pem of another system', 'der', 'jwk'])(
    'are registered by the %s of their key',
    async (form) => {
      const signer = newSigner('ed25519');
      const { spki, keyid } = signer.publicKey;
      const object = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
      const pem = String(object.export({ format: 'pem', type: 'spki' }));
      const base64 = Buffer.from(spki).toString('base64');
      const key = {
        pem,
        'pem of another system': pem.replaceAll('\n', '\r\n'),
        der: base64,
        jwk: JSON.stringify(object.export({ format: 'jwk' })),
      }[form];
      const answer = await post(path, await world.registration('team', signer, { key }));
      expect(answer.status).toBe(201);
      const { index } = answer.json<{ index: number }>();
      expect(answer.json()).toEqual({ keyid, alg: 'ed25519', index });
      const { gateways } = (await get(path)).json<{ gateways: Record<string, unknown>[] }>();
      expect(gateways.find((g) => g.keyid === keyid)).toEqual({
        keyid,
        alg: 'ed25519',
        spki: base64,
        purpose: 'gateway',
        registered: index,
      });
    },
  );

  test('submit once registered, and no more once revoked', async () => {
    const log = (await world.logs.lease('team')).log;
    const gateway = new Gateway(log, () => world.now);
    const { keyid } = gateway.signer.publicKey;
    const submit = world.token({ roles: ['submit'], logs: ['team'] });
    const entry = async () =>
      world.ask('POST', '/logs/team/v1/entries', {
        token: submit,
        type: 'application/protobuf',
        body: await gateway.entry({ source: 's' }),
      });
    expect((await entry()).status).toBe(403);
    const body = await world.registration('team', gateway.signer);
    expect((await post(path, body)).status).toBe(201);
    const other = new Gateway(log, () => world.now, gateway.signer);
    const first = await world.ask('POST', '/logs/team/v1/entries', {
      token: submit,
      type: 'application/protobuf',
      body: await other.entry({ source: 't' }),
    });
    expect(first.status).toBe(201);
    const revoked = await remove(`${path}/${keyid}`);
    expect(revoked.json()).toEqual({ keyid, index: log.head().size - 1 });
    expect((await entry()).json()).toMatchObject({ code: 'forbidden' });
    // Again is no second entry.
    expect((await remove(`${path}/${keyid}`)).json()).toEqual(revoked.json());
    const { keys } = (await get('/v1/admin/keys')).json<{ keys: Record<string, unknown>[] }>();
    expect(keys.find((k) => k.keyid === keyid)).toMatchObject({
      log: 'team',
      revoked: log.head().size - 1,
    });
  });

  test('with a source own it from then on', async () => {
    const signer = newSigner('ed25519');
    const answer = await post(
      path,
      await world.registration('team', signer, { source: 'proxy-9' }),
    );
    expect(answer.status).toBe(201);
    const log = (await world.logs.lease('team')).log;
    const stranger = new Gateway(log, () => world.now);
    await log.registerGateway(stranger.signer.publicKey);
    const submit = (gateway: Gateway) => async () =>
      world.ask('POST', '/logs/team/v1/entries', {
        token: world.token({ roles: ['submit'], logs: ['team'] }),
        type: 'application/protobuf',
        body: await gateway.entry({ source: 'proxy-9' }),
      });
    expect((await submit(stranger)()).json()).toMatchObject({ code: 'forbidden' });
    const owner = new Gateway(log, () => world.now, signer);
    expect((await submit(owner)()).status).toBe(201);
  });

  const key = Buffer.from(newSigner('ed25519').publicKey.spki).toString('base64');
  const privatePem = String(
    generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }),
  );
  const privateJwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  test.each<[string, object]>([
    ['no key', {}],
    ['the members of before', { alg: 'ed25519', spki: key }],
    ['a key that is no text', { key: 7 }],
    ['half a key', { key: key.slice(0, 20) }],
    ['bad base64', { key: `${key.slice(0, -1)}!` }],
    ['a small-order key', { key: `MCowBQYDK2VwAyEA${'A'.repeat(43)}=` }],
    ['a private key', { key: privatePem }],
    ['a private JWK', { key: JSON.stringify(privateJwk) }],
    ['an unknown member', { key, admin: true }],
    ['an empty source', { key, source: '' }],
    ['a source with a space', { key, source: 'a b' }],
    ['a beginning that is no time', { key, not_before: '2027' }],
    ['an end on a day that there is not', { key, not_after: '2027-13-01T00:00:00Z' }],
    ['a proof that is no base64', { key, challenge: 'AAAA', proof: 'no base64' }],
  ])('are not registered from %s', async (_, value) => {
    const log = (await world.logs.lease('team')).log;
    const before = log.head();
    const answer = await post(path, value);
    expect(answer.json()).toMatchObject({ code: 'malformed', status: 400 });
    expect(answer.text).not.toContain(privatePem.split('\n')[1]);
    expect(answer.text).not.toContain(String(privateJwk.d));
    expect(log.head()).toBe(before);
  });

  test('are not given a source of the log itself', async () => {
    const log = (await world.logs.lease('team')).log;
    const before = log.head();
    for (const source of ['_log', '_x']) {
      const answer = await post(path, { key, source });
      expect([answer.status, answer.json().code]).toEqual([403, 'forbidden']);
    }
    expect(log.head()).toBe(before);
  });

  test('that are unknown are not revoked', async () => {
    expect((await remove(`${path}/${'0'.repeat(64)}`)).status).toBe(404);
    expect((await remove(`${path}/abc`)).status).toBe(400);
    expect((await remove(`/v1/admin/logs/none/gateways/${'0'.repeat(64)}`)).status).toBe(404);
  });
});

describe('tokens', () => {
  interface Made {
    readonly token: string;
    readonly id: string;
  }
  const good = { holder: 'ci', roles: ['read'], logs: ['team'] };
  const make = async (value: unknown, by = admin) =>
    (await post('/v1/admin/tokens', value, by)).json<Made>();

  test('are shown once, listed without their secret, and good at once', async () => {
    const expires = '2027-03-01T00:00:00Z';
    const answer = await post('/v1/admin/tokens', { ...good, expires });
    expect(answer.status).toBe(201);
    expect(answer.headers['cache-control']).toBe('private, no-store');
    const { token, ...rest } = answer.json<Made>();
    expect(rest).toMatchObject({ ...good, expires: '2027-03-01T00:00:00.000000Z' });
    expect((await get('/logs/team/v1/entries/0', token)).status).toBe(200);
    const list = await get('/v1/admin/tokens');
    expect(list.json<{ tokens: unknown[] }>().tokens).toContainEqual(rest);
    expect(list.text).not.toContain(token.slice(-43));
    expect(list.text).not.toContain('hash');
  });

  test('open nothing from their revocation on', async () => {
    const { token, id } = await make(good);
    expect((await get('/logs/team/v1/entries/0', token)).status).toBe(200);
    expect((await remove(`/v1/admin/tokens/${id}`)).json()).toMatchObject({ id });
    expect((await get('/logs/team/v1/entries/0', token)).status).toBe(401);
    expect((await get('/logs/team/checkpoint', token)).status).toBe(401);
    const again = await remove(`/v1/admin/tokens/${id}`);
    expect(again.status).toBe(200);
  });

  test('of an admin of some logs reach no further than those', async () => {
    const team = await make(good, teamAdmin);
    expect((await get('/logs/team/v1/entries/0', team.token)).status).toBe(200);
    for (const logs of [['*'], ['twice'], ['team', 'twice']]) {
      const answer = await post('/v1/admin/tokens', { ...good, logs }, teamAdmin);
      expect([answer.status, answer.json().code]).toEqual([403, 'forbidden']);
    }
    const { id } = await make({ ...good, logs: ['*'] });
    expect((await remove(`/v1/admin/tokens/${id}`, teamAdmin)).status).toBe(403);
    const { tokens } = (await get('/v1/admin/tokens', teamAdmin)).json<{
      tokens: { logs: string[] }[];
    }>();
    expect(tokens.every(({ logs }) => logs.join() === 'team')).toBe(true);
  });

  test('of an admin open neither entries nor content', async () => {
    const { token } = await make({ ...good, roles: ['admin'], logs: ['*'] });
    expect((await get('/logs/team/v1/entries/0', token)).status).toBe(403);
    expect((await get('/logs/team/checkpoint', token)).status).toBe(200);
  });

  test.each([
    ['no holder', { roles: ['read'], logs: ['team'] }],
    ['an empty holder', { ...good, holder: '' }],
    ['a holder with a line end', { ...good, holder: 'a\nb' }],
    ['no role', { ...good, roles: [] }],
    ['an unknown role', { ...good, roles: ['root'] }],
    ['no log', { ...good, logs: [] }],
    ['a bad log', { ...good, logs: ['A*'] }],
    ['a past expiry', { ...good, expires: '2020-01-01T00:00:00Z' }],
    ['an expiry that is no time', { ...good, expires: 'tomorrow' }],
    ['an expiry that never comes', { ...good, expires: '2027-13-45T00:00:00Z' }],
    ['an unknown member', { ...good, secret: 'x' }],
  ])('are not made from %s', async (_, value) => {
    const answer = await post('/v1/admin/tokens', value);
    expect(answer.json()).toMatchObject({ code: 'malformed', status: 400 });
    expect(answer.text).toMatch(/body|expires/);
  });

  test('that are unknown are not revoked', async () => {
    for (const id of ['0'.repeat(16), 'x', 'ABCDEF0123456789']) {
      expect((await remove(`/v1/admin/tokens/${id}`)).status).toBe(404);
    }
  });
});
