import { createPublicKey, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, toBase64, toHex, utf8 } from '../../server/core/bytes.ts';
import {
  decodeEntry,
  type Entry,
  encodeEntry,
  formatEnvelopeJson,
  gatewayKeyid,
  parseEnvelopeJson,
  RECORD_TYPE,
  signedMessage,
  statementDigest,
} from '../../server/core/entry.ts';
import { ENTRY_BYTES_MAX } from '../../server/core/limits.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { pae } from '../../server/core/pae.ts';
import { POSSESSION_TYPE } from '../../server/core/possession.ts';
import { hash } from '../../server/core/units.ts';
import {
  buildWindow,
  pathLength,
  WINDOW_TYPE,
  windowLeaf,
  windowMessage,
} from '../../server/core/window.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { pathOf, treeHash } from '../verify/make.ts';
import { expectOneSpelling } from './near-miss.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const h = (n: number) => hash(new Uint8Array(32).fill(n));

const plain: Entry = {
  payloadType: 'text/plain',
  payload: utf8('hello'),
  signatures: [{ keyid: A, sig: Uint8Array.of(1, 2, 3) }],
};

const windowed: Entry = {
  payloadType: RECORD_TYPE,
  payload: utf8('{}'),
  signatures: [
    { keyid: A, sig: Uint8Array.of(1), window: { index: 0, size: 3, hashes: [h(1), h(2)] } },
    { keyid: B, sig: Uint8Array.of(2), window: { index: 2, size: 3, hashes: [h(3)] } },
    { keyid: 'c'.repeat(64), sig: Uint8Array.of(3), window: { index: 0, size: 1, hashes: [] } },
  ],
};

describe('an entry', () => {
  it('has these bytes', () => {
    const expected = [
      '0a05',
      toHex(utf8('hello')),
      '120a',
      toHex(utf8('text/plain')),
      '1a47',
      '0a03010203',
      '1240',
      toHex(utf8(A)),
    ].join('');
    expect(toHex(encodeEntry(plain))).toBe(expected);
  });

  it('reads back what it encodes, and nothing else', () => {
    expect(decodeEntry(encodeEntry(windowed))).toEqual(windowed);
    expectOneSpelling(
      [plain, windowed].map(encodeEntry),
      (bytes) => encodeEntry(decodeEntry(bytes)),
      {
        runs: 10_000,
      },
    );
  });

  it('reads back any entry', () => {
    const keyid = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toHex);
    const entry = fc.record({
      payloadType: fc.stringMatching(/^[!-~]{1,40}$/).filter((type) => type !== WINDOW_TYPE),
      payload: fc.uint8Array({ minLength: 1, maxLength: 300 }),
      signatures: fc.uniqueArray(
        fc.record({ keyid, sig: fc.uint8Array({ minLength: 1, maxLength: 300 }) }),
        { minLength: 1, maxLength: 8, selector: (signature) => signature.keyid },
      ),
    });
    fc.assert(
      fc.property(entry, (made) => {
        expect(decodeEntry(encodeEntry(made))).toEqual(made);
        expect(parseEnvelopeJson(utf8(formatEnvelopeJson(made)))).toEqual(made);
      }),
    );
  });

  it('does not pin or alias a Buffer pool', () => {
    const decoded = decodeEntry(Buffer.from(encodeEntry(plain)));
    expect(Buffer.isBuffer(decoded.payload)).toBe(false);
    expect(encodeEntry(plain).buffer.byteLength).toBe(encodeEntry(plain).length);
  });

  const bytes = encodeEntry(plain);
  const field = (tag: number, ...content: number[]) =>
    Uint8Array.of(tag, content.length, ...content);
  const signature = bytes.slice(7 + 12);
  it.each([
    ['nothing', new Uint8Array(0)],
    ['no payload', bytes.slice(7)],
    ['an empty payload', concat(Uint8Array.of(0x0a, 0), bytes.slice(7))],
    ['fields in another order', concat(bytes.slice(7, 19), bytes.slice(0, 7), signature)],
    ['a payload twice', concat(bytes.slice(0, 7), bytes)],
    ['an overlong length', concat(Uint8Array.of(0x0a, 0x85, 0x00), bytes.slice(2))],
    ['an overlong tag', concat(Uint8Array.of(0x8a, 0x00), bytes.slice(1))],
    ['an unknown field', concat(bytes, field(0x22, 1))],
    ['an unknown varint', concat(bytes, Uint8Array.of(0x20, 1))],
    ['a group', concat(bytes, Uint8Array.of(0x23, 0x24))],
    ['no signature', bytes.slice(0, 19)],
    ['a byte after it', concat(bytes, Uint8Array.of(0))],
    ['the PAE in its place', pae(plain.payloadType, plain.payload)],
    ['a window with its zero written out', windowBytes(Uint8Array.of(0x08, 0, 0x10, 1))],
    ['a window of size 0', windowBytes(new Uint8Array(0))],
    ['a window with an unknown field', windowBytes(Uint8Array.of(0x10, 1, 0x20, 1))],
    ['a window with a short hash', windowBytes(Uint8Array.of(0x10, 2, 0x1a, 1, 7))],
    [
      'a window index beyond 2^53',
      windowBytes(Uint8Array.of(0x08, ...new Array(8).fill(0xff), 1, 0x10, 1)),
    ],
  ])('is malformed: %s', (_, spoiled) => {
    expect(() => decodeEntry(spoiled)).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  it('starts the window cases from one that is right', () => {
    const right = decodeEntry(windowBytes(Uint8Array.of(0x10, 1)));
    expect(right.signatures[0]?.window).toEqual({ index: 0, size: 1, hashes: [] });
  });

  it('is at most 65,535 bytes', () => {
    const overhead = encodeEntry({ ...plain, payload: new Uint8Array(65_000) }).length - 65_000;
    const payload = new Uint8Array(ENTRY_BYTES_MAX - overhead);
    expect(encodeEntry({ ...plain, payload })).toHaveLength(ENTRY_BYTES_MAX);
    const longer = { ...plain, payload: new Uint8Array(payload.length + 1) };
    expect(() => encodeEntry(longer)).toThrow(expect.objectContaining({ code: 'too_large' }));
    expect(() => decodeEntry(new Uint8Array(ENTRY_BYTES_MAX + 1))).toThrow(
      expect.objectContaining({ code: 'too_large' }),
    );
  });

  const [first] = plain.signatures;
  it.each<[string, Partial<Entry>]>([
    ['an empty payload', { payload: new Uint8Array(0) }],
    ['an empty type', { payloadType: '' }],
    ['a type with a line feed', { payloadType: 'a\nb' }],
    ['a type beyond ASCII', { payloadType: 'té' }],
    ['a lone surrogate as type', { payloadType: '\ud800' }],
    ['a type too long', { payloadType: 'x'.repeat(256) }],
    ['the type of a window', { payloadType: WINDOW_TYPE }],
    ['the type of a proof of possession', { payloadType: POSSESSION_TYPE }],
    ['no signatures', { signatures: [] }],
    [
      'nine signatures',
      {
        signatures: Array.from({ length: 9 }, (_, i) => ({ keyid: `${i}`.repeat(64), sig: h(1) })),
      },
    ],
    ['the same key twice', { signatures: first ? [first, first] : [] }],
    ['an upper-case keyid', { signatures: [{ keyid: 'A'.repeat(64), sig: h(1) }] }],
    ['a short keyid', { signatures: [{ keyid: 'a'.repeat(63), sig: h(1) }] }],
    ['an empty signature', { signatures: [{ keyid: A, sig: new Uint8Array(0) }] }],
    ['a huge signature', { signatures: [{ keyid: A, sig: new Uint8Array(4_097) }] }],
    [
      'a window over no record',
      { signatures: [{ keyid: A, sig: h(1), window: { index: 0, size: 1, hashes: [] } }] },
    ],
  ])('is malformed with %s', (_, change) => {
    expect(() => encodeEntry({ ...plain, ...change })).toThrow(
      expect.objectContaining({ code: 'malformed' }),
    );
  });

  it('names its gateway and its statement apart from signatures', () => {
    expect(gatewayKeyid(windowed)).toBe(A);
    const resigned = { ...plain, signatures: [{ keyid: A, sig: Uint8Array.of(9) }] };
    expect(toHex(statementDigest(resigned))).toBe(toHex(statementDigest(plain)));
    expect(toHex(leafHash(encodeEntry(resigned)))).not.toBe(toHex(leafHash(encodeEntry(plain))));
  });

  function windowBytes(window: Uint8Array): Uint8Array {
    const inner = concat(
      Uint8Array.of(0x0a, 1, 5, 0x12, 64),
      utf8(A),
      Uint8Array.of(0x82, 0x01, window.length),
      window,
    );
    const type = utf8(RECORD_TYPE);
    return concat(
      Uint8Array.of(0x0a, 2),
      utf8('{}'),
      Uint8Array.of(0x12, type.length),
      type,
      Uint8Array.of(0x1a, inner.length),
      inner,
    );
  }
});

describe('a JSON envelope', () => {
  const json = (value: unknown) => utf8(JSON.stringify(value));
  const good = {
    payload: 'aGVsbG8=',
    payloadType: 'text/plain',
    signatures: [{ keyid: A, sig: 'AQID' }],
  };

  it('stands for the entry, however it is laid out', () => {
    expect(parseEnvelopeJson(utf8(`\n${JSON.stringify(good, null, 4)} `))).toEqual(plain);
    expect(parseEnvelopeJson(utf8(formatEnvelopeJson(windowed)))).toEqual(windowed);
  });

  it('has no window under the standard media type', () => {
    const text = utf8(formatEnvelopeJson(windowed));
    expect(() => parseEnvelopeJson(text, { windows: false })).toThrow(
      /signatures\[0\]\.window: no such member is known/,
    );
  });

  it.each([
    ['an unknown member', json({ ...good, extra: 1 })],
    [
      'an unknown member of a signature',
      json({ ...good, signatures: [{ keyid: A, sig: 'AQID', cert: '' }] }),
    ],
    ['no payload', json({ ...good, payload: undefined })],
    ['no keyid', json({ ...good, signatures: [{ sig: 'AQID' }] })],
    ['URL-safe base64', json({ ...good, payload: 'aGVsbG-_' })],
    ['base64 without padding', json({ ...good, payload: 'aGVsbG8' })],
    ['base64 with spare bits', json({ ...good, payload: 'aGVsbG9=' })],
    ['a duplicate name', utf8(JSON.stringify(good).replace('{', '{"payload":"AAAA",'))],
    ['something after it', utf8(`${JSON.stringify(good)}{}`)],
    ['no object', json([good])],
  ])('is malformed with %s', (_, bytes) => {
    expect(() => parseEnvelopeJson(bytes)).toThrow(expect.objectContaining({ code: 'malformed' }));
  });
});

describe('a window', () => {
  const origin = 'example.org/logs/a';
  const statements = (n: number) =>
    Array.from({ length: n }, (_, i) => ({
      payloadType: RECORD_TYPE,
      payload: utf8(`{"n":${i}}`),
    }));

  it('signs this message', () => {
    const { message } = buildWindow(origin, statements(1));
    const [only] = statements(1);
    const root = leafHash(pae(RECORD_TYPE, only?.payload ?? new Uint8Array()));
    const body = `stele window v1\n${origin}\n1\n${toBase64(root)}\n`;
    expect(Buffer.from(message).toString()).toBe(
      `DSSEv1 31 application/vnd.stele.window.v1 ${body.length} ${body}`,
    );
  });

  it('agrees with RFC 6962, transcribed, for every size up to 130', () => {
    for (let n = 1; n <= 130; n++) {
      const made = statements(n);
      const leaves = made.map((s) => windowLeaf(s.payloadType, s.payload));
      const { message, windows } = buildWindow(origin, made);
      expect(message).toEqual(windowMessage(origin, n, treeHash(leaves)));
      for (const index of new Set([0, n >> 1, n - 1])) {
        const window = windows[index];
        expect(window).toEqual({ index, size: n, hashes: pathOf(index, leaves) });
        const [first] = made;
        if (window === undefined || first === undefined) throw new Error('unreachable');
        const entry = { ...first, ...made[index], signatures: [] };
        expect(signedMessage(entry, { keyid: A, sig: h(1), window }, origin)).toEqual(message);
      }
    }
  });

  it('knows the length of every path', () => {
    for (let size = 1; size <= 70; size++) {
      const leaves = Array.from({ length: size }, (_, i) => h(i));
      for (let index = 0; index < size; index++) {
        expect(pathLength(index, size)).toBe(pathOf(index, leaves).length);
      }
    }
    expect(pathLength(0, 65_536)).toBe(16);
    expect(pathLength(65_535, 65_536)).toBe(16);
    expect(pathLength(32_768, 32_769)).toBe(1);
  });

  it('refuses none, and more than 65,536', () => {
    expect(() => buildWindow(origin, [])).toThrow(/0 statements/);
    expect(() => buildWindow(origin, new Array(65_537))).toThrow(/65537 statements/);
  });
});

describe.skipIf(sharedMissing)('published DSSE vectors', () => {
  const vectors = sharedMissing
    ? undefined
    : (sharedJson('vectors', 'dsse', 'protocol-example.json') as {
        publicKeySpkiB64: string;
        envelope: { payload: string; payloadType: string; signatures: { sig: string }[] };
        pae: { payloadType: string; payloadB64: string; paeB64: string }[];
      });

  it.each(vectors?.pae ?? [])('PAE of "$payloadType"', ({ payloadType, payloadB64, paeB64 }) => {
    expect(toBase64(pae(payloadType, Buffer.from(payloadB64, 'base64')))).toBe(paeB64);
  });

  it('the signed example verifies over our PAE', () => {
    if (vectors === undefined) throw new Error('unreachable');
    const { envelope, publicKeySpkiB64 } = vectors;
    const key = createPublicKey({
      key: Buffer.from(publicKeySpkiB64, 'base64'),
      format: 'der',
      type: 'spki',
    });
    const message = pae(envelope.payloadType, Buffer.from(envelope.payload, 'base64'));
    const sig = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    expect(verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, sig)).toBe(true);
  });
});
