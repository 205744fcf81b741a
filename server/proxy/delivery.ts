/**
 * The answer on its way to the client: at the client's pace, and counted.
 *
 * A client that leaves is no error here: what is written afterwards goes nowhere, and `isGone` says so.
 */
import type { IncomingMessage, InformationEvent, ServerResponse } from 'node:http';
import { forwardedResponseHeaders, type RawHeaders } from './headers.ts';
import { IdleTimer } from './idle.ts';
import { breakConnection } from './receive.ts';

export class Delivery {
  readonly #res: ServerResponse;
  readonly #idle: IdleTimer;
  #isGone = false;
  #written = 0;
  #flushed = 0;

  /** A client that takes nothing for `idleMs` while something waits for it is taken for gone. */
  constructor(res: ServerResponse, idleMs: number, onGone: () => void) {
    this.#res = res;
    this.#idle = new IdleTimer(idleMs, () => res.destroy());
    res.on('close', () => {
      this.#idle.stop();
      // Node 22 takes an answer for finished that was cut under what it still had to write.
      if (res.writableFinished && this.#flushed === this.#written) return;
      this.#isGone = true;
      onGone();
    });
  }

  /** Whether the client left before it had everything. */
  get isGone(): boolean {
    return this.#isGone;
  }

  get hasBegun(): boolean {
    return this.#res.headersSent;
  }

  /** Bytes of the body that the client's connection took. What was under way when it left does not count. */
  get bytes(): number {
    return this.#isGone ? this.#flushed : this.#written;
  }

  /** [RFC 9110 §15.2] SPEC: a proxy MUST forward 1xx responses unless it asked for them itself. */
  information({ statusCode, rawHeaders }: InformationEvent): void {
    const res = this.#res;
    // 100 answers an expectation that the proxy met by itself; of 101 there is none here.
    const isForwarded = statusCode > 101 && statusCode < 200 && res.req.httpVersion !== '1.0';
    if (!isForwarded || this.#isGone || this.hasBegun || !('writeInformation' in res)) return;
    res.writeInformation(statusCode, forwardedResponseHeaders(rawHeaders, []));
  }

  /** The upstream's status line and headers, byte for byte as far as Node allows, and ours. */
  head(answer: IncomingMessage, ours: RawHeaders): void {
    if (this.#isGone) return;
    // What the upstream did not say is not said for it.
    this.#res.sendDate = false;
    const headers = forwardedResponseHeaders(answer.rawHeaders, ours);
    this.#res.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? '', headers);
    this.#res.flushHeaders();
  }

  /** Resolves when the connection takes more, or is gone. */
  async write(part: Uint8Array): Promise<void> {
    if (this.#isGone) return;
    const res = this.#res;
    this.#written += part.length;
    const hasRoom = res.write(part, (error) => {
      if (error === null || error === undefined) this.#flushed += part.length;
    });
    if (hasRoom || this.#isGone) return;
    this.#idle.touch();
    await new Promise<void>((resolve) => {
      const done = () => {
        res.off('drain', done).off('close', done);
        this.#idle.stop();
        resolve();
      };
      res.on('drain', done).on('close', done);
    });
  }

  /** The answer is whole. */
  end(rawTrailers: RawHeaders): void {
    const kept = forwardedResponseHeaders(rawTrailers, []);
    const pairs: [string, string][] = [];
    for (let i = 0; i + 1 < kept.length; i += 2) {
      pairs.push([kept[i] as string, kept[i + 1] as string]);
    }
    if (pairs.length > 0 && !this.#isGone) this.#res.addTrailers(pairs);
    // Until the last byte is taken, or the connection is over.
    if (!this.#isGone) this.#idle.touch();
    this.#res.end(() => this.#idle.stop());
  }

  /** The answer is not whole, and must not look it. */
  breakOff(): void {
    if (!this.#isGone) breakConnection(this.#res);
  }
}
