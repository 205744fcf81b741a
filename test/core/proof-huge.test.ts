/**
 * Proofs over trees that nobody could build, up to 2^53 − 1 leaves.
 *
 * All leaves are the same but three, so the reference can tell the hash of any part from its size. The
 * three make left differ from right and one half from the other where a proof passes them.
 */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import {
  checkConsistency,
  checkInclusion,
  type ProofPlan,
  planConsistency,
  planInclusion,
  planRoot,
  prove,
} from '../../server/core/proof.ts';
import type { Hash } from '../../server/core/units.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { hugeData, PATH, PROOF } from '../reference/rfc6962.ts';
import { codeOf } from './codes.ts';
import { asHashes, entryAt, index, size } from './trees.ts';

beforeAll(useNativePrimitives);

const MAX = Number.MAX_SAFE_INTEGER;

/** Near powers of two, near multiples of a tile, and anywhere. */
const anySize = fc.oneof(
  fc.integer({ min: 1, max: MAX }),
  fc.integer({ min: 2 ** 32 - 300, max: 2 ** 32 + 300 }),
  fc.integer({ min: MAX - 300, max: MAX }),
  fc
    .tuple(fc.integer({ min: 31, max: 52 }), fc.integer({ min: -2, max: 2 }))
    .map(([level, off]) => 2 ** level + off),
);
const anyTree = fc
  .tuple(
    anySize,
    fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }),
  )
  .map(([n, at]) => ({ n, marks: at.map((x) => Math.min(n - 1, Math.floor(x * n))) }));

function dataOf(n: number, marks: readonly number[]) {
  return hugeData(BigInt(n), entryAt(0), new Map(marks.map((m, i) => [BigInt(m), entryAt(i + 1)])));
}

/** The hashes of a plan's nodes, each from the reference: what a store of this tree would answer. */
function hashesOf(plan: ProofPlan, data: ReturnType<typeof dataOf>): Hash[] {
  return asHashes(
    plan.nodes.map(({ level, index: at }) => {
      const width = 1n << BigInt(level);
      return data.slice(BigInt(at) * width, (BigInt(at) + 1n) * width).MTH();
    }),
  );
}

const spoil = (hash: Hash) => hash.with(0, (hash[0] ?? 0) ^ 0x80) as Hash;

test('an inclusion proof is the reference’s at any size, and fails with any hash spoiled', () => {
  fc.assert(
    fc.property(anyTree, anySize, fc.boolean(), ({ n, marks }, any, onMark) => {
      const at = onMark ? (marks[0] ?? 0) : any % n;
      const data = dataOf(n, marks);
      const plan = planInclusion(index(at), size(n));
      const proof = prove(plan, hashesOf(plan, data));
      expect(proof).toEqual(PATH(BigInt(at), data));
      // At most two nodes a level for each of at most 53 hashes, and far fewer in sum.
      expect(plan.nodes.length).toBeLessThanOrEqual(2 * 53);
      const leafHash = data.slice(BigInt(at), BigInt(at) + 1n).MTH() as Hash;
      const claim = { index: index(at), size: size(n), leafHash, root: data.MTH() as Hash };
      checkInclusion({ ...claim, proof });
      for (const [i, hash] of proof.entries()) {
        const spoiled = { ...claim, proof: proof.with(i, spoil(hash)) };
        expect(codeOf(() => checkInclusion(spoiled))).toBe('unverified');
      }
      for (const shorter of [proof.slice(1), proof.slice(0, -1), [...proof, leafHash]]) {
        if (proof.length === 0 && shorter.length === 0) continue;
        expect(codeOf(() => checkInclusion({ ...claim, proof: shorter }))).toBe('unverified');
      }
    }),
    { numRuns: 150 },
  );
});

test('a place is not confused with the one 2^32 further, where bit operators would', () => {
  const n = 2 ** 33;
  const data = dataOf(n, [5, 2 ** 32 + 6, 2 ** 32 + 7]);
  const plan = planInclusion(index(5), size(n));
  const claim = {
    size: size(n),
    leafHash: data.slice(5n, 6n).MTH() as Hash,
    proof: prove(plan, hashesOf(plan, data)),
    root: data.MTH() as Hash,
  };
  checkInclusion({ ...claim, index: index(5) });
  const further = { ...claim, index: index(5 + 2 ** 32) };
  expect(codeOf(() => checkInclusion(further))).toBe('unverified');
});

test('a consistency proof is the reference’s at any two sizes, and fails with any hash spoiled', () => {
  fc.assert(
    fc.property(anyTree, anySize, ({ n, marks }, any) => {
      const from = 1 + (any % n);
      const data = dataOf(n, marks);
      const plan = planConsistency(size(from), size(n));
      const proof = prove(plan, hashesOf(plan, data));
      expect(proof).toEqual(PROOF(BigInt(from), data));
      const fromRoot = data.slice(0n, BigInt(from)).MTH() as Hash;
      const claim = { from: size(from), to: size(n), fromRoot, toRoot: data.MTH() as Hash };
      checkConsistency({ ...claim, proof });
      for (const [i, hash] of proof.entries()) {
        const spoiled = { ...claim, proof: proof.with(i, spoil(hash)) };
        expect(codeOf(() => checkConsistency(spoiled))).toBe('unverified');
      }
      for (const other of [proof.slice(1), proof.slice(0, -1), [...proof, fromRoot]]) {
        if (proof.length === 0 && other.length === 0) continue;
        expect(codeOf(() => checkConsistency({ ...claim, proof: other }))).toBe('unverified');
      }
    }),
    { numRuns: 150 },
  );
});

test('a root is the reference’s at any size', () => {
  fc.assert(
    fc.property(anyTree, ({ n, marks }) => {
      const data = dataOf(n, marks);
      const plan = planRoot(size(n));
      expect(prove(plan, hashesOf(plan, data))).toEqual([data.MTH()]);
    }),
    { numRuns: 150 },
  );
});

test('the largest tree there can be: first, last and middle leaf', () => {
  const data = dataOf(MAX, [0, 2 ** 52, MAX - 1]);
  for (const at of [0, 1, 2 ** 52 - 1, 2 ** 52, MAX - 2, MAX - 1]) {
    const plan = planInclusion(index(at), size(MAX));
    const proof = prove(plan, hashesOf(plan, data));
    expect(proof.length).toBe(at === MAX - 1 ? 52 : 53);
    const leafHash = data.slice(BigInt(at), BigInt(at) + 1n).MTH() as Hash;
    checkInclusion({
      index: index(at),
      size: size(MAX),
      leafHash,
      proof,
      root: data.MTH() as Hash,
    });
  }
});
