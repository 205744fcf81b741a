/**
 * What must a gateway remember, so that it never uses a number twice and never loses what it signed?
 *
 *     {"format":"stele.gateway-state/1","series":"team-a","source":"gw.9f3a01bc","log":{"origin":"…"},
 *      "next":43,"prev":"…","lost":[{"from":7,"to":9,"reason":"refused"}],"pending":["Cs4D…"]}
 *     SHA-256 of that line, in hex
 *
 * It is written before anything that it says is used. `pending` are the entries of one round, signed and not
 * known to be logged. So whatever a crash comes between:
 *
 *     before the write    nobody has seen the signatures; the numbers are given out again, to whatever comes
 *     after it            the entries are sent by the next process, byte for byte: what was logged before
 *                         gets its first place again, the rest gets its first one
 *     after the answers   the same; to ask twice costs nothing
 */
import { parseBase64, parseUtf8, sha256, toBase64, toHex, utf8 } from '../../core/bytes.ts';
import { malformed } from '../../core/errors.ts';
import { type Json, parseJson } from '../../core/json.ts';
import { BATCH_ENTRIES_MAX, ENTRY_BYTES_MAX } from '../../core/limits.ts';
import { dig, int, origin, sourceId, str, token } from '../../core/record/fields.ts';
import { base64, constant, list, nullable, object, read, text } from '../../core/schema.ts';

/** Numbers from the first to the last that no record in the log has, and no gap record names yet. */
export interface Lost {
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

export interface State {
  /** The name of the series, as it was given when the state was begun. */
  readonly series: string;
  readonly source: string;
  /** The log that entries are made for now; with the keys that a seam told, if one did. */
  readonly log: { readonly origin: string; readonly keys?: readonly string[] };
  /** The number of the next record, and the hash of the last one's payload. */
  readonly next: number;
  readonly prev: string | null;
  readonly lost: readonly Lost[];
  readonly pending: readonly Uint8Array[];
}

/**
 * Where the state lies. One gateway alone has it: two that write one state give out the same numbers. A file
 * is `state-file.ts`.
 */
export interface StateStore {
  /** What was written last, also after a crash; nothing before the first write. Rejects if it is damaged. */
  read(): Promise<State | undefined>;

  /**
   * Durable when it resolves. After a crash in between, `read` gives the old state or the new one. Rejects with
   * `storage` where the disk refuses and may not later: then either may be read, and the next write that
   * resolves decides. Rejects with any other error where the store cannot be relied on any more.
   */
  write(state: State): Promise<void>;

  /** Lets another process have it. */
  close(): Promise<void>;
}

const LOST_MAX = 65_536;

const SHAPE = object(
  {
    format: constant('stele.gateway-state/1'),
    series: str,
    source: sourceId,
    log: object({ origin }, { keys: list(text(8_192), 64, 1) }),
    next: int(),
    prev: nullable(dig),
    lost: list(object({ from: int(), to: int(), reason: token }, {}), LOST_MAX),
    pending: list(base64(ENTRY_BYTES_MAX), BATCH_ENTRIES_MAX),
  },
  {},
);

const WHAT = 'gateway state';

export function formatState({ pending, ...state }: State): Uint8Array {
  const json = {
    format: 'stele.gateway-state/1',
    ...state,
    pending: pending.map(toBase64),
  };
  const line = JSON.stringify(json);
  return utf8(`${line}\n${toHex(sha256(utf8(line)))}\n`);
}

/** Throws `malformed` if these are not the bytes of a state, whole. */
export function parseState(bytes: Uint8Array): State {
  const [line = '', digest, ...rest] = parseUtf8(bytes, WHAT).split('\n');
  if (rest.length !== 1 || rest[0] !== '' || digest !== toHex(sha256(utf8(line)))) {
    throw malformed(WHAT, 'its bytes do not fit their SHA-256');
  }
  const {
    format: _,
    log,
    pending,
    ...state
  } = read(SHAPE, parseJson(utf8(line), WHAT) as Json, WHAT);
  const { keys } = log;
  return {
    ...state,
    log: keys === undefined ? { origin: log.origin } : { origin: log.origin, keys },
    pending: pending.map((entry) => parseBase64(entry, WHAT)),
  };
}
