/**
 * Which file holds which part of the journal?
 *
 * A position counts bytes over the journal's whole life. A segment's name is the position of its first
 * byte, so the files of a folder, sorted, are the journal. Only the last grows; whole segments are
 * dropped from the front, oldest first, so that what finishes a call is never gone before the call.
 */
import { invariant } from '../../core/errors.ts';
import type { SpoolDisk, SpoolFile } from './disk.ts';

export interface Segment {
  readonly base: number;
  /** Where the next segment begins, or where the last written whole frame of this one ends. */
  end: number;
}

const NAME = /^([0-9]{16})\.journal$/;

export function segmentName(base: number): string {
  return `${String(base).padStart(16, '0')}.journal`;
}

/** The base that a file's name tells, or nothing for a file that is no segment. */
export function parseSegmentName(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Files of old segments that are kept open for reading. */
const OPEN_FILES_MAX = 8;

export class Segments {
  readonly #disk: SpoolDisk;
  readonly #list: Segment[];
  readonly #open = new Map<number, Promise<SpoolFile>>();
  /** Files whose every frame was taken back; they go before another segment is made. */
  readonly #void: number[] = [];

  /** `list` is in order and touches: each ends where the next begins. */
  constructor(disk: SpoolDisk, list: readonly Segment[]) {
    this.#disk = disk;
    this.#list = list.map((segment) => ({ ...segment }));
  }

  get list(): readonly Segment[] {
    return this.#list;
  }

  get bytes(): number {
    const first = this.#list[0];
    const last = this.#list.at(-1);
    return first === undefined || last === undefined ? 0 : last.end - first.base;
  }

  /** Makes the file of a new last segment. Its name is durable once the folder is synced. */
  async add(base: number): Promise<{ segment: Segment; file: SpoolFile }> {
    const last = this.#list.at(-1);
    invariant(last === undefined || last.end === base, 'segments touch');
    // One that a crash left without a frame begins where the new one does.
    if (last?.base === base) this.rewind(base);
    // One that stayed would cut off what is written behind it now: a scan ends a segment where the next
    // begins.
    for (let stale = this.#void[0]; stale !== undefined; stale = this.#void[0]) {
      await this.#forget(stale);
      await this.#disk.remove(segmentName(stale));
      this.#void.shift();
    }
    const file = await this.#disk.create(segmentName(base));
    const segment = { base, end: base };
    this.#list.push(segment);
    this.#open.set(base, Promise.resolve(file));
    return { segment, file };
  }

  /** Takes back everything from `position` on: it was never promised to anybody. */
  rewind(position: number): void {
    for (let last = this.#list.at(-1); last !== undefined; last = this.#list.at(-1)) {
      if (last.base < position) {
        last.end = Math.min(last.end, position);
        return;
      }
      this.#void.push(last.base);
      this.#list.pop();
    }
  }

  /** The segment that holds `position`. */
  locate(position: number): Segment {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const { end } = this.#list[middle] as Segment;
      if (end > position) high = middle;
      else low = middle + 1;
    }
    const segment = this.#list[low];
    invariant(
      segment !== undefined && segment.base <= position,
      `position ${position} is in the journal`,
    );
    return segment;
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const segment = this.locate(position);
    const file = await this.#file(segment.base);
    return file.read(position - segment.base, Math.min(length, segment.end - position));
  }

  /** Removes the segments that end at or before `floor`, oldest first; never the last one. */
  async dropBefore(floor: number): Promise<void> {
    for (;;) {
      const [first, second] = this.#list;
      if (first === undefined || second === undefined || first.end > floor) return;
      await this.#forget(first.base);
      await this.#disk.remove(segmentName(first.base));
      // A crash before this may bring the file back; then its calls are finished once more, by the
      // same frames. Without it a later removal could become durable before an earlier one.
      await this.#disk.syncFolder();
      this.#list.shift();
    }
  }

  async close(): Promise<void> {
    for (const base of [...this.#open.keys()]) await this.#forget(base);
  }

  #file(base: number): Promise<SpoolFile> {
    const known = this.#open.get(base);
    if (known !== undefined) return known;
    const opened = this.#disk.open(segmentName(base));
    this.#open.set(base, opened);
    opened.catch(() => this.#open.delete(base));
    const writing = this.#list.at(-1)?.base;
    for (const old of this.#open.keys()) {
      if (this.#open.size <= OPEN_FILES_MAX) break;
      if (old !== writing && old !== base) this.#forget(old).catch(() => {});
    }
    return opened;
  }

  async #forget(base: number): Promise<void> {
    const opened = this.#open.get(base);
    this.#open.delete(base);
    if (opened !== undefined) await (await opened).close();
  }
}
