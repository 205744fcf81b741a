/**
 * Where does a JSON value end, when it comes in pieces?
 *
 *     {"a":"}","b":[1,2]}
 *                       ↑ the bracket that closes the first one
 *
 * Brackets are counted outside of texts, in bytes or in UTF-16 code units: none of them occurs inside another
 * character. What is no JSON gives some answer or none.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

export class Brackets {
  #depth = 0;
  #inText = false;
  #isEscaped = false;

  /** How many are open. */
  get depth(): number {
    return this.#depth;
  }

  get inText(): boolean {
    return this.#inText;
  }

  /** Takes the next byte or code unit; true where it closes the first bracket that was opened. */
  closes(code: number): boolean {
    if (this.#inText) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (code === BACKSLASH) this.#isEscaped = true;
      else if (code === QUOTE) this.#inText = false;
    } else if (code === QUOTE) this.#inText = true;
    else if (code === OPEN_OBJECT || code === OPEN_LIST) this.#depth++;
    else if ((code === CLOSE_OBJECT || code === CLOSE_LIST) && this.#depth > 0) {
      return --this.#depth === 0;
    }
    return false;
  }

  /** Begins again outside of everything. */
  clear(): void {
    this.#depth = 0;
    this.#inText = false;
    this.#isEscaped = false;
  }
}
