/** JSON of reporters: whatever it is, it is read as JSON is, long numbers without loss, and within bounds. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { DEPTH_MAX, JsonRoom } from '../../server/ingest/json.ts';
import { parseLenient } from '../../server/proxy/providers/values.ts';

const readings: Record<string, (text: string) => unknown> = {
  'a request': (text) => new JsonRoom().parse(utf8(text), 'x'),
  'a text in it': (text) => new JsonRoom().within(text),
  'by the proxy': (text) => parseLenient(text),
};

describe.each(Object.entries(readings))('JSON as %s', (_, read) => {
  test('is what it is, whatever its texts look like', () => {
    const unit = fc.constantFrom('"', '\\', '[', '{', ']', '}', ',', ':', ' 1234567890123456', 'é');
    const text = fc.string({ unit });
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('any'), { maxLength: 4 }),
        fc.dictionary(text, tie('any'), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).any;
    fc.assert(
      fc.property(value, fc.constantFrom(0, 1, 2), (any, indent) => {
        const json = JSON.stringify(any, null, indent);
        expect(read(json)).toEqual(JSON.parse(json));
      }),
    );
  });

  test('has long whole numbers as text, wherever they stand', () => {
    const long = '9007199254740993';
    expect(read(`[${long}]`)).toEqual([long]);
    expect(read(`{"a":-${long}}`)).toEqual({ a: `-${long}` });
    expect(read(`[0,\n ${long}00]`)).toEqual([0, `${long}00`]);
    expect(read(`["${long}",1.${long}]`)).toEqual([long, Number(`1.${long}`)]);
  });
});

test('only as deep as it may be', () => {
  const nested = (levels: number) => `${'['.repeat(levels)}"]"${']'.repeat(levels)}`;
  expect(new JsonRoom().parse(utf8(nested(DEPTH_MAX)), 'x')).toBeDefined();
  expect(() => new JsonRoom().parse(utf8(nested(DEPTH_MAX + 1)), 'x')).toThrow('nested deeper');
  expect(new JsonRoom().within(nested(DEPTH_MAX))).toBeDefined();
  expect(new JsonRoom().within(nested(DEPTH_MAX + 1))).toBeUndefined();
});
