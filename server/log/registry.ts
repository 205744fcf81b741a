/**
 * Which keys may sign what, as the log itself says: a replay of its control records.
 *
 * A gateway key is good for entry i if it was registered at r < i and not revoked at v < i. Nothing
 * outside the log is asked, so whoever replays the same entries comes to the same answer.
 */

import { parseBase64 } from '../core/bytes.ts';
import { decodeEntry, type Entry, gatewayKeyid } from '../core/entry.ts';
import { invariant, SteleError, unverified } from '../core/errors.ts';
import { type PublicKey, parsePublicKey } from '../core/keys.ts';
import {
  type GenesisRecord,
  type KeyRecord,
  type PolicyRecord,
  parseRecord,
} from '../core/record.ts';
import type { LeafIndex } from '../core/units.ts';
import { KeyHistory } from '../verify/key-history.ts';
import { timestamp } from './clock.ts';

/** When the log's own clock admits what a key signs: milliseconds since 1970, both included. */
export interface Period {
  readonly notBeforeMs?: number | undefined;
  readonly notAfterMs?: number | undefined;
}

export interface RegisteredKey extends PublicKey, Period {
  readonly purpose: string;
  readonly registered: LeafIndex;
  readonly revoked: LeafIndex | undefined;
}

/** What a log accepts: part of its genesis record, and of the policy records that change it. */
export type Rules = GenesisRecord['genesis']['rules'];

/** The last entry of a log that has ended, and what it says. */
export interface End {
  readonly index: LeafIndex;
  /** The origin of the log that goes on where this one ends. */
  readonly next?: string;
  readonly reason?: string;
}

export class Registry {
  readonly origin: string;
  /** By key ID; for what comes next the last registration of a key counts. */
  readonly #keys = new Map<string, RegisteredKey>();
  /** By key ID, every entry that registered it: what a key signed before it was revoked stays good. */
  readonly #registrations = new Map<string, LeafIndex[]>();
  readonly #owners = new Map<string, string>();
  #operator: PublicKey | undefined;
  #history: KeyHistory | undefined;
  #rules: Rules | undefined;
  #end: End | undefined;
  #previous: GenesisRecord['genesis']['previous'];

  constructor(origin: string) {
    this.origin = origin;
  }

  /** The key that signs control records, from genesis. */
  get operator(): PublicKey {
    invariant(this.#operator !== undefined, 'genesis is the first entry');
    return this.#operator;
  }

  get rules(): Rules {
    invariant(this.#rules !== undefined, 'genesis is the first entry');
    return this.#rules;
  }

  /** Where the log ended, if it has. */
  get end(): End | undefined {
    return this.#end;
  }

  /** The head of the log that this one follows, if it follows one. */
  get previous(): GenesisRecord['genesis']['previous'] {
    return this.#previous;
  }

  /** `frozen` if the log has ended: nothing comes after the entry that says so. */
  checkOpen(): void {
    if (this.#end !== undefined) throw endedError(this.origin, this.#end);
  }

  /** The log's own keys; nothing before genesis. */
  get history(): KeyHistory | undefined {
    return this.#history;
  }

  /**
   * The log's own keys once entry `index` is in the log; throws `unverified` if it is a control record that
   * the log's records so far do not allow.
   */
  historyWith(entry: Entry, index: LeafIndex): KeyHistory | undefined {
    const record = parseRecord(entry.payload, this.origin);
    if (record.kind === 'genesis') return KeyHistory.of(record);
    if (record.kind !== 'key') return this.#history;
    this.#checkPurpose(record, index);
    return this.#history?.with(record, index);
  }

  /** Takes the control record at `index`. Records come in order. Throws as `historyWith` does. */
  apply(entry: Entry, index: LeafIndex): void {
    this.checkOpen();
    const history = this.historyWith(entry, index);
    const record = parseRecord(entry.payload, this.origin);
    this.#history = history;
    if (record.kind === 'genesis') this.#applyGenesis(record);
    else if (record.kind === 'key') this.#applyKey(record, index);
    else if (record.kind === 'policy') this.#applyPolicy(record, index);
  }

  /** Takes a control record as stored. */
  replay(bytes: Uint8Array, index: LeafIndex): void {
    this.apply(decodeEntry(bytes), index);
  }

  keys(): readonly RegisteredKey[] {
    return [...this.#keys.values()];
  }

  /** What is known of a key: its newest registration, also of one that was revoked. */
  find(keyid: string): RegisteredKey | undefined {
    return this.#keys.get(keyid);
  }

  /** The registered gateway key of this ID; `forbidden` if there is none, or none that is not revoked. */
  gatewayKey(keyid: string): PublicKey {
    const known = this.#keys.get(keyid);
    if (known === undefined || known.purpose !== 'gateway') {
      throw new SteleError('forbidden', `key ${keyid} is not registered with ${this.origin}`);
    }
    if (known.revoked !== undefined) {
      throw new SteleError('forbidden', `key ${keyid} was revoked at entry ${known.revoked}`);
    }
    return known;
  }

  /**
   * The key of this ID, if it is good and its period is now. Only admission asks this: what was admitted
   * is good for ever, and whoever replays the log asks no clock.
   */
  admittedKey(keyid: string, nowMs: number): PublicKey {
    const key = this.gatewayKey(keyid);
    const { notBeforeMs, notAfterMs } = this.#keys.get(keyid) ?? {};
    if (isWithin(nowMs, { notBeforeMs, notAfterMs })) return key;
    throw new SteleError(
      'forbidden',
      `key ${keyid} is registered for ${periodText({ notBeforeMs, notAfterMs })}, and it is ` +
        `${timestamp(nowMs)} by the log's clock`,
    );
  }

  /** `forbidden` unless every signer is good for the entry that would come next. */
  checkSigners(entry: Entry, control: boolean): void {
    if (control) {
      const keyid = gatewayKeyid(entry);
      if (this.#operator === undefined || keyid === this.#operator.keyid) return;
      throw new SteleError('forbidden', `key ${keyid} is not the operator's`);
    }
    for (const { keyid } of entry.signatures) this.gatewayKey(keyid);
  }

  /** Where the key that signed entry `index` was registered; nothing for the operator's own. */
  registeredAt(keyid: string, index: LeafIndex): LeafIndex | undefined {
    return this.#registrations.get(keyid)?.findLast((registered) => registered < index);
  }

  /** Every source that was given to a key by name, with that key's ID. */
  owners(): readonly (readonly [source: string, keyid: string])[] {
    return [...this.#owners];
  }

  /** The key that a hand-over names for a source, if there was one. */
  ownerOf(source: string): string | undefined {
    return this.#owners.get(source);
  }

  #applyGenesis({ genesis }: GenesisRecord): void {
    const { alg, spki } = genesis.operator;
    this.#operator = parsePublicKey(alg, parseBase64(spki, 'genesis.operator.spki'));
    this.#rules = genesis.rules;
    this.#previous = genesis.previous;
  }

  #applyPolicy({ policy }: PolicyRecord, index: LeafIndex): void {
    this.#rules = policy.rules ?? this.#rules;
    if (policy.end !== undefined) this.#end = { index, ...policy.end };
  }

  /** Each key has one purpose: a verifier could not tell what is said for one from what is for another. */
  #checkPurpose({ key: { keyid, purpose } }: KeyRecord, index: LeafIndex): void {
    const own = this.#history?.all().find(({ publicKey }) => publicKey.keyid === keyid)?.purpose;
    const gateway = this.#keys.has(keyid) ? 'gateway' : undefined;
    const other = keyid === this.#operator?.keyid ? 'operator' : (own ?? gateway);
    if (other === undefined || other === purpose) return;
    throw unverified(
      `key record at ${index}`,
      `key ${keyid} is the log's ${other} key, and each key has one purpose`,
    );
  }

  #applyKey({ key }: KeyRecord, index: LeafIndex): void {
    if (key.purpose !== 'gateway') return;
    const known = this.#keys.get(key.keyid);
    if (key.action === 'revoke') {
      if (known !== undefined) this.#keys.set(key.keyid, { ...known, revoked: index });
      return;
    }
    if (key.source !== undefined) this.#owners.set(key.source, key.keyid);
    if (key.action !== 'register') return;
    const registrations = this.#registrations.get(key.keyid) ?? [];
    this.#registrations.set(key.keyid, [...registrations, index]);
    this.#keys.set(key.keyid, {
      ...parsePublicKey(key.alg, parseBase64(key.spki, 'key.spki')),
      purpose: key.purpose,
      registered: index,
      revoked: undefined,
      ...periodOf(key),
    });
  }
}

function periodOf({ not_before, not_after }: KeyRecord['key']): Period {
  return {
    ...(not_before === undefined ? {} : { notBeforeMs: Date.parse(not_before) }),
    ...(not_after === undefined ? {} : { notAfterMs: Date.parse(not_after) }),
  };
}

function isWithin(nowMs: number, { notBeforeMs, notAfterMs }: Period): boolean {
  return nowMs >= (notBeforeMs ?? nowMs) && nowMs <= (notAfterMs ?? nowMs);
}

/** In words: "from … to …", of which either may be missing. */
export function periodText({ notBeforeMs, notAfterMs }: Period): string {
  const from = notBeforeMs === undefined ? 'the beginning' : timestamp(notBeforeMs);
  return `${from} to ${notAfterMs === undefined ? 'no end' : timestamp(notAfterMs)}`;
}

/** What everybody hears who comes too late. */
export function endedError(origin: string, { index, next, reason }: End): SteleError {
  const why = reason === undefined ? '' : ` (${reason})`;
  const goesOn = next === undefined ? '' : `; it goes on as ${next}`;
  return new SteleError('frozen', `log ${origin} ended with entry ${index}${why}${goesOn}`);
}
