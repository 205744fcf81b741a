/**
 * Proofs that others published, good and damaged.
 */
import { describe, expect, test } from 'vitest';
import { parseBase64, utf8 } from '../../server/core/bytes.ts';
import { leafHash } from '../../server/core/merkle.ts';
import {
  checkConsistency,
  checkInclusion,
  planConsistency,
  planInclusion,
  planRoot,
  prove,
} from '../../server/core/proof.ts';
import type { Hash } from '../../server/core/units.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { codeOf } from './codes.ts';
import { index, size, TestLog } from './trees.ts';

/** Lengths are not checked here: that a hash has 32 bytes is for the code under test to see. */
const hashOf = (text: string) => parseBase64(text, 'vector') as Hash;
const hashesOf = (proof: readonly string[] | null) => (proof ?? []).map(hashOf);

interface InclusionCase {
  readonly file: string;
  readonly leafIdx: string;
  readonly treeSize: string;
  readonly root: string;
  readonly leafHash: string;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}

interface ConsistencyCase {
  readonly file: string;
  readonly size1: string;
  readonly size2: string;
  readonly root1: string;
  readonly root2: string;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}

function casesOf<T>(file: string): readonly T[] {
  return (sharedJson('vectors', 'transparency-dev-merkle', file) as { cases: readonly T[] }).cases;
}

describe.skipIf(sharedMissing)('transparency-dev/merkle', () => {
  test('inclusion proofs have the published verdicts', () => {
    const cases = casesOf<InclusionCase>('inclusion.json');
    expect([cases.length, cases.filter((c) => !c.wantErr).length]).toEqual([77, 5]);
    for (const c of cases) {
      const code = codeOf(() =>
        checkInclusion({
          index: index(BigInt(c.leafIdx)),
          size: size(BigInt(c.treeSize)),
          leafHash: hashOf(c.leafHash),
          proof: hashesOf(c.proof),
          root: hashOf(c.root),
        }),
      );
      // An index past 2^53 is no index at all: it is malformed before any proof is looked at.
      const beyond = BigInt(c.leafIdx) >= 2n ** 53n || BigInt(c.treeSize) >= 2n ** 53n;
      const wanted = beyond ? 'malformed' : c.wantErr ? 'unverified' : undefined;
      expect([c.file, code]).toEqual([c.file, wanted]);
    }
  });

  test('consistency proofs have the published verdicts', () => {
    const cases = casesOf<ConsistencyCase>('consistency.json');
    expect([cases.length, cases.filter((c) => !c.wantErr).length]).toEqual([71, 4]);
    for (const c of cases) {
      const code = codeOf(() =>
        checkConsistency({
          from: size(BigInt(c.size1)),
          to: size(BigInt(c.size2)),
          fromRoot: hashOf(c.root1),
          toRoot: hashOf(c.root2),
          proof: hashesOf(c.proof),
        }),
      );
      const beyond = BigInt(c.size1) >= 2n ** 53n || BigInt(c.size2) >= 2n ** 53n;
      const wanted = beyond ? 'malformed' : c.wantErr ? 'unverified' : undefined;
      expect([c.file, code]).toEqual([c.file, wanted]);
    }
  });
});

describe.skipIf(sharedMissing)('a constructed tree of 1,000', () => {
  interface File {
    readonly roots: Readonly<Record<string, string>>;
    readonly inclusion: readonly {
      index: string;
      size: string;
      leafHash: string;
      root: string;
      proof: readonly string[];
    }[];
    readonly consistency: readonly {
      first: string;
      second: string;
      root1: string;
      root2: string;
      proof: readonly string[];
    }[];
  }

  test('has the published roots and proofs', () => {
    const file = sharedJson('vectors', 'constructed-trees', 'tree-1000.json') as File;
    const log = new TestLog();
    log.append(Array.from({ length: 1000 }, (_, i) => leafHash(utf8(String(i)))));
    for (const [n, root] of Object.entries(file.roots)) {
      const plan = planRoot(size(BigInt(n)));
      expect(prove(plan, log.hashes(plan))).toEqual([hashOf(root)]);
    }
    expect([file.inclusion.length, file.consistency.length]).toEqual([6, 7]);
    for (const c of file.inclusion) {
      const claim = { index: index(BigInt(c.index)), size: size(BigInt(c.size)) };
      const plan = planInclusion(claim.index, claim.size);
      const proof = prove(plan, log.hashes(plan));
      expect(proof).toEqual(hashesOf(c.proof));
      checkInclusion({ ...claim, proof, leafHash: hashOf(c.leafHash), root: hashOf(c.root) });
    }
    for (const c of file.consistency) {
      const claim = { from: size(BigInt(c.first)), to: size(BigInt(c.second)) };
      const plan = planConsistency(claim.from, claim.to);
      const proof = prove(plan, log.hashes(plan));
      expect(proof).toEqual(hashesOf(c.proof));
      checkConsistency({ ...claim, proof, fromRoot: hashOf(c.root1), toRoot: hashOf(c.root2) });
    }
  });
});
