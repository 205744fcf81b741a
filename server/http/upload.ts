/**
 * How do the bytes of a long body arrive? When they are asked for, and never slower than one in
 * `idleTimeoutMs`.
 */
import type { IncomingMessage } from 'node:http';
import { SteleError } from '../core/errors.ts';
import { brokenOff, timedOut } from './body.ts';
import type { ByteSource } from './multipart.ts';

/** The body of a request, pulled. */
export class RequestBytes implements ByteSource {
  readonly #req: IncomingMessage;
  readonly #idleTimeoutMs: number;
  readonly #checkSender: () => void;
  #received = 0;

  /** `checkSender` throws where the sender may send no more; it is asked whenever bytes have come. */
  constructor(req: IncomingMessage, idleTimeoutMs: number, checkSender: () => void) {
    this.#req = req;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#checkSender = checkSender;
  }

  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#req.read() as Buffer | null;
      if (chunk !== null) {
        this.#checkSender();
        this.#received += chunk.length;
        return chunk;
      }
      if (this.#req.readableEnded || this.#req.complete) {
        // `complete` is set with the last byte; what was buffered then is read above first.
        if (this.#req.readableLength === 0) return undefined;
        continue;
      }
      if (this.#req.destroyed) throw brokenOff(this.#req, this.#received);
      await this.#somethingHappens();
    }
  }

  #somethingHappens(): Promise<void> {
    const req = this.#req;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        req.off('readable', done).off('end', done).off('close', done).off('error', done);
        resolve();
      };
      const timer = setTimeout(() => {
        req.off('readable', done).off('end', done).off('close', done).off('error', done);
        reject(timedOut(this.#received, this.#idleTimeoutMs));
      }, this.#idleTimeoutMs);
      req.on('readable', done).on('end', done).on('close', done).on('error', done);
    });
  }
}

/** How many streamed submissions each token has under way. */
export class Uploads {
  readonly #max: number;
  readonly #underWay = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  begin(tokenId: string): void {
    const count = this.#underWay.get(tokenId) ?? 0;
    if (count >= this.#max) {
      throw new SteleError(
        'pushback',
        `token ${tokenId} has ${count} submissions with content under way, which is the limit`,
      );
    }
    this.#underWay.set(tokenId, count + 1);
  }

  end(tokenId: string): void {
    const count = this.#underWay.get(tokenId) ?? 0;
    if (count <= 1) this.#underWay.delete(tokenId);
    else this.#underWay.set(tokenId, count - 1);
  }
}
