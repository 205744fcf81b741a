/**
 * The server against its own description: every operation with its examples, and with each thing about them
 * wrong. Whatever is answered has a status, a content type, headers and a body that are described.
 */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { describeApi } from '../../server/http/openapi/document.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import { ROLES } from '../../server/storage/instance.ts';
import { faultsOf, type Json, type Schema } from '../json-schema.ts';
import { breaches, call, type Parameter, type Place, placesOf, type Wanted } from './api.ts';
import { roleToken, setUp } from './replay.ts';
import { type Answer, World } from './world.ts';

let world: World;
const document = JSON.parse(
  JSON.stringify(describeApi(allRoutes({} as never), '0.0.0')),
) as unknown;
const places = placesOf(document);
const named = places.map((place) => [place.id, place] as const);
const tokens = new Map<string, string | undefined>();

beforeAll(async () => {
  world = await World.start();
  for (const place of places) tokens.set(place.id, roleToken(world, place));
  await setUp(world, places, async (place, wanted) => {
    expect((await held(place, wanted)).status, place.id).toBe(
      ['submitBatch', 'addCheckpoint'].includes(place.id) ? 200 : 201,
    );
  });
});

afterAll(() => world.stop());

/** Calls with a token that may, and holds the answer to what is described. */
async function held(place: Place, wanted: Wanted = {}): Promise<Answer> {
  const answer = await call(world, place, { token: tokens.get(place.id), ...wanted });
  expect(breaches(document, place, answer), `${place.id} ${JSON.stringify(wanted)}`).toEqual([]);
  expect(answer.status, answer.text).not.toBe(500);
  return answer;
}

/** Made for one test, so that what is revoked is nobody's. */
async function valuesFor(place: Place): Promise<Record<string, string>> {
  if (['approveRequest', 'rejectRequest'].includes(place.id)) return { id: waiting(place.id) };
  if (place.id !== 'revokeToken') return {};
  const create = places.find(({ id }) => id === 'createToken')!;
  const made = await held(create);
  expect(made.status).toBe(201);
  return { id: String(made.json().id) };
}

/** The id of a request: one's own to be withdrawn, somebody else's to be approved. */
function waiting(operation: string): string {
  const holder = operation === 'rejectRequest' ? 'someone' : 'alice';
  world.token({ holder, roles: ['admin'] });
  const asked = world.instance.listTokens().find((token) => token.holder === holder)!;
  const id = randomBytes(8).toString('hex');
  world.instance.insertRequest({
    id,
    act: 'log.change',
    log: 'team-a',
    scope: '["team-a"]',
    args: '{}',
    details: '{}',
    holder,
    token: asked.id,
    createdMs: world.now,
  });
  return id;
}

/** What was done once for all, and is tried again further down. */
const once = ['createLog', 'rollLog', 'getNext'];

/** The gateway's key is revoked at the very end. */
const last = 'revokeGateway';
/** As the specification of witnesses names no type. */
const takesAnyType = 'addCheckpoint';
const needsRole = ({ operation }: Place) => operation.security.every(({ bearer }) => bearer);

describe('the examples', () => {
  test.each(named.filter(([id]) => id !== last && !once.includes(id)))('%s', async (_, place) => {
    const values = await valuesFor(place);
    const types = Object.keys(place.operation.requestBody?.content ?? {});
    for (const type of types.length === 0 ? [''] : types) {
      const answer = await held(place, { values, ...(type === '' ? {} : { type }) });
      expect([200, 201], answer.text).toContain(answer.status);
    }
  });

  test('a log that has ended is not rolled over again, and says where it goes on', async () => {
    const place = places.find(({ id }) => id === 'rollLog')!;
    const next = places.find(({ id }) => id === 'getNext')!;
    expect((await held(next)).json()).toMatchObject({ status: 404, code: 'not_yet' });
    expect((await held(place)).status).toBe(201);
    expect((await held(place)).status).toBe(423);
    expect((await held(next)).json()).toMatchObject({ name: 'team-c-2027' });
  });

  test('a log of a name that is taken is a conflict', async () => {
    expect((await held(places.find(({ id }) => id === 'createLog')!)).status).toBe(409);
  });

  test.each(named.filter(([, { operation }]) => optionalOf(operation.parameters).length > 0))(
    '%s with each optional parameter, and with every value of a list',
    async (_, place) => {
      for (const { name, example, schema } of optionalOf(place.operation.parameters)) {
        for (const value of [example, ...((schema.enum ?? []) as (string | number)[])]) {
          // A feed that follows ends by its own limit.
          const limit = name === 'follow' ? { limit: 1 } : {};
          const answer = await held(place, { values: { [name]: value, ...limit } });
          const isRefused = name === 'require' || (name === 'wait' && place.id === 'getTreeHead');
          if (!isRefused) expect(answer.status, `${name}=${value}`).toBe(200);
        }
      }
    },
  );

  test.each(named.filter(([, { operation }]) => '304' in operation.responses))(
    '%s is not sent again to whom has it',
    async (_, place) => {
      const { etag } = (await held(place, { token: undefined })).headers;
      const again = await held(place, {
        token: undefined,
        values: { 'if-none-match': String(etag) },
      });
      expect(again.status).toBe(304);
    },
  );
});

function optionalOf(parameters: readonly Parameter[] = []): readonly Parameter[] {
  return parameters.filter(({ required }) => !required);
}

describe('who asks', () => {
  test.each(named.filter(([, place]) => needsRole(place)))('%s needs a token', async (_, place) => {
    const answer = await held(place, { token: undefined });
    expect(answer.status).toBe(401);
  });

  test.each(named)('%s takes no bad token', async (_, place) => {
    for (const token of ['nonsense', `stele_${'0'.repeat(16)}_${'A'.repeat(43)}`]) {
      expect((await held(place, { token })).status).toBe(401);
    }
  });

  test.each(named.filter(([id, place]) => needsRole(place) && id !== last))(
    '%s takes the roles that are described, and no other',
    async (_, place) => {
      const roles = place.operation.security.flatMap(({ bearer = [] }) => bearer);
      for (const role of ROLES) {
        const token = world.token({ roles: [role], logs: ['*'] });
        const values = await valuesFor(place);
        const answer = await held(place, { token, values });
        if (!roles.includes(role)) expect(answer.status, role).toBe(403);
        else expect([401, 403], role).not.toContain(answer.status);
      }
    },
  );

  test.each(named.filter(([id]) => id !== last))(
    '%s by a token for another log',
    async (_, place) => {
      const roles = place.operation.security.flatMap(({ bearer = [] }) => bearer) as 'read'[];
      const token = world.token({ roles: roles.length === 0 ? ['read'] : roles, logs: ['other'] });
      const { status } = await held(place, { token });
      if (needsRole(place) && place.path.includes('{log}')) expect([403, 404]).toContain(status);
    },
  );
});

/** Values that a schema refuses, made from its own bounds; those that a path can carry. */
function refusedBy(schema: Schema): (string | number)[] {
  const { minimum, maximum, minLength, maxLength } = schema;
  const candidates: (string | number)[] = [
    '~',
    'ZZ',
    '-1',
    '01',
    '1.5',
    '0x10',
    '-',
    'a'.repeat(2_000),
  ];
  if (minimum !== undefined) candidates.push(Number(minimum) - 1);
  if (maximum !== undefined) candidates.push(`${BigInt(Number(maximum)) + 1n}`);
  if (minLength !== undefined) candidates.push('a'.repeat(Number(minLength) - 1));
  if (maxLength !== undefined) candidates.push('a'.repeat(Number(maxLength) + 1));
  return candidates.filter((value) => !isTaken(schema, value));
}

/** A parameter is text on its way: a number counts in its one spelling only. */
function isTaken(schema: Schema, value: string | number): boolean {
  const text = String(value);
  const number: Json = /^(?:0|[1-9]\d*)$/.test(text) ? Number(text) : text;
  return [text, number].some((one) => faultsOf(one, schema, document).length === 0);
}

describe('what breaks a rule', () => {
  const cases = places.flatMap((place) =>
    (place.operation.parameters ?? []).map((one) => [place.id, one.name, place, one] as const),
  );

  test.each(cases)(
    '%s: %s out of its bounds',
    async (_, __, place, { name, in: where, schema }) => {
      const values = await valuesFor(place);
      for (const value of refusedBy(schema)) {
        if (where === 'path' && value === '') continue;
        const { status } = await held(place, { values: { ...values, [name]: value } });
        expect([400, 404], `${name}=${value}`).toContain(status);
      }
    },
  );

  test.each(cases.filter(([, , , { required, in: where }]) => required && where === 'header'))(
    '%s without %s',
    async (_, name, place) => {
      expect((await held(place, { values: { [name]: '' } })).status).toBe(400);
    },
  );

  test.each(named)('%s with a parameter that it does not know, or one twice', async (_, place) => {
    const names = (place.operation.parameters ?? []).filter((one) => one.in === 'query');
    const twice = names.map(({ name, example }) => `${name}=${example}&${name}=${example}`);
    // As RFC 6962 has it for its own routes.
    const ignores = place.path.includes('/ct/v1/');
    for (const query of ['unknown=1', ...twice]) {
      const path = `${place.path}?${query}`;
      const isTaken = ignores && query === 'unknown=1';
      expect((await held({ ...place, path })).status, query).toBe(isTaken ? 200 : 400);
    }
  });

  const withBody = named.filter(([, { operation }]) => operation.requestBody !== undefined);

  test.each(withBody.filter(([id]) => id !== takesAnyType))(
    '%s: another content type, a content encoding, none at all',
    async (_, place) => {
      for (const type of ['text/html', 'application/xml', 'application', '']) {
        expect((await held(place, { type, body: 'x' })).status, type).toBe(415);
      }
      // Only what others report may come in gzip, and nothing in anything else.
      const coding = place.path.startsWith('/ingest/') ? 'br' : 'gzip';
      const encoded = await held(place, { headers: { 'content-encoding': coding } });
      expect(encoded.status).toBe(415);
    },
  );

  test.each(withBody)(
    '%s: a body without a length, one that is too long, an empty one',
    async (_, place) => {
      for (const type of Object.keys(place.operation.requestBody!.content)) {
        if (type === 'multipart/form-data') continue;
        const long = await held(place, {
          type,
          body: '{',
          headers: { 'content-length': '999999999', connection: 'close' },
        });
        expect(long.status, type).toBe(413);
        const empty = await held(place, { type, body: '', headers: { 'content-length': '0' } });
        // In protobuf, nothing is a request without anything in it.
        const isWhole = place.path.startsWith('/ingest/') && type === 'application/x-protobuf';
        expect(empty.status, type).toBe(isWhole ? 200 : 400);
        const none = await held(place, { type, body: '' });
        expect(isWhole ? [200, 411] : [400, 411], type).toContain(none.status);
      }
    },
  );

  test.each(withBody)('%s: any body at all', async (_, place) => {
    const types = Object.keys(place.operation.requestBody!.content);
    const json = fc.json({ maxDepth: 3 });
    const bytes = fc.uint8Array({ maxLength: 200 }).map((body) => Buffer.from(body));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...types), fc.oneof(json, bytes), async (type, body) => {
        if (body.length === 0) return;
        expect((await held(place, { type, body })).status).toBeLessThan(500);
      }),
      { numRuns: 60 },
    );
  });

  test.each(named.filter(([, { operation }]) => bodySchema(operation)?.type === 'object'))(
    '%s: a body with each member wrong, gone, or new',
    async (_, place) => {
      const { examples } = place.operation.requestBody!.content['application/json']!;
      const good = Object.values(examples!)[0]!.value as { readonly [name: string]: Json };
      const { properties = {}, required = [] } = bodySchema(place.operation)!;
      for (const [name, schema] of Object.entries(properties as { [name: string]: Schema })) {
        const strings = refusedBy(schema).map(String);
        for (const wrong of [null, 7, {}, [], [7], ['', ''], '', '\0', ...strings] as Json[]) {
          if (faultsOf(wrong, schema, document).length === 0) continue;
          const body = JSON.stringify({ ...good, [name]: wrong });
          expect((await held(place, { body })).status, body.slice(0, 300)).toBe(400);
        }
        const { [name]: _gone, ...rest } = good;
        const { status } = await held(place, { body: JSON.stringify(rest) });
        if ((required as string[]).includes(name)) expect(status, `without ${name}`).toBe(400);
      }
      const more = await held(place, { body: JSON.stringify({ ...good, more: 1 }) });
      expect(more.status).toBe(400);
    },
  );

  test.each(withBody.filter(([, { operation }]) => bodySchema(operation)?.type === 'object'))(
    '%s: a body with any text for a member',
    async (_, place) => {
      const { examples } = place.operation.requestBody!.content['application/json']!;
      const good = Object.values(examples!)[0]!.value as { readonly [name: string]: Json };
      const text = fc.string({ unit: 'binary', maxLength: 150 });
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...Object.keys(good)), text, async (name, value) => {
          await held(place, { body: JSON.stringify({ ...good, [name]: value }) });
        }),
        { numRuns: 60 },
      );
    },
  );

  function bodySchema({ requestBody }: Place['operation']): Schema | undefined {
    return requestBody?.content['application/json']?.schema;
  }

  test('paths and queries at random', async () => {
    const segment = fc.stringMatching(/^[A-Za-z0-9._~-]{1,12}$/);
    const query = fc.stringMatching(/^(?:[a-z]{1,6}=[A-Za-z0-9%+]{0,6}&?){0,3}$/);
    const gets = places.filter(({ method }) => method === 'GET');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...gets),
        fc.array(segment),
        query,
        async (place, some, q) => {
          let at = 0;
          const path = place.path.replace(/\{(\w+)\}/g, (whole, name) =>
            name === 'log' ? whole : (some[at++] ?? '0'),
          );
          await held({ ...place, path: q === '' ? path : `${path}?${q}` });
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe('on every kind of log', () => {
  const ofLogs = named.filter(([, { path }]) => path.startsWith('/logs/'));

  beforeAll(async () => {
    await world.log('open', 'public');
    await world.log('hidden', 'private');
  });

  test.each(ofLogs)('%s', async (_, place) => {
    for (const log of ['team-a', 'open', 'hidden', 'team-a.access', 'none', 'none.access']) {
      for (const token of [tokens.get(place.id), undefined]) {
        const { status } = await held(place, { values: { log }, token });
        const isHidden = token === undefined && !['team-a', 'open'].includes(log);
        if (isHidden || log.startsWith('none')) expect(status, log).toBe(404);
      }
    }
  });
});

describe('on a full disk, without memory, while it stops, the server answers as is described', () => {
  let full: World;

  beforeAll(async () => {
    let isFull = false;
    full = await World.start({
      checkSpace: () => {
        if (isFull) throw new SteleError('storage', 'the disk is full');
      },
      settings: { waitersMax: 0, heldBytesMax: 0, answerBytesMax: 0 },
    });
    await full.log('team-a');
    await full.log('team-b');
    await full.log('team-c');
    isFull = true;
    full.stopping.abort();
  });

  afterAll(() => full.stop());

  test.each(named)('%s', async (_, place) => {
    const token = roleToken(full, place);
    const answer = await call(full, place, { token, values: { wait: 1 } });
    expect(breaches(document, place, answer)).toEqual([]);
    // A challenge writes nothing, nothing waits for approval, and there is no target.
    const others = [
      ...['createLog', 'challengeGateway', 'approveRequest'],
      ...['anchorLog', 'witnessLog'],
    ];
    if (place.method === 'POST' && !others.includes(place.id))
      expect([429, 503]).toContain(answer.status);
  });
});

test('a gateway’s key is revoked once, however often that is asked', async () => {
  const place = places.find(({ id }) => id === last)!;
  const first = await held(place);
  expect(first.status).toBe(200);
  expect((await held(place)).json()).toEqual(first.json());
});
