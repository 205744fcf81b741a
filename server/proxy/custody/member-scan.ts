/**
 * Which text members of these names does a JSON object have, when it comes in pieces and is not kept?
 *
 *     {"model":"a","tools":[{"type":"image_generation","model":"b"}],"session":{"model":"c"}}
 *      ───────────                                     ───────────              ───────────
 *
 * Looked at are its own members, and those of objects that are a value or in a list there; not what is deeper.
 * Structure is checked strictly and values hardly at all: what matters is that this reader and any other that
 * takes the bytes agree on where each member begins. Every occurrence of a name counts, in any letter case,
 * and its value if it is a text. Memory is a stack of one bit for each level and a few hundred bytes.
 *
 * [RFC 8259] the grammar.
 */

export interface Member {
  readonly name: string;
  /** Nothing where the value is no text, or longer than any that is looked for. */
  readonly text: string | undefined;
  /** Below the first level. */
  readonly isNested: boolean;
}

const DEPTH_MAX = 1_000;
const CHARS_MAX = 1_024;
const MEMBERS_MAX = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const COLON = 0x3a;
const COMMA = 0x2c;
const BOM = [0xef, 0xbb, 0xbf];

const LITERAL = Uint8Array.from({ length: 256 }, (_, byte) =>
  /[0-9a-zA-Z.+-]/.test(String.fromCharCode(byte)) ? 1 : 0,
);

/** What may come next. */
type Expects =
  | 'start'
  | 'value'
  | 'value-or-end'
  | 'name'
  | 'name-or-end'
  | 'colon'
  | 'comma-or-end'
  | 'end';

export class MemberScan {
  readonly #names: ReadonlySet<string>;
  readonly #content: ReadonlySet<string>;
  readonly #found: Member[] = [];
  /** True for an object, false for a list. */
  readonly #stack: boolean[] = [];
  #expects: Expects = 'start';
  #isBad = false;
  #bytes = 0;
  #inText = false;
  #isEscaped = false;
  #inLiteral = false;
  /** The bytes of a text that counts, quotes left out. */
  #kept: number[] | undefined;
  /** Of the member whose value comes next, if it is looked for. */
  #name: string | undefined;
  #isContent = false;

  /** In the lists of members named in `content` nothing is looked for. */
  constructor(names: readonly string[], content: readonly string[]) {
    this.#names = new Set(names);
    this.#content = new Set(content);
  }

  /** Whether no byte came. */
  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  push(chunk: Uint8Array): void {
    for (let i = 0; i < chunk.length && !this.#isBad; i++) {
      if (this.#isSkipping) {
        const end = plainUntil(chunk, i);
        this.#bytes += end - i;
        i = end;
        if (i === chunk.length) return;
      }
      const byte = chunk[i] as number;
      const at = this.#bytes++;
      if (at < BOM.length && byte === BOM[at] && this.#expects === 'start') continue;
      if (this.#inText) this.#text(byte);
      else this.#plain(byte);
    }
  }

  /** Inside a text that is not kept: of its bytes only those count that may end it. */
  get #isSkipping(): boolean {
    const isKept = this.#kept !== undefined && this.#kept.length <= CHARS_MAX;
    return this.#inText && !this.#isEscaped && !isKept;
  }

  /** What was found; nothing where the bytes are not one JSON object. */
  end(): readonly Member[] | undefined {
    return this.#isBad || this.#expects !== 'end' ? undefined : this.#found;
  }

  #text(byte: number): void {
    if (byte < 0x20) this.#isBad = true;
    else if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) {
      this.#inText = false;
      this.#textEnded();
      return;
    }
    const kept = this.#kept;
    if (kept !== undefined && kept.length <= CHARS_MAX) kept.push(byte);
  }

  #textEnded(): void {
    const text = this.#kept === undefined ? undefined : textOf(this.#kept);
    this.#kept = undefined;
    const isName = this.#expects === 'name' || this.#expects === 'name-or-end';
    if (isName) {
      if (this.#isLevel) this.#named(text);
      this.#expects = 'colon';
      return;
    }
    this.#value(text);
  }

  /** Whether members of the object that is open are looked at. */
  get #isLevel(): boolean {
    const [, second, third] = this.#stack;
    const isInList = second === false && third === true && !this.#isContent;
    return this.#stack.length <= 2 || (this.#stack.length === 3 && isInList);
  }

  #named(name: string | undefined): void {
    // A name that cannot be read here may be one that is looked for to a reader that forgives more.
    if (name === undefined) this.#isBad = true;
    const plain = folded(name ?? '');
    if (this.#stack.length === 1) this.#isContent = this.#content.has(plain);
    this.#name = this.#names.has(plain) ? name : undefined;
  }

  /** A value is complete, or has begun if it is an object or a list. */
  #value(text: string | undefined): void {
    if (this.#name !== undefined) this.#find(this.#name, text);
    this.#name = undefined;
    this.#expects = 'comma-or-end';
  }

  #find(name: string, text: string | undefined): void {
    const isNested = this.#stack.length > 1;
    const isKnown = this.#found.some(
      (one) => one.name === name && one.text === text && one.isNested === isNested,
    );
    if (isKnown) return;
    if (this.#found.length >= MEMBERS_MAX) this.#isBad = true;
    this.#found.push({ name, text, isNested });
  }

  #plain(byte: number): void {
    if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) {
      this.#inLiteral = false;
      return;
    }
    // Digits and the letters of true, false, null and of numbers: no reader takes them for structure.
    const isLiteral = LITERAL[byte] === 1;
    if (isLiteral && this.#inLiteral) return;
    this.#inLiteral = false;
    const expects = this.#expects;
    const mayBegin = expects === 'value' || expects === 'value-or-end';
    if (isLiteral && mayBegin) {
      this.#value(undefined);
      this.#inLiteral = true;
    } else if (byte === QUOTE && (mayBegin || expects === 'name' || expects === 'name-or-end')) {
      this.#inText = true;
      const counts = mayBegin ? this.#name !== undefined : this.#isLevel;
      this.#kept = counts ? [] : undefined;
    } else if (byte === OPEN_OBJECT && (mayBegin || expects === 'start')) this.#open(true);
    else if (byte === OPEN_LIST && mayBegin) this.#open(false);
    else if (byte === COLON && expects === 'colon') this.#expects = 'value';
    else if (byte === COMMA && expects === 'comma-or-end') {
      this.#expects = this.#stack.at(-1) === true ? 'name' : 'value';
    } else if (byte === CLOSE_OBJECT && (expects === 'comma-or-end' || expects === 'name-or-end')) {
      this.#close(true);
    } else if (byte === CLOSE_LIST && (expects === 'comma-or-end' || expects === 'value-or-end')) {
      this.#close(false);
    } else this.#isBad = true;
  }

  #open(isObject: boolean): void {
    if (this.#stack.length > 0) this.#value(undefined);
    if (this.#stack.length >= DEPTH_MAX) this.#isBad = true;
    this.#stack.push(isObject);
    this.#expects = isObject ? 'name-or-end' : 'value-or-end';
  }

  #close(isObject: boolean): void {
    if (this.#stack.pop() !== isObject) this.#isBad = true;
    this.#expects = this.#stack.length === 0 ? 'end' : 'comma-or-end';
  }
}

/** Where the first byte is that may be no part of a plain text, from `at` on; or the end. */
function plainUntil(chunk: Uint8Array, at: number): number {
  // Two searches would be quicker, and look at everything twice for each escape of a hostile text.
  for (let end = at; end < chunk.length; end++) {
    const byte = chunk[end] as number;
    if (byte === QUOTE || byte === BACKSLASH || byte < 0x20) return end;
  }
  return chunk.length;
}

/** What a text says, its escapes undone. */
function textOf(bytes: readonly number[]): string | undefined {
  if (bytes.length > CHARS_MAX) return undefined;
  try {
    const plain = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.from(bytes),
    );
    return JSON.parse(`"${plain}"`) as string;
  } catch {
    return undefined;
  }
}

/** One spelling for all that some reader takes for the same name: some fold "ſ" and "K" as well. */
export function folded(name: string): string {
  return name.toUpperCase().toLowerCase();
}
