/**
 * Did anybody else have a head of our logs taken up? (P2)
 *
 * A log knows every head that it asked to be taken up: a row is written before the first request is sent. What
 * it did not ask for proves nothing yet, as every published head has the anchor key's line and anybody may have
 * one taken up. So the log's own tree is asked: a head that is of no size of it was signed by another copy of
 * the log, or by this one before data was lost. Either way there are two histories, and the log signs nothing more.
 *
 * Known hole: a copy of the data from before the first head was shown does not know under which key to look.
 */
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { parsePublicKey } from '../core/keys.ts';
import type { StrangerRow, StrangerRows } from '../storage/strangers.ts';
import { type Target, TargetError } from './target.ts';

export interface StrangersPorts {
  readonly rows: StrangerRows;
  readonly targets: readonly Target[];
  readonly now: () => number;
  /**
   * Which of these digests, in hex, are of no head that the log's tree has. Rejects with `SteleError` where that
   * cannot be told now: then it is asked again.
   */
  readonly foreign: (
    log: string,
    digests: ReadonlySet<string>,
    signal: AbortSignal,
  ) => Promise<ReadonlySet<string>>;
  /** Hears of a head that nobody here knows. */
  readonly found: (row: StrangerRow) => Promise<void>;
  /** Hears why a target could not be searched, and of how much there was not time for. */
  readonly warn: (message: string, about: { readonly target: string }) => void;
  /** Searches of one target in a row: what it took up is read on from where the last turn ended. */
  readonly searchesMax?: number;
}

const SEARCHES_MAX = 16;

export class Strangers {
  readonly #ports: StrangersPorts;
  #looking: Promise<void> | undefined;

  constructor(ports: StrangersPorts) {
    this.#ports = ports;
  }

  /** Looks through what every target took up since it was last looked at. Never rejects for what a target does. */
  look(signal: AbortSignal): Promise<void> {
    this.#looking ??= this.#all(signal).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #all(signal: AbortSignal): Promise<void> {
    const { targets } = this.#ports;
    await Promise.all(targets.map((target) => this.#one(target, signal)));
  }

  async #one(target: Target, signal: AbortSignal): Promise<void> {
    const { search, name } = target;
    if (search === undefined) return;
    const { warn, searchesMax = SEARCHES_MAX } = this.#ports;
    const logs = this.#logsByKey();
    const keys = [...logs.values()].map(({ key }) => key);
    try {
      for (let turn = 0; turn < searchesMax && !signal.aborted; turn++) {
        const before = this.#ports.rows.searched(name);
        const { found, mark, unread } = await search(keys, before, signal);
        const unasked = found.flatMap(({ digest, signature, key, where }) => {
          const log = logs.get(key.keyid)?.log;
          if (log === undefined || this.#wasAsked(log, toHex(digest))) return [];
          const foundMs = this.#ports.now();
          return [{ log, digest, target: name, place: where, signature, spki: key.spki, foundMs }];
        });
        const { strangers, failure } = await this.#foreign(unasked, signal);
        // What could not be told is searched for again; that keeps nobody from hearing of the others.
        this.#ports.rows.note(name, failure === undefined ? mark : (before ?? mark), strangers);
        for (const row of strangers) await this.#ports.found(row);
        if (failure !== undefined) throw failure;
        if (unread === 0) return;
        if (turn === searchesMax - 1) {
          warn(`${unread} entries of target ${name} are not searched yet for heads of ours`, {
            target: name,
          });
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof SteleError) && !(error instanceof TargetError)) throw error;
      warn(`target ${name} could not be searched for heads of ours: ${error.message}`, {
        target: name,
      });
    }
  }

  #logsByKey() {
    return new Map(
      this.#ports.rows.keys().map(({ log, spki }) => {
        const key = parsePublicKey('ecdsa-p256', spki);
        return [key.keyid, { log, key }] as const;
      }),
    );
  }

  /** Those that are of no head of their log, and why that could not be told of some. */
  async #foreign(
    rows: readonly StrangerRow[],
    signal: AbortSignal,
  ): Promise<{ readonly strangers: readonly StrangerRow[]; readonly failure?: SteleError }> {
    const strangers: StrangerRow[] = [];
    let failure: SteleError | undefined;
    for (const log of new Set(rows.map((row) => row.log))) {
      const own = rows.filter((row) => row.log === log);
      try {
        const digests = new Set(own.map(({ digest }) => toHex(digest)));
        const foreign = await this.#ports.foreign(log, digests, signal);
        strangers.push(...own.filter(({ digest }) => foreign.has(toHex(digest))));
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        failure = error;
      }
    }
    return failure === undefined ? { strangers } : { strangers, failure };
  }

  #wasAsked(log: string, digest: string): boolean {
    for (const text of this.#ports.rows.texts(log)) {
      if (toHex(sha256(utf8(text))) === digest) return true;
    }
    return false;
  }
}

/** Why a log of which there is such a head signs nothing. */
export function strangerError({ log, place, digest }: StrangerRow): SteleError {
  return new SteleError(
    'split_view',
    `log ${log} signs nothing more: ${place} is a head (SHA-256 ${toHex(digest)}) that its anchor key signed and that ` +
      'is of no size of its tree. There is another copy of the log, or its data is older than what it has ' +
      `promised: bring back the newer data, or begin a new log that names this one: stele log create NEW --previous ${log}`,
  );
}
