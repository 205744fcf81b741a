/** What `openssl ts` says: the judge of time stamps that shares no code with what it judges. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ToJudge {
  readonly response: Uint8Array;
  readonly message: Uint8Array;
  /** PEM. */
  readonly pinned: string;
  readonly others?: string;
  /** The moment to judge certificates by: that of the stamp. */
  readonly atMs: number;
}

/** Whether it holds by OpenSSL, which is given files in `folder`. */
export function opensslHolds(folder: string, toJudge: ToJudge): boolean {
  const { response, message, pinned, others, atMs } = toJudge;
  const file = (name: string, content: string | Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const { status, error } = spawnSync('openssl', [
    'ts',
    '-verify',
    ...['-data', file('message', message), '-in', file('response.tsr', response)],
    // A pinned certificate that is no root is one for OpenSSL as well.
    ...['-CAfile', file('pinned.pem', pinned), '-partial_chain'],
    ...(others === undefined ? [] : ['-untrusted', file('others.pem', others)]),
    ...['-attime', String(Math.floor(atMs / 1_000))],
  ]);
  if (error !== undefined) throw error;
  return status === 0;
}

/** The query that OpenSSL makes for a message, with a nonce. */
export function opensslQuery(folder: string, message: Uint8Array): Uint8Array {
  const [data, query] = [join(folder, 'data'), join(folder, 'query.tsq')];
  writeFileSync(data, message);
  const argv = ['ts', '-query', '-data', data, '-sha256', '-cert', '-out', query];
  const { status, stderr } = spawnSync('openssl', argv);
  if (status !== 0) throw new Error(`openssl ${argv.join(' ')}: ${stderr}`);
  return new Uint8Array(readFileSync(query));
}
