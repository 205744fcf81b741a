/**
 * Calls that were forwarded unrecorded (posture observe), counted where a full disk still takes it.
 *
 * The count belongs into a gap record, which the journal cannot take while it fails. So it is kept in a file that
 * was made while there was room, and is only ever written over in place: that takes no new room on most file
 * systems, and so the count outlives the process. Where even that fails, it is in memory alone, and said so.
 *
 *     unrecorded    4,096 bytes: JSON, padded with blanks
 *
 * A batch of calls has an id, which its gap's frame in the journal has too: after a crash between the two, a
 * batch whose gap is there is not counted again.
 */
import { parseUtf8, toHex, utf8 } from '../core/bytes.ts';
import type { SpoolDisk, SpoolFile } from './journal/disk.ts';
import type { ProxyLogger } from './logger.ts';

export interface Batch {
  readonly id: string;
  readonly count: number;
  readonly fromUs: number;
  readonly toUs: number;
  /** The last of them that had begun to be written: frames that a crash leaves of them are no calls of their own. */
  readonly calls: readonly string[];
}

const FILE = 'unrecorded';
const BYTES = 4_096;

/** Only what was written last can have left frames behind. */
const CALLS_MAX = 32;

export class Missed {
  readonly #file: SpoolFile | undefined;
  readonly #random: (bytes: number) => Uint8Array;
  readonly #logger: ProxyLogger;
  /** Grows. */
  #open: Batch | undefined;
  /** Given to the recorder, and not on disk as a gap yet. */
  #given: Batch | undefined;
  #writing: Promise<void> | undefined;
  #isStale = false;
  #hasFailed = false;

  private constructor(
    file: SpoolFile | undefined,
    random: (bytes: number) => Uint8Array,
    logger: ProxyLogger,
  ) {
    this.#file = file;
    this.#random = random;
    this.#logger = logger;
  }

  /** `recorded` are the ids of batches that have a gap in the journal. */
  static async open(
    disk: SpoolDisk,
    options: {
      readonly random: (bytes: number) => Uint8Array;
      readonly logger: ProxyLogger;
      readonly recorded: ReadonlySet<string>;
      /** Whether calls go on unrecorded here at all. */
      readonly isObserved: boolean;
    },
  ): Promise<Missed> {
    const { random, logger, recorded, isObserved } = options;
    let left: readonly Batch[] = [];
    let file: SpoolFile | undefined;
    try {
      const isThere = (await disk.list()).some(({ name }) => name === FILE);
      if (isThere) {
        file = await disk.open(FILE);
        left = batchesOf(await file.read(0, BYTES)).filter(({ id }) => !recorded.has(id));
      } else if (isObserved) file = await preallocated(disk);
    } catch (error) {
      const facts = { error: error instanceof Error ? error.message : String(error) };
      logger.error(facts, 'calls that are not recorded can be counted in memory only');
    }
    const missed = new Missed(file, random, logger);
    for (const batch of left) missed.#grow(batch);
    return missed;
  }

  /** Calls that no gap on disk counts yet. */
  get count(): number {
    return (this.#open?.count ?? 0) + (this.#given?.count ?? 0);
  }

  /** A call was forwarded without a frame. */
  add(fromUs: number, toUs: number, recordId?: string): void {
    const calls = recordId === undefined ? [] : [recordId];
    this.#grow({ id: '', count: 1, fromUs, toUs, calls });
    this.#save();
  }

  /** Whether this call is counted, so that what is left of its frames is no call of its own. */
  counts(recordId: string): boolean {
    return this.#open?.calls.includes(recordId) === true;
  }

  /** What a gap is to be made of now: one batch at a time. */
  take(): Batch | undefined {
    if (this.#given !== undefined) return undefined;
    this.#given = this.#open;
    this.#open = undefined;
    return this.#given;
  }

  /** The gap of this batch is on disk. */
  recorded(id: string): void {
    if (this.#given?.id !== id) return;
    this.#given = undefined;
    this.#save();
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file?.close();
  }

  #grow(more: Batch): void {
    const before = this.#open ?? { ...more, count: 0, calls: [] };
    this.#open = {
      id: before.id === '' ? toHex(this.#random(8)) : before.id,
      count: before.count + more.count,
      fromUs: Math.min(before.fromUs, more.fromUs),
      toUs: Math.max(before.toUs, more.toUs),
      calls: [...before.calls, ...more.calls].slice(-CALLS_MAX),
    };
  }

  /** Writes what is known now; what changes meanwhile is written after it. */
  #save(): void {
    this.#isStale = true;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async #write(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      const batches = [this.#given, this.#open].filter((batch) => batch !== undefined);
      try {
        await this.#file?.write([encode(batches)], 0);
        await this.#file?.sync();
        this.#hasFailed = false;
      } catch (error) {
        // Said once: it goes on as long as the disk does.
        if (this.#hasFailed) continue;
        this.#hasFailed = true;
        const facts = { error: error instanceof Error ? error.message : String(error) };
        this.#logger.error(facts, 'calls that are not recorded are counted in memory only');
      }
    }
  }
}

/** While there is room. */
async function preallocated(disk: SpoolDisk): Promise<SpoolFile> {
  const file = await disk.create(FILE);
  await file.write([encode([])], 0);
  await file.sync();
  await disk.syncFolder();
  return file;
}

function encode(batches: readonly Batch[]): Uint8Array {
  return utf8(`${JSON.stringify(batches).padEnd(BYTES - 1)}\n`);
}

/** Nothing of it is believed where it is not whole. */
function batchesOf(bytes: Uint8Array): readonly Batch[] {
  if (bytes.length !== BYTES) return [];
  try {
    return JSON.parse(parseUtf8(bytes, FILE)) as Batch[];
  } catch {
    return [];
  }
}
