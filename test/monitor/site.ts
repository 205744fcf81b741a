/**
 * A log that a monitor looks at: built by hand, grown, served, and spoiled on its way out.
 */
import { createHash } from 'node:crypto';
import { toBase64, utf8 } from '../../server/core/bytes.ts';
import type { JsonObject } from '../../server/core/json.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { parsePolicy } from '../../server/core/policy.ts';
import { parseTilePath } from '../../server/core/tile.ts';
import { Tree } from '../../server/core/tree.ts';
import type { Trust } from '../../server/core/trust.ts';
import { Reader } from '../../server/log/reader.ts';
import { type Look, Watch } from '../../server/monitor/look.ts';
import { LogPlace, type WitnessPlace } from '../../server/monitor/places.ts';
import { StateFile } from '../../server/monitor/state.ts';
import type { RekorPlace } from '../../server/monitor/sweep.ts';
import type { KnownNote, Limits } from '../../server/monitor/watched.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import type { Head } from '../../server/storage/store.ts';
import { fill, IDENTITY, ORIGIN, publishedOf } from '../log/audit/build.ts';
import { checker, TestClock } from '../log/make.ts';

export const NOW = 1_790_000_000_000;

/** May spoil what is at a path, or take it away; a number is a status. */
export type Change = (bytes: Uint8Array) => Uint8Array | number | undefined;

export class Site {
  readonly url: string;
  /** Without it only a checkpoint and tiles are served. */
  isStele = true;
  /** Whether entries need a token. */
  isClosed = false;
  time: string | undefined = new Date(NOW).toISOString();
  anchoring: readonly JsonObject[] = [];
  witnessing: readonly JsonObject[] = [];
  anchors: readonly JsonObject[] = [];
  changes: Readonly<Record<string, Change>> = {};
  /** Seconds, of answers with a status. */
  retryAfter = '0';
  /** Other files. */
  files: Readonly<Record<string, Uint8Array>> = {};
  /** Paths that were asked for, and the status of each answer. */
  readonly asked: string[] = [];
  head!: Head;
  published!: Head;
  entries: readonly Uint8Array[] = [];
  control: readonly number[] = [0, 1];
  #reader!: Reader;

  private constructor(url: string) {
    this.url = url;
  }

  static async of(entries: readonly Uint8Array[], url = 'http://log.example/logs/built') {
    const site = new Site(url);
    await site.show(entries);
    return site;
  }

  /** The log has these entries, and signs them. */
  async show(entries: readonly Uint8Array[]): Promise<void> {
    const store = new MemoryStore();
    this.entries = entries;
    this.head = await fill(store, entries, this.control);
    this.published = await publishedOf(this.head);
    const { tree } = Tree.empty().append(entries.map((entry) => leafHash(entry)));
    this.#reader = new Reader(store, () => tree);
  }

  async grow(...entries: readonly Uint8Array[]): Promise<void> {
    await this.show([...this.entries, ...entries]);
  }

  readonly fetch = async (
    input: Parameters<typeof fetch>[0],
    init: RequestInit = {},
  ): Promise<Response> => {
    const { pathname } = new URL(String(input));
    const path = pathname.slice(new URL(this.url).pathname.length + 1);
    const response = await this.#answer(path, new Headers(init.headers));
    this.asked.push(`${path} ${response.status}`);
    return response;
  };

  place(token?: string): LogPlace {
    return new LogPlace({ url: this.url, token, fetch: this.fetch });
  }

  async #answer(path: string, headers: Headers): Promise<Response> {
    const isEntries = path.startsWith('tile/entries/') || path.startsWith('v1/entries/');
    if (this.isClosed && isEntries && headers.get('authorization') === null) {
      return new Response('', { status: 401 });
    }
    const served = await this.#at(path);
    const changed = served && (this.changes[path] ?? ((b) => b))(served);
    if (changed === undefined) return new Response('', { status: 404 });
    if (typeof changed === 'number') {
      return new Response('', { status: changed, headers: { 'retry-after': this.retryAfter } });
    }
    const etag = `"${createHash('sha256').update(changed).digest('hex')}"`;
    if (headers.get('if-none-match') === etag) return new Response(null, { status: 304 });
    return new Response(Buffer.from(changed), { headers: { etag } });
  }

  async #at(path: string): Promise<Uint8Array | undefined> {
    if (this.files[path] !== undefined) return this.files[path];
    if (path === 'checkpoint') return utf8(this.published.checkpoint);
    if (path.startsWith('v1/') && !this.isStele) return undefined;
    if (path === 'v1/tree-head') return utf8(JSON.stringify(this.#treeHead()));
    if (path === 'v1/anchors') return utf8(JSON.stringify({ anchors: this.anchors }));
    if (path === 'v1/entries/0') return this.entries[0];
    if (!path.startsWith('tile/')) return undefined;
    try {
      return await this.#reader.tile(parseTilePath(path));
    } catch {
      return undefined;
    }
  }

  #treeHead(): JsonObject {
    const { size, root, checkpoint } = this.head;
    const head = { origin: ORIGIN, size, root: toBase64(root), checkpoint };
    const time = this.time === undefined ? {} : { time: this.time };
    return { ...head, ...time, anchoring: this.anchoring, witnessing: this.witnessing };
  }
}

export interface WatchOptions {
  readonly places: readonly [LogPlace, ...LogPlace[]];
  readonly folder: string;
  readonly known?: readonly KnownNote[];
  readonly witnesses?: readonly WitnessPlace[];
  readonly rekors?: readonly RekorPlace[];
  readonly trust?: Partial<Trust>;
  /** A tlog-policy. */
  readonly policy?: string;
  readonly limits?: Partial<Limits>;
  readonly clock?: TestClock;
  readonly keys?: Trust['logs'][number]['keys'];
}

/** A monitor of one log, whose state lies in a folder; `close` lets another have it. */
export function watching(options: WatchOptions): Watch & { close(): void } {
  const {
    places,
    folder,
    known = [],
    witnesses = [],
    rekors = [],
    clock = new TestClock(NOW),
  } = options;
  const parsed = options.policy === undefined ? undefined : parsePolicy(utf8(options.policy));
  const file = StateFile.open(folder, ORIGIN);
  let watch: Watch;
  try {
    watch = new Watch(
      {
        keys: { origin: ORIGIN, keys: options.keys ?? [{ key: IDENTITY }], policy: parsed },
        gateways: [],
        ...{ places, witnesses, rekors, known },
        trust: { logs: [], ...options.trust },
        limits: {
          ...{ depth: undefined, require: [], staleMs: 86_400_000, lateMs: 7_200_000 },
          ...options.limits,
        },
      },
      file,
      {
        checker,
        now: () => clock.ms,
        signal: new AbortController().signal,
        progress: () => undefined,
      },
    );
  } catch (error) {
    file.close();
    throw error;
  }
  return Object.assign(watch, { close: () => file.close() });
}

/** One look by a monitor that starts for it and ends with it. */
export async function lookedAt(options: WatchOptions): Promise<Look> {
  const watch = watching(options);
  try {
    return await watch.look();
  } finally {
    watch.close();
  }
}

/** Kinds and details, a line each; what was left out and seen first does not matter here. */
export function said({ words }: Look): string {
  return words
    .filter(({ kind }) => !['left_out', 'first_seen'].includes(kind))
    .map(({ kind, index, detail }) => `${kind} ${index ?? '-'} ${detail}`)
    .join('\n');
}
