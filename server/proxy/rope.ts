/**
 * A text that grows by a word at a time, a million times.
 *
 * Added one by one, each word would stay in memory as a string of its own with a node above it, many times its
 * length. So words are gathered and joined before they are added.
 */
const PIECES = 128;

export class Rope {
  #text: string;
  #pieces: string[] = [];

  constructor(text = '') {
    this.#text = text;
  }

  add(piece: string): void {
    this.#pieces.push(piece);
    if (this.#pieces.length >= PIECES) this.#join();
  }

  get text(): string {
    this.#join();
    return this.#text;
  }

  #join(): void {
    if (this.#pieces.length > 0) this.#text += this.#pieces.join('');
    this.#pieces = [];
  }
}
