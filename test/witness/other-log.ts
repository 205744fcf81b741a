/** A log of somebody else's, as a witness meets it: checkpoints and proofs by the RFC as it is transcribed. */
import { concat, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { formatNote } from '../../server/core/note.ts';
import { formatAddCheckpoint } from '../../server/core/tlog-witness.ts';
import { type Hash, type TreeSize, treeSize } from '../../server/core/units.ts';
import { logKey, type TestKey } from '../core/note-keys.ts';
import { leaf, listData, MTH, PROOF } from '../reference/rfc6962.ts';

export interface Showing {
  readonly old?: number;
  readonly proof?: readonly Uint8Array[];
  readonly keys?: readonly TestKey[];
  /** Of the checkpoint, in place of the tree's. */
  readonly root?: Uint8Array;
  readonly extensions?: string;
}

export class OtherLog {
  readonly origin: string;
  readonly key: TestKey;
  readonly #leaves: Uint8Array[];

  constructor(origin = 'other.example/log', seed = 7, leaves: readonly string[] = numbered(64)) {
    this.origin = origin;
    this.key = logKey(origin, seed);
    this.#leaves = leaves.map((text) => utf8(text));
  }

  get id(): Uint8Array {
    return utf8(this.origin);
  }

  /** The same up to `size`, and then others. */
  forkedAt(size: number): OtherLog {
    const leaves = this.#leaves.map((bytes, i) =>
      i < size ? bytes : concat(bytes, utf8(' or not')),
    );
    return new OtherLog(
      this.origin,
      7,
      leaves.map((bytes) => Buffer.from(bytes).toString()),
    );
  }

  root(size: number): Hash {
    const data = listData(this.#leaves.slice(0, size));
    return MTH(data, () => leaf(this.#leaves[0] as Uint8Array)) as Hash;
  }

  proof(old: number, size: number): Hash[] {
    if (old === 0) return [];
    return PROOF(BigInt(old), listData(this.#leaves.slice(0, size))) as Hash[];
  }

  text(size: number, { root = this.root(size), extensions = '' }: Showing = {}): string {
    const head = { origin: this.origin, size: treeSize(size), root: root as Hash };
    return `${formatCheckpoint(head)}${extensions}`;
  }

  note(size: number, showing: Showing = {}): string {
    const text = this.text(size, showing);
    const { keys = [this.key] } = showing;
    return formatNote({ text, signatures: keys.map((key) => key.line(text)) });
  }

  /** The body that asks for a cosignature of `size`, after `old`. */
  ask(size: number, showing: Showing = {}): string {
    const { old = 0, proof = this.proof(old, size) } = showing;
    const request = {
      old: old as TreeSize,
      proof: proof as Hash[],
      checkpoint: utf8(this.note(size, showing)),
    };
    return Buffer.from(formatAddCheckpoint(request)).toString();
  }
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `entry ${i}`);
}
