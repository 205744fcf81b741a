/**
 * How is what was reported before known again? By a keyed hash: of a prompt that is erased later, what stays here
 * must not let anybody test a guess. The key is made from the vaults' own, so there is no other file to lose.
 */
import { createHmac, hkdfSync } from 'node:crypto';

/** Bytes of a hash that is kept: that two reports ever have the same is out of the question. */
const FINGERPRINT_BYTES = 16;

export type FingerprintOf = (log: string, ingested: string) => Uint8Array;

/** Of a log's origin, and a text that is the same whenever it is reported again. */
export function fingerprints(kek: Uint8Array): FingerprintOf {
  const key = Buffer.from(hkdfSync('sha256', kek, '', 'stele ingest fingerprint v1', 32));
  return (log, item) => {
    const hash = createHmac('sha256', key).update(log).update('\n').update(item).digest();
    return new Uint8Array(hash.subarray(0, FINGERPRINT_BYTES));
  };
}
