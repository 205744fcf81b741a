import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { StreamEvent } from '../../server/proxy/framing.ts';
import { SseParser } from '../../server/proxy/sse.ts';
import { piecesOf } from './reading.ts';

interface Read {
  readonly events: { name: string | undefined; data: string; isFinal: boolean }[];
  readonly cuts: number[];
  readonly oversized: number;
  readonly hasInvalidUtf8: boolean;
}

function read(pieces: readonly (Uint8Array | string)[], bytesMax?: number): Read {
  const events: Read['events'] = [];
  let oversized = 0;
  const parser = new SseParser(
    {
      watch: (event: StreamEvent) => event.data.startsWith('END') || event.name === 'end',
      event({ name, data, isOversized }, isFinal) {
        events.push({ name, data, isFinal });
        if (isOversized) oversized++;
      },
      close: () => false,
    },
    bytesMax,
  );
  const cuts: number[] = [];
  let at = 0;
  for (const piece of pieces) {
    const bytes = Buffer.from(piece as string);
    for (const cut of parser.push(bytes)) cuts.push(at + cut);
    at += bytes.length;
  }
  parser.end();
  return { events, cuts, oversized, hasInvalidUtf8: parser.hasInvalidUtf8 };
}

const plain = (data: string, name?: string) => ({ name, data, isFinal: false });

describe('an event stream', () => {
  test.each([
    ['a line end of LF', 'data: a\n\ndata: b\n\n', [plain('a'), plain('b')]],
    ['a line end of CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', [plain('a'), plain('b')]],
    ['a line end of CR', 'data: a\r\rdata: b\r\r', [plain('a'), plain('b')]],
    ['no space after the colon', 'data:a\n\n', [plain('a')]],
    ['only one space taken away', 'data:  a \n\n', [plain(' a ')]],
    ['several data lines', 'data: a\ndata: b\ndata\n\n', [plain('a\nb\n')]],
    [
      'comments, unknown fields, retry and id',
      ': ping\nid: 1\nretry: 5\nx: y\ndata: a\n\n',
      [plain('a')],
    ],
    ['an event without data', 'event: x\n\ndata: a\n\n', [plain('a')]],
    ['a name', 'event: x\ndata: a\n\n', [plain('a', 'x')]],
    ['a name after the data', 'data: a\nevent: x\n\n', [plain('a', 'x')]],
    ['one byte-order mark', '\ufeffdata: a\n\n', [plain('a')]],
    ['a second byte-order mark, which is part of a name', '\ufeff\ufeffdata: a\n\n', []],
    ['a last event without blank line', 'data: a\n', [{ ...plain('a'), isFinal: true }]],
    ['a last line without line end', 'data: a', [{ ...plain('a'), isFinal: true }]],
  ])('reads %s, however it is cut', (_, text, expected) => {
    const bytes = Buffer.from(text);
    expect(read([bytes]).events).toEqual(expected);
    expect(read(piecesOf(bytes, 1)).events).toEqual(expected);
    for (let at = 0; at <= bytes.length; at++) {
      expect(read([bytes.subarray(0, at), bytes.subarray(at)]).events).toEqual(expected);
    }
  });

  test.each(['\n', '\r\n', '\r'])('cuts at the line end itself with %j', (end) => {
    const text = `data: é${end}${end}event: end${end}data: x${end}${end}data: END${end}${end}`;
    const bytes = Buffer.from(text);
    const first = bytes.indexOf(`x${end}`) + 1;
    const second = bytes.indexOf(`END${end}`) + 3;
    expect(read([bytes]).cuts).toEqual([first, second]);
    expect(read(piecesOf(bytes, 1)).cuts).toEqual([first, second]);
  });

  test('keeps the beginning of an event over the bound, and reads on after it', () => {
    const text = `data: ${'x'.repeat(5000)}\n\ndata: a\n\n`;
    for (const size of [1, 37, 10_000]) {
      const { events, oversized } = read(piecesOf(Buffer.from(text), size), 2000);
      expect(oversized).toBe(1);
      expect(events.map(({ data }) => data.slice(0, 1))).toEqual(['x', 'a']);
      expect(events[0]?.data.length).toBeLessThanOrEqual(1024);
    }
  });

  test('counts what empty data lines cost', () => {
    expect(read([`${'data\n'.repeat(100)}\n`], 2000).oversized).toBe(1);
  });

  test('tells of bytes that are no UTF-8, and not of a character that was cut', () => {
    expect(read([Uint8Array.of(...Buffer.from('data: '), 0xff, 10, 10)]).hasInvalidUtf8).toBe(true);
    expect(read(piecesOf(Buffer.from('data: 👩‍🔬\n\n'), 1)).hasInvalidUtf8).toBe(false);
  });

  test('says the same of any bytes, however they are cut', () => {
    const line = fc.oneof(
      fc.constantFrom('data: END', 'data: {"a":', 'event: end', ': c', '', 'data', '\ufeff', 'é'),
      fc.string({ unit: 'binary', maxLength: 12 }),
    );
    const stream = fc
      .array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')), { maxLength: 20 })
      .map((lines) => Buffer.from(lines.map(([text, end]) => text + end).join('')));
    fc.assert(
      fc.property(stream, fc.integer({ min: 1, max: 9 }), (bytes, size) => {
        const whole = read([bytes], 300);
        expect(read(piecesOf(bytes, size), 300)).toEqual(whole);
        for (const cut of whole.cuts) expect([10, 13]).toContain(bytes[cut]);
      }),
    );
  });
});
