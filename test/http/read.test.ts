/** Reading: heads, tiles, proofs and entries, checked as a stranger would, and every wrong question. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeBundle } from '../../server/core/bundle.ts';
import { parseBase64, toBase64, toHex, utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkConsistency, checkInclusion } from '../../server/core/proof.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseTlogProof } from '../../server/core/tlog-proof.ts';
import { hash, leafIndex, type TreeSize, treeSize } from '../../server/core/units.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import type { Log } from '../../server/log/log.ts';
import { type Answer, type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;
let entries: Uint8Array[];
let recordId: string;

const SIZE = 300;
const A = '/logs/a';

beforeAll(async () => {
  world = await World.start();
  ({ log, gateway } = await world.log('a'));
  token = world.token({ roles: ['read'], logs: ['a'] });
  const made = await gateway.make();
  ({ recordId } = made);
  const fresh = [made.bytes];
  while (fresh.length < SIZE - 2) fresh.push(await gateway.entry());
  await log.submit(
    await Promise.all(fresh.map(async (b) => ({ admitted: await log.admit(decodeEntry(b)) }))),
  );
  entries = await log.entries(leafIndex(0), treeSize(SIZE));
});

afterAll(() => world.stop());

const get = (path: string) => world.get(A + path, { token });

interface TreeHead {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  readonly time?: string;
  readonly checkpoint?: string;
  readonly cosignatures: unknown[];
  readonly anchors: unknown[];
}

const hashes = (list: readonly string[]) => list.map((text) => hash(parseBase64(text, 'hash')));

async function rootAt(size: number) {
  const head = (await get(`/v1/tree-head/${size}`)).json<TreeHead>();
  return { root: hash(parseBase64(head.root, 'root')), size: treeSize(size) };
}

describe('heads', () => {
  test('the tree head is signed, and covers everything', async () => {
    const head = (await get('/v1/tree-head')).json<TreeHead>();
    expect(head).toMatchObject({ origin: log.origin, size: SIZE, cosignatures: [], anchors: [] });
    expect(head.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    const opened = openCheckpoint(utf8(head.checkpoint ?? ''), log.origin, [
      log.verifierKeys().identity,
    ]);
    expect(toBase64(opened.checkpoint.root)).toBe(head.root);
  });

  test('the checkpoint is a signed note as text', async () => {
    const answer = await world.get(`${A}/checkpoint`);
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect(answer.headers['cache-control']).toBe('no-cache');
    openCheckpoint(answer.bytes, log.origin, [log.verifierKeys().identity]);
  });

  test('any integrated size has a root', async () => {
    for (const size of [0, 1, 2, 255, 256, 257, SIZE - 1]) {
      const head = (await get(`/v1/tree-head/${size}`)).json<TreeHead>();
      expect(head.size).toBe(size);
      expect(parseBase64(head.root, 'root')).toHaveLength(32);
    }
  });

  test('an unchanged head is 304, under its tag and under a list that has it', async () => {
    for (const path of ['/checkpoint', '/v1/tree-head', `/v1/tree-head/${SIZE}`]) {
      const first = await world.get(A + path);
      const { etag = '' } = first.headers;
      expect(etag).toMatch(/^"[A-Za-z0-9_-]{27}"$/);
      for (const tag of [etag, `"x", ${etag}`, `W/${etag}`, '*']) {
        const again = await world.get(A + path, { headers: { 'if-none-match': tag } });
        expect([again.status, again.text]).toEqual([304, '']);
        expect(again.headers.etag).toBe(etag);
        expect(again.headers['cache-control']).toBe('no-cache');
      }
      const other = await world.get(A + path, { headers: { 'if-none-match': '"x"' } });
      expect([other.status, other.text]).toEqual([200, first.text]);
    }
  });
});

describe('proofs', () => {
  test('of inclusion hold for every kind of place', async () => {
    for (const size of [1, 2, 3, 255, 256, 257, SIZE]) {
      const { root } = await rootAt(size);
      for (const index of [0, 1, 2, 127, 254, 255, 256, size - 1].filter((i) => i < size)) {
        const answer = await get(`/v1/proofs/inclusion/${index}/${size}`);
        const { proof, ...rest } = answer.json<{ proof: string[] }>();
        expect(rest).toEqual({ index, size });
        checkInclusion({
          index: leafIndex(index),
          size: treeSize(size),
          leafHash: leafHash(entries[index] ?? new Uint8Array()),
          proof: hashes(proof),
          root,
        });
      }
    }
  });

  test('of consistency hold between any two sizes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: SIZE }),
        fc.integer({ min: 1, max: SIZE }),
        async (a, b) => {
          const [from, to] = [Math.min(a, b), Math.max(a, b)];
          const answer = await get(`/v1/proofs/consistency/${from}/${to}`);
          const { proof, ...rest } = answer.json<{ proof: string[] }>();
          expect(rest).toEqual({ from, to });
          checkConsistency({
            from: from as TreeSize,
            to: to as TreeSize,
            fromRoot: (await rootAt(from)).root,
            toRoot: (await rootAt(to)).root,
            proof: hashes(proof),
          });
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('tiles', () => {
  test('hold the leaf hashes, in full and in part', async () => {
    const leaves = entries.map((entry) => leafHash(entry));
    const full = await world.get(`${A}/tile/0/000`);
    expect(full.headers['content-type']).toBe('application/octet-stream');
    expect(toHex(full.bytes)).toBe(toHex(Buffer.concat(leaves.slice(0, 256))));
    const part = await world.get(`${A}/tile/0/001.p/44`);
    expect(toHex(part.bytes)).toBe(toHex(Buffer.concat(leaves.slice(256))));
    expect((await world.get(`${A}/tile/1/000.p/1`)).bytes).toHaveLength(32);
  });

  test('of entries hold the entries', async () => {
    const full = await get('/tile/entries/000');
    expect(decodeBundle(full.bytes).map(toHex)).toEqual(entries.slice(0, 256).map(toHex));
    const part = await get('/tile/entries/001.p/7');
    expect(decodeBundle(part.bytes).map(toHex)).toEqual(entries.slice(256, 263).map(toHex));
  });
});

describe('entries', () => {
  test('one by one', async () => {
    for (const index of [0, 1, SIZE - 1]) {
      const answer = await get(`/v1/entries/${index}`);
      expect(answer.headers['content-type']).toBe('application/protobuf');
      expect(toHex(answer.bytes)).toBe(toHex(entries[index] ?? new Uint8Array()));
    }
  });

  test('page by page, to the end', async () => {
    const got: string[] = [];
    let next: number | undefined = 0;
    while (next !== undefined) {
      const answer: Answer = await get(`/v1/entries?start=${next}&limit=77`);
      const page: { start: number; entries: string[]; next?: number } = answer.json();
      expect(page.start).toBe(next);
      got.push(...page.entries);
      next = page.next;
    }
    expect(got).toEqual(entries.map((entry) => toBase64(entry)));
  });

  test('a page has 100 unless asked, and none beyond the end', async () => {
    expect((await get('/v1/entries')).json<{ entries: [] }>().entries).toHaveLength(100);
    expect((await get(`/v1/entries?start=${SIZE}`)).json()).toEqual({ start: SIZE, entries: [] });
  });

  test('a page of large entries ends early, and the next one goes on', async () => {
    const big = await world.log('big');
    await big.log.submit(
      await Promise.all(
        Array.from({ length: 200 }, async () => {
          const commitments = Object.fromEntries(
            Array.from({ length: 64 }, (_, i) => [`policy.${i}.reason`, 'A'.repeat(43)]),
          );
          const bytes = await big.gateway.entry({ commitments });
          return { admitted: await big.log.admit(decodeEntry(bytes)) };
        }),
      ),
    );
    const answer = await world.get('/logs/big/v1/entries?limit=1000', {
      token: world.token({ roles: ['read'] }),
    });
    const page = answer.json<{ entries: string[]; next?: number }>();
    const bytes = page.entries.reduce((sum, text) => sum + parseBase64(text, 'entry').length, 0);
    expect(bytes).toBeLessThanOrEqual(4 * 1024 * 1024);
    expect(page.next ?? big.log.head().size).toBe(page.entries.length);
  });

  test('by leaf hash and by record id', async () => {
    const leaf = toHex(leafHash(entries[2] ?? new Uint8Array()));
    expect((await get(`/v1/leaves/${leaf}`)).json()).toEqual({ leaf_hash: leaf, index: 2 });
    for (const query of ['', '?source=gateway-1']) {
      const answer = await get(`/v1/records/${recordId}${query}`);
      expect(answer.json()).toEqual({ record_id: recordId, index: 2 });
    }
  });

  test('an id that two sources used needs the source', async () => {
    const twice = await gateway.make({ source: 'two' });
    const again = await gateway.make({ source: 'three', recordId: twice.recordId });
    for (const { bytes } of [twice, again]) {
      await log.submit([{ admitted: await log.admit(decodeEntry(bytes)) }]);
    }
    const answer = await get(`/v1/records/${twice.recordId}`);
    expect([answer.status, answer.json().code]).toEqual([409, 'conflict']);
    const three = await get(`/v1/records/${twice.recordId}?source=three`);
    expect(three.json()).toEqual({ record_id: twice.recordId, index: log.head().size - 1 });
  });

  test('sources with their holes, page by page', async () => {
    const { sources } = (await get('/v1/sources')).json<{ sources: { id: string }[] }>();
    expect(sources.map((s) => s.id)).toEqual(['_log', 'gateway-1', 'three', 'two']);
    expect(sources[1]).toMatchObject({
      keyid: gateway.signer.publicKey.keyid,
      next: SIZE - 2,
      holes: [],
    });
    expect(sources[2]).toMatchObject({ next: SIZE, holes: [{ begin: 0, end: SIZE - 1 }] });
    const page = (await get('/v1/sources?limit=2')).json<{ sources: []; next: string }>();
    expect([page.sources.length, page.next]).toEqual([2, 'gateway-1']);
    const last = (await get('/v1/sources?limit=3&after=gateway-1')).json<{
      sources: { id: string }[];
    }>();
    expect(last).not.toHaveProperty('next');
    expect(last.sources.map((s) => s.id)).toEqual(['three', 'two']);
  });
});

describe('receipts', () => {
  test('by index, leaf hash and record id are one and the same', async () => {
    const leaf = toHex(leafHash(entries[2] ?? new Uint8Array()));
    const answers = await Promise.all(['2', leaf, recordId].map((id) => get(`/v1/receipts/${id}`)));
    for (const answer of answers) {
      expect(answer.headers['content-type']).toBe('application/vnd.stele.receipt.v1+json');
      expect(parseReceipt(answer.bytes)).toMatchObject({ index: 2, entry: entries[2] });
    }
  });

  test('as a tlog-proof say the same to other tools', async () => {
    const answer = await get('/v1/receipts/2?format=tlog-proof');
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
    const { index, proof, checkpoint, extra } = parseTlogProof(answer.bytes);
    expect(toHex(extra ?? new Uint8Array())).toBe(toHex(entries[2] ?? new Uint8Array()));
    const opened = openCheckpoint(utf8(checkpoint), log.origin, [log.verifierKeys().identity]);
    const { size, root } = opened.checkpoint;
    checkInclusion({
      index,
      size,
      leafHash: leafHash(entries[2] ?? new Uint8Array()),
      proof,
      root,
    });
    expect((await get('/v1/receipts/2?format=receipt')).text).toBe(
      (await get('/v1/receipts/2')).text,
    );
  });

  test.each(['quorum', 'rekor', 'rfc3161', 'quorum,rekor,rfc3161'])(
    'that need %s are not there yet',
    async (require) => {
      const answer = await get(`/v1/receipts/2?require=${require}`);
      expect([answer.status, answer.json().code]).toEqual([404, 'not_yet']);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    },
  );
});

describe('the wrong question', () => {
  const id = uuidv7(1, new Uint8Array(10).fill(0xab));
  const beyond: readonly string[] = [
    '/v1/entries/100000',
    '/v1/entries/9007199254740991',
    '/v1/entries?start=100000',
    '/v1/tree-head/100000',
    '/v1/proofs/inclusion/5/100000',
    '/v1/proofs/inclusion/5/5',
    '/v1/proofs/inclusion/0/0',
    '/v1/proofs/consistency/1/100000',
    '/v1/receipts/100000',
    `/v1/receipts/${'0'.repeat(64)}`,
    `/v1/receipts/${id}`,
    `/v1/leaves/${'0'.repeat(64)}`,
    `/v1/records/${id}`,
    `/v1/records/${id}?source=gateway-1`,
    '/tile/0/002',
    '/tile/0/001',
    '/tile/0/001.p/200',
    '/tile/1/000',
    '/tile/2/000.p/1',
    '/tile/63/000',
    '/tile/entries/001',
    '/tile/entries/005.p/1',
  ];

  test.each(beyond)('%s is beyond what there is', async (path) => {
    const answer = await get(path);
    expect(answer.text).toContain('"code":"not_found"');
    expect(answer.status).toBe(404);
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  const spelled: readonly string[] = [
    ...[
      '05',
      '+5',
      '-1',
      '5.0',
      '1e3',
      '0x5',
      '9007199254740992',
      '18446744073709551616',
      '_',
    ].flatMap((n) => [
      `/v1/entries/${n}`,
      `/v1/entries?start=${n}`,
      `/v1/entries?limit=${n}`,
      `/v1/tree-head/${n}`,
      `/v1/proofs/inclusion/${n}/9`,
      `/v1/proofs/inclusion/1/${n}`,
      `/v1/proofs/consistency/${n}/9`,
      `/v1/proofs/consistency/1/${n}`,
      `/v1/receipts/${n}`,
      `/v1/receipts/2?wait=${n}`,
    ]),
    '/v1/proofs/consistency/9/5',
    '/v1/proofs/consistency/0/5',
    '/v1/entries?limit=0',
    '/v1/entries?limit=1001',
    '/v1/entries?limit=',
    '/v1/entries?begin=0',
    '/v1/entries?start=0&start=1',
    '/v1/receipts/2?wait=21',
    '/v1/receipts/2?require=',
    '/v1/receipts/2?format=',
    '/v1/receipts/2?format=pdf',
    '/v1/receipts/2?require=quorum,all',
    '/v1/receipts/2?source=gateway-1',
    `/v1/receipts/${'A'.repeat(64)}`,
    `/v1/leaves/${'A'.repeat(64)}`,
    `/v1/leaves/${'0'.repeat(62)}`,
    '/v1/leaves/zz',
    '/v1/records/abc',
    `/v1/records/${id.toUpperCase()}`,
    `/v1/records/${id.replace('-7', '-4')}`,
    `/v1/records/${id}?source=%ff`,
    '/tile/0/0',
    '/tile/0/000.p/0',
    '/tile/0/000.p/256',
    '/tile/0/000.p/05',
    '/tile/00/000',
    '/tile/64/000',
    '/tile/0/x000/001',
    '/tile/0/x001',
    '/tile/0/1234',
    '/tile/0',
    '/tile/data/000',
    '/tile/entries/1',
    '/checkpoint?x=1',
    '/checkpoint/',
    '/v1//entries/1',
    '/v1/./entries/1',
    '/v1/x/../entries/1',
    '/v1/entries/%31',
    '/%63heckpoint',
    '/v1/entries/1;x',
  ];

  test('what names no entry is told which names there are', async () => {
    const { detail } = (await get('/v1/receipts/mine')).json();
    expect(detail).toBe('id: "mine" is no index, record_id or leaf hash');
  });

  test.each(spelled)('%s is not spelled right', async (path) => {
    const answer = await get(path);
    expect(answer.text).toContain('"code":"malformed"');
    expect(answer.status).toBe(400);
  });

  test.each(['', '/', '/v1', '/v2/entries', '/tile', '/CHECKPOINT', '/v1/proofs/inclusion/1'])(
    'nothing is at %j',
    async (path) => {
      const answer = await get(path);
      expect([400, 404]).toContain(answer.status);
    },
  );

  test('none of it changed anything', async () => {
    expect((await log.entries(leafIndex(0), treeSize(SIZE))).length).toBe(SIZE);
  });
});
