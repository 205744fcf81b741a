/**
 * What does a receipt hold?
 *
 *     {"anchors":[],"checkpoint":"…","entry":"…","format":"stele.receipt/1","index":7,
 *      "keys":[{"entry":"…","index":0,"proof":["…"]}],"origin":"…","proof":["…"]}          and a line feed
 *
 * A receipt is everything a stranger needs, besides keys from elsewhere, to check one entry offline:
 * the entry, its path to the root of a signed checkpoint, and the records that say that its signers
 * were registered. It has one spelling, JCS and a line feed, so no byte of it can be changed unseen.
 *
 * Reading says that the form is right. What the parts are worth is for `verify/` to say.
 */
import { concat, parseBase64, toBase64, utf8 } from './bytes.ts';
import { canonicalize, parseCanonical } from './canonical.ts';
import { malformed, SteleError } from './errors.ts';
import type { Json } from './json.ts';
import {
  DISCLOSURE_BYTES_MAX,
  DISCLOSURES_MAX,
  ENTRY_BYTES_MAX,
  ENTRY_SIGNATURES_MAX,
  INLINE_BODY_BYTES_MAX,
  NOTE_BYTES_MAX,
  PROOF_HASHES_MAX,
  RECEIPT_BYTES_MAX,
} from './limits.ts';
import {
  anyObject,
  base64,
  constant,
  emptyOr,
  int,
  list,
  object,
  pattern,
  read,
  type Shaped,
  text,
  where,
} from './schema.ts';
import { HASH_BYTES, type Hash, hash, type LeafIndex, leafIndex } from './units.ts';

export const RECEIPT_TYPE = 'application/vnd.stele.receipt.v1+json';

/** An entry's inclusion under the receipt's checkpoint. */
export interface IncludedEntry {
  readonly entry: Uint8Array;
  readonly index: LeafIndex;
  readonly proof: readonly Hash[];
}

export interface ReceiptDisclosure {
  readonly disclosure: string;
  /** The body's bytes, up to 1 MiB. */
  readonly body?: Uint8Array;
  /** The name of a file beside the receipt that holds a larger body. */
  readonly body_file?: string;
}

export interface Receipt extends IncludedEntry {
  readonly origin: string;
  /** A signed note, verbatim. */
  readonly checkpoint: string;
  /** Genesis, then the key record of each signer in order; only genesis for the operator's entries. */
  readonly keys: readonly IncludedEntry[];
  readonly anchors: readonly Json[];
  readonly disclosures?: readonly ReceiptDisclosure[];
}

const ANCHORS_MAX = 64;

const included = {
  entry: base64(ENTRY_BYTES_MAX),
  index: int(),
  proof: list(base64(HASH_BYTES, true), PROOF_HASHES_MAX),
};

const disclosed = where(
  object(
    { disclosure: text(DISCLOSURE_BYTES_MAX) },
    {
      // An empty body is base64 of nothing.
      body: emptyOr(base64(INLINE_BODY_BYTES_MAX)),
      // One name, no path: a receipt must not say which of its reader's files to open.
      body_file: pattern(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/, 'a plain file name', 128),
    },
  ),
  (item) =>
    item.body !== undefined && item.body_file !== undefined
      ? { path: 'body_file', rule: 'the body is inline already' }
      : undefined,
);

/** What is not bytes: a formatter checks bytes before they are text. */
const described = {
  origin: text(255),
  checkpoint: text(NOTE_BYTES_MAX),
  anchors: list(anyObject, ANCHORS_MAX),
};
const optional = { disclosures: list(disclosed, DISCLOSURES_MAX, 1) };
const DESCRIBED = object(described, optional);

const KEYS_MAX = ENTRY_SIGNATURES_MAX + 1;

const SHAPE = object(
  {
    format: constant('stele.receipt/1'),
    ...described,
    ...included,
    keys: list(object(included, {}), KEYS_MAX),
  },
  optional,
);

const WHAT = 'receipt';

/** Reads a receipt from a stranger's bytes; throws `malformed`, or `too_large`. */
export function parseReceipt(bytes: Uint8Array): Receipt {
  if (bytes.length > RECEIPT_BYTES_MAX) {
    throw new SteleError(
      'too_large',
      `${WHAT}: ${bytes.length} bytes where at most ${RECEIPT_BYTES_MAX} are allowed`,
    );
  }
  const json = parseCanonical(bytes, WHAT, { tail: '\n' });
  const { format, checkpoint, origin, anchors, keys, disclosures, ...own } = read(
    SHAPE,
    json,
    WHAT,
  );
  return {
    origin,
    ...parseIncluded(own),
    checkpoint,
    keys: keys.map(parseIncluded),
    anchors,
    ...(disclosures === undefined ? {} : { disclosures: disclosures.map(parseDisclosed) }),
  };
}

/**
 * The bytes of a receipt; throws `malformed` if a part breaks the format. Every single submission is
 * answered by one, so it is written in the order of JCS rather than sorted.
 */
export function formatReceipt(receipt: Receipt): Uint8Array {
  const { origin, checkpoint, keys, anchors, index, entry, proof } = receipt;
  const disclosures = receipt.disclosures?.map(formatDisclosed);
  const withDisclosures = disclosures === undefined ? {} : { disclosures };
  read(DESCRIBED, { origin, checkpoint, anchors, ...withDisclosures }, WHAT);
  if (keys.length > KEYS_MAX) {
    throw malformed(WHAT, `${keys.length} keys where at most ${KEYS_MAX} are allowed`);
  }
  for (const part of [receipt, ...keys]) checkIncluded(part);
  const disclosed = disclosures === undefined ? '' : `,"disclosures":${canonicalize(disclosures)}`;
  // In two parts: a checkpoint has a dash that is not ASCII, and ASCII alone is encoded faster.
  return concat(
    utf8(
      `{"anchors":${canonicalize(anchors)},"checkpoint":${canonicalize(checkpoint)}${disclosed}`,
    ),
    utf8(
      `,"entry":"${toBase64(entry)}","format":"stele.receipt/1","index":${index},` +
        `"keys":[${keys.map(formatIncluded).join(',')}],"origin":${canonicalize(origin)},` +
        `"proof":${formatHashes(proof)}}\n`,
    ),
  );
}

/** What a type promises and a caller without types may break. */
function checkIncluded({ entry, index, proof }: IncludedEntry): void {
  leafIndex(index);
  if (entry.length < 1 || entry.length > ENTRY_BYTES_MAX) {
    throw malformed(WHAT, `an entry of ${entry.length} bytes, not 1 to ${ENTRY_BYTES_MAX}`);
  }
  if (proof.length > PROOF_HASHES_MAX) {
    throw malformed(WHAT, `${proof.length} hashes where at most ${PROOF_HASHES_MAX} are allowed`);
  }
  for (const one of proof) hash(one, 'proof');
}

function formatIncluded({ entry, index, proof }: IncludedEntry): string {
  return `{"entry":"${toBase64(entry)}","index":${index},"proof":${formatHashes(proof)}}`;
}

function formatHashes(hashes: readonly Hash[]): string {
  let text = '[';
  for (const one of hashes) text += `${text.length > 1 ? ',' : ''}"${toBase64(one)}"`;
  return `${text}]`;
}

function parseIncluded({
  entry,
  index,
  proof,
}: Shaped<typeof SHAPE>['keys'][number]): IncludedEntry {
  return {
    entry: parseBase64(entry, 'entry'),
    index: leafIndex(index),
    proof: proof.map((item) => hash(parseBase64(item, 'proof'))),
  };
}

function parseDisclosed({
  disclosure,
  body,
  body_file,
}: Shaped<typeof disclosed>): ReceiptDisclosure {
  return {
    disclosure,
    ...(body === undefined ? {} : { body: parseBase64(body, 'body') }),
    ...(body_file === undefined ? {} : { body_file }),
  };
}

function formatDisclosed({ disclosure, body, body_file }: ReceiptDisclosure) {
  return {
    disclosure,
    ...(body === undefined ? {} : { body: toBase64(body) }),
    ...(body_file === undefined ? {} : { body_file }),
  };
}
