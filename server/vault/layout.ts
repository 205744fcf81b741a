/**
 * Where content lies: names made from numbers and hashes only, so that nothing that a stranger chose
 * is ever a path.
 *
 *     DIR/staging/17                        being written; deleted at the next start
 *     DIR/000/02a/9f86d081…                 content of the record with that hash
 *     DIR/000/02b/9f86d081….1               more content of it, supplied by a repeat
 *
 * The folder is the file's number in the key database divided by 4,096, in base 4,096. So no folder
 * ever holds more than 4,096 names, and the files of one batch share a folder or two, which is one
 * or two fsyncs. Folders by hash would cost one for each record; by a part of the record id, a stranger
 * would choose which folder grows.
 */
import { dirname, join } from 'node:path';
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import type { Hash } from '../core/units.ts';
import type { FileRow } from './keys.ts';
import type { RecordKey } from './staging.ts';

const FOLDER_NAMES = 4_096;

/** The folder of what is being written. */
export const STAGING = 'staging';

/** What of a row makes a file's name. */
export type FileName = Pick<FileRow, 'seq' | 'number' | 'record'>;

/** What a record is called here: SHA-256 of the JSON array [source.id, record_id]. */
export function recordHash(key: RecordKey): Hash {
  return sha256(utf8(JSON.stringify([key.source, key.recordId])));
}

export class Layout {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  get stagingFolder(): string {
    return join(this.dir, STAGING);
  }

  staging(number: number): string {
    return join(this.stagingFolder, String(number));
  }

  folder(seq: number): string {
    const folder = Math.floor(seq / FOLDER_NAMES);
    return join(this.dir, digits(Math.floor(folder / FOLDER_NAMES)), digits(folder % FOLDER_NAMES));
  }

  /** The folders to be made and synced before the first file of a folder: the outer one first. */
  foldersOf(seq: number): [string, string] {
    const inner = this.folder(seq);
    return [dirname(inner), inner];
  }

  content({ seq, number, record }: FileName): string {
    return join(this.folder(seq), toHex(record) + (number === 0 ? '' : `.${number}`));
  }
}

function digits(number: number): string {
  return number.toString(16).padStart(3, '0');
}
