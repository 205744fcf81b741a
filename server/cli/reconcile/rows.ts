/**
 * What does somebody's list of calls say? One row after the other, however long the list is.
 *
 *     csv     a header line and rows [RFC 4180]; with `hasHeader` false, rows alone
 *     jsonl   an object in each line, or a string: the id itself
 *
 * A row has an id, and perhaps a time. The list is a stranger's: lines, columns and ids are bounded, and one that cannot
 * be read is told with its line, and nothing was found out.
 */
import { TextDecoder } from 'node:util';
import { shown } from '../../core/errors.ts';
import { RECORD_TEXT_MAX } from '../../core/limits.ts';
import { Unusable } from '../exit.ts';

export type Form = 'csv' | 'jsonl';

export interface RowsOptions {
  readonly form: Form;
  /** Columns or members to look for the id in, the first that has one counts; "a.b" is a member's member. */
  readonly fields: readonly string[];
  readonly timeFields: readonly string[];
  /** That the user named them: one has to be a column of CSV. A preset's may be missing. */
  readonly isTimeNamed?: boolean;
  /** Of CSV. Without a header a column's name is its number, from 1. */
  readonly hasHeader: boolean;
  /** The list's name, for messages. */
  readonly name: string;
}

export interface Row {
  /** The line it begins in, from 1. */
  readonly line: number;
  readonly id: string | undefined;
  /** Milliseconds since 1970. */
  readonly timeMs: number | undefined;
}

/** Characters of one row: a provider's object may have the whole answer in it. */
const ROW_CHARS_MAX = 33_554_432;
const COLUMNS_MAX = 4_096;

type Lookup = (field: string) => unknown;

export async function* rowsOf(
  chunks: AsyncIterable<Uint8Array>,
  options: RowsOptions,
): AsyncGenerator<Row> {
  const read = options.form === 'csv' ? csvRows : jsonRows;
  for await (const { line, lookup } of read(textOf(chunks, options.name), options)) {
    const where = `${options.name} line ${line}`;
    yield {
      line,
      id: idOf(firstOf(lookup, options.fields), where),
      timeMs: timeOf(firstOf(lookup, options.timeFields), where),
    };
  }
}

interface Found {
  readonly line: number;
  readonly lookup: Lookup;
}

function firstOf(lookup: Lookup, fields: readonly string[]): unknown {
  for (const field of fields) {
    const value = lookup(field);
    if (value !== undefined && value !== null && value !== '') return value;
  }
  return undefined;
}

function idOf(value: unknown, where: string): string | undefined {
  if (value === undefined) return undefined;
  const id = typeof value === 'number' ? String(value) : value;
  if (typeof id !== 'string') throw unusable(where, 'the id is neither text nor a number');
  const trimmed = id.trim();
  if (trimmed.length > RECORD_TEXT_MAX) {
    throw unusable(where, `an id of ${trimmed.length} characters, at most ${RECORD_TEXT_MAX}`);
  }
  return trimmed === '' ? undefined : trimmed;
}

/** RFC 3339, a date, or seconds, milliseconds or microseconds since 1970. Without a zone it is UTC. */
export function timeOf(value: unknown, where: string): number | undefined {
  if (value === undefined) return undefined;
  const text = String(value).trim();
  if (/^[0-9]{9,17}(?:\.[0-9]+)?$/.test(text)) {
    const n = Number(text);
    if (n < 1e11) return n * 1_000;
    return n < 1e14 ? n : n / 1_000;
  }
  const match =
    /^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)(Z|[+-][0-9]{2}:?[0-9]{2})?)?$/i.exec(
      text,
    );
  const [, day, time = '00:00', zone = 'Z'] = match ?? [];
  const ms = match === null ? Number.NaN : Date.parse(`${day}T${time}${zone.toUpperCase()}`);
  if (Number.isNaN(ms)) throw unusable(where, `${shown(text)} is no time`);
  return ms;
}

/** Without a byte order mark, as spreadsheets write it. */
async function* textOf(chunks: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw unusable(name, 'it is not UTF-8');
  }
}

async function* jsonRows(
  text: AsyncIterable<string>,
  { name, fields }: RowsOptions,
): AsyncGenerator<Found> {
  let line = 0;
  let rest = '';
  const found = (source: string): Found | undefined => {
    line++;
    if (source.trim() === '') return undefined;
    return { line, lookup: memberLookup(parsed(source, `${name} line ${line}`), fields) };
  };
  for await (const piece of text) {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > ROW_CHARS_MAX) throw tooLong(name, line + 1);
    for (const source of lines) {
      const row = found(source);
      if (row !== undefined) yield row;
    }
  }
  const last = found(rest);
  if (last !== undefined) yield last;
}

function parsed(source: string, where: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    throw unusable(where, 'it is not JSON');
  }
}

/** A string is the id itself. */
function memberLookup(value: unknown, ids: readonly string[]): Lookup {
  if (typeof value === 'string') return (field) => (ids.includes(field) ? value : undefined);
  return (field) => {
    if (isObject(value) && Object.hasOwn(value, field)) return value[field];
    let at: unknown = value;
    for (const name of field.split('.')) {
      if (!isObject(at) || !Object.hasOwn(at, name)) return undefined;
      at = at[name];
    }
    return at;
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function* csvRows(text: AsyncIterable<string>, options: RowsOptions): AsyncGenerator<Found> {
  const { name, hasHeader, fields, timeFields, isTimeNamed = false } = options;
  let columns: ReadonlyMap<string, number> | undefined;
  for await (const { line, cells } of csvCells(text, name)) {
    if (cells.length === 1 && cells[0] === '') continue;
    if (columns === undefined) {
      const titles = hasHeader ? cells.map((cell) => cell.trim()) : cells.map((_, i) => `${i + 1}`);
      columns = new Map(titles.map((title, i) => [title, i]));
      for (const wanted of isTimeNamed ? [fields, timeFields] : [fields]) {
        if (wanted.some((field) => columns?.has(field))) continue;
        const known = titles
          .slice(0, 40)
          .map((title) => shown(title))
          .join(', ');
        throw unusable(name, `no column ${wanted.join(', ')}; there are ${known}`);
      }
      if (hasHeader) continue;
    }
    const at = columns;
    yield { line, lookup: (field) => cells[at.get(field) ?? -1] };
  }
}

interface Cells {
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * Cells in quotes may hold commas, line ends and doubled quotes; a line ends with LF, CRLF or CR. Character by
 * character, since a cell and a pair of quotes may lie across two pieces.
 */
async function* csvCells(text: AsyncIterable<string>, name: string): AsyncGenerator<Cells> {
  let line = 1;
  let begun = 1;
  let cells: string[] = [];
  let cell = '';
  let chars = 0;
  /** Outside of quotes, inside, or behind a quote that ends the cell unless another follows. */
  let state: 'plain' | 'quoted' | 'closed' = 'plain';
  let afterReturn = false;
  const endCell = () => {
    cells.push(cell);
    cell = '';
    state = 'plain';
    if (cells.length > COLUMNS_MAX) throw unusable(`${name} line ${begun}`, 'too many columns');
  };
  const endRow = (): Cells => {
    endCell();
    const row = { line: begun, cells };
    cells = [];
    chars = 0;
    begun = line;
    return row;
  };
  for await (const piece of text) {
    for (const c of piece) {
      const follows = afterReturn && c === '\n';
      afterReturn = c === '\r';
      if (c === '\n' || c === '\r') if (!follows) line++;
      if (++chars > ROW_CHARS_MAX) throw tooLong(name, begun);
      if (state === 'quoted') {
        if (c === '"') state = 'closed';
        else cell += c;
      } else if (c === '"' && state === 'closed') {
        cell += c;
        state = 'quoted';
      } else if (c === '"' && cell === '' && state === 'plain') state = 'quoted';
      else if (c === ',') endCell();
      else if (c === '\n' || c === '\r') {
        if (!follows) yield endRow();
        else begun = line;
      } else if (state === 'closed') {
        throw unusable(`${name} line ${line}`, 'text behind a quoted cell');
      } else cell += c;
    }
  }
  if (state === 'quoted') throw unusable(`${name} line ${begun}`, 'a quoted cell has no end');
  if (cell !== '' || cells.length > 0 || state === 'closed') yield endRow();
}

function tooLong(name: string, line: number) {
  return unusable(`${name} line ${line}`, `over ${ROW_CHARS_MAX} characters`);
}

function unusable(where: string, rule: string): Unusable {
  return new Unusable(`${where}: ${rule}`);
}
