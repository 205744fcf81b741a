/**
 * Has memory behind bodies given back while they go through.
 *
 * The collector counts objects. A piece of a body is a small one with 64 KiB behind it: V8 lets 32 MiB of those pile up, and
 * of those that grew old meanwhile as much again. So it is asked to look through what is young, which takes less than a
 * millisecond, each time so many bytes went by.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const EVERY_BYTES = 4_194_304;

/** To be told of bytes that went through. */
export function collector(everyBytes = EVERY_BYTES): (bytes: number) => void {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  // An engine without it collects when it thinks it right.
  if (typeof gc !== 'function') return () => {};
  let passed = 0;
  return (bytes) => {
    passed += bytes;
    if (passed < everyBytes) return;
    passed = 0;
    gc({ type: 'minor' });
  };
}
