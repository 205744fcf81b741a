/**
 * One log of a Rekor double: its key, its tree, and what it signs.
 *
 * A replica that lags shows the tree as it was; a fork is another tree under the same key and name, which
 * is what no log may ever have.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { DoubleTree } from './tree.ts';

export interface ShardOptions {
  /** What stands in the first line of its checkpoints. */
  readonly origin: string;
  /** What stands in their last. */
  readonly name: string;
  readonly key: KeyPair;
  /** SHA-256 of the SPKI whatever the key, as v1 has it; else as C2SP has it. */
  readonly keyIdOf: 'key' | 'name-and-key';
}

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function makeKey(type: 'ec' | 'ed25519'): KeyPair {
  return type === 'ec'
    ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    : generateKeyPairSync('ed25519');
}

export class Shard {
  readonly origin: string;
  readonly name: string;
  readonly spki: Buffer;
  readonly keyId: Buffer;
  readonly #key: KeyPair;
  #tree = new DoubleTree();
  /** The size that reads are answered from, where they lag. */
  #shown: number | undefined;
  /** Lines that follow its own in a checkpoint. */
  cosign: (text: string) => readonly string[] = () => [];

  constructor({ origin, name, key, keyIdOf }: ShardOptions) {
    this.origin = origin;
    this.name = name;
    this.#key = key;
    this.spki = key.publicKey.export({ format: 'der', type: 'spki' });
    const isEd25519 = key.publicKey.asymmetricKeyType === 'ed25519';
    const material =
      keyIdOf === 'key' || !isEd25519
        ? [this.spki]
        : [`${name}\n`, Buffer.of(1), this.spki.subarray(-32)];
    const hash = createHash('sha256');
    for (const part of material) hash.update(part);
    this.keyId = hash.digest();
  }

  get tree(): DoubleTree {
    return this.#tree;
  }

  /** The size that reads see. */
  get shownSize(): number {
    return Math.min(this.#shown ?? this.#tree.size, this.#tree.size);
  }

  /** From now on reads see the tree as it was at this size; nothing for as it is. */
  lag(size: number | undefined): void {
    this.#shown = size;
  }

  /** From now on there is another history, in which the leaf at `at` is another. */
  fork(at: number, size = this.#tree.size): void {
    this.#tree = this.#tree.fork(at, size);
  }

  /** Adds leaves that are of nobody's interest. */
  grow(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#tree.append(Buffer.from(`leaf ${this.#tree.size} of somebody else`));
    }
  }

  checkpoint(size: number): string {
    const root = Buffer.from(this.#tree.root(size)).toString('base64');
    const text = `${this.origin}\n${size}\n${root}\n`;
    const signature = this.sign(Buffer.from(text));
    const line = Buffer.concat([this.keyId.subarray(0, 4), signature]).toString('base64');
    return `${text}\n${[`— ${this.name} ${line}\n`, ...this.cosign(text)].join('')}`;
  }

  sign(message: Uint8Array): Buffer {
    const isEd25519 = this.#key.privateKey.asymmetricKeyType === 'ed25519';
    return sign(isEd25519 ? null : 'sha256', message, this.#key.privateKey);
  }

  /** As a trusted root lists it. */
  instance(baseUrl: string, start: string | undefined, end?: string) {
    const isEd25519 = this.#key.publicKey.asymmetricKeyType === 'ed25519';
    return {
      baseUrl,
      hashAlgorithm: 'SHA2_256',
      publicKey: {
        rawBytes: this.spki.toString('base64'),
        keyDetails: isEd25519 ? 'PKIX_ED25519' : 'PKIX_ECDSA_P256_SHA_256',
        validFor: {
          ...(start === undefined ? {} : { start }),
          ...(end === undefined ? {} : { end }),
        },
      },
      logId: { keyId: this.keyId.toString('base64') },
    };
  }
}
