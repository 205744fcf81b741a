/** A file of differences, a line of JSON each. */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Unusable } from '../exit.ts';
import type { World } from '../terminal.ts';

/** Written as they are found. */
export class Output {
  readonly #file: Awaited<ReturnType<typeof open>>;
  #lines: string[] = [];
  #written: Promise<unknown> = Promise.resolve();

  private constructor(file: Awaited<ReturnType<typeof open>>) {
    this.#file = file;
  }

  /** A file that is there already is not written over. */
  static async create(world: World, name: string): Promise<Output> {
    const path = resolve(world.cwd, name);
    try {
      return new Output(await open(path, 'wx', 0o600));
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      const reason = code === 'EEXIST' ? 'it is there already' : `it cannot be written (${code})`;
      throw new Unusable(`output ${path}: ${reason}`, { cause });
    }
  }

  write(difference: object): void {
    this.#lines.push(`${JSON.stringify(difference)}\n`);
    if (this.#lines.length >= 1_000) this.#flush();
  }

  async end(): Promise<void> {
    this.#flush();
    await this.#written;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #flush(): void {
    const text = this.#lines.join('');
    this.#lines = [];
    this.#written = this.#written.then(() => this.#file.appendFile(text));
    // Whoever ends it hears of a failure.
    this.#written.catch(() => {});
  }
}
