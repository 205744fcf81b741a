/**
 * A gateway of one series of logs: it is given statements, and gets each on record, once.
 *
 *     submit ─▶ line ─▶ round: number, chain, sign ─▶ state on disk ─▶ log ─▶ proof checked ─▶ resolves
 *               bounded   whatever waits while one        fsync        again, as it is, for as long as
 *                         round is under way                           nobody judged it
 *
 * There is no timer: at low load a statement is signed alone and sent at once, under load the next round is
 * all that came meanwhile, signed by one window. One round at a time, so that a log has the beginning of
 * the chain and never its end alone.
 *
 * A number is given to one statement and to no other. It is on disk, with the entry that has it, before
 * anybody sees that entry (`state.ts` says what a crash means at each step). A number whose record the log
 * refuses for good is lost, and a gap record says so as soon as the log takes one.
 *
 * When the log ends the gateway goes on in the next one of the series: where the server says it is, as far as
 * the trust file lets it (`../series.ts`). What had been logged stays where it is; the rest is made anew for
 * the next log (`../remake.ts`), in one step on disk.
 */
import { toHex } from '../../core/bytes.ts';
import { type Code, hasCode, SteleError, shown } from '../../core/errors.ts';
import type { SignatureCheck } from '../../core/signature.ts';
import type { Trust } from '../../core/trust.ts';
import { parseVerifierKey } from '../../core/verifier-key.ts';
import { checkSignatureNative } from '../../keys/engine.ts';
import type { Content } from '../multipart.ts';
import { backOffMs, retrying, sleep } from '../retrying.ts';
import { Series, withoutQuorum } from '../series.ts';
import { begin } from './begin.ts';
import { exchange, type Logged } from './exchange.ts';
import { Line, type LineLimits, type Waiting } from './line.ts';
import { type GatewayLimits, type GatewayOptions, idsOf, LIMITS, randomOf } from './options.ts';
import { Proof } from './proof.ts';
import { Recovery } from './recovery.ts';
import { type Item, itemOf, type Making, makeRound, remakeRound, withLost } from './round.ts';
import { type Fate, fatesOf, type Heard } from './settle.ts';
import type { State } from './state.ts';
import { isOpaque, measured, type Speaker, type Statement } from './statement.ts';

export type { Logged } from './exchange.ts';
export type { GatewayLimits, GatewayOptions } from './options.ts';
export type { NewRecord, Opaque, Statement } from './statement.ts';

export interface SubmitOptions {
  /** Disclosures and bodies of a record. */
  readonly content?: Content | undefined;
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined;
}

export interface GatewayStatus {
  readonly source: string;
  /** The log that is written to now. */
  readonly log: string;
  /** The number of the next record. */
  readonly next: number;
  /** Statements without a number, and entries that are signed and not known to be logged. */
  readonly waiting: number;
  readonly signed: number;
  /** Why the last attempt failed, until one succeeds. */
  readonly error: string | undefined;
}

const PATIENCE_MS = 60_000;
const PAUSE_MS_MAX = 10_000;
const CLOSE_MS = 30_000;

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #limits: GatewayLimits;
  readonly #check: SignatureCheck;
  readonly #series: Series;
  readonly #speaker: Speaker;
  readonly #line: Line;
  readonly #round: LineLimits;
  readonly #stop = new AbortController();
  /** As it is on disk, or will be with the next write. */
  #state: State;
  /** Signed, on disk, and not known to be logged; in the order of their numbers. */
  #items: Item[] = [];
  /** Records that an earlier process signed, by their ids. */
  readonly #recoveries = new Map<string, Recovery>();
  #proof: Proof | undefined;
  /** The log has ended, and has none of the items. */
  #ended: SteleError | undefined;
  /** Whether a gap record has a chance: the log took something the last time. */
  #isHealthy = true;
  #hasLogged = false;
  #inOrder = false;
  #failures = 0;
  #error: string | undefined;
  /** Since when an operator is waited for. */
  #liftableSince: number | undefined;
  #broken: Error | undefined;
  #isClosed = false;
  #running: Promise<void> | undefined;

  private constructor(options: GatewayOptions, state: State) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#check = options.check ?? checkSignatureNative;
    this.#series = new Series({ ...options, check: this.#check });
    const { source } = state;
    const instance = toHex(randomOf(options)(4));
    this.#speaker = { source, software: options.software, instance };
    const { waiting, waitingBytes, round, roundBytes } = this.#limits;
    this.#line = new Line({ statements: waiting, bytes: waitingBytes });
    this.#round = { statements: round, bytes: roundBytes };
    this.#state = state;
    for (const entry of state.pending) {
      const recovery = new Recovery(entry, options.onRecovered);
      if (recovery.recordId !== undefined) this.#recoveries.set(recovery.recordId, recovery);
      this.#items.push(itemOf(entry, recovery));
    }
    const { origin, keys } = state.log;
    if (keys === undefined) return;
    this.#series.learned({
      origin,
      keys: keys.map((text) => ({ key: parseVerifierKey(text) })),
      gateways: [],
    });
  }

  /**
   * Goes on from its state. Where there is none a source begins, whose id is its name and a random part: a
   * state that is lost can then never lead to two records with one number. That needs the log's answer.
   */
  static async open(options: GatewayOptions): Promise<Gateway> {
    const { state: store, log } = options;
    try {
      const known = await store.read();
      if (known !== undefined && known.series !== log) {
        throw new SteleError(
          'conflict',
          `the state is of the series ${shown(known.series)} and not of ${shown(log)}`,
        );
      }
      const gateway = new Gateway(options, known ?? (await begin(options)));
      gateway.#checkTrust(options.trust);
      gateway.#wake();
      return gateway;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /**
   * Resolves when the statement is on disk in the log, proven as far as there is a trust file. Rejects with
   * the log's own error if it refuses for good; with `pushback` at once if the line is full; with `not_yet` if
   * `signal` ends the waiting or the gateway is closed: one that is signed by then is still going to be
   * logged, by this process or the next. Whoever lost the process before this resolved gives the record to the
   * next one once more, with the `record_id` that it had: it is logged once.
   */
  async submit(statement: Statement, options: SubmitOptions = {}): Promise<Logged> {
    const { record_id } = isOpaque(statement) ? {} : statement;
    const recovery = record_id === undefined ? undefined : this.#recoveries.get(record_id);
    if (recovery !== undefined && !isOpaque(statement) && recovery.isOf(statement)) {
      return this.#recovered(recovery, options);
    }
    return this.#add(statement, options);
  }

  /** What travels beside an entry is not in the state: it comes with the record, and follows it. */
  async #recovered({ outcome }: Recovery, { content, signal }: SubmitOptions): Promise<Logged> {
    const logged = await abandonable(outcome, signal);
    if (content === undefined) return logged;
    const client = await this.#series.log(logged.origin);
    await retrying(() => client.submit(logged.entry, content, signal), { signal });
    return logged;
  }

  #add(statement: Statement, { content, signal }: SubmitOptions): Promise<Logged> {
    return new Promise((resolve, reject) => {
      if (this.#broken !== undefined) throw this.#broken;
      if (this.#isClosed) throw new SteleError('not_yet', 'the gateway is closed');
      if (signal?.aborted) throw new SteleError('not_yet', 'the waiting was given up: at once');
      const bytes = measured(statement, content, this.#speaker, this.#state.log.origin);
      const over = () => {
        const rest = this.#line.leave(waiting)
          ? 'it was not signed yet'
          : 'it is signed, and will be logged';
        reject(new SteleError('not_yet', `the waiting was given up: ${rest}`));
      };
      const settled =
        <T>(tell: (what: T) => void) =>
        (what: T) => {
          signal?.removeEventListener('abort', over);
          tell(what);
        };
      const waiting: Waiting = {
        statement,
        content,
        bytes,
        logged: settled(resolve),
        refused: settled(reject),
      };
      this.#line.add(waiting);
      signal?.addEventListener('abort', over, { once: true });
      this.#wake();
    });
  }

  /** A record that says that this source is alive, and how far it has got. */
  heartbeat(): Promise<Logged> {
    return this.submit({ kind: 'heartbeat', time: { received: idsOf(this.#options).now() } });
  }

  /** Resolves when the line has room. */
  whenRoom(): Promise<void> {
    return this.#line.whenRoom();
  }

  get status(): GatewayStatus {
    const { source, log, next } = this.#state;
    return {
      source,
      log: log.origin,
      next,
      waiting: this.#line.length,
      signed: this.#items.length,
      error: this.#broken?.message ?? this.#error,
    };
  }

  /**
   * Takes nothing more, and gets on record what waits, for at most so many milliseconds. What is signed and not
   * logged by then is in the state: the next process that opens it goes on with it.
   */
  async close({ ms = CLOSE_MS }: { readonly ms?: number } = {}): Promise<void> {
    if (this.#isClosed) return this.#running;
    this.#isClosed = true;
    const timer = setTimeout(() => this.#stop.abort(), ms);
    try {
      await this.#running;
    } finally {
      clearTimeout(timer);
      this.#stop.abort();
    }
    const rest = 'the gateway is closed: it is signed, and the next that has its state logs it';
    for (const { told } of this.#items) told?.refused(new SteleError('not_yet', rest));
    this.#refuseLine(new SteleError('not_yet', 'the gateway is closed: it was not signed'));
    try {
      // Without this what was logged would be sent once more by the next process, and be told its place.
      if (this.#broken === undefined) await this.#write({});
    } finally {
      await this.#options.state.close();
    }
  }

  #checkTrust(trust: Trust | undefined): void {
    const { origin } = this.#state.log;
    if (trust === undefined) return;
    if (this.#series.trust?.logs.some((log) => log.origin === origin)) return;
    throw new SteleError('unverified', `the trust file does not know log ${shown(origin)}`);
  }

  #wake(): void {
    if (this.#stop.signal.aborted || this.#broken !== undefined) return;
    // In a turn of its own: what is given in one turn shares a round.
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted && this.#hasWork()) {
      try {
        if (this.#items.length === 0) await this.#make();
        if (this.#ended === undefined) await this.#send();
        if (this.#ended !== undefined) await this.#roll(this.#ended);
        this.#failures = 0;
        this.#error = undefined;
      } catch (error) {
        if (!(error instanceof SteleError)) {
          this.#break(error instanceof Error ? error : new Error(String(error)));
          break;
        }
        if (this.#stop.signal.aborted) break;
        await this.#pause(error);
      }
    }
    this.#running = undefined;
  }

  #hasWork(): boolean {
    const hasGap = this.#isHealthy && this.#state.lost.length > 0;
    return this.#items.length > 0 || this.#line.length > 0 || hasGap;
  }

  /** Gives out numbers, signs, and has that on disk. If it fails nobody has seen it, and all is as before. */
  async #make(): Promise<void> {
    const taken = this.#line.take(this.#round);
    try {
      const { next, prev, lost } = this.#state;
      const round = await makeRound(this.#making(), { next, prev }, lost, taken);
      await this.#take(round, { lost: [] });
    } catch (error) {
      this.#line.putBack(taken);
      throw error;
    }
  }

  /** From here on the numbers are used, whatever happens. */
  async #take(
    { items, next, prev }: { items: readonly Item[]; next: number; prev: string | null },
    more: Partial<State>,
  ): Promise<void> {
    await this.#write({ ...more, next, prev, pending: items.map(({ entry }) => entry) });
    this.#items = [...items];
  }

  async #write(change: Partial<State>): Promise<void> {
    const state = { ...this.#state, pending: this.#items.map(({ entry }) => entry), ...change };
    await this.#options.state.write(state);
    this.#state = state;
  }

  async #send(): Promise<void> {
    const { origin } = this.#state.log;
    const client = await this.#series.log(origin);
    this.#proof ??= new Proof({
      origin,
      client,
      trust: this.#series.trust && withoutQuorum(this.#series.trust),
      check: this.#check,
    });
    const items = [...this.#items];
    const heard = await exchange(items, {
      client,
      proof: this.#proof,
      inOrder: this.#inOrder,
      signal: this.#stop.signal,
    });
    const fates = fatesOf(
      heard.map((one, i) => ({ ...one, ...this.#standingOf(items[i] as Item) })),
      (code) => this.#isPatient(code),
    );
    await this.#settle(items, fates);
  }

  async #settle(items: readonly Item[], fates: readonly Fate<Logged>[]): Promise<void> {
    const kept: Item[] = [];
    let again: SteleError | undefined;
    const kinds = new Set<Fate<Logged>['kind']>();
    for (const [i, fate] of fates.entries()) {
      const item = items[i] as Item;
      kinds.add(fate.kind);
      if (fate.kind === 'logged') this.#logged(item, fate.logged);
      else if (fate.kind === 'refused') this.#refused(item, fate.error);
      else {
        kept.push(item);
        if (fate.kind === 'again') again = longer(again, fate.error);
        if (fate.kind === 'again' && fate.error === undefined) this.#inOrder = true;
      }
    }
    this.#items = kept;
    this.#isHealthy = kinds.has('logged');
    // What was not judged is asked for again first: until then nobody knows what the log has.
    if (again !== undefined) throw again;
    if (kinds.has('again') || kept.length === 0) return;
    this.#ended = fates.find((fate) => fate.kind === 'ended')?.error;
    if (this.#ended === undefined) await this.#remake(this.#state.log, 'refused');
  }

  #logged(item: Item, logged: Logged): void {
    this.#hasLogged = true;
    this.#liftableSince = undefined;
    item.told?.logged(logged);
  }

  /** Its number is lost, and what it would have explained is unexplained again. */
  #refused({ link, explains, told }: Item, error: SteleError): void {
    let { lost } = this.#state;
    if (link !== undefined) lost = withLost(lost, [link.seq], 'refused');
    if (explains !== undefined) lost = withLost([...lost, explains], [], 'refused');
    this.#state = { ...this.#state, lost };
    told?.refused(error);
  }

  /** The log has ended, and has none of what is left: the next one gets it. */
  async #roll(ended: SteleError): Promise<void> {
    const { origin } = this.#state.log;
    const head = await (await this.#series.log(origin)).head();
    if (head.final && head.next === undefined) {
      // Nothing follows: it is refused for good, as the log itself said.
      for (const item of this.#items.splice(0)) this.#refused(item, ended);
      this.#ended = undefined;
      return;
    }
    const next = await notHurried(this.#series.next(origin));
    const learned = this.#series.trust?.logs.find((log) => log.origin === next);
    const keys = learned?.keys.map(({ key }) => key.text);
    await this.#remake({ origin: next, ...(keys === undefined ? {} : { keys }) }, 'rolled-over');
    this.#ended = undefined;
    this.#proof = undefined;
    this.#hasLogged = false;
  }

  /** All that is left, made anew: for the next log, or under new numbers. Durable before anybody sees it. */
  async #remake(log: State['log'], reason: 'rolled-over' | 'refused'): Promise<void> {
    const { next, prev, lost } = this.#state;
    const making = this.#making(log.origin);
    const round = await remakeRound(making, { next, prev }, lost, this.#items, reason);
    await this.#take(round, { log, lost: [] });
  }

  #making(log = this.#state.log.origin): Making {
    const { signer } = this.#options;
    return { log, signer, speaker: this.#speaker, ...idsOf(this.#options) };
  }

  #standingOf({ link }: Item): Pick<Heard<Logged>, 'isChained' | 'isBehindLost'> {
    if (link === undefined) return { isChained: false, isBehindLost: false };
    return { isChained: true, isBehindLost: this.#state.lost.some(({ to }) => to < link.seq) };
  }

  /** Once the log has taken something, a key it forbids was revoked, or the statement is not for this log. */
  #isPatient(code: Code): boolean {
    if (code === 'forbidden' && this.#hasLogged) return false;
    this.#liftableSince ??= this.#now();
    const { patienceMs = PATIENCE_MS } = this.#options;
    return this.#now() - this.#liftableSince < patienceMs;
  }

  async #pause(error: SteleError): Promise<void> {
    this.#failures++;
    this.#error = error.message;
    this.#options.onTrouble?.(error);
    const { wait = sleep } = this.#options;
    const ms = backOffMs(this.#failures, error, { maxWaitMs: PAUSE_MS_MAX, random: Math.random });
    await wait(ms, this.#stop.signal);
  }

  /** What is on disk is not known, or a promise of ours is broken: nothing more is signed. */
  #break(error: Error): void {
    this.#broken = error;
    this.#options.onTrouble?.(error);
    for (const { told } of this.#items) told?.refused(error);
    this.#refuseLine(error);
  }

  #refuseLine(error: Error): void {
    for (;;) {
      const some = this.#line.take({ statements: 1_000, bytes: Number.POSITIVE_INFINITY });
      if (some.length === 0) return;
      for (const one of some) one.refused(error);
    }
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

/** The same, until `signal` ends the waiting. */
function abandonable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const over = () => reject(new SteleError('not_yet', 'the waiting was given up'));
    if (signal.aborted) over();
    signal.addEventListener('abort', over, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', over));
  });
}

/** The next log is made in a moment: sooner than in the whole second that a server can name at least. */
async function notHurried(next: Promise<string>): Promise<string> {
  try {
    return await next;
  } catch (error) {
    if (!hasCode(error, 'not_yet')) throw error;
    throw new SteleError('not_yet', error.message, { cause: error });
  }
}

/** Of two failures the one that asks for the longer wait. */
function longer(a: SteleError | undefined, b: SteleError | undefined): SteleError | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return (b.retryAfterS ?? 0) > (a.retryAfterS ?? 0) ? b : a;
}
