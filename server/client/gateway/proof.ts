/**
 * Is an answer of this log worth what it says?
 *
 * A proof that leads from the entry to a checkpoint was checked already (`batch.ts`, `client.ts`). Here the
 * checkpoint has to be one of the log that was asked, and with a trust file signed by a key that it knows, good
 * for that size. Without one, a server that lies consistently is believed.
 */

import { equalBytes, utf8 } from '../../core/bytes.ts';
import { unverified } from '../../core/errors.ts';
import { leafHash } from '../../core/merkle.ts';
import { parseNote } from '../../core/note.ts';
import { checkInclusion } from '../../core/proof.ts';
import {
  formatReceipt,
  type IncludedEntry,
  parseReceipt,
  type Receipt,
} from '../../core/receipt.ts';
import type { SignatureCheck } from '../../core/signature.ts';
import { type Checkpoint, parseCheckpoint } from '../../core/tree-head.ts';
import type { Trust } from '../../core/trust.ts';
import { openHead } from '../../verify/head.ts';
import { verifyReceipt } from '../../verify/verify.ts';
import type { Proven } from '../batch.ts';
import type { LogClient } from '../client.ts';
import { believed } from '../problem.ts';
import type { Logged } from './exchange.ts';

export interface ProofOptions {
  readonly origin: string;
  readonly client: LogClient;
  /** Without a quorum: no witness has seen a head the moment it is signed. */
  readonly trust: Trust | undefined;
  readonly check: SignatureCheck;
}

/** A checkpoint that was found good. A batch has one for all its entries. */
interface Head extends Checkpoint {
  readonly checkpoint: string;
  /** What the receipts under it need besides, once one was asked for. */
  keys: Promise<readonly IncludedEntry[]> | undefined;
}

export class Proof {
  readonly #options: ProofOptions;
  #head: Head | undefined;
  /** Genesis and the record of the gateway's key, from a receipt of this log that was verified whole. */
  #keys: readonly IncludedEntry[] | undefined;

  constructor(options: ProofOptions) {
    this.#options = options;
  }

  /** What a single submission of the entry `sent` was answered with. Throws `BadAnswer`. */
  ofReceipt(bytes: Uint8Array, sent: Uint8Array, repeat: boolean): Logged {
    const { origin, trust } = this.#options;
    return believed(() => {
      const receipt = parseReceipt(bytes);
      if (receipt.origin !== origin) {
        throw unverified('receipt', `it is of ${receipt.origin} and not of ${origin}`);
      }
      const isKnown = equalBytes(receipt.entry, sent) && this.#hasKnownKeys(receipt);
      if (isKnown) this.#checkPlaces(receipt);
      else if (trust !== undefined) this.#checkHolds(bytes, trust);
      if (!isKnown) this.#keys = receipt.keys;
      const { index, entry } = receipt;
      return { origin, index, entry, repeat, receipt: async () => bytes };
    });
  }

  /**
   * Whether the keys of a receipt are those of one that was verified whole. That takes a hundred times as long
   * as what then is left: our own signature needs no check of ours, and the rest is hashes.
   */
  #hasKnownKeys({ keys, index }: Receipt): boolean {
    const known = this.#keys;
    return (
      known !== undefined &&
      known.length === keys.length &&
      known.every((one, i) => {
        const key = keys[i];
        return key?.index === one.index && one.index < index && equalBytes(one.entry, key.entry);
      })
    );
  }

  /** That everything in the receipt is under a head of this log. */
  #checkPlaces(receipt: Receipt): void {
    const { size, root } = this.#headOf(receipt.checkpoint);
    for (const { entry, index, proof } of [receipt, ...receipt.keys]) {
      checkInclusion({ index, size, leafHash: leafHash(entry), proof, root });
    }
  }

  /** What a batch said of one entry. Throws `BadAnswer`. */
  ofBatch(proven: Proven): Logged {
    const head = believed(() => this.#headOf(proven.checkpoint));
    const { origin } = this.#options;
    const { index, entry, repeat } = proven;
    let receipt: Promise<Uint8Array> | undefined;
    return {
      origin,
      index,
      entry,
      repeat,
      receipt: () => {
        receipt ??= this.#receiptOf(proven, head).catch((error: unknown) => {
          // Whoever asks once more asks anew.
          receipt = undefined;
          throw error;
        });
        return receipt;
      },
    };
  }

  #headOf(checkpoint: string): Head {
    if (this.#head?.checkpoint === checkpoint) return this.#head;
    const { origin, trust, check } = this.#options;
    const head = parseCheckpoint(parseNote(utf8(checkpoint)).text);
    if (head.origin !== origin) {
      throw unverified('checkpoint', `it is of ${head.origin} and not of ${origin}`);
    }
    if (trust !== undefined) {
      const log = trust.logs.find((known) => known.origin === origin);
      const opened = log && openHead(checkpoint, log, trust, check);
      if (opened === undefined) {
        throw unverified('checkpoint', 'no line is by a log key that the trust file knows');
      }
    }
    this.#head = { ...head, checkpoint, keys: undefined };
    return this.#head;
  }

  async #receiptOf({ entry, index, proof, checkpoint }: Proven, head: Head): Promise<Uint8Array> {
    const { origin, client, trust } = this.#options;
    const known = this.#keys;
    if (known === undefined) {
      // No receipt of this log yet: the repeat of this very entry is answered with one.
      const { receipt } = await client.submit(entry);
      return this.ofReceipt(receipt, entry, true).receipt();
    }
    head.keys ??= this.#keysUnder(known, head);
    const keys = await head.keys.catch((error: unknown) => {
      // The next one asks again.
      head.keys = undefined;
      throw error;
    });
    const receipt: Receipt = { origin, index, entry, proof, checkpoint, keys, anchors: [] };
    const bytes = formatReceipt(receipt);
    if (trust !== undefined) believed(() => this.#checkHolds(bytes, trust));
    return bytes;
  }

  /** The records of the keys, with their places in the tree of this very head. */
  async #keysUnder(known: readonly IncludedEntry[], head: Head): Promise<IncludedEntry[]> {
    const { client } = this.#options;
    const { size, root } = head;
    return Promise.all(
      known.map(async ({ entry, index }) => {
        const proof = await client.inclusion(index, size);
        believed(() => checkInclusion({ index, size, leafHash: leafHash(entry), proof, root }));
        return { entry, index, proof };
      }),
    );
  }

  #checkHolds(bytes: Uint8Array, trust: Trust): void {
    const { check } = this.#options;
    const { holds, steps } = verifyReceipt(bytes, trust, { check });
    if (holds) return;
    const wrong = steps.find(({ status }) => status === 'invalid' || status === 'no-trust');
    throw unverified('receipt', `it does not hold: ${wrong?.step}: ${wrong?.detail}`);
  }
}
