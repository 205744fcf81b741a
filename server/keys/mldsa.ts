/**
 * A signer for ML-DSA-44 whose private key is a file.
 *
 * The file is PKCS#8 in PEM as `file.ts` has it, and holds the seed of 32 bytes. From version 24 on Node signs
 * itself, in threads of its own; before, noble does it, some ten times slower, and opens no file that has a
 * passphrase.
 *
 * [RFC 9881 §6] the seed alone as the private key. [FIPS 204 §5.2] pure mode, empty context.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { concat, equalBytes, parseBase64, parseHex, toBase64 } from '../core/bytes.ts';
import { malformed, SteleError } from '../core/errors.ts';
import { MLDSA44_KEY_BYTES } from '../core/verifier-key.ts';
import { readKeyFile } from './file.ts';
import { writeNewFile } from './reference.ts';

/** As `Signer`, for a key that only cosignatures are made with. */
export interface MldsaSigner {
  /** 1,312 bytes. */
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface MldsaFileOptions {
  readonly passphrase?: string | undefined;
}

/** What stands before the seed in a PKCS#8 that holds nothing else. */
const SEED_HEAD = parseHex('3034020100300b06096086480165030403110422' + '8020', 'PKCS#8');
const SEED_BYTES = 32;

/** Makes a key and its file; durable when it returns. Throws if there is one. */
export function createMldsaKeyFile(path: string, { passphrase }: MldsaFileOptions = {}): void {
  const der = concat(SEED_HEAD, new Uint8Array(randomBytes(SEED_BYTES)));
  if (passphrase === undefined) {
    const lines = toBase64(der).match(/.{1,64}/g) ?? [];
    writeNewFile(
      path,
      ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n'),
    );
    return;
  }
  const key = nativeKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  if (key === undefined) throw tooOld(path);
  writeNewFile(
    path,
    key.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase }),
  );
}

/** Rejects as `openKeyFile` does. */
export async function openMldsaKeyFile(
  path: string,
  { passphrase }: MldsaFileOptions = {},
): Promise<MldsaSigner> {
  const pem = await readKeyFile(path);
  const encrypted = pem.startsWith('-----BEGIN ENCRYPTED PRIVATE KEY-----\n');
  if (encrypted && passphrase === undefined) {
    throw malformed(`key file ${path}`, 'it is encrypted, and no passphrase was given');
  }
  const key = nativeKey({ key: pem, format: 'pem', ...(encrypted ? { passphrase } : {}) });
  if (key !== undefined) {
    if (key.asymmetricKeyType !== ('ml-dsa-44' as string)) {
      throw malformed(
        `key file ${path}`,
        `a key of type ${key.asymmetricKeyType} where ml-dsa-44 is needed`,
      );
    }
    return new NativeSigner(key);
  }
  if (encrypted)
    throw isNative()
      ? malformed(`key file ${path}`, 'the passphrase does not open it')
      : tooOld(path);
  return new PortableSigner(seedIn(path, pem));
}

/** Whether this Node signs with such keys. */
export function isNative(): boolean {
  const der = Buffer.from(concat(SEED_HEAD, new Uint8Array(SEED_BYTES)));
  return nativeKey({ key: der, format: 'der', type: 'pkcs8' }) !== undefined;
}

/** The cause is left out: what a decoder says about a private key belongs in no log (P10). */
function nativeKey(input: Parameters<typeof createPrivateKey>[0]): KeyObject | undefined {
  try {
    return createPrivateKey(input);
  } catch {
    return undefined;
  }
}

function tooOld(path: string): SteleError {
  return new SteleError('conflict', `key file ${path}: with a passphrase it needs Node 24`);
}

function seedIn(path: string, pem: string): Uint8Array {
  const body = /^-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)-----END PRIVATE KEY-----\n$/.exec(
    pem,
  );
  let der: Uint8Array | undefined;
  try {
    der = parseBase64((body?.[1] ?? '').replaceAll('\n', ''), 'key');
  } catch {
    der = undefined;
  }
  const length = SEED_HEAD.length + SEED_BYTES;
  if (der?.length !== length || !equalBytes(der.subarray(0, SEED_HEAD.length), SEED_HEAD)) {
    throw malformed(`key file ${path}`, 'not the seed of an ml-dsa-44 key in PKCS#8 PEM');
  }
  return der.subarray(SEED_HEAD.length);
}

class NativeSigner implements MldsaSigner {
  readonly publicKey: Uint8Array;
  #key: KeyObject | undefined;

  constructor(key: KeyObject) {
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
    this.publicKey = new Uint8Array(spki.subarray(spki.length - MLDSA44_KEY_BYTES));
    this.#key = key;
  }

  // Some 400 µs: as long as many other requests take, so another thread does it.
  sign(message: Uint8Array): Promise<Uint8Array> {
    const key = this.#key;
    if (key === undefined) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      sign(null, message, key, (error, signature) => {
        if (error === null) resolve(new Uint8Array(signature));
        else reject(new SteleError('storage', 'the ml-dsa-44 key did not sign', { cause: error }));
      });
    });
  }

  async close(): Promise<void> {
    this.#key = undefined;
  }
}

/** For a Node that does not know the algorithm. */
export class PortableSigner implements MldsaSigner {
  readonly publicKey: Uint8Array;
  #secret: Uint8Array | undefined;

  constructor(seed: Uint8Array) {
    const { publicKey, secretKey } = ml_dsa44.keygen(seed);
    this.publicKey = publicKey;
    this.#secret = secretKey;
  }

  async sign(message: Uint8Array): Promise<Uint8Array> {
    if (this.#secret === undefined) throw closed();
    return ml_dsa44.sign(message, this.#secret);
  }

  async close(): Promise<void> {
    this.#secret = undefined;
  }
}

function closed(): SteleError {
  return new SteleError('storage', 'the ml-dsa-44 signer is closed');
}
