import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemberScan } from '../../server/proxy/custody/member-scan.ts';

function scan(bytes: Uint8Array, piece = bytes.length) {
  const one = new MemberScan(['model', 'models']);
  for (let at = 0; at < bytes.length; at += piece) one.push(bytes.subarray(at, at + piece));
  return one.end();
}

const scanText = (text: string, piece?: number) => scan(Buffer.from(text), piece);

describe('the members of a body', () => {
  test.each([
    ['{"model":"a"}', [{ name: 'model', text: 'a' }]],
    ['\ufeff { "model" : "a" } \n', [{ name: 'model', text: 'a' }]],
    ['{"x":{"model":"b"},"model":"a","y":[{"model":"c"}]}', [{ name: 'model', text: 'a' }]],
    [
      '{"model":"a","model":"b"}',
      [
        { name: 'model', text: 'a' },
        { name: 'model', text: 'b' },
      ],
    ],
    ['{"m\\u006fdel":"\\u0061\\"\\\\"}', [{ name: 'model', text: 'a"\\' }]],
    ['{"MODEL":"a"}', [{ name: 'MODEL', text: 'a' }]],
    ['{"model\u017f":"a"}', [{ name: 'model\u017f', text: 'a' }]],
    ['{"model":["a"]}', [{ name: 'model', text: undefined }]],
    ['{"model":{"a":"b"}}', [{ name: 'model', text: undefined }]],
    ['{"model":null,"n":-1.5e+3,"t":true}', [{ name: 'model', text: undefined }]],
    [`{"model":"${'a'.repeat(2_000)}"}`, [{ name: 'model', text: undefined }]],
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
    '{"x":[1}',
    '{"x":[1,]}',
    '{"x":{"y"}}',
    '{"x":1 2}',
    '{"x":"line\nbreak"}',
    `{"x":${'['.repeat(1_001)}`,
    'model=a',
    '--boundary\r\ncontent-disposition: form-data; name="model"\r\n\r\na\r\n--boundary--',
  ])('of %j cannot be told', (text) => {
    expect(scanText(text)).toBeUndefined();
    expect(scanText(text, 1)).toBeUndefined();
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
            .map(([name, v]) => ({
              name,
              text: typeof v === 'string' && v.length < 1_000 ? v : undefined,
            }));
          expect(scanText(text, n + 1)).toEqual(wanted);
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
