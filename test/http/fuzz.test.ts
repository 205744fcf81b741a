/** Near misses: good requests with something changed. Never a fault of ours, never a changed log. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from './world.ts';

let world: World;
let log: Log;
let token: string;
let good: Record<string, { path: string; type: string; body: Buffer }>;

const B = 'b1';

beforeAll(async () => {
  world = await World.start();
  const made = await world.log('a');
  log = made.log;
  token = world.token({ roles: ['submit', 'read', 'content', 'admin'], logs: ['a'] });
  const { disclosure, digest } = makeDisclosure('principal.id', 'x', new Uint8Array(16));
  const entry = await made.gateway.entry({ commitments: { 'principal.id': digest } });
  const other = await made.gateway.entry();
  const json = formatEnvelopeJson(decodeEntry(other));
  const post = '/logs/a/v1/entries';
  good = {
    protobuf: { path: post, type: 'application/protobuf', body: Buffer.from(other) },
    envelope: {
      path: post,
      type: 'application/vnd.dsse.envelope.v1+json',
      body: Buffer.from(json),
    },
    multipart: {
      path: post,
      type: `multipart/form-data; boundary=${B}`,
      body: Buffer.concat([
        Buffer.from(`--${B}\r\ncontent-disposition: form-data; name="entry"\r\n\r\n`),
        entry,
        Buffer.from(`\r\n--${B}\r\ncontent-disposition: form-data; name="disclosure"\r\n\r\n`),
        Buffer.from(`${disclosure}\r\n--${B}--\r\n`),
      ]),
    },
    lines: {
      path: `${post}/batch`,
      type: 'application/x-ndjson',
      body: Buffer.from(`${json}\n`),
    },
    messages: {
      path: `${post}/batch`,
      type: 'application/protobuf',
      body: Buffer.concat([
        Buffer.from([(other.length & 127) | 128, other.length >> 7]),
        Buffer.from(other),
      ]),
    },
    token: {
      path: '/v1/admin/tokens',
      type: 'application/json',
      body: Buffer.from('{"holder":"x","roles":["read"],"logs":["b"]}'),
    },
    gateway: {
      path: '/v1/admin/logs/a/gateways',
      type: 'application/json',
      body: Buffer.from('{"key":"MCowBQYDK2VwAyEA","proof":"AAAA"}'),
    },
  };
});

afterAll(() => world.stop());

/** Cut, repeat, overwrite or insert, somewhere. */
const change = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 40 }),
  how: fc.constantFrom('cut', 'repeat', 'overwrite', 'insert', 'end'),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
});

function changed(
  body: Buffer,
  { at, length, how, bytes }: typeof change extends fc.Arbitrary<infer T> ? T : never,
) {
  const i = Math.floor(at * body.length);
  const [before, after] = [body.subarray(0, i), body.subarray(i)];
  if (how === 'cut') return Buffer.concat([before, after.subarray(length)]);
  if (how === 'repeat') return Buffer.concat([before, after.subarray(0, length), after]);
  if (how === 'overwrite') return Buffer.concat([before, bytes, after.subarray(bytes.length)]);
  if (how === 'insert') return Buffer.concat([before, bytes, after]);
  return before;
}

describe('a changed body', () => {
  test.each(['protobuf', 'envelope', 'multipart', 'lines', 'messages', 'token', 'gateway'])(
    'as %s',
    async (kind) => {
      const sent = good[kind];
      if (sent === undefined) throw new Error('no such kind');
      await fc.assert(
        fc.asyncProperty(change, async (how) => {
          const body = changed(sent.body, how);
          fc.pre(!body.equals(sent.body));
          const before = log.head();
          const answer = await world.ask('POST', sent.path, { token, type: sent.type, body });
          const where = `${answer.status} ${answer.text.slice(0, 300)}`;
          expect(answer.status, where).not.toBe(500);
          if (answer.status >= 300) {
            expect(answer.json().code, where).toBeTypeOf('string');
            expect(log.head(), where).toBe(before);
          } else if (kind !== 'lines' && kind !== 'messages') {
            // The change was of a kind that leaves the same entry: white space, or an unused header.
            expect(['envelope', 'multipart'], where).toContain(kind);
          }
        }),
        { numRuns: 150 },
      );
    },
  );
});

test('a changed path or query is never a fault of ours', async () => {
  const paths = [
    '/logs/a/v1/entries?start=0&limit=2',
    '/logs/a/v1/receipts/0?wait=0',
    '/logs/a/v1/proofs/inclusion/0/2',
    '/logs/a/tile/0/000.p/2',
    '/logs/a/v1/records/01890a5d-ac96-774b-bcce-b302099a8057?source=x',
    '/logs/a/v1/content/01890a5d-ac96-774b-bcce-b302099a8057/request.body',
  ];
  const piece = fc.string({ unit: fc.constantFrom(...'/.%?&=0123459abxp_-~*+:@!$'), maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 0, max: 6 }),
      piece,
      async (path, at, cut, text) => {
        const i = 1 + Math.floor(at * (path.length - 1));
        const asked = path.slice(0, i) + text + path.slice(i + cut);
        fc.pre(!/wait=[1-9]/.test(asked));
        const answer = await world.get(asked, { token, headers: { 'x-stele-reason': 'x' } });
        expect(answer.status, `${asked}: ${answer.text.slice(0, 300)}`).not.toBe(500);
        if (answer.status >= 400) expect(answer.headers['cache-control']).toBe('no-store');
      },
    ),
    { numRuns: 400 },
  );
});
