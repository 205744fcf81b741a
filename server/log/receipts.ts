/**
 * Receipts: everything a stranger needs to check one entry, alone and offline [docs/formats.md].
 */
import { withHead } from '../core/anchor.ts';
import { decodeEntry, type Entry, gatewayKeyid } from '../core/entry.ts';
import { invariant } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { formatReceipt, type IncludedEntry } from '../core/receipt.ts';
import type { Hash, LeafIndex, TreeSize } from '../core/units.ts';
import type { Head } from '../storage/store.ts';
import { readStored } from './damaged.ts';
import type { Reader } from './reader.ts';
import type { Registry } from './registry.ts';

/** What a target outside said of one head of the log. */
export interface KeptAnchor {
  readonly size: TreeSize;
  readonly root: Hash;
  /** As it was kept: what the receipt says of it besides the head. */
  readonly anchor: JsonObject;
}

export interface ReceiptParts {
  /** Spares reading the entry back. */
  readonly known?: KnownEntry | undefined;
  /** Each of a head that covers the entry. */
  readonly anchors?: readonly KeptAnchor[];
}

/** An entry and the bytes it stands for. */
export interface KnownEntry {
  readonly entry: Entry;
  readonly bytes: Uint8Array;
}

export class Receipts {
  readonly #origin: string;
  readonly #reader: Reader;
  readonly #registry: Registry;
  /** Key records by index: they are few, never change, and are part of nearly every receipt. */
  readonly #keyEntries = new Map<LeafIndex, Uint8Array>();
  /** Their proofs under one head: a batch of submissions is answered under the same. */
  #proven: { readonly size: TreeSize; readonly keys: Map<LeafIndex, IncludedEntry> } | undefined;

  constructor(origin: string, reader: Reader, registry: Registry) {
    this.#origin = origin;
    this.#reader = reader;
    this.#registry = registry;
  }

  /** The receipt of entry `index` under `head`, which must cover it. */
  async receipt(
    index: LeafIndex,
    head: Head,
    { known, anchors = [] }: ReceiptParts = {},
  ): Promise<Uint8Array> {
    this.#reader.checkIndex(index, head.size);
    const { bytes, entry } = known ?? (await this.#read(index));
    const keys = this.#keyIndexes(index, entry);
    return formatReceipt({
      origin: this.#origin,
      index,
      entry: bytes,
      proof: await this.#reader.inclusion(index, head.size),
      checkpoint: head.checkpoint,
      keys: await Promise.all(keys.map((at) => this.#key(at, head.size))),
      anchors: await Promise.all(anchors.map((one) => this.#anchor(index, head, one))),
    });
  }

  /** One of another head brings the entry's path to that head's root. */
  async #anchor(
    index: LeafIndex,
    head: Head,
    { size, root, anchor }: KeptAnchor,
  ): Promise<JsonObject> {
    const isOwn = size === head.size;
    const proof = isOwn ? undefined : await this.#reader.inclusion(index, size);
    return withHead(anchor, { origin: this.#origin, size, root }, proof);
  }

  async #read(index: LeafIndex): Promise<KnownEntry> {
    const bytes = await this.#reader.entry(index);
    return { bytes, entry: readStored(index, () => decodeEntry(bytes)) };
  }

  /** Genesis, then the key record of each signer in order; only genesis for the operator's entries. */
  #keyIndexes(index: LeafIndex, { signatures }: Entry): LeafIndex[] {
    const genesis = 0 as LeafIndex;
    if (index === genesis) return [];
    const signers = signatures.map(({ keyid }) => this.#registry.registeredAt(keyid, index));
    return [genesis, ...signers.filter((at) => at !== undefined)];
  }

  async #key(index: LeafIndex, size: TreeSize): Promise<IncludedEntry> {
    if (this.#proven?.size !== size) this.#proven = { size, keys: new Map() };
    const { keys } = this.#proven;
    const known = keys.get(index);
    if (known !== undefined) return known;
    const entry = await this.#keyEntry(index);
    const key = { entry, index, proof: await this.#reader.inclusion(index, size) };
    keys.set(index, key);
    return key;
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
