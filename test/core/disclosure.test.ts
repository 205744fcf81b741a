import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toBase64url, utf8 } from '../../server/core/bytes.ts';
import { bodyValueOf, makeDisclosure, parseDisclosure } from '../../server/core/disclosure.ts';
import type { Json } from '../../server/core/json.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { expectOneSpelling } from './near-miss.ts';

const salt = new Uint8Array(16).fill(3);
const spelled = (text: string) => toBase64url(utf8(text));

describe('a disclosure', () => {
  it('has the digest of RFC 9901: of the ASCII of its base64url', () => {
    expect(makeDisclosure('principal.id', 'alice@example.com', salt)).toEqual({
      disclosure: spelled('["AwMDAwMDAwMDAwMDAwMDAw","principal.id","alice@example.com"]'),
      digest: 'uHXUXHdA6ir1xwl2O1x9K-GGVDfIlQ8I-YMCUejBthk',
    });
  });

  it('reads back any value', () => {
    const value = fc
      .jsonValue({ maxDepth: 4 })
      .filter((v) => !/[0-9]{16}|\\ud/.test(JSON.stringify(v)));
    fc.assert(
      fc.property(value, fc.uint8Array({ minLength: 16, maxLength: 16 }), (made, random) => {
        const { disclosure, digest } = makeDisclosure('request.body', made as Json, random);
        const parsed = parseDisclosure(disclosure);
        expect(parsed).toMatchObject({ salt: toBase64url(random), name: 'request.body', digest });
        expect(JSON.parse(JSON.stringify(parsed.value))).toEqual(JSON.parse(JSON.stringify(made)));
      }),
    );
  });

  it('has one spelling', () => {
    const made = makeDisclosure('request.body', { bytes: 3, list: [1.5, null, 'é'] }, salt);
    expectOneSpelling([utf8(made.disclosure)], (bytes) => {
      const { name, value, salt: text } = parseDisclosure(Buffer.from(bytes).toString('latin1'));
      return utf8(makeDisclosure(name, value, Buffer.from(text, 'base64url')).disclosure);
    });
  });

  it.each([
    ['two parts', spelled('["AwMDAwMDAwMDAwMDAwMDAw","a"]'), /not a list of salt, name and value/],
    ['an object', spelled('{}'), /not a list/],
    ['a short salt', spelled('["AwMDAwMDAwMDAwMDAwMD","a",1]'), /the salt is not 16 bytes/],
    ['a numeric salt', spelled('[1,"a",1]'), /the salt is not 16 bytes/],
    ['a numeric name', spelled('["AwMDAwMDAwMDAwMDAwMDAw",1,1]'), /the name is not text/],
    ['a space', spelled('["AwMDAwMDAwMDAwMDAwMDAw", "a",1]'), /canonical spelling/],
    ['padding', `${spelled('["AwMDAwMDAwMDAwMDAwMDAw","a",1]')}=`, /not canonical base64url/],
    ['a lone surrogate', spelled('["AwMDAwMDAwMDAwMDAwMDAw","a","\\ud800"]'), /lone surrogate/],
    [
      'a number that none can keep',
      spelled('["AwMDAwMDAwMDAwMDAwMDAw","a",100000000000000000000]'),
      /beyond/,
    ],
  ])('is malformed with %s', (_, text, rule) => {
    expect(() => parseDisclosure(text)).toThrow(expect.objectContaining({ code: 'malformed' }));
    expect(() => parseDisclosure(text)).toThrow(rule);
  });

  it('is never made of what could not be read', () => {
    expect(() => makeDisclosure('a', 1e20, salt)).toThrow(/beyond 2\^53 - 1/);
    expect(() => makeDisclosure('a', '\ud800', salt)).toThrow(/lone surrogate/);
    expect(() => makeDisclosure('a', 1, new Uint8Array(15))).toThrow(/a salt of 15 bytes/);
    expect(() => makeDisclosure('a', 'x'.repeat(1_048_576), salt)).toThrow(
      expect.objectContaining({ code: 'too_large' }),
    );
  });

  it('tells the value of a body from any other', () => {
    const body = {
      bytes: 3,
      media_type: 'text/plain',
      sha256: 'uHXUXHdA6ir1xwl2O1x9K-GGVDfIlQ8I-YMCUejBthk',
    };
    expect(bodyValueOf(body)).toEqual(body);
    expect(bodyValueOf({ ...body, content_encoding: 'gzip' })?.content_encoding).toBe('gzip');
    for (const other of [
      { ...body, bytes: -1 },
      { ...body, more: 1 },
      { ...body, sha256: 'x' },
      'x',
      null,
      [body],
    ]) {
      expect(bodyValueOf(other)).toBeUndefined();
    }
  });
});

describe.skipIf(sharedMissing)('published commitment vectors', () => {
  const { vectors } = sharedMissing
    ? { vectors: [] }
    : (sharedJson('fixtures', 'record', 'commitment-vectors.json') as {
        vectors: { name: string; value: Json; salt: string; disclosure: string; digest: string }[];
      });

  it.each(vectors)('$name', ({ name, value, salt: text, disclosure, digest }) => {
    expect(makeDisclosure(name, value, Buffer.from(text, 'base64url'))).toEqual({
      disclosure,
      digest,
    });
    expect(parseDisclosure(disclosure)).toMatchObject({ name, digest, salt: text });
  });
});
