/** An audit over HTTP finds what a server changed on the way out, as it does in the files. */
import { beforeAll, expect, test } from 'vitest';
import { LogClient } from '../../server/client/client.ts';
import { decodeBundle, encodeBundle } from '../../server/core/bundle.ts';
import { toBase64, utf8 } from '../../server/core/bytes.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { parseTilePath } from '../../server/core/tile.ts';
import { Tree } from '../../server/core/tree.ts';
import { audit } from '../../server/log/audit/audit.ts';
import { Reader } from '../../server/log/reader.ts';
import { HttpReader } from '../../server/monitor/http-reader.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import type { Head } from '../../server/storage/store.ts';
import { fill, IDENTITY, ORIGIN, plainLog, publishedOf } from '../log/audit/build.ts';
import { checker } from '../log/make.ts';

const SIZE = 602;

let reader: Reader;
let head: Head;
let published: Head;
beforeAll(async () => {
  const entries = await plainLog(SIZE - 2);
  const store = new MemoryStore();
  head = await fill(store, entries);
  published = await publishedOf(head);
  const { tree } = Tree.empty().append(entries.map((entry) => leafHash(entry)));
  reader = new Reader(store, () => tree);
});

type Change = (bytes: Uint8Array) => Uint8Array | undefined;

/** A server of that log. `change` may spoil what is at a path, or take it away. */
function serving(changes: Readonly<Record<string, Change>>): LogClient {
  const answer = async (input: Parameters<typeof fetch>[0]): Promise<Response> => {
    const path = new URL(String(input)).pathname.slice('/logs/built/'.length);
    const bytes = (changes[path] ?? ((b) => b))(await at(path));
    return bytes === undefined
      ? new Response('', { status: 404 })
      : new Response(Buffer.from(bytes));
  };
  return new LogClient({ base: 'http://log.example/logs/built', fetch: answer });
}

async function at(path: string): Promise<Uint8Array> {
  if (path === 'checkpoint') return utf8(published.checkpoint);
  if (path === 'v1/tree-head') {
    const { size, root, checkpoint } = head;
    return utf8(JSON.stringify({ origin: ORIGIN, size, root: toBase64(root), checkpoint }));
  }
  return reader.tile(parseTilePath(path));
}

async function audited(changes: Readonly<Record<string, Change>>) {
  const { signal } = new AbortController();
  const report = await audit({
    reader: new HttpReader(serving(changes), signal),
    keys: [{ key: IDENTITY }],
    known: [{ from: 'a friend', ...head }],
    checker,
  });
  const text = report.findings.map((f) => `${f.severity} ${f.index ?? '-'} ${f.what}`).join('\n');
  return { report, text };
}

const flip = (place: number) => (bytes: Uint8Array) => bytes.with(place, (bytes[place] ?? 0) ^ 1);

test('a log that is served as it is holds', async () => {
  const { report, text } = await audited({});
  expect(text).toBe('');
  expect(report).toMatchObject({ holds: true, size: SIZE, counts: { signatures: SIZE } });
});

const changes: Record<string, readonly [Record<string, Change>, RegExp, number?]> = {
  'one bit of an entry': [
    { 'tile/entries/001': flip(300) },
    /fail 256 entry 256 was changed: tile 0\/1 has the hash that was signed/,
    256,
  ],
  'one bit of an entry in the right edge': [
    { 'tile/entries/002.p/90': flip(300) },
    /fail 512 entry 512 was changed: tile 0\/2 has the hash that was signed/,
    512,
  ],
  'one bit of a full tile': [{ 'tile/0/001': flip(32 * 9) }, /fail 265 tile 0\/1 was changed/, 265],
  'one bit of a partial tile': [
    { 'tile/0/002.p/90': flip(32 * 5) },
    /fail 517 tile 0\/2 was changed/,
    517,
  ],
  'one bit of a tile above the leaves': [
    { 'tile/1/000.p/2': flip(40) },
    /fail 256 tile 1\/0: hash 1 is not the one of its entries/,
    256,
  ],
  'a tile that is missing': [
    { 'tile/0/001': () => undefined },
    /fail 256 tile 0\/1 is missing/,
    256,
  ],
  'a tile cut short': [{ 'tile/0/001': (b) => b.slice(32) }, /fail 256 tile 0\/1: 8160 bytes/, 256],
  'an entry left out': [
    { 'tile/entries/001': (b) => encodeBundle(decodeBundle(b).slice(1)) },
    /fail 256 bundle 1: 255 entries where it has 256/,
    256,
  ],
  'a bundle cut in the middle of an entry': [
    { 'tile/entries/001': (b) => b.slice(0, -1) },
    /fail 256 entries 256 to 511: /,
    256,
  ],
  'two entries in each other’s place': [
    {
      'tile/entries/000': (b) => {
        const entries = decodeBundle(b);
        return encodeBundle(
          entries.with(7, entries[8] as Uint8Array).with(8, entries[7] as Uint8Array),
        );
      },
    },
    /fail 7 entry 7 was changed/,
    7,
  ],
  'another head': [
    { 'v1/tree-head': (b) => utf8(Buffer.from(b).toString().replace('\\n602\\n', '\\n601\\n')) },
    /fail - the head: /,
  ],
};

test.for(Object.entries(changes))('%s is found', async ([, [change, finds, firstBad]]) => {
  const { report, text } = await audited(change);
  expect(text).toMatch(finds);
  expect(report).toMatchObject({ fails: true, firstBad });
});

test('entries that cannot be had leave it open, and are no finding', async () => {
  await expect(audited({ 'tile/entries/001': () => undefined })).rejects.toMatchObject({
    code: 'not_found',
  });
});
