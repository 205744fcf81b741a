/** UUID version 7: an identifier whose first 48 bits are a time, so that ids sort as they were made. */
import { toHex } from './bytes.ts';
import { invariant } from './errors.ts';

/**
 * The UUIDv7 of a time in milliseconds since 1970 and 10 random bytes, of which 74 bits are used
 * [RFC 9562 §5.7].
 */
export function uuidv7(ms: number, random: Uint8Array): string {
  invariant(random.length === 10, 'a UUIDv7 takes 10 random bytes');
  invariant(Number.isSafeInteger(ms) && ms >= 0 && ms < 2 ** 48, 'a UUIDv7 time has 48 bits');
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 6; i++) bytes[i] = Math.floor(ms / 2 ** (8 * (5 - i))) % 256;
  bytes.set(random, 6);
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = toHex(bytes);
  return [8, 12, 16, 20, 32].map((end, i, ends) => hex.slice(ends[i - 1] ?? 0, end)).join('-');
}
