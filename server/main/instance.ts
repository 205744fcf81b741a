/**
 * A data folder, opened: the lock, the guard, the keys, the logs, the vaults. Everything that runs on
 * one folder begins here and ends with `close`.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { Journal } from '../admin/journal.ts';
import { strangerError } from '../anchor/strangers.ts';
import { checkRestored } from '../backup/restore.ts';
import type { Config } from '../config.ts';
import { SteleError } from '../core/errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { GatewayKeyFiles, hasGatewayKey } from '../keys/gateway-keys.ts';
import {
  findKeyFile,
  type KeySecrets,
  openKeyByFile,
  openKeyReference,
  placeKey,
  secretsIn,
} from '../keys/reference.ts';
import { SignerConnection } from '../keys/remote/connection.ts';
import { checkAlgorithm, PURPOSE_ALGORITHMS } from '../keys/remote/held-keys.ts';
import { VerifierPool } from '../keys/verifier-pool.ts';
import { systemClock } from '../log/clock.ts';
import { acceptPlace, checkPlace, lockFolder, placeOf } from '../log/guard.ts';
import { KeyChanges } from '../log/key-changes.ts';
import { Logs } from '../log/logs.ts';
import { isAdminLog } from '../log/names.ts';
import { OwnGateways } from '../log/own-gateways.ts';
import { InstanceStore } from '../storage/instance.ts';
import { SqliteStore } from '../storage/sqlite/log-store.ts';
import { WriterPool } from '../storage/sqlite/writer-pool.ts';
import { createKek, openKek } from '../vault/keyring.ts';
import type { Staging } from '../vault/vault.ts';
import { Vaults } from '../vault/vaults.ts';
import { disputeError } from '../witness/evidence.ts';
import { checking } from './checks/checking.ts';
import { ensureFolder, lost, openKey, spaceCheck } from './files.ts';
import { ingesting } from './ingesting.ts';
import { highWaterFolder, memoriesOf, witnessedOf } from './memories.ts';
import { removeLogFiles } from './removal.ts';
import { rolling } from './rolling.ts';
import { rotating } from './rotating.ts';
import { type ShownLog, ShownTo } from './shown.ts';
import { SignerKeys } from './signer-keys.ts';
import { tidying } from './tidying.ts';
import { followTrust, keepTrust } from './trust.ts';

export interface InstanceOptions {
  readonly config: Config;
  readonly version: string;
  readonly logger: Logger;
  /** What is on disk is no longer known: the process must end. */
  readonly fatal: (error: Error) => void;
  /** `restore --accept`: the place is not checked but made the folder's own. */
  readonly accept?: boolean;
  /** Nothing is set up: there must be a data folder. */
  readonly mustExist?: boolean;
  /** The operator's key as somebody named it: what is there already has to be it. */
  readonly operatorKey?: { readonly reference: string; readonly cwd: string };
}

export interface Instance {
  readonly data: string;
  readonly store: InstanceStore;
  readonly logs: Logs;
  readonly vaults: Vaults;
  readonly shown: ShownTo;
  /** For what is wrong and stops nothing. */
  readonly warn: (message: string, error: unknown) => void;
  readonly keyChanges: KeyChanges;
  readonly ownGateways: OwnGateways;
  /** The keys of a proxy that runs beside the logs; the first is made where there is none. */
  readonly proxyKeys: () => Promise<GatewayKeyFiles>;
  /** What others report of their calls. */
  readonly ingest: Ingest;
  readonly logger: Logger;
  /** Nothing was ever logged here. */
  readonly isNew: boolean;
  close(): Promise<void>;
}

const OWN_KEY_WAITS = 'the log is not told of a key of the server’s own yet; it is tried again';

/** What lies in a data folder; anything else in it, where no log was ever made, is a wrong path. */
const OWN_FILES =
  /^(stele\.(yaml|db).*|lock\.db.*|keys|logs|vault|vault-keys|tokens|trust\.json.*|running\.json|proxy|lost\+found|\..*)$/;

export async function openInstance(options: InstanceOptions): Promise<Instance> {
  const { config } = options;
  const { data } = config;
  checkFolder(data, options.mustExist === true);
  ensureFolder(data);
  const lock = lockFolder(data);
  const closing: (() => Promise<void> | void)[] = [() => lock.release()];
  const close = async () => {
    // Last opened, first closed; the lock goes last, so that nobody else comes in before.
    for (const step of closing.reverse()) await step();
  };
  try {
    const store = new InstanceStore(join(data, 'stele.db'));
    closing.push(() => store.close());
    if (store.identity() === undefined) {
      store.setIdentity({ originBase: newOriginBase(config), ...placeOf(store.path) });
    } else if (options.accept === true) acceptPlace(store);
    else checkPlace(store);
    const isNew = store.logs().every(({ name }) => isAdminLog(name));
    const parts = await openLogs(options, store, closing);
    return { data, store, isNew, logger: options.logger, ...parts, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openLogs(
  { config, version, logger, fatal, operatorKey }: InstanceOptions,
  store: InstanceStore,
  closing: (() => Promise<void> | void)[],
) {
  const { data } = config;
  const warn = (message: string, error: unknown) => logger.warn({ err: error }, message);
  const keys = join(data, 'keys');
  const isNew = store.logs().every(({ state }) => state === 'creating');
  ensureFolder(highWaterFolder(config), 'name another with STELE_STATE, outside the data folder');
  ensureFolder(join(data, 'logs'));
  const secrets = secretsIn(config.keys);
  const openOperator = () =>
    openKey(join(keys, 'operator.pem'), 'ed25519', {
      mayCreate: isNew,
      secrets,
      algorithms: PURPOSE_ALGORITHMS.operator,
    });
  if (operatorKey !== undefined) {
    ensureFolder(keys);
    await placeOperator(join(keys, 'operator'), operatorKey, { isNew, secrets });
  }
  const openOwn = (use: string) => async (path: string, mayCreate: boolean) => {
    const own = await openKey(path, 'ed25519', { mayCreate, secrets });
    store.claimKey(own.publicKey.keyid, use);
    return own;
  };
  const openAccess = openOwn('the key of access records');
  const access = await GatewayKeyFiles.open(join(keys, 'access'), openAccess, isNew);
  const proxyBase = join(keys, 'proxy');
  let proxyOpened: Promise<GatewayKeyFiles> | undefined;
  const proxyKeys = () => {
    proxyOpened ??= GatewayKeyFiles.open(proxyBase, openOwn('the key of the proxy'), true);
    return proxyOpened;
  };
  const ingestBase = join(keys, 'ingest');
  let ingestOpened: Promise<GatewayKeyFiles> | undefined;
  const ingestKeys = () => {
    const open = openOwn('the key of what others report');
    ingestOpened ??= GatewayKeyFiles.open(ingestBase, open, true);
    return ingestOpened;
  };
  const signer = connectSigner(config, logger);
  if (signer !== undefined) closing.push(() => signer.close());
  const kek = await openVaultKey(join(keys, 'vault.kek'), isNew);
  const vaults = new Vaults({
    data,
    kek,
    originOf: (name) => originOf(store, name),
  });
  closing.push(() => vaults.close());
  const { verifyThreads } = config;
  const pool = new VerifierPool(verifyThreads === undefined ? {} : { threads: verifyThreads });
  closing.push(() => pool.close());
  const writers = new WriterPool();
  closing.push(() => writers.close());
  const shown = new ShownTo(config.witnesses, (name) => store.followers(name));
  const witnessed = witnessedOf(store);
  const logs = new Logs({
    data,
    memories: memoriesOf(config, { version, signer, witnessed, shown }),
    originBase: hostOf(config.publicUrl) ?? store.identity()?.originBase ?? '',
    instance: store,
    openStore: async (path) => {
      ensureFolder(dirname(path));
      return SqliteStore.open(path, writers);
    },
    openKey: (path, alg, mayCreate = false) => openKey(path, alg, { mayCreate, secrets }),
    operator: signer === undefined ? await openOperator() : undefined,
    keysElsewhere: signer && new SignerKeys({ data, signer, openOperator }),
    access,
    // Every staging of this process comes from these vaults.
    commitContent: (name, contents) => vaults.commitAll(name, contents as readonly Staging[]),
    checker: pool,
    clock: systemClock,
    random: (length) => new Uint8Array(randomBytes(length)),
    instanceId: randomBytes(8).toString('hex'),
    software: `stele/${version}`,
    limits: { queueBytes: config.limits.queueBytes, queueAgeMs: config.limits.queueAgeMs },
    openMax: config.limits.openLogs,
    coolingMs: config.coolingMs,
    closed: (name) => vaults.release(name),
    following: (log, previous) => followTrust(data, log, { previous, logger }),
    damageOf: (name) => damageOf(store, name),
    disputeOf: (log) => disputeOf(store, log, shown),
    ...(shown.witnesses.length === 0 ? {} : { witnesses: (log: ShownLog) => shown.of(log) }),
    removeFiles: (name) => removeLogFiles(data, name),
    checkSpace: spaceCheck(data, config.limits.diskFloorBytes, systemClock.now),
    fatal,
    warn,
  });
  closing.push(() => logs.close());
  // A creation that was cut short is completed before anything else is asked of the logs.
  await logs.recover();
  closing.push(tidying(vaults, logs, { logger, fatal }));
  const journal = new Journal(logs, warn);
  closing.push(rolling(config.roll, logs, { logger, fatal }, journal));
  const keyChanges = new KeyChanges({
    logs,
    instance: store,
    clock: systemClock,
    identityOverlapMs: config.rotation.overlapMs,
    changed: (log) => keepTrust(data, log, logger),
  });
  const ownGateways = new OwnGateways({
    logs,
    instance: store,
    clock: systemClock,
    access,
    proxy: async () => (hasGatewayKey(proxyBase) ? proxyKeys() : undefined),
    ingest: async () => (hasGatewayKey(ingestBase) ? ingestKeys() : undefined),
    changed: (log, gateway) => keepTrust(data, log, logger, [gateway]),
    failed: (log, error) => logger.error({ err: error, log }, OWN_KEY_WAITS),
  });
  closing.push(
    await rotating(
      config.rotation,
      { logs, changes: keyChanges, ownGateways, journal },
      { logger, fatal },
    ),
  );
  closing.push(checking({ config, store, logs, kek, logger, fatal }));
  const ingest = ingesting({ config, logs, vaults, store, kek, keys: ingestKeys, version, logger });
  closing.push(() => ingest.close());
  return { logs, vaults, shown, keyChanges, ownGateways, proxyKeys, ingest, warn };
}

/** Puts a key that was brought along where the operator's is looked for, unless it is there already. */
async function placeOperator(
  base: string,
  { reference, cwd }: { readonly reference: string; readonly cwd: string },
  { isNew, secrets }: { readonly isNew: boolean; readonly secrets: KeySecrets },
): Promise<void> {
  const brought = await openKeyReference(reference, cwd, secrets);
  await brought.close();
  const { alg, keyid } = brought.publicKey;
  checkAlgorithm('--operator-key', 'operator', alg);
  const found = findKeyFile(base);
  const there = found === undefined ? undefined : await openKeyByFile(found, secrets);
  if (there?.publicKey.keyid === keyid) return;
  if (there !== undefined || !isNew) {
    throw new SteleError(
      'conflict',
      `--operator-key: the logs here began with another operator key (${found ?? 'not in this folder'}), which signs for as long as they live`,
    );
  }
  placeKey(base, reference, cwd);
}

/** The signer that holds the keys, where the settings name one. What becomes of it is in the log lines. */
function connectSigner({ signerSocket }: Config, logger: Logger): SignerConnection | undefined {
  if (signerSocket === undefined) return undefined;
  return new SignerConnection({
    path: signerSocket,
    said: (message, error) => {
      if (error === undefined) logger.info(message);
      else logger.error({ err: error }, message);
    },
  });
}

/** A first run on a wrong path must not begin a second history beside somebody's files. */
function checkFolder(data: string, mustExist: boolean): void {
  checkRestored(data);
  if (existsSync(join(data, 'stele.db'))) return;
  if (mustExist) {
    throw new SteleError(
      'not_found',
      `${data} is no data folder: name one with --data, or make one with "stele up"`,
    );
  }
  if (!existsSync(data)) return;
  const foreign = readdirSync(data).find((name) => !OWN_FILES.test(name));
  if (foreign === undefined) return;
  throw new SteleError(
    'conflict',
    `${data}: it holds ${JSON.stringify(foreign)} and is no data folder: name an empty or a new one`,
  );
}

/** Origins are made from the public address, or from a name that nobody else will have. */
function newOriginBase(config: Config): string {
  return hostOf(config.publicUrl) ?? `localhost/${randomBytes(4).toString('hex')}`;
}

function hostOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : new URL(url).host;
}

async function openVaultKey(path: string, mayCreate: boolean): Promise<Uint8Array> {
  if (existsSync(path)) return openKek(path);
  if (!mayCreate) throw lost(path);
  return createKek(path);
}

function originOf(store: InstanceStore, name: string): string {
  const row = store.log(name);
  if (row === undefined) throw new SteleError('not_found', `there is no log ${name}`);
  return row.origin;
}

/** What somebody outside holds against a log: of a witness for good where the log's own signature proves it. */
function disputeOf(store: InstanceStore, log: ShownLog, shown: ShownTo): SteleError | undefined {
  const stranger = store.strangers.first(log.name);
  if (stranger !== undefined) return strangerError(stranger);
  const named = shown.namesOf(log);
  for (const { witness, evidence } of store.witnesses.evidence(log.name)) {
    const { said, proven } = JSON.parse(evidence) as { said: string; proven: boolean };
    if (proven || named.has(witness)) return disputeError(log.name, witness, said);
  }
  return undefined;
}

/** What the last check found of a log's tree, if that is damaged. */
function damageOf(store: InstanceStore, name: string): string | undefined {
  const check = store.check(name);
  return check?.tree === 'damaged' ? (check.found[0] ?? 'its tree is damaged') : undefined;
}
