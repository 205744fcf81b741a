/**
 * Which entry does this JSON envelope stand for?
 *
 *     {"payload": "e30=", "payloadType": "…", "signatures": [{"keyid": "…", "sig": "…"}]}
 *
 * A DSSE envelope is transport: it is turned into the entry by the rules of `entry.ts`, so a submitter
 * can compute the leaf hash before sending. Members are exactly these, base64 is strict, and nothing
 * follows the object; white space and the order of members do not matter, since none of it is logged.
 *
 * With a member `window` in a signature it is `ENVELOPE_JSON_TYPE`, without one also standard DSSE.
 */
import { parseBase64, toBase64 } from './bytes.ts';
import { canonicalize } from './canonical.ts';
import { parseJson } from './json.ts';
import {
  ENTRY_BYTES_MAX,
  ENTRY_SIGNATURES_MAX,
  PAYLOAD_TYPE_BYTES_MAX,
  SIGNATURE_BYTES_MAX,
  WINDOW_SIZE_MAX,
} from './limits.ts';
import { base64, int, list, object, pattern, read, type Shaped, text } from './schema.ts';
import { checkEntry, type Entry, type EntrySignature } from './statement.ts';
import { HASH_BYTES, hash } from './units.ts';

export const DSSE_JSON_TYPE = 'application/vnd.dsse.envelope.v1+json';
export const ENVELOPE_JSON_TYPE = 'application/vnd.stele.envelope.v1+json';

/** Hashes in a path of the largest window. */
const PATH_MAX = Math.log2(WINDOW_SIZE_MAX);

const SIGNATURE = {
  keyid: pattern(/^[0-9a-f]{64}$/, '64 lower-case hex digits'),
  sig: base64(SIGNATURE_BYTES_MAX),
};

const WINDOW = object(
  {
    index: int(0, WINDOW_SIZE_MAX - 1),
    size: int(1, WINDOW_SIZE_MAX),
    hashes: list(base64(HASH_BYTES, true), PATH_MAX),
  },
  {},
);

const STELE = envelope({ window: WINDOW });
const DSSE = envelope({});

function envelope<O extends { window?: typeof WINDOW }>(optional: O) {
  return object(
    {
      payload: base64(ENTRY_BYTES_MAX),
      payloadType: text(PAYLOAD_TYPE_BYTES_MAX),
      signatures: list(object(SIGNATURE, { ...optional }), ENTRY_SIGNATURES_MAX, 1),
    },
    {},
  );
}

/**
 * Reads an envelope from a stranger's bytes; throws `malformed`. Whether the entry is too large shows when
 * it is encoded. With `windows: false`, the rule of the standard media type, a member `window` is unknown.
 */
export function parseEnvelopeJson(
  bytes: Uint8Array,
  options: { readonly windows?: boolean } = {},
): Entry {
  const what = 'envelope';
  const json = parseJson(bytes, what, { integersOnly: true });
  if (options.windows === false) read(DSSE, json, what);
  const { payload, payloadType, signatures } = read(STELE, json, what);
  const entry: Entry = {
    payloadType,
    payload: parseBase64(payload, `${what}: payload`),
    signatures: signatures.map(({ keyid, sig, window }) => ({
      keyid,
      sig: parseBase64(sig, `${what}: sig`),
      ...(window === undefined ? {} : { window: parseWindow(window) }),
    })),
  };
  checkEntry(entry);
  return entry;
}

/** The envelope of an entry, in JCS. */
export function formatEnvelopeJson(entry: Entry): string {
  checkEntry(entry);
  return canonicalize({
    payload: toBase64(entry.payload),
    payloadType: entry.payloadType,
    signatures: entry.signatures.map(formatSignature),
  });
}

function formatSignature({ keyid, sig, window }: EntrySignature) {
  const signature = { keyid, sig: toBase64(sig) };
  if (window === undefined) return signature;
  const { index, size, hashes } = window;
  return { ...signature, window: { index, size, hashes: hashes.map((h) => toBase64(h)) } };
}

function parseWindow({ index, size, hashes }: Shaped<typeof WINDOW>) {
  return { index, size, hashes: hashes.map((h) => hash(parseBase64(h, 'window hash'))) };
}
