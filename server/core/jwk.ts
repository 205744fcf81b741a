/**
 * Which key does this JSON Web Key stand for?
 *
 *     {"kty": "OKP", "crv": "Ed25519", "x": "…"}
 *     {"kty": "EC", "crv": "P-256", "x": "…", "y": "…"}
 *     {"kty": "RSA", "n": "…", "e": "AQAB"}
 *
 * Closed: a member that is not known here is refused, since nothing would look at what it says. One with
 * private parts is refused without a word of them: the value of such a member is in no error (P10).
 *
 * [RFC 7517 §4] members. [RFC 7518 §6] EC, RSA. [RFC 8037 §2] OKP.
 */
import { concat, parseBase64url, toHex } from './bytes.ts';
import type { EcdsaAlgorithm } from './ecdsa.ts';
import { malformed } from './errors.ts';
import { isJsonObject, type Json } from './json.ts';
import { ecdsaSpki, ed25519Spki, type PublicKey, parsePublicKey } from './keys.ts';
import { checkRsaNumbers, rsaSpki } from './rsa-pss.ts';
import { base64url, bool, constant, list, object, oneOf, read, text } from './schema.ts';

const WHAT = 'jwk';

/** Members that only private and symmetric keys have [RFC 7518 §6.2.2, §6.3.2, §6.4.1]. */
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

/** What may be said of any key, and is only held to what the key is taken for here. */
const COMMON = {
  use: constant('sig'),
  // Of the public half of a pair that was made to sign alone, WebCrypto says none.
  key_ops: list(constant('verify'), 1),
  kid: text(1_024),
  // What WebCrypto's `exportKey` adds.
  ext: bool,
};

const number = base64url(1_024);

const OKP = object(
  { kty: constant('OKP'), crv: constant('Ed25519'), x: base64url(32, true) },
  { ...COMMON, alg: oneOf(['EdDSA', 'Ed25519']) },
);
const P256 = object(
  {
    kty: constant('EC'),
    crv: constant('P-256'),
    x: base64url(32, true),
    y: base64url(32, true),
  },
  { ...COMMON, alg: constant('ES256') },
);
const P384 = object(
  {
    kty: constant('EC'),
    crv: constant('P-384'),
    x: base64url(48, true),
    y: base64url(48, true),
  },
  { ...COMMON, alg: constant('ES384') },
);
const RSA = object(
  { kty: constant('RSA'), n: number, e: number },
  { ...COMMON, alg: constant('PS256') },
);

/** Reads a key from a stranger's JSON; throws `malformed` with the place and the rule. */
export function parseJwk(json: Json): PublicKey {
  if (!isJsonObject(json)) throw malformed(WHAT, 'it is not an object');
  if ('keys' in json) throw malformed(WHAT, 'it is a set of keys: give one of them alone');
  const secret = PRIVATE.find((name) => name in json);
  if (secret !== undefined) {
    throw malformed(
      WHAT,
      `it has the member ${secret}, which only private keys have: take this key for known to ` +
        'others, and give the public half of a new one',
    );
  }
  switch (json.kty) {
    case 'OKP': {
      const { x } = read(OKP, json, WHAT);
      return parsePublicKey('ed25519', ed25519Spki(bytesOf(x)));
    }
    case 'EC':
      if (json.crv === 'P-256') return parseEc('ecdsa-p256', read(P256, json, WHAT));
      if (json.crv === 'P-384') return parseEc('ecdsa-p384', read(P384, json, WHAT));
      throw malformed(`${WHAT}: crv`, 'not one of P-256, P-384');
    case 'RSA': {
      const { n, e } = read(RSA, json, WHAT);
      return parseRsa(bytesOf(n), bytesOf(e));
    }
    default:
      throw malformed(`${WHAT}: kty`, 'not one of OKP, EC, RSA');
  }
}

function parseEc(alg: EcdsaAlgorithm, { x, y }: { readonly x: string; readonly y: string }) {
  return parsePublicKey(alg, ecdsaSpki(alg, concat(bytesOf(x), bytesOf(y))));
}

function parseRsa(n: Uint8Array, e: Uint8Array): PublicKey {
  // [RFC 7518 §2] a Base64urlUInt has no more bytes than it needs: else one key had many spellings.
  if (n[0] === 0 || e[0] === 0) throw malformed(WHAT, 'n or e begins with a byte of zeros');
  checkRsaNumbers(BigInt(`0x${toHex(n)}`), BigInt(`0x${toHex(e)}`));
  return parsePublicKey('rsa-pss', rsaSpki(n));
}

function bytesOf(text: string): Uint8Array {
  return parseBase64url(text, WHAT);
}
