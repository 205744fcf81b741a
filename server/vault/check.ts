/**
 * Does all that is in a vault still open? Every content file is read, its data key unwrapped and each of its
 * chunks decrypted, and what comes out is dropped: nothing is given to anyone, so it is no reading (P11).
 */
import { join, relative } from 'node:path';
import { SteleError } from '../core/errors.ts';
import { associatedData } from './chunks.ts';
import { ContentReader } from './content-file.ts';
import type { Input } from './files.ts';
import { nodeFiles } from './files.ts';
import { KeyReader } from './key-reader.ts';
import { Keyring } from './keyring.ts';
import { type FileRow, STATE } from './keys.ts';
import { Layout } from './layout.ts';
import { keyOwner } from './shelf.ts';

export interface VaultCheck {
  /** DATA/vault/NAME, and DATA/vault-keys/NAME.db. */
  readonly dir: string;
  readonly keysDb: string;
  readonly kek: Uint8Array;
  /** Resolves when so many bytes more may have been read. */
  readonly spend: (bytes: number) => Promise<void>;
  readonly progress: (files: number) => void;
}

export interface VaultChecked {
  readonly files: number;
  /** What does not open, with its place: the first hundred. */
  readonly damage: readonly string[];
}

const DAMAGE_MAX = 100;

export async function checkVault(options: VaultCheck): Promise<VaultChecked> {
  const keys = new KeyReader(options.keysDb);
  try {
    return await new Checking(options, keys).run();
  } finally {
    keys.close();
  }
}

class Checking {
  readonly #options: VaultCheck;
  readonly #keys: KeyReader;
  readonly #keyring: Keyring;
  readonly #layout: Layout;
  readonly #damage: string[] = [];

  constructor(options: VaultCheck, keys: KeyReader) {
    this.#options = options;
    this.#keys = keys;
    this.#layout = new Layout(options.dir);
    this.#keyring = new Keyring(options.kek, (bytes) => new Uint8Array(bytes));
  }

  async run(): Promise<VaultChecked> {
    const about = this.#keys.about();
    if (about === undefined) return { files: 0, damage: [] };
    const { origin, kekCheck } = about;
    this.#keyring.unwrap(kekCheck, associatedData({ origin, recordId: '', field: 'kek-check' }));
    let files = 0;
    for (const row of this.#keys.files()) {
      const what = await this.#checkFile(row, origin);
      // What was erased or swept while it was read is not damaged.
      if (what !== undefined && this.#keys.file(row.seq) !== undefined) this.#add(row, what);
      files += 1;
      this.#options.progress(files);
    }
    return { files, damage: this.#damage };
  }

  #add(row: FileRow, what: string): void {
    if (this.#damage.length >= DAMAGE_MAX) return;
    const { dir } = this.#options;
    const path = relative(join(dir, '..', '..'), this.#layout.content(row));
    this.#damage.push(`${path}: ${what}`);
  }

  /** In words, what is wrong with a content file; nothing if all of it opens. */
  async #checkFile(row: FileRow, origin: string): Promise<string | undefined> {
    const input = await nodeFiles.open(this.#layout.content(row));
    // The commit of a record that the log may not have yet is under way.
    if (input === undefined) return row.state === STATE.settled ? 'it is missing' : undefined;
    try {
      return await this.#open(input, row, origin);
    } catch (error) {
      if (error instanceof SteleError) return error.message;
      throw error;
    } finally {
      await input.close();
    }
  }

  async #open(input: Input, row: FileRow, origin: string): Promise<string | undefined> {
    const { source, recordId, wrapped } = row;
    if (wrapped === null) return undefined;
    const owner = keyOwner(origin, { source, recordId });
    const dataKey = this.#keyring.unwrap(new Uint8Array(wrapped), owner);
    await this.#options.spend(wrapped.length);
    const content = await ContentReader.open(input, dataKey, { origin, recordId });
    for (const section of content.sections) {
      try {
        for await (const chunk of content.chunks(section)) {
          await this.#options.spend(chunk.length);
          // Only that it opens is of interest.
          chunk.fill(0);
        }
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        return `${section.kind} ${section.field}: ${error.message}`;
      }
    }
    return undefined;
  }
}
