/**
 * The values in a text of JSON, a row after the other: lines, values without lines, and the elements of lists, of which
 * only one is held at a time.
 *
 *     {"id":"a"}           [ {"id":"a"},         {"object":"list", "has_more":false,
 *     {"id":"b"}             {"id":"b"} ]         "data":[ {"id":"a"}, {"id":"b"} ]}
 *
 * The last is a page, as an API answers: it is held as a whole, and its rows are the members of its list.
 */
import { Unusable } from '../exit.ts';
import { ROW_CHARS_MAX, tooLong } from './limits.ts';
import { isObject } from './member.ts';

export interface JsonRow {
  /** The line it begins in, from 1; of a page, the page's. */
  readonly line: number;
  readonly value: unknown;
}

/** Members of a page that are its list: of OpenAI and Langfuse, CloudWatch Logs, and archives of Azure. */
const LISTS = ['data', 'events', 'records', 'logs'];

/** `isRow` says of an object that it is a row itself, whatever lists are in it. */
export async function* jsonRows(
  text: AsyncIterable<string>,
  { name, isRow }: { readonly name: string; readonly isRow: (value: unknown) => boolean },
): AsyncGenerator<JsonRow> {
  /** Of the pages: the line of one that says that more follow, and whether one says that none do. */
  let more: number | undefined;
  let hasLast = false;
  for await (const { line, source } of jsonValues(text, name)) {
    const value = parsed(source, `${name} line ${line}`);
    const list = listOf(value, isRow);
    if (list === undefined) {
      yield { line, value };
      continue;
    }
    if (isObject(value) && value.has_more === true) more = line;
    else hasLast = true;
    for (const one of list) yield { line, value: one };
  }
  if (more !== undefined && !hasLast) {
    const rule = 'a page says that there are more; get them, or keep the rows without the page';
    throw new Unusable(`${name} line ${more}: ${rule}`);
  }
}

function listOf(
  value: unknown,
  isRow: (value: unknown) => boolean,
): readonly unknown[] | undefined {
  if (!isObject(value)) return undefined;
  const list = LISTS.map((member) => value[member]).find(Array.isArray);
  // Pages of some APIs have an id of their own.
  const isPage = Object.hasOwn(value, 'has_more') || !isRow(value);
  return isPage ? list : undefined;
}

function parsed(source: string, where: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    throw new Unusable(`${where}: it is not JSON`);
  }
}

async function* jsonValues(text: AsyncIterable<string>, name: string): AsyncGenerator<Source> {
  const splitter = new Splitter(name);
  for await (const piece of text) yield* splitter.push(piece);
  yield* splitter.end();
}

interface Source {
  readonly line: number;
  readonly source: string;
}

/** Only where values begin and end is looked at; whether they are JSON says the parser. */
class Splitter {
  readonly #name: string;
  #line = 1;
  /** Where the value that has begun did, and what of it lies in pieces before. */
  #begun: number | undefined;
  #held = '';
  /** Open brackets in it; the list around all values is not counted. */
  #depth = 0;
  #isText = false;
  #isEscaped = false;
  #list: number | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  push(piece: string): readonly Source[] {
    const sources: Source[] = [];
    let start = 0;
    const end = (at: number) => {
      if (this.#begun === undefined) return;
      sources.push({ line: this.#begun, source: this.#held + piece.slice(start, at) });
      this.#begun = undefined;
      this.#held = '';
    };
    for (let at = 0; at < piece.length; at++) {
      const c = piece[at] ?? '';
      if (c === '\n') this.#line++;
      if (this.#isText) {
        if (this.#endsText(c) && this.#depth === 0) end(at + 1);
      } else if (this.#depth > 0) {
        if (this.#closes(c)) end(at + 1);
      } else if (SPACE.has(c)) end(at);
      else if (this.#list !== undefined && (c === ',' || c === ']')) {
        end(at);
        if (c === ']') this.#list = undefined;
      } else if (this.#begun === undefined && this.#list === undefined && c === '[') {
        this.#list = this.#line;
      } else {
        if (this.#begun === undefined) start = at;
        this.#begun ??= this.#line;
        this.#opens(c);
      }
    }
    if (this.#begun !== undefined) this.#held += piece.slice(start);
    if (this.#held.length > ROW_CHARS_MAX) throw tooLong(this.#name, this.#begun ?? this.#line);
    return sources;
  }

  end(): readonly Source[] {
    if (this.#depth > 0 || this.#isText) {
      throw new Unusable(`${this.#name} line ${this.#begun}: what begins here has no end`);
    }
    if (this.#list !== undefined) {
      throw new Unusable(`${this.#name} line ${this.#list}: the list has no end`);
    }
    return this.#begun === undefined ? [] : [{ line: this.#begun, source: this.#held }];
  }

  #endsText(c: string): boolean {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (c === '\\') this.#isEscaped = true;
    else if (c === '"') this.#isText = false;
    return !this.#isText;
  }

  #opens(c: string): void {
    if (c === '"') this.#isText = true;
    else if (c === '{' || c === '[') this.#depth++;
  }

  #closes(c: string): boolean {
    if (c === '}' || c === ']') return --this.#depth === 0;
    this.#opens(c);
    return false;
  }
}

const SPACE: ReadonlySet<string> = new Set([' ', '\t', '\r', '\n']);
