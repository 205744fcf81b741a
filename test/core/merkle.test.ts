/**
 * Merkle hashes: the bytes of RFC 6962, whoever computes SHA-256.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseHex, sha256, toHex } from '../../server/core/bytes.ts';
import { EMPTY_ROOT, leafHash, nodeHash } from '../../server/core/merkle.ts';
import type { Hash } from '../../server/core/units.ts';
import { leaf, node } from '../reference/rfc6962.ts';
import { sharedJson, sharedMissing } from '../shared.ts';

const bytes = fc.uint8Array({ maxLength: 300 });
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => b as Hash);

describe('merkle hashes', () => {
  test('the empty tree and an empty leaf are two things', () => {
    expect(toHex(EMPTY_ROOT)).toBe(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
    expect(toHex(leafHash(new Uint8Array(0)))).toBe(
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    );
  });

  test('agree with the reference on any bytes', () => {
    fc.assert(
      fc.property(bytes, (entry) => {
        expect(leafHash(entry)).toEqual(leaf(entry));
      }),
    );
    fc.assert(
      fc.property(hash, hash, (left, right) => {
        expect(nodeHash(left, right)).toEqual(node(left, right));
      }),
    );
  });

  test('a leaf made of two hashes is not their node, and order counts', () => {
    const a = sha256(Uint8Array.of(1));
    const b = sha256(Uint8Array.of(2));
    const both = new Uint8Array(64);
    both.set(a);
    both.set(b, 32);
    expect(leafHash(both)).not.toEqual(nodeHash(a, b));
    expect(nodeHash(a, b)).not.toEqual(nodeHash(b, a));
  });

  test('a hash stays as it is when the next one is made', () => {
    const first = nodeHash(EMPTY_ROOT, EMPTY_ROOT);
    const kept = toHex(first);
    nodeHash(first, EMPTY_ROOT);
    nodeHash(EMPTY_ROOT, first);
    expect(toHex(first)).toBe(kept);
  });
});

describe.skipIf(sharedMissing)('published hashes', () => {
  interface Case {
    readonly op: 'emptyRoot' | 'leaf' | 'node';
    readonly input?: string;
    readonly left?: string;
    readonly right?: string;
    readonly want: string;
  }

  test('of transparency-dev/merkle', () => {
    const { hasher } = sharedJson(
      'vectors',
      'transparency-dev-merkle',
      'rfc6962-reference-tree.json',
    ) as { hasher: Case[] };
    expect(hasher.map((c) => c.op)).toEqual(['emptyRoot', 'leaf', 'leaf', 'node']);
    for (const { op, input, left, right, want } of hasher) {
      const of = (hex = '') => parseHex(hex, 'vector');
      // The node case has inputs of four bytes, which ours never takes: the reference is held to it.
      const made = {
        emptyRoot: () => EMPTY_ROOT,
        leaf: () => leafHash(of(input)),
        node: () => node(of(left), of(right)),
      };
      expect(toHex(made[op]())).toBe(want);
    }
  });
});
