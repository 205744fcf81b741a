/**
 * What was administered, by whom: entries of the log `_admin`. The entry that says that an act begins is on
 * disk before it does; where it cannot be written, nothing is done. A second one says what came of it.
 *
 * An act that begins and has no second entry was cut short, by a crash or a full disk: what it had done by
 * then, the log or the token itself says.
 */
import { SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { RECORD_TEXT_MAX } from '../core/limits.ts';
import type { AdminNote, Logs } from '../log/logs.ts';

/** Who does what, as every entry of an act says it. */
export type Deed = Omit<AdminNote, 'state' | 'details' | 'begun' | 'error'>;

export class Journal {
  readonly #logs: Logs;
  readonly #warn: (message: string, error: unknown) => void;

  /** `warn` hears of an act whose second entry could not be written. */
  constructor(logs: Logs, warn: (message: string, error: unknown) => void) {
    this.#logs = logs;
    this.#warn = warn;
  }

  /** Does `work` between the two entries. */
  async around<T>(deed: Deed, details: JsonObject, work: () => Promise<T>): Promise<T> {
    const { index: begun } = await this.#logs.recordAdmin({ ...deed, state: 'begun', details });
    let result: T;
    try {
      result = await work();
    } catch (error) {
      await this.#end({ ...deed, state: 'failed', begun, error: shortened(error) });
      throw error;
    }
    await this.#end({ ...deed, state: 'done', begun });
    return result;
  }

  /** A step that is one entry: it says what will be done, or that it will not. */
  async note(note: AdminNote): Promise<void> {
    await this.#logs.recordAdmin(note);
  }

  /** What was done was done: that it cannot be written does not make it undone. */
  async #end(note: AdminNote): Promise<void> {
    try {
      await this.#logs.recordAdmin(note);
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.#warn(`${note.act} by ${note.holder}: ${note.state}, and no entry says so`, error);
    }
  }
}

function shortened(error: unknown): string {
  const text = error instanceof SteleError ? `${error.code}: ${error.message}` : 'a fault';
  return text.slice(0, RECORD_TEXT_MAX).toWellFormed();
}
