/**
 * How is a call's content sealed before the first byte of it reaches the disk?
 *
 * As in the vault (`vault/chunks.ts`): AES-256-GCM under a key that is derived from the record's own data
 * key for one field, with the chunk's number as the nonce and (origin, record_id, field) as associated data. Only
 * the division differs. The vault cuts at each MiB; the spool seals what it has whenever it writes,
 * because bytes that wait in memory for a MiB to fill would die with the process.
 *
 * The data key lies in the call's first frame, wrapped by the key-encryption key (`vault/keyring.ts`).
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { concat } from '../../core/bytes.ts';
import { invariant, unverified } from '../../core/errors.ts';
import { free } from '../../core/free.ts';
import { associatedData, deriveKey, keyOf, type Place, TAG_BYTES } from '../../vault/chunks.ts';

const NONCE_BYTES = 12;

type Random = (bytes: number) => Uint8Array;

/** Seals the chunks of one field of one call, in order; made once for a field in a call's life. */
export class FieldSealer {
  readonly #key: KeyObject;
  readonly #ad: Uint8Array;
  #number = 0;

  constructor(dataKey: Uint8Array, place: Place) {
    this.#key = fieldKey(dataKey, place.field);
    this.#ad = associatedData(place);
  }

  next(plain: Uint8Array): Uint8Array {
    return encrypt(this.#key, counterNonce(this.#number++), this.#ad, plain);
  }
}

/** Opens the chunks that a `FieldSealer` made, in the same order. */
export class FieldOpener {
  readonly #key: KeyObject;
  readonly #ad: Uint8Array;
  #number = 0;

  constructor(dataKey: Uint8Array, place: Place) {
    this.#key = fieldKey(dataKey, place.field);
    this.#ad = associatedData(place);
  }

  next(sealed: Uint8Array): Uint8Array {
    return decrypt(this.#key, counterNonce(this.#number++), this.#ad, sealed);
  }
}

/**
 * Seals what is small, each piece on its own, under a random nonce that goes before it: facts are written
 * a few times in a call's life, and after a crash by another process that cannot know what was used. One
 * key serves all of a call's facts; which is which is in the associated data.
 */
export class FactsSeal {
  readonly #key: KeyObject;
  readonly #place: Omit<Place, 'field'>;

  constructor(dataKey: Uint8Array, place: Omit<Place, 'field'>) {
    this.#key = fieldKey(dataKey, 'facts');
    this.#place = place;
  }

  seal(field: string, plain: Uint8Array, random: Random): Uint8Array {
    const nonce = random(NONCE_BYTES);
    return concat(nonce, encrypt(this.#key, nonce, this.#ad(field), plain));
  }

  open(field: string, sealed: Uint8Array): Uint8Array {
    const nonce = sealed.subarray(0, NONCE_BYTES);
    return decrypt(this.#key, nonce, this.#ad(field), sealed.subarray(NONCE_BYTES));
  }

  #ad(field: string): Uint8Array {
    return associatedData({ ...this.#place, field: `facts ${field}` });
  }
}

function fieldKey(dataKey: Uint8Array, field: string): KeyObject {
  return keyOf(deriveKey(dataKey, 'spool', field));
}

function counterNonce(number: number): Uint8Array {
  invariant(number < 2 ** 32, 'a field has less than 2^32 chunks');
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setUint32(8, number);
  return nonce;
}

function encrypt(key: KeyObject, nonce: Uint8Array, ad: Uint8Array, plain: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(ad);
  const body = cipher.update(plain);
  cipher.final();
  const sealed = concat(body, cipher.getAuthTag());
  free(body);
  return sealed;
}

function decrypt(
  key: KeyObject,
  nonce: Uint8Array,
  ad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array {
  if (nonce.length !== NONCE_BYTES || sealed.length < TAG_BYTES) {
    throw unverified('spooled content', `${sealed.length} bytes are too few to be sealed`);
  }
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(ad);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    const plain = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    decipher.final();
    return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
  } catch (cause) {
    throw unverified('spooled content', 'it does not open: changed, moved, or another key', {
      cause,
    });
  }
}
