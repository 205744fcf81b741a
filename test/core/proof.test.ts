/**
 * Proofs: as the reference makes them, for every size and index to 130, and no longer true once spoiled.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { sha256 } from '../../server/core/bytes.ts';
import { Bug } from '../../server/core/errors.ts';
import { leafHash } from '../../server/core/merkle.ts';
import {
  checkConsistency,
  checkInclusion,
  planConsistency,
  planInclusion,
  planRoot,
  prove,
  rootFromInclusion,
  rootsFromConsistency,
} from '../../server/core/proof.ts';
import type { Hash } from '../../server/core/units.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { holdsConsistency, holdsInclusion, PATH, PROOF } from '../reference/rfc6962.ts';
import { codeOf } from './codes.ts';
import { asHashes, EXHAUSTIVE, entryAt, index, logOf, reference, size } from './trees.ts';

beforeAll(useNativePrimitives);

const log = logOf(EXHAUSTIVE);
const data = reference(EXHAUSTIVE);
const stranger = sha256(Uint8Array.of(0xee));
const leaves = Array.from({ length: EXHAUSTIVE }, (_, i) => leafHash(entryAt(i)));
const roots = Array.from(
  { length: EXHAUSTIVE + 1 },
  (_, n) => data.slice(0n, BigInt(n)).MTH() as Hash,
);
const leaf = (i: number) => leaves[i] as Hash;
const root = (n: number) => roots[n] as Hash;
const inclusion = (i: number, n: number) => {
  const plan = planInclusion(index(i), size(n));
  return prove(plan, log.hashes(plan));
};
const consistency = (m: number, n: number) => {
  const plan = planConsistency(size(m), size(n));
  return prove(plan, log.hashes(plan));
};

/** Every way of spoiling the list of hashes. Each gives nothing where it does not apply. */
const spoilers: Record<string, (proof: readonly Hash[]) => (readonly Hash[])[]> = {
  'lowest hash left out': (p) => (p.length > 0 ? [p.slice(1)] : []),
  'highest hash left out': (p) => (p.length > 0 ? [p.slice(0, -1)] : []),
  'no hashes at all': (p) => (p.length > 0 ? [[]] : []),
  'a stranger in front': (p) => [[stranger, ...p]],
  'a stranger at the end': (p) => [[...p, stranger]],
  'highest hash twice': (p) => (p.length > 0 ? [[...p, p.at(-1) as Hash]] : []),
  'one hash replaced': (p) => p.map((_, i) => p.with(i, stranger)),
  'one bit changed': (p) =>
    p.map((hash, i) => p.with(i, hash.with(31 - (i % 32), (hash[31 - (i % 32)] ?? 0) ^ 1) as Hash)),
  'two neighbors exchanged': (p) =>
    p.slice(1).map((hash, i) => p.with(i, hash).with(i + 1, p[i] as Hash)),
  'one hash a byte short': (p) => p.map((hash, i) => p.with(i, hash.subarray(0, 31) as Hash)),
  'one hash a byte long': (p) =>
    p.map((hash, i) => p.with(i, Uint8Array.from([...hash, 0]) as Hash)),
  'one hash empty': (p) => p.map((_, i) => p.with(i, new Uint8Array(0) as Hash)),
};

describe('an inclusion proof', () => {
  test('is the reference’s, and holds, for every index and size to 130', () => {
    for (let n = 1; n <= EXHAUSTIVE; n++) {
      for (let i = 0; i < n; i++) {
        const proof = inclusion(i, n);
        expect(proof).toEqual(PATH(BigInt(i), data.slice(0n, BigInt(n))));
        checkInclusion({ index: index(i), size: size(n), leafHash: leaf(i), proof, root: root(n) });
      }
    }
  });

  test.each(Object.entries(spoilers))('does not hold with %s', (_, spoil) => {
    let tried = 0;
    for (let n = 1; n <= EXHAUSTIVE; n += n < 40 ? 1 : 9) {
      for (let i = 0; i < n; i++) {
        for (const proof of spoil(inclusion(i, n))) {
          tried++;
          const claim = { index: index(i), size: size(n), leafHash: leaf(i), proof, root: root(n) };
          if (codeOf(() => checkInclusion(claim)) !== 'unverified') expect.fail(`${i} in ${n}`);
        }
      }
    }
    expect(tried).toBeGreaterThan(1000);
  });

  test('does not hold for another leaf, place or root', () => {
    for (let n = 1; n <= 64; n++) {
      for (let i = 0; i < n; i++) {
        const claim = {
          index: index(i),
          size: size(n),
          leafHash: leaf(i),
          proof: inclusion(i, n),
          root: root(n),
        };
        const wrong = [
          { ...claim, leafHash: stranger },
          { ...claim, leafHash: leaf((i + 1) % EXHAUSTIVE) },
          { ...claim, leafHash: leaf(i).subarray(1) as Hash },
          { ...claim, root: stranger },
          { ...claim, root: root(n + 1) },
          { ...claim, root: root(n).subarray(0, 31) as Hash },
          { ...claim, root: new Uint8Array(0) as Hash },
          { ...claim, index: index(n) },
          { ...claim, index: index(n + i) },
          { ...claim, size: size(0) },
          { ...claim, size: size(i) },
          ...Array.from({ length: n }, (_, j) => ({ ...claim, index: index(j) })).filter(
            (_, j) => j !== i,
          ),
        ];
        for (const spoiled of wrong) {
          if (codeOf(() => checkInclusion(spoiled)) !== 'unverified') expect.fail(`${i} in ${n}`);
        }
      }
    }
  });

  test('of a tree of one is empty, and its root is the leaf', () => {
    const claim = { index: index(0), size: size(1), leafHash: stranger, proof: [] };
    expect(inclusion(0, 1)).toEqual([]);
    expect(rootFromInclusion(claim)).toEqual(stranger);
  });

  test('is not planned for a leaf that is not there', () => {
    for (const [i, n] of [
      [0, 0],
      [1, 1],
      [9, 9],
      [2 ** 53 - 1, 2 ** 53 - 1],
    ] as const) {
      expect(codeOf(() => planInclusion(index(i), size(n)))).toBe('malformed');
    }
  });

  test('of more hashes than any proof has is refused unread', () => {
    const proof = new Array<Hash>(100_000).fill(stranger);
    const claim = { index: index(1), size: size(2 ** 40), leafHash: stranger, proof };
    expect(() => rootFromInclusion(claim)).toThrow('100000 hashes are too many');
  });
});

describe('a consistency proof', () => {
  test('is the reference’s, and holds, for every two sizes to 130', () => {
    for (let n = 1; n <= EXHAUSTIVE; n++) {
      for (let m = 1; m <= n; m++) {
        const proof = consistency(m, n);
        expect(proof).toEqual(PROOF(BigInt(m), data.slice(0n, BigInt(n))));
        checkConsistency({ from: size(m), to: size(n), fromRoot: root(m), toRoot: root(n), proof });
      }
    }
  });

  test.each(Object.entries(spoilers))('does not hold with %s', (_, spoil) => {
    let tried = 0;
    for (let n = 1; n <= EXHAUSTIVE; n += n < 40 ? 1 : 9) {
      for (let m = 1; m <= n; m++) {
        for (const proof of spoil(consistency(m, n))) {
          tried++;
          const claim = { from: size(m), to: size(n), fromRoot: root(m), toRoot: root(n), proof };
          if (codeOf(() => checkConsistency(claim)) !== 'unverified') expect.fail(`${m} to ${n}`);
        }
      }
    }
    expect(tried).toBeGreaterThan(1000);
  });

  test('does not hold for other roots or another old size', () => {
    for (let n = 2; n <= 64; n++) {
      for (let m = 1; m <= n; m++) {
        const claim = {
          from: size(m),
          to: size(n),
          fromRoot: root(m),
          toRoot: root(n),
          proof: consistency(m, n),
        };
        const wrong = [
          { ...claim, fromRoot: stranger },
          { ...claim, toRoot: stranger },
          { ...claim, fromRoot: stranger, toRoot: m === n ? root(n) : stranger },
          { ...claim, fromRoot: root(m - 1) },
          { ...claim, toRoot: root(n + 1) },
          { ...claim, fromRoot: root(m).subarray(0, 31) as Hash },
          { ...claim, toRoot: new Uint8Array(0) as Hash },
          { ...claim, from: size(0) },
          { ...claim, from: size(0), proof: [] },
          { ...claim, from: size(n + 1) },
          ...(m === n ? [] : [{ ...claim, fromRoot: root(n), toRoot: root(m) }]),
          ...(m === n ? [] : [{ ...claim, from: size(n), to: size(m) }]),
          ...Array.from({ length: n }, (_, j) => ({ ...claim, from: size(j + 1) })).filter(
            (c) => c.from !== m,
          ),
        ];
        for (const spoiled of wrong) {
          if (codeOf(() => checkConsistency(spoiled)) !== 'unverified') expect.fail(`${m} to ${n}`);
        }
      }
    }
  });

  test('between equal sizes is empty, and only the same root will do', () => {
    const claim = { from: size(7), to: size(7), fromRoot: root(7), toRoot: root(7) };
    expect(codeOf(() => checkConsistency({ ...claim, proof: [] }))).toBeUndefined();
    expect(codeOf(() => checkConsistency({ ...claim, proof: [stranger] }))).toBe('unverified');
    expect(codeOf(() => checkConsistency({ ...claim, toRoot: root(8), proof: [] }))).toBe(
      'unverified',
    );
  });

  test('leads to the root that the first leaves have, whatever somebody says of them', () => {
    for (let n = 1; n <= EXHAUSTIVE; n++) {
      for (let m = 1; m < n; m++) {
        const proof = consistency(m, n);
        const claim = { from: size(m), to: size(n), proof };
        expect(rootsFromConsistency({ ...claim, fromRoot: root(m) })).toEqual({
          from: root(m),
          to: root(n),
        });
        // The root of a power of two is in no proof: it is taken from the claim.
        const isPower = Number.isInteger(Math.log2(m));
        const said = rootsFromConsistency({ ...claim, fromRoot: stranger });
        if (isPower) expect(said.to).not.toEqual(root(n));
        else expect(said).toEqual({ from: root(m), to: root(n) });
      }
    }
  });

  test('from nothing is neither planned nor believed', () => {
    expect(codeOf(() => planConsistency(size(0), size(5)))).toBe('malformed');
    expect(codeOf(() => planConsistency(size(0), size(0)))).toBe('malformed');
    expect(codeOf(() => planConsistency(size(6), size(5)))).toBe('malformed');
    const claim = { from: size(0), to: size(5), fromRoot: root(0), toRoot: root(5), proof: [] };
    expect(codeOf(() => checkConsistency(claim))).toBe('unverified');
    expect(codeOf(() => checkConsistency({ ...claim, to: size(0), toRoot: root(0) }))).toBe(
      'unverified',
    );
  });
});

test('the root of every size to 130 comes from a plan', () => {
  for (let n = 0; n <= EXHAUSTIVE; n++) {
    const plan = planRoot(size(n));
    expect(prove(plan, log.hashes(plan))).toEqual([root(n)]);
  }
});

test('a plan is not computed from another number of hashes', () => {
  const plan = planInclusion(index(2), size(7));
  const hashes = log.hashes(plan);
  expect(() => prove(plan, hashes.slice(1))).toThrow(Bug);
  expect(() => prove(plan, [...hashes, stranger])).toThrow(Bug);
});

describe('on any claim at all the verdict is the reference’s', () => {
  const some = fc.integer({ min: 0, max: 40 });
  const hash = fc.constantFrom(stranger, ...roots.slice(0, 20), ...leaves.slice(0, 20));

  test('inclusion', () => {
    const held = new Set<boolean>();
    fc.assert(
      // Most claims begin as true ones: noise alone would never hold.
      fc.property(
        some,
        some,
        some,
        some,
        fc.option(fc.array(hash, { maxLength: 7 })),
        (i, n, j, k, noise) => {
          const [trueSize, trueIndex] = [n + 1, i % (n + 1)];
          const proof = noise ?? inclusion(trueIndex, trueSize);
          const [at, of] = [j < 20 ? trueIndex : j - 20, k < 20 ? trueSize : k - 20];
          const claim = {
            index: index(at),
            size: size(of),
            leafHash: leaf(trueIndex),
            proof,
            root: root(trueSize),
          };
          const holds = holdsInclusion(BigInt(at), BigInt(of), claim.leafHash, proof, claim.root);
          expect(codeOf(() => checkInclusion(claim))).toBe(holds ? undefined : 'unverified');
          held.add(holds);
        },
      ),
      { numRuns: 2000 },
    );
    expect(held.size).toBe(2);
  });

  test('consistency', () => {
    const held = new Set<boolean>();
    fc.assert(
      fc.property(
        some,
        some,
        some,
        some,
        fc.option(fc.array(hash, { maxLength: 7 })),
        (m, n, j, k, noise) => {
          const [trueTo, trueFrom] = [n + 1, 1 + (m % (n + 1))];
          const proof = asHashes(noise ?? consistency(trueFrom, trueTo));
          const [from, to] = [j < 20 ? trueFrom : j - 20, k < 20 ? trueTo : k - 20];
          const claim = {
            from: size(from),
            to: size(to),
            fromRoot: root(trueFrom),
            toRoot: root(trueTo),
            proof,
          };
          const holds = holdsConsistency(
            BigInt(from),
            BigInt(to),
            claim.fromRoot,
            claim.toRoot,
            proof,
          );
          expect(codeOf(() => checkConsistency(claim))).toBe(holds ? undefined : 'unverified');
          held.add(holds);
        },
      ),
      { numRuns: 2000 },
    );
    expect(held.size).toBe(2);
  });
});
