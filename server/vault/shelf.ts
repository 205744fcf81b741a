/**
 * What is stored of a record, and how it is read back.
 *
 * A record has a content file from its submission, and may have more from repeats that supplied what
 * was missing. The newest file comes first: where two hold content of one field, the older belongs to
 * a statement that the log never took.
 */
import { invariant, SteleError, shown } from '../core/errors.ts';
import { associatedData } from './chunks.ts';
import { ContentReader, type Owner, type Section, type SectionKind } from './content-file.ts';
import type { Keyring } from './keyring.ts';
import { type FileRow, STATE } from './keys.ts';
import { recordHash } from './layout.ts';
import type { Disk } from './place.ts';
import type { RecordKey } from './staging.ts';

export interface Stored {
  readonly row: FileRow;
  readonly section: Section;
}

export class Shelf {
  readonly #origin: string;
  readonly #disk: Disk;
  readonly #keyring: Keyring;

  constructor(origin: string, disk: Disk, keyring: Keyring) {
    this.#origin = origin;
    this.#disk = disk;
    this.#keyring = keyring;
  }

  /** Of whose content a file is made. */
  owner(key: RecordKey): Owner {
    return { origin: this.#origin, recordId: key.recordId };
  }

  wrap(key: RecordKey, dataKey: Uint8Array): Uint8Array {
    return this.#keyring.wrap(dataKey, keyOwner(this.#origin, key));
  }

  /** Every section of a record, newest file first. */
  async sections(key: RecordKey): Promise<Stored[]> {
    const found: Stored[] = [];
    for (const row of this.#disk.keys.files(recordHash(key))) {
      const file = await this.#open(key, row);
      if (file === undefined) continue;
      await file.close();
      for (const section of file.sections) found.push({ row, section });
    }
    return found;
  }

  /** The newest section of that name; with `digest`, the one checked against that commitment. */
  async find(
    key: RecordKey,
    kind: SectionKind,
    field: string,
    digest?: string,
  ): Promise<Stored | undefined> {
    const stored = await this.sections(key);
    return stored.find(
      ({ section }) =>
        section.kind === kind &&
        section.field === field &&
        (digest === undefined || section.digest === digest),
    );
  }

  /** A field's disclosure; nothing where there is none. */
  async text(key: RecordKey, field: string, digest?: string): Promise<string | undefined> {
    const found = await this.find(key, 'disclosure', field, digest);
    const file = found && (await this.#open(key, found.row));
    if (found === undefined || file === undefined) return undefined;
    try {
      return await file.text(found.section);
    } finally {
      await file.close();
    }
  }

  /** Opens the file only when the first chunk is asked for: one that is never read holds nothing. */
  async *chunks(key: RecordKey, { row, section }: Stored): AsyncGenerator<Uint8Array> {
    const file = await this.#open(key, row);
    if (file === undefined) throw absent(key, section.field, 'no longer a body');
    try {
      yield* file.chunks(section);
    } finally {
      await file.close();
    }
  }

  /** Nothing where the file's commit has not finished, or its content was erased meanwhile. */
  async #open(key: RecordKey, row: FileRow): Promise<ContentReader | undefined> {
    const { files, keys, layout } = this.#disk;
    const input = await files.open(layout.content(row));
    if (input === undefined) {
      const still = keys.files(row.record).some(({ seq }) => seq === row.seq);
      if (row.state !== STATE.settled || !still) return undefined;
      throw new SteleError('storage', `content of record ${shown(key.recordId)} is missing`);
    }
    try {
      return await ContentReader.open(input, this.#unwrap(key, row), this.owner(key));
    } catch (error) {
      await input.close();
      throw error;
    }
  }

  #unwrap(key: RecordKey, { wrapped }: FileRow): Uint8Array {
    invariant(wrapped !== null, 'a file that can be opened has a key');
    try {
      return this.#keyring.unwrap(new Uint8Array(wrapped), keyOwner(this.#origin, key));
    } catch (cause) {
      const rule = 'its data key does not unwrap';
      throw new SteleError('storage', `record ${shown(key.recordId)}: ${rule}`, { cause });
    }
  }
}

/** Whose data key it is, as the key-encryption key seals it. */
export function keyOwner(origin: string, { source, recordId }: RecordKey): Uint8Array {
  return associatedData({ origin, recordId, field: `source ${source}` });
}

export function absent(key: RecordKey, field: string, what: string): SteleError {
  const rule = `${what} of field ${shown(field)} is stored`;
  return new SteleError('not_found', `record ${shown(key.recordId)}: ${rule}`);
}
