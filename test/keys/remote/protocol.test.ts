/** The lines between a log and its signer: one spelling each, and nothing else is taken. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../server/core/bytes.ts';
import { CODES, SteleError } from '../../../server/core/errors.ts';
import { type Hash, treeSize } from '../../../server/core/units.ts';
import {
  type Answer,
  formatAnswer,
  formatHello,
  formatQuestion,
  LINE_BYTES_MAX,
  Lines,
  type Numbered,
  PURPOSES,
  parseAnswer,
  parseHello,
  parseQuestion,
  type Question,
} from '../../../server/keys/remote/protocol.ts';
import { makeSigner } from '../../log/make.ts';

const hash = (fill: number) => new Uint8Array(32).fill(fill) as Hash;
const origin = 'log.example/logs/a';
const head = { size: treeSize(9), root: hash(1) };
const keyid = 'ab'.repeat(32);

const QUESTIONS: readonly Question[] = [
  { op: 'keys', origin },
  { op: 'create', origin },
  { op: 'newest', origin },
  { op: 'extend', origin, head, from: treeSize(7), proof: [hash(2), hash(3)] },
  { op: 'extend', origin, head: { ...head, size: treeSize(1) }, from: treeSize(0), proof: [] },
  ...PURPOSES.map(
    (purpose) => ({ op: 'sign', origin, purpose, keyid, message: utf8('text\n') }) as const,
  ),
];

const ed25519 = makeSigner().publicKey;
const p256 = makeSigner('ecdsa-p256').publicKey;

const ANSWERS: readonly Answer[] = [
  { kind: 'keys', keys: [] },
  {
    kind: 'keys',
    keys: [
      { purpose: 'identity', publicKey: ed25519 },
      { purpose: 'anchor', publicKey: p256 },
    ],
  },
  { kind: 'newest', newest: head },
  { kind: 'newest', newest: undefined },
  { kind: 'taken' },
  { kind: 'prove_from', from: treeSize(8) },
  { kind: 'signature', signature: new Uint8Array(64).fill(7) },
  ...CODES.map((code) => ({ kind: 'error', code, message: `because of "${code}"` }) as const),
];

/** A line without its line feed, which it must have. */
function body(line: Uint8Array): Uint8Array {
  expect(line.at(-1)).toBe(0x0a);
  expect(line.indexOf(0x0a)).toBe(line.length - 1);
  return line.subarray(0, -1);
}

describe('what is printed is read back', () => {
  test.each(QUESTIONS)('$op', (content) => {
    expect(parseQuestion(body(formatQuestion({ id: 5, content })))).toEqual({ id: 5, content });
  });

  test.each(ANSWERS)('$kind', (content) => {
    expect(parseAnswer(body(formatAnswer({ id: 2 ** 53 - 1, content })))).toEqual({
      id: 2 ** 53 - 1,
      content,
    });
  });

  test('the hello', () => {
    expect(parseHello(body(formatHello()))).toBe(1);
    expect(Buffer.from(formatHello()).toString()).toBe('{"stele_signer":1}\n');
  });

  test('the longest message that a key signs fits a line', () => {
    const message = new Uint8Array(65_535).fill(0xff);
    const content: Question = { op: 'sign', origin, purpose: 'operator', keyid, message };
    expect(formatQuestion({ id: 2 ** 53 - 1, content }).length).toBeLessThanOrEqual(LINE_BYTES_MAX);
  });

  test('a message of an error that is too long, empty or no text is bent until it is one', () => {
    for (const message of ['x'.repeat(5_000), '', '\ud800', `${'x'.repeat(1_999)}😀`]) {
      const line = formatAnswer({ id: 1, content: { kind: 'error', code: 'storage', message } });
      expect(parseAnswer(body(line)).content).toMatchObject({ kind: 'error', code: 'storage' });
    }
  });
});

/** Each makes of a good line one that is not. */
const SPOILERS: Readonly<Record<string, (line: string) => string>> = {
  'a space': (line) => line.replace(':', ': '),
  'a member more': (line) => line.replace(/}$/, ',"zzz":1}'),
  'another number': (line) => line.replace(/"id":5/, '"id":0'),
  'a negative number': (line) => line.replace(/"id":5/, '"id":-5'),
  'a fraction': (line) => line.replace(/"id":5/, '"id":5.5'),
  'a number as text': (line) => line.replace(/"id":5/, '"id":"5"'),
  'no number': (line) => line.replace(/"id":5,?/, ''),
  'a member twice': (line) => line.replace(/^{/, '{"id":5,'),
  'something after it': (line) => `${line} `,
  'its end missing': (line) => line.slice(0, -1),
  nothing: () => '',
  'a list': (line) => `[${line}]`,
  'a wrong spelling of a letter': (line) => line.replace('origin', '\\u006frigin'),
};

describe('near misses are malformed', () => {
  const lines = [
    ...QUESTIONS.map((content) => [parseQuestion, formatQuestion({ id: 5, content })] as const),
    ...ANSWERS.map((content) => [parseAnswer, formatAnswer({ id: 5, content })] as const),
  ].map(([parse, line]) => ({ parse, text: Buffer.from(body(line)).toString() }));

  test.each(Object.entries(SPOILERS))('%s', (_, spoil) => {
    let spoiled = 0;
    for (const { parse, text } of lines) {
      const other = spoil(text);
      if (other === text) continue;
      spoiled++;
      expect(() => parse(utf8(other)), other).toThrow(
        expect.objectContaining({ code: 'malformed' }),
      );
    }
    expect(spoiled).toBeGreaterThan(0);
  });

  test.each([
    '{"id":1,"op":"keys","origin":"with space"}',
    '{"id":1,"op":"keys","origin":""}',
    `{"id":1,"op":"keys","origin":"${'x'.repeat(256)}"}`,
    '{"id":1,"op":"steal","origin":"a"}',
    '{"id":1,"origin":"a"}',
    '{"from":0,"id":1,"op":"extend","origin":"a","proof":[],"root":"AAAA","size":1}',
    `{"from":0,"id":1,"op":"extend","origin":"a","proof":[],"root":"${'A'.repeat(43)}=","size":0}`,
    `{"id":1,"keyid":"AB","message":"AA==","op":"sign","origin":"a","purpose":"identity"}`,
    `{"id":1,"keyid":"${keyid}","message":"","op":"sign","origin":"a","purpose":"identity"}`,
    `{"id":1,"keyid":"${keyid}","message":"AA==","op":"sign","origin":"a","purpose":"gateway"}`,
    `{"id":1,"keyid":"${keyid}","message":"AB==","op":"sign","origin":"a","purpose":"sth"}`,
  ])('%s', (line) => {
    expect(() => parseQuestion(utf8(line))).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  test.each([
    '{"id":1}',
    '{"id":1,"taken":false}',
    '{"id":1,"signature":"AA==","taken":true}',
    '{"error":{"code":"teapot","message":"x"},"id":1}',
    '{"error":{"code":"storage"},"id":1}',
    '{"id":1,"prove_from":0}',
    '{"id":1,"newest":{"size":3}}',
    '{"id":1,"keys":[{"alg":"ed25519","purpose":"identity","spki":"AAAA"}]}',
    '[]',
    'null',
    '"taken"',
  ])('%s', (line) => {
    expect(() => parseAnswer(utf8(line))).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  test.each([
    '{"stele_signer":0}',
    '{"stele_signer":"1"}',
    '{}',
    '{"stele_signer":1,"x":1}',
    'hello',
  ])('no hello: %s', (line) => {
    expect(() => parseHello(utf8(line))).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  test('and so is noise, or it is read and printed as it came', () => {
    const good = [...QUESTIONS.map((content) => body(formatQuestion({ id: 5, content })))];
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      // A good line of which a few bytes are others.
      fc
        .tuple(
          fc.constantFrom(...good),
          fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
        )
        .map(([line, changes]) => {
          const bytes = Uint8Array.from(line);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          return bytes;
        }),
    );
    fc.assert(
      fc.property(noise, (bytes) => {
        for (const [parse, format] of [
          [parseQuestion, formatQuestion],
          [parseAnswer, formatAnswer],
        ] as const) {
          let read: Numbered<Question & Answer>;
          try {
            read = parse(bytes) as Numbered<Question & Answer>;
          } catch (error) {
            expect(error).toBeInstanceOf(SteleError);
            expect((error as SteleError).code).toBe('malformed');
            continue;
          }
          expect(body(format(read))).toEqual(bytes);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a stream', () => {
  test('is the same lines in whatever pieces it comes', () => {
    const lines = ['one', '', 'three', 'x'.repeat(1_000)];
    const stream = utf8(lines.map((line) => `${line}\n`).join(''));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 60 }), (cuts) => {
        const reader = new Lines();
        const found: string[] = [];
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          const piece = stream.subarray(at, at + cut);
          at += cut;
          for (const line of reader.feed(piece)) found.push(Buffer.from(line).toString());
        }
        expect(found).toEqual(lines);
        expect(reader.isOpen).toBe(false);
      }),
    );
  });

  test('that ends no line is cut off at its bound', () => {
    const reader = new Lines();
    expect(reader.feed(new Uint8Array(LINE_BYTES_MAX).fill(0x20))).toEqual([]);
    expect(reader.isOpen).toBe(true);
    expect(() => reader.feed(Uint8Array.of(0x20))).toThrow(
      expect.objectContaining({ code: 'too_large' }),
    );
  });

  test('keeps no hold of the pieces it came in', () => {
    const reader = new Lines();
    const piece = utf8('ab\ncd');
    const [line] = reader.feed(piece);
    piece.fill(0);
    expect(Buffer.from(line!).toString()).toBe('ab');
    expect(Buffer.from(reader.feed(utf8('\n'))[0]!).toString()).toBe('cd');
  });
});
