/**
 * What does a Sigstore bundle hold?
 *
 *     {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
 *      "verificationMaterial": {
 *        "publicKey": {"hint": "…"},                        base64 of SHA-256 of the key's SPKI
 *        "tlogEntries": [{…}],                              one: tlog-entry.ts
 *        "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "…"}]}},
 *      "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": "…"}, "signature": "…"}}
 *
 * The format of Sigstore's own tools, which verify such a bundle unchanged against a note text, the anchor
 * key and a trusted root. Of what the format allows, only what an anchor is made of is taken: a key and no
 * certificate, one entry, a signature over a message and no envelope.
 *
 * A time stamp in it is over the signature's bytes, and the whole response, not the token alone.
 *
 * [sigstore/protobuf-specs, sigstore_bundle.proto]
 */
import { parseBase64, toBase64, utf8 } from '../bytes.ts';
import { canonicalize } from '../canonical.ts';
import { SteleError } from '../errors.ts';
import { type Json, type JsonObject, parseJson } from '../json.ts';
import { SIGNATURE_BYTES_MAX, TIMESTAMP_BYTES_MAX } from '../limits.ts';
import { base64, constant, list, object, read } from '../schema.ts';
import { HASH_BYTES, type Hash, hash } from '../units.ts';
import { entryOf, TLOG_ENTRY, type TlogEntry, tlogEntryJson } from './tlog-entry.ts';

export const SIGSTORE_BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

export interface SigstoreBundle {
  /** SHA-256 of the SPKI of the key that signed. */
  readonly hint: Hash;
  readonly entry: TlogEntry;
  /** Responses of time-stamping authorities over the signature, DER. */
  readonly timestamps: readonly Uint8Array[];
  readonly digest: Hash;
  readonly signature: Uint8Array;
}

/** Bytes of a bundle: an entry, a checkpoint with every line that it may have, and the time stamps. */
export const SIGSTORE_BUNDLE_BYTES_MAX = 1_048_576;

/** Time stamps in one bundle: several authorities, for whom one is not enough. */
export const TIMESTAMPS_MAX = 8;

const SHAPE = object(
  {
    mediaType: constant(SIGSTORE_BUNDLE_TYPE),
    verificationMaterial: object(
      {
        publicKey: object({ hint: base64(HASH_BYTES, true) }, {}),
        tlogEntries: list(TLOG_ENTRY, 1, 1),
      },
      {
        timestampVerificationData: object(
          {},
          {
            rfc3161Timestamps: list(
              object({ signedTimestamp: base64(TIMESTAMP_BYTES_MAX) }, {}),
              TIMESTAMPS_MAX,
            ),
          },
        ),
      },
    ),
    messageSignature: object(
      {
        messageDigest: object(
          { algorithm: constant('SHA2_256'), digest: base64(HASH_BYTES, true) },
          {},
        ),
        signature: base64(SIGNATURE_BYTES_MAX),
      },
      {},
    ),
  },
  {},
);

const WHAT = 'sigstore bundle';

/** Reads a bundle from a stranger's bytes; throws `malformed`, or `too_large`. */
export function parseSigstoreBundle(bytes: Uint8Array): SigstoreBundle {
  if (bytes.length > SIGSTORE_BUNDLE_BYTES_MAX) {
    throw new SteleError(
      'too_large',
      `${WHAT}: ${bytes.length} bytes where at most ${SIGSTORE_BUNDLE_BYTES_MAX} are allowed`,
    );
  }
  return readSigstoreBundle(parseJson(bytes, WHAT));
}

/** The same from JSON that is already read, such as a member of a receipt. */
export function readSigstoreBundle(json: Json): SigstoreBundle {
  const { verificationMaterial, messageSignature } = read(SHAPE, json, WHAT);
  const { publicKey, tlogEntries, timestampVerificationData = {} } = verificationMaterial;
  const [entry] = tlogEntries.map(entryOf) as [TlogEntry];
  const timestamps = timestampVerificationData.rfc3161Timestamps ?? [];
  return {
    hint: hash(parseBase64(publicKey.hint, WHAT)),
    entry,
    timestamps: timestamps.map((item) => parseBase64(item.signedTimestamp, WHAT)),
    digest: hash(parseBase64(messageSignature.messageDigest.digest, WHAT)),
    signature: parseBase64(messageSignature.signature, WHAT),
  };
}

/** The JSON of a bundle, which `readSigstoreBundle` reads back. */
export function sigstoreBundleJson(bundle: SigstoreBundle): JsonObject {
  const { hint, entry, timestamps, digest, signature } = bundle;
  const stamps = timestamps.map((item) => ({ signedTimestamp: toBase64(item) }));
  return {
    mediaType: SIGSTORE_BUNDLE_TYPE,
    verificationMaterial: {
      publicKey: { hint: toBase64(hint) },
      tlogEntries: [tlogEntryJson(entry)],
      ...(stamps.length === 0 ? {} : { timestampVerificationData: { rfc3161Timestamps: stamps } }),
    },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: toBase64(digest) },
      signature: toBase64(signature),
    },
  };
}

/** A bundle as a file, for other people's tools. */
export function formatSigstoreBundle(bundle: SigstoreBundle): Uint8Array {
  return utf8(canonicalize(sigstoreBundleJson(bundle)));
}
