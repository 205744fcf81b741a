/**
 * Reading DER: one element after the other, from a stranger's bytes.
 *
 *     tag   length             content
 *     30    03 | 81 c8 | …     …            length in its shortest form, tags of one byte
 *
 * Only what public keys and certificates need, and of that only DER: indefinite lengths, lengths that are
 * longer than they have to be, and content that runs out of its element are refused. Nothing recurses:
 * whoever reads says how deep it goes.
 *
 * [X.690 §8, §10]
 */
import { malformed } from './errors.ts';

export const DER = {
  integer: 0x02,
  bitString: 0x03,
  null: 0x05,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  /** The version of a certificate: [0] EXPLICIT. */
  context0: 0xa0,
} as const;

type Tag = keyof typeof DER;

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

  /** Throws unless nothing is left. */
  end(): void {
    if (!this.isAtEnd) throw this.#wrong(`${this.#bytes.length - this.#at} bytes follow the end`);
  }

  #next(tag: Tag): { readonly begin: number; readonly end: number } {
    const bytes = this.#bytes;
    const found = bytes[this.#at];
    if (found !== DER[tag]) {
      const seen = found === undefined ? 'nothing' : `tag 0x${found.toString(16).padStart(2, '0')}`;
      throw this.#wrong(`${seen} where a ${tag} is needed`);
    }
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
