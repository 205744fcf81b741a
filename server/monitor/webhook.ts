/**
 * Telling somebody: each event is posted as JSON to an address of the operator's, one after the other.
 *
 * What cannot be delivered is tried again a few times and then given up, which is said: a monitor whose alarms
 * reach nobody must not look like one that has none. Events wait in a queue of bounded length.
 */

import { retrying } from '../client/retrying.ts';
import { utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import type { Outbound } from '../outbound.ts';

export interface WebhookOptions {
  readonly url: string;
  readonly outbound: Outbound;
  /** Told of what was given up: one line. */
  readonly failed: (line: string) => void;
  readonly wait?: (ms: number) => Promise<void>;
}

const QUEUE_MAX = 256;
const ATTEMPTS = 5;
const TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 65_536;

export class Webhook {
  readonly #options: WebhookOptions;
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  /** Posts it when those before it are delivered or given up. */
  post(event: unknown): void {
    if (this.#waiting >= QUEUE_MAX) {
      this.#options.failed(`webhook: ${QUEUE_MAX} events wait already, and one is dropped`);
      return;
    }
    this.#waiting++;
    this.#last = this.#last.then(() => this.#deliver(event)).finally(() => this.#waiting--);
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    let last: Promise<void> | undefined;
    while (last !== this.#last) {
      last = this.#last;
      await last;
    }
  }

  async #deliver(event: unknown): Promise<void> {
    const { url, outbound, failed, wait } = this.#options;
    const body = utf8(`${JSON.stringify(event)}\n`);
    try {
      await retrying(
        async () => {
          const { status, retryAfterS } = await outbound.ask(url, {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/json' },
            maxBytes: ANSWER_BYTES_MAX,
            timeoutMs: TIMEOUT_MS,
          });
          if (status >= 200 && status < 300) return;
          // The host alone: the rest of such an address is often a secret.
          const passes = status === 429 || status >= 500;
          const options = retryAfterS === undefined ? {} : { retryAfterS };
          const what = `${new URL(url).host}: it answered ${status}`;
          throw new SteleError(passes ? 'storage' : 'forbidden', what, options);
        },
        {
          attempts: ATTEMPTS,
          maxWaitMs: 5_000,
          maxAskedS: 30,
          ...(wait === undefined ? {} : { wait }),
        },
      );
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      failed(`webhook: an event was not delivered: ${error.message}`);
    }
  }
}
