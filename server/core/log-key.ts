/**
 * What are a log's own keys for, and under which verifier keys do readers know them?
 *
 *     identity   Ed25519      0x01   every head
 *     anchor     ECDSA P-256  0x02   published heads, beside the identity key
 *     sth        ECDSA P-256  0x05   tree heads of RFC 6962, and nothing else
 *
 * All of them bear the log's origin as their name.
 */
import { type PublicKey, rawEd25519 } from './keys.ts';
import {
  makeVerifierKey,
  NOTE_ECDSA,
  NOTE_ED25519,
  NOTE_TREE_HEAD,
  type VerifierKey,
} from './verifier-key.ts';

export const LOG_KEY_PURPOSES = ['identity', 'anchor', 'sth'] as const;
export type LogKeyPurpose = (typeof LOG_KEY_PURPOSES)[number];

export const LOG_KEY_ALG = {
  identity: 'ed25519',
  anchor: 'ecdsa-p256',
  sth: 'ecdsa-p256',
} as const satisfies { readonly [purpose in LogKeyPurpose]: PublicKey['alg'] };

const NOTE_TYPES = {
  identity: NOTE_ED25519,
  anchor: NOTE_ECDSA,
  sth: NOTE_TREE_HEAD,
} as const satisfies { readonly [purpose in LogKeyPurpose]: number };

/** The verifier key of a key of the log `origin`. */
export function logVerifierKey(
  purpose: LogKeyPurpose,
  origin: string,
  publicKey: PublicKey,
): VerifierKey {
  const material = purpose === 'identity' ? rawEd25519(publicKey) : publicKey.spki;
  return makeVerifierKey(origin, NOTE_TYPES[purpose], material);
}

/** What a verifier key of a log is for; nothing for one that logs do not have. */
export function purposeOf(key: VerifierKey): LogKeyPurpose | undefined {
  return LOG_KEY_PURPOSES.find((purpose) => NOTE_TYPES[purpose] === key.type);
}
