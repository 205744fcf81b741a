/**
 * The Merkle tree of a Rekor double: leaves in memory, hashed by the RFC's own words and by nothing of ours.
 */
import { type Bytes, type Data, leaf, MTH, PATH, PROOF } from '../../reference/rfc6962.ts';

export class DoubleTree {
  readonly #leaves: Bytes[];
  /** Hashes of parts: leaves never change, so neither do these. */
  readonly #known = new Map<string, Bytes>();

  constructor(leaves: readonly Bytes[] = []) {
    this.#leaves = [...leaves];
  }

  get size(): number {
    return this.#leaves.length;
  }

  /** Takes a leaf in and gives its index. */
  append(bytes: Bytes): number {
    this.#leaves.push(bytes);
    return this.#leaves.length - 1;
  }

  leaf(index: number): Bytes {
    const bytes = this.#leaves[index];
    if (bytes === undefined) throw new Error(`no leaf ${index} in a tree of ${this.size}`);
    return bytes;
  }

  /** Where these very bytes are; −1 if they are not. */
  indexOf(bytes: Bytes): number {
    return this.#leaves.findIndex((one) => Buffer.compare(one, bytes) === 0);
  }

  leafHash(index: number): Bytes {
    return leaf(this.leaf(index));
  }

  root(size: number): Bytes {
    return this.#part(0n, BigInt(size)).MTH();
  }

  inclusion(index: number, size: number): Bytes[] {
    return PATH(BigInt(index), this.#part(0n, BigInt(size)));
  }

  consistency(from: number, to: number): Bytes[] {
    return PROOF(BigInt(from), this.#part(0n, BigInt(to)));
  }

  /** The hashes of a tile in the tree of `size`, as many of them as there are. */
  tile(level: number, index: number, size: number): Bytes[] {
    const span = 256 ** level;
    const hashes: Bytes[] = [];
    for (let at = 256 * index; at < 256 * (index + 1) && (at + 1) * span <= size; at++) {
      hashes.push(this.#part(BigInt(at * span), BigInt((at + 1) * span)).MTH());
    }
    return hashes;
  }

  /** A tree with the same leaves up to `size`, but for the one at `at`. */
  fork(at: number, size: number): DoubleTree {
    const leaves = this.#leaves.slice(0, size);
    leaves[at] = Buffer.from(`another leaf ${at}`);
    return new DoubleTree(leaves);
  }

  #part(begin: bigint, end: bigint): Data {
    return {
      n: end - begin,
      slice: (k1, k2) => this.#part(begin + k1, begin + k2),
      MTH: () => {
        const name = `${begin}:${end}`;
        const hash =
          this.#known.get(name) ??
          MTH(this.#part(begin, end), () => leaf(this.leaf(Number(begin))));
        this.#known.set(name, hash);
        return hash;
      },
    };
  }
}
