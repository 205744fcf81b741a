/** Who may call what: every route, every role, every visibility, against a table written by hand. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '../../server/core/bytes.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { patternOf } from '../../server/http/call.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import type { Role } from '../../server/storage/instance.ts';
import { PAYLOAD } from '../ingest/examples.ts';
import { OtherLog } from '../witness/other-log.ts';
import { type Answer, newSigner, World } from './world.ts';

const CALLERS = [
  'stranger',
  'submit',
  'read',
  'content',
  'approve',
  'keys',
  'metrics',
  'admin',
] as const;
type Caller = (typeof CALLERS)[number];

/** Callers by what a route gives away; `public` and `proofs` are visibilities, `private` is below. */
const MAY: Readonly<Record<string, readonly Caller[]>> = {
  anyone: CALLERS,
  readers: ['read', 'content'],
  submitters: ['submit'],
  'content readers': ['content'],
  'key keepers': ['keys', 'admin'],
  watchers: ['metrics', 'admin'],
  admins: ['admin'],
  approvers: ['approve'],
  'those who ask and approve': ['approve', 'keys', 'admin'],
};

interface Case {
  readonly pattern: string;
  readonly method: string;
  readonly path: string;
  /** For a log of visibility `proofs`, and for a `public` one. */
  readonly proofs: keyof typeof MAY;
  readonly public: keyof typeof MAY;
  readonly body?: (log: string) => { body: Uint8Array | string; type: string };
  /** What a caller gets who may. */
  readonly ok: number;
}

let world: World;
const tokens = new Map<string, string>();
/** An entry of each log, logged already. */
const entries = new Map<string, Uint8Array>();
let cases: Case[];

const LOGS = { proofs: 'team-a', public: 'open', private: 'hidden' } as const;

beforeAll(async () => {
  world = await World.start();
  let made: { readonly bytes: Uint8Array; readonly recordId: string } | undefined;
  for (const [visibility, name] of Object.entries(LOGS).reverse()) {
    const { log, gateway } = await world.log(name, visibility as keyof typeof LOGS);
    made = await gateway.make();
    entries.set(name, made.bytes);
    await log.submit([{ admitted: await log.admit(decodeEntry(made.bytes)) }]);
  }
  for (const role of CALLERS.slice(1) as Role[]) {
    tokens.set(role, world.token({ roles: [role], logs: Object.values(LOGS) }));
    tokens.set(`${role} elsewhere`, world.token({ roles: [role], logs: ['elsewhere'] }));
    tokens.set(`${role} everywhere`, world.token({ roles: [role], logs: ['*'] }));
  }
  if (made === undefined) throw new Error('no log');
  cases = makeCases(toHex(leafHash(made.bytes)), made.recordId);
});

afterAll(() => world.stop());

function makeCases(leaf: string, recordId: string): Case[] {
  const get = (pattern: string, path: string, proofs: string, open = proofs): Case => ({
    pattern,
    method: 'GET',
    path,
    proofs,
    public: open,
    ok: 200,
  });
  const protobuf = (log: string) => ({
    body: entries.get(log) ?? '',
    type: 'application/protobuf',
  });
  const json = (value: unknown) => () => ({
    body: JSON.stringify(value),
    type: 'application/json',
  });
  const spki = Buffer.from(newSigner('ed25519').publicKey.spki).toString('base64');
  const hash = Buffer.from(leaf, 'hex').toString('base64');
  const L = '/logs/{log}';
  return [
    get(`${L}/checkpoint`, `${L}/checkpoint`, 'anyone'),
    get(`${L}/tile/{path*}`, `${L}/tile/0/000.p/2`, 'anyone'),
    get(`${L}/tile/entries/{path*}`, `${L}/tile/entries/000.p/2`, 'readers', 'anyone'),
    get(`${L}/v1/tree-head`, `${L}/v1/tree-head`, 'anyone'),
    get(`${L}/v1/tree-head/{size}`, `${L}/v1/tree-head/1`, 'anyone'),
    get(`${L}/v1/proofs/inclusion/{index}/{size}`, `${L}/v1/proofs/inclusion/0/2`, 'anyone'),
    get(`${L}/v1/proofs/consistency/{from}/{to}`, `${L}/v1/proofs/consistency/1/2`, 'anyone'),
    get(`${L}/ct/v1/get-sth`, `${L}/ct/v1/get-sth`, 'anyone'),
    get(
      `${L}/ct/v1/get-sth-consistency`,
      `${L}/ct/v1/get-sth-consistency?first=1&second=2`,
      'anyone',
    ),
    get(
      `${L}/ct/v1/get-proof-by-hash`,
      `${L}/ct/v1/get-proof-by-hash?hash=${encodeURIComponent(hash)}&tree_size=3`,
      'anyone',
    ),
    get(`${L}/ct/v1/get-entries`, `${L}/ct/v1/get-entries?start=0&end=0`, 'readers', 'anyone'),
    get(
      `${L}/ct/v1/get-entry-and-proof`,
      `${L}/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=2`,
      'readers',
      'anyone',
    ),
    get(`${L}/v1/entries`, `${L}/v1/entries?start=0&limit=1`, 'readers', 'anyone'),
    get(`${L}/v1/entries/{index}`, `${L}/v1/entries/0`, 'readers', 'anyone'),
    get(`${L}/v1/feed`, `${L}/v1/feed?limit=1`, 'readers', 'anyone'),
    get(`${L}/v1/anchors`, `${L}/v1/anchors`, 'anyone'),
    get(`${L}/v1/witnesses`, `${L}/v1/witnesses`, 'anyone'),
    {
      ...get(`${L}/v1/anchors/{target}/{size}`, `${L}/v1/anchors/none/1`, 'anyone'),
      ok: 404,
    },
    { ...get(`${L}/v1/next`, `${L}/v1/next`, 'anyone'), ok: 404 },
    get(`${L}/v1/sources`, `${L}/v1/sources`, 'readers', 'anyone'),
    get(`${L}/v1/receipts/{id}`, `${L}/v1/receipts/1`, 'readers', 'anyone'),
    // Only team-a has this entry: a caller who may ask the public log hears that it is not there.
    get(`${L}/v1/leaves/{leaf_hash}`, `${L}/v1/leaves/${leaf}`, 'readers', 'anyone'),
    get(`${L}/v1/records/{record_id}`, `${L}/v1/records/${recordId}`, 'readers', 'anyone'),
    {
      ...get(
        `${L}/v1/content/{record_id}/{field}`,
        `${L}/v1/content/${recordId}/request.body`,
        'content readers',
      ),
      ok: 404,
    },
    {
      ...get(
        `${L}/v1/content/{record_id}/{field}/body`,
        `${L}/v1/content/${recordId}/request.body/body`,
        'content readers',
      ),
      ok: 404,
    },
    {
      pattern: `${L}/v1/entries`,
      method: 'POST',
      path: `${L}/v1/entries`,
      proofs: 'submitters',
      public: 'submitters',
      body: protobuf,
      ok: 200,
    },
    {
      pattern: '/ingest/{log}/jsonl',
      method: 'POST',
      path: '/ingest/{log}/jsonl',
      proofs: 'submitters',
      public: 'submitters',
      body: () => ({ body: JSON.stringify(PAYLOAD), type: 'application/x-ndjson' }),
      ok: 200,
    },
    {
      pattern: '/ingest/{log}/litellm',
      method: 'POST',
      path: '/ingest/{log}/litellm',
      proofs: 'submitters',
      public: 'submitters',
      body: json(PAYLOAD),
      ok: 200,
    },
    ...['traces', 'logs'].map((signal) => ({
      pattern: `/ingest/{log}/otlp/v1/${signal}`,
      method: 'POST',
      path: `/ingest/{log}/otlp/v1/${signal}`,
      proofs: 'submitters',
      public: 'submitters',
      body: json({}),
      ok: 200,
    })),
    {
      pattern: `${L}/v1/entries/batch`,
      method: 'POST',
      path: `${L}/v1/entries/batch`,
      proofs: 'submitters',
      public: 'submitters',
      body: () => ({ body: '{}\n', type: 'application/x-ndjson' }),
      ok: 200,
    },
    get('/v1/logs', '/v1/logs', 'anyone'),
    get('/v1/keys', '/v1/keys', 'anyone'),
    get('/.well-known/stele', '/.well-known/stele', 'anyone'),
    get('/healthz', '/healthz', 'anyone'),
    get('/openapi.json', '/openapi.json', 'anyone'),
    get('/docs', '/docs', 'anyone'),
    get('/metrics', '/metrics', 'watchers'),
    get('/witness', '/witness', 'anyone'),
    get('/v1/witness', '/v1/witness', 'anyone'),
    { ...get('/witness/{id}/checkpoint', `/witness/${leaf}/checkpoint`, 'anyone'), ok: 404 },
    get('/v1/admin/witness/evidence', '/v1/admin/witness/evidence', 'admins'),
    {
      ...get('/witness/add-checkpoint', '/witness/add-checkpoint', 'anyone'),
      method: 'POST',
      body: () => ({ body: new OtherLog().ask(0), type: 'text/plain' }),
    },
    get('/readyz', '/readyz', 'anyone'),
    get('/v1/admin/logs', '/v1/admin/logs', 'admins'),
    get('/v1/admin/logs/{log}', '/v1/admin/logs/{log}', 'admins'),
    get('/v1/admin/logs/{log}/gateways', '/v1/admin/logs/{log}/gateways', 'key keepers'),
    get('/v1/admin/keys', '/v1/admin/keys', 'key keepers'),
    get('/v1/admin/tokens', '/v1/admin/tokens', 'admins'),
    {
      pattern: '/v1/admin/logs',
      method: 'POST',
      path: '/v1/admin/logs',
      proofs: 'admins',
      public: 'admins',
      body: json({ name: LOGS.proofs }),
      ok: 409,
    },
    {
      pattern: '/v1/admin/logs/{log}/witness',
      method: 'POST',
      path: '/v1/admin/logs/{log}/witness',
      proofs: 'admins',
      public: 'admins',
      ok: 200,
    },
    {
      pattern: '/v1/admin/logs/{log}/anchor',
      method: 'POST',
      path: '/v1/admin/logs/{log}/anchor',
      proofs: 'admins',
      public: 'admins',
      ok: 200,
    },
    {
      pattern: '/v1/admin/logs/{log}',
      method: 'PATCH',
      path: '/v1/admin/logs/{log}',
      proofs: 'admins',
      public: 'admins',
      body: json({}),
      ok: 200,
    },
    {
      pattern: '/v1/admin/logs/{log}/freeze',
      method: 'POST',
      path: '/v1/admin/logs/{log}/freeze',
      proofs: 'admins',
      public: 'admins',
      // Nothing ends here: the others still write.
      body: json({ reason: '' }),
      ok: 400,
    },
    {
      pattern: '/v1/admin/logs/{log}/roll',
      method: 'POST',
      path: '/v1/admin/logs/{log}/roll',
      proofs: 'admins',
      public: 'admins',
      body: json({ name: 'A' }),
      ok: 400,
    },
    {
      pattern: '/v1/admin/logs/{log}/retire',
      method: 'POST',
      path: '/v1/admin/logs/{log}/retire',
      proofs: 'admins',
      public: 'admins',
      body: json({ name: 'another' }),
      ok: 400,
    },
    {
      pattern: '/v1/admin/logs/{log}/retire',
      method: 'DELETE',
      path: '/v1/admin/logs/{log}/retire',
      proofs: 'admins',
      public: 'admins',
      ok: 409,
    },
    {
      pattern: '/v1/admin/logs/{log}/keys/rotate',
      method: 'POST',
      path: '/v1/admin/logs/{log}/keys/rotate',
      proofs: 'key keepers',
      public: 'key keepers',
      body: json({ purpose: 'sth' }),
      ok: 400,
    },
    {
      pattern: '/v1/admin/logs/{log}/keys/retire',
      method: 'POST',
      path: '/v1/admin/logs/{log}/keys/retire',
      proofs: 'key keepers',
      public: 'key keepers',
      body: json({ purpose: 'identity' }),
      ok: 409,
    },
    {
      pattern: '/v1/admin/keys/rotate',
      method: 'POST',
      path: '/v1/admin/keys/rotate',
      proofs: 'key keepers',
      public: 'key keepers',
      body: json({ purpose: 'proxy' }),
      ok: 404,
    },
    {
      pattern: '/v1/admin/logs/{log}/gateways',
      method: 'POST',
      path: '/v1/admin/logs/{log}/gateways',
      proofs: 'key keepers',
      public: 'key keepers',
      body: json({ key: spki }),
      ok: 422,
    },
    {
      pattern: '/v1/admin/logs/{log}/gateways/challenge',
      method: 'POST',
      path: '/v1/admin/logs/{log}/gateways/challenge',
      proofs: 'key keepers',
      public: 'key keepers',
      ok: 201,
    },
    {
      pattern: '/v1/admin/logs/{log}/gateways/{keyid}',
      method: 'DELETE',
      path: `/v1/admin/logs/{log}/gateways/${'0'.repeat(64)}`,
      proofs: 'key keepers',
      public: 'key keepers',
      ok: 404,
    },
    {
      pattern: '/v1/admin/tokens',
      method: 'POST',
      path: '/v1/admin/tokens',
      proofs: 'admins',
      public: 'admins',
      body: json({ holder: 'x', roles: ['read'], logs: [LOGS.proofs] }),
      ok: 201,
    },
    {
      pattern: '/v1/admin/tokens/{id}',
      method: 'DELETE',
      path: `/v1/admin/tokens/${'0'.repeat(16)}`,
      proofs: 'admins',
      public: 'admins',
      ok: 404,
    },
    get('/v1/admin/requests', '/v1/admin/requests', 'those who ask and approve'),
    {
      pattern: '/v1/admin/requests/{id}/approve',
      method: 'POST',
      path: `/v1/admin/requests/${'0'.repeat(16)}/approve`,
      proofs: 'approvers',
      public: 'approvers',
      ok: 404,
    },
    {
      pattern: '/v1/admin/requests/{id}',
      method: 'DELETE',
      path: `/v1/admin/requests/${'0'.repeat(16)}`,
      proofs: 'those who ask and approve',
      public: 'those who ask and approve',
      ok: 404,
    },
  ];
}

async function call(one: Case, log: string, token: string | undefined) {
  const sent = one.body?.(log);
  return world.ask(one.method, one.path.replace('{log}', log), {
    token,
    headers: one.pattern.includes('content') ? { 'x-stele-reason': 'a test' } : {},
    ...sent,
  });
}

test('the table has every route there is', () => {
  const known = allRoutes({} as never).map((route) => `${route.method} ${patternOf(route)}`);
  expect(cases.map(({ method, pattern }) => `${method} ${pattern}`).sort()).toEqual(known.sort());
});

/** A problem's code, also where OTLP has a number for it. */
function codeOf(answer: Answer, { pattern }: Case): unknown {
  const { code } = answer.json();
  if (!pattern.includes('/otlp/')) return code;
  return { 7: 'forbidden', 16: 'unauthenticated' }[Number(code)];
}

describe.each(['proofs', 'public'] as const)('of a log that is %s', (visibility) => {
  test.each(CALLERS)('%s gets what the table says', async (caller) => {
    for (const one of cases) {
      const answer = await call(one, LOGS[visibility], tokens.get(caller));
      const where = `${caller}: ${one.method} ${one.path}: ${answer.text.slice(0, 200)}`;
      const may = MAY[one[visibility]]?.includes(caller);
      if (!may) {
        expect(answer.status, where).toBe(caller === 'stranger' ? 401 : 403);
        expect(codeOf(answer, one), where).toBe(
          caller === 'stranger' ? 'unauthenticated' : 'forbidden',
        );
      } else if (visibility === 'proofs') {
        expect(answer.status, where).toBe(one.ok);
      } else {
        expect([401, 403, 500], where).not.toContain(answer.status);
      }
    }
  });
});

/** Routes that are about one log, and so about its visibility. */
const ofOneLog = () => cases.filter(({ path }) => path.includes('{log}'));

describe('of a private log', () => {
  test.each(['stranger', ...CALLERS.slice(1).map((role) => `${role} elsewhere`)])(
    '%s learns nothing: the answers are those of a log that does not exist',
    async (caller) => {
      for (const one of ofOneLog()) {
        if (caller === 'stranger' && one.path.startsWith('/v1/admin')) continue;
        const hidden = await call(one, LOGS.private, tokens.get(caller));
        const absent = await call(one, 'absent', tokens.get(caller));
        const where = `${caller}: ${one.method} ${one.path}`;
        expect(hidden.status, where).toBe(absent.status);
        expect(hidden.text.replaceAll(LOGS.private, 'absent'), where).toBe(absent.text);
        expect(comparable(hidden.headers, LOGS.private), where).toEqual(
          comparable(absent.headers, 'absent'),
        );
        expect([403, 404], where).toContain(hidden.status);
      }
    },
  );

  test.each(['', ' everywhere'])(
    'a token that is bound to it%s opens what its role opens',
    async (where) => {
      for (const caller of CALLERS.slice(1)) {
        for (const one of ofOneLog()) {
          const answer = await call(one, LOGS.private, tokens.get(caller + where));
          const may = MAY[one.proofs]?.includes(caller);
          const what = `${caller}${where}: ${one.method} ${one.path}: ${answer.text.slice(0, 200)}`;
          if (may) expect([401, 403, 500], what).not.toContain(answer.status);
          else expect(answer.status, what).toBe(403);
        }
      }
    },
  );

  test('its name is in no list of those who may not know it', async () => {
    for (const path of ['/v1/logs', '/v1/keys', '/.well-known/stele', '/readyz', '/healthz']) {
      for (const caller of ['stranger', 'read elsewhere', 'admin elsewhere']) {
        expect((await world.get(path, { token: tokens.get(caller) })).text).not.toContain('hidden');
      }
    }
    for (const path of ['/v1/logs', '/v1/keys']) {
      expect((await world.get(path, { token: tokens.get('read') })).text).toContain('hidden');
    }
  });
});

/** Headers without what differs between any two requests. */
function comparable(headers: Record<string, unknown>, name: string) {
  const { date: _, 'x-request-id': __, 'content-length': length, ...rest } = headers;
  return { ...rest, length: Number(length) - name.length };
}

describe('a token for other logs', () => {
  test('counts like none for reading, and is refused by name for the rest', async () => {
    for (const caller of CALLERS.slice(1)) {
      for (const one of ofOneLog()) {
        const answer = await call(one, LOGS.proofs, tokens.get(`${caller} elsewhere`));
        const open = one.proofs === 'anyone';
        const what = `${caller}: ${one.method} ${one.path}: ${answer.text.slice(0, 200)}`;
        expect(answer.status, what).toSatisfy((status: number) =>
          open ? status === one.ok : status === 403 || status === 404,
        );
      }
    }
  });
});

describe('an access log', () => {
  const path = '/logs/team-a.access/v1/entries/0';

  test('is read with a token for its log, and by nobody else', async () => {
    expect((await world.get(path, { token: tokens.get('read') })).status).toBe(200);
    expect((await world.get(path, { token: tokens.get('submit') })).status).toBe(403);
    expect((await world.get(path)).status).toBe(404);
    expect((await world.get(path, { token: tokens.get('read elsewhere') })).status).toBe(404);
    expect((await world.get('/logs/team-a.access/checkpoint')).status).toBe(404);
  });

  test('takes nothing from a gateway', async () => {
    const answer = await world.ask('POST', '/logs/team-a.access/v1/entries', {
      token: tokens.get('submit'),
      body: entries.get(LOGS.proofs) ?? '',
      type: 'application/protobuf',
    });
    expect(answer.status).toBe(403);
  });

  test('there is none for an access log, nor for what does not exist', async () => {
    for (const name of ['team-a.access.access', 'absent.access', '.access']) {
      const answer = await world.get(`/logs/${name}/checkpoint`, {
        token: tokens.get('read everywhere'),
      });
      expect(answer.status, name).toBe(404);
    }
  });
});

describe('a bad token', () => {
  test.each(['expired', 'revoked', 'unknown', 'garbled'])(
    'that is %s is refused everywhere',
    async (kind) => {
      const token = badToken(kind);
      for (const one of cases) {
        const answer = await call(one, LOGS.public, token);
        expect(answer.status, one.path).toBe(401);
        expect(codeOf(answer, one)).toBe('unauthenticated');
        expect(answer.headers['www-authenticate']).toBe('Bearer realm="stele"');
        expect(answer.headers['cache-control']).toBe('no-store');
      }
    },
  );

  function badToken(kind: string): string {
    if (kind === 'garbled') return 'stele_abc';
    if (kind === 'unknown') return `stele_${'0'.repeat(16)}_${'A'.repeat(43)}`;
    if (kind === 'expired') return world.token({ roles: ['admin'], expiresMs: world.now });
    const token = world.token({ roles: ['admin'] });
    world.instance.revokeToken(token.split('_')[1] ?? '', world.now);
    return token;
  }
});
