/**
 * What a token is: `stele_<id>_<secret>`. The id is public and names the row, the secret is 256 random bits.
 *
 * Only the SHA-256 of the whole text is ever stored, so whoever reads what is stored is let in nowhere. With
 * that much entropy no slow hash is needed.
 */
import { sha256, toBase64url, toHex, utf8 } from './bytes.ts';

export const TOKEN = /^stele_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
export const TOKEN_ID = /^[0-9a-f]{16}$/;
const ID_BYTES = 8;
const SECRET_BYTES = 32;

export interface NewToken {
  readonly id: string;
  /** Exists only here and in the hands of the one it is shown to. */
  readonly token: string;
  readonly hash: Uint8Array;
}

export function newToken(randomBytes: (length: number) => Uint8Array): NewToken {
  const id = toHex(randomBytes(ID_BYTES));
  const token = `stele_${id}_${toBase64url(randomBytes(SECRET_BYTES))}`;
  return { id, token, hash: hashOfToken(token) };
}

export function hashOfToken(token: string): Uint8Array {
  return sha256(utf8(token));
}
