/**
 * JSON that a reporter sent: read as leniently as others read it, within bounds.
 *
 * A byte of JSON can be seventy of memory (`{},`), and texts in it can be JSON once more. So what is made into values is
 * counted for each request before it is made.
 */
import { parseUtf8, utf8 } from '../core/bytes.ts';
import { malformed, SteleError } from '../core/errors.ts';
import { parseLenient } from '../proxy/providers/values.ts';

/** Lists and objects inside one another: what is written again must not need more stack than there is. */
export const DEPTH_MAX = 200;

/**
 * Lists, objects, names and texts: as many as fields in protobuf, and two seconds at worst. 64 MiB of `{},` would be 22
 * million objects, ten seconds and 1.4 GB. Numbers are many in vectors and cost little, and are not counted unless
 * some are longer than a double holds: then each has to be looked at.
 */
export const VALUES_MAX = 2_000_000;

/** Of a text that is JSON itself, as of the messages of one call: more than fit into any model's context. */
const TEXT_VALUES_MAX = 250_000;

/** What one request is read into. */
export class JsonRoom {
  #own = 0;
  #within = 0;

  /** A value of its own. Throws `malformed`, or `too_large` where it alone has too many. */
  parse(bytes: Uint8Array, what: string): unknown {
    const { values, numbers, hasLong } = shapeOf(bytes, what);
    if (hasLong && numbers > VALUES_MAX) throw tooMany(what, 'values, with numbers of 16 digits');
    this.#own += values;
    const value = parseLenient(parseUtf8(bytes, what), hasLong);
    if (value === undefined) throw malformed(what, 'it is not JSON');
    return value;
  }

  /** For requests of many values: throws `too_large` where all together are too many. */
  checkAll(what: string): void {
    if (this.#own > VALUES_MAX) throw tooMany(what, 'lists, objects and texts in one request');
  }

  /**
   * What a text in it says if it is JSON, and otherwise nothing. It stays a text where it or all of them have too
   * many: nothing is lost, since a text is committed to like any other and the report has it too.
   */
  within(text: string): unknown {
    if (!/^\s*[[{]/.test(text)) return parseLenient(text);
    try {
      const { values, numbers, hasLong } = shapeOf(utf8(text), 'text');
      const all = this.#within + values;
      if (values > TEXT_VALUES_MAX || all > VALUES_MAX) return undefined;
      if (hasLong && numbers > VALUES_MAX) return undefined;
      this.#within = all;
      return parseLenient(text, hasLong);
    } catch (error) {
      if (error instanceof SteleError) return undefined;
      throw error;
    }
  }
}

/** Before anything is made of it. Only what lies outside of texts counts, and that is ASCII. */
function shapeOf(bytes: Uint8Array, what: string) {
  let depth = 0;
  let values = 0;
  let numbers = 0;
  let digits = 0;
  let hasLong = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte >= DIGIT_0 && byte <= DIGIT_9) {
      digits++;
      if (digits === 1) numbers++;
      else if (digits === LONG_DIGITS) hasLong = true;
      continue;
    }
    digits = 0;
    switch (byte) {
      case QUOTE:
        values++;
        at = endOfText(bytes, at);
        break;
      case OPEN_LIST:
      case OPEN_OBJECT:
        values++;
        depth++;
        if (depth > DEPTH_MAX) throw malformed(what, `nested deeper than ${DEPTH_MAX}`);
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth--;
    }
    if (values > VALUES_MAX) throw tooMany(what, 'lists, objects and texts');
  }
  return { values, numbers, hasLong };
}

function tooMany(what: string, of: string): SteleError {
  return new SteleError('too_large', `${what}: more than ${VALUES_MAX} ${of}`);
}

/** The quote that ends a text; the end of all where there is none. */
function endOfText(bytes: Uint8Array, begin: number): number {
  for (let at = bytes.indexOf(QUOTE, begin + 1); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) {
    let escapes = 0;
    while (at - escapes - 1 > begin && bytes[at - escapes - 1] === ESCAPE) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return bytes.length;
}

/** 2^53 has as many. */
const LONG_DIGITS = 16;

const QUOTE = 0x22;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const ESCAPE = 0x5c;
