/**
 * The journal: how does a call get onto the disk before anything that depends on it happens?
 *
 * One writer appends frames to the last segment. `append` only queues; `commit` resolves when all that
 * was appended before it is on disk. While one write and sync run, everything that arrives becomes the
 * next: one fdatasync covers all who wait, and there is no timer.
 *
 *     append append append commit          append commit
 *              └── write, sync ──┘ resolves      └── write, sync ─┘
 *
 * When a write fails (disk full, I/O error), everything not yet on disk is lost together, `generation`
 * rises, and whoever waits or goes on with a call begun before hears `storage`; the next append starts a
 * fresh segment where the last good frame ended, so what was half written is never read. When a *sync*
 * fails nobody knows what is on disk, and asking again can lie: `onFatal` is called once and every later
 * operation rejects; the process must end (P9).
 */
import { invariant, SteleError } from '../../core/errors.ts';
import { free } from '../../core/free.ts';
import { errorCode, type SpoolDisk, type SpoolFile } from './disk.ts';
import {
  decodeFrameHeader,
  encodeFrame,
  FRAME,
  FRAME_HEADER_BYTES,
  type Frame,
  type FrameType,
  isWhole,
  NO_CALL,
} from './frame.ts';
import { RECENT_FRAME_BYTES_MAX, RecentFrames } from './recent.ts';
import { framesBetween } from './scan.ts';
import { type Segment, Segments } from './segments.ts';

export interface JournalOptions {
  readonly disk: SpoolDisk;
  /** What a scan found, in order; a new segment begins behind the last. */
  readonly segments: readonly Segment[];
  /** Payload of the chain frame that begins each segment, as of the last appended record. */
  readonly chain: () => Uint8Array;
  readonly segmentBytes: number;
  /** Bytes queued for the disk beyond which callers are asked to wait. */
  readonly queueBytes: number;
  /** Bytes of frames just appended that are kept in memory, to be read back from there. */
  readonly recentBytes: number;
  /** Free bytes on the disk below which no new call is taken. */
  readonly floorBytes: number;
  readonly nowMs: () => number;
  /** A sync failed. The process must end. */
  readonly onFatal: (error: SyncFailed) => void;
}

/** The one failure that nobody may survive: what is on disk is not known any more. */
export class SyncFailed extends Error {
  constructor(cause: unknown) {
    super('journal: a sync failed, so what is on disk is not known; the process must end', {
      cause,
    });
    this.name = 'SyncFailed';
  }
}

interface Queued {
  readonly buffers: readonly Uint8Array[];
  readonly bytes: number;
  readonly position: number;
  readonly startsSegment: boolean;
}

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

/** A full disk is looked at again after this long at the earliest. */
const FREE_INTERVAL_MS = 1_000;

/** Bytes written between two looks at the free space, at most. */
const FREE_INTERVAL_BYTES = 16 * 1_048_576;

const STORAGE_RETRY_S = 5;

/** Queued bytes that are written although nobody waits for them yet. */
const DUE_BYTES = 65_536;

export class Journal {
  readonly #options: JournalOptions;
  readonly #segments: Segments;
  readonly #recent: RecentFrames;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  #waiters: Waiter[] = [];
  #drainWaiters: Waiter[] = [];
  #running: Promise<void> | undefined;
  /** What is queued and nobody waits for is written when the events of this moment have been seen to. */
  #soon: NodeJS.Immediate | undefined;
  /** Where the next appended frame will begin. */
  #tail: number;
  /** Where the last frame known to be written ends. */
  #written: number;
  /** Base of the segment that the queue's last frame belongs to; none before the first append. */
  #base: number | undefined;
  #current: { segment: Segment; file: SpoolFile } | undefined;
  #unsynced = false;
  #generation = 0;
  #lastFailure: string | undefined;
  #fatal: SyncFailed | undefined;
  #closed = false;
  #free = Number.POSITIVE_INFINITY;
  #freeAtMs = Number.NEGATIVE_INFINITY;
  #freeAtBytes = 0;
  #measuring: Promise<void> | undefined;
  #dropping: Promise<void> | undefined;

  private constructor(options: JournalOptions) {
    this.#options = options;
    this.#segments = new Segments(options.disk, options.segments);
    this.#recent = new RecentFrames(options.recentBytes);
    this.#tail = options.segments.at(-1)?.end ?? 0;
    this.#written = this.#tail;
  }

  static async open(options: JournalOptions): Promise<Journal> {
    const journal = new Journal(options);
    await journal.#measure();
    return journal;
  }

  /** Rises when queued frames were lost; who holds a lower one than this lost some or may have. */
  get generation(): number {
    return this.#generation;
  }

  /** Bytes on disk, and the position behind the last frame appended. */
  get bytes(): number {
    return this.#segments.bytes;
  }

  get tail(): number {
    return this.#tail;
  }

  /** Why the last write failed, until one succeeds again. */
  get lastFailure(): string | undefined {
    return this.#fatal?.message ?? this.#lastFailure;
  }

  /** Throws `storage` while a new call must not begin: disk nearly full, or the journal is closed. */
  checkRoom(): void {
    this.#checkOpen();
    if (this.#isFreeStale()) {
      // A stale number is used once more; the next call sees the new one.
      this.#measure().catch(() => {});
    }
    if (this.#free < this.#options.floorBytes) {
      throw storage(
        `${this.#free} bytes are free on its disk, the floor is ${this.#options.floorBytes}`,
      );
    }
  }

  /** Whether the disk had less room than a new call needs when it was last looked at. */
  get isShort(): boolean {
    return this.#free < this.#options.floorBytes;
  }

  /** Whether callers should wait for `drained` before they append more bulk. */
  get isFull(): boolean {
    return this.#queuedBytes >= this.#options.queueBytes;
  }

  /** Resolves when the queue has room; rejects if it was lost. */
  drained(): Promise<void> {
    if (!this.isFull) return Promise.resolve();
    return new Promise((resolve, reject) => this.#drainWaiters.push({ resolve, reject }));
  }

  /** Queues a frame and returns its position. It counts only once a later `commit` resolved. */
  append(type: FrameType, call: string, payload: Uint8Array): number {
    this.#checkOpen();
    const bytes = FRAME_HEADER_BYTES + payload.length;
    if (this.#base === undefined || this.#tail + bytes > this.#base + this.#options.segmentBytes) {
      this.#startSegment();
    }
    return this.#enqueue(type, call, payload, false);
  }

  /** Starts a fresh segment, so that the chain frame is in the journal before anything else. */
  start(): Promise<void> {
    this.#checkOpen();
    this.#startSegment();
    return this.commit();
  }

  /** Resolves when every frame appended so far is on disk; rejects with `storage` if one was lost. */
  commit(): Promise<void> {
    if (this.#fatal !== undefined) return Promise.reject(this.#fatal);
    if (this.#queue.length === 0 && !this.#unsynced && this.#running === undefined) {
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#wake();
    });
  }

  /** The frame at a position that `append` gave and a `commit` covered, checked. */
  async read(position: number): Promise<Frame> {
    const recent = this.#recent.get(position);
    if (recent !== undefined) return recent;
    // Most frames fit one read.
    const bytes = await this.#segments.read(position, 4_096);
    const header = decodeFrameHeader(bytes);
    if (header === undefined) throw storage(`no frame at position ${position}`);
    const { length } = header;
    const payload =
      FRAME_HEADER_BYTES + length > bytes.length
        ? await this.#segments.read(position + FRAME_HEADER_BYTES, length)
        : bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length);
    if (!isWhole(header, bytes, payload)) {
      throw storage(`the frame at position ${position} is damaged`);
    }
    return { ...header, payload };
  }

  /** Every whole frame that begins in [begin, end) and was committed. */
  frames(begin: number, end: number): AsyncGenerator<{ frame: Frame; position: number }> {
    return framesBetween((at, length) => this.#segments.read(at, length), begin, end);
  }

  /** Deletes the segments whose every frame lies before `floor`. */
  async release(floor: number): Promise<void> {
    await this.#dropping;
    const [first, second] = this.#segments.list;
    if (first === undefined || second === undefined || first.end > floor) return;
    // The last segment is being written and stays; so does its predecessor until it has a frame.
    this.#dropping = this.#segments.dropBefore(Math.min(floor, this.#written - 1));
    await this.#dropping;
  }

  /** Writes and syncs what is queued, then closes the files. */
  async close(): Promise<void> {
    if (this.#closed) return;
    const last = this.commit();
    this.#closed = true;
    try {
      await last;
    } finally {
      await this.#running;
      await this.#segments.close();
    }
  }

  #startSegment(): void {
    this.#base = this.#tail;
    this.#enqueue(FRAME.chain, NO_CALL, this.#options.chain(), true);
  }

  #enqueue(type: FrameType, call: string, payload: Uint8Array, startsSegment: boolean): number {
    const buffers = encodeFrame(type, call, payload);
    const bytes = FRAME_HEADER_BYTES + payload.length;
    const position = this.#tail;
    this.#queue.push({ buffers, bytes, position, startsSegment });
    this.#recent.add(position, { type, call, length: payload.length, crc: 0, payload });
    this.#queuedBytes += bytes;
    this.#tail += bytes;
    if (this.#isDue) this.#wake();
    else this.#soon ??= setImmediate(() => this.#wake());
    return position;
  }

  /** Whether the disk has something to do now; else what is queued waits for what comes in the same moment. */
  get #isDue(): boolean {
    return this.#waiters.length > 0 || this.#queuedBytes >= DUE_BYTES;
  }

  #wake(): void {
    clearImmediate(this.#soon);
    this.#soon = undefined;
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    do {
      const batch = this.#queue;
      const waiters = this.#waiters;
      this.#queue = [];
      this.#waiters = [];
      try {
        await this.#write(batch);
        this.#lastFailure = undefined;
      } catch (error) {
        if (error instanceof SyncFailed) this.#die(error, waiters);
        else this.#lose(error, waiters, batch[0]?.position ?? this.#written);
        continue;
      }
      if (waiters.length === 0) continue;
      try {
        await this.#sync();
      } catch (error) {
        this.#die(new SyncFailed(error), waiters);
        continue;
      }
      for (const waiter of waiters) waiter.resolve();
    } while (this.#isDue);
    this.#running = undefined;
    if (this.#queue.length > 0) this.#soon ??= setImmediate(() => this.#wake());
  }

  async #write(batch: readonly Queued[]): Promise<void> {
    for (let i = 0; i < batch.length; ) {
      if (batch[i]?.startsSegment) await this.#rotate((batch[i] as Queued).position);
      const current = this.#current;
      invariant(current !== undefined, 'the first frame of a journal starts a segment');
      let end = i + 1;
      while (end < batch.length && !batch[end]?.startsSegment) end++;
      const run = batch.slice(i, end);
      const bytes = run.reduce((sum, q) => sum + q.bytes, 0);
      this.#unsynced = true;
      const buffers = run.flatMap((q) => q.buffers);
      await current.file.write(buffers, this.#written - current.segment.base);
      // Whoever appended a frame has given it away, and one of this size is not kept: waiting for the disk, it has
      // grown old in the collector's eyes.
      for (const buffer of buffers) if (buffer.length > RECENT_FRAME_BYTES_MAX) free(buffer);
      this.#written += bytes;
      current.segment.end = this.#written;
      this.#queuedBytes -= bytes;
      i = end;
    }
    if (!this.isFull) for (const waiter of this.#drainWaiters.splice(0)) waiter.resolve();
  }

  async #rotate(base: number): Promise<void> {
    if (this.#unsynced) {
      try {
        await this.#sync();
      } catch (error) {
        throw new SyncFailed(error);
      }
    }
    this.#current = undefined;
    const added = await this.#segments.add(base);
    try {
      await this.#options.disk.syncFolder();
    } catch (error) {
      // Whether the segment has its name on disk is as unknown as bytes are after a failed sync.
      throw new SyncFailed(error);
    }
    this.#current = added;
  }

  async #sync(): Promise<void> {
    await this.#current?.file.sync();
    this.#unsynced = false;
  }

  /**
   * A write failed: nothing of its batch or behind it counts, also what reached an earlier segment, and
   * the next frame starts a fresh segment where the batch began. A scan ends a segment there, so that a
   * frame that was taken back never stands beside the one that is written in its place.
   */
  #lose(cause: unknown, waiters: readonly Waiter[], begin: number): void {
    this.#segments.rewind(begin);
    this.#recent.dropFrom(begin);
    if (this.#written > begin || this.#current?.segment.base === begin) {
      // The batch had gone over to a fresh segment; whatever came before it was synced at that border.
      this.#current = undefined;
      this.#unsynced = false;
    }
    this.#written = begin;
    this.#generation++;
    this.#lastFailure = `cannot write: ${errorCode(cause) ?? String(cause)}`;
    this.#freeAtMs = Number.NEGATIVE_INFINITY;
    this.#tail = this.#written;
    this.#base = undefined;
    this.#reject(storage(this.#lastFailure, cause), waiters);
  }

  #die(error: SyncFailed, waiters: readonly Waiter[]): void {
    const first = this.#fatal === undefined;
    this.#fatal = error;
    this.#generation++;
    this.#reject(error, waiters);
    if (first) this.#options.onFatal(error);
  }

  #reject(error: Error, waiters: readonly Waiter[]): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    const all = [...waiters, ...this.#waiters.splice(0), ...this.#drainWaiters.splice(0)];
    for (const waiter of all) waiter.reject(error);
  }

  #checkOpen(): void {
    if (this.#fatal !== undefined) throw this.#fatal;
    if (this.#closed) throw storage('it is closed');
  }

  #isFreeStale(): boolean {
    return (
      this.#options.nowMs() - this.#freeAtMs >= FREE_INTERVAL_MS ||
      this.#written - this.#freeAtBytes >= FREE_INTERVAL_BYTES
    );
  }

  #measure(): Promise<void> {
    this.#measuring ??= this.#options.disk
      .freeBytes()
      .then((free) => {
        this.#free = free;
        this.#freeAtMs = this.#options.nowMs();
        this.#freeAtBytes = this.#written;
      })
      .finally(() => {
        this.#measuring = undefined;
      });
    return this.#measuring;
  }
}

function storage(rule: string, cause?: unknown): SteleError {
  return new SteleError('storage', `journal: ${rule}`, { cause, retryAfterS: STORAGE_RETRY_S });
}
