/**
 * Thousands of logs that grow, as a witness meets them: each a tree of so many leaves that a proof has some twenty
 * hashes, all of one shape and each with a first leaf of its own. Requests are made before the clock starts.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { EMPTY_ROOT, leafHash, nodeHash } from '../../server/core/merkle.ts';
import {
  formatNote,
  makeVerifierKey,
  NOTE_ED25519,
  type VerifierKey,
} from '../../server/core/note.ts';
import { type ProofPlan, planConsistency, planRoot, prove } from '../../server/core/proof.ts';
import { formatAddCheckpoint } from '../../server/core/tlog-witness.ts';
import { type Hash, type TreeSize, treeSize } from '../../server/core/units.ts';
import { requestBytes } from './connection.ts';

/** Entries of each log at the beginning, and how many come between two checkpoints. */
const FIRST_SIZE = 1_000_003;
const GROWTH = 1_009;

export function originOf(log: number): string {
  return `log-${log}.example/bench`;
}

/** One key for all, under each log's name: what it costs to check is the same. */
const SEED_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');
const PRIVATE = createPrivateKey({
  key: Buffer.concat([SEED_HEAD, Buffer.alloc(32, 11)]),
  format: 'der',
  type: 'pkcs8',
});
const PUBLIC = createPublicKey(PRIVATE).export({ type: 'spki', format: 'der' }).subarray(-32);

export function keyOf(log: number): VerifierKey {
  return makeVerifierKey(originOf(log), NOTE_ED25519, new Uint8Array(PUBLIC));
}

/** Hashes of perfect nodes: those that hold leaf 0 are the log's own, all others depend on their level alone. */
class Tree {
  readonly #own: Hash[];
  static readonly #uniform = levels(leafHash(utf8('the same in all')));

  constructor(log: number) {
    this.#own = [leafHash(utf8(originOf(log)))];
    for (let level = 1; level < 40; level++) {
      this.#own.push(nodeHash(this.#own[level - 1] as Hash, Tree.#uniform[level - 1] as Hash));
    }
  }

  prove(plan: ProofPlan): Hash[] {
    const hashes = plan.nodes.map(
      ({ level, index }) => (index === 0 ? this.#own[level] : Tree.#uniform[level]) ?? EMPTY_ROOT,
    );
    return prove(plan, hashes);
  }
}

function levels(leaf: Hash): Hash[] {
  const hashes = [leaf];
  for (let level = 1; level < 40; level++) {
    const below = hashes[level - 1] as Hash;
    hashes.push(nodeHash(below, below));
  }
  return hashes;
}

export class WitnessedLogs {
  readonly #count: number;
  readonly #sizes: number[];

  constructor(count: number) {
    this.#count = count;
    this.#sizes = new Array<number>(count).fill(0);
  }

  /** The next `rounds` checkpoints of each log, on as many connections. */
  requests(clients: number, rounds: number): Buffer[][] {
    const lists: Buffer[][] = Array.from({ length: clients }, () => []);
    const trees = Array.from({ length: this.#count }, (_, log) => new Tree(log));
    for (let round = 0; round < rounds; round++) {
      for (const [log, tree] of trees.entries()) {
        lists[log % clients]?.push(this.#next(log, tree));
      }
    }
    return lists;
  }

  #next(log: number, tree: Tree): Buffer {
    const old = (this.#sizes[log] ?? 0) as TreeSize;
    const size = treeSize(old === 0 ? FIRST_SIZE : old + GROWTH);
    this.#sizes[log] = size;
    const { name, keyId } = keyOf(log);
    const [root = EMPTY_ROOT] = tree.prove(planRoot(size));
    const text = formatCheckpoint({ origin: originOf(log), size, root });
    const signature = new Uint8Array(sign(null, utf8(text), PRIVATE));
    const note = formatNote({ text, signatures: [{ name, keyId, signature }] });
    const proof = old === 0 ? [] : tree.prove(planConsistency(old, size));
    const body = formatAddCheckpoint({ old, proof, checkpoint: utf8(note) });
    return requestBytes({
      method: 'POST',
      path: '/witness/add-checkpoint',
      type: 'text/plain',
      body,
    });
  }
}
