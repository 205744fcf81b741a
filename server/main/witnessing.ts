/** This instance as a witness of other logs, where the settings give it a name: its keys, its logs, its memory. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { equalBytes } from '../core/bytes.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { rawEd25519 } from '../core/keys.ts';
import { LOG_LIST_BYTES_MAX, parseLogList } from '../core/log-list.ts';
import { NOTE_MLDSA, parseVerifierKey, type VerifierKey } from '../core/verifier-key.ts';
import { Bastion } from '../http/bastion.ts';
import { readPublicFile } from '../keys/file.ts';
import { createMldsaKeyFile, type MldsaSigner, openMldsaKeyFile } from '../keys/mldsa.ts';
import { secretsIn } from '../keys/reference.ts';
import { selfSigned } from '../keys/self-signed.ts';
import { systemClock } from '../log/clock.ts';
import type { InstanceStore } from '../storage/instance.ts';
import { Witness } from '../witness/giving.ts';
import { Cosigner } from '../witness/giving-keys.ts';
import { WitnessMark } from '../witness/giving-mark.ts';
import { ORIGINS_MAX, Origins } from '../witness/giving-origins.ts';
import { JudgeQueue } from '../witness/giving-queue.ts';
import { ensureFolder, openKey } from './files.ts';
import { highWaterFolder } from './memories.ts';

/** Bytes of a file of certificates. */
const CA_BYTES_MAX = 1_048_576;

/** Milliseconds between two looks at the lists. */
const LOOK_MS = 60_000;

export interface Witnessing {
  readonly witness: Witness;
  close(): Promise<void>;
}

interface Parts {
  readonly store: InstanceStore;
  readonly logger: Logger;
}

/** Nothing where the settings name no witness. */
export async function openWitness(config: Config, parts: Parts): Promise<Witnessing | undefined> {
  const { name } = config.witness;
  if (name === undefined) return undefined;
  const { store, logger } = parts;
  const cosigner = await openCosigner(config, name, store);
  const nowMs = systemClock.now;
  const origins = new Origins(cosigner.keys, nowMs);
  for (const { origin, keys, perDay } of config.witness.logs) {
    for (const key of keys) origins.add({ origin, key, perDay });
  }
  const lists = new Lists(config.witness.lists, origins, logger);
  lists.read();
  const [key] = cosigner.keys;
  if (key === undefined) throw malformed('witness', 'it has no key');
  const mark = new WitnessMark(highWaterFolder(config), key);
  const stopped = stoppedBy(mark, store);
  if (stopped !== undefined) logger.error({ err: stopped }, 'the witness cosigns nothing');
  const queue = new JudgeQueue({
    path: store.path,
    nowS: () => Math.floor(nowMs() / 1_000),
    written: ({ commits }) => mark.remember(commits),
  });
  const witness = new Witness({
    ...{ cosigner, origins, queue, rows: store.witnessed, nowMs, stopped },
    remember: () => mark.remember(store.witnessed.witness()?.commits ?? 0),
  });
  const timer = setInterval(() => lists.look(), LOOK_MS);
  timer.unref();
  return {
    witness,
    async close() {
      clearInterval(timer);
      await witness.close();
      mark.close();
    },
  };
}

/** Dials the bastion that the settings name, where they do. */
export async function openBastion(
  config: Config,
  witness: Witness,
  { logger, failed }: { readonly logger: Logger; readonly failed: (error: unknown) => void },
): Promise<Bastion | undefined> {
  const { bastion } = config.witness;
  if (bastion === undefined) return undefined;
  const { ca, address } = bastion;
  const path = join(config.data, 'keys', 'witness', 'bastion.pem');
  const secrets = secretsIn(config.keys);
  // Who dials is told by this key alone, which signs nothing else.
  await (await openKey(path, 'ed25519', { mayCreate: true, secrets })).close();
  return new Bastion({
    ...address,
    ca: ca === undefined ? undefined : await readPublicFile(ca, 'certificates', CA_BYTES_MAX),
    certificate: await selfSigned(path, secrets),
    witness,
    rate: { perSecond: config.limits.addressRate, burst: config.limits.addressBurst },
    clock: systemClock,
    logger,
    failed,
  });
}

/** A database that counts fewer transactions than the file outside it was put back. */
function stoppedBy(mark: WitnessMark, store: InstanceStore): SteleError | undefined {
  const commits = store.witnessed.witness()?.commits ?? 0;
  if (mark.commits <= commits) return undefined;
  return new SteleError(
    'storage',
    `${store.path} has ${commits} transactions of the witness and ${mark.path} knows of ${mark.commits}: ` +
      'cosignatures left that it does not know, so nothing is cosigned; bring the newest database back, or move ' +
      'keys/witness away and give the witness another name',
  );
}

/**
 * The keys of the witness, made where there are none and it was never another. A name and its keys stay together:
 * an Ed25519 cosignature does not say who made it.
 */
async function openCosigner(config: Config, name: string, store: InstanceStore): Promise<Cosigner> {
  const folder = join(config.data, 'keys', 'witness');
  const known = store.witnessed.witness();
  const had = (known === undefined ? [] : (JSON.parse(known.keys) as string[])).map(
    parseVerifierKey,
  );
  const isSame = known?.name === name;
  const missing = (path: string) =>
    new SteleError(
      'not_found',
      `${path}: this key of witness ${name} is missing: bring it back, or give the witness another name`,
    );
  ensureFolder(folder);
  const secrets = secretsIn(config.keys);
  const { passphrase } = secrets;
  const ed25519Path = join(folder, 'ed25519.pem');
  const ed25519 = await openKey(ed25519Path, 'ed25519', {
    mayCreate: async () => {
      if (isSame) throw missing(ed25519Path);
      return true;
    },
    secrets,
  });
  const belongs = had.some((key) => equalBytes(key.key, rawEd25519(ed25519.publicKey)));
  if (known !== undefined && belongs !== isSame) {
    throw new SteleError(
      'conflict',
      `witness.name: ${shown(name)} where ${folder} has ${belongs ? `the keys of ${known.name}` : 'other keys than its'}: ` +
        'a name and its keys stay together; for a new witness move the keys away and choose another name',
    );
  }
  store.claimKey(ed25519.publicKey.keyid, 'the key of the witness');
  const mldsa = config.witness.mldsa ? await openMldsa() : undefined;
  const cosigner = new Cosigner(name, { ed25519, mldsa });
  const keys = cosigner.keys.map(({ text }) => text);
  store.witnessed.setWitness({ name, keys: JSON.stringify(keys) });
  return cosigner;

  async function openMldsa(): Promise<MldsaSigner> {
    const path = join(folder, 'mldsa44.pem');
    if (!existsSync(path)) {
      if (isSame && had.some(({ type }) => type === NOTE_MLDSA)) throw missing(path);
      createMldsaKeyFile(path, { passphrase });
    }
    return openMldsaKeyFile(path, { passphrase });
  }
}

/** Lists of logs in files, read again when they change. */
class Lists {
  readonly #paths: readonly string[];
  readonly #origins: Origins;
  readonly #logger: Logger;
  readonly #seen = new Map<string, string>();
  /** By their text: as many as the lists have, which are bounded. */
  readonly #keys = new Map<string, VerifierKey>();

  constructor(paths: readonly string[], origins: Origins, logger: Logger) {
    this.#paths = paths;
    this.#origins = origins;
    this.#logger = logger;
  }

  /** All of them. Throws for one that is not there or is none: at the start somebody is there to hear it. */
  read(): void {
    for (const path of this.#paths) this.#readOne(path);
  }

  /** Those that changed. What is wrong with one is for the log lines, and the logs that it had stay. */
  look(): void {
    for (const path of this.#paths) {
      try {
        if (this.#seen.get(path) !== stampOf(path)) this.#readOne(path);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        this.#logger.error({ err: error, path }, 'the list of logs is not read again');
      }
    }
  }

  #readOne(path: string): void {
    const stamp = stampOf(path);
    this.#seen.set(path, stamp);
    const skipped = (error: SteleError) =>
      this.#logger.warn({ err: error, path }, 'a log of the list is not witnessed');
    const list = parseLogList(readList(path), skipped, (text) => this.#parseKey(text));
    this.#origins.addAll(list, skipped);
  }

  /** A list that is read again is mostly the one that was read before. */
  #parseKey(text: string): VerifierKey {
    const key = this.#keys.get(text) ?? parseVerifierKey(text);
    if (this.#keys.size < ORIGINS_MAX) this.#keys.set(text, key);
    return key;
  }
}

function readList(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new SteleError('storage', `witness.lists: ${path} cannot be read`, { cause });
  }
}

function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new SteleError('not_found', `witness.lists: there is no file ${path}`);
  if (stat.size > LOG_LIST_BYTES_MAX) {
    throw malformed(
      'witness.lists',
      `${path} has ${stat.size} bytes, and ${LOG_LIST_BYTES_MAX} are the most`,
    );
  }
  return `${stat.mtimeMs} ${stat.size} ${stat.ino}`;
}
