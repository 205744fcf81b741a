/**
 * Giving sealed files their names: the steps of a commit that cannot be undone by doing nothing.
 *
 *     bytes durable │ rows durable │ files named │ folders durable │ content promised
 *                   A              B             C                 D
 *
 * A crash at A leaves files that no key opens; the next start deletes them. At B, C or D it leaves rows of
 * a record that the log does not have, with or without their files; the sweep asks the log about
 * every row once, and deletes them. So cleaning up never walks folders.
 */
import { dirname } from 'node:path';
import { invariant, SteleError } from '../core/errors.ts';
import type { Files } from './files.ts';
import type { KeyTable, NewFile } from './keys.ts';
import type { FileName, Layout } from './layout.ts';

/** A sealed file that waits for its name. */
export interface Sealed extends NewFile {
  readonly path: string;
}

export interface Disk {
  readonly files: Files;
  readonly keys: KeyTable;
  readonly layout: Layout;
}

/** One piece of work after another, in the order asked. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    // Whoever asked hears of a failure; the next in line only waits for the end.
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** Waits for all of them, then throws the worst failure: one that ends the process, or the first. */
export async function all(work: readonly Promise<unknown>[]): Promise<void> {
  const failures = (await Promise.allSettled(work)).flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  );
  const worst = failures.find((error) => !(error instanceof SteleError)) ?? failures[0];
  if (worst !== undefined) throw worst;
}

export class Placer {
  readonly #disk: Disk;
  /** The newest folder known to be durable. Numbers only rise, so one is enough. */
  #folder = '';

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /**
   * Commits `sealed`, and marks the rows `touched` as stored now. For each file, whether it was placed:
   * it is not if its record was erased after the staging began, which is the same as if the erasure
   * had come after the commit. After `storage` nothing is placed.
   */
  async place(
    sealed: readonly Sealed[],
    touched: readonly number[],
    nowMs: number,
  ): Promise<boolean[]> {
    if (sealed.length === 0 && touched.length === 0) return [];
    const { files, keys, layout } = this.#disk;
    const rows = sealed.map(({ record, source, recordId, wrapped }) => ({
      record,
      source,
      recordId,
      wrapped,
    }));
    const placements = await keys.add(rows, touched, nowMs);
    invariant(placements.length === sealed.length, 'every file has an answer');
    const moves = sealed.flatMap(({ path, record }, i) => {
      const placement = placements[i];
      if (placement === undefined) return [];
      const row = { ...placement, record };
      return [{ row, from: path, to: layout.content(row) }];
    });
    try {
      for (const { row } of moves) await this.#makeFolder(row.seq);
      await all(moves.map(({ from, to }) => files.rename(from, to)));
      await all([...new Set(moves.map(({ to }) => dirname(to)))].map((f) => files.syncFolder(f)));
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      const rows = moves.map(({ row }) => row);
      throw await this.#undone(rows, error);
    }
    return placements.map((placement) => placement !== undefined);
  }

  async #makeFolder(seq: number): Promise<void> {
    const [outer, inner] = this.#disk.layout.foldersOf(seq);
    if (inner === this.#folder) return;
    await ensureFolder(this.#disk.files, outer);
    await ensureFolder(this.#disk.files, inner);
    this.#folder = inner;
  }

  /** Takes a failed commit back now, as far as the disk allows; the sweep does the rest. */
  async #undone(rows: readonly FileName[], reason: SteleError): Promise<SteleError> {
    try {
      await removeFiles(this.#disk, rows);
      return reason;
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      const { code, message, retryAfterS } = reason;
      return new SteleError(code, `${message}; taking it back: ${error.message}`, {
        cause: reason,
        ...(retryAfterS === undefined ? {} : { retryAfterS }),
      });
    }
  }
}

/** Makes a folder, durably, in one that exists. */
export async function ensureFolder(files: Files, path: string): Promise<void> {
  await files.makeFolder(path);
  await files.syncFolder(dirname(path));
}

/** Removes rows' files, durably, and then the rows. */
export async function removeFiles(disk: Disk, rows: readonly FileName[]): Promise<void> {
  const { files, keys, layout } = disk;
  if (rows.length === 0) return;
  const folders = new Set<string>();
  for (const row of rows) {
    const folder = layout.folder(row.seq);
    // A commit that failed early did not make its folder.
    if (!(await files.exists(folder))) continue;
    await files.remove(layout.content(row));
    folders.add(folder);
  }
  // Before the rows: a file that came back after a power failure would have none.
  await all([...folders].map((folder) => files.syncFolder(folder)));
  keys.remove(rows.map(({ seq }) => seq));
}
