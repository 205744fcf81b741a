/**
 * The logs of a series over HTTP, for a proxy that runs alone.
 *
 * With a trust file every answer is held to it, and where a log goes on has to be proven; what was learned of the
 * next logs is kept beside the data, so that they are known when the first is long gone.
 */
import { existsSync, readFileSync } from 'node:fs';
import { Proof } from '../client/gateway/proof.ts';
import type { Content } from '../client/multipart.ts';
import { Series, type SeriesOptions, withoutQuorum } from '../client/series.ts';
import { formatTrust, parseTrust } from '../core/trust.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import type { LogPort, SeriesPort } from '../proxy/proxy.ts';
import { writeWhole } from './files.ts';

export interface RemoteSeriesOptions extends SeriesOptions {
  /** Where the logs are written down that a seam told of. */
  readonly learned: string;
}

export class RemoteSeries implements SeriesPort {
  readonly #series: Series;
  readonly #options: RemoteSeriesOptions;
  readonly #proofs = new Map<string, Proof>();

  constructor(options: RemoteSeriesOptions) {
    this.#options = options;
    this.#series = new Series({ ...options, check: checkSignatureNative });
    if (options.trust === undefined || !existsSync(options.learned)) return;
    const { logs } = parseTrust(new Uint8Array(readFileSync(options.learned)));
    for (const log of logs) this.#series.learned(log);
  }

  log(origin: string): LogPort {
    return {
      submit: (entry, content, signal) => this.#submit(origin, entry, content, signal),
      sources: async () => (await this.#series.log(origin)).sources(),
    };
  }

  async next(origin: string): Promise<string> {
    const next = await this.#series.next(origin);
    const { trust } = this.#series;
    if (trust !== undefined) {
      const given = new Set(this.#options.trust?.logs.map((log) => log.origin));
      const logs = trust.logs.filter((log) => !given.has(log.origin));
      // A crash before this is none: the old log is asked once more.
      writeWhole(this.#options.learned, formatTrust({ logs }), 0o600);
    }
    return next;
  }

  async #submit(
    origin: string,
    entry: Uint8Array,
    content: Content | undefined,
    signal: AbortSignal | undefined,
  ) {
    const client = await this.#series.log(origin);
    const answer = await client.submit(entry, content, signal);
    const { trust } = this.#series;
    let proof = this.#proofs.get(origin);
    if (proof === undefined) {
      const options = { origin, client, check: checkSignatureNative };
      proof = new Proof({ ...options, trust: trust && withoutQuorum(trust) });
      this.#proofs.set(origin, proof);
    }
    return proof.ofReceipt(answer.receipt, entry, answer.repeat).index;
  }
}
