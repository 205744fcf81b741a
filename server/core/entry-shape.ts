/**
 * Has an entry no more parts than an entry may have? Asked before anything is made of its bytes.
 *
 * A decoder makes an object of each field that it meets, and two bytes are enough for a field: what is
 * 64 KiB on the wire would be megabytes in memory before the first rule is asked. This only counts. Bytes
 * that break off are left to the decoder, and other spellings to the comparison after it.
 */
import { malformed } from './errors.ts';
import { ENTRY_SIGNATURES_MAX, WINDOW_SIZE_MAX } from './limits.ts';

const WHAT = 'entry';

/** Hashes of a window's path: its size is at most a power of two. */
const PATH_MAX = Math.log2(WINDOW_SIZE_MAX);

/** How often a field may be there, by its number, and what is in it. */
interface Shape {
  readonly [field: number]: { readonly name: string; readonly max: number; readonly of?: Shape };
}

const WINDOW: Shape = {
  1: { name: 'index', max: 1 },
  2: { name: 'size', max: 1 },
  3: { name: 'hashes', max: PATH_MAX },
};

const SIGNATURE: Shape = {
  1: { name: 'sig', max: 1 },
  2: { name: 'keyid', max: 1 },
  16: { name: 'window', max: 1, of: WINDOW },
};

const ENVELOPE: Shape = {
  1: { name: 'payload', max: 1 },
  2: { name: 'payloadType', max: 1 },
  3: { name: 'signatures', max: ENTRY_SIGNATURES_MAX, of: SIGNATURE },
};

/** Throws `malformed` where a part of the entry is there more often than it may be. */
export function checkShape(bytes: Uint8Array): void {
  checkFields(bytes, 0, bytes.length, ENVELOPE);
}

function checkFields(bytes: Uint8Array, begin: number, end: number, shape: Shape): void {
  const counts = new Map<number, number>();
  for (let at = begin; at < end; ) {
    const tag = readVarint(bytes, at, end);
    if (tag === undefined) return;
    const field = Math.floor(tag.value / 8);
    const length = lengthOf(bytes, tag, end);
    if (length === undefined) return;
    const next = length.at + length.value;
    const known = shape[field];
    if (known === undefined) throw malformed(WHAT, `field ${field}, which no entry has there`);
    const count = (counts.get(field) ?? 0) + 1;
    counts.set(field, count);
    if (count > known.max) throw malformed(WHAT, `more than ${known.max} ${known.name}`);
    if (known.of !== undefined) checkFields(bytes, length.at, Math.min(next, end), known.of);
    at = next;
  }
}

interface Varint {
  readonly value: number;
  /** Where the bytes after it begin. */
  readonly at: number;
}

const VARINT = 0;
const DELIMITED = 2;

/** Where a field's value is, and how many bytes it has; nothing where the message breaks off. */
function lengthOf(bytes: Uint8Array, tag: Varint, end: number): Varint | undefined {
  const type = tag.value % 8;
  if (type === DELIMITED) return readVarint(bytes, tag.at, end);
  if (type !== VARINT) throw malformed(WHAT, `a field of wire type ${type}, which no entry has`);
  const value = readVarint(bytes, tag.at, end);
  return value && { value: 0, at: value.at };
}

/** A varint of up to ten bytes, as far as numbers go: its length counts here, and small values. */
function readVarint(bytes: Uint8Array, begin: number, end: number): Varint | undefined {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const at = begin + i;
    const byte = bytes[at];
    if (byte === undefined || at >= end) return undefined;
    value += (byte % 128) * 2 ** (7 * i);
    if (byte < 128) return { value, at: at + 1 };
  }
  return undefined;
}
