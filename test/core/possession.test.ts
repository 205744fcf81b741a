/** What a key signs to show that it is at hand: as the page says, and bound to log, key and challenge. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { pae } from '../../server/core/pae.ts';
import { POSSESSION_TYPE, possessionMessage } from '../../server/core/possession.ts';

const page = readFileSync(new URL('../../docs/formats-http.md', import.meta.url), 'utf8');

test('docs/formats-http.md shows the message and a proof that is one', () => {
  const lines = /^ {4}stele possession v1\n(?: {4}.*\n){3}/m.exec(page)?.[0] ?? '';
  const text = lines.replaceAll(/^ {4}/gm, '');
  const [, origin = '', keyid = '', challenge = ''] = text.split('\n');
  const bytes = new Uint8Array(Buffer.from(challenge, 'base64'));
  const message = possessionMessage(origin, keyid, bytes);
  expect(Buffer.from(message)).toEqual(Buffer.from(pae(POSSESSION_TYPE, utf8(text))));
  // [RFC 8032 §7.1] the key of the first test, in PKCS#8 [RFC 8410 §7].
  const seed = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60';
  const der = Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex');
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  expect(parsePublicKey('ed25519', new Uint8Array(spki)).keyid).toBe(keyid);
  expect(page).toContain(`\`${sign(null, message, key).toString('base64')}\``);
});

test('messages of another log, key or challenge are others', () => {
  const challenge = new Uint8Array(32);
  const messages = [
    possessionMessage('a.example/logs/a', 'a'.repeat(64), challenge),
    possessionMessage('a.example/logs/b', 'a'.repeat(64), challenge),
    possessionMessage('a.example/logs/a', 'b'.repeat(64), challenge),
    possessionMessage('a.example/logs/a', 'a'.repeat(64), challenge.with(31, 1)),
  ].map((bytes) => Buffer.from(bytes).toString('hex'));
  expect(new Set(messages).size).toBe(4);
  expect(() => possessionMessage('a', 'b', challenge.subarray(1))).toThrow('32 bytes');
});
