/**
 * A signer that remembers, without a socket: its rules are the real ones (`server/keys/remote/head-book.ts`),
 * its memory is a map, and every checkpoint that it signs is noted.
 */
import { equalBytes, parseUtf8 } from '../../server/core/bytes.ts';
import { parseCheckpoint } from '../../server/core/checkpoint.ts';
import { SteleError } from '../../server/core/errors.ts';
import { type Hash, type TreeSize, treeSize } from '../../server/core/units.ts';
import type { LogKeyring } from '../../server/keys/log-keyring.ts';
import type { HeadRoot, SignerMemory } from '../../server/keys/log-keys.ts';
import { HeadBook, type HeadStore, type Remembered } from '../../server/keys/remote/head-book.ts';
import type { Signer } from '../../server/keys/signer.ts';
import type { StagedContent } from '../../server/log/append.ts';
import type { LogOptions } from '../../server/log/log.ts';
import { Memories, type Memory } from '../../server/log/memories.ts';
import { Faults } from './fail.ts';
import { wrappedKeys } from './make.ts';

export class MemoryHeads implements HeadStore {
  readonly kept = new Map<string, Remembered>();

  async read(origin: string): Promise<Remembered | undefined> {
    return this.kept.get(origin);
  }

  async write(origin: string, remembered: Remembered): Promise<void> {
    this.kept.set(origin, remembered);
  }
}

export class TestSigner implements SignerMemory {
  readonly heads: MemoryHeads;
  readonly book: HeadBook;
  readonly keys: LogKeyring;
  /** Every head that a signature was given for. */
  readonly signed: HeadRoot[] = [];
  isAway = false;
  readonly #origin: string;
  readonly #faults: Faults;
  readonly #listeners = new Set<() => void>();

  constructor(
    { origin, keys }: Pick<LogOptions<StagedContent>, 'origin' | 'keys'>,
    faults = new Faults(),
    heads = new MemoryHeads(),
  ) {
    this.#origin = origin;
    this.#faults = faults;
    this.heads = heads;
    this.book = new HeadBook(heads);
    this.keys = wrappedKeys(keys, (signer) => this.#guarded(signer));
  }

  checkThere(): void {
    if (this.isAway) throw new SteleError('storage', 'the signer is away', { retryAfterS: 2 });
  }

  onReturn(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Comes back, and says so. */
  comeBack(): void {
    this.isAway = false;
    for (const listener of this.#listeners) listener();
  }

  extend(head: HeadRoot, prove: (from: TreeSize) => Promise<readonly Hash[]>): Promise<void> {
    return this.#faults.around('extend', async () => {
      this.checkThere();
      const known = (await this.book.newest(this.#origin))?.size ?? treeSize(0);
      const needed = known > 0 && known < head.size;
      const proof = needed ? await prove(known) : [];
      await this.book.extend(this.#origin, { head, from: known, proof });
    });
  }

  /** What it knows, for a log that is opened. */
  asMemory(): Memory {
    return {
      kind: 'signer',
      isLocal: false,
      placeOf: () => 'test',
      recall: async (origin) => {
        this.checkThere();
        const newest = await this.book.newest(origin);
        return newest && { ...newest, origin };
      },
    };
  }

  /** Throws if two heads of one size were ever signed. */
  checkSigned(): void {
    const roots = new Map<number, Hash>();
    for (const { size, root } of this.signed) {
      const known = roots.get(size);
      if (known !== undefined && !equalBytes(known, root)) {
        throw new Error(`two heads of size ${size} were signed`);
      }
      roots.set(size, root);
    }
  }

  #guarded(signer: Signer): Signer {
    return {
      publicKey: signer.publicKey,
      close: () => signer.close(),
      sign: async (message) => {
        this.checkThere();
        const head = parseCheckpoint(parseUtf8(message, 'message'));
        await this.book.checkTaken(this.#origin, head);
        this.signed.push(head);
        return signer.sign(message);
      },
    };
  }
}

/** `more` are memories beside the signer's own. */
export function withSigner(
  options: LogOptions<StagedContent>,
  signer: TestSigner,
  more: readonly Memory[] = [],
): LogOptions<StagedContent> {
  const memories = new Memories([...more, signer.asMemory()]);
  return { ...options, keys: signer.keys, signerMemory: signer, memories };
}
