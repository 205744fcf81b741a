/**
 * What does Rekor say of an entry that it took up?
 *
 *     {"logIndex": "121904283",                         v1: over all shards; v2: in this log
 *      "logId": {"keyId": "…"},
 *      "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
 *      "integratedTime": "1795231520",                  v1 alone
 *      "inclusionPromise": {"signedEntryTimestamp": "…"},                                  v1 alone
 *      "inclusionProof": {"logIndex": "21", "rootHash": "…", "treeSize": "22", "hashes": ["…"],
 *                         "checkpoint": {"envelope": "rekor.example.org - 1193…\n22\n…"}},
 *      "canonicalizedBody": "…"}
 *
 * Rekor v1 has two indexes: the one on top counts over all shards that there ever were, and is what was
 * promised; the one in the proof counts in its shard, and is where the leaf lies. In v2 they are the same.
 *
 * Reading says that the form is right; `rekor-anchor.ts` says what it is worth.
 *
 * [sigstore/protobuf-specs, sigstore_rekor.proto]
 */
import { parseBase64, parseHex, toBase64, toHex, utf8 } from '../bytes.ts';
import { parseDecimal } from '../decimal.ts';
import { malformed, shown } from '../errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '../json.ts';
import {
  ENTRY_BYTES_MAX,
  NOTE_BYTES_MAX,
  PROOF_HASHES_MAX,
  SIGNATURE_BYTES_MAX,
} from '../limits.ts';
import { base64, int, list, object, pattern, read, type Shaped, text } from '../schema.ts';
import { HASH_BYTES, type Hash, hash, type LeafIndex, leafIndex, treeSize } from '../units.ts';
import { decimal, decimalOr0, type Known, known } from './json.ts';

export interface RekorProof {
  /** Where the leaf lies in the tree of the checkpoint. */
  readonly index: LeafIndex;
  readonly hashes: readonly Hash[];
  /** A signed note, as it came. */
  readonly checkpoint: string;
  /** What the checkpoint says, said again by whoever made the proof. */
  readonly treeSize: number;
  readonly rootHash: Hash;
}

export interface TlogEntry {
  readonly index: LeafIndex;
  /** The log's own ID, 32 bytes. */
  readonly keyId: Hash;
  readonly kind: string;
  readonly version: string;
  /** Seconds since 1970; worth nothing without the promise. */
  readonly integratedTime: number;
  /** The signed entry timestamp of Rekor v1. */
  readonly promise?: Uint8Array;
  readonly proof: RekorProof;
  /** The leaf. */
  readonly body: Uint8Array;
}

/** The shape of an entry, for those who carry one. */
export const TLOG_ENTRY = object(
  {
    logId: object({ keyId: base64(HASH_BYTES, true) }, {}),
    kindVersion: object({ kind: text(64), version: text(64) }, {}),
    inclusionProof: object(
      {
        rootHash: base64(HASH_BYTES, true),
        treeSize: decimal,
        checkpoint: object({ envelope: text(NOTE_BYTES_MAX) }, {}),
      },
      { logIndex: decimal, hashes: list(base64(HASH_BYTES, true), PROOF_HASHES_MAX) },
    ),
    canonicalizedBody: base64(ENTRY_BYTES_MAX),
  },
  {
    logIndex: decimal,
    integratedTime: decimal,
    inclusionPromise: object({ signedEntryTimestamp: base64(SIGNATURE_BYTES_MAX) }, {}),
  },
);

const KNOWN = {
  logIndex: true,
  logId: { keyId: true },
  kindVersion: { kind: true, version: true },
  integratedTime: true,
  inclusionPromise: { signedEntryTimestamp: true },
  inclusionProof: {
    logIndex: true,
    rootHash: true,
    treeSize: true,
    hashes: true,
    checkpoint: { envelope: true },
  },
  canonicalizedBody: true,
} as const satisfies Known;

const WHAT = 'rekor entry';

/** An entry from JSON of the shape above. */
export function entryOf(json: Shaped<typeof TLOG_ENTRY>): TlogEntry {
  const { inclusionProof: proof, inclusionPromise: promise } = json;
  return {
    index: leafIndex(decimalOr0(json.logIndex, WHAT)),
    keyId: hash(parseBase64(json.logId.keyId, WHAT)),
    kind: json.kindVersion.kind,
    version: json.kindVersion.version,
    integratedTime: decimalOr0(json.integratedTime, WHAT),
    ...(promise === undefined ? {} : { promise: parseBase64(promise.signedEntryTimestamp, WHAT) }),
    proof: {
      index: leafIndex(decimalOr0(proof.logIndex, WHAT)),
      hashes: (proof.hashes ?? []).map((item) => hash(parseBase64(item, WHAT))),
      checkpoint: proof.checkpoint.envelope,
      treeSize: treeSize(parseDecimal(proof.treeSize, WHAT)),
      rootHash: hash(parseBase64(proof.rootHash, WHAT)),
    },
    body: parseBase64(json.canonicalizedBody, WHAT),
  };
}

/** The JSON of an entry, whole but for what Rekor v2 does not have. */
export function tlogEntryJson(entry: TlogEntry): JsonObject {
  const { proof, promise } = entry;
  return {
    logIndex: String(entry.index),
    logId: { keyId: toBase64(entry.keyId) },
    kindVersion: { kind: entry.kind, version: entry.version },
    ...(promise === undefined
      ? {}
      : {
          integratedTime: String(entry.integratedTime),
          inclusionPromise: { signedEntryTimestamp: toBase64(promise) },
        }),
    inclusionProof: {
      logIndex: String(proof.index),
      rootHash: toBase64(proof.rootHash),
      treeSize: String(proof.treeSize),
      hashes: proof.hashes.map(toBase64),
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: toBase64(entry.body),
  };
}

/** Reads what Rekor v2 answers; throws `malformed`. */
export function parseAnswerV2(bytes: Uint8Array): TlogEntry {
  const what = 'answer of rekor v2';
  return entryOf(read(TLOG_ENTRY, known(parseJson(bytes, what), KNOWN), what));
}

const ENTRY_V1 = object(
  {
    body: base64(ENTRY_BYTES_MAX),
    integratedTime: int(),
    logID: pattern(/^[0-9a-f]{64}$/, '64 lower-case hex digits', 64),
    logIndex: int(),
    verification: object(
      {
        signedEntryTimestamp: base64(SIGNATURE_BYTES_MAX),
        inclusionProof: object(
          {
            checkpoint: text(NOTE_BYTES_MAX),
            hashes: list(pattern(/^[0-9a-f]{64}$/, 'a hash in hex', 64), PROOF_HASHES_MAX),
            logIndex: int(),
            rootHash: pattern(/^[0-9a-f]{64}$/, 'a hash in hex', 64),
            treeSize: int(),
          },
          {},
        ),
      },
      {},
    ),
  },
  {},
);

const KNOWN_V1 = {
  body: true,
  integratedTime: true,
  logID: true,
  logIndex: true,
  verification: {
    signedEntryTimestamp: true,
    inclusionProof: {
      checkpoint: true,
      hashes: true,
      logIndex: true,
      rootHash: true,
      treeSize: true,
    },
  },
} as const satisfies Known;

/** The ID of an entry of Rekor v1: its tree's, where that is said, and the hash of its leaf. */
const UUID = /^([0-9a-f]{16})?[0-9a-f]{64}$/;

/** Reads what Rekor v1 answers, one entry under its ID; throws `malformed`. */
export function parseAnswerV1(bytes: Uint8Array): TlogEntry {
  const what = 'answer of rekor v1';
  const json = parseJson(bytes, what);
  const [only, ...others] = isJsonObject(json) ? Object.entries(json) : [];
  if (only === undefined || others.length > 0) throw malformed(what, 'not an object of one entry');
  const [uuid, value] = only;
  if (!UUID.test(uuid)) throw malformed(what, `${shown(uuid)} is not the ID of an entry`);
  const entry = read(ENTRY_V1, known(value, KNOWN_V1), what);
  const body = parseBase64(entry.body, what);
  const { inclusionProof: proof, signedEntryTimestamp } = entry.verification;
  return {
    index: leafIndex(entry.logIndex),
    keyId: hash(parseHex(entry.logID, what)),
    ...kindOf(body),
    integratedTime: entry.integratedTime,
    promise: parseBase64(signedEntryTimestamp, what),
    proof: {
      index: leafIndex(proof.logIndex),
      hashes: proof.hashes.map((item) => hash(parseHex(item, what))),
      checkpoint: proof.checkpoint,
      treeSize: treeSize(proof.treeSize),
      rootHash: hash(parseHex(proof.rootHash, what)),
    },
    body,
  };
}

/** Rekor v1 says an entry's kind only in the entry. */
function kindOf(body: Uint8Array): { readonly kind: string; readonly version: string } {
  const json = parseJson(body, WHAT);
  const { kind, apiVersion } = isJsonObject(json) ? json : {};
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
    throw malformed(WHAT, 'it does not say its kind and version');
  }
  return { kind, version: apiVersion };
}

/** What Rekor v1 signs when it promises an entry: JCS of these four, with the index over all shards. */
export function promiseMessage(entry: TlogEntry): Uint8Array {
  return utf8(
    `{"body":"${toBase64(entry.body)}","integratedTime":${entry.integratedTime},` +
      `"logID":"${toHex(entry.keyId)}","logIndex":${entry.index}}`,
  );
}
