/** Showing a server that a key is at hand, so that it registers it. */
import { parseBase64, toBase64 } from '../core/bytes.ts';
import { malformed } from '../core/errors.ts';
import { CHALLENGE_BYTES, possessionMessage } from '../core/possession.ts';
import type { Signer } from '../keys/signer.ts';
import type { Administration, NewGateway } from './instance.ts';

/** The members of a registration that prove it: a fresh challenge of the log, and the signature over it. */
export async function proofFor(
  admin: Administration,
  log: string,
  signer: Signer,
): Promise<Required<Pick<NewGateway, 'challenge' | 'proof'>>> {
  const asked = await admin.challengeGateway(log);
  const challenge = String(asked.challenge);
  return { challenge, proof: await prove(signer, String(asked.origin), challenge) };
}

/** The key's signature over a challenge that came some other way; both in base64. */
export async function prove(signer: Signer, origin: string, challenge: string): Promise<string> {
  const bytes = parseBase64(challenge, 'challenge');
  if (bytes.length !== CHALLENGE_BYTES) {
    throw malformed('challenge', `${bytes.length} bytes where it has ${CHALLENGE_BYTES}`);
  }
  const message = possessionMessage(origin, signer.publicKey.keyid, bytes);
  return toBase64(await signer.sign(message));
}
