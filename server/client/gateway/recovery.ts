/**
 * An entry that an earlier process signed, and whose caller is gone: who hears what becomes of it?
 *
 * The caller's next process, if it gives the record once more under the id that it had. It then waits for
 * that very entry, so that a record is never logged twice, in one log or in two of a series.
 */
import { equalBytes } from '../../core/bytes.ts';
import { decodeEntry, RECORD_TYPE } from '../../core/entry.ts';
import { hasCode, type SteleError } from '../../core/errors.ts';
import { parseRecord } from '../../core/record.ts';
import type { Logged } from './exchange.ts';
import type { Told } from './line.ts';
import { type NewRecord, placed } from './statement.ts';

type OnRecovered = (entry: Uint8Array, outcome: Logged | SteleError) => void;

export class Recovery implements Told {
  readonly content = undefined;
  /** Of a record; opaque bytes have no id, and need none: the same bytes are the same statement. */
  readonly recordId: string | undefined;
  readonly outcome: Promise<Logged>;
  readonly #entry: Uint8Array;
  readonly #onRecovered: OnRecovered | undefined;
  readonly #settle: { resolve(logged: Logged): void; reject(error: Error): void };

  constructor(entry: Uint8Array, onRecovered: OnRecovered | undefined) {
    this.#entry = entry;
    this.#onRecovered = onRecovered;
    const { payloadType, payload } = decodeEntry(entry);
    this.recordId = payloadType === RECORD_TYPE ? parseRecord(payload).record_id : undefined;
    const { promise, resolve, reject } = Promise.withResolvers<Logged>();
    this.outcome = promise;
    // Nobody has to ask.
    promise.catch(() => undefined);
    this.#settle = { resolve, reject };
  }

  logged(logged: Logged): void {
    this.#settle.resolve(logged);
    this.#onRecovered?.(this.#entry, logged);
  }

  refused(error: Error): void {
    this.#settle.reject(error);
    // Whoever closed the gateway knows that it is not over.
    if (!hasCode(error, 'not_yet')) this.#onRecovered?.(this.#entry, error as SteleError);
  }

  /** Whether the entry has this record in it, at the place that it was given. */
  isOf(statement: NewRecord): boolean {
    const { payload } = decodeEntry(this.#entry);
    const { log, record_id, source } = parseRecord(payload);
    const { id, instance, software, seq, prev } = source;
    const again = placed(
      statement,
      record_id,
      { source: id, instance, software },
      { log, seq, prev },
    );
    return equalBytes(again, payload);
  }
}
