/**
 * Does this log go on where that one ended?
 *
 *     old log   … ── entry n−1: "ends; next is B"          head of size n
 *                                    │                          │
 *     log B          entry 0: genesis, "previous is A, n, root" ◀┘  by the same operator's key
 *
 * Two receipts prove it, one of the old log's last entry and one of the new log's first. Whoever trusts
 * the old log's keys learns the new log's from it: its genesis lists them, under the signature of the
 * operator whom the old genesis names.
 */
import { equalBytes, parseBase64, utf8 } from '../core/bytes.ts';
import { decodeEntry } from '../core/entry.ts';
import { shown, unverified } from '../core/errors.ts';
import { parseNote } from '../core/note.ts';
import { parseReceipt, type Receipt } from '../core/receipt.ts';
import { parseRecord } from '../core/record.ts';
import { checkSignature, type SignatureCheck } from '../core/signature.ts';
import { type Checkpoint, parseCheckpoint } from '../core/tree-head.ts';
import type { Trust, TrustedLog } from '../core/trust.ts';
import { openGenesis } from './control.ts';
import { openHead } from './head.ts';
import { checkIncluded } from './signers.ts';
import { verifyReceipt } from './verify.ts';

export interface Seam {
  /** The last head of the log that ended. */
  readonly last: Checkpoint;
  /** The log that follows, with the keys that its genesis lists. */
  readonly next: TrustedLog;
}

/**
 * Checks the seam by the receipts of the last entry and of the next log's genesis; throws `malformed` or
 * `unverified` with what does not hold.
 */
export function openSeam(
  lastReceipt: Uint8Array,
  genesisReceipt: Uint8Array,
  trust: Trust,
  check: SignatureCheck = checkSignature,
): Seam {
  const verdict = verifyReceipt(lastReceipt, trust, { check });
  if (!verdict.holds) {
    const { step, detail } = verdict.steps.find(({ status }) => status !== 'valid') ?? {};
    throw unverified('last entry', `its receipt does not hold: ${step}: ${detail}`);
  }
  const ended = parseReceipt(lastReceipt);
  const last = parseCheckpoint(parseNote(utf8(ended.checkpoint)).text);
  const end = endOf(ended, last);
  const begun = parseReceipt(genesisReceipt);
  if (end.next !== begun.origin) {
    throw unverified(
      'last entry',
      `it names ${shown(end.next ?? 'no log')} and not ${begun.origin}`,
    );
  }
  const next = openNext(begun, trust, check);
  checkSameOperator(ended, begun, check);
  checkPrevious(begun, last);
  return { last, next };
}

/** The end that a log's last entry says, which must be the last under the receipt's own head. */
function endOf(
  { entry, index, origin }: Receipt,
  { size }: Checkpoint,
): { readonly next?: string } {
  const record = parseRecord(decodeEntry(entry).payload, origin);
  const end = record.kind === 'policy' ? record.policy.end : undefined;
  if (end === undefined) throw unverified('last entry', `entry ${index} does not end its log`);
  if (size !== index + 1) {
    throw unverified('last entry', `entry ${index} is not the last under a head of ${size}`);
  }
  return end;
}

/** The next log as its own genesis has it: entry 0 under a head that its own keys sign. */
function openNext(receipt: Receipt, trust: Trust, check: SignatureCheck): TrustedLog {
  const { origin, index } = receipt;
  const genesis = openGenesis(receipt.entry, { index, origin, check });
  const next = { origin, keys: genesis.logKeys.map((key) => ({ key })), gateways: [] };
  const head = openHead(receipt.checkpoint, next, { ...trust, logs: [next] }, check);
  if (head === undefined) {
    throw unverified('genesis', 'its head is not signed by a key that it lists');
  }
  checkIncluded(receipt, head.checkpoint);
  return next;
}

function checkSameOperator(ended: Receipt, begun: Receipt, check: SignatureCheck): void {
  const [first] = ended.keys;
  if (first === undefined) throw unverified('last entry', 'its receipt has no genesis');
  const { origin } = ended;
  const old = openGenesis(first.entry, { index: first.index, origin, check }).operator;
  const { operator } = openGenesis(begun.entry, { index: 0, origin: begun.origin, check });
  if (old.keyid === operator.keyid) return;
  throw unverified(
    'genesis',
    `its operator is ${operator.keyid}, and ${old.keyid} ended the old log`,
  );
}

function checkPrevious(begun: Receipt, last: Checkpoint): void {
  const record = parseRecord(decodeEntry(begun.entry).payload, begun.origin);
  const previous = record.kind === 'genesis' ? record.genesis.previous : undefined;
  const holds =
    previous !== undefined &&
    previous.origin === last.origin &&
    previous.size === last.size &&
    equalBytes(parseBase64(previous.root, 'previous.root'), last.root);
  if (!holds)
    throw unverified('genesis', `it does not name the head of ${last.size} of ${last.origin}`);
}
