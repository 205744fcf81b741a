/**
 * Receipts: everything a stranger needs to check one entry, alone and offline [docs/formats.md].
 */
import { decodeEntry, gatewayKeyid } from '../core/entry.ts';
import { invariant } from '../core/errors.ts';
import { formatReceipt, type Receipt } from '../core/receipt.ts';
import type { LeafIndex } from '../core/units.ts';
import type { Head } from '../storage/store.ts';
import type { Reader } from './reader.ts';
import type { Registry } from './registry.ts';

export class Receipts {
  readonly #origin: string;
  readonly #reader: Reader;
  readonly #registry: Registry;
  /** Key records by index: they are few, never change, and are part of nearly every receipt. */
  readonly #keyEntries = new Map<LeafIndex, Uint8Array>();

  constructor(origin: string, reader: Reader, registry: Registry) {
    this.#origin = origin;
    this.#reader = reader;
    this.#registry = registry;
  }

  /** The receipt of entry `index` under `head`, which must cover it. */
  async receipt(index: LeafIndex, head: Head): Promise<Uint8Array> {
    this.#reader.checkIndex(index, head.size);
    const entry = await this.#reader.entry(index);
    return formatReceipt(await this.#build(index, entry, head));
  }

  async #build(index: LeafIndex, entry: Uint8Array, head: Head): Promise<Receipt> {
    return {
      origin: this.#origin,
      index,
      entry,
      proof: await this.#reader.inclusion(index, head.size),
      checkpoint: head.checkpoint,
      keys: await Promise.all(
        this.#keyIndexes(index, entry).map(async (at) => ({
          entry: await this.#keyEntry(at),
          index: at,
          proof: await this.#reader.inclusion(at, head.size),
        })),
      ),
      anchors: [],
    };
  }

  /** Genesis, then the key record of each signer in order; only genesis for the operator's entries. */
  #keyIndexes(index: LeafIndex, entry: Uint8Array): LeafIndex[] {
    const genesis = 0 as LeafIndex;
    if (index === genesis) return [];
    const { signatures } = decodeEntry(entry);
    const signers = signatures.map(({ keyid }) => this.#registry.registeredAt(keyid, index));
    return [genesis, ...signers.filter((at) => at !== undefined)];
  }

  async #keyEntry(index: LeafIndex): Promise<Uint8Array> {
    const known = this.#keyEntries.get(index);
    if (known !== undefined) return known;
    const entry = await this.#reader.entry(index);
    invariant(
      gatewayKeyid(decodeEntry(entry)) === this.#registry.operator.keyid,
      'a key record is the operator’s',
    );
    this.#keyEntries.set(index, entry);
    return entry;
  }
}
