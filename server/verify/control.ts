/**
 * Does this control record hold: genesis, key, policy?
 *
 * Genesis is entry 0 and names the operator's key; it is signed by that very key. Every other control
 * record carries exactly one signature, by that operator key, and comes from the reserved source. What
 * a gateway signs is never a control record, whatever it says.
 */
import { parseBase64 } from '../core/bytes.ts';
import { decodeEntry, type Entry, RECORD_TYPE, signedMessage } from '../core/entry.ts';
import { malformed, shown, unverified } from '../core/errors.ts';
import { type PublicKey, parsePublicKey } from '../core/keys.ts';
import { parseVerifierKey, type VerifierKey } from '../core/note.ts';
import {
  CONTROL_SOURCE,
  type GenesisRecord,
  isControlKind,
  type KeyRecord,
  type PolicyRecord,
  parseRecord,
} from '../core/record.ts';
import { checkSignature, type SignatureCheck } from '../core/signature.ts';

export type ControlRecord = GenesisRecord | KeyRecord | PolicyRecord;

export interface ControlClaim {
  readonly entry: Entry;
  readonly index: number;
  readonly origin: string;
  /** The key that genesis names; nothing for genesis itself, which is entry 0. */
  readonly operator: PublicKey | undefined;
  /** The engine; the portable one unless a server brings a faster. */
  readonly check?: SignatureCheck;
}

/** What genesis says of keys. */
export interface Genesis {
  readonly record: GenesisRecord;
  readonly operator: PublicKey;
  readonly logKeys: readonly VerifierKey[];
}

/** Checks a control record with its signature; throws `malformed` or `unverified`. */
export function checkControlEntry(claim: ControlClaim): void {
  openControlEntry(claim);
}

/** Verifies and reads the genesis entry of a log; throws `malformed` or `unverified`. */
export function openGenesis(
  bytes: Uint8Array,
  at: { readonly index: number; readonly origin: string; readonly check?: SignatureCheck },
): Genesis {
  const record = openControlEntry({ entry: decodeEntry(bytes), operator: undefined, ...at });
  if (record.kind !== 'genesis') throw unverified('genesis', `it is a ${record.kind} record`);
  return {
    record,
    operator: operatorOf(record),
    logKeys: record.genesis.log_keys.map(parseVerifierKey),
  };
}

/** Verifies and reads a key record, whose key is the second answer; throws like `openGenesis`. */
export function openKeyRecord(
  bytes: Uint8Array,
  at: Omit<ControlClaim, 'entry'>,
): { readonly record: KeyRecord; readonly key: PublicKey } {
  const record = openControlEntry({ entry: decodeEntry(bytes), ...at });
  if (record.kind !== 'key') throw unverified('key record', `it is a ${record.kind} record`);
  return { record, key: keyOf(record) };
}

function openControlEntry(claim: ControlClaim): ControlRecord {
  const { entry, index, origin } = claim;
  if (entry.payloadType !== RECORD_TYPE) {
    throw unverified(`entry ${index}`, `payload type ${shown(entry.payloadType)} is no record`);
  }
  const record = parseRecord(entry.payload, origin);
  const { kind } = record;
  const what = `${kind} record at ${index}`;
  if (!isControlRecord(record)) throw unverified(what, 'it is not a control record');
  if ((kind === 'genesis') !== (index === 0)) {
    throw unverified(what, 'genesis is entry 0, and entry 0 is genesis');
  }
  if (record.source.id !== CONTROL_SOURCE) {
    throw unverified(
      what,
      `its source is ${shown(record.source.id)} where control records have ${CONTROL_SOURCE}`,
    );
  }
  // A key that nobody could read must not become the log's own word.
  if (kind === 'key') keyOf(record);
  if (kind === 'genesis') record.genesis.log_keys.map(parseVerifierKey);
  const operator = kind === 'genesis' ? operatorOf(record) : claim.operator;
  if (operator === undefined) throw unverified(what, 'no operator key is known');
  checkOperatorSignature(claim, operator, what);
  return record;
}

function checkOperatorSignature(claim: ControlClaim, operator: PublicKey, what: string): void {
  const { entry, origin, check = checkSignature } = claim;
  const [signature, ...others] = entry.signatures;
  if (signature === undefined || others.length > 0) {
    throw unverified(what, `${entry.signatures.length} signatures where the operator's is needed`);
  }
  if (signature.keyid !== operator.keyid) {
    throw unverified(what, `signed by key ${signature.keyid} and not by the operator's`);
  }
  check(operator, signedMessage(entry, signature, origin), signature.sig);
}

function isControlRecord(record: { readonly kind: string }): record is ControlRecord {
  return isControlKind(record.kind as ControlRecord['kind']);
}

function operatorOf(record: GenesisRecord): PublicKey {
  const { alg, spki } = record.genesis.operator;
  return parsePublicKey(alg, parseBase64(spki, 'genesis.operator.spki'));
}

function keyOf(record: KeyRecord): PublicKey {
  const { alg, spki, keyid } = record.key;
  const key = parsePublicKey(alg, parseBase64(spki, 'key.spki'));
  if (key.keyid !== keyid) {
    throw malformed('record', `key.keyid: ${keyid} is not that of the key, ${key.keyid}`);
  }
  return key;
}
