/** What others report of their calls, put together with the logs that it goes to. */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { fingerprints } from '../ingest/fingerprint.ts';
import { Ingest } from '../ingest/ingest.ts';
import type { NumberedKeys } from '../keys/gateway-keys.ts';
import { systemClock } from '../log/clock.ts';
import { nextOf } from '../log/goes-on.ts';
import type { Logs } from '../log/logs.ts';
import type { InstanceStore } from '../storage/instance.ts';
import type { Vaults } from '../vault/vaults.ts';
import { keepTrust } from './trust.ts';

export interface IngestingParts {
  readonly config: Config;
  readonly logs: Logs;
  readonly vaults: Vaults;
  readonly store: InstanceStore;
  readonly kek: Uint8Array;
  readonly keys: () => Promise<NumberedKeys>;
  readonly version: string;
  readonly logger: Logger;
}

export function ingesting(parts: IngestingParts): Ingest {
  const { config, logs, vaults, store, kek, keys, version, logger } = parts;
  return new Ingest({
    logs,
    vaults,
    ingested: store.ingested,
    keys,
    fingerprintOf: fingerprints(kek),
    clock: systemClock,
    random: (length) => new Uint8Array(randomBytes(length)),
    software: `stele/${version}`,
    instance: randomBytes(4).toString('hex'),
    registered: (log, { newest }) => {
      logger.info({ log: log.name, keyid: newest.publicKey.keyid }, 'what others report is logged');
      keepTrust(config.data, log, logger, [newest.publicKey]);
    },
    joinMs: config.ingest.joinMs,
    later: (ms, work) => {
      const timer = setTimeout(work, ms);
      return () => clearTimeout(timer);
    },
    nextOf: async (name) => (await nextOf(logs, name)).name,
  });
}
