/**
 * The first run: everything that a new data folder needs, made before anything listens.
 *
 * Every step looks whether it was done before, so that a run that was killed anywhere is completed by
 * the next one:
 *
 *     stele.yaml · keys/ · log `default` (genesis is entry 0) · the proxy's key (entry 1)
 *     · tokens/ · trust.json
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Journal } from '../admin/journal.ts';
import { mintToken } from '../admin/tokens.ts';
import { formatSettings } from '../config/write.ts';
import type { Config } from '../config.ts';
import { SteleError } from '../core/errors.ts';
import type { GatewayKeyFiles } from '../keys/gateway-keys.ts';
import type { Signer } from '../keys/signer.ts';
import { systemClock } from '../log/clock.ts';
import type { Log } from '../log/log.ts';
import type { Lease } from '../log/open-logs.ts';
import type { Role } from '../storage/instance.ts';
import { ensureFolder, syncFolder, writeWhole } from './files.ts';
import type { Instance } from './instance.ts';
import { hasTrust, keepTrust, writeTrust } from './trust.ts';

export const DEFAULT_LOG = 'default';

/** Who holds the tokens of the first run: whoever can read the data folder. One person, all four. */
const OWNER = 'owner';
/** Who administers in the first run. */
const SETUP = 'setup';
const FIRST_TOKENS = ['admin', 'read', 'submit', 'content'] as const satisfies readonly Role[];

/** `proxy` registers the key of a proxy that runs in this process with every log it writes to. */
export async function setUp(
  instance: Instance,
  config: Config,
  options: { readonly proxy: boolean },
): Promise<{ readonly proxyKeys: GatewayKeyFiles | undefined }> {
  const { data, store, logs, isNew, warn } = instance;
  const journal = new Journal(logs, warn);
  const settings = join(data, 'stele.yaml');
  if (!existsSync(settings)) writeWhole(settings, formatSettings(), 0o644);
  if (isNew) {
    const deed = { act: 'log.create', holder: SETUP, log: DEFAULT_LOG };
    await journal.around(deed, {}, () => logs.create({ name: DEFAULT_LOG }));
  }
  const proxyKeys = options.proxy ? await openProxyKeys(instance, config) : undefined;
  ensureFolder(join(data, 'tokens'));
  for (const role of FIRST_TOKENS) await makeToken(instance, journal, role);
  const state = store.log(DEFAULT_LOG)?.state;
  const isListed = state !== undefined && state !== 'creating' && state !== 'retired';
  const first = isListed ? await opened(logs, DEFAULT_LOG) : undefined;
  if (first !== undefined) {
    const gateways = proxyKeys === undefined ? [] : [proxyKeys.newest.publicKey];
    try {
      if (hasTrust(data)) keepTrust(data, first.log, instance.logger, gateways);
      else writeTrust(data, first.log, gateways);
    } finally {
      first.release();
    }
  }
  return { proxyKeys };
}

/** The proxy's own keys, the newest of which is registered with each log that an upstream names. */
async function openProxyKeys(
  { store, logs, proxyKeys }: Instance,
  config: Config,
): Promise<GatewayKeyFiles> {
  const keys = await proxyKeys();
  for (const name of new Set(config.upstreams.map((upstream) => upstream.log))) {
    if (store.log(name) === undefined) {
      const upstream = config.upstreams.find(({ log }) => log === name)?.name;
      throw new SteleError(
        'not_found',
        `upstreams.${upstream}.log: there is no log ${name}: run "stele log create ${name}" first`,
      );
    }
    const lease = await opened(logs, name);
    try {
      if (lease !== undefined) await registerProxy(lease.log, keys.newest);
    } finally {
      lease?.release();
    }
  }
  return keys;
}

/**
 * A log to work on; nothing of one that cannot be opened. It keeps no other from being served: the start says
 * so, and its calls wait in the proxy's journal.
 */
async function opened(logs: Instance['logs'], name: string): Promise<Lease | undefined> {
  try {
    return await logs.lease(name);
  } catch (error) {
    if (error instanceof SteleError) return undefined;
    throw error;
  }
}

async function registerProxy(log: Log, { publicKey }: Signer): Promise<void> {
  const known = log.keys().find(({ keyid }) => keyid === publicKey.keyid);
  if (known?.revoked !== undefined) {
    throw new SteleError(
      'forbidden',
      `the proxy's key ${publicKey.keyid} was revoked in log ${log.name} at entry ${known.revoked}: give it ` +
        'another with "stele key rotate-own proxy"',
    );
  }
  // A log that takes nothing any more is served for reading; its calls wait in the proxy's journal.
  if (log.stopped !== undefined || log.end !== undefined) return;
  await log.registerGateway(publicKey);
}

/**
 * A token in a file of its own. The draft is on disk before the server knows the token, so a crash in
 * between leaves nothing that nobody holds. One that was made once and taken away is not made again.
 */
async function makeToken({ data, store }: Instance, journal: Journal, role: Role): Promise<void> {
  const path = join(data, 'tokens', role);
  const draft = `${path}.new`;
  if (existsSync(path)) return;
  const known = store
    .listTokens()
    .find(({ holder, roles }) => holder === OWNER && roles.length === 1 && roles[0] === role);
  if (known !== undefined) {
    if (existsSync(draft) && isToken(readFileSync(draft, 'utf8').trim(), known.hash)) {
      renameSync(draft, path);
    }
    return;
  }
  rmSync(draft, { force: true });
  const wanted = { holder: OWNER, roles: [role], logs: ['*'] };
  const { token, row } = mintToken(
    wanted,
    systemClock.now(),
    (n) => new Uint8Array(randomBytes(n)),
  );
  writeWhole(draft, `${token}\n`, 0o600);
  const { id } = row;
  const deed = { act: 'token.create', holder: SETUP };
  await journal.around(deed, { id, ...wanted }, async () => store.insertToken(row));
  renameSync(draft, path);
  syncFolder(join(data, 'tokens'));
}

function isToken(token: string, hash: Uint8Array): boolean {
  return createHash('sha256').update(token).digest().equals(hash);
}
