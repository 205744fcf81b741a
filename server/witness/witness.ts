/**
 * Who is shown a log's heads: the witnesses of a policy, each with the address that it is asked at.
 *
 * A policy may name one witness twice, with an Ed25519 key and an ML-DSA key: it is asked once and answers with
 * a line for each. What a witness is known by is the name of its keys, which is on every line that it makes.
 */
import { malformed, shown } from '../core/errors.ts';
import { isQuorumMet, type Policy } from '../core/policy.ts';
import type { VerifierKey } from '../core/verifier-key.ts';

export interface Witness {
  /** Of its keys. */
  readonly name: string;
  /** Without a slash at its end. */
  readonly url: string;
  readonly keys: readonly VerifierKey[];
}

/** The witnesses that can be asked. Throws `malformed` where an address is none, or a witness has two. */
export function witnessesOf({ witnesses }: Policy, what: string): Witness[] {
  const found = new Map<string, Witness>();
  for (const { name, key, url: written } of witnesses) {
    if (written === undefined) continue;
    const url = addressOf(written, `${what}: witness ${shown(name)}`);
    const known = found.get(key.name);
    if (known !== undefined && known.url !== url) {
      throw malformed(what, `the witness ${shown(key.name)} has two addresses`);
    }
    found.set(key.name, { name: key.name, url, keys: [...(known?.keys ?? []), key] });
  }
  return [...found.values()];
}

/** Throws `malformed` where those that can be asked are not enough for the quorum. */
export function checkCanBeMet(policy: Policy, what: string): void {
  const asked = policy.witnesses.filter(({ url }) => url !== undefined).map(({ key }) => key);
  if (asked.length === 0) throw malformed(what, 'no witness in it has an address to be asked at');
  if (isQuorumMet(policy, asked)) return;
  throw malformed(what, 'its quorum cannot be met by the witnesses that have an address');
}

function addressOf(written: string, what: string): string {
  const url = URL.parse(written);
  const isPlain =
    url !== null &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.username + url.password + url.search + url.hash === '';
  if (!isPlain) throw malformed(what, `${shown(written)} is not a plain http or https address`);
  return url.origin + url.pathname.replace(/\/+$/, '');
}
