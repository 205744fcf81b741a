/**
 * Reading DER: one element after the other, from a stranger's bytes.
 *
 *     tag   length             content
 *     30    03 | 81 c8 | …     …            length in its shortest form, tags of one byte
 *
 * Only what public keys, certificates and time stamps need, and of that only DER: indefinite lengths,
 * lengths that are longer than they have to be, and content that runs out of its element are refused.
 * Nothing recurses: whoever reads says how deep it goes. What little is written is at the end.
 *
 * [X.690 §8, §10]
 */
import { concat } from './bytes.ts';
import { invariant, malformed } from './errors.ts';

export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** [0] and [1] around something that has no elements of its own. */
  primitive0: 0x80,
  primitive1: 0x81,
  /** [0] and so on around elements. */
  context0: 0xa0,
  context1: 0xa1,
  context3: 0xa3,
  context4: 0xa4,
} as const;

export type Tag = keyof typeof DER;

/** An element of whatever tag. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Tag, length and content. */
  readonly whole: Uint8Array;
}

/** The elements of some content, in order. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Whether the next element has this tag. */
  isNext(tag: Tag): boolean {
    return this.#bytes[this.#at] === DER[tag];
  }

  /** The content of the next element, which must be a `tag`. */
  content(tag: Tag): Uint8Array {
    const { begin, end } = this.#next(tag);
    return this.#bytes.subarray(begin, end);
  }

  /** The next element whole, tag and length included. */
  element(tag: Tag): Uint8Array {
    const from = this.#at;
    const { end } = this.#next(tag);
    return this.#bytes.subarray(from, end);
  }

  /** A reader of what is in the next element. */
  inside(tag: Tag): DerReader {
    return new DerReader(this.content(tag), this.#what);
  }

  /** The next element, whatever it is. */
  any(): DerElement {
    const from = this.#at;
    const tag = this.#bytes[from];
    if (tag === undefined) throw this.#wrong('nothing where an element is needed');
    if (tag % 32 === 31) throw this.#wrong(`a tag of more than one byte, ${hexByte(tag)}…`);
    const { begin, end } = this.#body(`${hexByte(tag)} element`);
    return {
      tag,
      content: this.#bytes.subarray(begin, end),
      whole: this.#bytes.subarray(from, end),
    };
  }

  /** The content of an INTEGER, in its shortest form; it may be negative. */
  integer(): Uint8Array {
    const content = this.content('integer');
    const [first, second = 0] = content;
    if (first === undefined) throw this.#wrong('an INTEGER without content');
    const isPadded = (first === 0 && second < 0x80) || (first === 0xff && second >= 0x80);
    if (content.length > 1 && isPadded) throw this.#wrong('an INTEGER is longer than it has to be');
    return content;
  }

  /** A whole number from 0 to `max`, which is below 2^53. */
  number(max: number): number {
    const content = this.integer();
    let n = 0;
    for (const byte of content) n = n * 256 + byte;
    if ((content[0] ?? 0) >= 0x80 || n > max) {
      throw this.#wrong(`an INTEGER that is not from 0 to ${max}`);
    }
    return n;
  }

  /** A BOOLEAN. False where false is the default is let pass, since certificates of some have it. */
  boolean(): boolean {
    const [value, ...more] = this.content('boolean');
    if (more.length > 0 || (value !== 0 && value !== 0xff)) {
      throw this.#wrong('a BOOLEAN that is neither 00 nor ff');
    }
    return value === 0xff;
  }

  /** Throws unless nothing is left. */
  end(): void {
    if (!this.isAtEnd) throw this.#wrong(`${this.#bytes.length - this.#at} bytes follow the end`);
  }

  #next(tag: Tag): { readonly begin: number; readonly end: number } {
    const bytes = this.#bytes;
    const found = bytes[this.#at];
    if (found !== DER[tag]) {
      const seen = found === undefined ? 'nothing' : `tag ${hexByte(found)}`;
      throw this.#wrong(`${seen} where a ${tag} is needed`);
    }
    return this.#body(tag);
  }

  /** Where the content is of the element that begins here, and goes on behind it. */
  #body(tag: string): { readonly begin: number; readonly end: number } {
    const bytes = this.#bytes;
    let at = this.#at + 1;
    let length = bytes[at++] ?? 0x80;
    if (length >= 0x80) {
      const count = length - 0x80;
      // No certificate or key comes near 2^24 bytes, and 0x80 alone is the indefinite form.
      if (count < 1 || count > 3) throw this.#wrong(`a length of ${count} bytes`);
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + (bytes[at++] ?? 0);
      if (length < 0x80 || length < 256 ** (count - 1)) throw this.#wrong('an overlong length');
    }
    if (at + length > bytes.length) {
      throw this.#wrong(`a ${tag} of ${length} bytes where ${Math.max(0, bytes.length - at)} are`);
    }
    this.#at = at + length;
    return { begin: at, end: this.#at };
  }

  #wrong(rule: string) {
    return malformed(this.#what, `not DER: ${rule}`);
  }
}

function hexByte(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`;
}

/** An object identifier as numbers with dots: 1.2.840.10045.2.1 [X.690 §8.19]. */
export function oidText(content: Uint8Array, what: string): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const [i, byte] of content.entries()) {
    // Nine groups of seven bits would leave the numbers that are exact.
    if ((arc === 0 && byte === 0x80) || arc >= 2 ** 46) throw malformed(what, 'not DER: a bad OID');
    arc = arc * 128 + (byte % 128);
    if (byte >= 0x80) {
      if (i === content.length - 1) throw malformed(what, 'not DER: a cut OID');
      continue;
    }
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(arc / 40));
      arcs.push(first, arc - 40 * first);
    } else arcs.push(arc);
    arc = 0;
  }
  if (arcs.length === 0) throw malformed(what, 'not DER: an empty OID');
  return arcs.join('.');
}

/** An element around `contents`. */
export function encodeDer(tag: Tag, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  const { length } = content;
  invariant(length < 65_536, `${length} bytes are of an element that is written here`);
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length % 256];
  return concat(Uint8Array.of(DER[tag], ...head), content);
}

/** The content of the INTEGER that is written with these bytes, the highest first, and no sign. */
export function unsignedContent(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const significant = first === -1 ? Uint8Array.of(0) : bytes.subarray(first);
  return (significant[0] ?? 0) < 0x80 ? significant : concat(Uint8Array.of(0), significant);
}
