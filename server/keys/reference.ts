/**
 * Keys by the names that operators have for them: a file that holds one, or a URI that says where one is.
 *
 *     PURPOSE.pem       the key itself: PKCS#8, with or without a passphrase (`file.ts`)
 *     PURPOSE.pkcs11    one line: the pkcs11: URI of a key in a token (`pkcs11/`)
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { malformed, SteleError } from '../core/errors.ts';
import { openKeyFile } from './file.ts';
import { openPkcs11Key } from './pkcs11/signer.ts';
import { describePkcs11, isPkcs11Uri, type Pkcs11Uri, parsePkcs11Uri } from './pkcs11/uri.ts';
import type { Signer } from './signer.ts';

/** What opens keys that do not open by themselves. */
export interface KeySecrets {
  /** Of key files that are encrypted. */
  readonly passphrase?: string | undefined;
  /** Of tokens whose URI names no file with one. */
  readonly pin?: string | undefined;
}

/** Bytes of a file with a URI, a passphrase or a PIN. */
const SMALL_BYTES_MAX = 4_096;

export const KEY_ENDINGS = ['.pem', '.pkcs11'] as const;

/** Opens the key that a file holds or names, by the file's ending. */
export async function openKeyByFile(path: string, secrets: KeySecrets = {}): Promise<Signer> {
  if (!path.endsWith('.pkcs11')) return openPem(path, secrets);
  const { mode } = statSync(path);
  if (process.platform !== 'win32' && (mode & 0o022) !== 0) {
    throw new SteleError(
      'forbidden',
      `${path}: others could name another key in it; run chmod 600 on it`,
    );
  }
  return openToken(parsePkcs11Uri(readSmall(path, 'file').replace(/\n$/, '')), secrets);
}

/** Opens a key by what an operator wrote: a file, or a pkcs11: URI. */
export async function openKeyReference(
  reference: string,
  cwd: string,
  secrets: KeySecrets = {},
): Promise<Signer> {
  return isPkcs11Uri(reference)
    ? openToken(parsePkcs11Uri(reference), secrets)
    : openPem(resolve(cwd, reference), secrets);
}

/** The file of a key without its ending, where there is one. */
export function findKeyFile(base: string): string | undefined {
  return KEY_ENDINGS.map((ending) => base + ending).find((path) => existsSync(path));
}

/**
 * Puts a key where it is looked for: a copy of the file, or a file with the URI. Durable when it returns,
 * and whole or not there at all. Throws `conflict` if there is one already, which is left alone.
 */
export function placeKey(base: string, reference: string, cwd: string): string {
  const known = findKeyFile(base);
  if (known !== undefined) {
    throw new SteleError('conflict', `${known}: it is there already, and a key is never replaced`);
  }
  const isUri = isPkcs11Uri(reference);
  const path = base + (isUri ? '.pkcs11' : '.pem');
  writeNewFile(path, isUri ? `${reference}\n` : readFileSync(resolve(cwd, reference)));
  return path;
}

/** The secrets in files that settings name. */
export function secretsIn(files: {
  readonly passphraseFile?: string | undefined;
  readonly pinFile?: string | undefined;
}): KeySecrets {
  const { passphraseFile, pinFile } = files;
  return {
    passphrase: passphraseFile === undefined ? undefined : readSecret(passphraseFile),
    pin: pinFile === undefined ? undefined : readSecret(pinFile),
  };
}

/** A passphrase or PIN from a file: its one line. */
export function readSecret(path: string): string {
  const { mode } = statOf(path);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new SteleError('forbidden', `${path}: others can read this secret; run chmod 600 on it`);
  }
  const text = readSmall(path, 'secret').replace(/\r?\n$/, '');
  // Nothing of it is shown (P10).
  if (text === '' || text.includes('\n')) throw malformed(path, 'not one line of text');
  return text;
}

async function openPem(path: string, { passphrase }: KeySecrets): Promise<Signer> {
  return openKeyFile(path, passphrase === undefined ? {} : { passphrase });
}

async function openToken(uri: Pkcs11Uri, { pin }: KeySecrets): Promise<Signer> {
  const known = uri.pinFile === undefined ? pin : readSecret(uri.pinFile);
  if (known === undefined) {
    throw new SteleError(
      'forbidden',
      `${describePkcs11(uri)}: no PIN was given, neither by pin-source nor otherwise`,
    );
  }
  return openPkcs11Key(uri, known);
}

function readSmall(path: string, what: string): string {
  const { size } = statOf(path);
  if (size > SMALL_BYTES_MAX) {
    throw malformed(path, `a ${what} of ${size} bytes where at most ${SMALL_BYTES_MAX} are read`);
  }
  return readFileSync(path, 'utf8');
}

function statOf(path: string) {
  try {
    return statSync(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT')
      throw new SteleError('not_found', `${path}: there is no such file`, { cause });
    throw new SteleError('storage', `${path}: it cannot be read (${code})`, { cause });
  }
}

/**
 * Writes a file that is not there yet: under a name of its own first, so that it is there whole or not at
 * all, and of two processes that write the same one must fail. Durable when it returns.
 */
export function writeNewFile(path: string, bytes: string | Uint8Array): void {
  const draft = join(dirname(path), `.${basename(path)}.${process.pid}.new`);
  try {
    const file = openSync(draft, 'w', 0o600);
    try {
      writeFileSync(file, bytes);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    try {
      linkSync(draft, path);
    } finally {
      unlinkSync(draft);
    }
    const folder = openSync(dirname(path), 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new SteleError('storage', `${path}: it cannot be written (${code})`, { cause });
  }
}
