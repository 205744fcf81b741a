/**
 * The key-encryption key: where it lies, and how it wraps the data keys.
 *
 * It lies in a file of its own, in neither the vault nor its key database, so that a backup of either
 * or of both opens nothing. Who holds it and the key database can read all content that was not
 * erased; who destroys it erases everything at once.
 *
 *     wrapped data key   salt, 32 bytes │ AES-256-GCM(key, nonce 0, data key), 32 + 16 bytes
 *     key                HKDF-SHA256(key-encryption key, salt, where the data key belongs)
 *
 * A fresh salt makes a fresh wrapping key, so the nonce never repeats under one key, and there is no
 * bound on how many data keys one key-encryption key may wrap.
 */
import {
  createCipheriv,
  createDecipheriv,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { link, open, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { concat, toHex } from '../core/bytes.ts';
import { invariant, SteleError, unverified } from '../core/errors.ts';
import { KEY_BYTES, keyOf, TAG_BYTES } from './chunks.ts';
import { FsyncFailed } from './files.ts';

const SALT_BYTES = 32;
const NONCE = new Uint8Array(12);

/**
 * Makes the key file, which must not exist, from the system's random bytes. When this resolves, the
 * file and its name are on disk. A crash leaves the whole file, or none of that name.
 */
export async function createKek(path: string): Promise<Uint8Array> {
  const kek = new Uint8Array(randomBytes(KEY_BYTES));
  const draft = `${path}.${toHex(new Uint8Array(randomBytes(8)))}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(kek);
    await synced(file.sync(), draft);
  } finally {
    await file.close();
  }
  try {
    // A link, since a rename would replace a key that another process made meanwhile.
    await link(draft, path);
  } finally {
    await unlink(draft);
  }
  const folder = await open(dirname(path), 'r');
  try {
    await synced(folder.sync(), dirname(path));
  } finally {
    await folder.close();
  }
  return kek;
}

async function synced(sync: Promise<void>, path: string): Promise<void> {
  try {
    await sync;
  } catch (cause) {
    throw new FsyncFailed(path, { cause });
  }
}

/** Reads the key file. One that others can read, or that is not 32 bytes, is refused. */
export async function openKek(path: string): Promise<Uint8Array> {
  const { mode, size } = await stat(path);
  if ((mode & 0o077) !== 0) {
    const shown = (mode & 0o777).toString(8).padStart(4, '0');
    throw new SteleError('forbidden', `${path} has mode ${shown}: the rule is 0600, owner only`);
  }
  if (size !== KEY_BYTES) {
    throw new SteleError('malformed', `${path} has ${size} bytes where a key has ${KEY_BYTES}`);
  }
  const file = await open(path, 'r');
  try {
    return new Uint8Array(await file.readFile());
  } finally {
    await file.close();
  }
}

/** Wraps and unwraps data keys. `owner` says whose they are; a key opens under no other. */
export class Keyring {
  readonly #kek: KeyObject;
  readonly #random: (bytes: number) => Uint8Array;

  constructor(kek: Uint8Array, random: (bytes: number) => Uint8Array) {
    invariant(kek.length === KEY_BYTES, `a key-encryption key has ${KEY_BYTES} bytes`);
    this.#kek = keyOf(kek);
    this.#random = random;
  }

  newDataKey(): Uint8Array {
    return this.#random(KEY_BYTES);
  }

  wrap(dataKey: Uint8Array, owner: Uint8Array): Uint8Array {
    const salt = this.#random(SALT_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#wrappingKey(salt, owner), NONCE, {
      authTagLength: TAG_BYTES,
    });
    const body = cipher.update(dataKey);
    cipher.final();
    return concat(salt, body, cipher.getAuthTag());
  }

  /** `unverified` unless this key-encryption key wrapped it for this owner. */
  unwrap(wrapped: Uint8Array, owner: Uint8Array): Uint8Array {
    if (wrapped.length !== SALT_BYTES + KEY_BYTES + TAG_BYTES) {
      throw unverified('wrapped data key', `${wrapped.length} bytes where it has 80`);
    }
    const salt = wrapped.subarray(0, SALT_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', this.#wrappingKey(salt, owner), NONCE, {
      authTagLength: TAG_BYTES,
    });
    decipher.setAuthTag(wrapped.subarray(SALT_BYTES + KEY_BYTES));
    try {
      const dataKey = decipher.update(wrapped.subarray(SALT_BYTES, SALT_BYTES + KEY_BYTES));
      decipher.final();
      return new Uint8Array(dataKey);
    } catch (cause) {
      const rule = 'it was changed, or another key-encryption key wrapped it';
      throw unverified('wrapped data key', rule, { cause });
    }
  }

  #wrappingKey(salt: Uint8Array, owner: Uint8Array): KeyObject {
    return keyOf(new Uint8Array(hkdfSync('sha256', this.#kek, salt, owner, KEY_BYTES)));
  }
}
