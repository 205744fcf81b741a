/**
 * Where does an export go on? After the last whole line of the file it wrote before.
 *
 * A file that is no export is never touched. Of a line that was cut short by a crash only the beginning
 * is there; it is cut off, and written again.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { parseUtf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { FEED_LINE_BYTES_MAX, parseFeedLine } from '../core/feed.ts';
import { Unusable } from './exit.ts';

const NEWLINE = 10;

/** What a line of an export looks like. */
export interface ExportForm {
  /** Throws if it is none. */
  parse(line: Uint8Array): { readonly index: number; readonly text: string };
  /** How every line begins, so that the first can be told where it was cut short. */
  readonly head: string;
}

/** Lines of the feed. */
export const FEED_FORM: ExportForm = {
  parse: parseFeedLine,
  head: '{"index":',
};

/** OCSF events: shorter than the feed's line of the same entry. */
export const OCSF_FORM: ExportForm = {
  parse(line) {
    const text = parseUtf8(line, 'event');
    const { metadata } = JSON.parse(text) as { metadata?: { sequence?: unknown } };
    const index = metadata?.sequence;
    if (typeof index !== 'number' || !Number.isSafeInteger(index) || index < 0) {
      throw new SteleError('malformed', 'event: it has no sequence');
    }
    return { index, text };
  },
  head: '{"category_uid":',
};

/** An open export file, ready for its next line. */
export class ExportFile {
  readonly path: string;
  readonly #form: ExportForm;
  /** The index of its first line, and the text of its last; nothing of an empty file. */
  readonly begin: number | undefined;
  readonly last: { readonly index: number; readonly text: string } | undefined;
  readonly #fd: number;

  constructor(path: string, form: ExportForm) {
    this.path = path;
    this.#form = form;
    this.#fd = open(path);
    try {
      this.begin = this.#first();
      this.last = this.#last();
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Writes whole lines at the end. */
  append(lines: string): void {
    const bytes = Buffer.from(lines);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** The index of the first line. A file whose first line is not whole is empty from then on. */
  #first(): number | undefined {
    const { size } = fstatSync(this.#fd);
    if (size === 0) return undefined;
    const bytes = this.#read(0, Math.min(size, FEED_LINE_BYTES_MAX + 1));
    const end = bytes.indexOf(NEWLINE);
    if (end >= 0) return this.#parse(bytes.subarray(0, end)).index;
    const { head } = this.#form;
    const begun = bytes.toString('latin1', 0, head.length);
    const isBegun = size <= FEED_LINE_BYTES_MAX && head.startsWith(begun);
    if (!isBegun) throw this.#foreign(undefined);
    ftruncateSync(this.#fd, 0);
    return undefined;
  }

  #last() {
    const { size } = fstatSync(this.#fd);
    if (size === 0) return undefined;
    // A line that was cut short, and a whole one before it.
    const from = Math.max(0, size - 2 * (FEED_LINE_BYTES_MAX + 1));
    const bytes = this.#read(from, size - from);
    const end = bytes.lastIndexOf(NEWLINE);
    if (end < 0) throw this.#foreign(undefined);
    const line = bytes.subarray(bytes.lastIndexOf(NEWLINE, end - 1) + 1, end);
    const last = this.#parse(line);
    if (from + end + 1 < size) ftruncateSync(this.#fd, from + end + 1);
    return last;
  }

  #parse(line: Uint8Array) {
    try {
      return this.#form.parse(line);
    } catch (cause) {
      throw this.#foreign(cause);
    }
  }

  #foreign(cause: unknown): Unusable {
    const what = `${this.path}: it is no export of a log, so nothing is written to it`;
    return new Unusable(what, { cause });
  }

  #read(from: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; ) {
      const count = readSync(this.#fd, bytes, at, length - at, from + at);
      if (count === 0) throw new SteleError('storage', `${this.path}: it became shorter`);
      at += count;
    }
    return bytes;
  }
}

/** For reading, and for appending at the end; made for its owner alone where there is none. */
function open(path: string): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Unusable(`${path}: it cannot be opened for writing (${code})`, { cause });
  }
}
