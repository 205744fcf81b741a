/**
 * The public halves of a log's keys that a signer holds, as they lie in the data folder: so that the log can
 * be read while the signer is away, and so that one with other keys is noticed.
 *
 *     DATA/keys/logs/NAME/identity.pub, anchor.pub, sth.pub, operator.pub      SubjectPublicKeyInfo in PEM
 */
import { createPublicKey } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseKeyText } from '../../core/key-text.ts';
import type { PublicKey } from '../../core/keys.ts';

export interface PinnedKeys {
  readonly identity: PublicKey;
  readonly anchor: PublicKey;
  readonly sth: PublicKey;
  /** Absent where the operator's key is a file of the server's. */
  readonly operator?: PublicKey;
}

/** What is written down in a log's folder of keys; nothing where not all of it is there. */
export function readPinned(folder: string): PinnedKeys | undefined {
  const read = (purpose: string) => {
    const path = join(folder, `${purpose}.pub`);
    return existsSync(path) ? parseKeyText(readFileSync(path, 'utf8')).key : undefined;
  };
  const [identity, anchor, sth] = [read('identity'), read('anchor'), read('sth')];
  if (identity === undefined || anchor === undefined || sth === undefined) return undefined;
  const operator = read('operator');
  return { identity, anchor, sth, ...(operator === undefined ? {} : { operator }) };
}

/** The files to write: a name and a text each, those that have to be there last. */
export function formatPinned({ operator, ...log }: PinnedKeys): (readonly [string, string])[] {
  const keys = Object.entries({ ...(operator === undefined ? {} : { operator }), ...log });
  return keys.map(([purpose, key]) => [`${purpose}.pub`, pemOf(key)]);
}

function pemOf({ spki }: PublicKey): string {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return key.export({ format: 'pem', type: 'spki' }).toString();
}
