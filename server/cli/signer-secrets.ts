/**
 * What opens a signer's keys: a passphrase and a PIN, from files or from the environment.
 *
 * They are read once, and are not left in the environment, where whatever is started from here, or looks
 * into the process from outside, could find them (P10).
 */
import { resolve } from 'node:path';
import { type KeySecrets, readSecret } from '../keys/reference.ts';
import type { World } from './terminal.ts';

export interface SecretFiles {
  readonly passphraseFile?: string;
  readonly pinFile?: string;
}

export function takeSecrets(
  { passphraseFile, pinFile }: SecretFiles,
  { cwd, env }: World,
): KeySecrets {
  // It is this process's own environment, and what is taken out of it is gone.
  const own = env as Record<string, string | undefined>;
  const take = (name: string): string | undefined => {
    const value = own[name];
    delete own[name];
    return value;
  };
  const [passphrase, pin] = [take('STELE_SIGNER_PASSPHRASE'), take('STELE_SIGNER_PIN')];
  const read = (file: string | undefined, given: string | undefined) =>
    file === undefined ? given : readSecret(resolve(cwd, file));
  return { passphrase: read(passphraseFile, passphrase), pin: read(pinFile, pin) };
}
