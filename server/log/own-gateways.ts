/**
 * Changes of the server's own gateway keys: of access records, of the proxy beside the logs, and of what others report.
 *
 *     next key   a file is made, and signs what is said from then on
 *     hand-over  each log is told, before the next key signs there for the first time: of access records and of
 *                what others report when one is to be written, of the proxy when all that the old key signed is in the log
 *     end        a day later the old key is revoked, in every log that has it
 *
 * The wish to end the old key is on disk before there is a next one. What is cut short after that is found in
 * the logs themselves: a source that is not the newest key's yet, and a key that is not revoked yet.
 */
import { hasCode, SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { PublicKey } from '../core/keys.ts';
import type { NumberedKeys } from '../keys/gateway-keys.ts';
import type { Signer } from '../keys/signer.ts';
import type { EndingOwnKeyRow, InstanceStore } from '../storage/instance.ts';
import { type Clock, timestamp } from './clock.ts';
import type { Log } from './log.ts';
import type { Logs } from './logs.ts';
import { keptFor, ownSource } from './names.ts';

export const OWN_PURPOSES = ['access', 'proxy', 'ingest'] as const;
export type OwnPurpose = (typeof OWN_PURPOSES)[number];

const NO_KEY = {
  access: 'there is no key of access records',
  proxy: 'no proxy ever ran on this data folder: it has no key',
  ingest: 'nobody ever reported anything over the other ways in: there is no key for it',
} as const satisfies Record<OwnPurpose, string>;

/** How long the old key may still send what it signed. */
const OVERLAP_MS = 86_400_000;

/** How long whoever changes a key waits for the logs to hear of it. */
const ANSWER_MS = 15_000;

/** The proxy that runs beside the logs. */
export interface ChangesSigner {
  changeSigner(
    next: Signer,
    ports: {
      readonly handOver: (origin: string, source: string) => Promise<void>;
      readonly failed: (log: string, error: SteleError) => void;
    },
  ): Promise<void>;
}

export interface OwnGatewaysOptions {
  readonly logs: Logs;
  readonly instance: InstanceStore;
  readonly clock: Clock;
  readonly access: NumberedKeys;
  /** The keys of the proxy; nothing where none ever ran on this folder. */
  readonly proxy: () => Promise<NumberedKeys | undefined>;
  /** The keys of what others report; nothing where nobody ever told anything. */
  readonly ingest: () => Promise<NumberedKeys | undefined>;
  /** Told of a log that has another key of the proxy. */
  readonly changed: (log: Log, gateway: PublicKey) => void;
  /** Told of each log that could not be told of a new key, or of the end of one; it is tried again. */
  readonly failed: Failed;
}

/** Goes around the end of a key in a log: who administers says what he does. */
export type Recorded = <T>(log: string, details: JsonObject, work: () => Promise<T>) => Promise<T>;

type Failed = (log: string, error: SteleError) => void;

export interface NewOwnKey {
  readonly purpose: OwnPurpose;
  /** Others may have the key that there is: it is revoked as soon as the next one has its sources. */
  readonly compromised?: boolean | undefined;
}

export class OwnGateways {
  readonly #options: OwnGatewaysOptions;
  #running: ChangesSigner | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: OwnGatewaysOptions) {
    this.#options = options;
  }

  /** A proxy runs: it is told of a key that it does not sign with yet, and of those that come. */
  proxyRuns(proxy: ChangesSigner): Promise<void> {
    this.#running = proxy;
    return this.handOver();
  }

  /** Whether there is a key of this purpose. */
  async has(purpose: OwnPurpose): Promise<boolean> {
    return purpose === 'access' || (await this.#options[purpose]()) !== undefined;
  }

  /** Gives the proxy's sources to its newest key, where another one still signs. */
  async handOver(failed: Failed = () => {}): Promise<void> {
    const { logs, proxy, changed } = this.#options;
    const running = this.#running;
    const newest = running && (await proxy())?.newest;
    if (newest === undefined) return;
    const { publicKey } = newest;
    await running?.changeSigner(newest, {
      handOver: (origin, source) =>
        logs.use(logs.ofOrigin(origin)?.name ?? origin, async (log) => {
          const owner = await log.ownerOf(source);
          if (owner === publicKey.keyid) return;
          // A source that said nothing yet belongs to the key that says something first.
          await log.registerGateway(publicKey, owner === undefined ? {} : { source });
          changed(log, publicKey);
        }),
      failed: this.#saying(failed),
    });
  }

  /** Revokes what is due to be, in every log. */
  finishDue(recorded: Recorded): Promise<void> {
    return this.#inTurn(async () => {
      const { instance, clock } = this.#options;
      for (const row of instance.endingOwnKeys()) {
        if (row.dueMs <= clock.now()) await this.#end(row, recorded, () => {});
      }
    });
  }

  /**
   * Makes another key, which signs from here on. The answer says what becomes of the one before, and which
   * logs could not be told yet: they are told as soon as they can be.
   */
  async rotate({ purpose, compromised = false }: NewOwnKey): Promise<JsonObject> {
    const { row, next } = await this.#inTurn(() => this.#make(purpose, compromised));
    const waiting: JsonObject[] = [];
    const failed: Failed = (log, error) => waiting.push({ log, detail: error.message });
    const revoked: JsonObject[] = [];
    const noted: Recorded = async (log, _, work) => {
      const index = await work();
      revoked.push({ log, index: Number(index) });
      return index;
    };
    const told = this.#tell(purpose, failed).then(async () => {
      if (compromised) await this.#inTurn(() => this.#end(row, noted, failed));
      return true;
    });
    const isTold = await Promise.race([told, late(ANSWER_MS)]);
    if (!isTold) waiting.push({ detail: 'the logs are still being told' });
    const fate = compromised ? { revoked } : { revoke_from: timestamp(row.dueMs) };
    const { keyid, alg } = next.publicKey;
    // Copies: what comes later belongs to no answer any more.
    return { purpose, keyid, alg, others: [{ keyid: row.keyid, ...fate }], waiting: [...waiting] };
  }

  async #make(
    purpose: OwnPurpose,
    compromised: boolean,
  ): Promise<{ readonly row: EndingOwnKeyRow; readonly next: Signer }> {
    const { instance, clock } = this.#options;
    const keys = purpose === 'access' ? this.#options.access : await this.#options[purpose]();
    if (keys === undefined) throw new SteleError('not_found', NO_KEY[purpose]);
    const { keyid } = keys.newest.publicKey;
    const dueMs = clock.now() + (compromised ? 0 : OVERLAP_MS);
    const row = { keyid, dueMs };
    // Without a next key this is a wish that is dropped when it is due.
    instance.noteEndingOwnKey(row);
    return { row, next: await keys.next() };
  }

  /** An access log hears of its new key when it has something to say, and of the end of the old one. */
  async #tell(purpose: OwnPurpose, failed: Failed): Promise<void> {
    if (purpose === 'proxy') await this.handOver(failed);
  }

  /** Revokes a key wherever it is registered. What is not done yet is done at another turn. */
  async #end({ keyid }: EndingOwnKeyRow, recorded: Recorded, failed: Failed): Promise<void> {
    const { instance, access, proxy, ingest } = this.#options;
    const families = [access, await proxy(), await ingest()];
    const isNewest = families.some((keys) => keys?.newest.publicKey.keyid === keyid);
    let isDone = true;
    for (const name of isNewest ? [] : this.#everyLog()) {
      try {
        await this.#endIn(name, keyid, recorded);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        // What is being created or removed right now has nothing to say.
        if (hasCode(error, 'not_found')) continue;
        isDone = false;
        this.#saying(failed)(name, error);
      }
    }
    if (isDone) instance.dropEndingOwnKey(keyid);
  }

  async #endIn(name: string, keyid: string, recorded: Recorded): Promise<void> {
    const { logs, access, ingest } = this.#options;
    await logs.use(name, async (log) => {
      const key = log.keys().find((known) => known.keyid === keyid);
      // An ended log takes nothing by it any more.
      if (key === undefined || key.revoked !== undefined || log.end !== undefined) return;
      const own = ownSource(name);
      if (own !== undefined) await log.ownGateway(own, access);
      const told = await ingest();
      // What others report is signed by the newest key, whichever signed what came before.
      for (const source of told?.find(keyid) === undefined ? [] : await sourcesOf(log, keyid)) {
        await log.ownGateway(source, told as NumberedKeys);
      }
      await checkOwnsNothing(log, keyid);
      await recorded(name, { keyid }, () => log.revokeGateway(keyid));
    });
  }

  /** Every log that there is, and the access logs of those that are gone. */
  #everyLog(): readonly string[] {
    return this.#options.logs
      .listAll()
      .flatMap(({ name, state }) => keptFor(name, state === 'retired'))
      .map(({ name }) => name);
  }

  #saying(failed: Failed): Failed {
    return (log, error) => {
      this.#options.failed(log, error);
      failed(log, error);
    };
  }

  /** One change at a time: a key that is made while another ends would be taken for the newest too late. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function late(ms: number): Promise<false> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(false), ms).unref();
  });
}

const SOURCES_PAGE = 100;

/** Throws `conflict` while the key has a source: whoever signs with it could not send what it signed. */
async function checkOwnsNothing(log: Log, keyid: string): Promise<void> {
  const [owned] = await sourcesOf(log, keyid);
  if (owned === undefined) return;
  throw new SteleError(
    'conflict',
    `key ${keyid} still has source ${owned} of log ${log.name}: it is revoked when the proxy has handed ` +
      'it over; if none will, run "stele gateway revoke"',
  );
}

/** The sources that a key has. */
async function sourcesOf(log: Log, keyid: string): Promise<string[]> {
  const owned: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await log.sources(after, SOURCES_PAGE);
    for (const source of page) if (source.keyid === keyid) owned.push(source.id);
    if (page.length < SOURCES_PAGE) return owned;
    after = page.at(-1)?.id;
  }
}
