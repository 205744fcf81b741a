/**
 * The provider's key: where is it, and what is it now?
 *
 * It comes from a file, which may be replaced while the proxy runs, or from the environment, and goes into
 * the header of a request to that provider and nowhere else (P10). It is in no setting, so that settings can
 * be shown. A new file that is no good (empty while it is being written, say) is told of, and the key before
 * it goes on: the provider judges it anyway.
 */
import { readFileSync, statSync } from 'node:fs';
import { malformed, SteleError } from '../../core/errors.ts';
import { markOf } from '../../storage/files.ts';

export type KeySource =
  | { readonly from: 'file'; readonly path: string }
  | { readonly from: 'environment'; readonly name: string; readonly value: string | undefined };

const KEY_BYTES_MAX = 16_384;

/** What can stand in a header, without blanks. */
const KEY = /^[\x21-\x7e]{1,8192}$/;

/** Others than the owner and the group may not read it; secrets of containers are often the group's. */
const LOOSE_MODE = 0o007;

export class ProviderKey {
  readonly #source: KeySource;
  readonly #onFailure: (error: SteleError) => void;
  #key: string;
  #seen = '';

  /** Throws `not_found`, `forbidden` or `malformed` if there is no good key now. */
  constructor(source: KeySource, onFailure: (error: SteleError) => void) {
    this.#source = source;
    this.#onFailure = onFailure;
    if (source.from === 'environment') this.#key = checked(source.value ?? '', source.name);
    else {
      this.#seen = markOf(source.path);
      this.#key = readKey(source.path);
    }
  }

  /** The key as of now. */
  current(): string {
    if (this.#source.from === 'environment') return this.#key;
    const { path } = this.#source;
    const seen = markOf(path);
    if (seen === this.#seen) return this.#key;
    this.#seen = seen;
    try {
      this.#key = readKey(path);
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.#onFailure(error);
    }
    return this.#key;
  }
}

function readKey(path: string): string {
  let text: string;
  try {
    const { size, mode } = statSync(path);
    if (size > KEY_BYTES_MAX) throw malformed(`key file ${path}`, `${size} bytes`);
    if (process.platform !== 'win32' && (mode & LOOSE_MODE) !== 0) {
      throw new SteleError(
        'forbidden',
        `key file ${path}: everybody can read it: run chmod o= on it`,
      );
    }
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof SteleError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    throw new SteleError('not_found', `key file ${path}: it cannot be read (${code})`, { cause });
  }
  return checked(text.replace(/\r?\n$/, ''), `key file ${path}`);
}

/** The value itself is never shown. */
function checked(key: string, what: string): string {
  if (KEY.test(key)) return key;
  throw malformed(what, 'there is no key in it: one line of visible ASCII characters is wanted');
}
