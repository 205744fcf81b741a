/** A pkcs11: URI names one key without doubt, or is refused. */
import { describe, expect, test } from 'vitest';
import { describePkcs11, isPkcs11Uri, parsePkcs11Uri } from '../../../server/keys/pkcs11/uri.ts';

const GOOD =
  'pkcs11:token=my%20token;object=a-key;type=private?module-path=/usr/lib/x.so&pin-source=file:/etc/pin';

test('a URI is read, whatever is written in percents', () => {
  expect(isPkcs11Uri(GOOD)).toBe(true);
  expect(isPkcs11Uri('file.pem')).toBe(false);
  expect(parsePkcs11Uri(GOOD)).toEqual({
    module: '/usr/lib/x.so',
    token: 'my token',
    serial: undefined,
    object: 'a-key',
    id: undefined,
    pinFile: '/etc/pin',
  });
  expect(parsePkcs11Uri('pkcs11:serial=0a1b;id=%01%FF%2f?module-path=%2Flib%2fx.so')).toEqual({
    module: '/lib/x.so',
    token: undefined,
    serial: '0a1b',
    object: undefined,
    id: Uint8Array.of(1, 0xff, 0x2f),
    pinFile: undefined,
  });
  const umlaut = parsePkcs11Uri(
    'pkcs11:token=gr%C3%BCn;object=%3B%3F?module-path=/x&pin-source=/p',
  );
  expect(umlaut).toMatchObject({ token: 'grün', object: ';?', pinFile: '/p' });
  const withHost = parsePkcs11Uri('pkcs11:token=t;object=o?module-path=/x&pin-source=file:///p');
  expect(withHost.pinFile).toBe('/p');
});

test('for people it is a key in a token', () => {
  expect(describePkcs11(parsePkcs11Uri(GOOD))).toBe('key "a-key" in token "my token"');
  const byId = parsePkcs11Uri('pkcs11:serial=7;id=%0A?module-path=/x');
  expect(describePkcs11(byId)).toBe('key id 0a in token serial "7"');
});

describe('refuses', () => {
  test.each([
    ['another scheme', 'pkcs12:token=t;object=o?module-path=/x', /does not begin with pkcs11:/],
    ['another case of it', 'PKCS11:token=t;object=o?module-path=/x', /does not begin with/],
    ['no token', 'pkcs11:object=o?module-path=/x', /which token is meant/],
    ['no key', 'pkcs11:token=t?module-path=/x', /which key is meant/],
    ['no module', 'pkcs11:token=t;object=o', /no module-path/],
    [
      'a module by its name',
      'pkcs11:token=t;object=o?module-name=x',
      /"module-name" is not one of/,
    ],
    [
      'a module in the path',
      'pkcs11:token=t;object=o;module-path=/x',
      /"module-path" is not one of/,
    ],
    ['a relative module', 'pkcs11:token=t;object=o?module-path=x.so', /not an absolute path/],
    ['a PIN', 'pkcs11:token=t;object=o?module-path=/x&pin-value=1234', /use pin-source/],
    [
      'a PIN in the path',
      'pkcs11:token=t;object=o;pin-value=1234?module-path=/x',
      /use pin-source/,
    ],
    ['a program', 'pkcs11:token=t;object=o?module-path=/x&pin-source=|prog', /write what is not/],
    [
      'a program in percents',
      'pkcs11:token=t;object=o?module-path=/x&pin-source=%7Cprog',
      /absolute path/,
    ],
    [
      'a PIN from a network',
      'pkcs11:token=t;object=o?module-path=/x&pin-source=https://h/p',
      /absolute/,
    ],
    [
      'a public key',
      'pkcs11:token=t;object=o;type=public?module-path=/x',
      /a private key is named/,
    ],
    [
      'an attribute of others',
      'pkcs11:token=t;object=o;slot-id=1?module-path=/x',
      /"slot-id" is not/,
    ],
    ['an attribute twice', 'pkcs11:token=t;token=t;object=o?module-path=/x', /token occurs twice/],
    ['an empty value', 'pkcs11:token=;object=o?module-path=/x', /token is ""/],
    ['no value', 'pkcs11:token;object=o?module-path=/x', /token is ""/],
    ['an empty attribute', 'pkcs11:token=t;;object=o?module-path=/x', /attribute "" is not one of/],
    ['a space', 'pkcs11:token=my token;object=o?module-path=/x', /write what is not/],
    ['half a percent', 'pkcs11:token=t%2;object=o?module-path=/x', /write what is not/],
    ['a percent of nothing', 'pkcs11:token=t%zz;object=o?module-path=/x', /write what is not/],
    ['bytes that are no text', 'pkcs11:token=%FF;object=o?module-path=/x', /token/],
    ['a zero byte', 'pkcs11:token=t%00;object=o?module-path=/x', /control character/],
    ['a second query', 'pkcs11:token=t;object=o?module-path=/x?y', /a second "\?"/],
    [
      'what is too long',
      `pkcs11:token=${'t'.repeat(3_000)};object=o?module-path=/x`,
      /3\d+ characters/,
    ],
    [
      'a label that is too long',
      `pkcs11:token=${'t'.repeat(256)};object=o?module-path=/x`,
      /256 bytes/,
    ],
  ])('%s', (_, uri, reason) => {
    let error: unknown;
    try {
      parsePkcs11Uri(uri);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: 'malformed', message: expect.stringMatching(reason) });
    // Whatever it says, a PIN is not repeated (P10).
    expect((error as Error).message).not.toContain('1234');
  });
});
