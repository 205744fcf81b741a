/**
 * Which heads did Rekor take up that were signed by a log's anchor key?
 *
 * What a log asked for it knows. What it did not ask for, and is signed by its key all the same, was signed
 * by another copy of it, or by itself before data was lost (P2). So a log's files of entries are read on from
 * where they were read before, and every entry by one of the keys is told.
 *
 *     {"key_id": "…", "size": 12345, "v": 1}     of which log, and how many of its entries were read
 *
 * Nobody's word is taken for an entry: the signature in it shows that the key signed such a head, whatever
 * Rekor says of it. What Rekor leaves out of its files is not seen here; those who watch it see that.
 */
import { equalBytes, parseBase64, toBase64, utf8 } from '../core/bytes.ts';
import { canonicalize, parseCanonical } from '../core/canonical.ts';
import { checkEcdsaDigest } from '../core/ecdsa.ts';
import { SteleError } from '../core/errors.ts';
import { ecdsaPoint, type PublicKey } from '../core/keys.ts';
import { TILE_WIDTH } from '../core/limits.ts';
import { base64, int, object, read } from '../core/schema.ts';
import { readHashedRekordV2, type SignedDigest } from '../core/sigstore/hashedrekord.ts';
import type { UsableLog } from '../core/sigstore/trusted-root.ts';
import { HASH_BYTES } from '../core/units.ts';

export interface FoundHead extends SignedDigest {
  /** For people: which entry of which log. */
  readonly where: string;
}

export interface Searched {
  readonly found: readonly FoundHead[];
  /** What the next search goes on from. */
  readonly mark: Uint8Array;
  /** Entries that are there and were not read: another search reads on. */
  readonly unread: number;
}

/** A whole log is not read at once: files of 256 entries of some 600 bytes each. */
const BUNDLES_MAX = 64;

/** Bytes of a file of entries: a request that Rekor takes has at most 32 KiB, and most have under one. */
export const REKOR_BUNDLE_BYTES_MAX = 8_388_608;

const MARK = object({ v: int(1, 1), key_id: base64(HASH_BYTES, true), size: int() }, {});

const WHAT = 'where a search of rekor is';

export interface Searching {
  readonly log: UsableLog;
  /** Of its newest checkpoint, verified. */
  readonly size: number;
  /** Base64 SPKIs and such are compared as text, so that of a stranger's entries only those that matter are read. */
  readonly keys: readonly PublicKey[];
  /** Where the last search ended; without it this one begins at `begin`. */
  readonly mark: Uint8Array | undefined;
  readonly begin: number;
  /** The entries of one file, in order. */
  readonly bundle: (index: number, width: number) => Promise<readonly Uint8Array[]>;
}

/** Reads on. Throws what `bundle` throws, `malformed` for a file that is not one. */
export async function searchRekor(searching: Searching): Promise<Searched> {
  const { log, size, keys, bundle } = searching;
  const texts = keys.map((key) => [toBase64(key.spki), key] as const);
  const found: FoundHead[] = [];
  let at = beginOf(searching);
  for (let read = 0; at < size && read < BUNDLES_MAX; read++) {
    const index = Math.floor(at / TILE_WIDTH);
    const first = index * TILE_WIDTH;
    const width = Math.min(TILE_WIDTH, size - first);
    const entries = await bundle(index, width);
    for (let i = at - first; i < width; i++) {
      const body = entries[i];
      if (body === undefined) continue;
      const head = headIn(body, texts);
      if (head === undefined) continue;
      found.push({ ...head, where: `entry ${first + i} of ${log.baseUrl}` });
    }
    at = first + width;
  }
  const mark = utf8(canonicalize({ v: 1, key_id: toBase64(log.keyId), size: at }));
  return { found, mark, unread: Math.max(0, size - at) };
}

/** Of another log than before nothing was read. */
function beginOf({ log, mark, begin }: Searching): number {
  if (mark === undefined) return begin;
  const { key_id, size } = read(MARK, parseCanonical(mark, WHAT), WHAT);
  return equalBytes(parseBase64(key_id, WHAT), log.keyId) ? size : 0;
}

/** A head that one of the keys signed; nothing for what is anybody else's. */
function headIn(
  body: Uint8Array,
  keys: readonly (readonly [text: string, key: PublicKey])[],
): SignedDigest | undefined {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1');
  const key = keys.find(([spki]) => text.includes(spki))?.[1];
  if (key === undefined) return undefined;
  try {
    const head = readHashedRekordV2(body);
    if (head.key.keyid !== key.keyid) return undefined;
    checkEcdsaDigest('ecdsa-p256', ecdsaPoint('ecdsa-p256', key.spki), head.digest, head.signature);
    return head;
  } catch (error) {
    // Anybody may log anything with anybody's key in it; what that key did not sign says nothing of it.
    if (error instanceof SteleError) return undefined;
    throw error;
  }
}
