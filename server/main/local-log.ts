/**
 * The logs of this very process, for the proxy beside it: what `POST LOG/v1/entries` does, without the
 * network and without a token.
 */
import type { ServedSource } from '../client/client.ts';
import type { Content } from '../client/multipart.ts';
import { invariant, malformed, SteleError, shown } from '../core/errors.ts';
import { free } from '../core/free.ts';
import { commitmentsOf } from '../core/record.ts';
import type { Admitted } from '../log/admit.ts';
import { nextOf } from '../log/goes-on.ts';
import type { Log } from '../log/log.ts';
import type { Logs } from '../log/logs.ts';
import type { LogPort, SeriesPort } from '../proxy/proxy.ts';
import { FsyncFailed } from '../storage/sqlite/database.ts';
import type { Staging } from '../vault/vault.ts';
import type { Vaults } from '../vault/vaults.ts';

export interface LocalLogOptions {
  readonly logs: Logs;
  readonly vaults: Vaults;
  readonly name: string;
  /** Bytes of one body. */
  readonly bodyBytesMax: number;
  /** What is on disk is no longer known: the process must end. */
  readonly fatal: (error: Error) => void;
}

/** The logs of a series: each by its origin, and where it goes on. */
export class LocalSeries implements SeriesPort {
  readonly #options: Omit<LocalLogOptions, 'name'>;

  constructor(options: Omit<LocalLogOptions, 'name'>) {
    this.#options = options;
  }

  log(origin: string): LogPort {
    return new LocalLog({ ...this.#options, name: this.#nameOf(origin) });
  }

  async next(origin: string): Promise<string> {
    return (await nextOf(this.#options.logs, this.#nameOf(origin))).origin;
  }

  #nameOf(origin: string): string {
    const name = this.#options.logs.ofOrigin(origin)?.name;
    if (name !== undefined) return name;
    throw new SteleError('not_found', `there is no log of origin ${shown(origin)}`);
  }
}

export class LocalLog implements LogPort {
  readonly #options: LocalLogOptions;

  constructor(options: LocalLogOptions) {
    this.#options = options;
  }

  async submit(entry: Uint8Array, content?: Content) {
    try {
      return await this.#submit(entry, content);
    } catch (error) {
      // The submitter tries again whatever fails, and after a failed fsync nobody may (P9).
      if (error instanceof FsyncFailed) this.#options.fatal(error);
      throw error;
    }
  }

  #submit(entry: Uint8Array, content: Content | undefined) {
    const { logs, name } = this.#options;
    return logs.use(name, (log) => this.#submitTo(log, entry, content));
  }

  async #submitTo(log: Log, entry: Uint8Array, content: Content | undefined) {
    log.checkRoom();
    const admitted = await log.admit(entry);
    const staging = await this.#stage(admitted, content);
    try {
      const item = staging === undefined ? { admitted } : { admitted, content: staging };
      const [submitted] = await log.submit([item]);
      invariant(submitted !== undefined, 'a submission has one outcome');
      if (submitted instanceof SteleError) throw submitted;
      return submitted.index;
    } catch (error) {
      await staging?.discard();
      throw error;
    }
  }

  async sources(): Promise<readonly ServedSource[]> {
    const { logs, name } = this.#options;
    return logs.use(name, (log) => log.sources());
  }

  async #stage({ record }: Admitted, content: Content | undefined): Promise<Staging | undefined> {
    if (content === undefined || content.disclosures.length + content.bodies.length === 0) return;
    if (record === undefined) throw malformed('content', 'it came with an entry that is no record');
    const { vaults, name, bodyBytesMax } = this.#options;
    const vault = await vaults.get(name);
    const key = { source: record.source.id, recordId: record.record_id };
    const staging = await vault.begin(key, commitmentsOf(record));
    try {
      for (const disclosure of content.disclosures) await staging.addDisclosure(disclosure);
      for (const { field, open, isGiven } of content.bodies) {
        const pieces = isGiven === true ? freed(open()) : open();
        await staging.addBody(field, pieces, { bytesMax: bodyBytesMax });
      }
      // Its fsync happens here, and not while the log's next batch waits for it.
      await staging.seal();
      return staging;
    } catch (error) {
      await staging.discard();
      throw error;
    }
  }
}

/** Gives the memory of each piece back as soon as it is sealed. */
async function* freed(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    free(piece);
  }
}
