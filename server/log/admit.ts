/**
 * Admission: everything about an entry that can be judged without knowing what comes before it.
 *
 * The bytes come from strangers. They were decoded strictly (`core/entry.ts`); here the keys are looked
 * up in the log's own registry, the signatures are checked off this thread, and an audit record is held
 * to its schema and to this log. What passes is what the offline verifier accepts (P5).
 */

import { sha256, toHex } from '../core/bytes.ts';
import { decodeEntry, type Entry, encodeEntry, gatewayKeyid, RECORD_TYPE } from '../core/entry.ts';
import { invariant, SteleError, shown } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { leafHash } from '../core/merkle.ts';
import { pae } from '../core/pae.ts';
import { type Record as AuditRecord, isControlKind, parseRecord } from '../core/record.ts';
import type { Hash } from '../core/units.ts';
import { windowMessage, windowRoot } from '../core/window.ts';
import type { Clock } from './clock.ts';
import type { Registry } from './registry.ts';
import type { Link } from './sources.ts';
import { payloadDigest } from './sources.ts';

/** Checks many signatures natively, off this thread: one error or nothing per job, in order. */
export interface SignatureChecker {
  /** Signatures that are being checked or wait for it, where that is known. */
  readonly waiting?: number;
  check(
    jobs: readonly {
      readonly key: PublicKey;
      readonly message: Uint8Array;
      readonly signature: Uint8Array;
    }[],
  ): Promise<readonly (SteleError | undefined)[]>;
}

export interface Admitted {
  readonly entry: Entry;
  /** The entry in its one spelling. */
  readonly bytes: Uint8Array;
  readonly leafHash: Hash;
  /** SHA-256 of the statement's PAE. */
  readonly statement: Hash;
  /** The gateway key: that of the first signature. */
  readonly keyid: string;
  readonly record: AuditRecord | undefined;
  readonly link: Link | undefined;
  /** A genesis, key or policy record, made by the log's own control path. */
  readonly control: boolean;
}

/** Windows that are remembered: about 500 bytes each. */
const WINDOWS_MAX = 10_000;

export class Admission {
  readonly #registry: Registry;
  readonly #checker: SignatureChecker;
  readonly #clock: Clock;
  /** Windows by key, root and signature, under check or found good. */
  readonly #windows = new Map<string, Promise<void>>();

  constructor(registry: Registry, checker: SignatureChecker, clock: Clock) {
    this.#registry = registry;
    this.#checker = checker;
    this.#clock = clock;
  }

  /** Judges what a gateway sent, an entry or the bytes of one. Rejects with the code and the reason. */
  async admit(sent: Entry | Uint8Array): Promise<Admitted> {
    // What decodes is in its one spelling, and need not be encoded again.
    const isBytes = sent instanceof Uint8Array;
    const entry = isBytes ? decodeEntry(sent) : sent;
    const bytes = isBytes ? sent : encodeEntry(sent);
    const { rules } = this.#registry;
    if (!rules.payload_types.includes(entry.payloadType)) {
      throw new SteleError(
        'forbidden',
        `payloadType ${shown(entry.payloadType)} is not among this log's: ${rules.payload_types.join(', ')}`,
      );
    }
    const now = this.#clock.now();
    const keys = entry.signatures.map(({ keyid }) => this.#registry.admittedKey(keyid, now));
    const message = pae(entry.payloadType, entry.payload);
    const admitted = describe(entry, bytes, message, this.#registry.origin);
    checkGatewayRecord(admitted.record);
    await Promise.all(
      entry.signatures.map(({ sig, window }, i) => {
        const key = keys[i];
        invariant(key !== undefined, 'every signature has its key');
        return window === undefined
          ? this.#check(key, message, sig)
          : this.#checkWindow(key, sig, { size: window.size, root: windowRoot(message, window) });
      }),
    );
    return admitted;
  }

  async #check(key: PublicKey, message: Uint8Array, signature: Uint8Array): Promise<void> {
    const [error] = await this.#checker.check([{ key, message, signature }]);
    if (error !== undefined) throw error;
  }

  /** The signature of a window is checked once, also when its entries come all at the same time. */
  #checkWindow(
    key: PublicKey,
    sig: Uint8Array,
    { size, root }: { readonly size: number; readonly root: Hash },
  ): Promise<void> {
    const id = `${key.keyid} ${size} ${toHex(root)} ${toHex(sig)}`;
    const known = this.#windows.get(id);
    if (known !== undefined) return known;
    const checked = this.#check(key, windowMessage(this.#registry.origin, size, root), sig);
    this.#windows.set(id, checked);
    // Whoever waits for it is told; the next one may ask again.
    checked.catch(() => this.#windows.delete(id));
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= WINDOWS_MAX) break;
      this.#windows.delete(oldest);
    }
    return checked;
  }
}

/** What the log's own control path made: it is signed by the operator and not looked up. */
export function describeControl(entry: Entry, origin: string): Admitted {
  const message = pae(entry.payloadType, entry.payload);
  return { ...describe(entry, encodeEntry(entry), message, origin), control: true };
}

/** What was admitted before, from its bytes. Only the control path ever made a record of a control kind. */
export function describeStored(bytes: Uint8Array, origin: string): Admitted {
  const entry = decodeEntry(bytes);
  const admitted = describe(entry, bytes, pae(entry.payloadType, entry.payload), origin);
  const { record } = admitted;
  return { ...admitted, control: record !== undefined && isControlKind(record.kind) };
}

function describe(entry: Entry, bytes: Uint8Array, message: Uint8Array, origin: string): Admitted {
  const keyid = gatewayKeyid(entry);
  const record = entry.payloadType === RECORD_TYPE ? parseRecord(entry.payload, origin) : undefined;
  return {
    entry,
    bytes,
    leafHash: leafHash(bytes),
    statement: sha256(message),
    keyid,
    record,
    link: record && linkOf(record, entry.payload, keyid),
    control: false,
  };
}

function linkOf(record: AuditRecord, payload: Uint8Array, keyid: string): Link {
  const { id, seq, prev } = record.source;
  const lost =
    record.kind === 'gap' && record.gap.source === id
      ? { begin: record.gap.seq_from, end: record.gap.seq_to + 1 }
      : undefined;
  return { source: id, seq, prev, digest: payloadDigest(payload), keyid, lost };
}

/** What only the log's own control path may say. */
function checkGatewayRecord(record: AuditRecord | undefined): void {
  if (record === undefined) return;
  if (isControlKind(record.kind)) {
    throw new SteleError('forbidden', `a gateway may not submit a record of kind ${record.kind}`);
  }
  if (record.source.id.startsWith('_')) {
    throw new SteleError(
      'forbidden',
      `source ${shown(record.source.id)} is reserved: names beginning with _ are the log's own`,
    );
  }
}
