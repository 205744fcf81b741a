/**
 * The entries of an audit: each must be in its one spelling, signed by keys that the log itself had
 * registered before it, and, if it is an audit record, of the schema and made for this log.
 *
 * Entries come in order, so the key registry is at each of them exactly as it was when it was admitted.
 * Signatures are checked in batches on other threads while the next entries are read.
 *
 * Known hole: that no record id was used twice with different statements is not checked, since that
 * needs a set of all of them; the log refuses such a record when it comes.
 */
import { toBase64url, toHex } from '../../core/bytes.ts';
import { decodeEntry, type Entry, gatewayKeyid, RECORD_TYPE } from '../../core/entry.ts';
import { SteleError } from '../../core/errors.ts';
import type { PublicKey } from '../../core/keys.ts';
import { pae } from '../../core/pae.ts';
import { type Record as AuditRecord, isControlKind, parseRecord } from '../../core/record.ts';
import { type LeafIndex, leafIndex } from '../../core/units.ts';
import { windowMessage, windowRoot } from '../../core/window.ts';
import { checkControlEntry } from '../../verify/control.ts';
import type { KeyHistory } from '../../verify/key-history.ts';
import type { SignatureChecker } from '../admit.ts';
import { Registry } from '../registry.ts';
import { payloadDigest } from '../sources.ts';
import { Chains } from './chains.ts';
import type { Findings } from './findings.ts';

interface Job {
  readonly index: number;
  readonly key: PublicKey;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/** Batches of signatures under way at once; more would only wait in memory. */
const UNDER_WAY_MAX = 4;
/** Signatures that are sent off together. */
const BATCH = 1_024;
/** Windows that are remembered as checked: about 500 bytes each. */
const WINDOWS_MAX = 10_000;

export class EntryCheck {
  readonly #registry: Registry;
  readonly #checker: SignatureChecker;
  readonly #findings: Findings;
  readonly #chains: Chains;
  readonly #windows = new Set<string>();
  readonly #underWay: Promise<void>[] = [];
  #jobs: Job[] = [];
  #signatures = 0;
  #records = 0;
  readonly #control: LeafIndex[] = [];

  /** `after` is what the entries before came to, for who does not begin with the first. */
  constructor(
    origin: string,
    checker: SignatureChecker,
    findings: Findings,
    after?: { readonly registry: Registry; readonly chains: Chains },
  ) {
    this.#registry = after?.registry ?? new Registry(origin);
    this.#checker = checker;
    this.#findings = findings;
    this.#chains = after?.chains ?? new Chains(findings);
  }

  get counts() {
    return { signatures: this.#signatures, records: this.#records, sources: this.#chains.count };
  }

  /** The control records, as the entries themselves say. */
  get control(): readonly LeafIndex[] {
    return this.#control;
  }

  /** What the entries say of the log's own keys; nothing without a genesis. */
  get history(): KeyHistory | undefined {
    return this.#registry.history;
  }

  /** Takes the entries from index `begin` on. */
  async add(begin: number, entries: readonly Uint8Array[]): Promise<void> {
    for (const [i, bytes] of entries.entries()) {
      const index = leafIndex(begin + i);
      try {
        this.#take(bytes, index);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        this.#findings.add('fail', error.message, index);
        // Without a genesis there are no keys: nothing that follows could be judged.
        if (index === 0)
          throw new SteleError('unverified', `entry 0 is no genesis: ${error.message}`);
      }
      if (this.#jobs.length >= BATCH) await this.#send();
    }
  }

  /** Resolves when every signature so far is judged. */
  async settle(): Promise<void> {
    await this.#send();
    await Promise.all(this.#underWay.splice(0));
  }

  async finish(): Promise<void> {
    await this.settle();
    this.#chains.finish(this.#registry.previous !== undefined);
  }

  #take(bytes: Uint8Array, index: LeafIndex): void {
    const entry = decodeEntry(bytes);
    this.#registry.checkOpen();
    const isRecord = entry.payloadType === RECORD_TYPE;
    const record = isRecord ? parseRecord(entry.payload, this.#registry.origin) : undefined;
    if (index === 0 || (record !== undefined && isControlKind(record.kind))) {
      this.#takeControl(entry, index);
    } else this.#takeOther(entry, record, index);
    if (record !== undefined) this.#link(entry, record, index);
  }

  #takeControl(entry: Entry, index: LeafIndex): void {
    checkControlEntry({
      entry,
      index,
      origin: this.#registry.origin,
      operator: index === 0 ? undefined : this.#registry.operator,
    });
    this.#registry.apply(entry, index);
    this.#control.push(index);
    this.#signatures++;
  }

  #takeOther(entry: Entry, record: AuditRecord | undefined, index: LeafIndex): void {
    const { payload_types } = this.#registry.rules;
    if (!payload_types.includes(entry.payloadType)) {
      const rule = `the log admits ${payload_types.join(', ')}`;
      this.#findings.add(
        'fail',
        `payloadType ${JSON.stringify(entry.payloadType)}: ${rule}`,
        index,
      );
    }
    if (record?.source.id.startsWith('_') === true) {
      const rule = 'names that begin with _ are the log’s own';
      this.#findings.add('fail', `source ${JSON.stringify(record.source.id)}: ${rule}`, index);
    }
    const message = pae(entry.payloadType, entry.payload);
    for (const { keyid, sig: signature, window } of entry.signatures) {
      const key = this.#registry.gatewayKey(keyid);
      this.#signatures++;
      if (window === undefined) {
        this.#jobs.push({ index, key, message, signature });
        continue;
      }
      const { size } = window;
      const root = windowRoot(message, window);
      if (this.#isKnownWindow(`${keyid} ${size} ${toHex(root)} ${toHex(signature)}`)) continue;
      const signed = windowMessage(this.#registry.origin, size, root);
      this.#jobs.push({ index, key, message: signed, signature });
    }
  }

  /** Whether the signature of this window was sent off before. A bad one is named once. */
  #isKnownWindow(name: string): boolean {
    if (this.#windows.has(name)) return true;
    this.#windows.add(name);
    for (const oldest of this.#windows) {
      if (this.#windows.size <= WINDOWS_MAX) break;
      this.#windows.delete(oldest);
    }
    return false;
  }

  #link(entry: Entry, record: AuditRecord, index: LeafIndex): void {
    this.#records++;
    const { id, seq, prev } = record.source;
    const digest = toBase64url(payloadDigest(entry.payload));
    const keyid = gatewayKeyid(entry);
    this.#chains.add({ source: id, keyid, seq, prev, digest }, index, this.#registry.ownerOf(id));
    if (record.kind === 'gap') {
      const { source, seq_from, seq_to } = record.gap;
      this.#chains.declare(source, keyid, seq_from, seq_to + 1);
    }
  }

  async #send(): Promise<void> {
    const jobs = this.#jobs;
    this.#jobs = [];
    if (jobs.length === 0) return;
    if (this.#underWay.length >= UNDER_WAY_MAX) await this.#underWay.shift();
    this.#underWay.push(this.#judge(jobs));
  }

  async #judge(jobs: readonly Job[]): Promise<void> {
    const verdicts = await this.#checker.check(jobs);
    for (const [i, { index, key }] of jobs.entries()) {
      const error = verdicts[i];
      if (error !== undefined) {
        this.#findings.add('fail', `signature of key ${key.keyid}: ${error.message}`, index);
      }
    }
  }
}
