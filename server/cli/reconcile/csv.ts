/**
 * CSV [RFC 4180], a row after the other: cells in quotes may hold delimiters, line ends and doubled quotes.
 *
 * Spreadsheets of half the world write semicolons, and others tabs: the delimiter is the one by which the first line has
 * a column that is looked for.
 */
import { shown } from '../../core/errors.ts';
import { Unusable } from '../exit.ts';
import { ROW_CHARS_MAX, tooLong } from './limits.ts';
import { type Lookup, memberOf } from './member.ts';
import { begun } from './pieces.ts';

export interface CsvOptions {
  /** One of them has to be a column, of each list. */
  readonly wanted: readonly (readonly string[])[];
  /** Without one a column's name is its number, from 1. */
  readonly hasHeader: boolean;
  /** By itself, what the header says. */
  readonly delimiter?: string;
  readonly name: string;
  /** Told of a header that has none of the columns: why it is not a list of calls, if that is known. */
  readonly why: (lookup: Lookup) => string | undefined;
}

export interface CsvRow {
  readonly line: number;
  readonly lookup: Lookup;
}

const DELIMITERS = [',', ';', '\t', '|'];
const COLUMNS_MAX = 4_096;
const TITLES_SHOWN = 40;

export async function* csvRows(
  text: AsyncIterable<string>,
  options: CsvOptions,
): AsyncGenerator<CsvRow> {
  const { name, hasHeader } = options;
  const { held, all } = await begun(
    text,
    (pieces) => /\S[^\n\r]*[\n\r]/.test(pieces.at(-1) ?? '') || charsOf(pieces) > ROW_CHARS_MAX,
  );
  const delimiter = options.delimiter ?? delimiterOf(held.join(''), options);
  let columns: ReadonlyMap<string, number> | undefined;
  let width = 0;
  for await (const { line, cells } of csvCells(all, { name, delimiter })) {
    if (cells.length === 1 && cells[0] === '') continue;
    if (columns === undefined) {
      columns = columnsOf(cells, options);
      width = cells.length;
      if (hasHeader) continue;
    }
    if (cells.slice(width).some((cell) => cell !== '')) {
      // An id would be read from the wrong column.
      throw new Unusable(
        `${name} line ${line}: ${cells.length} columns, and the first row has ${width}`,
      );
    }
    yield { line, lookup: lookupIn(cells, columns) };
  }
}

function charsOf(pieces: readonly string[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

function delimiterOf(text: string, { hasHeader, wanted }: CsvOptions): string {
  const line = /\S[^\n\r]*/.exec(text)?.[0] ?? '';
  if (!hasHeader) return ',';
  const titles = (delimiter: string) =>
    line.split(delimiter).map((title) => title.trim().replace(/^"(.*)"$/s, '$1'));
  const has = (delimiter: string) =>
    titles(delimiter).some((title) => wanted.flat().some((field) => isColumnOf(title, field)));
  const most = DELIMITERS.toSorted((a, b) => titles(b).length - titles(a).length);
  return most.find(has) ?? most[0] ?? ',';
}

/** "a.b" is a member of the JSON in column a. */
function isColumnOf(title: string, field: string): boolean {
  return title === field || title === field.split('.', 1)[0];
}

function columnsOf(cells: readonly string[], options: CsvOptions): ReadonlyMap<string, number> {
  const { name, hasHeader, wanted, why } = options;
  const titles = hasHeader ? cells.map((cell) => cell.trim()) : cells.map((_, i) => `${i + 1}`);
  const columns = new Map(titles.map((title, i) => [title, i]));
  for (const fields of wanted) {
    const found = titles.filter((title) => fields.some((field) => isColumnOf(title, field)));
    const twice = found.find((title, i) => found.indexOf(title) !== i);
    if (twice !== undefined) throw new Unusable(`${name}: two columns are ${shown(twice)}`);
    if (found.length > 0) continue;
    const known = titles.slice(0, TITLES_SHOWN).map((title) => shown(title));
    const reason = why((field) => (columns.has(field) ? field : undefined));
    throw new Unusable(
      `${name}: ${reason ?? `no column ${fields.join(', ')}; there are ${known.join(', ')}`}`,
    );
  }
  return columns;
}

function lookupIn(cells: readonly string[], columns: ReadonlyMap<string, number>): Lookup {
  const cellOf = (title: string) => cells[columns.get(title) ?? -1];
  return (field) => {
    const cell = cellOf(field);
    if (cell !== undefined) return cell;
    const [title = '', ...rest] = field.split('.');
    return rest.length === 0 ? undefined : memberOf(cellOf(title), rest.join('.'));
  };
}

interface Cells {
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * A line ends with LF, CRLF or CR. Character by character, since a cell and a pair of quotes may lie across two
 * pieces.
 */
async function* csvCells(
  text: AsyncIterable<string>,
  { name, delimiter }: { readonly name: string; readonly delimiter: string },
): AsyncGenerator<Cells> {
  let line = 1;
  let begunIn = 1;
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
    if (cells.length > COLUMNS_MAX) throw new Unusable(`${name} line ${begunIn}: too many columns`);
  };
  const endRow = (): Cells => {
    endCell();
    const row = { line: begunIn, cells };
    cells = [];
    chars = 0;
    begunIn = line;
    return row;
  };
  for await (const piece of text) {
    for (const c of piece) {
      const follows = afterReturn && c === '\n';
      afterReturn = c === '\r';
      if (c === '\n' || c === '\r') if (!follows) line++;
      if (++chars > ROW_CHARS_MAX) throw tooLong(name, begunIn);
      if (state === 'quoted') {
        if (c === '"') state = 'closed';
        else cell += c;
      } else if (c === '"' && state === 'closed') {
        cell += c;
        state = 'quoted';
      } else if (c === '"' && cell === '' && state === 'plain') state = 'quoted';
      else if (c === delimiter) endCell();
      else if (c === '\n' || c === '\r') {
        if (!follows) yield endRow();
        else begunIn = line;
      } else if (state === 'closed') {
        throw new Unusable(`${name} line ${line}: text behind a quoted cell`);
      } else cell += c;
    }
  }
  if (state === 'quoted') throw new Unusable(`${name} line ${begunIn}: a quoted cell has no end`);
  if (cell !== '' || cells.length > 0 || state === 'closed') yield endRow();
}
