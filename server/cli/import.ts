/**
 * A file of calls on its way into a log: in pieces, resumable, with what is wrong told by the line.
 *
 *     read a piece ─▶ send it until it is answered ─▶ state: how far, and the digest of all before ─▶ next
 *
 * The state is written after a piece's answer, so a piece may be sent twice; what it has is then known again. A
 * file that changed before the place that was reached is another file, and is not gone on with.
 */
import { createHash, type Hash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { retrying } from '../client/retrying.ts';
import { type Answer, Transport } from '../client/transport.ts';
import { SteleError } from '../core/errors.ts';
import { Unusable } from './exit.ts';
import type { Voice, World } from './terminal.ts';
import type { Where } from './where.ts';

export interface Import {
  readonly world: World;
  readonly voice: Voice;
  readonly where: Where;
  readonly log: string;
  /** Absolute. */
  readonly file: string;
  readonly state: string;
  /** Lines of one piece. */
  readonly pieceLines?: number;
}

export interface Imported {
  lines: number;
  recorded: number;
  repeated: number;
  /** Lines that can never be imported. */
  rejected: number;
}

/** Bytes and lines of one piece; a single line may be as long as a request may be. */
const PIECE_BYTES = 4_194_304;
const PIECE_LINES = 1_000;
const LINE_BYTES_MAX = 67_108_864;

const ATTEMPTS = 10;
const TIMEOUT_MS = 120_000;
const LINE_FEED = 0x0a;

interface State extends Imported {
  readonly format: 'stele.import/1';
  readonly server: string;
  readonly log: string;
  offset: number;
  /** SHA-256 of the file's bytes before `offset`, in hex. */
  sha256: string;
}

export async function importFile(given: Import): Promise<Imported> {
  const { world, voice, file } = given;
  const handle = await openFile(file);
  try {
    const { size } = await handle.stat();
    const state = readState(given);
    const hash = await hashed(handle, state, file);
    const transport = new Transport({
      base: `${given.where.server}/ingest/${given.log}`,
      token: given.where.token,
      fetch: given.where.fetch,
    });
    for await (const piece of pieces(handle, state.offset, given.pieceLines ?? PIECE_LINES)) {
      const answer = await send(transport, piece, world.interrupted);
      report(answer, state, voice);
      hash.update(piece);
      state.offset += piece.length;
      state.sha256 = hash.copy().digest('hex');
      writeState(given.state, state);
      voice.progress(bar(state, size));
    }
    voice.progress('');
    const { lines, recorded, repeated, rejected } = state;
    return { lines, recorded, repeated, rejected };
  } finally {
    await handle.close();
  }
}

async function openFile(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r');
  } catch (error) {
    throw new Unusable(`--jsonl ${file}: it cannot be read (${(error as Error).message})`);
  }
}

function readState({ state: path, where: { server }, log }: Import): State {
  const begin: State = {
    format: 'stele.import/1',
    server,
    log,
    offset: 0,
    sha256: createHash('sha256').digest('hex'),
    lines: 0,
    recorded: 0,
    repeated: 0,
    rejected: 0,
  };
  if (!existsSync(path)) return begin;
  const known = stateIn(path);
  if (known.log === log) return known;
  throw new Unusable(`${path}: it is of an import to log ${known.log}: name another with --state`);
}

function stateIn(path: string): State {
  try {
    const state = JSON.parse(readFileSync(path, 'utf8')) as State;
    const counts = [state.offset, state.lines, state.recorded, state.repeated, state.rejected];
    const isState =
      state.format === 'stele.import/1' &&
      counts.every((count) => Number.isSafeInteger(count) && count >= 0) &&
      /^[0-9a-f]{64}$/.test(state.sha256);
    if (isState) return state;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new Unusable(`${path}: it is no state of an import: name another with --state`);
}

/** Whole or not at all: a piece is only ever sent again, never left out. */
function writeState(path: string, state: State): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

/** The hash of what was imported before, which has to be what the state says. */
async function hashed(handle: FileHandle, state: State, file: string): Promise<Hash> {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(1_048_576);
  for (let at = 0; at < state.offset; ) {
    const wanted = Math.min(buffer.length, state.offset - at);
    const { bytesRead } = await handle.read(buffer, 0, wanted, at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  if (hash.copy().digest('hex') === state.sha256) return hash;
  throw new SteleError(
    'conflict',
    `${file}: its first ${state.offset} bytes are not those that were imported: it was changed, or is another file`,
  );
}

/** Whole lines, some at a time; the last may lack its end. */
async function* pieces(
  handle: FileHandle,
  offset: number,
  linesMax: number,
): AsyncGenerator<Buffer> {
  const buffer = Buffer.alloc(65_536);
  let rest = Buffer.alloc(0);
  for (let at = offset; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    at += bytesRead;
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    for (;;) {
      const end = endOfPiece(rest, linesMax, bytesRead === 0);
      if (end === 0) break;
      yield rest.subarray(0, end);
      rest = rest.subarray(end);
    }
    if (rest.length > LINE_BYTES_MAX) {
      throw new SteleError('too_large', `a line has more than ${LINE_BYTES_MAX} bytes`);
    }
    if (bytesRead === 0) return;
  }
}

/** Where the next piece ends, or 0 while there is not enough for one. */
function endOfPiece(bytes: Buffer, linesMax: number, isLast: boolean): number {
  let end = 0;
  for (let lines = 0; lines < linesMax && end < PIECE_BYTES; lines++) {
    const found = bytes.indexOf(LINE_FEED, end);
    if (found < 0) return isLast ? bytes.length : end >= PIECE_BYTES ? end : 0;
    end = found + 1;
  }
  return end;
}

function send(transport: Transport, piece: Buffer, signal: AbortSignal): Promise<Answer> {
  const question = {
    method: 'POST',
    body: new Uint8Array(piece),
    headers: { 'content-type': 'application/x-ndjson' },
    timeoutMs: TIMEOUT_MS,
    signal,
  } as const;
  return retrying(() => transport.ask('/jsonl', question), { attempts: ATTEMPTS, signal });
}

/** Adds a piece's answer to the sums, and says what is wrong with its lines, by their numbers in the file. */
function report(answer: Answer, state: State, voice: Voice): void {
  const said = JSON.parse(Buffer.from(answer.bytes).toString('utf8')) as {
    readonly lines: number;
    readonly recorded: number;
    readonly repeated: number;
    readonly rejected: readonly { readonly line: number; readonly detail: string }[];
  };
  for (const { line, detail } of said.rejected) {
    voice.say(`line ${state.lines + line}: ${detail}`);
  }
  state.lines += said.lines;
  state.recorded += said.recorded;
  state.repeated += said.repeated;
  state.rejected += said.rejected.length;
}

const BAR_CELLS = 30;

function bar({ offset, lines }: State, size: number): string {
  const share = size === 0 ? 1 : offset / size;
  const full = Math.round(share * BAR_CELLS);
  const cells = '█'.repeat(full) + '░'.repeat(BAR_CELLS - full);
  return `${cells} ${Math.floor(share * 100)} %, ${lines} lines`;
}
