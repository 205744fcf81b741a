/** Counts as the log formats write them. */
import { malformed, shown } from './errors.ts';

const DECIMAL = /^(0|[1-9][0-9]{0,15})$/;

/**
 * Reads a count written as the log formats write it: ASCII digits, no sign, no space, no leading
 * zero, at most 2^53 − 1. `Number()` and `BigInt()` are no use here: both take "", " 5 " and
 * "0x10", and two spellings of one size are two checkpoints to hash.
 */
export function parseDecimal(text: string, what: string): number {
  const n = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(n)) {
    throw malformed(
      what,
      `${shown(text)} is not a plain decimal number from 0 to 9007199254740991`,
    );
  }
  return n;
}
