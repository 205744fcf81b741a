/** Acts of administration leave entries in `_admin`, before they are done and after. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex } from '../../server/core/units.ts';
import { ADMIN_LOG } from '../../server/log/names.ts';
import { newSigner, World } from '../http/world.ts';

let world: World;
let isFull: boolean;
let admin: string;

beforeEach(async () => {
  isFull = false;
  world = await World.start({
    checkSpace: () => {
      if (isFull) throw new SteleError('storage', 'the disk is full');
    },
  });
  admin = world.token({ holder: 'alice', roles: ['admin'] });
});

afterEach(() => world.stop());

/** What the entries of `_admin` say, the oldest first. */
async function journal(): Promise<Record<string, unknown>[]> {
  const { log, release } = await world.logs.lease(ADMIN_LOG);
  const said: Record<string, unknown>[] = [];
  for (let i = 0; i < log.head().size; i++) {
    const record = parseRecord(decodeEntry(await log.entry(leafIndex(i))).payload);
    if (record.kind === 'admin') said.push({ index: i, ...record.admin });
  }
  release();
  return said;
}

const post = (path: string, value: object) =>
  world.ask('POST', path, {
    token: admin,
    body: JSON.stringify(value),
    type: 'application/json',
  });

describe('an act', () => {
  test('is told before it is done, with who does it and what, and after it', async () => {
    await post('/v1/admin/logs', { name: 'team', visibility: 'private' });
    const [, id] = admin.split('_');
    const deed = { act: 'log.create', holder: 'alice', token: id, log: 'team' };
    expect(await journal()).toEqual([
      {
        ...deed,
        index: 2,
        state: 'begun',
        details: { name: 'team', visibility: 'private' },
      },
      { ...deed, index: 3, state: 'done', begun: 2 },
    ]);
  });

  test('that fails says why', async () => {
    await post('/v1/admin/logs', { name: 'team' });
    expect((await post('/v1/admin/logs', { name: 'team' })).status).toBe(409);
    expect((await journal()).at(-1)).toMatchObject({
      act: 'log.create',
      state: 'failed',
      error: 'conflict: log team exists already',
    });
  });

  test('that is refused for what it asks leaves nothing', async () => {
    expect((await post('/v1/admin/logs', { name: 'TEAM' })).status).toBe(400);
    expect((await post('/v1/admin/logs/none/freeze', {})).status).toBe(404);
    expect(world.logs.visibilityOf(ADMIN_LOG)).toBeUndefined();
  });

  test('that cannot be told is not done', async () => {
    vi.spyOn(world.logs, 'recordAdmin').mockRejectedValue(new SteleError('storage', 'no room'));
    const made = await post('/v1/admin/tokens', { holder: 'x', roles: ['read'], logs: ['*'] });
    expect(made.status).toBe(503);
    expect(world.instance.listTokens().map(({ holder }) => holder)).toEqual(['alice']);
  });

  test('holds no token, and no hash of one', async () => {
    const made = await post('/v1/admin/tokens', { holder: 'ci', roles: ['read'], logs: ['*'] });
    const { token } = made.json<{ token: string }>();
    const said = JSON.stringify(await journal());
    expect(said).toContain('"holder":"ci"');
    const row = world.instance.listTokens().find(({ holder }) => holder === 'ci')!;
    for (const secret of [token, token.slice(-20), Buffer.from(row.hash).toString('hex')]) {
      expect(said).not.toContain(secret);
    }
  });
});

describe('the log of administration', () => {
  test('is there for readers that are bound to it, and for nobody else', async () => {
    await post('/v1/admin/tokens', { holder: 'x', roles: ['read'], logs: [ADMIN_LOG] });
    const read = world.token({ roles: ['read'], logs: [ADMIN_LOG] });
    const other = world.token({ roles: ['read'], logs: ['team'] });
    const ask = (token: string | undefined) =>
      world.ask('GET', `/logs/${ADMIN_LOG}/v1/feed`, { token });
    expect((await ask(read)).text.split('\n').length).toBe(5);
    expect((await ask(other)).status).toBe(404);
    expect((await ask(undefined)).status).toBe(404);
  });

  test('is nobody’s to change, end or write to', async () => {
    await post('/v1/admin/logs', { name: 'team' });
    for (const [path, body] of [
      [`${ADMIN_LOG}/freeze`, {}],
      [`${ADMIN_LOG}/roll`, {}],
      [`${ADMIN_LOG}/retire`, { name: ADMIN_LOG }],
      [`${ADMIN_LOG}/gateways`, await world.registration(ADMIN_LOG, newSigner('ed25519'))],
    ] as const) {
      expect((await post(`/v1/admin/logs/${path}`, body)).json(), path).toMatchObject({
        code: 'forbidden',
      });
    }
    expect((await post('/v1/admin/logs', { name: ADMIN_LOG })).status).toBe(400);
  });

  test('has room when the disk has none for anybody else, so that a token can be taken back', async () => {
    const { gateway } = await world.log('team');
    const { bytes } = await gateway.make();
    const token = world.token({ holder: 'lost', roles: ['submit'] });
    const [, id = ''] = token.split('_');
    isFull = true;
    const submit = () =>
      world.ask('POST', '/logs/team/v1/entries', {
        token,
        body: bytes,
        type: 'application/protobuf',
      });
    expect((await submit()).status).toBe(503);
    const revoked = await world.ask('DELETE', `/v1/admin/tokens/${id}`, { token: admin });
    expect(revoked.status).toBe(200);
    expect((await submit()).status).toBe(401);
  });

  test('begins once, however many acts come at the same time', async () => {
    const names = Array.from({ length: 8 }, (_, i) => `team-${i}`);
    const made = await Promise.all(names.map((name) => post('/v1/admin/logs', { name })));
    expect(made.map(({ status }) => status)).toEqual(names.map(() => 201));
    const said = await journal();
    expect(said.filter(({ state }) => state === 'done')).toHaveLength(names.length);
  });
});

describe('with two persons', () => {
  let pair: World;
  let keys: string;
  let approver: string;

  beforeEach(async () => {
    pair = await World.start({ settings: { twoPersons: true } });
    keys = pair.token({ holder: 'alice', roles: ['keys', 'admin'] });
    approver = pair.token({ holder: 'bob', roles: ['approve'] });
  });

  afterEach(() => pair.stop());

  const ask = (method: string, path: string, token: string, value?: object) =>
    pair.ask(method, path, {
      token,
      ...(value === undefined ? {} : { body: JSON.stringify(value), type: 'application/json' }),
    });

  async function requested(): Promise<{ keyid: string; id: string }> {
    const { log } = await pair.log('team');
    expect(log.keys().length).toBeGreaterThan(0);
    const signer = newSigner('ed25519');
    const body = await pair.registration('team', signer, { source: 'gw' });
    const answer = await ask('POST', '/v1/admin/logs/team/gateways', keys, body);
    expect(answer.status).toBe(202);
    const { request } = answer.json<{ request: { id: string } }>();
    return { keyid: signer.publicKey.keyid, id: request.id };
  }

  const isRegistered = async (keyid: string) =>
    pair.logs.use('team', (log) => log.keys().some((key) => key.keyid === keyid));

  test('a key is registered when another holder has approved it, and the entry names both', async () => {
    const { id, keyid } = await requested();
    expect(await isRegistered(keyid)).toBe(false);
    const listed = (await ask('GET', '/v1/admin/requests', approver)).json();
    expect(listed).toMatchObject({
      requests: [{ id, act: 'gateway.register', log: 'team', holder: 'alice', details: { keyid } }],
    });
    const done = await ask('POST', `/v1/admin/requests/${id}/approve`, approver);
    expect(done.json()).toMatchObject({ keyid });
    expect(await isRegistered(keyid)).toBe(true);
    expect((await ask('POST', `/v1/admin/requests/${id}/approve`, approver)).status).toBe(404);
    world = pair;
    expect((await journal()).map(({ state, holder, approver: by }) => [state, holder, by])).toEqual(
      [
        ['requested', 'alice', undefined],
        ['begun', 'alice', 'bob'],
        ['done', 'alice', 'bob'],
      ],
    );
    world = await World.start();
  });

  test('nobody approves what he asked for himself, with whatever token', async () => {
    const { id, keyid } = await requested();
    const own = pair.token({ holder: 'alice', roles: ['approve'] });
    const answer = await ask('POST', `/v1/admin/requests/${id}/approve`, own);
    expect(answer.json()).toMatchObject({ code: 'forbidden' });
    expect(await isRegistered(keyid)).toBe(false);
  });

  test('nobody makes himself the other: a token that approves is a matter for two', async () => {
    const wanted = { holder: 'carol', roles: ['approve'], logs: ['*'] };
    const answer = await ask('POST', '/v1/admin/tokens', keys, wanted);
    expect(answer.status).toBe(202);
    const { token, request } = answer.json<{ token: string; request: { id: string } }>();
    expect((await ask('GET', '/v1/admin/requests', token)).status).toBe(401);
    expect((await ask('POST', `/v1/admin/requests/${request.id}/approve`, token)).status).toBe(401);
    expect((await ask('POST', `/v1/admin/requests/${request.id}/approve`, approver)).status).toBe(
      200,
    );
    expect((await ask('GET', '/v1/admin/requests', token)).status).toBe(200);
  });

  test('what touches no key waits for nobody', async () => {
    const wanted = { holder: 'ci', roles: ['submit', 'read'], logs: ['*'] };
    expect((await ask('POST', '/v1/admin/tokens', keys, wanted)).status).toBe(201);
    expect((await ask('POST', '/v1/admin/logs', keys, { name: 'b' })).status).toBe(201);
  });

  test('a key is revoked by two', async () => {
    const { log, gateway } = await pair.log('team');
    const { keyid } = gateway.signer.publicKey;
    const path = `/v1/admin/logs/team/gateways/${keyid}`;
    const { request } = (await ask('DELETE', path, keys)).json<{ request: { id: string } }>();
    const revoked = () => log.keys().find((key) => key.keyid === keyid)?.revoked;
    expect(revoked()).toBeUndefined();
    await ask('POST', `/v1/admin/requests/${request.id}/approve`, approver);
    expect(revoked()).toBeTypeOf('number');
  });

  test('a request is withdrawn by whoever made it, refused by an approver, and by nobody else', async () => {
    const first = await requested();
    const other = pair.token({ holder: 'dave', roles: ['keys'] });
    const path = (id: string) => `/v1/admin/requests/${id}`;
    expect((await ask('DELETE', path(first.id), other)).status).toBe(403);
    expect((await ask('DELETE', path(first.id), keys)).status).toBe(200);
    expect((await ask('POST', `${path(first.id)}/approve`, approver)).status).toBe(404);
    const body = await pair.registration('team', newSigner('ed25519'));
    const again = await ask('POST', '/v1/admin/logs/team/gateways', keys, body);
    const { request } = again.json<{ request: { id: string } }>();
    expect((await ask('DELETE', path(request.id), approver)).status).toBe(200);
    expect((await ask('GET', '/v1/admin/requests', approver)).json()).toEqual({ requests: [] });
  });

  test('is for those who are bound to the log', async () => {
    const { id } = await requested();
    const elsewhere = pair.token({ holder: 'eve', roles: ['approve'], logs: ['other'] });
    expect((await ask('GET', '/v1/admin/requests', elsewhere)).json()).toEqual({ requests: [] });
    expect((await ask('POST', `/v1/admin/requests/${id}/approve`, elsewhere)).status).toBe(404);
  });

  test('is not done when whoever asked could do it no more', async () => {
    const { id, keyid } = await requested();
    const [, token = ''] = keys.split('_');
    pair.instance.revokeToken(token, pair.now);
    const answer = await ask('POST', `/v1/admin/requests/${id}/approve`, approver);
    expect(answer.json()).toMatchObject({ code: 'conflict' });
    expect(await isRegistered(keyid)).toBe(false);
  });

  test('is gone after 7 days', async () => {
    const { id } = await requested();
    pair.now += 7 * 86_400_000;
    expect((await ask('POST', `/v1/admin/requests/${id}/approve`, approver)).status).toBe(404);
    expect(pair.instance.listRequests()).toEqual([]);
  });

  test('is decided on once, however many approve at the same time', async () => {
    const { id } = await requested();
    const approvers = Array.from({ length: 5 }, (_, i) =>
      pair.token({ holder: `b${i}`, roles: ['approve'] }),
    );
    const answers = await Promise.all(
      approvers.map((token) => ask('POST', `/v1/admin/requests/${id}/approve`, token)),
    );
    const done = answers.filter(({ status }) => status === 200);
    expect(done).toHaveLength(1);
    expect(answers.every(({ status }) => [200, 404, 409].includes(status))).toBe(true);
  });

  test('are bounded in number', async () => {
    await pair.log('team');
    for (let i = 0; i < 100; i++) {
      pair.instance.insertRequest({
        id: randomBytes(8).toString('hex'),
        act: 'log.change',
        log: 'team',
        scope: '["team"]',
        args: '{}',
        details: '{}',
        holder: 'alice',
        token: '0'.repeat(16),
        createdMs: pair.now,
      });
    }
    const body = await pair.registration('team', newSigner('ed25519'));
    const answer = await ask('POST', '/v1/admin/logs/team/gateways', keys, body);
    expect(answer.json()).toMatchObject({ code: 'conflict' });
  });
});
