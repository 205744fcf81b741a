/**
 * A disk in memory that fails when it is told to, and forgets what was not synced when the power goes.
 */
import type { SpoolDisk, SpoolFile } from '../../server/proxy/journal/disk.ts';

export type Step = 'write' | 'sync' | 'create' | 'remove' | 'truncate' | 'syncFolder' | 'replace';

interface Content {
  written: Buffer;
  synced: Buffer;
  nameSynced: boolean;
}

export class FaultDisk implements SpoolDisk {
  readonly files = new Map<string, Content>();
  readonly #small = new Map<string, Uint8Array>();
  free = 1e12;
  syncs = 0;
  /** Every step in order, for counting and for aiming. */
  readonly steps: Step[] = [];
  /** Called at each step; it may throw, before the step's effect or after it. */
  before: (step: Step, n: number) => void = () => {};
  after: (step: Step, n: number) => void = () => {};
  /** Called before a file grows; it may throw, as a full disk does. */
  grows: () => void = () => {};
  /** Resolves before each step; replace it to hold the disk up. */
  gate: () => Promise<void> = () => Promise.resolve();

  async #step<T>(step: Step, effect: () => T): Promise<T> {
    const n = this.steps.push(step) - 1;
    await this.gate();
    this.before(step, n);
    const result = effect();
    this.after(step, n);
    return result;
  }

  list() {
    const all = [...this.files].map(([name, c]) => ({ name, bytes: c.written.length }));
    return Promise.resolve(all);
  }

  create(name: string): Promise<SpoolFile> {
    return this.#step('create', () => {
      if (this.files.has(name)) throw ioError('EEXIST');
      const content = { written: Buffer.alloc(0), synced: Buffer.alloc(0), nameSynced: false };
      this.files.set(name, content);
      return this.#file(content);
    });
  }

  open(name: string): Promise<SpoolFile> {
    const content = this.files.get(name);
    return content === undefined
      ? Promise.reject(ioError('ENOENT'))
      : Promise.resolve(this.#file(content));
  }

  remove(name: string): Promise<void> {
    return this.#step('remove', () => {
      if (!this.files.delete(name)) throw ioError('ENOENT');
    });
  }

  syncFolder(): Promise<void> {
    return this.#step('syncFolder', () => {
      for (const content of this.files.values()) content.nameSynced = true;
    });
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(this.free);
  }

  readSmall(name: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#small.get(name));
  }

  smallNames(): string[] {
    return [...this.#small.keys()];
  }

  replaceSmall(name: string, bytes: Uint8Array): Promise<void> {
    return this.#step('replace', () => {
      this.#small.set(name, bytes.slice());
    });
  }

  /** What another process finds: after `kill -9` all that was written, after a power cut what was synced. */
  reopened(what: 'killed' | 'power-cut'): FaultDisk {
    const disk = new FaultDisk();
    for (const [name, content] of this.files) {
      if (what === 'power-cut' && !content.nameSynced) continue;
      const kept = Buffer.from(what === 'killed' ? content.written : content.synced);
      disk.files.set(name, { written: kept, synced: kept, nameSynced: true });
    }
    for (const [name, bytes] of this.#small) disk.#small.set(name, bytes);
    return disk;
  }

  /** Every byte on the disk, for looking for what must not be there. */
  everything(): Buffer {
    return Buffer.concat([
      ...[...this.files.values()].map((c) => c.written),
      ...this.#small.values(),
    ]);
  }

  #file(content: Content): SpoolFile {
    return {
      write: (buffers, at) =>
        this.#step('write', () => {
          const bytes = Buffer.concat(buffers);
          const size = Math.max(content.written.length, at + bytes.length);
          if (size > content.written.length) this.grows();
          const grown = Buffer.alloc(size);
          content.written.copy(grown);
          bytes.copy(grown, at);
          content.written = grown;
        }),
      sync: () =>
        this.#step('sync', () => {
          this.syncs++;
          content.synced = Buffer.from(content.written);
        }),
      read: (at, length) =>
        Promise.resolve(new Uint8Array(content.written.subarray(at, at + length))),
      truncate: (length) =>
        this.#step('truncate', () => {
          content.written = Buffer.from(content.written.subarray(0, length));
        }),
      close: () => Promise.resolve(),
    };
  }
}

export function ioError(code: string): Error {
  return Object.assign(new Error(`${code}: made up for a test`), { code });
}
