/**
 * A file system that forgets at a power failure whatever was not synced: bytes of a file, and names in a
 * folder. It keeps a way back for each change, and drops it when the change is made durable.
 */
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Files } from '../../server/vault/files.ts';

interface Change {
  /** The name that appeared or went away. A sync of its folder makes that durable. */
  readonly path: string;
  readonly undo: () => void;
}

interface Bytes {
  path: string;
  synced: boolean;
}

export class PowerCut {
  #changes: Change[] = [];
  readonly #bytes: Bytes[] = [];

  files(real: Files): Files {
    const changed = (path: string, undo: () => void) => this.#changes.push({ path, undo });
    /** Whether the name was not durable anyway, so that its end needs no way back. */
    const forget = (path: string): boolean => {
      const count = this.#changes.length;
      this.#changes = this.#changes.filter((change) => change.path !== path);
      return this.#changes.length < count;
    };
    return {
      ...real,
      makeFolder: async (path) => {
        const isNew = !existsSync(path);
        await real.makeFolder(path);
        if (isNew) changed(path, () => rmSync(path, { recursive: true }));
      },
      create: async (path) => {
        const output = await real.create(path);
        const bytes: Bytes = { path, synced: false };
        this.#bytes.push(bytes);
        changed(path, () => rmSync(path));
        return {
          ...output,
          sync: async () => {
            await output.sync();
            bytes.synced = true;
          },
        };
      },
      rename: async (from, to) => {
        await real.rename(from, to);
        const bytes = this.#bytes.find(({ path }) => path === from);
        if (bytes !== undefined) bytes.path = to;
        forget(from);
        // The vault renames only what was staged, and a staged file's own name is never durable.
        changed(to, () => rmSync(to));
      },
      remove: async (path) => {
        const before = existsSync(path) ? readFileSync(path) : undefined;
        await real.remove(path);
        if (before === undefined || forget(path)) return;
        changed(path, () => writeFileSync(path, before));
      },
      syncFolder: async (path) => {
        await real.syncFolder(path);
        this.#changes = this.#changes.filter((change) => dirname(change.path) !== path);
      },
    };
  }

  /** Everything that was not synced is gone. */
  cut(): void {
    for (const { path, synced } of this.#bytes) {
      if (!synced && existsSync(path)) truncateSync(path, 0);
    }
    for (const { undo } of this.#changes.reverse()) undo();
    this.#changes = [];
  }
}
