/**
 * The content files of a vault, on their way into a backup: those that its key database names, folder by
 * folder, and a line in the listing for each. Memory does not grow with the vault.
 *
 * A file that is named and not there was erased or swept meanwhile, or its commit is under way. Only one
 * that the log is known to have, and that is still named, is lost.
 */
import { appendFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { KeyReader } from '../vault/key-reader.ts';
import { type FileRow, STATE } from '../vault/keys.ts';
import { Layout } from '../vault/layout.ts';
import { copyFile, makeFolder, refused, someAtATime, syncPath } from './files.ts';
import { ascending, formatListed, type Listed } from './manifest.ts';

export interface Copied {
  readonly files: number;
  readonly bytes: number;
  readonly lost: Lost;
}

/** Files that are lost: some of them, and how many. */
export interface Lost {
  readonly count: number;
  readonly some: readonly string[];
}

export const LOST_MAX = 10;

export interface ContentCopy {
  readonly keys: KeyReader;
  /** The vault's folder, and where its copy goes. */
  readonly from: string;
  readonly to: string;
  readonly listing: string;
  /** Told how many were copied. A throw ends the copying. */
  readonly progress: (files: number) => void;
}

/** Files that are copied at one time: their fsyncs go to the disk together. */
const AT_A_TIME = 8;

export async function copyContent({
  keys,
  from,
  to,
  listing,
  progress,
}: ContentCopy): Promise<Copied> {
  const source = new Layout(from);
  const lost = { count: 0, some: [] as string[] };
  let files = 0;
  let bytes = 0;
  await append(listing, '');
  for (const rows of byFolder(keys, source)) {
    const copied: Listed[] = [];
    const folder = join(to, relative(from, source.folder(rows[0].seq)));
    await makeFolder(folder);
    await someAtATime(rows, AT_A_TIME, async (row) => {
      progress(files + copied.length);
      const path = relative(from, source.content(row));
      const sum = await copyFile(source.content(row), join(to, path));
      if (sum !== undefined) copied.push({ ...sum, path });
      else if (isLost(row, keys)) {
        lost.count += 1;
        if (lost.some.length < LOST_MAX) lost.some.push(path);
      }
    });
    await syncPath(folder);
    await syncPath(dirname(folder));
    const lines = ascending(copied, ({ path }) => path).map(formatListed);
    await append(listing, lines.join(''));
    files += copied.length;
    bytes += copied.reduce((sum, one) => sum + one.bytes, 0);
  }
  await syncPath(listing);
  return { files, bytes, lost };
}

type SomeRows = [FileRow, ...FileRow[]];

/** The rows of each folder: numbers ascend, and so do the folders made of them. */
function* byFolder(keys: KeyReader, layout: Layout): Generator<SomeRows> {
  let rows: SomeRows | undefined;
  for (const row of keys.files()) {
    if (rows !== undefined && layout.folder(rows[0].seq) === layout.folder(row.seq)) rows.push(row);
    else {
      if (rows !== undefined) yield rows;
      rows = [row];
    }
  }
  if (rows !== undefined) yield rows;
}

function isLost(row: FileRow, keys: KeyReader): boolean {
  return row.state === STATE.settled && keys.file(row.seq)?.state === STATE.settled;
}

async function append(path: string, text: string): Promise<void> {
  try {
    await appendFile(path, text, { mode: 0o600 });
  } catch (error) {
    throw refused(path, error);
  }
}
