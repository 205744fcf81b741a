/**
 * The verdict of Sigstore's own verifier on a bundle: nothing where it holds, else why not.
 */
import { bundleFromJSON } from '@sigstore/bundle';
import { PublicKeyDetails, TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';

export interface Judged {
  /** The bundle's JSON. */
  readonly bundle: unknown;
  /** What was signed. */
  readonly text: Uint8Array;
  /** The anchor key in PEM. */
  readonly key: string;
  /** The trusted root's JSON. */
  readonly trustedRoot: unknown;
  /** How many times it has to prove; an entry of v2 without a stamp proves none. */
  readonly times?: number;
}

export function sigstoreFlaw({
  bundle,
  text,
  key,
  trustedRoot,
  times = 1,
}: Judged): string | undefined {
  const der = Buffer.from(key.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64');
  try {
    const parsed = bundleFromJSON(bundle);
    const entity = toSignedEntity(parsed, Buffer.from(text));
    const material = parsed.verificationMaterial.content;
    const hint = material.$case === 'publicKey' ? material.publicKey.hint : '';
    const root = TrustedRoot.fromJSON(trustedRoot);
    const trust = toTrustMaterial(root, {
      [hint]: {
        rawBytes: der,
        keyDetails: PublicKeyDetails.PKIX_ECDSA_P256_SHA_256,
        validFor: { start: new Date(0) },
      },
    });
    new Verifier(trust, { ctlogThreshold: 0, timestampThreshold: times }).verify(entity);
    return undefined;
  } catch (error) {
    // Whatever it throws is a refusal: it has errors of three packages, and of its parsers.
    return error instanceof Error ? error.message : String(error);
  }
}
