/**
 * What does Rekor log of a head, and what is it asked?
 *
 * A *hashedrekord*: the SHA-256 of a note text, a signature over that text, and the key, never the text
 * itself. What is hashed into Rekor's tree is the entry in its canonical spelling, which follows from these
 * three parts alone. So an entry is not read and compared part by part: it is made again, and its bytes
 * are the expected ones or not.
 *
 *     version 0.0.1    Rekor v1; the digest in hex, the key as the PEM of its SPKI. The request is the entry.
 *     version 0.0.2    Rekor v2; everything in base64, the key as the DER of its SPKI, and its kind by name.
 *
 * Rekor checks a signature against the digest that it is given. That leaves out plain Ed25519, which signs
 * no digest, and is why heads have an anchor key of P-256.
 *
 * [sigstore/rekor, pkg/types/hashedrekord] [sigstore/rekor-tiles, api/proto]
 */
import { equalBytes, parseBase64, parseHex, parseUtf8, toBase64, toHex, utf8 } from '../bytes.ts';
import { canonicalize } from '../canonical.ts';
import { invariant, malformed, type SteleError, shown, unverified } from '../errors.ts';
import { isJsonObject, type Json, parseJson } from '../json.ts';
import { type PublicKey, parsePublicKey } from '../keys.ts';
import { SIGNATURE_BYTES_MAX } from '../limits.ts';
import { base64, constant, object, pattern, read } from '../schema.ts';
import { HASH_BYTES, type Hash, hash } from '../units.ts';

/** The two generations of Rekor. */
export type RekorVersion = 1 | 2;

export interface SignedDigest {
  readonly digest: Hash;
  /** DER. */
  readonly signature: Uint8Array;
  /** ECDSA P-256. */
  readonly key: PublicKey;
}

export const ENTRY_KIND = 'hashedrekord';

export const ENTRY_VERSIONS = { 1: '0.0.1', 2: '0.0.2' } as const satisfies Record<
  RekorVersion,
  string
>;

const KEY_DETAILS = 'PKIX_ECDSA_P256_SHA_256';

/** Bytes of a key in a request: a P-256 key has 91 in DER and 178 in PEM. */
const KEY_BYTES_MAX = 256;

/** The entry's bytes: a leaf of Rekor's tree. */
export function hashedRekord(version: RekorVersion, signed: SignedDigest): Uint8Array {
  return utf8(canonicalize(version === 1 ? entryV1(signed) : entryV2(signed)));
}

/** The body of the request that has it logged. */
export function hashedRekordRequest(version: RekorVersion, signed: SignedDigest): Uint8Array {
  if (version === 1) return hashedRekord(1, signed);
  return utf8(
    JSON.stringify({
      hashedRekordRequestV002: {
        digest: toBase64(signed.digest),
        signature: { content: toBase64(signed.signature), verifier: verifierOf(signed.key) },
      },
    }),
  );
}

const REQUEST_V1 = object(
  {
    apiVersion: constant(ENTRY_VERSIONS[1]),
    kind: constant(ENTRY_KIND),
    spec: object(
      {
        data: object(
          {
            hash: object(
              {
                algorithm: constant('sha256'),
                value: pattern(/^[0-9a-f]{64}$/, 'a hash in hex', 64),
              },
              {},
            ),
          },
          {},
        ),
        signature: object(
          {
            content: base64(SIGNATURE_BYTES_MAX),
            publicKey: object({ content: base64(KEY_BYTES_MAX) }, {}),
          },
          {},
        ),
      },
      {},
    ),
  },
  {},
);

const SIGNATURE_V2 = object(
  {
    content: base64(SIGNATURE_BYTES_MAX),
    verifier: object(
      {
        keyDetails: constant(KEY_DETAILS),
        publicKey: object({ rawBytes: base64(KEY_BYTES_MAX) }, {}),
      },
      {},
    ),
  },
  {},
);

const REQUEST_V2 = object(
  {
    hashedRekordRequestV002: object(
      {
        digest: base64(HASH_BYTES, true),
        signature: SIGNATURE_V2,
      },
      {},
    ),
  },
  {},
);

/** Reads a request that was made here; throws `malformed` unless it is spelled as it is made. */
export function readHashedRekordRequest(version: RekorVersion, request: Uint8Array): SignedDigest {
  const what = `request to rekor v${version}`;
  const json = parseJson(request, what);
  const signed = version === 1 ? signedOfV1(json, what) : signedOfV2(json, what);
  if (!equalBytes(hashedRekordRequest(version, signed), request)) {
    throw malformed(what, 'not in its one spelling');
  }
  return signed;
}

const ENTRY_V2 = object(
  {
    apiVersion: constant(ENTRY_VERSIONS[2]),
    kind: constant(ENTRY_KIND),
    spec: object(
      {
        hashedRekordV002: object(
          {
            data: object({ algorithm: constant('SHA2_256'), digest: base64(HASH_BYTES, true) }, {}),
            signature: SIGNATURE_V2,
          },
          {},
        ),
      },
      {},
    ),
  },
  {},
);

/** Reads an entry of Rekor v2 about a head; throws `malformed` for any other, and for any other spelling. */
export function readHashedRekordV2(entry: Uint8Array): SignedDigest {
  const what = 'rekor entry';
  const { data, signature } = read(ENTRY_V2, parseJson(entry, what), what).spec.hashedRekordV002;
  const signed = {
    digest: hash(parseBase64(data.digest, what)),
    signature: parseBase64(signature.content, what),
    key: keyOf(parseBase64(signature.verifier.publicKey.rawBytes, what)),
  };
  if (!equalBytes(hashedRekord(2, signed), entry)) throw malformed(what, 'not in its one spelling');
  return signed;
}

function signedOfV1(json: Json, what: string): SignedDigest {
  const { data, signature } = read(REQUEST_V1, json, what).spec;
  const pem = parseUtf8(parseBase64(signature.publicKey.content, what), what);
  return {
    digest: hash(parseHex(data.hash.value, what)),
    signature: parseBase64(signature.content, what),
    key: keyOf(parseBase64(pem.replace(/-----[A-Z ]+-----|\n/g, ''), what)),
  };
}

function signedOfV2(json: Json, what: string): SignedDigest {
  const { digest, signature } = read(REQUEST_V2, json, what).hashedRekordRequestV002;
  return {
    digest: hash(parseBase64(digest, what)),
    signature: parseBase64(signature.content, what),
    key: keyOf(parseBase64(signature.verifier.publicKey.rawBytes, what)),
  };
}

function keyOf(spki: Uint8Array): PublicKey {
  return parsePublicKey('ecdsa-p256', spki);
}

/** Throws `unverified`, with the member that differs, unless an entry is the expected one to the byte. */
export function checkHashedRekord(entry: Uint8Array, expected: Uint8Array): void {
  if (!equalBytes(entry, expected)) throw differs(entry, expected);
}

function entryV1({ digest, signature, key }: SignedDigest): Json {
  return {
    apiVersion: ENTRY_VERSIONS[1],
    kind: ENTRY_KIND,
    spec: {
      data: { hash: { algorithm: 'sha256', value: toHex(digest) } },
      signature: {
        content: toBase64(signature),
        publicKey: { content: toBase64(utf8(pemOf(key.spki))) },
      },
    },
  };
}

function entryV2({ digest, signature, key }: SignedDigest): Json {
  return {
    apiVersion: ENTRY_VERSIONS[2],
    kind: ENTRY_KIND,
    spec: {
      hashedRekordV002: {
        data: { algorithm: 'SHA2_256', digest: toBase64(digest) },
        signature: { content: toBase64(signature), verifier: verifierOf(key) },
      },
    },
  };
}

function verifierOf(key: PublicKey) {
  invariant(key.alg === 'ecdsa-p256', 'heads are anchored with a key of P-256');
  return { publicKey: { rawBytes: toBase64(key.spki) }, keyDetails: KEY_DETAILS };
}

/** As Go prints it, lines of 64 characters: another spelling would be another entry [RFC 7468 §2]. */
function pemOf(spki: Uint8Array): string {
  const lines = toBase64(spki).match(/.{1,64}/g) ?? [];
  return `-----BEGIN PUBLIC KEY-----\n${lines.join('\n')}\n-----END PUBLIC KEY-----\n`;
}

/** Which part of a stranger's entry is not what was expected. */
function differs(entry: Uint8Array, expected: Uint8Array): SteleError {
  const what = 'rekor entry';
  const where = difference(parseJson(entry, what), parseJson(expected, what), '');
  return where === undefined
    ? unverified(what, 'what was anchored, but not in its canonical spelling')
    : unverified(`${what}: ${where}`, 'it is not what was anchored');
}

/** The first member that is not the same, and the value of a short one. */
function difference(value: Json | undefined, expected: Json, path: string): string | undefined {
  if (!isJsonObject(expected)) {
    if (value === expected) return undefined;
    return `${path} ${typeof value === 'string' ? shown(value) : shown(JSON.stringify(value) ?? 'missing')}`;
  }
  if (!isJsonObject(value)) return path;
  const names = new Set([...Object.keys(expected), ...Object.keys(value)]);
  for (const name of names) {
    const inner = path === '' ? name : `${path}.${name}`;
    const wanted = expected[name];
    if (wanted === undefined) return inner;
    const found = difference(value[name], wanted, inner);
    if (found !== undefined) return found;
  }
  return undefined;
}
