/**
 * A log's keys sign notes that readers open.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, parseBase64, sha256, toHex, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint, openCheckpoint } from '../../server/core/checkpoint.ts';
import { checkTreeHead } from '../../server/core/ct.ts';
import { SteleError } from '../../server/core/errors.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { formatNote, openNote, parseVerifierKey } from '../../server/core/note.ts';
import { treeSize } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { KeyObjectSigner } from '../../server/keys/key-object.ts';
import {
  anchorVerifierKey,
  identityVerifierKey,
  signNote,
  signTreeHead,
  sthVerifierKey,
} from '../../server/keys/log-keys.ts';
import type { Signer } from '../../server/keys/signer.ts';
import { sharedJson, sharedMissing } from '../shared.ts';

function made(alg: 'ed25519' | 'ecdsa-p256'): Signer {
  const { publicKey, privateKey } =
    alg === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  return new KeyObjectSigner(privateKey, parsePublicKey(alg, spki));
}

const origin = 'example.com/logs/audit';
const identity = made('ed25519');
const anchor = made('ecdsa-p256');
const identityKey = identityVerifierKey(origin, identity);
const anchorKey = anchorVerifierKey(origin, anchor);
const sth = made('ecdsa-p256');
const sthKey = sthVerifierKey(origin, sth);
const text = formatCheckpoint({ origin, size: treeSize(7), root: sha256(utf8('root')) });

describe('a note by a log', () => {
  test('has a line of each key and opens with either, on either engine', async () => {
    const note = await signNote(text, [
      { key: identityKey, signer: identity },
      { key: anchorKey, signer: anchor },
    ]);
    const bytes = utf8(formatNote(note));
    for (const options of [{}, { check: checkSignatureNative }]) {
      const opened = openCheckpoint(bytes, origin, [identityKey, anchorKey], options);
      expect(opened.verified).toEqual([identityKey, anchorKey]);
      expect(opened.signatures).toEqual(note.signatures);
      expect(openCheckpoint(bytes, origin, [anchorKey], options).verified).toEqual([anchorKey]);
    }
  });

  test('is not made when one of the signers fails', async () => {
    const broken: Signer = {
      publicKey: anchor.publicKey,
      sign: () => Promise.reject(new SteleError('storage', 'the key service is away')),
      close: async () => {},
    };
    await expect(
      signNote(text, [
        { key: identityKey, signer: identity },
        { key: anchorKey, signer: broken },
      ]),
    ).rejects.toThrow('the key service is away');
  });

  test('is not made with the key of another signer, or of a text without its line feed', async () => {
    await expect(signNote(text, [{ key: identityKey, signer: anchor }])).rejects.toThrow(
      'a verifier key and its signer are one key',
    );
    await expect(
      signNote(text.slice(0, -1), [{ key: identityKey, signer: identity }]),
    ).rejects.toThrow('ends with a line feed');
  });
});

test('the verifier keys are what readers parse', () => {
  expect(parseVerifierKey(identityKey.text)).toEqual(identityKey);
  expect(parseVerifierKey(anchorKey.text)).toEqual(anchorKey);
  expect(parseVerifierKey(sthKey.text)).toEqual(sthKey);
  expect([identityKey.type, anchorKey.type, sthKey.type]).toEqual([1, 2, 5]);
  expect(identityKey.publicKey?.keyid).toBe(identity.publicKey.keyid);
  expect(anchorKey.publicKey?.keyid).toBe(anchor.publicKey.keyid);
});

test('a key serves only its purpose, under an origin that may be one', () => {
  expect(() => identityVerifierKey(origin, anchor)).toThrow('only an ed25519 key has a raw form');
  expect(() => anchorVerifierKey(origin, identity)).toThrow('an anchor key is ECDSA P-256');
  expect(() => sthVerifierKey(origin, identity)).toThrow('an sth key is ECDSA P-256');
  expect(() => sthVerifierKey('a b', sth)).toThrow('origin: ');
  expect(() => identityVerifierKey('a b', identity)).toThrow('origin: ');
  expect(() => anchorVerifierKey('a+b', anchor)).toThrow('origin: ');
});

test('the key of tree heads signs no note, and none of its lines is verified', async () => {
  await expect(signNote(text, [{ key: sthKey, signer: sth }])).rejects.toThrow('0x01 or 0x02');
  const note = await signNote(text, [{ key: identityKey, signer: identity }]);
  const line = { name: origin, keyId: sthKey.keyId, signature: await sth.sign(utf8(text)) };
  const bytes = utf8(formatNote({ ...note, signatures: [...note.signatures, line] }));
  const opened = openNote(bytes, [identityKey, sthKey]);
  expect(opened.verified).toEqual([identityKey]);
  expect(opened.unknown).toEqual([line]);
});

test('its key ID has the log ID in it, and its own line is the SPKI', () => {
  const logId = sha256(sth.publicKey.spki);
  const id = sha256(concat(utf8(`${origin}\n`), Uint8Array.of(5), logId));
  expect(sthKey.keyId).toBe(toHex(id).slice(0, 8));
  expect(Buffer.from(sthKey.key)).toEqual(Buffer.from(sth.publicKey.spki));
});

test('a tree head is given out only with a signature that holds', async () => {
  const head = { timeMs: 1, size: treeSize(7), root: sha256(utf8('root')) };
  checkTreeHead(await signTreeHead(head, sth), sth.publicKey);
  const broken: Signer = { ...sth, publicKey: anchor.publicKey, sign: (m) => sth.sign(m) };
  await expect(signTreeHead(head, broken)).rejects.toMatchObject({ code: 'storage' });
});

interface SignerVector {
  readonly skey: string;
  readonly vkey: string;
  readonly text?: string;
  readonly signedNote?: string;
}

describe.skipIf(sharedMissing)('published signer keys', () => {
  const { cases } = (
    sharedMissing ? { cases: [] } : sharedJson('vectors', 'tlog-notes', 'signer-keys.json')
  ) as { cases: SignerVector[] };

  test.each(cases)('$vkey', async (vector) => {
    const secret = parseBase64(vector.skey.split('+').slice(4).join('+'), 'signer key').subarray(1);
    // [RFC 8410 §7] the private key of a seed, in PKCS#8.
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), secret]);
    const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
    const publicKey = parsePublicKey('ed25519', new Uint8Array(spki));
    const signer = new KeyObjectSigner(privateKey, publicKey);
    const key = parseVerifierKey(vector.vkey);
    const note = await signNote(vector.text ?? 'text\n', [{ key, signer }]);
    if (vector.signedNote !== undefined) expect(formatNote(note)).toBe(vector.signedNote);
    expect(openNote(utf8(formatNote(note)), [key]).verified).toEqual([key]);
  });
});
