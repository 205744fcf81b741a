/**
 * Changes of the logs' own keys, as somebody or a schedule asks for them.
 *
 * What a key does is for its log to say (`rotation.ts`). Here is only what an instance wants of it: how long
 * both keys sign, and which old ones end by themselves. An anchor key always does, a day after the next one is
 * there; an identity key if that was asked for. The wish is on disk before the new key is announced, so that
 * no crash leaves a key that nobody ends.
 */
import { hasCode, invariant, SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { PublicKey } from '../core/keys.ts';
import type { EndingKeyRow, InstanceStore } from '../storage/instance.ts';
import type { LogKey } from '../verify/key-history.ts';
import { type Clock, timestamp } from './clock.ts';
import { describeLogKey } from './describe.ts';
import type { Log } from './log.ts';
import type { Logs } from './logs.ts';
import { OVERLAP_MS_MIN, type Rotated } from './rotation.ts';

const DAY_MS = 86_400_000;

export interface KeyChangesOptions {
  readonly logs: Logs;
  readonly instance: InstanceStore;
  readonly clock: Clock;
  /** How long two identity keys sign side by side, at least. */
  readonly identityOverlapMs: number;
  /** Told of a log whose keys changed. */
  readonly changed: (log: Log) => void;
}

export interface NewKey {
  readonly purpose: Rotated;
  /** Others may have the key that there is: it ends at once. */
  readonly compromised?: boolean | undefined;
  /** Once the overlap is over, the key that there is ends by itself. */
  readonly finish?: boolean | undefined;
}

export interface EndedKey {
  readonly purpose: Rotated;
  /** Which one; the oldest where none is named. */
  readonly keyid?: string | undefined;
  readonly compromised?: boolean | undefined;
}

export interface Finishing {
  /** Goes around the end of each key: who administers says what he does. */
  readonly recorded: <T>(log: string, details: JsonObject, work: () => Promise<T>) => Promise<T>;
  /** Told of each key that cannot be ended now; the others are. */
  readonly failed: (log: string, error: SteleError) => void;
}

export class KeyChanges {
  readonly #options: KeyChangesOptions;
  /** Logs that are being given another key: what is wished of their old ones is not looked at yet. */
  readonly #changing = new Set<string>();

  constructor(options: KeyChangesOptions) {
    this.#options = options;
  }

  /** Announces another key. The answer says of it, and of each one before it, what becomes of it. */
  async rotate(name: string, wanted: NewKey): Promise<JsonObject> {
    if (this.#changing.has(name)) {
      throw new SteleError('conflict', `log ${name} is being given another key right now`);
    }
    this.#changing.add(name);
    try {
      return await this.#options.logs.use(name, (log) => this.#rotate(log, wanted));
    } finally {
      this.#changing.delete(name);
    }
  }

  async #rotate(log: Log, { purpose, compromised = false, finish }: NewKey): Promise<JsonObject> {
    const ends = compromised || purpose === 'anchor' || finish === true;
    const overlapMs = compromised ? 0 : this.#overlapMs(purpose);
    const before = live(log, purpose).map(({ publicKey }) => publicKey);
    const dueMs = this.#options.clock.now() + overlapMs;
    const undo = ends ? this.#wish(log, before, { dueMs, atOnce: compromised }) : () => {};
    const next = await log.rotateKey(purpose, { compromised }).catch((error: unknown) => {
      // Where the outcome is unknown the wish stays, and is looked at when it is due.
      if (!hasCode(error, 'storage')) undo();
      throw error;
    });
    this.#options.changed(log);
    const others: JsonObject[] = [];
    for (const { keyid } of before) {
      if (compromised) others.push(await this.#retire(log, { purpose, keyid, compromised }));
      else {
        const retire_from = timestamp(next.announcedMs + overlapMs);
        others.push({ ...describeLogKey(keyOf(log, keyid)), retire_from, finish: ends });
      }
    }
    return { ...describeLogKey(next), others };
  }

  /** Ends a key that another one follows: by `conflict` not before the overlap is over, unless it is compromised. */
  retire(name: string, ended: EndedKey): Promise<JsonObject> {
    return this.#options.logs.use(name, (log) => this.#retire(log, ended));
  }

  /** Ends what is due to end. */
  async finishDue({ recorded, failed }: Finishing): Promise<void> {
    const { instance, clock } = this.#options;
    for (const row of instance.endingKeys()) {
      if (row.dueMs > clock.now() || this.#changing.has(row.log)) continue;
      try {
        await this.#finish(row, recorded);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        // The log is no more, or no record of its own will ever be taken again.
        if (hasCode(error, 'not_found') || hasCode(error, 'frozen')) this.#drop(row);
        else failed(row.log, error);
      }
    }
  }

  async #finish(row: EndingKeyRow, recorded: Finishing['recorded']): Promise<void> {
    const { logs, instance, clock } = this.#options;
    await logs.use(row.log, async (log) => {
      const key = log.ownKeys().find(({ publicKey }) => publicKey.keyid === row.keyid);
      const purpose = key?.purpose;
      const isAlone = purpose === undefined || live(log, purpose).length < 2;
      // Somebody ended it, or the key that was to follow was never announced, or the log itself has ended.
      const isOver = key?.ended !== undefined || log.end !== undefined;
      if (isOver || isAlone || purpose === 'sth') return this.#drop(row);
      try {
        const ended = { purpose, keyid: row.keyid, compromised: row.atOnce };
        await recorded(row.log, ended, () => this.#retire(log, ended));
      } catch (error) {
        // Since it was asked for, the overlap was made longer.
        if (!hasCode(error, 'conflict')) throw error;
        instance.noteEndingKey({ ...row, dueMs: clock.now() + DAY_MS });
      }
    });
  }

  async #retire(log: Log, { purpose, keyid, compromised }: EndedKey): Promise<JsonObject> {
    const overlapMs = this.#overlapMs(purpose);
    const ended = await log.retireKey(purpose, { keyid, overlapMs, compromised });
    this.#drop({ log: log.name, keyid: ended.publicKey.keyid });
    this.#options.changed(log);
    return describeLogKey(ended);
  }

  /** Notes keys that are to end. Returns how to undo that. */
  #wish(
    { name: log }: Log,
    keys: readonly PublicKey[],
    when: Pick<EndingKeyRow, 'dueMs' | 'atOnce'>,
  ): () => void {
    const { instance } = this.#options;
    const wishes = keys.map(({ keyid }) => ({ log, keyid, ...when }));
    const before = instance.endingKeys().filter((row) => wishes.some((wish) => isSame(wish, row)));
    for (const wish of wishes) instance.noteEndingKey(wish);
    return () => {
      for (const wish of wishes) this.#drop(wish);
      for (const row of before) instance.noteEndingKey(row);
    };
  }

  #drop({ log, keyid }: Pick<EndingKeyRow, 'log' | 'keyid'>): void {
    this.#options.instance.dropEndingKey(log, keyid);
  }

  #overlapMs(purpose: Rotated): number {
    return purpose === 'identity' ? this.#options.identityOverlapMs : OVERLAP_MS_MIN[purpose];
  }
}

function live(log: Log, purpose: LogKey['purpose']): readonly LogKey[] {
  return log.ownKeys().filter((key) => key.purpose === purpose && key.ended === undefined);
}

function keyOf(log: Log, keyid: string): LogKey {
  const key = log.ownKeys().find(({ publicKey }) => publicKey.keyid === keyid);
  invariant(key !== undefined, 'a key that was announced stays in the history');
  return key;
}

function isSame(one: EndingKeyRow, other: EndingKeyRow): boolean {
  return one.log === other.log && one.keyid === other.keyid;
}
