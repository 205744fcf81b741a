/**
 * Keys that an operator brings along for a new log: judged, and put where the server looks for them.
 *
 * A private key goes over no network: this is done on the machine that has the data folder, whether a server
 * runs on it or not, and before the log is created. What is cut short in between is a key without a log,
 * which the next attempt takes up.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Administration } from '../client/instance.ts';
import { type Config, loadConfig } from '../config.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import {
  findKeyFile,
  KEY_ENDINGS,
  openKeyByFile,
  openKeyReference,
  placeKey,
  secretsIn,
} from '../keys/reference.ts';
import { checkAlgorithm } from '../keys/remote/held-keys.ts';
import { Unusable } from './exit.ts';
import type { World } from './terminal.ts';
import type { WhereOptions } from './where.ts';

/** A key file, or a pkcs11: URI, for each purpose of a log that one was brought for. */
export interface OwnKeys {
  readonly identity?: string | undefined;
  readonly anchor?: string | undefined;
}

const LOG_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

export interface OwnKeysOptions {
  readonly world: World;
  readonly options: WhereOptions;
  /** Knows the keys of gateways. */
  readonly admin: Pick<Administration, 'listKeys'>;
}

/** Puts the keys into the data folder. Throws before anything is written if one of them cannot be used. */
export async function placeOwnKeys(
  name: string,
  own: OwnKeys,
  { world, options, admin }: OwnKeysOptions,
): Promise<void> {
  const given = (['identity', 'anchor'] as const).flatMap((purpose) => {
    const reference = own[purpose];
    return reference === undefined ? [] : [{ purpose, reference }];
  });
  if (given.length === 0) return;
  const config = loadConfig({ env: world.env, cwd: world.cwd, data: options.data });
  checkPlace(config, name, world, options);
  const folder = join(config.data, 'keys', 'logs', name);
  const used = await usedKeys(config, admin);
  const placed: { base: string; reference: string }[] = [];
  for (const { purpose, reference } of given) {
    const base = join(folder, purpose);
    const keyid = await keyidOf(purpose, reference, world, config);
    const found = findKeyFile(base);
    const use = used.get(keyid);
    // Left by an attempt that was cut short.
    if (found !== undefined && use === found) continue;
    if (found !== undefined) {
      throw new SteleError(
        'conflict',
        `${found}: another ${purpose} key is there, and is never replaced`,
      );
    }
    if (use !== undefined) {
      throw new SteleError(
        'conflict',
        `--${purpose}-key: key ${keyid} is ${use} too: each key has one purpose, in one log`,
      );
    }
    placed.push({ base, reference });
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const { base, reference } of placed) placeKey(base, reference, world.cwd);
}

function checkPlace(config: Config, name: string, { env }: World, options: WhereOptions): void {
  const { data, signerSocket } = config;
  if (options.server !== undefined || env.STELE_SERVER !== undefined) {
    throw new Unusable(
      'keys are put into the data folder of a server on this machine: name it with --data',
    );
  }
  if (!existsSync(join(data, 'stele.db'))) {
    throw new Unusable(
      `${data} is no data folder: name one with --data, or make one with "stele up"`,
    );
  }
  if (signerSocket !== undefined) {
    throw new Unusable(
      'the keys of this server’s logs are with its signer: give them to it with "stele signer add"',
    );
  }
  if (!LOG_NAME.test(name)) {
    throw malformed(
      'log name',
      `${shown(name)} is not 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit`,
    );
  }
  if (existsSync(join(data, 'logs', `${name}.db`))) {
    throw new SteleError('conflict', `log ${name} exists already`);
  }
}

async function keyidOf(
  purpose: 'identity' | 'anchor',
  reference: string,
  { cwd }: World,
  config: Config,
): Promise<string> {
  const signer = await openKeyReference(reference, cwd, secretsIn(config.keys));
  await signer.close();
  const { alg, keyid } = signer.publicKey;
  checkAlgorithm(`--${purpose}-key`, purpose, alg);
  return keyid;
}

/** What each key that is known here is, by its ID. */
async function usedKeys(
  config: Config,
  admin: OwnKeysOptions['admin'],
): Promise<Map<string, string>> {
  const used = new Map<string, string>();
  for (const { keyid, log } of await admin.listKeys()) {
    used.set(String(keyid), `a gateway of log ${log}`);
  }
  const folder = join(config.data, 'keys');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const file of files) {
    const path = join(folder, file);
    if (!KEY_ENDINGS.some((ending) => path.endsWith(ending))) continue;
    const signer = await openKeyByFile(path, secretsIn(config.keys));
    await signer.close();
    used.set(signer.publicKey.keyid, path);
  }
  return used;
}
