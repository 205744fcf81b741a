/** Whom heads are shown to, as the settings say: each with the trust that its answers are held to. */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { rekorV1 } from '../anchor/rekor-v1.ts';
import { rekorV2 } from '../anchor/rekor-v2.ts';
import type { Target } from '../anchor/target.ts';
import { TsaTarget } from '../anchor/tsa.ts';
import type { RekorTarget as RekorSettings, TsaTarget as TsaSettings } from '../config/named.ts';
import type { Config } from '../config.ts';
import { utf8 } from '../core/bytes.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { parseTsaRoots, type TimestampAuthority } from '../core/rfc3161.ts';
import { timestampCheck } from '../core/sigstore/timestamps.ts';
import { parseTrustedRoot, type TrustedRoot } from '../core/sigstore/trusted-root.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import { Outbound } from '../outbound.ts';

/** Bytes of a file of certificates, or of a trusted root. */
const FILE_BYTES_MAX = 1_048_576;

/** An authority for stamps of its own, and for those in the bundles of a Rekor log. */
interface Stamping {
  readonly target: TsaTarget;
  readonly authority: TimestampAuthority;
}

/** Throws for a file that is not there, or is not what it should be: a target without trust is of no use. */
export function targetsOf(config: Config['anchor'], version: string): Target[] {
  const outbound = new Outbound(version, config.contact);
  const stamping = config.tsa.map((tsa) => tsaOf(tsa, outbound));
  const rekor =
    config.rekor.length === 0 ? [] : rekorsOf(config, readTrust(config), outbound, stamping);
  return [...stamping.map(({ target }) => target), ...rekor];
}

function tsaOf({ name, url, roots }: TsaSettings, outbound: Outbound): Stamping {
  const what = `tsa.${name}.roots`;
  const authority = parseTsaRoots(readText(roots, what), what);
  const random = (length: number) => new Uint8Array(randomBytes(length));
  const options = { name, url, authorities: [authority], outbound, now: Date.now, random };
  return { target: new TsaTarget(options), authority };
}

function rekorsOf(
  { rekor }: Config['anchor'],
  trust: TrustedRoot,
  outbound: Outbound,
  stamping: readonly Stamping[],
): Target[] {
  return rekor.map((settings) => {
    checkTrusted(settings, trust);
    const { name, url, version, readUrl, tsa } = settings;
    const asked = stamping.filter(({ target }) => tsa.includes(target.name));
    const options = {
      name,
      url,
      outbound,
      trust,
      stampers: asked.map(({ target }) => target),
      checkTimestamp: timestampCheck(asked.map(({ authority }) => authority)),
      check: checkSignatureNative,
    };
    return version === 1 ? rekorV1(options) : rekorV2({ ...options, readUrl });
  });
}

/** Which of the logs answers is told by its answers; that one at this address is believed is told at the start. */
function checkTrusted({ name, url }: RekorSettings, { logs }: TrustedRoot): void {
  const bare = (text: string) => text.replace(/\/+$/, '');
  const usable = logs.filter((log) => log.usable);
  const known = usable.flatMap(({ baseUrls }) => baseUrls.map(bare));
  if (known.includes(bare(url))) return;
  const listed = known.length === 0 ? 'none that can be used' : known.join(', ');
  throw malformed(
    `rekor.${name}.url`,
    `${shown(url)} is of no log in anchor.trusted_root, which has ${listed}`,
  );
}

function readTrust({ trustedRoot }: Config['anchor']): TrustedRoot {
  const what = 'anchor.trusted_root';
  if (trustedRoot === undefined) {
    throw malformed(what, 'is missing: it says by which keys the logs under rekor are believed');
  }
  return parseTrustedRoot(utf8(readText(trustedRoot, what)));
}

function readText(path: string, what: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new SteleError('not_found', `${what}: there is no file ${path}`);
  if (stat.size > FILE_BYTES_MAX) {
    throw malformed(what, `${path} has ${stat.size} bytes, and 1 MiB is the most`);
  }
  return readFileSync(path, 'utf8');
}
