/**
 * What is told when: a word of a look becomes an event when it is new, when it is still there after an hour,
 * and when it is gone.
 *
 *     look 1   hole …              alarm
 *     look 2   hole …              (nothing)
 *     look 3                       cleared
 *
 * A look that could not see everything clears nothing: what it did not find may still be there.
 */
import { toBase64 } from '../core/bytes.ts';
import { KINDS, type Kind, type Severity, type Word } from './alarms.ts';
import type { Look } from './look.ts';

export interface Event {
  /** RFC 3339. */
  readonly time: string;
  readonly event: Severity | 'ok' | 'cleared';
  readonly log: string;
  readonly origin: string;
  readonly kind?: Kind;
  readonly detail?: string;
  readonly index?: number;
  readonly heads?: readonly string[];
  readonly files?: readonly string[];
  readonly size?: number;
  readonly root?: string;
  readonly depth?: string;
  readonly checked?: Look['checked'];
  readonly fresh?: { readonly by: string; readonly time: string };
  readonly left_out?: readonly string[];
}

const AGAIN_MS = 3_600_000;
/** Words that are remembered of one log: as many as a look has, and those that it replaces. */
const TOLD_MAX = 1_000;

interface Told {
  readonly word: Word;
  ms: number;
}

export class Events {
  readonly #log: string;
  readonly #origin: string;
  readonly #told = new Map<string, Told>();
  #ok: { readonly name: string; readonly ms: number } | undefined;

  constructor(log: string, origin: string) {
    this.#log = log;
    this.#origin = origin;
  }

  /** What there is to say after a look. */
  after(look: Look, nowMs: number): Event[] {
    const events: Event[] = [];
    const here = new Set<string>();
    for (const word of look.words) {
      // What is left out is said in a line with what is not.
      if (word.kind === 'left_out') continue;
      const name = `${word.kind} ${word.detail}`;
      here.add(name);
      const told = this.#told.get(name);
      const severity = KINDS[word.kind].severity;
      const isDue = told === undefined || (severity !== 'notice' && nowMs - told.ms >= AGAIN_MS);
      if (!isDue) continue;
      if (this.#told.size < TOLD_MAX) this.#told.set(name, { word, ms: nowMs });
      events.push(this.#event(severity, nowMs, word));
    }
    const isWhole = !look.words.some(({ kind }) => KINDS[kind].severity === 'unknown');
    for (const [name, { word }] of this.#told) {
      const severity = KINDS[word.kind].severity;
      // Whether that could not be told is over once it can.
      const mayGo = severity === 'unknown' ? !here.has(name) : isWhole && !here.has(name);
      if (!mayGo) continue;
      this.#told.delete(name);
      if (severity !== 'notice') events.push(this.#event('cleared', nowMs, { ...word, heads: [] }));
    }
    const ok = this.#okEvent(look, nowMs);
    if (ok !== undefined) events.push(ok);
    return events;
  }

  #event(event: Event['event'], nowMs: number, word: Word): Event {
    const { heads, files, ...rest } = word;
    return {
      time: new Date(nowMs).toISOString(),
      event,
      log: this.#log,
      origin: this.#origin,
      ...rest,
      ...(heads === undefined || heads.length === 0 ? {} : { heads }),
      ...(files === undefined || files.length === 0 ? {} : { files }),
    };
  }

  /** All is well, and what that means: said when the head is another one, after trouble, and each hour. */
  #okEvent(look: Look, nowMs: number): Event | undefined {
    const { head, depth, checked, fresh, words } = look;
    const isOk = words.every(({ kind }) => KINDS[kind].severity === 'notice');
    if (!isOk || head === undefined) {
      this.#ok = undefined;
      return undefined;
    }
    const root = toBase64(head.root);
    const name = `${head.size} ${root}`;
    if (this.#ok?.name === name && nowMs - this.#ok.ms < AGAIN_MS) return undefined;
    this.#ok = { name, ms: nowMs };
    const leftOut = words.flatMap(({ kind, detail }) => (kind === 'left_out' ? [detail] : []));
    return {
      time: new Date(nowMs).toISOString(),
      event: 'ok',
      log: this.#log,
      origin: this.#origin,
      ...{ size: head.size, root, depth: depth ?? 'heads', checked },
      ...(fresh === undefined
        ? {}
        : { fresh: { by: fresh.by, time: new Date(fresh.ms).toISOString() } }),
      left_out: leftOut,
    };
  }
}
