/**
 * Showing heads to targets outside, and keeping what they say: one row for each head and target, which a
 * process that dies at any moment goes on with.
 *
 *     planned   the head's text and signature are frozen
 *     signed    what is sent is written down; every attempt sends these bytes
 *     sent      it may have arrived: it goes on being sent until there is an answer
 *     received  the answer is written down as it came
 *     published it was verified, and receipts carry it
 *
 * A newer head takes the place of one that was not answered: it covers what that would have, and what was
 * given up stays as a row, so that the hole shows. Each target has rows of its own, so that none of them
 * hides another's failure. Nothing here is waited for by an append.
 */
import { parseUtf8, utf8 } from '../core/bytes.ts';
import { parseCheckpoint } from '../core/checkpoint.ts';
import { invariant, SteleError, shown } from '../core/errors.ts';
import { parsePublicKey } from '../core/keys.ts';
import { RECORD_TEXT_MAX } from '../core/limits.ts';
import type { AnchorChange, AnchorRow, AnchorRows, OpenState } from '../storage/anchors.ts';
import { type AnchoredHead, Equivocation, type Target, TargetError } from './target.ts';

export interface AnchoringPorts {
  readonly rows: AnchorRows;
  readonly targets: readonly Target[];
  /** The newest head of a log that may be shown; nothing where there is none, or none that is signed. */
  readonly head: (log: string) => Promise<AnchoredHead | undefined>;
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Hears of what an operator has to see to. */
  readonly alarm: (
    message: string,
    about: { readonly target: string; readonly log: string },
  ) => void;
}

/** What this process asked of a target, and what came of it. */
export interface TargetTally {
  attempts: number;
  /** Attempts that came to nothing, for whatever reason. */
  failures: number;
  /** Heads that the target has proven. */
  published: number;
}

/** Rows of one target that are worked on at once: a Rekor log may answer only after seconds. */
const AT_ONCE = 8;

const FIRST_WAIT_MS = 30_000;
const LONGEST_WAIT_MS = 3_600_000;

export class Anchoring {
  /** By the target's name. */
  readonly tallies: ReadonlyMap<string, TargetTally>;
  readonly #ports: AnchoringPorts;
  readonly #stop = new AbortController();
  /** Work on the rows of each target, while it is under way. */
  readonly #working = new Map<string, Promise<void>>();
  /** Rows that are being worked on. */
  readonly #busy = new Map<number, string>();
  /** The last check of each target: each begins from what the one before remembered. */
  readonly #checks = new Map<string, Promise<unknown>>();

  constructor(ports: AnchoringPorts) {
    this.#ports = ports;
    this.tallies = new Map(
      ports.targets.map(({ name }) => [name, { attempts: 0, failures: 0, published: 0 }]),
    );
  }

  /** Plans to show the newest head of a log to every target that has not been shown it. Says whether there is any. */
  async plan(log: string): Promise<boolean> {
    const { rows, targets, now } = this.#ports;
    const head = await this.#ports.head(log);
    if (head === undefined) return false;
    const wanting = targets.filter(
      ({ name }) =>
        !this.#isSuspect(name) &&
        // What is on its way is not overtaken; the next plan comes after it.
        ![...this.#busy.values()].includes(`${name} ${log}`) &&
        (rows.largest(log, name) ?? 0) < head.size,
    );
    for (const { name: target, kind } of wanting) {
      const { size, root, signature, key } = head;
      const text = parseUtf8(head.text, 'text');
      rows.plan({
        log,
        target,
        kind,
        size,
        root,
        text,
        signature,
        spki: key.spki,
        plannedMs: now(),
      });
    }
    return wanting.length > 0;
  }

  /** Plans for each log that has grown by so many entries since it was last shown to a target. */
  async planGrown(
    sizes: Iterable<readonly [log: string, size: number]>,
    entries: number,
  ): Promise<void> {
    for (const [log, size] of sizes) {
      const isDue = this.#ports.targets.some(
        ({ name }) => size - (this.#ports.rows.largest(log, name) ?? 0) >= entries,
      );
      if (isDue) await this.plan(log);
    }
  }

  /** Does all that is due. Resolves when nothing is any more; never rejects for what a target does. */
  async work(): Promise<void> {
    await Promise.all(this.#ports.targets.map((target) => this.#workOn(target)));
  }

  /** Breaks off what is on its way; the next start goes on with it. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#working.values());
  }

  #workOn(target: Target): Promise<void> {
    const { name } = target;
    const known = this.#working.get(name);
    if (known !== undefined) return known;
    const working = this.#rowsOf(target).finally(() => this.#working.delete(name));
    this.#working.set(name, working);
    return working;
  }

  async #rowsOf(target: Target): Promise<void> {
    const { rows, now } = this.#ports;
    const running = new Set<Promise<void>>();
    while (!this.#stop.signal.aborted && !this.#isSuspect(target.name)) {
      const [row] = rows.due(target.name, now(), AT_ONCE).filter(({ id }) => !this.#busy.has(id));
      if (row !== undefined && running.size < AT_ONCE) {
        const one = this.#goOn(target, row).finally(() => running.delete(one));
        running.add(one);
      } else if (running.size > 0) await Promise.race(running);
      else return;
    }
    await Promise.all(running);
  }

  /** Takes one row as far as it goes now. */
  async #goOn(target: Target, row: AnchorRow): Promise<void> {
    this.#busy.set(row.id, `${row.target} ${row.log}`);
    let at: AnchorRow | undefined = row;
    try {
      while (at !== undefined && isOpen(at.state) && !this.#stop.signal.aborted) {
        at = await this.#step(target, at, at.state);
      }
    } catch (error) {
      if (at !== undefined && isOpen(at.state)) this.#failed(at, at.state, error);
    } finally {
      this.#busy.delete(row.id);
    }
  }

  /** One step; the row as it is then, or nothing where somebody gave it up meanwhile. */
  async #step(target: Target, row: AnchorRow, state: OpenState): Promise<AnchorRow | undefined> {
    const { signal } = this.#stop;
    const head = headOf(row);
    if (state === 'planned') {
      return this.#change(row, state, { state: 'signed', request: await target.request(head) });
    }
    const { request, answer } = row;
    invariant(request !== null, 'a row that is signed has its request');
    if (state === 'signed') return this.#change(row, state, { state: 'sent' });
    if (state === 'sent') {
      const attempts = row.attempts + 1;
      const tried = this.#change(row, state, { attempts });
      if (tried === undefined) return undefined;
      this.#tally(target.name, 'attempts');
      const answered = await target.ask(request, signal);
      return this.#change(tried, state, { state: 'received', answer: answered, reason: null });
    }
    invariant(answer !== null, 'a row that is received has its answer');
    return this.#inTurn(target.name, async () => {
      const last = this.#ports.rows.target(target.name)?.last ?? undefined;
      const { anchor, ...checked } = await target.check(head, request, answer, last, signal);
      const said = { anchor: JSON.stringify(anchor), ...checked };
      this.#ports.rows.publish(row.id, said, this.#ports.now());
      this.#tally(target.name, 'published');
      return undefined;
    });
  }

  #change(row: AnchorRow, state: OpenState, change: AnchorChange): AnchorRow | undefined {
    const isThere = this.#ports.rows.change(row.id, state, change, this.#ports.now());
    return isThere ? { ...row, ...change } : undefined;
  }

  /** Why a row does not go on now, and what becomes of it. */
  #failed(row: AnchorRow, state: OpenState, error: unknown): void {
    // Whoever stopped us knows why.
    if (this.#stop.signal.aborted) return;
    const { rows, now, alarm } = this.#ports;
    const about = { target: row.target, log: row.log };
    this.#tally(row.target, 'failures');
    if (error instanceof Equivocation) {
      const evidence = JSON.stringify({ notes: error.notes, ...error.evidence });
      rows.suspect(row.id, error.message, evidence, now());
      alarm(`target ${row.target} has two histories and counts no more: ${error.message}`, about);
      return;
    }
    if (!(error instanceof TargetError) && !(error instanceof SteleError)) throw error;
    const reason = error.message.slice(0, RECORD_TEXT_MAX).toWellFormed();
    const kind = error instanceof TargetError ? error.kind : 'retry';
    if (kind === 'refused') {
      rows.change(row.id, state, { state: 'dead', reason }, now());
      alarm(`target ${row.target} refuses a head for good: ${reason}`, about);
      return;
    }
    if (kind === 'frozen') alarm(`target ${row.target} takes nothing more: ${reason}`, about);
    const attempts = rows.get(row.id)?.attempts ?? 0;
    const askedS = error instanceof TargetError ? error.afterS : error.retryAfterS;
    const dueMs = now() + (kind === 'frozen' ? LONGEST_WAIT_MS : this.#waitMs(attempts, askedS));
    // An answer that does not verify is none: the next one may.
    const isWrong = state === 'received' && error instanceof SteleError && error.code !== 'storage';
    const change = isWrong ? ({ state: 'sent', answer: null } as const) : {};
    rows.change(row.id, state, { ...change, dueMs, reason }, now());
    if (isWrong) alarm(`target ${row.target} answered what does not verify: ${reason}`, about);
  }

  #tally(target: string, what: keyof TargetTally): void {
    const tally = this.tallies.get(target);
    if (tally !== undefined) tally[what]++;
  }

  /** Twice as long each time, at random within that, and never less than was asked for. */
  #waitMs(attempts: number, askedS = 0): number {
    const backOff = FIRST_WAIT_MS * 2 ** Math.min(Math.max(attempts - 1, 0), 16);
    const wait = Math.min(backOff, LONGEST_WAIT_MS) * (0.5 + this.#ports.random() / 2);
    return Math.max(Math.round(wait), askedS * 1_000);
  }

  #isSuspect(target: string): boolean {
    return (this.#ports.rows.target(target)?.evidence ?? null) !== null;
  }

  #inTurn<T>(target: string, work: () => Promise<T>): Promise<T> {
    const before = this.#checks.get(target) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#checks.set(
      target,
      turn.catch(() => undefined),
    );
    return turn;
  }
}

function isOpen(state: AnchorRow['state']): state is OpenState {
  return state === 'planned' || state === 'signed' || state === 'sent' || state === 'received';
}

function headOf(row: AnchorRow): AnchoredHead {
  const { origin, size, root } = parseCheckpoint(row.text);
  invariant(size === row.size, `the text of anchor ${row.id} is of size ${shown(String(size))}`);
  return {
    origin,
    size,
    root,
    text: utf8(row.text),
    signature: row.signature,
    key: parsePublicKey('ecdsa-p256', row.spki),
  };
}
