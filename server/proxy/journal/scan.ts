/**
 * What is in the journal after a crash, a power cut or a rotten disk?
 *
 * Reads every segment from the first byte to the last and hands out each whole frame in order. What is
 * not a whole frame is one of two things. At the very end it is a *torn tail*: a write that was never
 * promised to anybody; it is cut off. Anywhere else, with a whole frame behind it or a segment missing,
 * it is *damage*: frames that were promised are gone, and the caller must put a gap on record.
 *
 *     │ frame frame ▒▒▒▒▒▒ frame │ frame fra
 *                   damage             torn tail, cut
 */
import type { SpoolDisk, SpoolFile } from './disk.ts';
import {
  decodeFrameHeader,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES_MAX,
  type Frame,
  findMagic,
  isWhole,
} from './frame.ts';
import { parseSegmentName, type Segment, segmentName } from './segments.ts';

/** Bytes [begin, end) of the journal that hold no whole frame although they should. */
export interface Damage {
  readonly begin: number;
  readonly end: number;
}

export interface ScanResult {
  readonly segments: readonly Segment[];
  readonly damage: readonly Damage[];
  /** Bytes that were cut off the end. */
  readonly torn: number;
}

export type OnFrame = (frame: Frame, position: number) => void;

/** Reads the whole journal. Damage is told to `onDamage` in its place among the frames. */
export async function scanJournal(
  disk: SpoolDisk,
  onFrame: OnFrame,
  onDamage: (damage: Damage) => void = () => {},
): Promise<ScanResult> {
  const files = (await disk.list())
    .flatMap(({ name, bytes }) => {
      const base = parseSegmentName(name);
      return base === undefined ? [] : [{ base, bytes }];
    })
    .sort((a, b) => a.base - b.base);
  const segments: Segment[] = [];
  const damage: Damage[] = [];
  let torn = 0;
  const report = (begin: number, end: number) => {
    damage.push({ begin, end });
    onDamage({ begin, end });
  };
  for (const [i, { base, bytes }] of files.entries()) {
    const next = files[i + 1]?.base;
    // Bytes at or behind the next segment's base are what a failed write left; nobody counts them.
    const end = next === undefined ? base + bytes : Math.min(base + bytes, next);
    const file = await disk.open(segmentName(base));
    try {
      const found = await scanSegment(file, base, end, next === undefined, onFrame, report);
      if (next === undefined && found < end) {
        torn = end - found;
        await file.truncate(found - base);
        await file.sync();
      }
      // A file that is too short leaves a hole before the next one.
      if (next !== undefined && end < next) report(end, next);
      segments.push({ base, end: next ?? found });
    } finally {
      await file.close();
    }
  }
  return { segments, damage, torn };
}

/** Every whole frame that begins in [begin, end), whatever lies between; damage was reported before. */
export async function* framesBetween(
  read: (position: number, length: number) => Promise<Uint8Array>,
  begin: number,
  end: number,
): AsyncGenerator<{ readonly frame: Frame; readonly position: number }> {
  const window = new Window(read, end);
  let at = begin;
  while (at < end) {
    const frame = await frameAt(window, at);
    if (frame === undefined) {
      at = (await nextFrame(window, at + 1, end)) ?? end;
      continue;
    }
    yield { frame, position: at };
    at += FRAME_HEADER_BYTES + frame.length;
  }
}

/** Returns where the last whole frame of the segment ends. */
async function scanSegment(
  file: SpoolFile,
  base: number,
  end: number,
  isLast: boolean,
  onFrame: OnFrame,
  onDamage: (begin: number, end: number) => void,
): Promise<number> {
  const window = new Window((at, length) => file.read(at - base, length), end);
  let at = base;
  while (at < end) {
    const frame = await frameAt(window, at);
    if (frame !== undefined) {
      onFrame(frame, at);
      at += FRAME_HEADER_BYTES + frame.length;
      continue;
    }
    const next = await nextFrame(window, at + 1, end);
    if (next === undefined) {
      if (!isLast) onDamage(at, end);
      return isLast ? at : end;
    }
    onDamage(at, next);
    at = next;
  }
  return at;
}

async function frameAt(window: Window, at: number): Promise<Frame | undefined> {
  const header = decodeFrameHeader(await window.bytes(at, FRAME_HEADER_BYTES));
  if (header === undefined) return undefined;
  const whole = await window.bytes(at, FRAME_HEADER_BYTES + header.length);
  if (!isWhole(header, whole, whole.subarray(FRAME_HEADER_BYTES))) return undefined;
  return { ...header, payload: whole.slice(FRAME_HEADER_BYTES) };
}

async function nextFrame(window: Window, from: number, end: number): Promise<number | undefined> {
  let at = from;
  while (at < end) {
    const bytes = await window.bytes(at, WINDOW_BYTES);
    const offset = findMagic(bytes, 0);
    if (offset < 0) {
      // The magic may lie across the border of two windows.
      at += Math.max(1, bytes.length - 3);
      continue;
    }
    if ((await frameAt(window, at + offset)) !== undefined) return at + offset;
    at += offset + 1;
  }
  return undefined;
}

const WINDOW_BYTES = 1_048_576;

/** Reads forwards in large pieces; holds one piece. */
class Window {
  readonly #read: (position: number, length: number) => Promise<Uint8Array>;
  readonly #end: number;
  #held: Uint8Array = new Uint8Array(0);
  #heldAt = 0;

  constructor(read: (position: number, length: number) => Promise<Uint8Array>, end: number) {
    this.#read = read;
    this.#end = end;
  }

  /** `length` bytes from position `at` on, or as many as there are. */
  async bytes(at: number, length: number): Promise<Uint8Array> {
    const wanted = Math.min(length, this.#end - at, FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX);
    const offset = at - this.#heldAt;
    if (offset < 0 || offset + wanted > this.#held.length) {
      const size = Math.min(Math.max(wanted, WINDOW_BYTES), this.#end - at);
      this.#held = await this.#read(at, size);
      this.#heldAt = at;
    }
    const start = at - this.#heldAt;
    return this.#held.subarray(start, start + wanted);
  }
}
