/**
 * What does a monitor remember of a log? One file for each origin, replaced as a whole.
 *
 *     {"format":"stele.monitor/1","origin":"…",
 *      "seen": {"note":"…","first_ms":…}        the newest head that is signed and continues all before
 *      "head": "…"                              the newest head of which every check has passed
 *      "contents": {"depth":"records","size":…  how far its entries were read, and what they came to
 *      …}
 *
 * A head that was seen is kept as soon as it is known to be the log's word: if another history is shown
 * tomorrow, this one is the proof. `head` and `contents` move only when all that they stand for has been
 * checked. A process that dies leaves the old file or the new one: whatever it was doing is done again.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import { hasCode, malformed, SteleError } from '../core/errors.ts';
import { type Json, parseJson } from '../core/json.ts';
import {
  ENTRY_BYTES_MAX,
  NOTE_BYTES_MAX,
  ORIGIN_BYTES_MAX,
  SOURCE_ID_MAX,
} from '../core/limits.ts';
import {
  base64,
  constant,
  int,
  list,
  map,
  nullable,
  object,
  oneOf,
  read,
  type Shaped,
  text,
} from '../core/schema.ts';
import { type FileLock, lockFile } from '../storage/file-lock.ts';
import { writeWhole } from '../storage/files.ts';

/** How much of a log is read: leaf hashes alone; entries, as bytes; or what is in them too. */
export const DEPTHS = ['tiles', 'entries', 'records'] as const;
export type Depth = (typeof DEPTHS)[number];

/** Bytes of a state file: the control records of a large log, and its sources. */
const STATE_BYTES_MAX = 67_108_864;

const RUNS_MAX = 1_000_000;
const ITEMS_MAX = 100_000;
/** Characters of what was found, in words. */
export const DETAIL_MAX = 2_000;
/** Flaws that are told one by one. */
export const FLAWS_MAX = 200;
export const ACKNOWLEDGED_MAX = 10_000;
export const TARGETS_MAX = 64;
/** Anchor keys of one log that Rekor was searched for. */
export const REKOR_KEYS_MAX = 1_024;
/** Addresses of one log. */
export const PLACES_MAX = 256;

const hashes = list(base64(32, true), 255);

const flaw = object({ detail: text(2_048) }, { index: int() });

const source = object(
  {
    id: text(SOURCE_ID_MAX),
    keyid: text(64),
    runs: list(
      object({ begin: int(), end: int(), prev: nullable(text(64)), digest: text(64) }, {}),
      RUNS_MAX,
    ),
    lost: list(object({ begin: int(), end: int() }, {}), ITEMS_MAX),
  },
  {},
);

const contents = object(
  {
    depth: oneOf(DEPTHS),
    size: int(),
    edge: list(hashes, 8),
    control: list(object({ index: int(), entry: base64(ENTRY_BYTES_MAX) }, {}), ITEMS_MAX),
    sources: list(source, ITEMS_MAX),
    flaws: list(flaw, FLAWS_MAX),
    more_flaws: int(),
  },
  {},
);

const note = text(NOTE_BYTES_MAX);

const SHAPE = object(
  {
    format: constant('stele.monitor/1'),
    origin: text(ORIGIN_BYTES_MAX * 4),
  },
  {
    stele_at: list(text(2_048), PLACES_MAX),
    seen: object({ note, first_ms: int() }, {}),
    head: note,
    contents,
    targets: map(
      (name) => name.length <= 64,
      'a name',
      object(
        { type: text(64), checked: int() },
        { size: int(), proven: int(), ms: int(), behind_ms: int() },
      ),
      TARGETS_MAX,
    ),
    rekor: map((url) => url.length <= 2_048, 'an address', text(1_024), TARGETS_MAX),
    rekor_keys: list(text(64), REKOR_KEYS_MAX),
    quorum: object({}, { size: int(), ms: int(), behind_ms: int() }),
    evidence: object(
      { found_ms: int(), detail: text(2_048), heads: list(note, 4), files: list(text(4_096), 8) },
      {},
    ),
    acknowledged: list(text(2_048), ACKNOWLEDGED_MAX),
  },
);

export type State = Shaped<typeof SHAPE>;
export type StoredContents = Shaped<typeof contents>;

export function emptyState(origin: string): State {
  return { format: 'stele.monitor/1', origin };
}

export function formatState(state: State): string {
  return `${JSON.stringify(state)}\n`;
}

/** Throws `malformed`. */
export function parseState(bytes: Uint8Array, origin: string): State {
  const state = read(SHAPE, parseJson(bytes, 'monitor state'), 'monitor state');
  if (state.origin !== origin) throw malformed('monitor state', `it is of ${state.origin}`);
  return state;
}

/** The file of one log, which no other monitor uses meanwhile. */
export class StateFile {
  readonly path: string;
  readonly folder: string;
  readonly #origin: string;
  readonly #lock: FileLock;

  private constructor(folder: string, origin: string, lock: FileLock) {
    this.folder = folder;
    this.path = pathOf(folder, origin);
    this.#origin = origin;
    this.#lock = lock;
  }

  /** Throws `conflict` while another monitor has it. */
  static open(folder: string, origin: string): StateFile {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = pathOf(folder, origin);
    const lock = lockFile(`${path}.lock`, `${path}: another monitor of this log uses it`);
    return new StateFile(folder, origin, lock);
  }

  read(): State {
    return this.peek(this.#origin) ?? emptyState(this.#origin);
  }

  /** What is remembered of another log, as it was written last; nothing where there is nothing. */
  peek(origin: string): State | undefined {
    const path = pathOf(this.folder, origin);
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(readFileSync(path));
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      throw new SteleError('storage', `${path}: it cannot be read (${code})`, { cause });
    }
    try {
      return parseState(bytes, origin);
    } catch (error) {
      if (!hasCode(error, 'malformed')) throw error;
      const rule = 'move it away, and everything is checked from the beginning';
      throw new SteleError('malformed', `${path}: ${error.message}; ${rule}`, { cause: error });
    }
  }

  /** On disk when it returns. Throws `too_large` for what could not be read again. */
  write(state: State): void {
    const flaw = SHAPE.flaw(state as unknown as Json);
    if (flaw !== undefined) {
      throw new SteleError('too_large', `${this.path}: ${flaw.path}: ${flaw.rule}`);
    }
    const textOf = formatState(state);
    if (textOf.length > STATE_BYTES_MAX) {
      throw new SteleError(
        'too_large',
        `${this.path}: ${textOf.length} bytes, and at most ${STATE_BYTES_MAX} are kept`,
      );
    }
    try {
      writeWhole(this.path, textOf, 0o600);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new SteleError('storage', `${this.path}: it cannot be written (${code})`, { cause });
    }
  }

  close(): void {
    this.#lock.release();
  }
}

function pathOf(folder: string, origin: string): string {
  return join(folder, `${toHex(sha256(utf8(origin)))}.json`);
}
