/**
 * What does this JSON say, and does it say it once?
 *
 * `JSON.parse` is no use for bytes that are hashed, signed or judged: it keeps the last of two members
 * with one name where another reader keeps the first, rounds 9007199254740993 to …992, takes lone
 * surrogates that no UTF-8 can carry, and nests as deep as the stack. This reader takes I-JSON
 * [RFC 7493] and nothing else, within bounds, and says where it stopped.
 *
 * Objects come without a prototype, so that `__proto__` and `constructor` are plain names.
 *
 * [RFC 8259] the grammar.
 */
import { parseUtf8 } from './bytes.ts';
import { malformed, type SteleError, shown } from './errors.ts';
import { JSON_DEPTH_MAX } from './limits.ts';

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [name: string]: Json;
}

export interface JsonOptions {
  /** Numbers are whole, at most 2^53 − 1 either way, and spelled without fraction, exponent or −0. */
  readonly integersOnly?: boolean;
}

/** Reads one JSON text from a stranger's bytes; throws `malformed` with the place in characters. */
export function parseJson(bytes: Uint8Array, what: string, options: JsonOptions = {}): Json {
  return new Reader(parseUtf8(bytes, what), what, options.integersOnly === true).whole();
}

/** Whether a value is an object, and not a list or null. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const HEX = /[0-9a-fA-F]{4}/y;

const ESCAPES: { readonly [letter: string]: string } = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Reader {
  readonly #text: string;
  readonly #what: string;
  readonly #integersOnly: boolean;
  #at = 0;
  #depth = 0;

  constructor(text: string, what: string, integersOnly: boolean) {
    this.#text = text;
    this.#what = what;
    this.#integersOnly = integersOnly;
  }

  whole(): Json {
    this.#skipSpace();
    const value = this.#value();
    this.#skipSpace();
    if (this.#at !== this.#text.length) throw this.#wrong('something follows the value');
    return value;
  }

  #value(): Json {
    switch (this.#text.charCodeAt(this.#at)) {
      case 0x7b:
        return this.#nested(() => this.#object());
      case 0x5b:
        return this.#nested(() => this.#list());
      case 0x22:
        return this.#string();
      case 0x74:
        return this.#word('true', true);
      case 0x66:
        return this.#word('false', false);
      case 0x6e:
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #nested(read: () => Json): Json {
    if (++this.#depth > JSON_DEPTH_MAX) {
      throw this.#wrong(`nested deeper than ${JSON_DEPTH_MAX} levels`);
    }
    this.#at++;
    const value = read();
    this.#depth--;
    return value;
  }

  #object(): Json {
    const members: { [name: string]: Json } = Object.create(null);
    if (this.#ends(0x7d)) return members;
    for (;;) {
      this.#skipSpace();
      if (this.#text.charCodeAt(this.#at) !== 0x22) throw this.#wrong('a member name is expected');
      const name = this.#string();
      if (name in members) throw this.#wrong(`member ${shown(name)} occurs twice`);
      this.#skipSpace();
      if (this.#text.charCodeAt(this.#at) !== 0x3a) throw this.#wrong('":" is expected');
      this.#at++;
      this.#skipSpace();
      members[name] = this.#value();
      if (this.#ends(0x7d)) return members;
      this.#comma();
    }
  }

  #list(): Json {
    const items: Json[] = [];
    if (this.#ends(0x5d)) return items;
    for (;;) {
      this.#skipSpace();
      items.push(this.#value());
      if (this.#ends(0x5d)) return items;
      this.#comma();
    }
  }

  /** Whether the closing bracket comes next; takes it if so. */
  #ends(bracket: number): boolean {
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#at) !== bracket) return false;
    this.#at++;
    return true;
  }

  #comma(): void {
    if (this.#text.charCodeAt(this.#at) !== 0x2c) throw this.#wrong('"," or an end is expected');
    this.#at++;
  }

  #string(): string {
    const begin = ++this.#at;
    let text = this.#plain();
    if (this.#text.charCodeAt(this.#at) === 0x22) {
      this.#at++;
      return text;
    }
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code === 0x22) break;
      if (code !== 0x5c) throw this.#wrong('a string has no end, or a control character');
      this.#at++;
      text += this.#escape() + this.#plain();
    }
    this.#at++;
    // Decoded UTF-8 has no lone surrogates; only an escape can have brought one in.
    if (!text.isWellFormed()) {
      throw this.#wrong(`the string at ${begin - 1} has a lone surrogate`);
    }
    return text;
  }

  /** A run of characters that stand for themselves. */
  #plain(): string {
    const begin = this.#at;
    let at = begin;
    for (; at < this.#text.length; at++) {
      const code = this.#text.charCodeAt(at);
      if (code === 0x22 || code === 0x5c || code < 0x20) break;
    }
    this.#at = at;
    return this.#text.slice(begin, at);
  }

  #escape(): string {
    const letter = this.#text.charAt(this.#at);
    const plain = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
    if (plain !== undefined) {
      this.#at++;
      return plain;
    }
    HEX.lastIndex = this.#at + 1;
    if (letter !== 'u' || !HEX.test(this.#text)) throw this.#wrong('not an escape sequence');
    this.#at += 5;
    return String.fromCharCode(Number.parseInt(this.#text.slice(this.#at - 4, this.#at), 16));
  }

  #word<T extends Json>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#wrong('not a JSON value');
    this.#at += word.length;
    return value;
  }

  #number(): number {
    NUMBER.lastIndex = this.#at;
    if (!NUMBER.test(this.#text)) throw this.#wrong('not a JSON value');
    const text = this.#text.slice(this.#at, NUMBER.lastIndex);
    const value = Number(text);
    const flaw = this.#numberFlaw(text, value);
    if (flaw !== undefined) throw this.#wrong(`number ${shown(text)} ${flaw}`);
    this.#at = NUMBER.lastIndex;
    return value;
  }

  #numberFlaw(text: string, value: number): string | undefined {
    if (!Number.isFinite(value)) return 'is larger than any that can be kept';
    const plain = /^-?[0-9]+$/.test(text);
    if (plain && !Number.isSafeInteger(value)) return 'is beyond 2^53 - 1: send it as a string';
    if (!this.#integersOnly) return undefined;
    if (!plain) return 'is not a whole number in plain digits';
    return Object.is(value, -0) ? 'is minus zero' : undefined;
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #wrong(rule: string): SteleError {
    return malformed(this.#what, `not JSON as it is wanted here: at ${this.#at}: ${rule}`);
  }
}
