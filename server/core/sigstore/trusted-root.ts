/**
 * Which transparency logs and time-stamping authorities does a reader trust, and for when?
 *
 *     {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
 *      "tlogs": [{"baseUrl": "https://rekor.example.org", "hashAlgorithm": "SHA2_256",
 *                 "publicKey": {"rawBytes": "…", "keyDetails": "PKIX_ED25519",
 *                               "validFor": {"start": "2026-01-01T00:00:00Z"}},
 *                 "logId": {"keyId": "…"}}],
 *      "timestampAuthorities": [{"uri": "…", "certChain": {"certificates": [{"rawBytes": "…"}]},
 *                                "validFor": {"start": "2026-01-01T00:00:00Z"}}]}
 *
 * Sigstore's own format, so that its file can be taken as it is, and one for a private Rekor written like
 * it. It comes from outside whatever it judges. Its authorities for certificates are not read: heads are
 * signed by keys that are known otherwise.
 *
 * An instance that cannot be used (another kind of key, no begin of its validity) does not spoil the file;
 * it is kept with its flaw, which is then said where it is asked for.
 *
 * [sigstore/protobuf-specs, sigstore_trustroot.proto]
 */
import { equalBytes, parseBase64 } from '../bytes.ts';
import { malformed, SteleError, shown } from '../errors.ts';
import { type Json, parseJson } from '../json.ts';
import { type PublicKey, parsePublicKey } from '../keys.ts';
import { base64, list, object, oneOf, read, type Shaped, text } from '../schema.ts';
import { HASH_BYTES, type Hash, hash } from '../units.ts';
import { type Known, known, parseTime } from './json.ts';

/** From when to when something is to be trusted: both ends included. */
export interface Period {
  readonly startMs: number;
  readonly endMs?: number;
}

export interface UsableLog {
  readonly usable: true;
  /** Its address; of several that are listed the first. */
  readonly baseUrl: string;
  readonly baseUrls: readonly string[];
  /** What its entries call it by; the first four bytes are the key ID in its checkpoints. */
  readonly keyId: Hash;
  readonly key: PublicKey;
  /** One or more. */
  readonly validFor: readonly Period[];
}

export interface UnusableLog {
  readonly usable: false;
  readonly baseUrl: string;
  readonly keyId: Hash;
  /** Why it cannot be used. */
  readonly flaw: string;
}

/** One instance of Rekor. */
export type TrustedLogInstance = UsableLog | UnusableLog;

/** A time-stamping authority. */
export interface TrustedAuthority {
  /** For people. */
  readonly name: string;
  /** DER; the one that stamps first, then its issuers. */
  readonly chain: readonly Uint8Array[];
  /** Nothing where the file does not say from when: such an authority is not to be used. */
  readonly validFor: Period | undefined;
}

export interface TrustedRoot {
  readonly logs: readonly TrustedLogInstance[];
  readonly authorities: readonly TrustedAuthority[];
}

/** Bytes of a trusted root: the public one has 7 kB with two logs and one authority. */
export const TRUSTED_ROOT_BYTES_MAX = 1_048_576;

const LOGS_MAX = 256;
const AUTHORITIES_MAX = 64;
const CHAIN_MAX = 8;
const CERTIFICATE_BYTES_MAX = 8_192;

const WHAT = 'trusted root';

const MEDIA_TYPES = [
  'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  'application/vnd.dev.sigstore.trustedroot+json;version=0.2',
  'application/vnd.dev.sigstore.trustedroot.v0.1+json',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
] as const;

/** Others add members, and write null for what is not set. */
const KNOWN = {
  mediaType: true,
  tlogs: {
    baseUrl: true,
    hashAlgorithm: true,
    publicKey: { rawBytes: true, keyDetails: true, validFor: { start: true, end: true } },
    logId: { keyId: true },
    checkpointKeyId: { keyId: true },
  },
  timestampAuthorities: {
    subject: { organization: true, commonName: true },
    uri: true,
    certChain: { certificates: { rawBytes: true } },
    validFor: { start: true, end: true },
  },
} as const satisfies Known;

const period = object({}, { start: text(64), end: text(64) });
const keyId = object({ keyId: base64(HASH_BYTES, true) }, {});

const tlog = object(
  {
    baseUrl: text(512),
    publicKey: object({ rawBytes: base64(2_048), keyDetails: text(64) }, { validFor: period }),
    logId: keyId,
  },
  { hashAlgorithm: text(64), checkpointKeyId: keyId },
);

const authority = object(
  {
    certChain: object(
      { certificates: list(object({ rawBytes: base64(CERTIFICATE_BYTES_MAX) }, {}), CHAIN_MAX, 1) },
      {},
    ),
  },
  {
    subject: object({}, { organization: text(256), commonName: text(256) }),
    uri: text(512),
    validFor: period,
  },
);

const SHAPE = object(
  { mediaType: oneOf(MEDIA_TYPES) },
  { tlogs: list(tlog, LOGS_MAX), timestampAuthorities: list(authority, AUTHORITIES_MAX) },
);

/** Reads a file; throws `malformed`, or `too_large`. */
export function parseTrustedRoot(bytes: Uint8Array): TrustedRoot {
  if (bytes.length > TRUSTED_ROOT_BYTES_MAX) {
    throw new SteleError(
      'too_large',
      `${WHAT}: ${bytes.length} bytes where at most ${TRUSTED_ROOT_BYTES_MAX} are allowed`,
    );
  }
  return readTrustedRoot(parseJson(bytes, WHAT));
}

/** The same from JSON that is already read, such as a member of a trust file. */
export function readTrustedRoot(json: Json): TrustedRoot {
  const { tlogs = [], timestampAuthorities = [] } = read(SHAPE, known(json, KNOWN), WHAT);
  return {
    logs: merged(tlogs.map((item, i) => logOf(item, `${WHAT}: tlogs.[${i}]`))),
    authorities: timestampAuthorities.map((item, i) =>
      authorityOf(item, `${WHAT}: timestampAuthorities.[${i}]`),
    ),
  };
}

/** Whether a moment is within one of the periods. */
export function isWithin(periods: readonly Period[], ms: number): boolean {
  return periods.some(
    ({ startMs, endMs }) => startMs <= ms && (endMs === undefined || ms <= endMs),
  );
}

/** Periods in words. */
export function formatPeriods(periods: readonly Period[]): string {
  return periods
    .map(({ startMs, endMs }) => {
      const end = endMs === undefined ? 'on' : `to ${formatMs(endMs)}`;
      return `from ${formatMs(startMs)} ${end}`;
    })
    .join(' and ');
}

/** A moment for people, without a fraction that is none. */
export function formatMs(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

function logOf(item: Shaped<typeof tlog>, what: string): TrustedLogInstance {
  const { baseUrl, publicKey, logId, checkpointKeyId, hashAlgorithm = 'SHA2_256' } = item;
  const id = hash(parseBase64((checkpointKeyId ?? logId).keyId, what), what);
  const unusable = (flaw: string): UnusableLog => ({ usable: false, baseUrl, keyId: id, flaw });
  if (!/^https?:\/\/[^/?#\s@]+(\/[^?#\s]*)?$/.test(baseUrl)) {
    throw malformed(`${what}.baseUrl`, `${shown(baseUrl)} is not an http or https address`);
  }
  const validFor = periodOf(publicKey.validFor, `${what}.publicKey.validFor`);
  // SPEC: an instance that does not say from when it is good must not be used.
  if (validFor === undefined) return unusable('it does not say from when its key is good');
  if (hashAlgorithm !== 'SHA2_256') return unusable(`its hashes are ${shown(hashAlgorithm)}`);
  const alg = ALGORITHMS[publicKey.keyDetails];
  if (alg === undefined) return unusable(`a key of kind ${shown(publicKey.keyDetails)}`);
  const key = parsePublicKey(alg, parseBase64(publicKey.rawBytes, what));
  return { usable: true, baseUrl, baseUrls: [baseUrl], keyId: id, key, validFor: [validFor] };
}

/** The kinds of key that sign checkpoints; RSA and P-384 are in no public instance. */
const ALGORITHMS: { readonly [keyDetails: string]: 'ed25519' | 'ecdsa-p256' } = {
  PKIX_ED25519: 'ed25519',
  PKIX_ECDSA_P256_SHA_256: 'ecdsa-p256',
};

/** A key ID stands for one key: a log that is listed again has another address, or another time. */
function merged(logs: readonly TrustedLogInstance[]): TrustedLogInstance[] {
  const all: TrustedLogInstance[] = [];
  for (const log of logs) {
    const at = all.findIndex((one) => one.usable && equalBytes(one.keyId, log.keyId));
    const known = all[at];
    if (!log.usable || !known?.usable) {
      all.push(log);
    } else if (known.key.keyid !== log.key.keyid) {
      throw malformed(WHAT, `${shown(log.baseUrl)} has the key ID of ${shown(known.baseUrl)}`);
    } else {
      const baseUrls = [...known.baseUrls, ...log.baseUrls];
      all[at] = { ...known, baseUrls, validFor: [...known.validFor, ...log.validFor] };
    }
  }
  return all;
}

function authorityOf(item: Shaped<typeof authority>, what: string): TrustedAuthority {
  const { subject = {}, uri, certChain, validFor } = item;
  return {
    name: subject.commonName ?? subject.organization ?? uri ?? 'an authority without a name',
    chain: certChain.certificates.map(({ rawBytes }) => parseBase64(rawBytes, what)),
    validFor: periodOf(validFor, `${what}.validFor`),
  };
}

function periodOf(item: Shaped<typeof period> | undefined, what: string): Period | undefined {
  if (item?.start === undefined) return undefined;
  const startMs = parseTime(item.start, `${what}.start`);
  if (item.end === undefined) return { startMs };
  const endMs = parseTime(item.end, `${what}.end`);
  if (endMs < startMs) throw malformed(what, 'it ends before it begins');
  return { startMs, endMs };
}
