/**
 * What left a log's process, and whether the log keeps to it.
 *
 * Every signed head, every answered entry is noted here, with trust from outside. Whatever happens to
 * the process: heads stay consistent (P2), an answered entry stays where it was said to be (P1), and a
 * statement has one index for ever (P3).
 */
import type { LogClient } from '../../server/client/client.ts';
import { decodeBundle } from '../../server/core/bundle.ts';
import { equalBytes, toHex, utf8 } from '../../server/core/bytes.ts';
import { type Checkpoint, openCheckpoint } from '../../server/core/checkpoint.ts';
import { decodeEntry, gatewayKeyid, statementDigest } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkConsistency, checkInclusion } from '../../server/core/proof.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { Tree } from '../../server/core/tree.ts';
import type { Trust } from '../../server/core/trust.ts';
import { type Hash, hash, leafIndex, treeSize } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import type { TreeHead } from '../http/ct-client.ts';

/** An answer without the entry's bytes: a place in a batch. */
export interface Placed {
  readonly index: number;
  readonly leafHash: Hash;
  readonly proof: readonly Hash[];
}

const BUNDLE = 256;

/** Consistency proofs asked for over HTTP at the end; the roots of all other heads are derived. */
const PROOFS_MAX = 200;

/** One receipt in so many is verified with the portable engine, which is slow. */
const PORTABLE_EVERY = 16;

export class Ledger {
  readonly #trust: Trust;
  readonly #heads = new Map<number, Hash>();
  readonly #leaves = new Map<number, string>();
  readonly #indexes = new Map<string, number>();
  #unchecked: number[] = [];
  /** The tree head that a client of RFC 6962 got last, and how many there were. */
  #treeHead: TreeHead | undefined;
  #treeHeads = 0;
  #receipts = 0;
  #last: { readonly note: string; readonly checkpoint: Checkpoint } | undefined;

  constructor(trust: Trust) {
    this.#trust = trust;
  }

  get answered(): number {
    return this.#leaves.size;
  }

  get heads(): number {
    return this.#heads.size;
  }

  get treeHeads(): number {
    return this.#treeHeads;
  }

  /** The size of the largest head that was seen. */
  get largest(): number {
    return Math.max(0, ...this.#heads.keys());
  }

  /** Notes a head: signed by the log, and the only one of its size. */
  head(note: string): Checkpoint {
    // Many look at one head.
    if (this.#last?.note === note) return this.#last.checkpoint;
    const [log] = this.#trust.logs;
    if (log === undefined) throw new Error('the trust file knows no log');
    const keys = log.keys.map(({ key }) => key);
    const { checkpoint } = openCheckpoint(utf8(note), log.origin, keys);
    this.#noteRoot(checkpoint.size, checkpoint.root);
    this.#last = { note, checkpoint };
    return checkpoint;
  }

  /**
   * Notes a tree head of RFC 6962, whose signature was verified: of the root that every head of its size has, and
   * a second or more later than the one before, if it is not that very one.
   */
  treeHead(head: TreeHead): void {
    const { tree_size: size, timestamp, root } = head;
    const last = this.#treeHead;
    if (last !== undefined && timestamp === last.timestamp) {
      if (size === last.tree_size && equalBytes(root, last.root)) return;
      throw new Error(`two tree heads of time ${timestamp}`);
    }
    if (last !== undefined && timestamp < last.timestamp + 1_000) {
      throw new Error(`a tree head of time ${timestamp} after one of ${last.timestamp}`);
    }
    if (size < (last?.tree_size ?? 0)) throw new Error(`a tree head of size ${size} goes back`);
    this.#noteRoot(size, hash(root));
    this.#treeHead = head;
    this.#treeHeads++;
  }

  /** Notes an answered receipt, which must verify offline. Returns the index. */
  receipt(bytes: Uint8Array): number {
    const portable = this.#receipts++ % PORTABLE_EVERY === 0;
    const options = portable ? {} : { check: checkSignatureNative };
    const verdict = verifyReceipt(bytes, this.#trust, options);
    if (!verdict.holds) throw new Error(`a receipt fails: ${JSON.stringify(verdict.steps)}`);
    const { index, entry, checkpoint } = parseReceipt(bytes);
    this.head(checkpoint);
    this.#note(index, entry, leafHash(entry));
    return index;
  }

  /** Notes a place in a batch's answer; `entry` is what was sent. */
  placed(entry: Uint8Array, { index, leafHash: leaf, proof }: Placed, head: Checkpoint): void {
    checkInclusion({
      index: leafIndex(index),
      size: head.size,
      leafHash: leaf,
      proof,
      root: head.root,
    });
    this.#note(index, entry, leaf);
  }

  /** What was answered since the last look is there; the newest head continues all others. */
  async checkNews(log: LogClient): Promise<void> {
    const largest = this.largest;
    const { checkpoint } = await log.head();
    if (checkpoint === undefined) throw new Error('the newest head has a checkpoint');
    const head = this.head(checkpoint);
    if (head.size < largest) throw new Error(`size ${head.size} after a head of ${largest}`);
    await this.#checkConsistent(log, largest, head);
    for (const index of this.#unchecked.splice(0)) {
      this.#checkLeaf(index, leafHash(await log.entry(leafIndex(index))));
    }
  }

  /**
   * Reads the whole log: every head that ever left is one of its heads, every answered entry is where it
   * was, and no statement is there twice. Returns the entries.
   */
  async checkAll(log: LogClient): Promise<Uint8Array[]> {
    const { checkpoint } = await log.head();
    if (checkpoint === undefined) throw new Error('the newest head has a checkpoint');
    const head = this.head(checkpoint);
    const entries: Uint8Array[] = [];
    const statements = new Map<string, number>();
    let tree = Tree.empty();
    for (let at = 0; at < head.size; at += BUNDLE) {
      const width = Math.min(BUNDLE, head.size - at);
      const path = { kind: 'entries', level: 0, index: at / BUNDLE, width } as const;
      for (const entry of decodeBundle(await log.tile(path))) {
        const index = entries.push(entry) - 1;
        tree = tree.append([leafHash(entry)]).tree;
        this.#checkRoot(tree);
        const name = statementOf(entry);
        const first = statements.get(name);
        if (first !== undefined) throw new Error(`entry ${index} is entry ${first} again`);
        statements.set(name, index);
      }
    }
    if (!equalBytes(tree.root(), head.root)) throw new Error('the entries have another root');
    const beyond = [...this.#heads.keys()].filter((size) => size > head.size);
    if (beyond.length > 0) throw new Error(`heads of ${beyond.join()} in a log of ${head.size}`);
    for (const index of this.#leaves.keys()) {
      const entry = entries[index];
      if (entry === undefined) throw new Error(`answered entry ${index} is lost`);
      this.#checkLeaf(index, leafHash(entry));
    }
    for (const [name, index] of this.#indexes) {
      if (statements.get(name) !== index) throw new Error(`entry ${index} is not what was sent`);
    }
    const sizes = [...this.#heads.keys()].filter((size) => size > 0);
    const step = Math.ceil(sizes.length / PROOFS_MAX);
    for (const [i, size] of sizes.entries()) {
      if (i % step === 0) await this.#checkConsistent(log, size, head);
    }
    return entries;
  }

  #noteRoot(size: number, root: Hash): void {
    const known = this.#heads.get(size);
    if (known !== undefined && !equalBytes(known, root)) {
      throw new Error(`two heads of size ${size}`);
    }
    this.#heads.set(size, root);
  }

  #note(index: number, sent: Uint8Array, leaf: Hash): void {
    const hex = toHex(leaf);
    const known = this.#leaves.get(index);
    if (known !== undefined && known !== hex) throw new Error(`index ${index} was given twice`);
    const name = statementOf(sent);
    const before = this.#indexes.get(name);
    if (before !== undefined && before !== index) {
      throw new Error(`the statement of entry ${before} was given ${index} as well`);
    }
    if (known === undefined) this.#unchecked.push(index);
    this.#leaves.set(index, hex);
    this.#indexes.set(name, index);
  }

  #checkLeaf(index: number, leaf: Hash): void {
    if (this.#leaves.get(index) !== toHex(leaf)) {
      throw new Error(`entry ${index} is not the one that was answered for`);
    }
  }

  #checkRoot(tree: Tree): void {
    const seen = this.#heads.get(tree.size);
    if (seen !== undefined && !equalBytes(seen, tree.root())) {
      throw new Error(`the head of size ${tree.size} that was seen is not this log's`);
    }
  }

  async #checkConsistent(log: LogClient, from: number, to: Checkpoint): Promise<void> {
    const fromRoot = this.#heads.get(from);
    if (from === 0 || fromRoot === undefined) return;
    const size = treeSize(from);
    const proof = await log.consistency(size, to.size);
    checkConsistency({ from: size, to: to.size, fromRoot, toRoot: to.root, proof });
  }
}

/** A repeat is the same statement by the same key, whatever its signature. */
export function statementOf(bytes: Uint8Array): string {
  const entry = decodeEntry(bytes);
  return `${gatewayKeyid(entry)} ${toHex(statementDigest(entry))}`;
}
