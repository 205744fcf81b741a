/**
 * What the journal missed while it could not be written: how does it get on record afterwards?
 *
 * A call whose request is on disk is ended from its frames and becomes a truncated record. A call that was
 * forwarded without (posture observe) is counted in a gap (`missed.ts`). Both wait until the journal can be
 * written again; a crash before that leaves them to the next start.
 */
import { hasCode } from '../core/errors.ts';
import type { Clock } from './clock.ts';
import { closeOpenCall } from './close-call.ts';
import type { EndFacts } from './facts.ts';
import type { ProxyLogger } from './logger.ts';
import type { Missed } from './missed.ts';
import type { Recorder } from './recorder.ts';
import type { OpenCall } from './recover.ts';
import type { CallSpool, SpoolContext } from './spool.ts';

export interface MenderOptions {
  readonly context: SpoolContext;
  readonly recorder: Recorder;
  readonly missed: Missed;
  readonly clock: Clock;
  readonly logger: ProxyLogger;
  readonly retryMs: number;
  /** Rejects while the journal cannot be written. */
  readonly probe: () => Promise<void>;
}

export class Mender {
  readonly #options: MenderOptions;
  readonly #broken: { readonly call: OpenCall; readonly facts: EndFacts }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: MenderOptions) {
    this.#options = options;
  }

  /** Frames of this call were lost. */
  broken(spool: CallSpool, facts: EndFacts): void {
    const { recordId, position, begin, requestPositions, responsePositions } = spool;
    if (!spool.isRequestCommitted) {
      // In posture enforce nothing was forwarded, so nothing is missing.
      if (facts.forwarded) this.missed(begin.received_us, recordId);
      return;
    }
    const call = {
      recordId,
      begin: position,
      request: [...requestPositions],
      response: [...responsePositions],
      ...spool.factPositions,
    };
    this.#broken.push({ call, facts });
    this.#later();
  }

  /** A call was forwarded without a frame, or with none that counts. */
  missed(receivedUs: number, recordId?: string): void {
    const { missed, clock } = this.#options;
    missed.add(receivedUs, clock.nowUs(), recordId);
    this.#later();
  }

  /** The gap of this batch of missed calls is on disk. */
  recorded(id: string): void {
    const { missed } = this.#options;
    missed.recorded(id);
    if (missed.count > 0) this.#later();
  }

  /** What an earlier process missed goes on record. */
  async start(): Promise<void> {
    if (this.#options.missed.count === 0) return;
    // Where there is no room for it yet, it is tried again like anything else.
    await this.#mend().catch(() => this.#later());
  }

  /** Ends a call from its frames and hands it to the recorder, which makes a gap of what does not open. */
  async close(call: OpenCall, facts: EndFacts | undefined): Promise<void> {
    const { context, recorder, clock, logger } = this.#options;
    const { recordId, begin } = call;
    let endPosition = begin;
    try {
      endPosition = await closeOpenCall(context, call, facts, clock);
    } catch (error) {
      if (!hasCode(error, 'unverified')) throw error;
      logger.error({ record_id: recordId, error: error.message }, 'a call cannot be read back');
    }
    recorder.call({ recordId, beginPosition: begin, endPosition });
  }

  /** A last attempt. Broken calls that it does not reach are found by the next start, and so are counts. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    const { missed } = this.#options;
    if (this.#broken.length === 0 && missed.count === 0) return;
    try {
      await this.#mend();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const facts = { error: message, unrecorded: missed.count };
      this.#options.logger.error(facts, 'the proxy stops while the journal is failing');
    }
  }

  #later(): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#mend().catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        this.#options.logger.error({ error: message }, 'the journal is still failing');
        this.#later();
      });
    }, this.#options.retryMs);
  }

  async #mend(): Promise<void> {
    await this.#options.probe();
    while (this.#broken[0] !== undefined) {
      const { call, facts } = this.#broken[0];
      await this.close(call, facts);
      this.#broken.shift();
    }
    const batch = this.#options.missed.take();
    if (batch === undefined) return;
    const { id: missed, count, fromUs, toUs } = batch;
    const gap = { reason: 'journal-unwritable', count, time: { fromUs, toUs }, missed };
    this.#options.recorder.gap(gap);
  }
}
