/** Keys in a token sign as keys in files do, and what does not fit is said. */
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../../server/core/bytes.ts';
import { checkSignature } from '../../../server/core/signature.ts';
import { checkSignatureNative } from '../../../server/keys/engine.ts';
import { createKeyFile } from '../../../server/keys/file.ts';
import { openKeyByFile, openKeyReference, placeKey } from '../../../server/keys/reference.ts';
import { addKeys } from '../../../server/keys/remote/add-keys.ts';
import { HeldKeys } from '../../../server/keys/remote/held-keys.ts';
import { temporaryFolder } from '../../temporary.ts';
import { MODULE, makeKey, missing, newToken, PIN, removeTokens, uriOf } from './softhsm.ts';

const secrets = { pin: PIN };
const open = (reference: string, more: object = secrets) => openKeyReference(reference, '/', more);

describe.skipIf(missing !== '')(
  `a key in a token (skipped where ${missing || 'nothing'} is missing)`,
  () => {
    afterAll(removeTokens);
    beforeAll(() => {
      newToken('stele');
      newToken('other');
      newToken('locked');
      makeKey('stele', 'identity', 'ed25519');
      makeKey('stele', 'anchor', 'ecdsa-p256');
      makeKey('stele', 'operator', 'ecdsa-p384');
      makeKey('stele', 'foreign', 'secp256k1');
      makeKey('stele', 'twice', 'ed25519', Buffer.from('one'));
      makeKey('stele', 'twice', 'ed25519', Buffer.from('two'));
      makeKey('other', 'identity', 'ed25519');
      makeKey('locked', 'identity', 'ed25519');
    });

    test.each([
      ['identity', 'ed25519'],
      ['anchor', 'ecdsa-p256'],
      ['operator', 'ecdsa-p384'],
    ])('%s: %s, and every engine says that its signatures hold', async (name, alg) => {
      const signer = await open(uriOf('stele', name));
      expect(signer.publicKey.alg).toBe(alg);
      // Signatures of every length that DER gives them.
      for (let i = 0; i < 40; i++) {
        const message = utf8(`message ${i}`);
        const signature = await signer.sign(message);
        checkSignatureNative(signer.publicKey, message, signature);
        if (i < 3) checkSignature(signer.publicKey, message, signature);
      }
      await signer.close();
      await expect(signer.sign(utf8('x'))).rejects.toMatchObject({ code: 'storage' });
    });

    test('the same key by label, by id and by both is one key, and another token has another', async () => {
      const byLabel = await open(uriOf('stele', 'identity'));
      const byId = await open(`pkcs11:token=stele;id=identity?module-path=${MODULE}`);
      const byBoth = await open(
        `pkcs11:token=stele;object=identity;id=identity?module-path=${MODULE}`,
      );
      expect(byId.publicKey).toEqual(byLabel.publicKey);
      expect(byBoth.publicKey).toEqual(byLabel.publicKey);
      const other = await open(uriOf('other', 'identity'));
      expect(other.publicKey.keyid).not.toBe(byLabel.publicKey.keyid);
      for (const signer of [byLabel, byId, byBoth, other]) await signer.close();
    });

    test('many signatures at once are made one after the other', async () => {
      const signer = await open(uriOf('stele', 'anchor'));
      const messages = Array.from({ length: 30 }, (_, i) => utf8(`message ${i}`));
      const signatures = await Promise.all(messages.map((message) => signer.sign(message)));
      for (const [i, signature] of signatures.entries()) {
        checkSignatureNative(signer.publicKey, messages[i]!, signature);
      }
      await signer.close();
    });

    test.each([
      ['no such token', () => uriOf('missing', 'identity'), 'not_found', /no such token/],
      ['no such key', () => uriOf('stele', 'missing'), 'not_found', /no private half/],
      ['two keys of one label', () => uriOf('stele', 'twice'), 'conflict', /add id=/],
      ['a curve of no use', () => uriOf('stele', 'foreign'), 'malformed', /its curve is none of/],
      [
        'no module',
        () => 'pkcs11:token=t;object=o?module-path=/nowhere.so',
        'not_found',
        /cannot be loaded/,
      ],
    ])('%s', async (_, uri, code, reason) => {
      const opened = open(uri());
      await expect(opened).rejects.toMatchObject({ code });
      await expect(opened).rejects.toThrow(reason);
    });

    test('the PIN comes from a file that the URI names, or from outside, and is never shown', async () => {
      const folder = temporaryFolder();
      const pin = join(folder, 'pin');
      writeFileSync(pin, `${PIN}\n`, { mode: 0o600 });
      const named = await open(uriOf('other', 'identity', `&pin-source=file:${pin}`), {});
      await named.close();
      await expect(open(uriOf('other', 'identity'), {})).rejects.toMatchObject({
        code: 'forbidden',
      });
      chmodSync(pin, 0o644);
      const refused = open(uriOf('other', 'identity', `&pin-source=${pin}`), {});
      await expect(refused).rejects.toThrow(/chmod 600/);
      await expect(refused).rejects.not.toThrow(PIN);
    });

    test('a wrong PIN is refused', async () => {
      const refused = open(uriOf('locked', 'identity'), { pin: '000000' });
      await expect(refused).rejects.toMatchObject({ code: 'forbidden' });
      await expect(refused).rejects.toThrow(/CKR_PIN_INCORRECT/);
      await expect(refused).rejects.not.toThrow(/000000/);
    });

    test('is put into a folder as a line that names it', async () => {
      const folder = temporaryFolder();
      const uri = uriOf('stele', 'identity');
      const path = placeKey(join(folder, 'identity'), uri, '/');
      expect(path).toBe(join(folder, 'identity.pkcs11'));
      expect(readFileSync(path, 'utf8')).toBe(`${uri}\n`);
      const signer = await openKeyByFile(path, secrets);
      await signer.close();
      expect(() => placeKey(join(folder, 'identity'), 'x.pem', '/')).toThrow(/never replaced/);
      chmodSync(path, 0o666);
      await expect(openKeyByFile(path, secrets)).rejects.toThrow(/others could name another key/);
    });

    test("may be one of a signer's, which adds it by its URI", async () => {
      const folder = temporaryFolder();
      const origin = 'log.example/logs/a';
      const given = { identity: uriOf('stele', 'identity'), anchor: uriOf('stele', 'anchor') };
      const added = await addKeys(folder, origin, given, { cwd: folder, secrets });
      const held = await HeldKeys.open(folder, (path) => openKeyByFile(path, secrets));
      const keys = await held.keys(origin);
      expect(
        keys.map(({ purpose, signer }) => [purpose, signer.publicKey.keyid]).toSorted(),
      ).toEqual(added.map(({ purpose, key }) => [purpose, key.keyid]).toSorted());
      const identity = keys.find(({ purpose }) => purpose === 'identity')!.signer;
      const message = utf8('message');
      checkSignatureNative(identity.publicKey, message, await identity.sign(message));
      // The same key in another log, by another name for it.
      const again = { identity: `pkcs11:token=stele;id=identity?module-path=${MODULE}` };
      const twice = addKeys(folder, 'log.example/logs/b', again, { cwd: folder, secrets });
      await expect(twice).rejects.toThrow(/each key has one purpose, in one log/);
      await held.close();
    });
  },
);

describe('a key in a file', () => {
  test('is copied to where it is looked for, and opens there with its passphrase', async () => {
    const folder = temporaryFolder();
    const from = join(folder, 'mine.key');
    const passphrase = 'correct horse';
    const made = await createKeyFile(from, 'ed25519', { passphrase });
    const path = placeKey(join(folder, 'identity'), 'mine.key', folder);
    expect(path).toBe(join(folder, 'identity.pem'));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const opened = await openKeyByFile(path, { passphrase });
    expect(opened.publicKey).toEqual(made.publicKey);
    await expect(openKeyByFile(path)).rejects.toThrow(/no passphrase was given/);
    await expect(openKeyReference('missing.key', folder)).rejects.toMatchObject({
      code: 'not_found',
    });
  });
});
