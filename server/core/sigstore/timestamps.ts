/**
 * The time stamps in a Sigstore bundle: whose word counts, by the trusted root.
 *
 * Each authority in it is a chain with the time that it is believed for. One that does not say from when is
 * not used, as with logs.
 */
import { authorityOfChain, checkTimestamp, type TimestampAuthority } from '../rfc3161.ts';
import type { TimestampCheck } from './rekor-anchor.ts';
import type { TrustedRoot } from './trusted-root.ts';

/** The authorities of a trusted root; throws `malformed` where a certificate of theirs is none. */
export function authoritiesOf({ authorities }: TrustedRoot): TimestampAuthority[] {
  return authorities.flatMap(({ name, chain, validFor }) => {
    if (validFor === undefined) return [];
    const { startMs: fromMs, endMs } = validFor;
    const period = endMs === undefined ? { fromMs } : { fromMs, untilMs: endMs };
    return [authorityOfChain(chain, period, `trusted root: ${name}`)];
  });
}

/** A check by these authorities and no others. */
export function timestampCheck(authorities: readonly TimestampAuthority[]): TimestampCheck {
  return (response, message) => {
    const { timeMs, latestMs, authority } = checkTimestamp({ response, message, authorities });
    return { timeMs, latestMs, authority };
  };
}
