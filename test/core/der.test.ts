/** DER: one spelling for everything, read to the depth that the reader chooses, and no other error than ours. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseHex, utf8 } from '../../server/core/bytes.ts';
import { DerReader, encodeDer, unsignedContent } from '../../server/core/der.ts';
import { readGeneralizedTime, readTime } from '../../server/core/der-time.ts';
import { SteleError } from '../../server/core/errors.ts';
import { nameText } from '../../server/core/x509/name.ts';
import { codeOf } from './codes.ts';
import {
  boolean,
  element,
  generalizedTime,
  integer,
  makeCertificate,
  makeResponse,
  oid,
  sequence,
  set,
  utcTime,
} from './made-tsa.ts';
import { nearMiss } from './near-miss.ts';

const of = (bytes: Uint8Array | string) =>
  new DerReader(typeof bytes === 'string' ? parseHex(bytes, 'DER') : bytes, 'it');

/** Reads everything there is, going into what is constructed, and writes it again. */
function rewritten(bytes: Uint8Array, depth = 0): Uint8Array {
  const reader = of(bytes);
  const parts: Uint8Array[] = [];
  while (!reader.isAtEnd) {
    const { tag, content, whole } = reader.any();
    const isConstructed = (tag & 0x20) !== 0;
    const inner = isConstructed && depth < 20 ? rewritten(content, depth + 1) : content;
    const again = element(tag, inner);
    expect(Buffer.from(again)).toEqual(Buffer.from(whole));
    parts.push(again);
  }
  return Buffer.concat(parts);
}

const root = makeCertificate({ isAuthority: true });
const signer = makeCertificate({ by: root });
const samples = [
  signer.der,
  makeResponse({ signer, message: utf8('a'), certificates: [signer, root] }),
  sequence(integer(5), boolean(true), oid('1.2.840.113549'), set(utcTime('261121032522Z'))),
];

describe('whatever is read', () => {
  test('is written again as it was', () => {
    for (const sample of samples)
      expect(Buffer.from(rewritten(sample))).toEqual(Buffer.from(sample));
  });

  test('almost right is either, too, or malformed', () => {
    let refused = 0;
    fc.assert(
      fc.property(fc.oneof(...samples.map(nearMiss), fc.uint8Array({ maxLength: 64 })), (bytes) => {
        try {
          expect(Buffer.from(rewritten(bytes))).toEqual(Buffer.from(bytes));
        } catch (error) {
          if (!(error instanceof SteleError)) throw error;
          expect(error.code).toBe('malformed');
          refused++;
        }
      }),
      { numRuns: 5_000 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  test('every reader of one element takes it whole or is malformed', () => {
    const reads: readonly ((reader: DerReader) => unknown)[] = [
      (reader) => reader.any(),
      (reader) => reader.integer(),
      (reader) => reader.number(2 ** 40),
      (reader) => reader.boolean(),
      (reader) => readTime(reader, 'it'),
      (reader) => readGeneralizedTime(reader, 'it'),
      (reader) => reader.inside('sequence'),
    ];
    const tags = fc.constantFrom(0x01, 0x02, 0x17, 0x18, 0x30, 0x3f, 0x80);
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.string({ maxLength: 20 }).map((text) => utf8(text)),
    );
    const elements = fc.tuple(tags, content).map(([tag, bytes]) => element(tag, bytes));
    fc.assert(
      fc.property(elements, fc.constantFrom(...reads), (bytes, read) => {
        const reader = of(bytes);
        const code = codeOf(() => read(reader));
        expect([undefined, 'malformed']).toContain(code);
        if (code === undefined) expect(reader.isAtEnd).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('an element of any tag', () => {
  test('is given with its tag, its content and whole', () => {
    expect(of('a00205000500').any()).toEqual({
      tag: 0xa0,
      content: parseHex('0500', 'x'),
      whole: parseHex('a0020500', 'x'),
    });
  });

  test.each([
    ['', 'nothing where an element is needed'],
    ['1f8101', 'a tag of more than one byte, 0x1f…'],
    ['bf8101', 'a tag of more than one byte, 0xbf…'],
    ['0480', 'a length of 0 bytes'],
    ['0402ff', 'a 0x04 element of 2 bytes where 1 are'],
  ])('%s is refused', (hex, reason) => {
    expect(() => of(hex).any()).toThrow(`it: not DER: ${reason}`);
  });
});

describe('an INTEGER', () => {
  test('is in its shortest form, also below zero', () => {
    for (const hex of ['020100', '02017f', '02020080', '0201ff', '020180', '0202ff7f']) {
      expect(of(hex).integer()).toEqual(parseHex(hex.slice(4), 'x'));
    }
    for (const hex of ['02020000', '0202007f', '0202ffff', '0202ff80']) {
      expect(() => of(hex).integer()).toThrow('an INTEGER is longer than it has to be');
    }
    expect(() => of('0200').integer()).toThrow('an INTEGER without content');
  });

  test('is a number within bounds, where one is needed', () => {
    expect(of('0201ff'.replace('ff', '07')).number(7)).toBe(7);
    for (const hex of ['020108', '0201ff', `0214${'7f'.repeat(20)}`]) {
      expect(() => of(hex).number(7)).toThrow('an INTEGER that is not from 0 to 7');
    }
    expect(() => of(element(0x02, new Uint8Array(3_000).fill(1))).number(7)).toThrow('from 0 to 7');
  });

  test('of bytes without a sign is read back as these bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), (bytes) => {
        const read = of(encodeDer('integer', unsignedContent(bytes))).integer();
        const hex = (some: Uint8Array) => BigInt(`0x${Buffer.from(some).toString('hex')}`);
        expect(hex(read)).toBe(hex(bytes));
        expect(read[0]).toBeLessThan(0x80);
      }),
    );
  });
});

test('a BOOLEAN is 00 or ff', () => {
  expect(of('0101ff').boolean()).toBe(true);
  expect(of('010100').boolean()).toBe(false);
  for (const hex of ['010101', '0100', '0102ffff']) {
    expect(() => of(hex).boolean()).toThrow('a BOOLEAN that is neither 00 nor ff');
  }
});

test('what is written has the shortest length that there is', () => {
  for (const length of [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff]) {
    const content = new Uint8Array(length).fill(7);
    const written = encodeDer('octetString', content);
    expect(Buffer.from(written)).toEqual(Buffer.from(element(0x04, content)));
    expect(of(written).content('octetString')).toEqual(content);
  }
  expect(() => encodeDer('octetString', new Uint8Array(0x10000))).toThrow('broken invariant');
});

describe('a time', () => {
  const read = (text: string) => readGeneralizedTime(of(generalizedTime(text)), 'it');

  test('has a fraction of any length, and is rounded up', () => {
    const whole = Date.UTC(2026, 10, 21, 3, 25, 22);
    expect(read('20261121032522Z')).toBe(whole);
    expect(read('20261121032522.5Z')).toBe(whole + 500);
    expect(read('20261121032522.482Z')).toBe(whole + 482);
    expect(read('20261121032522.482913Z')).toBe(whole + 483);
    expect(read('20261121032522.0001Z')).toBe(whole + 1);
    expect(read(`20261121032522.${'0'.repeat(29)}1Z`)).toBe(whole + 1);
    expect(read('20261121032522.9999Z')).toBe(whole + 1_000);
  });

  test.each([
    '20261121032522',
    '20261121032522.Z',
    '20261121032522.50Z',
    '20261121032522,5Z',
    '20261121032522+0000',
    '202611210325Z',
    '20261121032560Z',
    '20261121242522Z',
    '20261331032522Z',
    '20260230032522Z',
    '261121032522Z',
    '20261121032522.5z',
    `20261121032522.${'1'.repeat(31)}Z`,
    '',
  ])('%s is none', (text) => {
    expect(() => read(text)).toThrow('is not a time in UTC with seconds');
  });
});

describe('a name', () => {
  const part = (type: string, tag: number, value: Uint8Array) =>
    set(sequence(oid(type), element(tag, value)));
  const shown = (...parts: readonly Uint8Array[]) => nameText(sequence(...parts), 'it');

  test('is shown the last part first, with what it is by its usual letters', () => {
    expect(
      shown(
        part('2.5.4.6', 0x13, utf8('CH')),
        part('2.5.4.10', 0x0c, utf8('Bücher & Söhne')),
        part('2.5.4.3', 0x0c, utf8('Time Stamping')),
        part('1.2.3', 0x0c, utf8('x')),
      ),
    ).toBe('1.2.3=x,CN=Time Stamping,O=Bücher & Söhne,C=CH');
    expect(shown()).toBe('');
  });

  test('of several values in one part has them all', () => {
    const two = set(
      sequence(oid('2.5.4.3'), element(0x0c, utf8('a'))),
      sequence(oid('2.5.4.11'), element(0x0c, utf8('b'))),
    );
    expect(shown(two)).toBe('CN=a+OU=b');
  });

  test('is the same in every kind of string', () => {
    const wide = Uint8Array.of(0, 0x41, 0, 0xe4);
    const wider = Uint8Array.of(0, 0, 0, 0x41, 0, 0, 0, 0xe4);
    for (const [tag, value] of [
      [0x0c, utf8('Aä')],
      [0x14, Uint8Array.of(0x41, 0xe4)],
      [0x1e, wide],
      [0x1c, wider],
    ] as const) {
      expect(shown(part('2.5.4.3', tag, value))).toBe('CN=Aä');
    }
  });

  test('cannot pass for another, nor move a cursor', () => {
    const cn = (text: string) => shown(part('2.5.4.3', 0x0c, utf8(text)));
    expect(cn('a,O=b')).toBe('CN=a\\,O=b');
    expect(cn(' a ')).toBe('CN=\\ a\\ ');
    expect(cn('#a')).toBe('CN=\\#a');
    expect(cn('a"+\\<>;')).toBe('CN=a\\"\\+\\\\\\<\\>\\;');
    expect(cn('a\u001b[2J\n')).toBe('CN=a\\1b[2J\\0a');
    expect(cn('a\u202eb')).toBe('CN=a\\e2\\80\\aeb');
  });

  test('that is no text is shown as bytes', () => {
    expect(shown(part('2.5.4.3', 0x0c, Uint8Array.of(0xff)))).toBe('CN=#0c01ff');
    expect(shown(part('2.5.4.3', 0x1e, Uint8Array.of(1)))).toBe('CN=#1e0101');
    expect(shown(part('2.5.4.3', 0x1c, Uint8Array.of(0x7f, 0, 0, 0)))).toBe('CN=#1c047f000000');
    expect(shown(part('2.5.4.3', 0x02, Uint8Array.of(5)))).toBe('CN=#020105');
  });

  test('that is none is malformed', () => {
    for (const bad of [set(), sequence(sequence()), sequence(set(sequence(oid('2.5.4.3'))))]) {
      expect(codeOf(() => nameText(bad, 'it'))).toBe('malformed');
    }
  });
});
