/**
 * The logs of a series, one after the other: where does a log go on that has ended?
 *
 * The server says it, and with a trust file it has to prove it: by the old log's last entry, which names the
 * next log, and that one's genesis, which names the old one's last head and is signed by the same operator
 * (`verify/seam.ts`). So nobody but the operator can send a gateway elsewhere, and the keys of every log to
 * come are known from those of the first.
 */
import { parseBase64 } from '../core/bytes.ts';
import { hasCode, malformed, SteleError, shown } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import type { SignatureCheck } from '../core/signature.ts';
import { checkOrigin } from '../core/tree-head.ts';
import type { Trust, TrustedLog } from '../core/trust.ts';
import { openSeam } from '../verify/seam.ts';
import { LogClient, object, segment, text } from './client.ts';
import { InstanceClient } from './instance.ts';
import { believed } from './problem.ts';
import type { TransportOptions } from './transport.ts';

export interface SeriesOptions extends Omit<TransportOptions, 'base'> {
  /** The server's address, such as http://127.0.0.1:8080. */
  readonly server: string;
  /** Which log keys are believed. Without it the server's word is taken. */
  readonly trust?: Trust | undefined;
  /** The engine for signatures; the portable one where none is given. */
  readonly check?: SignatureCheck | undefined;
}

/** A receipt of the operator's own is much smaller. */
const SEAM_RECEIPT_BYTES_MAX = 524_288;

export class Series {
  readonly #options: SeriesOptions;
  /** Names by origin, as the server gave them. */
  readonly #names = new Map<string, string>();
  #trust: Trust | undefined;

  constructor(options: SeriesOptions) {
    this.#options = options;
    this.#trust = options.trust;
  }

  /** What is believed: the trust that was given, and the logs that were learned of by a seam. */
  get trust(): Trust | undefined {
    return this.#trust;
  }

  /** Believes in a log that an earlier process learned of by a seam, unless the trust that was given knows it. */
  learned(log: TrustedLog): void {
    const { logs, ...trust } = this.#trust ?? { logs: [] };
    if (this.#trust === undefined || logs.some(({ origin }) => origin === log.origin)) return;
    this.#trust = { ...trust, logs: [...logs, log] };
  }

  /** The log of this name, whatever its origin. */
  named(name: string): LogClient {
    const { server, trust: _, check: __, ...transport } = this.#options;
    return new LogClient({ ...transport, base: `${server}/logs/${segment(name)}` });
  }

  /** The log of this origin; `not_found` if the server shows none. */
  async log(origin: string): Promise<LogClient> {
    const name = this.#names.get(origin) ?? (await this.#find(origin));
    return this.named(this.#keep(origin, name));
  }

  /** Origins end with the log's name, where nobody made them otherwise; and a server tells which logs it has. */
  async #find(origin: string): Promise<string> {
    const guess = /\/logs\/([a-z0-9][a-z0-9-]{0,62})$/.exec(origin)?.[1];
    if (guess !== undefined && (await this.#isCalled(guess, origin))) return guess;
    const { server, trust: _, check: __, ...transport } = this.#options;
    const logs = await new InstanceClient({ ...transport, base: server }).visibleLogs();
    const found = logs.find((log) => log.origin === origin);
    if (found !== undefined) return text(found, 'name');
    throw new SteleError('not_found', `there is no log of origin ${shown(origin)} at ${server}`);
  }

  async #isCalled(name: string, origin: string): Promise<boolean> {
    try {
      return (await this.named(name).head()).origin === origin;
    } catch (error) {
      if (hasCode(error, 'not_found')) return false;
      throw error;
    }
  }

  /**
   * The origin of the log that goes on where this one ended. Rejects with `not_yet` while that one is being
   * made, with `not_found` if none follows, and with `unverified` if what the server says is not proven.
   */
  async next(origin: string): Promise<string> {
    const bytes = await (await this.log(origin)).next();
    const { next, name, learned } = believed(() => this.#read(origin, bytes));
    if (learned !== undefined) this.learned(learned);
    this.#keep(next, name);
    return next;
  }

  #keep(origin: string, name: string): string {
    this.#names.set(origin, segment(name));
    return name;
  }

  #read(origin: string, bytes: Uint8Array) {
    const answer = object(parseJson(bytes, 'answer'), 'answer');
    const [next, name] = [text(answer, 'origin'), segment(text(answer, 'name'))];
    checkOrigin(next);
    const learned = this.#trust && this.#prove(origin, next, answer, this.#trust);
    return { next, name, learned };
  }

  #prove(
    origin: string,
    next: string,
    answer: ReturnType<typeof object>,
    trust: Trust,
  ): TrustedLog {
    const receipt = (name: 'last' | 'genesis') => {
      const base64 = text(answer, name);
      if (base64.length > 2 * SEAM_RECEIPT_BYTES_MAX) {
        throw malformed(name, `${base64.length} characters are too long for such a receipt`);
      }
      return parseBase64(base64, name);
    };
    const { check } = this.#options;
    const seam = openSeam(receipt('last'), receipt('genesis'), withoutQuorum(trust), check);
    if (seam.last.origin !== origin) {
      throw malformed('seam', `it is of ${seam.last.origin} and not of ${origin}`);
    }
    if (seam.next.origin !== next) {
      throw malformed('seam', `it leads to ${seam.next.origin} and not to ${next}`);
    }
    return seam.next;
  }
}

/** Witnesses take their time: what is asked of a head the moment it is signed is that the log signed it. */
export function withoutQuorum({ policy: _, ...trust }: Trust): Trust {
  return trust;
}
