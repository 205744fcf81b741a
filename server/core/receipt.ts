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
import { parseBase64, toBase64, utf8 } from './bytes.ts';
import { canonicalize, parseCanonical } from './canonical.ts';
import { SteleError } from './errors.ts';
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

const SHAPE = object(
  {
    format: constant('stele.receipt/1'),
    origin: text(255),
    ...included,
    checkpoint: text(NOTE_BYTES_MAX),
    keys: list(object(included, {}), ENTRY_SIGNATURES_MAX + 1),
    anchors: list(anyObject, ANCHORS_MAX),
  },
  { disclosures: list(disclosed, DISCLOSURES_MAX, 1) },
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

/** The bytes of a receipt; throws `malformed` if a part breaks the format. */
export function formatReceipt(receipt: Receipt): Uint8Array {
  const { origin, checkpoint, keys, anchors, disclosures } = receipt;
  const json: Json = {
    format: 'stele.receipt/1',
    origin,
    ...formatIncluded(receipt),
    checkpoint,
    keys: keys.map(formatIncluded),
    anchors,
    ...(disclosures === undefined ? {} : { disclosures: disclosures.map(formatDisclosed) }),
  };
  read(SHAPE, json, WHAT);
  return utf8(`${canonicalize(json)}\n`);
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

function formatIncluded({ entry, index, proof }: IncludedEntry) {
  return { entry: toBase64(entry), index, proof: proof.map((item) => toBase64(item)) };
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
