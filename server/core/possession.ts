/**
 * Does whoever registers a key have its private half?
 *
 * Without that, anybody could have another's key registered as a gateway of a log, and what that key
 * signed for something else would be admitted there. So a registration brings a signature by the key over
 * a challenge of the log's own.
 *
 *     PAE(POSSESSION_TYPE, "stele possession v1\n" origin "\n" keyid "\n" base64(challenge) "\n")
 *
 * The payload type is reserved, so that no such signature can ever be an entry's; log and key are in it,
 * so that it proves nothing about another log or key.
 */
import { toBase64, utf8 } from './bytes.ts';
import { invariant } from './errors.ts';
import { pae } from './pae.ts';

/** Reserved: `malformed` everywhere as an entry's own payload type. */
export const POSSESSION_TYPE = 'application/vnd.stele.possession.v1';

/** Random bytes of a challenge. */
export const CHALLENGE_BYTES = 32;

/** The bytes that a key signs to show that its private half is there. */
export function possessionMessage(
  origin: string,
  keyid: string,
  challenge: Uint8Array,
): Uint8Array {
  invariant(challenge.length === CHALLENGE_BYTES, 'a challenge has 32 bytes');
  const text = `stele possession v1\n${origin}\n${keyid}\n${toBase64(challenge)}\n`;
  return pae(POSSESSION_TYPE, utf8(text));
}
