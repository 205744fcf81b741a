/**
 * What one witness remembers of the logs that it is shown, as one of the memories (P2): what it says when a log is
 * opened, and what it said before.
 *
 * A log is opened often and by whoever asks for it, so a witness is asked about it once in the life of a process:
 * from then on the process itself is the one that signs. One that is away is left alone for a minute, so that logs
 * open without waiting for it.
 */
import { SteleError } from '../core/errors.ts';
import { hash, treeSize } from '../core/units.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import { type Known, KnowsSize, type Memory } from '../log/memories.ts';
import type { Outbound } from '../outbound.ts';
import type { SeenRow } from '../storage/witnesses.ts';
import { recall } from '../witness/served.ts';
import type { Witness } from '../witness/witness.ts';

export interface WitnessMemoryOptions {
  readonly witness: Witness;
  readonly outbound: Pick<Outbound, 'ask'>;
  readonly timeoutMs: number;
  /** How far it is known to be with a log; nothing where it is not shown that log. */
  readonly seen: (origin: string) => Partial<SeenRow> | undefined;
  readonly now: () => number;
}

const AWAY_MS = 60_000;

export class WitnessMemory implements Memory {
  readonly kind = 'witness';
  readonly isLocal = false;
  readonly #options: WitnessMemoryOptions;
  /** What it said, by origin. */
  readonly #said = new Map<string, Known | undefined>();
  #away: { readonly failure: SteleError; readonly untilMs: number } | undefined;

  constructor(options: WitnessMemoryOptions) {
    this.#options = options;
  }

  concerns(origin: string): boolean {
    return this.#options.seen(origin) !== undefined;
  }

  placeOf(): string {
    const { name, url } = this.#options.witness;
    return `${name} at ${url}`;
  }

  last(origin: string): Known | undefined {
    const { size, root, note } = this.#options.seen(origin) ?? {};
    if (size == null || root == null || note == null) return undefined;
    return { origin, size: treeSize(size), root: hash(root), note };
  }

  async recall(origin: string): Promise<Known | undefined> {
    if (this.#said.has(origin)) return this.#said.get(origin);
    const { now } = this.#options;
    if (this.#away !== undefined && now() < this.#away.untilMs) throw this.#away.failure;
    try {
      const known = await this.#ask(origin);
      this.#away = undefined;
      this.#said.set(origin, known);
      return known;
    } catch (error) {
      if (error instanceof SteleError && error.code !== 'split_view') {
        this.#away = { failure: error, untilMs: now() + AWAY_MS };
      }
      throw error;
    }
  }

  async #ask(origin: string): Promise<Known | undefined> {
    const { witness, outbound, timeoutMs, now } = this.#options;
    const last = this.last(origin);
    const reach = { outbound, timeoutMs, signal: new AbortController().signal };
    const shown = last && { size: last.size, root: last.root, note: last.note ?? '' };
    const judging = { check: checkSignatureNative, now: now() };
    const said = await recall(witness, origin, shown, reach, judging);
    if (said === undefined) return last;
    if (said.root === undefined) throw new KnowsSize(said.size);
    return { origin, ...said };
  }
}
