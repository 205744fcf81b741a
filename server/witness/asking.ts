/**
 * Showing heads to witnesses, and keeping what they say: one row for each head and witness, which a process that
 * dies at any moment goes on with.
 *
 *     planned   the head's note is frozen
 *     sent      it may have arrived: it goes on being sent until there is an answer
 *     received  the answer is written down as it came
 *     cosigned  it was verified, and the head carries it
 *
 * A newer head takes the place of one that was not answered: it covers what that would have, and what was given
 * up stays as a row, so that the hole shows. Nothing here is waited for by an append. A witness that turns out to
 * have another history of the log stops the log (`evidence.ts`).
 */
import { utf8 } from '../core/bytes.ts';
import { invariant, SteleError, unverified } from '../core/errors.ts';
import { RECORD_TEXT_MAX } from '../core/limits.ts';
import { formatNote, parseNote } from '../core/note.ts';
import { type Cosignature, openCosignatures } from '../core/tlog-witness.ts';
import { hash, treeSize } from '../core/units.ts';
import type { Head } from '../storage/store.ts';
import type { CosigningChange, CosigningRow, OpenCosigning } from '../storage/witnesses.ts';
import { WitnessError } from './ask.ts';
import { Disputed, disputeError } from './evidence.ts';
import { type ExchangedLog, type ExchangePorts, exchange } from './exchange.ts';
import { CLOCK_S } from './served.ts';
import type { Witness } from './witness.ts';

/** A log as far as it is shown. */
export interface WitnessedLog extends ExchangedLog {
  headToShow(): Promise<Head>;
  cosigned(shown: Head, cosignatures: readonly Cosignature[]): Promise<void>;
  stop(reason: SteleError): void;
}

export interface AskingPorts extends Omit<ExchangePorts, 'signal'> {
  /** Every witness of every policy. */
  readonly witnesses: readonly Witness[];
  /** The names of those who are shown a log's heads now. */
  readonly shownTo: (log: string) => ReadonlySet<string>;
  /** Milliseconds from one time that a witness is asked about a log to the next. */
  readonly intervalMs: (witness: string) => number;
  readonly use: <T>(log: string, work: (log: WitnessedLog) => Promise<T>) => Promise<T>;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Hears of what an operator has to see to. */
  readonly alarm: (
    message: string,
    about: { readonly witness: string; readonly log: string },
  ) => void;
}

/** What is left after a plan. */
export interface Planned {
  /** When a head may be shown again. */
  readonly nextMs: number;
  /** When to plan again even if the log does not grow: some were not shown the newest head. */
  readonly leftMs?: number;
}

/** Rows of one witness that are worked on at once. */
const AT_ONCE = 8;

const FIRST_WAIT_MS = 10_000;
const LONGEST_WAIT_MS = 3_600_000;

/** A cosignature is asked for again when it is so old, whether or not the log has grown: it says that it is alive. */
export const REFRESH_MS = 86_400_000;

/** Seconds by which the clock of a witness may be behind ours. */
const BEHIND_S = 86_400;

export class Asking {
  readonly #ports: AskingPorts;
  readonly #stop = new AbortController();
  /** Work on the rows of each witness, while it is under way. */
  readonly #working = new Map<string, Promise<void>>();
  /** Rows that are being worked on. */
  readonly #busy = new Map<number, string>();

  constructor(ports: AskingPorts) {
    this.#ports = ports;
  }

  /**
   * Plans to show the newest head of a log to those of its witnesses whose time has come, or with `now` to all. Those
   * that may be asked most often set the pace and are waited for, and others join them when their time has come:
   * a quorum is of one head, so they have to be shown the same.
   */
  async plan(log: string, { now: isWanted = false } = {}): Promise<Planned> {
    const { rows, now } = this.#ports;
    const paceMs = this.#paceMs(log);
    if (!isWanted && paceMs > now()) return { nextMs: paceMs, leftMs: paceMs };
    const shownTo = [...this.#ports.shownTo(log)];
    const due = shownTo.filter((witness) => isWanted || this.#nextMs(log, witness) <= now());
    const left = shownTo.filter((witness) => !due.includes(witness));
    // What is on its way is not overtaken; the next plan comes after it.
    const onTheirWay = new Set(this.#busy.values());
    const free = due.filter((witness) => !onTheirWay.has(`${witness} ${log}`));
    if (free.length > 0) {
      const head = await this.#ports.use(log, shownHead);
      for (const witness of free) {
        const isNew = (rows.largest(log, witness) ?? 0) < (head?.size ?? 0);
        if (head === undefined || !(isNew || isWanted || this.#isOld(log, witness))) continue;
        rows.plan(log, witness, head, now());
      }
    }
    const nextMs = this.#paceMs(log);
    const leftMs = left.map((witness) => Math.max(nextMs, this.#nextMs(log, witness)));
    if (free.length < due.length) leftMs.push(nextMs);
    return { nextMs, ...(leftMs.length === 0 ? {} : { leftMs: Math.min(...leftMs) }) };
  }

  /** Does all that is due. Resolves when nothing is any more; never rejects for what a witness does. */
  async work(): Promise<void> {
    await Promise.all(this.#ports.witnesses.map((witness) => this.#workOn(witness)));
  }

  /** Breaks off what is on its way; the next start goes on with it. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#working.values());
  }

  /** When those may be asked again that may be asked most often. */
  #paceMs(log: string): number {
    const { shownTo, intervalMs } = this.#ports;
    const all = [...shownTo(log)].map((witness) => ({ witness, every: intervalMs(witness) }));
    const pace = Math.min(...all.map(({ every }) => every));
    const first = all.filter(({ every }) => every === pace);
    return Math.max(...first.map(({ witness }) => this.#nextMs(log, witness)));
  }

  #nextMs(log: string, witness: string): number {
    const askedMs = this.#ports.rows.seen(log, witness)?.askedMs ?? undefined;
    return askedMs === undefined ? 0 : askedMs + this.#ports.intervalMs(witness);
  }

  /** Whether its newest cosignature is so old that another is wanted. */
  #isOld(log: string, witness: string): boolean {
    const timeMs = this.#ports.rows.seen(log, witness)?.timeMs ?? undefined;
    return timeMs !== undefined && timeMs <= this.#ports.now() - REFRESH_MS;
  }

  #workOn(witness: Witness): Promise<void> {
    const { name } = witness;
    const known = this.#working.get(name);
    if (known !== undefined) return known;
    const working = this.#rowsOf(witness).finally(() => this.#working.delete(name));
    this.#working.set(name, working);
    return working;
  }

  async #rowsOf(witness: Witness): Promise<void> {
    const { rows, now } = this.#ports;
    const running = new Set<Promise<void>>();
    while (!this.#stop.signal.aborted) {
      const [row] = rows
        .due(witness.name, now(), 2 * AT_ONCE)
        .filter(({ id }) => !this.#busy.has(id));
      if (row !== undefined && running.size < AT_ONCE) {
        const one = this.#goOn(witness, row).finally(() => running.delete(one));
        // Whoever waits for all of them hears of it, also where the next look at the rows fails first.
        one.catch(() => undefined);
        running.add(one);
      } else if (running.size > 0) await Promise.race(running);
      else return;
    }
    await Promise.all(running);
  }

  /** Takes one row as far as it goes now. */
  async #goOn(witness: Witness, row: CosigningRow): Promise<void> {
    if (!this.#ports.shownTo(row.log).has(witness.name)) {
      const reason = 'the log is no longer shown to this witness';
      this.#change(row, openState(row), { state: 'superseded', answer: null, reason });
      return;
    }
    this.#busy.set(row.id, `${row.witness} ${row.log}`);
    let at: CosigningRow | undefined = row;
    try {
      while (at !== undefined && isOpen(at.state) && !this.#stop.signal.aborted) {
        at = await this.#step(witness, at, at.state);
      }
    } catch (error) {
      const state = this.#ports.rows.get(row.id)?.state;
      if (state !== undefined && isOpen(state)) await this.#failed(row, state, error);
    } finally {
      this.#busy.delete(row.id);
    }
  }

  /** One step; the row as it is then, or nothing where somebody gave it up meanwhile. */
  async #step(
    witness: Witness,
    row: CosigningRow,
    state: OpenCosigning,
  ): Promise<CosigningRow | undefined> {
    if (state === 'planned') return this.#change(row, state, { state: 'sent' });
    if (state === 'sent') {
      const tried = this.#change(row, state, { attempts: row.attempts + 1 });
      if (tried === undefined) return undefined;
      const answer = await this.#ports.use(row.log, (log) =>
        exchange(log, witness, tried, { ...this.#ports, signal: this.#stop.signal }),
      );
      return this.#change(tried, state, { state: 'received', answer, reason: null });
    }
    await this.#keep(witness, row);
    return undefined;
  }

  /** Verifies what came, and makes it part of the head. Done twice, it is done once. */
  async #keep(witness: Witness, row: CosigningRow): Promise<void> {
    const { answer } = row;
    invariant(answer !== null, 'a row that is received has its answer');
    const cosignatures = this.#open(witness, row, answer);
    const { size, root, note: checkpoint, headMs: timeMs } = row;
    const shown: Head = { size: treeSize(size), root: hash(root), timeMs, checkpoint };
    // A crash before this loses nothing: the answer is on disk. After it the head has its lines, and is given them
    // again, which changes nothing.
    await this.#ports.use(row.log, (log) => log.cosigned(shown, cosignatures));
    const newest = Math.max(...cosignatures.map(({ time }) => time));
    this.#ports.rows.cosigned(row, newest * 1_000, this.#ports.now());
  }

  #open({ name, keys }: Witness, row: CosigningRow, answer: Uint8Array): Cosignature[] {
    const { check } = this.#ports;
    const { text } = parseNote(utf8(row.note));
    // When it came, and not when it is looked at: that may be after a restart.
    const cameS = Math.ceil(row.changedMs / 1_000);
    const latest = cameS + CLOCK_S;
    const found = openCosignatures(answer, text, keys, {
      latest,
      ...(check === undefined ? {} : { check }),
    });
    if (found.length === 0) throw unverified(`answer of ${name}`, 'no line of it is by its key');
    const old = found.find(({ time }) => time < cameS - BEHIND_S);
    if (old === undefined) return found;
    throw unverified(`cosignature of ${name}`, `its time, ${old.time}, is long before ${cameS}`);
  }

  #change(
    row: CosigningRow,
    state: OpenCosigning,
    change: CosigningChange,
  ): CosigningRow | undefined {
    const nowMs = this.#ports.now();
    const isThere = this.#ports.rows.change(row.id, state, change, nowMs);
    return isThere ? { ...row, ...change, changedMs: nowMs } : undefined;
  }

  /** Why a row does not go on now, and what becomes of it. */
  async #failed(row: CosigningRow, state: OpenCosigning, error: unknown): Promise<void> {
    // Whoever stopped us knows why.
    if (this.#stop.signal.aborted) return;
    const { rows, now, alarm } = this.#ports;
    const about = { witness: row.witness, log: row.log };
    if (error instanceof Disputed) {
      // On disk before the log stops: a crash in between leaves a log that the next start does not let sign.
      rows.dispute(row, error.message, JSON.stringify(error.evidence), now());
      alarm(`witness ${row.witness} ${error.message}: the log is stopped`, about);
      const reason = disputeError(row.log, row.witness, error.message);
      await this.#ports.use(row.log, async (log) => log.stop(reason));
      return;
    }
    if (!(error instanceof WitnessError) && !(error instanceof SteleError)) throw error;
    rows.count(row.log, row.witness, 'failed');
    const reason = error.message.slice(0, RECORD_TEXT_MAX).toWellFormed();
    const kind = error instanceof WitnessError ? error.kind : 'retry';
    if (kind === 'refused') {
      rows.change(row.id, state, { state: 'refused', reason }, now());
      alarm(`witness ${row.witness} refuses a head: ${reason}`, about);
      return;
    }
    if (kind === 'stranger') alarm(`witness ${row.witness}: ${reason}`, about);
    const attempts = rows.get(row.id)?.attempts ?? 0;
    const askedS = error instanceof WitnessError ? error.afterS : error.retryAfterS;
    const waitMs = this.#waitMs(kind === 'stranger' ? Number.MAX_SAFE_INTEGER : attempts, askedS);
    // An answer that does not verify is none: the next one may.
    const isWrong = state === 'received' && error instanceof SteleError && error.code !== 'storage';
    const change = isWrong ? ({ state: 'sent', answer: null } as const) : {};
    rows.change(row.id, state, { ...change, dueMs: now() + waitMs, reason }, now());
    if (isWrong) alarm(`witness ${row.witness} answered what does not verify: ${reason}`, about);
  }

  /** Twice as long each time, at random within that, and never less than was asked for. */
  #waitMs(attempts: number, askedS = 0): number {
    const backOff = FIRST_WAIT_MS * 2 ** Math.min(Math.max(attempts - 1, 0), 16);
    const wait = Math.min(backOff, LONGEST_WAIT_MS) * (0.5 + this.#ports.random() / 2);
    return Math.max(Math.round(wait), askedS * 1_000);
  }
}

/** The newest head with the log's own lines alone; nothing where it signs none. */
async function shownHead(log: WitnessedLog) {
  if (log.stopped !== undefined) return undefined;
  const { size, root, timeMs: headMs, checkpoint } = await log.headToShow();
  const { text, signatures } = parseNote(utf8(checkpoint));
  const own = log.ownKeys();
  const lines = signatures.filter(({ name, keyId }) =>
    own.some(({ key }) => key.name === name && key.keyId === keyId),
  );
  return { size, root, headMs, note: formatNote({ text, signatures: lines }) };
}

function isOpen(state: CosigningRow['state']): state is OpenCosigning {
  return state === 'planned' || state === 'sent' || state === 'received';
}

function openState({ state }: CosigningRow): OpenCosigning {
  invariant(isOpen(state), 'a row that is due is open');
  return state;
}
