/** Bytes that are almost right: what a parser has to refuse, or print back exactly. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';

/** One small change to `bytes`: a byte changed, taken out, put in, doubled, or the end cut off. */
export function nearMiss(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      way: fc.constantFrom('flip', 'set', 'delete', 'insert', 'double', 'cut', 'swap'),
      at: fc.nat({ max: bytes.length - 1 }),
      to: fc.nat({ max: bytes.length - 1 }),
      byte: fc.nat({ max: 255 }),
      bit: fc.nat({ max: 7 }),
    })
    .map(({ way, at, to, byte, bit }) => {
      const list = [...bytes];
      const here = list[at] as number;
      const [low, high] = at < to ? [at, to] : [to, at];
      if (way === 'flip') list[at] = here ^ (1 << bit);
      else if (way === 'set') list[at] = byte;
      else if (way === 'delete') list.splice(at, 1);
      else if (way === 'insert') list.splice(at, 0, byte);
      else if (way === 'double') list.splice(low, 0, ...list.slice(low, high));
      else if (way === 'cut') list.splice(at);
      else [list[at], list[to]] = [list[to] as number, here];
      return Uint8Array.from(list);
    });
}

/**
 * `reprint` parses and prints. Near misses of every sample, and noise, must come back as they were or
 * be refused with one of the codes. Fast-check prints the seed where they are not.
 */
export function expectOneSpelling(
  samples: readonly Uint8Array[],
  reprint: (bytes: Uint8Array) => Uint8Array,
  options: { readonly codes?: readonly string[]; readonly runs?: number } = {},
): void {
  const { codes = ['malformed', 'too_large'], runs = 3_000 } = options;
  for (const sample of samples) expect(Buffer.from(reprint(sample))).toEqual(Buffer.from(sample));
  const almost = fc.oneof(...samples.map(nearMiss), fc.uint8Array({ maxLength: 64 }));
  let accepted = 0;
  fc.assert(
    fc.property(almost, (bytes) => {
      try {
        expect(Buffer.from(reprint(bytes))).toEqual(Buffer.from(bytes));
        accepted++;
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        expect(codes).toContain(error.code);
      }
    }),
    { numRuns: runs },
  );
  // A parser that took nearly everything would pass all of the above.
  expect(accepted).toBeLessThan(runs);
}
