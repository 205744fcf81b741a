/**
 * What does the server's own log keep of a request? One line: its id, path, status and time, and whose
 * token it was. Never a token, a query string, a header or a body (P10).
 *
 * What strangers do wrong makes no line unless everything is asked for, and a disk that refuses, or a token
 * that asks for too much, makes one line a second: nobody fills the disk with the news that it is full.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { Clock } from '../log/clock.ts';
import type { TokenRow } from '../storage/instance.ts';

export interface Served {
  readonly id: string;
  readonly begunMs: number;
  readonly status: number;
  readonly token: TokenRow | undefined;
  /** Why there was no good answer, if so. */
  readonly failure: unknown;
}

type Level = 'error' | 'info' | 'debug';

const OWN_ID = /^[A-Za-z0-9_-]{1,64}$/;
const PATH_CHARS_MAX = 300;
/** What many requests get at the same time, each for the same reason. */
const FLOODS = [429, 503];
const QUIET_MS = 1_000;

export class RequestLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #prefix = randomBytes(6).toString('hex');
  #count = 0;
  /** When there was last a line about a status that comes in floods. */
  readonly #lastMs = new Map<number, number>();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** A request's id: its own if it is plain, else one that is unique to this process. */
  idOf(req: IncomingMessage): string {
    const own = req.headers['x-request-id'];
    if (typeof own === 'string' && OWN_ID.test(own)) return own;
    this.#count += 1;
    return `${this.#prefix}-${this.#count.toString(36)}`;
  }

  served({ method, url }: IncomingMessage, served: Served): void {
    const { id, status, token } = served;
    const now = this.#clock.now();
    const level = this.#levelOf(status, token, now);
    if (!this.#logger.isLevelEnabled(level)) return;
    const path = (url ?? '').split('?', 1)[0]?.slice(0, PATH_CHARS_MAX);
    const err = status >= 500 ? served.failure : undefined;
    const ms = now - served.begunMs;
    this.#logger[level]({ id, method, path, status, ms, token: token?.id, err }, 'request');
  }

  /** A connection that ends early is the client's business; anything else here is ours. */
  brokeOff(error: unknown): void {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const gone = code === 'ECONNRESET' || code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE';
    if (gone) this.#logger.debug({ code }, 'client gone');
    else this.#logger.error({ err: error }, 'answer broke');
  }

  #levelOf(status: number, token: TokenRow | undefined, now: number): Level {
    const level = status >= 500 ? 'error' : status >= 400 && token !== undefined ? 'info' : 'debug';
    if (level === 'debug' || !FLOODS.includes(status)) return level;
    if (now - (this.#lastMs.get(status) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return 'debug';
    this.#lastMs.set(status, now);
    return level;
  }
}
