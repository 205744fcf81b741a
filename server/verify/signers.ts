/**
 * Who signed this entry, and were they registered before it?
 *
 * A gateway key is good for entry i if the operator registered it in a key record at r < i; the
 * receipt brings these records, under the same checkpoint, after genesis, which names the operator.
 * That no revocation came in between does not show in a receipt.
 */
import { type Entry, signedMessage } from '../core/entry.ts';
import { unverified } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { leafHash } from '../core/merkle.ts';
import { checkInclusion } from '../core/proof.ts';
import type { IncludedEntry, Receipt } from '../core/receipt.ts';
import { isControlKind, type Record } from '../core/record.ts';
import { checkSignature, type SignatureCheck } from '../core/signature.ts';
import type { Checkpoint } from '../core/tree-head.ts';
import {
  type ControlClaim,
  checkControlEntry,
  type Genesis,
  openGenesis,
  openKeyRecord,
} from './control.ts';

/** A key that may sign the entry, and where the log says so. */
export interface Signer {
  readonly key: PublicKey;
  readonly role: 'operator' | 'gateway';
  readonly registered: number;
}

export interface Signers {
  readonly genesis: Genesis;
  /** In the order of the entry's signatures. */
  readonly signers: readonly Signer[];
}

/** Checks an entry's inclusion under the checkpoint; throws `unverified`. */
export function checkIncluded(included: IncludedEntry, checkpoint: Checkpoint): void {
  checkInclusion({
    index: included.index,
    size: checkpoint.size,
    leafHash: leafHash(included.entry),
    proof: included.proof,
    root: checkpoint.root,
  });
}

/** Checks the records of all signers' keys; throws `malformed` or `unverified`. */
export function openSigners(
  receipt: Receipt,
  entry: Entry,
  record: Record | undefined,
  checkpoint: Checkpoint,
  check: SignatureCheck = checkSignature,
): Signers {
  const { origin, index } = receipt;
  const isGenesis = index === 0;
  const isControl = isGenesis || (record !== undefined && isControlKind(record.kind));
  const wanted = isGenesis ? 0 : 1 + (isControl ? 0 : entry.signatures.length);
  if (receipt.keys.length !== wanted) {
    throw unverified(
      'keys',
      `${receipt.keys.length} records where genesis and the signers' key records make ${wanted}`,
    );
  }
  for (const included of receipt.keys) checkIncluded(included, checkpoint);
  const [first = receipt, ...others] = receipt.keys;
  const genesis = openGenesis(first.entry, { index: first.index, origin, check });
  if (isControl) {
    const operator = isGenesis ? undefined : genesis.operator;
    checkControlEntry({ entry, index, origin, operator, check });
    return { genesis, signers: [{ key: genesis.operator, role: 'operator', registered: 0 }] };
  }
  const signers = others.map((included, i) => {
    const keyid = entry.signatures[i]?.keyid ?? '';
    return openSigner(included, keyid, { origin, index, operator: genesis.operator, check });
  });
  return { genesis, signers };
}

function openSigner(
  included: IncludedEntry,
  keyid: string,
  at: Omit<ControlClaim, 'entry'>,
): Signer {
  const what = `key record at ${included.index}`;
  const { record, key } = openKeyRecord(included.entry, { ...at, index: included.index });
  const { action, purpose } = record.key;
  if (key.keyid !== keyid) {
    throw unverified(what, `it is about key ${key.keyid} and not about the signer ${keyid}`);
  }
  if (action !== 'register' || purpose !== 'gateway') {
    throw unverified(what, `it says ${action} for ${purpose} and does not register a gateway`);
  }
  if (included.index >= at.index) {
    throw unverified(what, `the key was registered only after entry ${at.index}`);
  }
  return { key, role: 'gateway', registered: included.index };
}

/** Checks every signature of the entry by the keys that its signers have; throws `unverified`. */
export function checkSignatures(
  entry: Entry,
  origin: string,
  signers: readonly Signer[],
  check: SignatureCheck = checkSignature,
): void {
  for (const [i, signature] of entry.signatures.entries()) {
    const signer = signers[i];
    if (signer === undefined || signer.key.keyid !== signature.keyid) {
      throw unverified('signature', `key ${signature.keyid} is not one that may sign this entry`);
    }
    check(signer.key, signedMessage(entry, signature, origin), signature.sig);
  }
}
