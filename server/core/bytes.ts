/**
 * Bytes and their text forms.
 *
 * Every parser here has one spelling: it accepts exactly what the formatter prints, so that two texts
 * never stand for the same bytes.
 */
import { invariant, malformed, shown } from './errors.ts';
import { primitives } from './primitives.ts';
import type { Hash } from './units.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** UTF-8 of `text`. A lone surrogate would become U+FFFD; text from strangers is checked before. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The text of UTF-8 `bytes`; a byte-order mark is kept, since it is part of what was signed. */
export function parseUtf8(bytes: Uint8Array, what: string): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw malformed(what, 'not valid UTF-8', { cause });
  }
}

export function sha256(bytes: Uint8Array): Hash {
  return primitives().sha256(bytes) as Hash;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Eight bytes, the highest first, of a whole number up to 2^53 − 1. */
export function encodeU64(n: number): Uint8Array {
  invariant(Number.isSafeInteger(n) && n >= 0, `${n} is a whole number from 0 to 2^53 - 1`);
  const bytes = new Uint8Array(8);
  let rest = n;
  for (let i = 7; i >= 0; i--) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}

/** Reads eight bytes, the highest first; throws `malformed` above 2^53 − 1. */
export function decodeU64(bytes: Uint8Array, what: string): number {
  invariant(bytes.length === 8, 'a u64 has eight bytes');
  let n = 0;
  for (const byte of bytes) n = n * 256 + byte;
  if (!Number.isSafeInteger(n)) throw malformed(what, 'it is above 2^53 - 1');
  return n;
}

/** Whether two byte strings are the same. Not constant in time: for public bytes only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function toHex(bytes: Uint8Array): string {
  return primitives().toHex(bytes);
}

/** Lower-case hex of exactly `length` bytes, or of any number of bytes where none is given. */
export function parseHex(text: string, what: string, length?: number): Uint8Array {
  if (length !== undefined && text.length !== 2 * length) {
    throw malformed(what, `${text.length} hex digits where ${2 * length} are needed`);
  }
  // A pattern over pairs would keep a place to go back to for each: a long text overflows its stack.
  if (text.length % 2 !== 0 || /[^0-9a-f]/.test(text)) {
    throw malformed(what, `${shown(text)} is not lower-case hex`);
  }
  return Uint8Array.from({ length: text.length / 2 }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
}

/** Standard base64 with padding [RFC 4648 §4]. */
export function toBase64(bytes: Uint8Array): string {
  return primitives().toBase64(bytes);
}

/** Strict standard base64: the alphabet, the padding, and zero bits where nothing is encoded. */
export function parseBase64(text: string, what: string): Uint8Array {
  const bytes = decodeBase64(text, STANDARD);
  if (bytes === undefined || text.length % 4 !== 0) {
    throw malformed(what, `${shown(text)} is not canonical base64`);
  }
  return bytes;
}

/** URL-safe base64 without padding [RFC 4648 §5]. */
export function toBase64url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Strict URL-safe base64 without padding. */
export function parseBase64url(text: string, what: string): Uint8Array {
  const bytes = text.includes('=') ? undefined : decodeBase64(text, URL_SAFE);
  if (bytes === undefined) throw malformed(what, `${shown(text)} is not canonical base64url`);
  return bytes;
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const STANDARD = digitsOf(`${LETTERS}+/`);
const URL_SAFE = digitsOf(`${LETTERS}-_`);

function digitsOf(alphabet: string): Int8Array {
  const digits = new Int8Array(128).fill(-1);
  for (let i = 0; i < alphabet.length; i++) digits[alphabet.charCodeAt(i)] = i;
  return digits;
}

/** The bytes, or nothing if a digit is foreign, the padding is off, or unused bits are set. */
function decodeBase64(text: string, digits: Int8Array): Uint8Array | undefined {
  let end = text.length;
  while (end > 0 && text.length - end < 2 && text.charCodeAt(end - 1) === 61) end--;
  if (end % 4 === 1 || (end !== text.length && text.length % 4 !== 0)) return undefined;
  const bytes = new Uint8Array(Math.floor((end * 3) / 4));
  let word = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    const digit = code < 128 ? (digits[code] ?? -1) : -1;
    if (digit < 0) return undefined;
    word = ((word << 6) | digit) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (word >> bits) & 0xff;
    }
  }
  return (word & ((1 << bits) - 1)) === 0 ? bytes : undefined;
}
