/**
 * The other ways in: what gateways of others report of their calls becomes records of a log.
 *
 *     request ─▶ read ─▶ join ─▶ write ─▶ answer
 *                        halves   entries of the server's own key, durable
 *
 * An answer without an error says that everything in the request is on record (P1), but for what it names as
 * never to be accepted. Any other failure refuses the whole request, to be sent again: what of it is on record
 * already is known when it comes again (P3).
 */
import { hasCode, SteleError } from '../core/errors.ts';
import { JoinRoom } from './join.ts';
import { linesOf } from './jsonl.ts';
import { findPayloads } from './litellm.ts';
import { callReportOf, findCalls, type OtlpHalf, PROTOBUF } from './otlp/otlp.ts';
import { encodeAnswer, formatAnswer, type PartialSuccess, type Signal } from './otlp/wire.ts';
import { inTurns } from './turns.ts';
import { type Became, type CallReport, Writer, type WriterPorts } from './writer.ts';

export interface IngestOptions extends Omit<WriterPorts, 'goOn'> {
  /** Milliseconds that a span waits for its events, and they for it. */
  readonly joinMs: number;
  readonly later: (ms: number, work: () => void) => () => void;
  /** The name of the log that goes on where this one ended. */
  readonly nextOf: (log: string) => Promise<string>;
}

/** A request that was judged and read. */
export interface Request {
  /** The log's name. */
  readonly log: string;
  readonly body: Uint8Array;
  /** Media type of the body, and so of the answer. */
  readonly type: string;
  /** Takes the price of so many calls, or throws. */
  readonly charge: (calls: number) => void;
}

export interface Answer {
  readonly body: Uint8Array | string;
  readonly type: string;
}

/** What became of what was reported, beside what the writer does. */
type Fate = Became | 'ignored' | 'rejected' | 'sampled';

/** Reasons in one answer; more are only counted. */
const REJECTED_SHOWN_MAX = 100;

export type Way = Signal | 'litellm' | 'jsonl';

export class Ingest {
  readonly #options: IngestOptions;
  readonly #room: JoinRoom<OtlpHalf>;
  readonly #writers = new Map<string, Writer>();
  readonly #counts = new Map<string, number>();

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#room = new JoinRoom({
      windowMs: options.joinMs,
      now: () => options.clock.now(),
      later: options.later,
      write: (log, halves) => this.#write(log, callReportOf(halves)),
    });
  }

  /** Spans or log records, as OTLP has them. */
  async otlp(signal: Signal, { log, body, type, charge }: Request): Promise<Answer> {
    const { halves, alone, others, homeless, sampled } = await findCalls(body, type, signal);
    charge(halves.length + alone.length);
    this.#count(signal, 'ignored', others);
    this.#count(signal, 'sampled', sampled);
    const settled = [
      ...(await inTurns(halves, (half) => settling(this.#room.add(log, half)))),
      ...(await inTurns(alone, (event) => settling(this.#write(log, callReportOf([event]))))),
    ];
    const refused = await this.#settle(signal, settled);
    const rule =
      signal === 'traces' ? 'has no trace or span id' : 'names no span that it would belong to';
    const first = homeless > 0 ? `a call ${rule}` : refused[0]?.message;
    this.#count(signal, 'rejected', homeless);
    const rejected = homeless + refused.length;
    const partial = rejected === 0 ? undefined : { rejected, message: first ?? '' };
    return answerIn(type, signal, partial);
  }

  /** What LiteLLM's webhook sends. Throws `malformed` where nothing of it is a call. */
  async litellm({ log, body, charge }: Request): Promise<Answer> {
    const items = await findPayloads(body);
    const wrong = items.flatMap((item) => (item instanceof SteleError ? item : []));
    const calls = items.flatMap((item) => (item instanceof SteleError ? [] : item));
    charge(items.length);
    this.#count('litellm', 'rejected', wrong.length);
    const refused = await this.#settle(
      'litellm',
      calls.map((call) => settling(this.#write(log, call))),
    );
    const rejected = [...wrong, ...refused];
    const [first] = rejected;
    if (first !== undefined && rejected.length === items.length) throw first;
    return {
      type: 'application/json',
      body: JSON.stringify({
        accepted: items.length - rejected.length,
        rejected: rejected.slice(0, REJECTED_SHOWN_MAX).map(({ message }) => message),
      }),
    };
  }

  /** Calls out of a file, one a line. What is wrong with a line keeps out no other. */
  async jsonl({ log, body, charge }: Request): Promise<Answer> {
    const lines = await linesOf(body);
    const calls = lines.flatMap((line, i) =>
      line.kind === 'wrong' ? [] : line.calls.map((call) => ({ call, line: i + 1 })),
    );
    // A line of a collector has many.
    charge(Math.max(lines.length, calls.length));
    const wrong = lines.flatMap((line, i) =>
      line.kind === 'wrong' ? { line: i + 1, detail: line.error.message } : [],
    );
    this.#count('jsonl', 'rejected', wrong.length);
    const became = { recorded: 0, annotated: 0, repeated: 0 };
    const settled = calls.map(async ({ call, line }) => {
      const result = await settling(this.#write(log, call));
      if (result.status === 'fulfilled') became[result.value]++;
      else if (hasCode(result.reason, 'malformed')) {
        wrong.push({ line, detail: result.reason.message });
      }
      return result;
    });
    await this.#settle('jsonl', settled);
    const rejected = wrong.toSorted((a, b) => a.line - b.line);
    const { recorded, repeated } = became;
    return {
      type: 'application/json',
      body: JSON.stringify({ lines: lines.length, recorded, repeated, rejected }),
    };
  }

  /** How many reports had which fate, by the way that they came. */
  *counts(): Generator<{ readonly way: string; readonly fate: string; readonly count: number }> {
    for (const [key, count] of this.#counts) {
      const [way = '', fate = ''] = key.split(' ');
      yield { way, fate, count };
    }
  }

  /** Calls that wait for their other half, or to be written. */
  get waiting(): number {
    let waiting = this.#room.waiting;
    for (const writer of this.#writers.values()) waiting += writer.waiting;
    return waiting;
  }

  /** Lets nothing wait any longer, and resolves when all that was taken is answered. */
  async close(): Promise<void> {
    this.#room.close();
    for (const writer of this.#writers.values()) await writer.idle();
  }

  /** Waits for all. Returns what can never be accepted; rejects with what may be later. */
  async #settle(way: Way, settled: readonly Promise<Settled>[]): Promise<SteleError[]> {
    const refused: SteleError[] = [];
    let passing: unknown;
    for (const result of await Promise.all(settled)) {
      if (result.status === 'fulfilled') this.#count(way, result.value, 1);
      else if (hasCode(result.reason, 'malformed')) refused.push(result.reason);
      else passing ??= result.reason;
    }
    if (passing !== undefined) throw passing;
    this.#count(way, 'rejected', refused.length);
    return refused;
  }

  #write(log: string, callReport: CallReport): Promise<Became> {
    let writer = this.#writers.get(log);
    if (writer === undefined) {
      writer = new Writer(log, {
        ...this.#options,
        goOn: async (name, rest) => this.#write(await this.#next(name), rest),
      });
      this.#writers.set(log, writer);
    }
    return writer.take(callReport);
  }

  async #next(name: string): Promise<string> {
    try {
      return await this.#options.nextOf(name);
    } catch (error) {
      if (hasCode(error, 'not_found'))
        throw new SteleError('frozen', error.message, { cause: error });
      // It is being made: whoever tells again finds it.
      if (!hasCode(error, 'not_yet')) throw error;
      throw new SteleError('storage', error.message, { cause: error, retryAfterS: 1 });
    }
  }

  #count(way: Way, fate: Fate, more: number): void {
    if (more === 0) return;
    const key = `${way} ${fate}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + more);
  }
}

type Settled = PromiseSettledResult<Became>;

/** What becomes of it, to be looked at later: it never rejects. */
async function settling(written: Promise<Became>): Promise<Settled> {
  const [result] = await Promise.allSettled([written]);
  return result;
}

function answerIn(type: string, signal: Signal, partial: PartialSuccess | undefined): Answer {
  return type === PROTOBUF
    ? { type, body: encodeAnswer(partial) }
    : { type, body: formatAnswer(partial, signal) };
}
