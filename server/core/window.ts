/**
 * Windows: one signature for many entries.
 *
 * A busy gateway puts N statements under one Merkle tree and signs its root. Each entry carries the
 * path from its own statement to that root, and the signature, so it still verifies alone.
 *
 *     signature over PAE(WINDOW_TYPE, "stele window v1\n" origin "\n" size "\n" base64(root) "\n")
 *                                         root
 *                                    ┌──────┴──────┐          leaf = SHA-256(0x00 ‖ PAE(statement))
 *                                  ┌─┴─┐         ┌─┴─┐        node = SHA-256(0x01 ‖ left ‖ right)
 *                                  0   1         2   3
 *
 * The origin is signed with it: a window is good in one log. Windows are for audit records only, whose
 * random ids and salts keep a neighbor's hash from telling anything.
 *
 * [RFC 6962 §2.1] the tree.
 */
import { toBase64, utf8 } from './bytes.ts';
import { invariant, malformed } from './errors.ts';
import { WINDOW_SIZE_MAX } from './limits.ts';
import { leafHash, nodeHash } from './merkle.ts';
import { pae } from './pae.ts';
import { type Hash, hash } from './units.ts';

/** Reserved: `malformed` everywhere as an entry's own payload type. */
export const WINDOW_TYPE = 'application/vnd.stele.window.v1';

export interface Window {
  readonly index: number;
  readonly size: number;
  /** From the leaf's sibling upwards; how many is fixed by index and size. */
  readonly hashes: readonly Hash[];
}

export interface Statement {
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

/** Checks that 0 ≤ index < size ≤ 65,536 and that the path has the one length it can have. */
export function checkWindow(window: Window): void {
  const { index, size, hashes } = window;
  if (!Number.isSafeInteger(size) || size < 1 || size > WINDOW_SIZE_MAX) {
    throw malformed('window', `size ${size} is not a whole number from 1 to ${WINDOW_SIZE_MAX}`);
  }
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw malformed('window', `index ${index} is not in a window of ${size}`);
  }
  const length = pathLength(index, size);
  if (hashes.length !== length) {
    throw malformed(
      'window',
      `${hashes.length} hashes where the path of ${index} in ${size} has ${length}`,
    );
  }
}

/** The index one level up; no bitwise operator, as everywhere in tree code. */
function half(index: number): number {
  return Math.floor(index / 2);
}

/** How many levels of a tree of `size` leaves give leaf `index` a sibling. */
export function pathLength(index: number, size: number): number {
  let length = 0;
  for (let at = index, last = size - 1; last > 0; at = half(at), last = half(last)) {
    // The last node of a level with an odd count moves up alone.
    if (at !== last || at % 2 === 1) length++;
  }
  return length;
}

export function windowLeaf(payloadType: string, payload: Uint8Array): Hash {
  return leafHash(pae(payloadType, payload));
}

/** The bytes that a window's signature is over. */
export function windowMessage(origin: string, size: number, root: Hash): Uint8Array {
  return pae(WINDOW_TYPE, utf8(`stele window v1\n${origin}\n${size}\n${toBase64(root)}\n`));
}

/** The root that the path of a statement, given by its PAE, leads to [RFC 9162 §2.1.3.2]. */
export function windowRoot(statementPae: Uint8Array, window: Window): Hash {
  // The path has as many hashes as the loop takes.
  checkWindow(window);
  let taken = 0;
  let root = leafHash(statementPae);
  for (let at = window.index, last = window.size - 1; last > 0; at = half(at), last = half(last)) {
    // The last node of a level with an odd count moves up alone.
    if (at === last && at % 2 === 0) continue;
    const sibling = window.hashes[taken++];
    invariant(sibling !== undefined, 'a path is as long as its length was checked to be');
    const beside = hash(sibling, 'window hash');
    root = at % 2 === 1 ? nodeHash(beside, root) : nodeHash(root, beside);
  }
  return root;
}

/** The message to sign once, and each statement's path, in order. */
export function buildWindow(
  origin: string,
  statements: readonly Statement[],
): { readonly message: Uint8Array; readonly windows: readonly Window[] } {
  const size = statements.length;
  if (size < 1 || size > WINDOW_SIZE_MAX) {
    throw malformed('window', `${size} statements where 1 to ${WINDOW_SIZE_MAX} are allowed`);
  }
  const levels = levelsOver(statements.map((s) => windowLeaf(s.payloadType, s.payload)));
  const root = levels.at(-1)?.[0];
  invariant(root !== undefined, 'a window of at least one statement has a root');
  return {
    message: windowMessage(origin, size, root),
    windows: statements.map((_, index) => ({ index, size, hashes: pathOf(index, levels) })),
  };
}

/** All levels, the leaves first and the root alone last. A node without a sibling moves up as it is. */
function levelsOver(leaves: readonly Hash[]): (readonly Hash[])[] {
  const levels = [leaves];
  for (let level = leaves; level.length > 1; levels.push(level)) {
    const above: Hash[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const left = level[i];
      const right = level[i + 1];
      invariant(left !== undefined, 'every second node of a level is there');
      above.push(right === undefined ? left : nodeHash(left, right));
    }
    level = above;
  }
  return levels;
}

function pathOf(index: number, levels: readonly (readonly Hash[])[]): Hash[] {
  const path: Hash[] = [];
  let at = index;
  for (const level of levels) {
    const sibling = level[at % 2 === 0 ? at + 1 : at - 1];
    if (sibling !== undefined) path.push(sibling);
    at = Math.floor(at / 2);
  }
  return path;
}
