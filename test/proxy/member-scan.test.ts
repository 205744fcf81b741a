import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemberScan } from '../../server/proxy/custody/member-scan.ts';

function scan(bytes: Uint8Array, piece = bytes.length) {
  const one = new MemberScan(['model', 'models'], ['content']);
  for (let at = 0; at < bytes.length; at += piece) one.push(bytes.subarray(at, at + piece));
  return one.end();
}

const own = (name: string, text: string | undefined) => ({ name, text, isNested: false });
const nested = (name: string, text: string | undefined) => ({ name, text, isNested: true });

const scanText = (text: string, piece?: number) => scan(Buffer.from(text), piece);

describe('the members of a body', () => {
  test.each([
    ['{"model":"a"}', [own('model', 'a')]],
    ['\ufeff { "model" : "a" } \n', [own('model', 'a')]],
    [
      '{"x":{"model":"b"},"model":"a","y":[{"z":1,"model":"c"}]}',
      [nested('model', 'b'), own('model', 'a'), nested('model', 'c')],
    ],
    [
      '{"x":{"y":{"model":"b"},"z":[{"model":"c"}]},"w":[[{"model":"d"}]],"model":"a"}',
      [own('model', 'a')],
    ],
    [
      '{"content":{"model":"b"},"Content":[{"model":"c"}],"x":[{"content":[{"model":"d"}],"model":"a"}]}',
      [nested('model', 'b'), nested('model', 'a')],
    ],
    ['{"x":["model",{"y":"model"},"model"],"y":{"x":"model"},"model":"a"}', [own('model', 'a')]],
    [
      '{"x":[{"model":"b"},{"model":"b"},{"model":{"y":1}}]}',
      [nested('model', 'b'), nested('model', undefined)],
    ],
    ['{"model":"a","model":"b"}', [own('model', 'a'), own('model', 'b')]],
    ['{"m\\u006fdel":"\\u0061\\"\\\\"}', [own('model', 'a"\\')]],
    ['{"MODEL":"a"}', [own('MODEL', 'a')]],
    ['{"model\u017f":"a"}', [own('model\u017f', 'a')]],
    ['{"model":["a"]}', [own('model', undefined)]],
    ['{"model":{"a":"b"}}', [own('model', undefined)]],
    ['{"model":null,"n":-1.5e+3,"t":true}', [own('model', undefined)]],
    [`{"model":"${'a'.repeat(2_000)}"}`, [own('model', undefined)]],
    ['{"a":"} model: \\"","b":1}', []],
    ['{}', []],
  ])('of %s', (text, found) => {
    for (const piece of [1, 2, 3, 7, text.length * 3]) {
      expect(scanText(text, piece)).toEqual(found);
    }
  });

  test.each([
    '',
    ' ',
    'null',
    '[]',
    '"model"',
    '{"model":"a"',
    '{"model":"a"}}',
    '{"model":"a"} {"model":"b"}',
    '{"model":"a",}',
    '{"model" "a"}',
    '{model:"a"}',
    "{'model':'a'}",
    '{/* " */"model":"a"}',
    '{"x":[/*"*/1],"model":"a"}',
    '{"mo\\del":"a"}',
    '{"x":[{"mo\\del":"a"}]}',
    '{"x":[1}',
    '{"x":[1,]}',
    '{"x":{"y"}}',
    '{"x":1 2}',
    '{"x":"line\nbreak"}',
    '{"x":{"y":["line\nbreak"]}}',
    `{"x":${'['.repeat(1_001)}`,
    'model=a',
    '--boundary\r\ncontent-disposition: form-data; name="model"\r\n\r\na\r\n--boundary--',
  ])('of %j cannot be told', (text) => {
    expect(scanText(text)).toBeUndefined();
    expect(scanText(text, 1)).toBeUndefined();
  });

  test('of very many objects are few where they are the same, and too many where they are not', () => {
    const many = (name: (i: number) => string) =>
      `{"x":[${Array.from({ length: 100 }, (_, i) => `{"model":"${name(i)}"}`).join(',')}]}`;
    expect(scanText(many(() => 'a'))).toEqual([nested('model', 'a')]);
    expect(scanText(many(String))).toBeUndefined();
  });

  test('of UTF-16 cannot be told', () => {
    expect(scan(Buffer.from('{"model":"a"}', 'utf16le'))).toBeUndefined();
  });

  test('are those that JSON.parse finds, for any JSON in pieces of any size', () => {
    const value = fc.json({ maxDepth: 3 });
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('model', 'x', 'Model', 'é'), value),
        fc.nat(9),
        (of, n) => {
          const text = `{${Object.entries(of)
            .map(([name, json]) => `${JSON.stringify(name)}: ${json}`)
            .join(' , ')}}`;
          const all = Object.entries(JSON.parse(text) as object);
          const wanted = all
            .filter(([name]) => name.toLowerCase() === 'model')
            .map(([name, v]) =>
              own(name, typeof v === 'string' && v.length < 1_000 ? v : undefined),
            );
          expect(scanText(text, n + 1)?.filter(({ isNested }) => !isNested)).toEqual(wanted);
        },
      ),
    );
  });

  test('of noise that JSON.parse refuses are not told', () => {
    const noise = fc.array(
      fc.constantFrom('{', '}', '[', ']', ',', ':', '"model"', '"a"', '1', ' ', 'x'),
      {
        maxLength: 12,
      },
    );
    fc.assert(
      fc.property(noise, (parts) => {
        const text = parts.join('');
        let isStructure = true;
        try {
          // A literal of any letters is let through: it is no structure.
          const value: unknown = JSON.parse(text.replaceAll(/[1x]+/g, '1'));
          isStructure = typeof value === 'object' && value !== null && !Array.isArray(value);
        } catch {
          isStructure = false;
        }
        expect(scanText(text) !== undefined).toBe(isStructure);
      }),
    );
  });
});
