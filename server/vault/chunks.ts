/**
 * The sealed form of content: how do bytes of any length become chunks that can be written and read
 * as a stream, and that no one without the key can read, change, cut, reorder or move unnoticed?
 *
 * The vault and the proxy's spool both use it. Where sealed bytes lie, and where data keys come from,
 * is their business; nothing here touches a disk.
 *
 *     plain    │ 1 MiB          │ 1 MiB          │ rest, 0 … 1 MiB │
 *     sealed   │ 1 MiB + 16     │ 1 MiB + 16     │ rest + 16       │    AES-256-GCM, tag at the end
 *     nonce      0 ‖ 00           1 ‖ 00           2 ‖ 01               11 bytes chunk number ‖ last?
 *
 * Every chunk but the last holds exactly 1 MiB, and the last is empty only if the whole is. So one plain
 * text has one division, the sealed length gives the plain length, and a stream that ends early ends
 * in a chunk whose nonce says that it is not the last: it does not open.
 *
 * A nonce is only a position, so a key may seal one stream in its whole life: GCM gives up its
 * secrets when a (key, nonce) pair is used twice. `deriveKey` makes a key for each stream from the
 * data key and the stream's name; `docs/decisions/0001-one-key-per-field.md` says why.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import { concat } from '../core/bytes.ts';
import { invariant, unverified } from '../core/errors.ts';
import { free } from '../core/free.ts';

/** Plain bytes of every chunk but the last: what a reader must hold before it may trust a byte. */
export const CHUNK_BYTES = 1_048_576;

/** What sealing adds to a chunk: the authentication tag. */
export const TAG_BYTES = 16;

export const KEY_BYTES = 32;

const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;

/** A chunk number fits in 32 bits: 4 PiB in one stream, far beyond any limit on a body. */
const CHUNKS_MAX = 2 ** 32;

/** Where content belongs. Sealed into every chunk, so that it opens nowhere else. */
export interface Place {
  readonly origin: string;
  readonly recordId: string;
  readonly field: string;
}

/** The associated data of every chunk of one field: ("stele vault v1", origin, record_id, field). */
export function associatedData(place: Place): Uint8Array {
  return texts('stele vault v1', place.origin, place.recordId, place.field);
}

/** The key for one stream, from the data key and labels that name the stream among all under it. */
export function deriveKey(dataKey: Uint8Array, ...labels: readonly string[]): Uint8Array {
  invariant(dataKey.length === KEY_BYTES, `a data key has ${KEY_BYTES} bytes`);
  const info = texts('stele vault v1 key', ...labels);
  return new Uint8Array(hkdfSync('sha256', keyOf(dataKey), new Uint8Array(), info, KEY_BYTES));
}

/** As Node wants a key: of bytes it finds out by an exception that they are no such object, which takes longer than the sealing. */
export function keyOf(bytes: Uint8Array): KeyObject {
  return createSecretKey(bytes);
}

/** Sealed bytes for so many plain ones. */
export function sealedLength(plainBytes: number): number {
  return plainBytes + TAG_BYTES * Math.max(1, Math.ceil(plainBytes / CHUNK_BYTES));
}

/** Plain bytes inside so many sealed ones; `unverified` if nothing seals to that length. */
export function plainLength(sealedBytes: number): number {
  const plain = sealedBytes - TAG_BYTES * Math.max(1, Math.ceil(sealedBytes / SEALED_CHUNK_BYTES));
  if (plain < 0 || sealedLength(plain) !== sealedBytes) {
    throw unverified('sealed content', `${sealedBytes} bytes is not the length of whole chunks`);
  }
  return plain;
}

/** Seals one stream, once. Holds at most one chunk; what it returns is ready to be written. */
export class Sealer {
  readonly #key: KeyObject;
  readonly #ad: Uint8Array;
  readonly #held = new Held(CHUNK_BYTES);
  #number = 0;
  #ended = false;

  /** `key` must not seal anything else, ever: take it from `deriveKey`. */
  constructor(key: Uint8Array, ad: Uint8Array) {
    invariant(key.length === KEY_BYTES, `a sealing key has ${KEY_BYTES} bytes`);
    this.#key = keyOf(key);
    this.#ad = ad;
  }

  /** The chunks that `plain` completed. It is copied, so the caller may use its bytes again. */
  push(plain: Uint8Array): Uint8Array[] {
    invariant(!this.#ended, 'a sealer takes nothing after its end');
    return this.#held.add(plain).flatMap((chunk) => this.#seal(chunk, false));
  }

  /** The last chunk. There always is one, so an empty stream differs from a missing one. */
  end(): Uint8Array[] {
    invariant(!this.#ended, 'a sealer ends once');
    this.#ended = true;
    return this.#seal(this.#held.rest(), true);
  }

  /** The sealed bytes, and the tag behind them. */
  #seal(chunk: Uint8Array, last: boolean): Uint8Array[] {
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce(this.#number++, last), {
      authTagLength: TAG_BYTES,
    });
    cipher.setAAD(this.#ad);
    const body = cipher.update(chunk);
    cipher.final();
    free(chunk);
    return [body, cipher.getAuthTag()];
  }
}

/**
 * Opens one stream. A chunk's bytes come out only after its tag held, and `end` throws if the stream
 * was cut short: who uses bytes before `end` returned must be able to take them back.
 */
export class Opener {
  readonly #key: KeyObject;
  readonly #ad: Uint8Array;
  readonly #held = new Held(SEALED_CHUNK_BYTES);
  #number = 0;
  #ended = false;

  constructor(key: Uint8Array, ad: Uint8Array) {
    invariant(key.length === KEY_BYTES, `an opening key has ${KEY_BYTES} bytes`);
    this.#key = keyOf(key);
    this.#ad = ad;
  }

  /** The plain chunks that `sealed` completed; `unverified` if one does not open. */
  push(sealed: Uint8Array): Uint8Array[] {
    invariant(!this.#ended, 'an opener takes nothing after its end');
    return this.#held.add(sealed).map((chunk) => this.#open(chunk, false));
  }

  /** The last plain chunk; `unverified` if the stream does not end here. */
  end(): Uint8Array[] {
    invariant(!this.#ended, 'an opener ends once');
    this.#ended = true;
    return [this.#open(this.#held.rest(), true)];
  }

  #open(chunk: Uint8Array, last: boolean): Uint8Array {
    const number = this.#number++;
    const size = chunk.length - TAG_BYTES;
    if (size < 0) throw unverified('sealed content', `chunk ${number} has no room for its tag`);
    if (size === 0 && number > 0) {
      throw unverified('sealed content', `chunk ${number} is empty and not alone`);
    }
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce(number, last), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(this.#ad);
    decipher.setAuthTag(chunk.subarray(size));
    try {
      const plain = decipher.update(chunk.subarray(0, size));
      decipher.final();
      return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
    } catch (cause) {
      const rule = `chunk ${number} does not open: changed, moved, cut short, or another key`;
      throw unverified('sealed content', rule, { cause });
    }
  }
}

/** Seals a buffer whole. */
export function seal(key: Uint8Array, ad: Uint8Array, plain: Uint8Array): Uint8Array {
  const sealer = new Sealer(key, ad);
  return concat(...sealer.push(plain), ...sealer.end());
}

/** Opens what `seal` made, or throws `unverified`. */
export function open(key: Uint8Array, ad: Uint8Array, sealed: Uint8Array): Uint8Array {
  const opener = new Opener(key, ad);
  return concat(...opener.push(sealed), ...opener.end());
}

/**
 * Gathers pieces of any size into blocks of `size`. A full block is given out only when a further
 * byte shows that it is not the last.
 */
class Held {
  readonly #size: number;
  /** Grows by doubling, so that a small field does not cost a whole chunk of memory. */
  #bytes = new Uint8Array(0);
  #used = 0;

  constructor(size: number) {
    this.#size = size;
  }

  add(piece: Uint8Array): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    let rest = piece;
    while (this.#used + rest.length > this.#size) {
      const taken = rest.subarray(0, this.#size - this.#used);
      if (this.#used === 0) {
        blocks.push(taken);
      } else {
        this.#keep(taken);
        blocks.push(this.rest());
      }
      rest = rest.subarray(taken.length);
    }
    this.#keep(rest);
    return blocks;
  }

  /** What is held; nothing is held afterwards. */
  rest(): Uint8Array {
    const block = this.#bytes.subarray(0, this.#used);
    this.#bytes = new Uint8Array(0);
    this.#used = 0;
    return block;
  }

  #keep(piece: Uint8Array): void {
    const used = this.#used + piece.length;
    if (used > this.#bytes.length) {
      const room = Math.min(this.#size, Math.max(used, 2 * this.#bytes.length));
      const larger = new Uint8Array(room);
      larger.set(this.#bytes.subarray(0, this.#used));
      free(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.#used);
    this.#used = used;
  }
}

function nonce(number: number, last: boolean): Uint8Array {
  invariant(number < CHUNKS_MAX, `a stream has at most ${CHUNKS_MAX} chunks`);
  const bytes = new Uint8Array(12);
  new DataView(bytes.buffer).setUint32(7, number);
  bytes[11] = last ? 1 : 0;
  return bytes;
}

/** Texts, each behind its length as a u32: no two lists have one encoding. */
function texts(...list: readonly string[]): Uint8Array {
  // Some dozen of these are made for a call, hence in one piece.
  const lengths = list.map((text) => Buffer.byteLength(text));
  const bytes = Buffer.alloc(lengths.reduce((sum, length) => sum + 4 + length, 0));
  let at = 0;
  for (const [i, text] of list.entries()) {
    at = bytes.writeUInt32BE(lengths[i] ?? 0, at);
    at += bytes.write(text, at);
  }
  return bytes;
}
