/**
 * A signer whose private key is a file.
 *
 * The file is PKCS#8 in PEM, readable by its owner alone, with or without a passphrase. A new one is
 * written under a name of its own, synced, and only then given its real name, which never replaces a
 * file: the name exists whole or not at all. No error of this file has a byte of what it read (P10).
 *
 * Known hole: with a passphrase the key is encrypted as OpenSSL does it by default, AES-256-CBC under
 * PBKDF2 with 2,048 rounds, so a short passphrase can be guessed by whoever has the file. A key service
 * behind the same interface would close it.
 *
 * Known hole: on Windows files have no mode, and nothing is checked there.
 *
 * [RFC 5958] PKCS#8. [RFC 7468 §10, §11] its PEM labels.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { link, open, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { malformed, SteleError } from '../core/errors.ts';
import { type Algorithm, type PublicKey, parsePublicKey } from '../core/keys.ts';
import { KeyObjectSigner } from './key-object.ts';
import type { Signer } from './signer.ts';

export interface KeyFileOptions {
  /** Encrypts the file, or opens an encrypted one. */
  readonly passphrase?: string;
}

/** An RSA-4096 key in encrypted PEM has about 3,400 bytes. */
const KEY_FILE_BYTES_MAX = 16_384;

/** Every permission that is not reading or writing by the owner. */
const LOOSE_MODE = 0o177;

/**
 * Makes a key, writes it to `path` and opens it. When the promise resolves the file and its name are on
 * disk. Rejects with `conflict` if there is a file of that name, which is left alone.
 */
export async function createKeyFile(
  path: string,
  alg: 'ed25519' | 'ecdsa-p256',
  options: KeyFileOptions = {},
): Promise<Signer> {
  const privateKey = generate(alg);
  const pem = privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    ...(options.passphrase === undefined
      ? {}
      : { cipher: 'aes-256-cbc', passphrase: usable(path, options.passphrase) }),
  });
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}.new`);
  try {
    await writeNew(temporary, pem);
    try {
      // A crash before this leaves a stray file with a key that never signed anything. `link` and not
      // `rename`: of two processes that make the same key file, one must fail.
      await link(temporary, path);
    } finally {
      await unlink(temporary);
    }
    // From here on the name survives a power failure, so others may be told the public key.
    await syncFolder(dirname(path));
  } catch (cause) {
    if (errnoOf(cause) === 'EEXIST') {
      throw new SteleError('conflict', `key file ${path}: it exists and is never overwritten`);
    }
    throw failed('key file', path, 'written', cause);
  }
  return new KeyObjectSigner(privateKey, publicKeyOf(path, privateKey));
}

/**
 * Opens a key file of any algorithm. Rejects with `not_found` if there is none, `forbidden` if others
 * than its owner may read or change it, `malformed` if it holds no usable key or the passphrase does not
 * fit.
 */
export async function openKeyFile(path: string, options: KeyFileOptions = {}): Promise<Signer> {
  const pem = await readKeyFile(path);
  const encrypted = pem.startsWith('-----BEGIN ENCRYPTED PRIVATE KEY-----\n');
  if (!encrypted && !pem.startsWith('-----BEGIN PRIVATE KEY-----\n')) {
    throw malformed(`key file ${path}`, 'not a private key in PKCS#8 PEM');
  }
  if (encrypted && options.passphrase === undefined) {
    throw malformed(`key file ${path}`, 'it is encrypted, and no passphrase was given');
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey({
      key: pem,
      format: 'pem',
      ...(encrypted ? { passphrase: options.passphrase ?? '' } : {}),
    });
  } catch {
    // The cause is left out: what a decoder says about a private key belongs in no log (P10).
    const reason = encrypted ? 'the passphrase does not open it' : 'its PKCS#8 does not decode';
    throw malformed(`key file ${path}`, reason);
  }
  return new KeyObjectSigner(privateKey, publicKeyOf(path, privateKey));
}

function generate(alg: 'ed25519' | 'ecdsa-p256'): KeyObject {
  return alg === 'ed25519'
    ? generateKeyPairSync('ed25519').privateKey
    : generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
}

function usable(path: string, passphrase: string): string {
  // An empty passphrase protects nothing and would be noticed only when the file is stolen.
  if (passphrase === '') throw malformed(`key file ${path}`, 'the passphrase is empty');
  return passphrase;
}

function publicKeyOf(path: string, privateKey: KeyObject): PublicKey {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return parsePublicKey(algorithmOf(path, privateKey), new Uint8Array(spki));
}

function algorithmOf(path: string, key: KeyObject): Algorithm {
  const type = key.asymmetricKeyType;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (type === 'ed25519') return 'ed25519';
  if (type === 'rsa') return 'rsa-pss';
  if (type === 'ec' && curve === 'prime256v1') return 'ecdsa-p256';
  if (type === 'ec' && curve === 'secp384r1') return 'ecdsa-p384';
  throw malformed(
    `key file ${path}`,
    `a key of type ${curve ?? type} where ed25519, P-256, P-384 and rsa are known`,
  );
}

/** The text of a file that only its owner may read. Rejects as `openKeyFile` does. */
export function readKeyFile(path: string): Promise<string> {
  return readFileOf(path, 'key file', KEY_FILE_BYTES_MAX, (mode) => {
    const permissions = mode & 0o777;
    if (process.platform === 'win32' || (permissions & LOOSE_MODE) === 0) return;
    throw new SteleError(
      'forbidden',
      `key file ${path}: mode ${octal(permissions)} is looser than 0600; run chmod 600 on it`,
    );
  });
}

/** The text of a file beside a key that anyone may read. */
export function readPublicFile(path: string, what: string, bytesMax: number): Promise<string> {
  return readFileOf(path, what, bytesMax, () => undefined);
}

async function readFileOf(
  path: string,
  what: string,
  bytesMax: number,
  checkMode: (mode: number) => void,
): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      // Asked of the open file, so that what was judged is what is read.
      const { mode, size } = await file.stat();
      checkMode(mode);
      if (size > bytesMax) {
        throw malformed(`${what} ${path}`, `${size} bytes where at most ${bytesMax} are allowed`);
      }
      return await file.readFile('latin1');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof SteleError) throw cause;
    if (errnoOf(cause) === 'ENOENT') {
      throw new SteleError('not_found', `${what} ${path}: there is none`);
    }
    throw failed(what, path, 'read', cause);
  }
}

async function writeNew(path: string, text: string | Buffer): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } catch (cause) {
    await unlink(path);
    throw cause;
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function failed(what: string, path: string, done: string, cause: unknown): SteleError {
  return new SteleError(
    'storage',
    `${what} ${path}: it could not be ${done} (${errnoOf(cause) ?? 'unknown'})`,
    { cause },
  );
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function octal(mode: number): string {
  return `0${mode.toString(8).padStart(3, '0')}`;
}
