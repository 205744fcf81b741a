/**
 * Who is asked: an address that serves a log, ours or any other of C2SP tlog-tiles, and a witness.
 *
 * What a monitor remembers of an address is for politeness alone: the checkpoint that it has already, so that
 * an unchanged one need not be sent again. Nothing that is served here is believed.
 */
import { LogClient, type ServedHead } from '../client/client.ts';
import { isPassing, retrying, sleep } from '../client/retrying.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import { NOTE_BYTES_MAX } from '../core/limits.ts';
import { checkpointPathOf } from '../core/tlog-witness.ts';
import type { TreeSize } from '../core/units.ts';
import type { TileReader, TileWanted } from '../log/audit/reader.ts';
import type { Outbound } from '../outbound.ts';
import { HttpReader } from './http-reader.ts';

export interface PlaceOptions {
  /** Without a slash at its end. */
  readonly url: string;
  readonly token?: string | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** Milliseconds for one request. */
  readonly timeoutMs?: number | undefined;
}

/** In one look; the next one asks again. */
const PATIENCE = { attempts: 3, maxAskedS: 10 };

export class LogPlace {
  readonly url: string;
  readonly hasToken: boolean;
  readonly client: LogClient;
  /** Whether it is one of ours, with more than a checkpoint and tiles; nothing before it was asked. */
  #isStele: boolean | undefined;
  #kept: { readonly bytes: Uint8Array; readonly tag: string | undefined } | undefined;

  constructor({ url, token, fetch, timeoutMs }: PlaceOptions) {
    this.url = url;
    this.hasToken = token !== undefined;
    this.client = new LogClient({ base: url, token, fetch, timeoutMs });
  }

  get isStele(): boolean {
    return this.#isStele === true;
  }

  /** It was one of ours before: what it does not say now is missing, and not another kind of log. */
  expectStele(): void {
    this.#isStele = true;
  }

  async checkpoint(signal: AbortSignal): Promise<Uint8Array> {
    const { bytes, tag } = await this.#try(
      () => this.client.checkpointSince(this.#kept?.tag),
      signal,
    );
    if (bytes !== undefined) this.#kept = { bytes, tag };
    if (this.#kept === undefined) {
      throw new SteleError('malformed', `${this.url}: 304 for a checkpoint that was never sent`);
    }
    return this.#kept.bytes;
  }

  /** The newest head with all that a log of ours says beside it; nothing from others. */
  async head(signal: AbortSignal): Promise<ServedHead | undefined> {
    if (this.#isStele === false) return undefined;
    try {
      const head = await this.#try(() => this.client.head(), signal);
      this.#isStele = true;
      return head;
    } catch (error) {
      // Whoever has answered it once is one of ours, and now does not say what it should.
      if (this.#isStele === true || isPassing(error) || !(error instanceof SteleError)) throw error;
      this.#isStele = false;
      return undefined;
    }
  }

  reader(signal: AbortSignal): HttpReader {
    return new HttpReader(this.client, signal, PATIENCE);
  }

  /** For many proofs from one tree: its upper tiles are the same for all of them. */
  tiles(signal: AbortSignal): TileReader {
    return new CachedTiles(this.reader(signal));
  }

  /** Resolves when the log has grown beyond a size, as far as it can say so, or when `ms` are over. */
  async grown(beyond: TreeSize, ms: number, signal: AbortSignal): Promise<void> {
    const over = AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, ms))]);
    while (!over.aborted) {
      if (!this.isStele) return sleep(ms, over);
      try {
        if ((await this.client.headBeyond(beyond, over)).size > beyond) return;
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        // The next look says what is wrong with it.
        return sleep(ms, over);
      }
    }
  }

  #try<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return retrying(work, { ...PATIENCE, maxWaitMs: 2_000, signal });
  }
}

/** Tiles that are kept at once: 4 MiB. */
const CACHED_MAX = 512;

class CachedTiles implements TileReader {
  readonly hasPartialTiles: boolean;
  readonly #reader: TileReader;
  readonly #cache = new Map<string, Uint8Array>();

  constructor(reader: TileReader) {
    this.hasPartialTiles = reader.hasPartialTiles;
    this.#reader = reader;
  }

  async tiles(wanted: readonly TileWanted[]): Promise<readonly (Uint8Array | undefined)[]> {
    const missing = wanted.filter((tile) => !this.#cache.has(nameOf(tile)));
    const read = missing.length === 0 ? [] : await this.#reader.tiles(missing);
    const tiles = wanted.map(
      (tile) => this.#cache.get(nameOf(tile)) ?? read[missing.indexOf(tile)],
    );
    for (const [i, bytes] of read.entries()) {
      const tile = missing[i];
      if (tile !== undefined && bytes !== undefined) this.#cache.set(nameOf(tile), bytes);
    }
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_MAX) break;
      this.#cache.delete(oldest);
    }
    return tiles;
  }
}

function nameOf({ level, index, width }: TileWanted): string {
  return `${level}/${index}/${width}`;
}

const WITNESS_TIMEOUT_MS = 15_000;

/** A witness that shows what it cosigned last [C2SP tlog-witness]. */
export class WitnessPlace {
  readonly url: string;
  readonly #outbound: Outbound;

  constructor(url: string, outbound: Outbound) {
    this.url = url;
    this.#outbound = outbound;
  }

  /** Its newest checkpoint of this log; nothing where it has none. */
  async checkpoint(origin: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const url = `${this.url}/${checkpointPathOf(origin)}`;
    const asked = { maxBytes: NOTE_BYTES_MAX, timeoutMs: WITNESS_TIMEOUT_MS, signal };
    const { status, bytes } = await this.#outbound.ask(url, asked);
    if (status === 404) return undefined;
    if (status !== 200) throw new SteleError('storage', `${this.url}: it answered ${status}`);
    return bytes;
  }
}

/** It could not be had, which says nothing of what it would have been. */
export function isAbsence(error: unknown): boolean {
  return (
    isPassing(error) ||
    hasCode(error, 'not_found') ||
    hasCode(error, 'unauthenticated') ||
    hasCode(error, 'forbidden') ||
    hasCode(error, 'frozen')
  );
}
