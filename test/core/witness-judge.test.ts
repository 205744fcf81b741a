/** What a witness may cosign after what it cosigned last, against the RFC as it is transcribed. */
import { describe, expect, test } from 'vitest';
import { EMPTY_ROOT } from '../../server/core/merkle.ts';
import { type Hash, type TreeSize, treeSize } from '../../server/core/units.ts';
import { type Judgement, judgeShown } from '../../server/core/witness-judge.ts';
import { OtherLog } from '../witness/other-log.ts';

const log = new OtherLog();
const SIZES = Array.from({ length: 34 }, (_, i) => i);

function held(size: number, of = log) {
  return { size: treeSize(size), root: of.root(size) };
}

interface Showing {
  readonly of?: OtherLog;
  readonly old?: number;
  readonly proof?: readonly Hash[];
  readonly root?: Hash;
}

function judge(before: number | undefined, size: number, showing: Showing = {}): Judgement {
  const { of = log, old = before ?? 0 } = showing;
  const { proof = of.proof(old, size), root = of.root(size) } = showing;
  const last = before === undefined ? undefined : held(before);
  return judgeShown(last, { old: old as TreeSize, size: treeSize(size), root, proof });
}

describe('what continues the last one', () => {
  test('is cosigned, for all sizes', () => {
    for (const size of SIZES) {
      expect(judge(undefined, size)).toEqual({ kind: 'cosign' });
      for (const before of SIZES.filter((one) => one <= size)) {
        expect(judge(before, size), `${before} ${size}`).toEqual({ kind: 'cosign' });
      }
    }
  });
});

describe('what does not', () => {
  test('is told the size that is held, whatever else is wrong with it', () => {
    for (const before of [undefined, 0, 1, 5, 8]) {
      for (const old of [0, 1, 3, 5, 9].filter((one) => one !== (before ?? 0))) {
        const judgement = judge(before, 12, { old, proof: [] });
        expect(judgement).toEqual({ kind: 'conflict', size: before ?? 0 });
      }
    }
  });

  test('with a proof that is spoiled in any way is refused, and shows nothing', () => {
    for (const size of SIZES) {
      for (const before of SIZES.filter((one) => one > 0 && one < size)) {
        const proof = log.proof(before, size);
        for (const [i] of proof.entries()) {
          const spoiled = [
            proof.filter((_, at) => at !== i),
            proof.with(i, log.root(60)),
            proof.toSpliced(i, 0, log.root(60)),
          ];
          for (const one of spoiled) {
            expect(judge(before, size, { proof: one })).toMatchObject({
              kind: 'refuse',
              evidence: 'bad_proof',
            });
          }
        }
      }
    }
  });

  test('because the log forked is refused with evidence, which its own proof is but for powers of two', () => {
    for (const size of SIZES) {
      for (const before of SIZES.filter((one) => one > 0 && one < size)) {
        const of = log.forkedAt(before - 1);
        const isPower = 2 ** Math.floor(Math.log2(before)) === before;
        expect(judge(before, size, { of }), `${before} ${size}`).toMatchObject({
          kind: 'refuse',
          evidence: isPower ? 'bad_proof' : 'forked',
        });
      }
    }
  });

  test('of the same size is evidence, under whatever old size', () => {
    for (const size of SIZES.filter((one) => one > 0)) {
      const of = log.forkedAt(size - 1);
      expect(judge(size, size, { of })).toMatchObject({ kind: 'refuse', evidence: 'same_size' });
      for (const old of SIZES.filter((one) => one < size)) {
        expect(judge(size, size, { of, old })).toEqual({
          kind: 'conflict',
          size,
          evidence: 'same_size',
        });
      }
    }
  });

  test('a root of no entries that is not that of the empty tree', () => {
    const root = log.root(1);
    for (const before of [undefined, 0]) {
      const empty = { kind: 'refuse', evidence: 'empty_root' };
      expect(judge(before, 0, { root })).toMatchObject(empty);
      expect(judge(before, 0, { root: EMPTY_ROOT })).toEqual({ kind: 'cosign' });
    }
  });

  test('a proof where there is nothing to prove', () => {
    for (const before of [undefined, 0, 4]) {
      const size = before ?? 3;
      expect(judge(before, size, { proof: [log.root(1)] })).toMatchObject({ kind: 'refuse' });
    }
    expect(judge(undefined, 3, { proof: [log.root(1)] })).not.toHaveProperty('evidence');
  });
});
