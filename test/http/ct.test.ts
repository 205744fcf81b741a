/** RFC 6962's routes: a client that knows only the RFC, what it may ask, and what it is refused. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { pae } from '../../server/core/pae.ts';
import type { Log } from '../../server/log/log.ts';
import { leaf, listData } from '../reference/rfc6962.ts';
import { CtClient, type TreeHead } from './ct-client.ts';
import { type Answer, type Ask, type Gateway, World } from './world.ts';

const ENTRIES = 140;

let world: World;
let log: Log;
let gateway: Gateway;
let read: string;
/** A head of every few sizes, as the log grew. */
const heads: TreeHead[] = [];

beforeAll(async () => {
  world = await World.start();
  read = world.token({ roles: ['read'] });
  ({ log, gateway } = await world.log('team-a'));
  for (let size = 2; size < ENTRIES; size++) {
    if ([2, 3, 4, 7, 8, 64, 65, 127, 128, 129].includes(size)) await newHead();
    await submit(log, await gateway.entry());
  }
  await newHead();
});

afterAll(() => world.stop());

beforeEach(() => {
  world.now += 5_000;
});

async function newHead(): Promise<void> {
  world.now += 1_000;
  heads.push(await client('team-a').getSth());
}

async function submit(to: Log, bytes: Uint8Array): Promise<void> {
  const [submitted] = await to.submit([{ admitted: await to.admit(bytes) }]);
  if (submitted instanceof SteleError) throw submitted;
}

function ask(name: string, path: string, more: Ask = {}): Promise<Answer> {
  return world.get(`/logs/${name}${path}`, more);
}

/** With the key of team-a. */
function client(name: string, more: Ask = {}): CtClient {
  return new CtClient((path) => ask(name, path, more), log.verifierKeys().sth!.key);
}

const last = () => heads.at(-1)!;

describe('a client of the RFC', () => {
  test('verifies every head, and that each begins with each before', async () => {
    expect(heads.map(({ tree_size }) => tree_size)).toEqual([
      2, 3, 4, 7, 8, 64, 65, 127, 128, 129, 140,
    ]);
    for (const [i, second] of heads.entries()) {
      for (const first of heads.slice(0, i + 1)) {
        await client('team-a').checkConsistency(first, second);
        if (first !== second) expect(second.timestamp).toBeGreaterThan(first.timestamp);
      }
    }
  });

  test('gets every entry, and they hash to the root of every head', async () => {
    const entries = await client('team-a', { token: read }).getEntries(0, ENTRIES - 1);
    expect(entries.length).toBe(ENTRIES);
    const data = listData(entries);
    for (const { tree_size, root } of heads) {
      expect(Buffer.from(data.slice(0n, BigInt(tree_size)).MTH()).equals(root)).toBe(true);
    }
    expect(Buffer.from(entries[5]!).equals(await log.entry(5 as never))).toBe(true);
  });

  test('finds every entry by its hash, without a token, under every head that has it', async () => {
    const entries = await client('team-a', { token: read }).getEntries(0, ENTRIES - 1);
    for (const [index, entry] of entries.entries()) {
      for (const head of [last(), heads[index % heads.length]!]) {
        if (index >= head.tree_size) continue;
        expect(await client('team-a').findLeaf(entry, head)).toBe(index);
      }
    }
  });

  test('gets each entry with its proof', async () => {
    const reader = client('team-a', { token: read });
    for (const head of heads) {
      for (const index of [0, 1, Math.floor(head.tree_size / 2), head.tree_size - 1]) {
        const input = await reader.getEntryAndProof(index, head);
        expect(Buffer.from(input).equals(await log.entry(index as never))).toBe(true);
      }
    }
  });

  test('knows the log by the SHA-256 of the key that /v1/keys shows', async () => {
    const { keys } = (await world.get('/v1/keys')).json<{
      keys: { log: string; purpose: string; vkey: string }[];
    }>();
    const own = keys.filter((key) => key.log === 'team-a');
    expect(own.map(({ purpose }) => purpose)).toEqual(['identity', 'anchor', 'sth']);
    const material = Buffer.from(own[2]!.vkey.split('+').slice(2).join('+'), 'base64');
    expect(material[0]).toBe(5);
    const id = createHash('sha256').update(material.subarray(1)).digest('base64');
    expect(client('team-a').logId).toBe(id);
  });

  test('of a log with one entry gets an empty path and not none', async () => {
    await world.logs.create({ name: 'single', visibility: 'public' });
    const { log: made } = await world.logs.lease('single');
    const { bytes } = await ask('single', '/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=1');
    const entry = Buffer.from(await made.entry(0 as never)).toString('base64');
    expect(JSON.parse(bytes.toString())).toEqual({
      leaf_input: entry,
      extra_data: '',
      audit_path: [],
    });
  });

  test('is told that everything begins with the empty tree', async () => {
    for (const second of [0, 1, ENTRIES]) {
      const { text } = await ask('team-a', `/ct/v1/get-sth-consistency?first=0&second=${second}`);
      expect(text).toBe('{"consistency":[]}');
    }
  });
});

describe('an answer with one thing changed holds for no client', () => {
  type Change = (json: Record<string, unknown>) => unknown;
  const flip = (base64: unknown, at = 0): string => {
    const bytes = Buffer.from(String(base64), 'base64');
    bytes[at] = bytes[at]! ^ 1;
    return bytes.toString('base64');
  };
  const path = (name: string): Change[] => [
    (json) => (json[name] = (json[name] as string[]).slice(1)),
    (json) => (json[name] as string[]).push(flip((json[name] as string[])[0])),
    (json) => ((json[name] as string[])[0] = flip((json[name] as string[])[0])),
  ];
  const changes: Record<string, [Change[], (by: CtClient) => Promise<unknown>]> = {
    'a tree head': [
      [
        (json) => (json.tree_size = Number(json.tree_size) - 1),
        (json) => (json.timestamp = Number(json.timestamp) + 1),
        (json) => (json.sha256_root_hash = flip(json.sha256_root_hash)),
        (json) => (json.tree_head_signature = flip(json.tree_head_signature, 20)),
        (json) => (json.tree_head_signature = flip(json.tree_head_signature, 1)),
      ],
      (by) => by.getSth(),
    ],
    'a consistency proof': [path('consistency'), (by) => by.checkConsistency(heads[3]!, last())],
    'a proof by hash': [
      [...path('audit_path'), (json) => (json.leaf_index = Number(json.leaf_index) + 1)],
      async (by) => by.findLeaf(await log.entry(9 as never), last()),
    ],
    'an entry and its proof': [
      [...path('audit_path'), (json) => (json.leaf_input = flip(json.leaf_input, 30))],
      (by) => by.getEntryAndProof(9, last()),
    ],
  };

  test.each(Object.entries(changes))('%s', async (_, [ways, asked]) => {
    await asked(client('team-a', { token: read }));
    for (const change of ways) {
      const spki = log.verifierKeys().sth!.key;
      const spoiled = new CtClient(async (at) => {
        const answer = await ask('team-a', at, { token: read });
        const json = answer.json();
        change(json);
        return { status: answer.status, text: JSON.stringify(json) };
      }, spki);
      await expect(asked(spoiled), change.toString()).rejects.toThrow();
    }
  });
});

describe('a hash in a query', () => {
  /** An entry whose leaf hash has what percent-encoding is needed for. */
  async function withSigns(): Promise<{ index: number; hash: string }> {
    for (let index = 0; index < ENTRIES; index++) {
      const hash = Buffer.from(leaf(await log.entry(index as never))).toString('base64');
      if (hash.includes('+') && hash.includes('/')) return { index, hash };
    }
    throw new Error('no hash of these has both signs');
  }

  test.each([
    ['encoded as forms are', (hash: string) => new URLSearchParams({ hash }).toString()],
    ['encoded as a component', (hash: string) => `hash=${encodeURIComponent(hash)}`],
    [
      'encoded in lower-case hex',
      (hash: string) => `hash=${encodeURIComponent(hash)}`.replace('%2F', '%2f'),
    ],
    ['as it is', (hash: string) => `hash=${hash}`],
    ['encoded to the last letter', (hash: string) => `hash=${everyByte(hash)}`],
  ])('is understood %s', async (_, format) => {
    const { index, hash } = await withSigns();
    const query = `${format(hash)}&tree_size=${ENTRIES}`;
    const { status, text } = await ask('team-a', `/ct/v1/get-proof-by-hash?${query}`);
    expect(status, text).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ leaf_index: index });
  });

  function everyByte(text: string): string {
    return [...text].map((c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`).join('');
  }
});

const H = 'A'.repeat(43);
const NUMBERS = ['', '-1', '+1', '01', '1.0', '1e3', '0x1', '1%20', 'one', '9007199254740992'];

describe('what is refused', () => {
  const missing: string[] = [
    '/ct/v1/get-sth-consistency',
    '/ct/v1/get-sth-consistency?first=1',
    '/ct/v1/get-sth-consistency?second=1',
    '/ct/v1/get-proof-by-hash',
    `/ct/v1/get-proof-by-hash?hash=${H}%3D`,
    '/ct/v1/get-proof-by-hash?tree_size=1',
    '/ct/v1/get-entries',
    '/ct/v1/get-entries?start=0',
    '/ct/v1/get-entries?end=0',
    '/ct/v1/get-entry-and-proof',
    '/ct/v1/get-entry-and-proof?leaf_index=0',
    '/ct/v1/get-entry-and-proof?tree_size=1',
  ];
  const numbers = NUMBERS.flatMap((n) => [
    `/ct/v1/get-sth-consistency?first=${n}&second=2`,
    `/ct/v1/get-sth-consistency?first=1&second=${n}`,
    `/ct/v1/get-proof-by-hash?hash=${H}%3D&tree_size=${n}`,
    `/ct/v1/get-entries?start=${n}&end=1`,
    `/ct/v1/get-entries?start=0&end=${n}`,
    `/ct/v1/get-entry-and-proof?leaf_index=${n}&tree_size=2`,
    `/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=${n}`,
  ]);
  const hashes = [
    '',
    H,
    `${H}%3D%3D`,
    `${'A'.repeat(44)}`,
    `${'A'.repeat(42)}%3D%3D`,
    `${'A'.repeat(42)}B%3D`,
    `${'-'.repeat(43)}%3D`,
    `${'%20'.repeat(43)}%3D`,
    'f'.repeat(64),
    '%ff',
    '%',
    'A'.repeat(10_000),
  ].map((hash) => `/ct/v1/get-proof-by-hash?hash=${hash}&tree_size=2`);
  const order = [
    '/ct/v1/get-sth-consistency?first=3&second=2',
    '/ct/v1/get-entries?start=3&end=2',
    '/ct/v1/get-entries?start=0&start=0&end=2',
    '/ct/v1/get-entries?start=0&end=2&end=2',
  ];

  test.each([...missing, ...numbers, ...hashes, ...order])('as malformed: %s', async (path) => {
    const answer = await ask('team-a', path, { token: read });
    expect(answer.status).toBe(400);
    checkProblem(answer);
  });

  test.each([
    `/ct/v1/get-sth-consistency?first=1&second=${ENTRIES + 1}`,
    `/ct/v1/get-sth-consistency?first=0&second=${ENTRIES + 1}`,
    `/ct/v1/get-proof-by-hash?hash=${H}%3D&tree_size=${ENTRIES}`,
    `/ct/v1/get-entries?start=${ENTRIES}&end=${ENTRIES}`,
    `/ct/v1/get-entries?start=9007199254740991&end=9007199254740991`,
    `/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=${ENTRIES + 1}`,
    '/ct/v1/get-entry-and-proof?leaf_index=2&tree_size=2',
    '/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=0',
  ])('since it is not there: %s', async (path) => {
    const answer = await ask('team-a', path, { token: read });
    expect(answer.status).toBe(404);
    checkProblem(answer);
  });

  test('a leaf under a head that it is not in yet', async () => {
    const hash = encodeURIComponent(
      Buffer.from(leaf(await log.entry(100 as never))).toString('base64'),
    );
    for (const size of [0, 1, 100]) {
      const answer = await ask('team-a', `/ct/v1/get-proof-by-hash?hash=${hash}&tree_size=${size}`);
      expect(answer.status).toBe(404);
      checkProblem(answer);
    }
  });

  test.each(['add-chain', 'add-pre-chain', 'get-roots'])(
    '%s: there are no certificates here',
    async (name) => {
      for (const method of ['GET', 'POST']) {
        const { status } = await world.ask(method, `/logs/team-a/ct/v1/${name}`);
        expect(status).toBe(404);
      }
    },
  );

  test('any method but GET and HEAD', async () => {
    const path = '/logs/team-a/ct/v1/get-sth';
    expect((await world.ask('POST', path, { body: '{}' })).status).toBe(405);
    const head = await world.ask('HEAD', path);
    expect([head.status, head.text]).toEqual([200, '']);
  });

  /** Said for both kinds of clients: a problem document, and the member that RFC 6962 clients show. */
  function checkProblem(answer: Answer): void {
    const { error_message, detail, status } = answer.json();
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(status).toBe(answer.status);
    expect(String(detail)).not.toBe('');
    expect(error_message).toBe(detail);
  }
});

test('parameters that the RFC does not name are ignored, as it says', async () => {
  for (const path of ['/ct/v1/get-sth?', '/ct/v1/get-sth-consistency?first=2&second=3&']) {
    const plain = await ask('team-a', path.slice(0, -1));
    for (const more of ['extra=1', 'extra=1&extra=2', 'extra', '=&&', 'extra=%', 'start=x']) {
      const answer = await ask('team-a', path + more);
      expect([answer.status, answer.text], more).toEqual([200, plain.text]);
    }
  }
  // Elsewhere they are refused.
  expect((await ask('team-a', '/v1/tree-head?extra=1')).status).toBe(400);
});

describe('who may ask', () => {
  const OPEN = [
    '/ct/v1/get-sth',
    '/ct/v1/get-sth-consistency?first=1&second=2',
    (hash: string) => `/ct/v1/get-proof-by-hash?hash=${hash}&tree_size=2`,
  ];
  const ENTRY = [
    '/ct/v1/get-entries?start=0&end=1',
    '/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=2',
  ];

  async function statuses(name: string, of: Log, token?: string) {
    const hash = encodeURIComponent(
      Buffer.from(leaf(await of.entry(0 as never))).toString('base64'),
    );
    const paths = [...OPEN, ...ENTRY].map((p) => (typeof p === 'string' ? p : p(hash)));
    const answers = await Promise.all(paths.map((path) => ask(name, path, { token })));
    for (const answer of answers.filter(({ status }) => status !== 200)) {
      expect(answer.json().error_message).toBe(answer.json().detail);
    }
    return answers.map(({ status }) => status);
  }

  test('of a log like most: heads and proofs everybody, entries those who read', async () => {
    expect(await statuses('team-a', log)).toEqual([200, 200, 200, 401, 401]);
    expect(await statuses('team-a', log, read)).toEqual([200, 200, 200, 200, 200]);
    const submitter = world.token({ roles: ['submit'] });
    expect(await statuses('team-a', log, submitter)).toEqual([200, 200, 200, 403, 403]);
    const elsewhere = world.token({ roles: ['read'], logs: ['other'] });
    expect(await statuses('team-a', log, elsewhere)).toEqual([200, 200, 200, 403, 403]);
    const bad = `stele_${'0'.repeat(16)}_${'A'.repeat(43)}`;
    expect(await statuses('team-a', log, bad)).toEqual([401, 401, 401, 401, 401]);
  });

  test('of a public log: everybody', async () => {
    const { log: open } = await world.log('open', 'public');
    expect(await statuses('open', open)).toEqual([200, 200, 200, 200, 200]);
  });

  test('of a private log: only tokens for it; to others it does not exist', async () => {
    const { log: hidden } = await world.log('hidden', 'private');
    expect(await statuses('hidden', hidden)).toEqual([404, 404, 404, 404, 404]);
    const elsewhere = world.token({ roles: ['read'], logs: ['team-a'] });
    expect(await statuses('hidden', hidden, elsewhere)).toEqual([404, 404, 404, 404, 404]);
    const own = world.token({ roles: ['read'], logs: ['hidden'] });
    expect(await statuses('hidden', hidden, own)).toEqual([200, 200, 200, 200, 200]);
    const nowhere = await ask('nothere', '/ct/v1/get-sth');
    const secret = await ask('hidden', '/ct/v1/get-sth');
    expect(secret.text.replaceAll('hidden', 'nothere')).toBe(nowhere.text);
  });

  test('of an access log: those who read its log', async () => {
    const { log: access } = await world.logs.lease('team-a.access');
    expect(await statuses('team-a.access', access)).toEqual([404, 404, 404, 404, 404]);
    expect(await statuses('team-a.access', access, read)).toEqual([200, 200, 200, 200, 200]);
  });
});

describe('a range of entries', () => {
  async function lengthOf(name: string, start: number, end: number): Promise<number> {
    const answer = await ask(name, `/ct/v1/get-entries?start=${start}&end=${end}`, { token: read });
    return answer.json<{ entries: unknown[] }>().entries.length;
  }

  test('has its last index in it', async () => {
    expect(await lengthOf('team-a', 0, 0)).toBe(1);
    expect(await lengthOf('team-a', 63, 64)).toBe(2);
    expect(await lengthOf('team-a', 7, ENTRIES - 1)).toBe(ENTRIES - 7);
  });

  test('ends where the log does', async () => {
    expect(await lengthOf('team-a', ENTRIES - 1, ENTRIES)).toBe(1);
    expect(await lengthOf('team-a', 0, 9_007_199_254_740_991)).toBe(ENTRIES);
  });

  test('has at most 1,000 entries, and a client that goes on gets all', async () => {
    const { log: many, gateway: by } = await world.log('many');
    const items = [];
    while (items.length < 1_100) items.push({ admitted: await many.admit(await by.entry()) });
    await many.submit(items);
    expect(await lengthOf('many', 0, 1_101)).toBe(1_000);
    expect(await lengthOf('many', 1_000, 1_101)).toBe(102);
    const reader = client('many', { token: read });
    const all = [];
    while (all.length < 1_102) all.push(...(await reader.getEntries(all.length, 1_101)));
    expect(all.length).toBe(1_102);
  });

  test('has at most 4 MiB of entries, but always one', async () => {
    await world.logs.create({ name: 'large', rules: { payload_types: ['text/plain'] } });
    const { log: large } = await world.logs.lease('large');
    const { signer } = gateway;
    await large.registerGateway(signer.publicKey);
    const items = [];
    for (let i = 0; i < 70; i++) {
      const payload = new Uint8Array(65_300).fill(i + 1);
      const sig = await signer.sign(pae('text/plain', payload));
      const signatures = [{ keyid: signer.publicKey.keyid, sig }];
      const entry = encodeEntry({ payloadType: 'text/plain', payload, signatures });
      items.push({ admitted: await large.admit(entry) });
    }
    await large.submit(items);
    const answer = await ask('large', '/ct/v1/get-entries?start=2&end=71', { token: read });
    const { entries } = answer.json<{ entries: { leaf_input: string }[] }>();
    const bytes = entries.map(({ leaf_input }) => Buffer.from(leaf_input, 'base64').length);
    const sum = bytes.reduce((a, b) => a + b, 0);
    expect(sum).toBeLessThanOrEqual(4 * 1024 * 1024);
    expect(sum + bytes[0]!).toBeGreaterThan(4 * 1024 * 1024);
    expect(await lengthOf('large', 71, 71)).toBe(1);
  });
});

describe('how answers are kept', () => {
  test('a tree head is asked for again, by its tag', async () => {
    const first = await ask('team-a', '/ct/v1/get-sth');
    expect(first.headers['content-type']).toBe('application/json');
    expect(first.headers['cache-control']).toBe('no-cache');
    const headers = { 'if-none-match': String(first.headers.etag) };
    expect((await ask('team-a', '/ct/v1/get-sth', { headers })).status).toBe(304);
    world.now += 1_000;
    const next = await ask('team-a', '/ct/v1/get-sth', { headers });
    expect(next.status).toBe(200);
    expect(next.json().timestamp).toBe(world.now);
  });

  test('what depends on the query string is not kept at all', async () => {
    const answer = await ask('team-a', '/ct/v1/get-sth-consistency?first=1&second=2');
    expect(answer.headers['cache-control']).toBe('no-store');
    const entries = await ask('team-a', '/ct/v1/get-entries?start=0&end=0', { token: read });
    expect(entries.headers['cache-control']).toBe('private, no-store');
  });
});

describe('the clock', () => {
  test('signs once for all who ask within a second', async () => {
    const asked = await Promise.all(
      Array.from({ length: 20 }, () => ask('team-a', '/ct/v1/get-sth')),
    );
    world.now += 999;
    asked.push(await ask('team-a', '/ct/v1/get-sth'));
    expect(new Set(asked.map(({ text }) => text)).size).toBe(1);
    world.now += 1;
    expect((await ask('team-a', '/ct/v1/get-sth')).text).not.toBe(asked[0]!.text);
  });

  test('that goes back is waited for: 503, with the seconds, and to strangers no more', async () => {
    const { log: late } = await world.log('late');
    const before = (await ask('late', '/ct/v1/get-sth')).json();
    world.now -= 30_000;
    const answer = await ask('late', '/ct/v1/get-sth');
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '30']);
    expect(answer.json()).toMatchObject({ code: 'storage', error_message: expect.any(String) });
    expect(answer.text).not.toContain('clock');
    const told = await ask('late', '/ct/v1/get-sth', { token: read });
    expect(String(told.json().error_message)).toMatch(/the clock reads .* 30 s behind/);
    // All else goes on.
    expect((await ask('late', '/checkpoint')).status).toBe(200);
    expect((await ask('late', '/ct/v1/get-sth-consistency?first=1&second=2')).status).toBe(200);
    world.now += 31_000;
    const after = await client('late').getSth().catch(String);
    expect(after).toContain('not signed by the log');
    const { sth } = late.verifierKeys();
    const own = new CtClient((path) => ask('late', path), sth!.key);
    expect((await own.getSth()).timestamp).toBe(Number(before.timestamp) + 1_000);
  });
});
