/**
 * Verifier keys: what may stand before the plus signs, and what after.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256, toHex } from '../../server/core/bytes.ts';
import { hasCode } from '../../server/core/errors.ts';
import {
  isKeyName,
  makeVerifierKey,
  parseVerifierKey,
  type VerifierKey,
} from '../../server/core/verifier-key.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { logKey, mldsaKey, witnessKey } from './note-keys.ts';

describe('a key name', () => {
  // [Unicode 15, PropList] White_Space, to the last one.
  const spaces = [
    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
    0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
  ];

  test('has none of the white space of Unicode', () => {
    for (let code = 0; code <= 0xffff; code++) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const allowed = !spaces.includes(code) && code >= 0x20 && code !== 0x2b;
      expect(isKeyName(`a${String.fromCharCode(code)}b`), code.toString(16)).toBe(allowed);
    }
  });

  test('is not empty, has no plus and no half of a surrogate pair', () => {
    expect(isKeyName('')).toBe(false);
    expect(isKeyName('a+b')).toBe(false);
    expect(isKeyName('a\ud800')).toBe(false);
    expect(isKeyName('a\u{1f5ff}')).toBe(true);
    expect(isKeyName('\ufeffa')).toBe(true);
  });
});

describe('a verifier key', () => {
  const made = [logKey('example.com/log', 1), witnessKey('w.example', 2), mldsaKey('m.example', 3)];

  test('is read back as it was made', () => {
    for (const { key } of made) expect(parseVerifierKey(key.text)).toEqual(key);
  });

  const { text } = logKey('example.com/log', 1).key;
  const [name = '', id = '', ...rest] = text.split('+');
  const body = rest.join('+');
  const spoiled: Record<string, string> = {
    'another key ID': `${name}+00000000+${body}`,
    'its key ID in upper case': `${name}+${id.toUpperCase()}+${body}`,
    'a short key ID': `${name}+${id.slice(1)}+${body}`,
    'no key ID': `${name}+${body}`,
    'no name': `+${id}+${body}`,
    'another name': `${name}x+${id}+${body}`,
    'no key': `${name}+${id}+`,
    'padding that it does not need': `${text}=`,
    'another padding': `${text}AA`,
    'a line feed after it': `${text}\n`,
    'a space before it': ` ${text}`,
    'nothing at all': '',
    'far too much': `${name}+${id}+${'A'.repeat(10_000)}`,
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, spelling) => {
    expect(spelling).not.toBe(text);
    expect(() => parseVerifierKey(spelling)).toThrow(/^(verifier|ed25519) key/);
  });

  test('is refused where no signature by it would be: a weak key', () => {
    const identity = Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0));
    for (const type of [1, 4]) {
      expect(() => makeVerifierKey('w', type, identity)).toThrow('ed25519 key: of small order');
    }
    expect(() => makeVerifierKey('w', 6, identity)).toThrow('32 bytes where an ML-DSA-44 key has');
    expect(() => makeVerifierKey('w', 2, identity)).toThrow('ecdsa-p256 key');
  });

  test('is refused under a type that notes do not have', () => {
    const { key } = logKey('w', 1).key;
    for (const type of [0, 3, 7, 0x65, 0xfa, 0xfe]) {
      expect(() => makeVerifierKey('w', type, key)).toThrow('is not one that notes have');
    }
  });

  test('near another is malformed, or prints back', () => {
    const texts = made.map(({ key }) => key.text.slice(0, 120));
    fc.assert(
      fc.property(
        fc.constantFrom(...texts),
        fc.nat(119),
        fc.constantFrom('', '+', '=', 'A', ' ', '\n', 'é'),
        (whole, at, put) => {
          const near = whole.slice(0, at) + put + whole.slice(at + 1);
          try {
            expect(parseVerifierKey(near).text).toBe(near);
          } catch (error) {
            if (!hasCode(error, 'malformed')) throw error;
          }
        },
      ),
    );
  });
});

interface Vector {
  readonly vkey: string;
  readonly valid: boolean;
  readonly name?: string;
  readonly keyId?: string;
  readonly type?: number;
  readonly keyHex?: string;
  readonly keyIsSha256?: boolean;
  readonly comment?: string;
}

describe.skipIf(sharedMissing)('published verifier keys', () => {
  const { cases } = (
    sharedMissing ? { cases: [] } : sharedJson('vectors', 'tlog-notes', 'vkeys.json')
  ) as { cases: Vector[] };

  test.each(cases)('$vkey', (vector) => {
    let key: VerifierKey | undefined;
    try {
      key = parseVerifierKey(vector.vkey);
    } catch (error) {
      if (!hasCode(error, 'malformed')) throw error;
    }
    expect(key !== undefined).toBe(vector.valid);
    if (key === undefined) return;
    expect([key.name, key.keyId, key.type]).toEqual([vector.name, vector.keyId, vector.type]);
    expect(toHex(vector.keyIsSha256 === true ? sha256(key.key) : key.key)).toBe(vector.keyHex);
  });
});
