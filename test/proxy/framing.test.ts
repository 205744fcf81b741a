import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventStreamParser } from '../../server/proxy/eventstream.ts';
import type { EventSink, Framer, StreamEvent } from '../../server/proxy/framing.ts';
import { JsonArrayParser } from '../../server/proxy/json-array.ts';
import { LineParser } from '../../server/proxy/lines.ts';
import { bedrockEvent, bedrockException, frame } from '../replay/eventstream.ts';
import { piecesOf } from './reading.ts';

interface Read {
  readonly events: { name: string | undefined; data: string; isFinal: boolean }[];
  readonly cuts: number[];
  readonly oversized: number;
  readonly closed: number;
  readonly hasInvalidUtf8: boolean;
  readonly isBroken: boolean;
}

type Make = new (sink: EventSink, bytesMax?: number) => Framer;

/** Events that contain END want a cut. */
function read(Parser: Make, pieces: readonly Uint8Array[], bytesMax?: number): Read {
  const events: Read['events'] = [];
  let oversized = 0;
  let closed = 0;
  const parser = new Parser(
    {
      watch: (event: StreamEvent) => event.data.includes('END') || event.name === 'end',
      event({ name, data, isOversized }, isFinal) {
        events.push({ name, data, isFinal });
        if (isOversized) oversized++;
      },
      close() {
        closed++;
        return true;
      },
    },
    bytesMax,
  );
  const cuts: number[] = [];
  let at = 0;
  for (const piece of pieces) {
    const lent = Uint8Array.from(piece);
    for (const cut of parser.push(lent)) cuts.push(at + cut);
    lent.fill(0x58);
    at += piece.length;
  }
  parser.end();
  const { hasInvalidUtf8, isBroken } = parser;
  return { events, cuts, oversized, closed, hasInvalidUtf8, isBroken };
}

/** What is read, which has to be the same in pieces of every size and at every split. */
function readAnyhow(Parser: Make, bytes: Uint8Array, bytesMax?: number): Read {
  const whole = read(Parser, [bytes], bytesMax);
  for (let size = 1; size < bytes.length; size++) {
    expect(read(Parser, piecesOf(bytes, size), bytesMax), `pieces of ${size}`).toEqual(whole);
    const halves = [bytes.subarray(0, size), bytes.subarray(size)];
    expect(read(Parser, halves, bytesMax), `split at ${size}`).toEqual(whole);
  }
  return whole;
}

const plain = (data: string, name?: string) => ({ name, data, isFinal: false });

describe('lines of JSON', () => {
  test.each([
    ['an end of LF', '{"a":1}\n{"b":2}\n', [plain('{"a":1}'), plain('{"b":2}')]],
    ['an end of CRLF', '{"a":1}\r\n{"b":2}\r\n', [plain('{"a":1}'), plain('{"b":2}')]],
    ['empty lines between', '\n\r\n{"a":1}\n \n', [plain('{"a":1}')]],
    ['no end of the last', '{"a":1}\n{"b":2}', [plain('{"a":1}'), plain('{"b":2}')]],
    [
      'half of the last',
      '{"a":1}\n{"b":',
      [plain('{"a":1}'), { ...plain('{"b":'), isFinal: true }],
    ],
    [
      'no brackets',
      '1\n"{"\ntrue',
      [plain('1'), plain('"{"'), { ...plain('true'), isFinal: true }],
    ],
    ['two in a line', '{"a":1} {"b":[{}]}\n', [plain('{"a":1}'), plain('{"b":[{}]}')]],
    ['one over three lines', '{\n"a":1\n}\n{"b":2}\n', [plain('{\n"a":1\n}'), plain('{"b":2}')]],
    ['a text that broke off', '{"a":"x\n{"b":2}\n', [plain('{"a":"x'), plain('{"b":2}')]],
    [
      'a bracket too many',
      '}{"a":1}}\n{"b":2}\n',
      [plain('}{"a":1}'), plain('}'), plain('{"b":2}')],
    ],
    ['nothing', '', []],
  ])('are read with %s', (_, text, expected) => {
    expect(readAnyhow(LineParser, Buffer.from(text)).events).toEqual(expected);
  });

  test.each(['\n', '\r\n', ''])(
    'are cut where a value is whole, whatever ends its line: %j',
    (end) => {
      const bytes = Buffer.from(`{"é":"END}"}${end}{"a":1}${end}{"b":["END"]}${end}"END"\n`);
      const cuts = [bytes.indexOf('"}') + 1, bytes.indexOf(']}') + 1, bytes.length - 1];
      expect(readAnyhow(LineParser, bytes).cuts).toEqual(cuts);
    },
  );

  test('keep the beginning of one over the bound, and are read on after it', () => {
    const text = `{"a":"${'x'.repeat(3_000)}"}\n{"b":1}\n`;
    for (const size of [1, 37, 10_000]) {
      const { events, oversized } = read(LineParser, piecesOf(Buffer.from(text), size), 2_000);
      expect(oversized).toBe(1);
      expect(events.map(({ data }) => data.slice(0, 5))).toEqual(['{"a":', '{"b":']);
      expect(events[0]?.data.length).toBeLessThanOrEqual(1_024);
    }
  });

  test('tell of bytes that are no UTF-8, and not of a character that was cut', () => {
    expect(read(LineParser, [Buffer.of(0x22, 0xff, 0x22, 10)]).hasInvalidUtf8).toBe(true);
    expect(read(LineParser, piecesOf(Buffer.from('"👩‍🔬"\n'), 1)).hasInvalidUtf8).toBe(false);
  });
});

describe('one JSON array', () => {
  test.each([
    ['values', '[{"a":1},{"b":[2,{}]}]', [plain('{"a":1}'), plain('{"b":[2,{}]}')]],
    ['space around', ' [ {"a":1} ,\n{"b":2}\n]\n', [plain('{"a":1}'), plain('{"b":2}')]],
    ['brackets in texts', '[{"a":"]}\\"}{"}]', [plain('{"a":"]}\\"}{"}')]],
    ['a backslash at the end of a text', '[{"a":"\\\\"},{}]', [plain('{"a":"\\\\"}'), plain('{}')]],
    ['nothing', '[]', []],
    ['lists in it', '[[1],[2]]', [plain('[1]'), plain('[2]')]],
    ['no array but one value', '{"error":{"code":1}}', [plain('{"error":{"code":1}}')]],
    ['what follows it', '[{"a":1}]{"b":2}', [plain('{"a":1}')]],
  ])('is read with %s', (_, text, expected) => {
    const { events, closed } = readAnyhow(JsonArrayParser, Buffer.from(text));
    expect(events).toEqual(expected);
    expect(closed).toBe(1);
  });

  test('is cut where a value ends that asks for it, and where it ends itself', () => {
    const bytes = Buffer.from('[{"é":"END"},\n{"a":1}\n]\n');
    const { cuts } = readAnyhow(JsonArrayParser, bytes);
    expect(cuts).toEqual([bytes.indexOf('}'), bytes.indexOf(']')]);
  });

  test('that broke off has what was whole, and is not closed', () => {
    const { events, closed } = readAnyhow(JsonArrayParser, Buffer.from('[{"a":1},{"b":'));
    expect(events).toEqual([plain('{"a":1}'), { ...plain('{"b":'), isFinal: true }]);
    expect(closed).toBe(0);
  });

  test('keeps the beginning of a value over the bound, and is read on after it', () => {
    const bytes = Buffer.from(`[{"a":"${'x'.repeat(3_000)}"},{"b":1}]`);
    for (const size of [1, 37, 10_000]) {
      const { events, oversized, closed } = read(JsonArrayParser, piecesOf(bytes, size), 2_000);
      expect([oversized, closed]).toEqual([1, 1]);
      expect(events.map(({ data }) => data.slice(0, 5))).toEqual(['{"a":', '{"b":']);
      expect(events[0]?.data.length).toBeLessThanOrEqual(1_024);
    }
  });

  test('without any order gives something or nothing, and the same however it is cut', () => {
    const noise = fc.array(fc.constantFrom('[', ']', '{', '}', '"', '\\', ',', 'é', ' '), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(noise, fc.integer({ min: 1, max: 7 }), (parts, size) => {
        const bytes = Buffer.from(parts.join(''));
        const whole = read(JsonArrayParser, [bytes], 20);
        expect(read(JsonArrayParser, piecesOf(bytes, size), 20)).toEqual(whole);
      }),
    );
  });
});

describe('a binary stream', () => {
  const hello = bedrockEvent('{"contentBlockDelta":{"delta":{"text":"Hé"}}}');

  test('has names and payloads, among headers of every type', () => {
    const other = { a: true, b: false, n: 7, ':event-type': 'x', ':message-type': 'event' };
    const bytes = Buffer.concat([hello, frame(other, '{"b":1}'), frame({}, '')]);
    expect(readAnyhow(EventStreamParser, bytes)).toMatchObject({
      events: [
        plain('{"delta":{"text":"Hé"}}', 'contentBlockDelta'),
        plain('{"b":1}', 'x'),
        plain('', undefined),
      ],
      isBroken: false,
    });
  });

  test('is cut at the last byte of a frame', () => {
    const end = frame({ ':event-type': 'end' }, '{}');
    const bytes = Buffer.concat([hello, end, hello]);
    const { cuts } = readAnyhow(EventStreamParser, bytes);
    expect(cuts).toEqual([hello.length + end.length - 1]);
  });

  test('names an exception as an error', () => {
    const bytes = bedrockException('throttlingException', 'Too many');
    expect(readAnyhow(EventStreamParser, bytes).events).toEqual([
      plain('{"error":{"type":"throttlingException","message":"Too many"}}', 'error'),
    ]);
    const error = {
      ':message-type': 'error',
      ':error-code': 'InternalError',
      ':error-message': 'm',
    };
    expect(read(EventStreamParser, [frame(error, '')]).events).toEqual([
      plain('{"error":{"type":"InternalError","message":"m"}}', 'error'),
    ]);
  });

  test('gives what is wrapped in base64', () => {
    const inner = '{"type":"message_stop"}';
    const payload = JSON.stringify({ bytes: Buffer.from(inner).toString('base64'), p: 'abc' });
    const { events } = read(EventStreamParser, [frame({ ':event-type': 'chunk' }, payload)]);
    expect(events).toEqual([plain(inner, 'chunk')]);
  });

  test('is read no further than its checksums hold: any byte changed', () => {
    const bytes = Buffer.concat([hello, hello]);
    for (let at = 0; at < hello.length; at++) {
      const spoiled = Buffer.from(bytes);
      spoiled[at] = (spoiled[at] as number) ^ 0x01;
      const { events, isBroken } = read(EventStreamParser, [spoiled]);
      expect([events, isBroken], `byte ${at}`).toEqual([[], true]);
    }
  });

  test('that broke off inside a frame is broken, and between two is not', () => {
    expect(read(EventStreamParser, [hello.subarray(0, -1)]).isBroken).toBe(true);
    expect(read(EventStreamParser, [hello]).isBroken).toBe(false);
  });

  test('keeps the name of a frame over the bound, and reads on after it', () => {
    const big = frame({ ':event-type': 'end' }, `{"a":"${'x'.repeat(3_000)}"}`);
    const bytes = Buffer.concat([big, hello]);
    for (const size of [1, 2, 3, 37, 10_000]) {
      expect(read(EventStreamParser, piecesOf(bytes, size), 500)).toMatchObject({
        events: [plain('', 'end'), { name: 'contentBlockDelta' }],
        cuts: [big.length - 1],
        oversized: 1,
        isBroken: false,
      });
    }
  });

  test('of no order at all is broken or empty, and the same however it is cut', () => {
    const spoiled = fc
      .tuple(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), fc.boolean())
      .map(([edits, isNoise]) => {
        const bytes = isNoise ? Buffer.alloc(40, 1) : Buffer.concat([hello, hello]);
        for (const [at, value] of edits) bytes[at % bytes.length] = value;
        return bytes;
      });
    fc.assert(
      fc.property(spoiled, fc.integer({ min: 1, max: 20 }), (bytes, size) => {
        const whole = read(EventStreamParser, [bytes]);
        expect(read(EventStreamParser, piecesOf(bytes, size))).toEqual(whole);
      }),
    );
  });
});
