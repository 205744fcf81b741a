/**
 * Which keys does a reader trust?
 *
 * A trust file always comes from outside what it judges. It is `stele.trust/1` JSON or a C2SP
 * tlog-policy, told apart by the first byte: JSON begins with "{", a policy never does.
 *
 *     {"format": "stele.trust/1",
 *      "logs": [{"origin": "…", "keys": [{"vkey": "…", "until_size": 1000}],
 *                "gateways": [{"keyid": "…", "alg": "ed25519", "spki": "…"}]}],
 *      "policy": "witness …\nquorum …\n",
 *      "trusted_root": {…}, "tsa_roots": ["-----BEGIN CERTIFICATE-----…"]}
 *
 * People write these files, so white space and the order of members are theirs to choose; members are
 * not. `until_size`: a key is good for checkpoints up to that size and no further.
 */
import { parseBase64, parseUtf8, toBase64, utf8 } from './bytes.ts';
import { malformed, SteleError, shown } from './errors.ts';
import { type JsonObject, parseJson } from './json.ts';
import { type PublicKey, parsePublicKey } from './keys.ts';
import { TRUSTED_KEYS_MAX } from './limits.ts';
import { checkWitnesses, type Policy, parsePolicy } from './policy.ts';
import {
  anyObject,
  base64,
  constant,
  int,
  list,
  object,
  oneOf,
  pattern,
  read,
  type Shaped,
  text,
} from './schema.ts';
import { readTrustedRoot, type TrustedRoot } from './sigstore/trusted-root.ts';
import { parseTsaRoots, type TimestampAuthority } from './timestamp/authority.ts';
import { parseVerifierKey, type VerifierKey } from './verifier-key.ts';

export interface TrustedKey {
  readonly key: VerifierKey;
  /** The last tree size that the key is good for; without it there is no end. */
  readonly untilSize?: number;
}

/** The keys of a log that are good for heads of this size. */
export function keysGoodAt(keys: readonly TrustedKey[], size: number): VerifierKey[] {
  return keys
    .filter(({ untilSize }) => untilSize === undefined || size <= untilSize)
    .map(({ key }) => key);
}

export interface TrustedLog {
  readonly origin: string;
  readonly keys: readonly TrustedKey[];
  /** Gateway keys that the reader got elsewhere. */
  readonly gateways: readonly PublicKey[];
}

export interface Trust {
  readonly logs: readonly TrustedLog[];
  /** Witnesses and the quorum that a checkpoint must have. */
  readonly policy?: { readonly bytes: Uint8Array; readonly parsed: Policy };
  /** Sigstore's trusted_root.json: Rekor logs, and authorities for the stamps that Sigstore bundles carry. */
  readonly trustedRoot?: { readonly json: JsonObject; readonly parsed: TrustedRoot };
  /** Roots of time-stamping authorities, PEM. */
  readonly tsaRoots?: {
    readonly texts: readonly string[];
    readonly authorities: readonly TimestampAuthority[];
  };
}

/** Bytes of a trust file: a policy of 256 post-quantum keys, and as many logs. */
export const TRUST_BYTES_MAX = 2_097_152;

const LOGS_MAX = 1_024;
const GATEWAYS_MAX = 4_096;

const SHAPE = object(
  {
    format: constant('stele.trust/1'),
    logs: list(
      object(
        {
          origin: text(255),
          keys: list(object({ vkey: text(8_192) }, { until_size: int() }), TRUSTED_KEYS_MAX, 1),
        },
        {
          gateways: list(
            object(
              {
                keyid: pattern(/^[0-9a-f]{64}$/, '64 lower-case hex digits'),
                alg: oneOf(['ed25519', 'ecdsa-p256', 'ecdsa-p384', 'rsa-pss']),
                spki: base64(1_024),
              },
              {},
            ),
            GATEWAYS_MAX,
          ),
        },
      ),
      LOGS_MAX,
    ),
  },
  {
    policy: text(524_288),
    trusted_root: anyObject,
    tsa_roots: list(text(16_384), 64),
  },
);

const WHAT = 'trust file';

/** Reads a trust file; throws `malformed`, or `too_large`. */
export function parseTrust(bytes: Uint8Array): Trust {
  if (bytes.length > TRUST_BYTES_MAX) {
    throw new SteleError(
      'too_large',
      `${WHAT}: ${bytes.length} bytes where at most ${TRUST_BYTES_MAX} are allowed`,
    );
  }
  // A policy's keywords, comments and white space never begin with a brace.
  if (bytes[0] !== 0x7b) return trustOfPolicy(bytes);
  const file = read(SHAPE, parseJson(bytes, WHAT), WHAT);
  const trust: Trust = {
    logs: file.logs.map(parseLog),
    ...(file.policy === undefined ? {} : { policy: policyOf(utf8(file.policy)) }),
    ...(file.trusted_root === undefined ? {} : { trustedRoot: trustedRootOf(file.trusted_root) }),
    ...(file.tsa_roots === undefined ? {} : { tsaRoots: tsaRootsOf(file.tsa_roots) }),
  };
  const origins = trust.logs.map((log) => log.origin);
  const again = origins.find((origin, i) => origins.indexOf(origin) !== i);
  if (again !== undefined) throw malformed(WHAT, `log ${shown(again)} is listed twice`);
  checkWitnesses(
    trust.policy?.parsed.witnesses ?? [],
    trust.logs.flatMap(({ keys }) => keys.map(({ key }) => key)),
  );
  return trust;
}

/** The text of a trust file, laid out for people. */
export function formatTrust(trust: Trust): string {
  const file = {
    format: 'stele.trust/1',
    logs: trust.logs.map(({ origin, keys, gateways }) => ({
      origin,
      keys: keys.map(({ key, untilSize }) => ({
        vkey: key.text,
        ...(untilSize === undefined ? {} : { until_size: untilSize }),
      })),
      gateways: gateways.map(({ keyid, alg, spki }) => ({ keyid, alg, spki: toBase64(spki) })),
    })),
    ...(trust.policy === undefined
      ? {}
      : { policy: parseUtf8(trust.policy.bytes, `${WHAT}: policy`) }),
    ...(trust.trustedRoot === undefined ? {} : { trusted_root: trust.trustedRoot.json }),
    ...(trust.tsaRoots === undefined ? {} : { tsa_roots: trust.tsaRoots.texts }),
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

function parseLog(log: Shaped<typeof SHAPE>['logs'][number]): TrustedLog {
  const { origin, keys, gateways = [] } = log;
  const parsed = keys.map(({ vkey, until_size }) => {
    const key = parseVerifierKey(vkey);
    if (key.name !== origin) {
      throw malformed(WHAT, `key ${shown(vkey)} is not named after its log ${shown(origin)}`);
    }
    return { key, ...(until_size === undefined ? {} : { untilSize: until_size }) };
  });
  return { origin, keys: parsed, gateways: gateways.map(parseGateway) };
}

function parseGateway(file: {
  readonly keyid: string;
  readonly alg: string;
  readonly spki: string;
}) {
  const key = parsePublicKey(file.alg, parseBase64(file.spki, `${WHAT}: spki`));
  if (key.keyid !== file.keyid) {
    throw malformed(WHAT, `keyid ${file.keyid} is not that of its key, ${key.keyid}`);
  }
  return key;
}

/** In a policy a log is known by its key, whose name is the origin. */
function trustOfPolicy(bytes: Uint8Array): Trust {
  const policy = policyOf(bytes);
  const keys = new Map<string, TrustedKey[]>();
  for (const { key } of policy.parsed.logs) {
    const ofLog = keys.get(key.name);
    if (ofLog === undefined) keys.set(key.name, [{ key }]);
    else ofLog.push({ key });
  }
  const logs = [...keys].map(([origin, ofLog]) => ({ origin, keys: ofLog, gateways: [] }));
  return { logs, policy };
}

function trustedRootOf(json: JsonObject): NonNullable<Trust['trustedRoot']> {
  return { json, parsed: readTrustedRoot(json) };
}

function tsaRootsOf(texts: readonly string[]): NonNullable<Trust['tsaRoots']> {
  const authorities = texts.map((pem, i) => parseTsaRoots(pem, `${WHAT}: tsa_roots.[${i}]`));
  return { texts, authorities };
}

function policyOf(bytes: Uint8Array): { readonly bytes: Uint8Array; readonly parsed: Policy } {
  return { bytes, parsed: parsePolicy(bytes) };
}
