/**
 * Admission: everything about an entry that can be judged without knowing what comes before it.
 *
 * The bytes come from strangers. They were decoded strictly (`core/entry.ts`); here the keys are looked
 * up in the log's own registry, the signatures are checked off this thread, and an audit record is held
 * to its schema and to this log. What passes is what the offline verifier accepts (P5).
 */

import { concat, sha256, toHex, utf8 } from '../core/bytes.ts';
import {
  type Entry,
  encodeEntry,
  gatewayKeyid,
  RECORD_TYPE,
  signedMessage,
  statementDigest,
} from '../core/entry.ts';
import { invariant, SteleError, shown } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { leafHash } from '../core/merkle.ts';
import { type Record as AuditRecord, isControlKind, parseRecord } from '../core/record.ts';
import type { Hash } from '../core/units.ts';
import type { Registry } from './registry.ts';
import type { Link } from './sources.ts';
import { payloadDigest } from './sources.ts';

/** One signature to check; `window` names the window that it stands for, if it stands for one. */
interface SignatureJob {
  readonly key: PublicKey;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  readonly window: string | undefined;
}

/** Checks many signatures natively, off this thread: one error or nothing per job, in order. */
export interface SignatureChecker {
  check(
    jobs: readonly Omit<SignatureJob, 'window'>[],
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

/** Window signatures that are remembered as verified: one a window, about 100 bytes each. */
const WINDOWS_MAX = 10_000;

export class Admission {
  readonly #registry: Registry;
  readonly #checker: SignatureChecker;
  /** Verified (key, message, signature) of windows: the signature of a window is checked once. */
  readonly #windows = new Map<string, true>();

  constructor(registry: Registry, checker: SignatureChecker) {
    this.#registry = registry;
    this.#checker = checker;
  }

  /** Judges what a gateway sent. Rejects with the code and the reason. */
  async admit(entry: Entry): Promise<Admitted> {
    const { rules } = this.#registry;
    if (!rules.payload_types.includes(entry.payloadType)) {
      throw new SteleError(
        'forbidden',
        `payloadType ${shown(entry.payloadType)} is not among this log's: ${rules.payload_types.join(', ')}`,
      );
    }
    const keys = entry.signatures.map(({ keyid }) => this.#registry.gatewayKey(keyid));
    const admitted = describe(entry, this.#registry.origin);
    checkGatewayRecord(admitted.record);
    await this.#checkSignatures(entry, keys);
    return admitted;
  }

  async #checkSignatures(entry: Entry, keys: readonly PublicKey[]): Promise<void> {
    const jobs: SignatureJob[] = [];
    for (const [i, signature] of entry.signatures.entries()) {
      const key = keys[i];
      invariant(key !== undefined, 'every signature has its key');
      const message = signedMessage(entry, signature, this.#registry.origin);
      const window =
        signature.window === undefined
          ? undefined
          : toHex(sha256(concat(utf8(key.keyid), signature.sig, message)));
      if (window !== undefined && this.#windows.has(window)) continue;
      jobs.push({ key, message, signature: signature.sig, window });
    }
    if (jobs.length === 0) return;
    const verdicts = await this.#checker.check(jobs);
    for (const [i, job] of jobs.entries()) {
      const error = verdicts[i];
      if (error !== undefined) throw error;
      if (job.window !== undefined) this.#remember(job.window);
    }
  }

  #remember(window: string): void {
    this.#windows.set(window, true);
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= WINDOWS_MAX) break;
      this.#windows.delete(oldest);
    }
  }
}

/** What the log's own control path made: it is signed by the operator and not looked up. */
export function describeControl(entry: Entry, origin: string): Admitted {
  return { ...describe(entry, origin), control: true };
}

function describe(entry: Entry, origin: string): Admitted {
  const bytes = encodeEntry(entry);
  const keyid = gatewayKeyid(entry);
  const record = entry.payloadType === RECORD_TYPE ? parseRecord(entry.payload, origin) : undefined;
  return {
    entry,
    bytes,
    leafHash: leafHash(bytes),
    statement: statementDigest(entry),
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
