/**
 * What does an entry say, and by what rules that are not about its encoding?
 *
 * A *statement* is what a gateway signs: (payloadType, payload), by DSSE's PAE. An *entry* is the
 * statement with one to eight signatures by distinct keys. `entry.ts` has its bytes, `envelope.ts` its
 * JSON. Who may sign what is for the log and the verifier to say.
 */
import { sha256 } from './bytes.ts';
import { invariant, malformed, shown } from './errors.ts';
import { ENTRY_SIGNATURES_MAX, PAYLOAD_TYPE_BYTES_MAX, SIGNATURE_BYTES_MAX } from './limits.ts';
import { pae } from './pae.ts';
import { POSSESSION_TYPE } from './possession.ts';
import type { Hash } from './units.ts';
import { checkWindow, WINDOW_TYPE, type Window, windowMessage, windowRoot } from './window.ts';

/** The payload type of an audit record. */
export const RECORD_TYPE = 'application/vnd.stele.record.v1+json';

export interface EntrySignature {
  /** Lower-case hex SHA-256 of the key's SPKI. */
  readonly keyid: string;
  readonly sig: Uint8Array;
  readonly window?: Window;
}

export interface Entry {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  /** One to eight, by distinct keys. The first is the gateway's. */
  readonly signatures: readonly EntrySignature[];
}

/** SHA-256 of the statement's PAE: with the gateway key, what makes two submissions the same. */
export function statementDigest(entry: Entry): Hash {
  return sha256(pae(entry.payloadType, entry.payload));
}

/** The message that a signature of this entry is over: the statement's PAE, or its window's message. */
export function signedMessage(entry: Entry, signature: EntrySignature, origin: string): Uint8Array {
  const { window } = signature;
  const message = pae(entry.payloadType, entry.payload);
  if (window === undefined) return message;
  return windowMessage(origin, window.size, windowRoot(message, window));
}

/** The key that counts as the entry's gateway: that of its first signature. */
export function gatewayKeyid(entry: Entry): string {
  const first = entry.signatures[0];
  invariant(first !== undefined, 'an entry has at least one signature');
  return first.keyid;
}

const WHAT = 'entry';

/** A media type, perhaps with parameters: printable ASCII, so that it has one spelling in UTF-8. */
const PAYLOAD_TYPE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const KEYID = /^[0-9a-f]{64}$/;

/** What keys sign that is no statement, and must never pass for one. */
const RESERVED: ReadonlyMap<string, string> = new Map([
  [WINDOW_TYPE, 'what windows sign'],
  [POSSESSION_TYPE, 'proofs that a key is at hand'],
]);

/** Checks every rule that is not about the encoding; throws `malformed`. */
export function checkEntry(entry: Entry): void {
  const { payloadType, payload, signatures } = entry;
  if (payload.length === 0) throw malformed(WHAT, 'the payload is empty');
  if (!PAYLOAD_TYPE.test(payloadType) || payloadType.length > PAYLOAD_TYPE_BYTES_MAX) {
    throw malformed(
      WHAT,
      `payload type ${shown(payloadType)} is not 1 to ${PAYLOAD_TYPE_BYTES_MAX} printable ASCII characters`,
    );
  }
  const reserved = RESERVED.get(payloadType);
  if (reserved !== undefined) {
    throw malformed(WHAT, `payload type ${payloadType} is reserved for ${reserved}`);
  }
  if (signatures.length < 1 || signatures.length > ENTRY_SIGNATURES_MAX) {
    throw malformed(
      WHAT,
      `${signatures.length} signatures where 1 to ${ENTRY_SIGNATURES_MAX} are allowed`,
    );
  }
  const seen = new Set<string>();
  for (const signature of signatures) {
    checkEntrySignature(signature, payloadType);
    if (seen.has(signature.keyid)) throw malformed(WHAT, `key ${signature.keyid} signs twice`);
    seen.add(signature.keyid);
  }
}

function checkEntrySignature(signature: EntrySignature, payloadType: string): void {
  const { keyid, sig, window } = signature;
  if (!KEYID.test(keyid)) {
    throw malformed(WHAT, `keyid ${shown(keyid)} is not 64 lower-case hex digits`);
  }
  if (sig.length < 1 || sig.length > SIGNATURE_BYTES_MAX) {
    throw malformed(
      WHAT,
      `a signature of ${sig.length} bytes where 1 to ${SIGNATURE_BYTES_MAX} are allowed`,
    );
  }
  if (window === undefined) return;
  if (payloadType !== RECORD_TYPE) {
    throw malformed(WHAT, `a window is only for payload type ${RECORD_TYPE}`);
  }
  checkWindow(window);
}
