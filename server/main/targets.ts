/** Whom heads are shown to, as the settings say: each with the trust that its answers are held to. */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Target } from '../anchor/target.ts';
import { TsaTarget } from '../anchor/tsa.ts';
import type { Config, TsaTarget as TsaSettings } from '../config.ts';
import { malformed, SteleError } from '../core/errors.ts';
import { parseTsaRoots } from '../core/rfc3161.ts';
import { Outbound } from '../outbound.ts';

/** Bytes of a file of certificates. */
const ROOTS_BYTES_MAX = 1_048_576;

/** Throws for a file that is not there, or is not what it should be: a target without trust is of no use. */
export function targetsOf(config: Config['anchor'], version: string): Target[] {
  const outbound = new Outbound(version, config.contact);
  return config.tsa.map((tsa) => tsaOf(tsa, outbound));
}

function tsaOf({ name, url, roots }: TsaSettings, outbound: Outbound): TsaTarget {
  const what = `tsa.${name}.roots`;
  const authorities = [parseTsaRoots(readText(roots, what), what)];
  const random = (length: number) => new Uint8Array(randomBytes(length));
  return new TsaTarget({ name, url, authorities, outbound, now: Date.now, random });
}

function readText(path: string, what: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new SteleError('not_found', `${what}: there is no file ${path}`);
  if (stat.size > ROOTS_BYTES_MAX) {
    throw malformed(what, `${path} has ${stat.size} bytes, and 1 MiB is the most`);
  }
  return readFileSync(path, 'utf8');
}
