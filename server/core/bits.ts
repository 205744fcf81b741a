/**
 * Binary arithmetic on whole numbers up to 2^53 − 1. JavaScript's own bitwise operators cut to 32 bits
 * and `Math.log2` rounds near powers of two, so tree code uses these.
 */

/** Whether bit `level` of `n` is set. */
export function hasBit(n: number, level: number): boolean {
  return Math.floor(n / 2 ** level) % 2 === 1;
}

/** How many low zero bits `n` has; Infinity for 0. */
export function trailingZeros(n: number): number {
  if (n === 0) return Number.POSITIVE_INFINITY;
  let zeros = 0;
  // Whole words first, so that 2^52 takes two steps and not fifty-two.
  for (; n % 4_294_967_296 === 0; zeros += 32) n /= 4_294_967_296;
  const low = n % 4_294_967_296;
  return zeros + 31 - Math.clz32(low & -low);
}

/** The largest k with 2^k ≤ n, for n ≥ 1. */
export function floorLog2(n: number): number {
  const high = Math.floor(n / 4_294_967_296);
  return high > 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(n);
}

/** How many bits `n` needs: 0 for 0, 1 for 1, 8 for 255. */
export function bitLength(n: number): number {
  return n === 0 ? 0 : floorLog2(n) + 1;
}
