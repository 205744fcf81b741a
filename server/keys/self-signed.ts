/**
 * A certificate that says nothing but which key somebody has: self-signed, made anew each time it is needed.
 *
 * It is for those who know a caller by the SHA-256 of his Ed25519 key and look at nothing else in a certificate.
 *
 * [RFC 5280 §4.1] [RFC 8410 §3] Ed25519 in certificates.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { concat, parseHex, sha256, toHex, utf8 } from '../core/bytes.ts';
import { encodeDer } from '../core/der.ts';
import { ED25519_KEY_BYTES } from '../core/ed25519.ts';
import { malformed } from '../core/errors.ts';
import { readKeyFile } from './file.ts';

export interface SelfSigned {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  /** What opens the key, if it is encrypted. */
  readonly passphrase?: string | undefined;
  /** SHA-256 of the key's 32 bytes, in lower-case hex. */
  readonly keyHash: string;
}

const ED25519_ALGORITHM = parseHex('300506032b6570', 'algorithm');
const COMMON_NAME = parseHex('0603550403', 'OID');
const VERSION_3 = encodeDer('context0', encodeDer('integer', Uint8Array.of(2)));

/** The certificate of the Ed25519 key in a file. */
export async function selfSigned(
  path: string,
  { passphrase }: { readonly passphrase?: string | undefined } = {},
): Promise<SelfSigned> {
  const pem = await readKeyFile(path);
  const key = createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  if (key.asymmetricKeyType !== 'ed25519') {
    throw malformed(
      `key file ${path}`,
      `a key of type ${key.asymmetricKeyType} where ed25519 is needed`,
    );
  }
  const spki = new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }));
  const raw = spki.subarray(spki.length - ED25519_KEY_BYTES);
  const name = encodeDer(
    'sequence',
    encodeDer('set', encodeDer('sequence', COMMON_NAME, encodeDer('utf8String', utf8('stele')))),
  );
  const validity = encodeDer(
    'sequence',
    encodeDer('utcTime', utf8('250101000000Z')),
    // SPEC: a certificate without a good end has this one [RFC 5280 §4.1.2.5].
    encodeDer('generalizedTime', utf8('99991231235959Z')),
  );
  // Positive, and the same for the same key.
  const serial = encodeDer('integer', concat(Uint8Array.of(1), sha256(raw).subarray(0, 8)));
  const body = encodeDer(
    'sequence',
    VERSION_3,
    serial,
    ED25519_ALGORITHM,
    name,
    validity,
    name,
    spki,
  );
  const signature = encodeDer('bitString', Uint8Array.of(0), new Uint8Array(sign(null, body, key)));
  const der = encodeDer('sequence', body, ED25519_ALGORITHM, signature);
  const base64 =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  const cert = ['-----BEGIN CERTIFICATE-----', ...base64, '-----END CERTIFICATE-----', ''].join(
    '\n',
  );
  return { cert, key: pem, passphrase, keyHash: toHex(sha256(raw)) };
}
