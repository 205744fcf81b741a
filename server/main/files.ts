/** Small files and folders of a data folder, whole or not there at all. */
import { mkdirSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { malformed, SteleError } from '../core/errors.ts';
import type { Algorithm } from '../core/keys.ts';
import { createKeyFile } from '../keys/file.ts';
import { findKeyFile, type KeySecrets, openKeyByFile } from '../keys/reference.ts';
import type { Signer } from '../keys/signer.ts';

export { syncFolder, writeWhole } from '../storage/files.ts';

/** Makes a folder that only its owner can look into. */
export function ensureFolder(path: string, advice?: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const reason = `${path}: the folder cannot be made (${code})`;
    throw new SteleError('storage', advice === undefined ? reason : `${reason}: ${advice}`, {
      cause,
    });
  }
}

/**
 * Opens a key: the file, or what a file of the same name and ending in .pkcs11 names. Where there is none it is made, but only if `mayCreate`: beside a log that has
 * entries, a missing key means that something was lost, and a new one would not be the same key.
 */
export async function openKey(
  path: string,
  alg: 'ed25519' | 'ecdsa-p256',
  { mayCreate, secrets = {}, algorithms = [alg] }: OpenKeyOptions,
): Promise<Signer> {
  const found = findKeyFile(path.replace(/\.pem$/, ''));
  if (found === undefined) {
    if (!(typeof mayCreate === 'boolean' ? mayCreate : await mayCreate())) throw lost(path);
    ensureFolder(dirname(path));
    const { passphrase } = secrets;
    return createKeyFile(path, alg, passphrase === undefined ? {} : { passphrase });
  }
  const signer = await openKeyByFile(found, secrets);
  const { alg: its } = signer.publicKey;
  if (algorithms.includes(its)) return signer;
  throw malformed(found, `a key for ${its} where ${algorithms.join(' or ')} is needed`);
}

export interface OpenKeyOptions {
  readonly mayCreate: boolean | (() => Promise<boolean>);
  readonly secrets?: KeySecrets | undefined;
  /** What may be there, where that is more than what would be made. */
  readonly algorithms?: readonly Algorithm[];
}

export function lost(path: string): SteleError {
  return new SteleError(
    'not_found',
    `${path}: this key is missing, and the log has entries that need it: bring it back from a backup`,
  );
}

/** Milliseconds for which one look at the disk counts. */
const LOOK_MS = 200;

/** A check that throws `storage` while the disk of `folder` has less than `floor` bytes free (P9). */
export function spaceCheck(folder: string, floor: number, now: () => number): () => void {
  let free = Number.POSITIVE_INFINITY;
  let lookedMs = Number.NEGATIVE_INFINITY;
  return () => {
    if (now() - lookedMs >= LOOK_MS) {
      const { bavail, bsize } = statfsSync(folder);
      free = bavail * bsize;
      lookedMs = now();
    }
    if (free < floor) {
      throw new SteleError(
        'storage',
        `the disk has ${free} bytes free, and nothing is accepted below ${floor} (limits.disk_floor_bytes)`,
        { retryAfterS: 30 },
      );
    }
  };
}
