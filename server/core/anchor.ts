/**
 * What does a receipt say of parties outside?
 *
 *     {"of":{"origin":"…","root":"…","size":42},"proof":["…"],"type":"rekor","v":1,…}
 *
 * An anchor is about one head, which need not be the receipt's: then it brings the entry's path to that
 * head's root. What the party said is in the members of its type: `instance` and `bundle` for `rekor`, `response`
 * for `rfc3161` [docs/formats.md]. Anchors of types that are not known are kept, and count for nothing.
 */
import { parseBase64, toBase64, utf8 } from './bytes.ts';
import { formatCheckpoint } from './checkpoint.ts';
import { isJsonObject, type Json, type JsonObject } from './json.ts';
import { PROOF_HASHES_MAX } from './limits.ts';
import { anyObject, base64, constant, int, list, object, read, text } from './schema.ts';
import { HASH_BYTES, type Hash, hash, type TreeSize, treeSize } from './units.ts';

/** The head that an anchor is about. */
export interface AnchorHead {
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
}

interface AnchorBase {
  readonly of: AnchorHead;
  /** The entry's path to the root of `of`; absent where that is the receipt's own head. */
  readonly proof: readonly Hash[] | undefined;
}

/** A signature under the head's text, taken up by a Rekor log: a Sigstore bundle. */
export interface RekorAnchor extends AnchorBase {
  readonly type: 'rekor';
  /** Where, as a hint for people: what counts is the trust file. */
  readonly instance: { readonly base_url: string; readonly key_id: string; readonly api: number };
  readonly bundle: JsonObject;
}

/** The head's text, stamped by an RFC 3161 authority: its whole response. */
export interface TimestampAnchor extends AnchorBase {
  readonly type: 'rfc3161';
  readonly response: Uint8Array;
  readonly hint: string | undefined;
}

export type Anchor = RekorAnchor | TimestampAnchor;

/** What is signed and stamped: the text of the head's note, which has no other spelling. */
export function anchoredText({ origin, size, root }: AnchorHead): Uint8Array {
  return utf8(formatCheckpoint({ origin, size, root }));
}

/** The member of a receipt for what was kept of a target's answer. */
export function withHead(
  kept: JsonObject,
  { origin, size, root }: AnchorHead,
  proof: readonly Hash[] | undefined,
): JsonObject {
  return {
    ...kept,
    of: { origin, root: toBase64(root), size },
    ...(proof === undefined ? {} : { proof: proof.map((one) => toBase64(one)) }),
  };
}

/** Bytes of a time-stamp response, as certificates make them. */
const RESPONSE_BYTES_MAX = 65_536;

const base = {
  v: int(1, 1),
  of: object({ origin: text(255), size: int(1), root: base64(HASH_BYTES, true) }, {}),
};
const optional = { proof: list(base64(HASH_BYTES, true), PROOF_HASHES_MAX) };

const REKOR = object(
  {
    ...base,
    type: constant('rekor'),
    instance: object(
      { base_url: text(2_048), key_id: base64(HASH_BYTES, true), api: int(1, 2) },
      {},
    ),
    bundle: anyObject,
  },
  optional,
);

const TIMESTAMP = object(
  {
    ...base,
    type: constant('rfc3161'),
    imprint: constant('note-text'),
    response: base64(RESPONSE_BYTES_MAX),
  },
  { ...optional, hint: text(1_024) },
);

/** Reads a member of a receipt's `anchors`; nothing where its type is not known here. Throws `malformed`. */
export function parseAnchor(json: Json, what: string): Anchor | undefined {
  const type = isJsonObject(json) ? json.type : undefined;
  if (type === 'rekor') {
    const { of, proof, instance, bundle } = read(REKOR, json, what);
    return { type, ...baseOf(of, proof), instance, bundle };
  }
  if (type === 'rfc3161') {
    const { of, proof, response, hint } = read(TIMESTAMP, json, what);
    return { type, ...baseOf(of, proof), response: parseBase64(response, 'response'), hint };
  }
  return undefined;
}

function baseOf(
  { origin, size, root }: { readonly origin: string; readonly size: number; readonly root: string },
  proof: readonly string[] | undefined,
): AnchorBase {
  return {
    of: { origin, size: treeSize(size), root: hash(parseBase64(root, 'root')) },
    proof: proof?.map((one) => hash(parseBase64(one, 'proof'))),
  };
}
