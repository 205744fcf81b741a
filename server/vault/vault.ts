/**
 * The vault: content that can be erased, outside the tree (P4). Prompts, answers and identities are in
 * the log only as salted commitments; here they lie sealed, each content file under its own data key,
 * each field under a key of its own.
 *
 * One process at a time opens a vault: the start-up guard keeps a second one out. Who may read, and
 * the trace that a read leaves (P11), are the business of `http`.
 */
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { toHex } from '../core/bytes.ts';
import { type BodyValue, bodyValueOf, parseDisclosure } from '../core/disclosure.ts';
import { invariant, SteleError, shown } from '../core/errors.ts';
import { DISCLOSURES_MAX } from '../core/limits.ts';
import { associatedData } from './chunks.ts';
import { ContentWriter, sectionBytes, sectionName } from './content-file.ts';
import { type Files, FsyncFailed, nodeFiles } from './files.ts';
import type { KeyWriter } from './key-writer.ts';
import { Keyring } from './keyring.ts';
import { type KeyTable, type KeyTableOptions, SqliteKeys, STATE } from './keys.ts';
import { Layout, recordHash, STAGING } from './layout.ts';
import { all, type Disk, ensureFolder, Placer, removeFiles, type Sealed, Turns } from './place.ts';
import { absent, Shelf } from './shelf.ts';
import { checked, OpenStaging, type RecordKey, type Staging, type StagingFile } from './staging.ts';
import { sweep } from './sweep.ts';

export type { BodyLimits, RecordKey, Staging } from './staging.ts';

/** Content files of one record: the first, and one for each repeat that supplied what was missing. */
const RECORD_FILES_MAX = 16;

export interface VaultOptions {
  /** DATA/vault/NAME. */
  readonly dir: string;
  /** DATA/vault-keys/NAME.db. */
  readonly keysDb: string;
  /** The key-encryption key: `openKek`. */
  readonly kek: Uint8Array;
  readonly origin: string;
  /** What the outside gives; tests give their own. */
  readonly files?: Files;
  readonly openKeys?: (options: KeyTableOptions) => KeyTable;
  /** The thread that adds to key databases; without one it is done where it is asked for. */
  readonly keyWriter?: KeyWriter | undefined;
  readonly random?: (bytes: number) => Uint8Array;
  readonly now?: () => number;
}

/** A staging's side that only the vault sees. */
interface Member {
  readonly staging: OpenStaging;
  readonly record: Uint8Array;
  readonly path: string;
  /** Rows, not settled yet, that hold content which this staging leaves out as stored. */
  readonly relies: readonly number[];
}

/**
 * A vault whose key database is missing must not begin a new one: what was stored before would never open
 * again, and what comes now would be told apart from it by nothing.
 */
async function checkKeysAreThere(files: Files, layout: Layout, keysDb: string): Promise<void> {
  if (await files.exists(keysDb)) return;
  const stored = (await files.list(layout.dir)).filter((name) => name !== STAGING);
  if (stored.length === 0) return;
  throw new SteleError(
    'storage',
    'the vault has content and its key database is missing: bring vault-keys/ back from a backup',
  );
}

export class Vault {
  readonly #disk: Disk;
  readonly #keyring: Keyring;
  readonly #now: () => number;
  readonly #shelf: Shelf;
  readonly #placer: Placer;
  readonly #turns = new Turns();
  readonly #members = new Map<Staging, Member>();
  /** Stagings open for each record, by its hash in hex. */
  readonly #open = new Map<string, number>();
  #stagings = 0;
  #fatal: FsyncFailed | undefined;

  private constructor(options: VaultOptions, disk: Disk, keyring: Keyring) {
    this.#disk = disk;
    this.#keyring = keyring;
    this.#now = options.now ?? Date.now;
    this.#shelf = new Shelf(options.origin, disk, keyring);
    this.#placer = new Placer(disk);
  }

  /** Opens the vault of one log, makes it where there is none, and deletes what was being staged. */
  static async open(options: VaultOptions): Promise<Vault> {
    const { dir, keysDb, kek, origin, files = nodeFiles, openKeys = SqliteKeys.open } = options;
    const random = options.random ?? ((bytes) => new Uint8Array(randomBytes(bytes)));
    const keyring = new Keyring(kek, random);
    const layout = new Layout(dir);
    for (const folder of [dirname(keysDb), dirname(dir), dir, layout.stagingFolder]) {
      await ensureFolder(files, folder);
    }
    await checkKeysAreThere(files, layout, keysDb);
    for (const name of await files.list(layout.stagingFolder)) {
      await files.remove(`${layout.stagingFolder}/${name}`);
    }
    const checkOwner = associatedData({ origin, recordId: '', field: 'kek-check' });
    const keys = openKeys({
      path: keysDb,
      origin,
      writer: options.keyWriter,
      newCheck: () => keyring.wrap(new Uint8Array(32), checkOwner),
      check: (kekCheck) => {
        keyring.unwrap(kekCheck, checkOwner);
      },
    });
    return new Vault(options, { files, keys, layout }, keyring);
  }

  /**
   * Begins to take content for a record with these commitments (name → digest). Content that is
   * stored already is not stored again. `conflict` if the record's content was erased.
   */
  async begin(key: RecordKey, commitments: ReadonlyMap<string, string>): Promise<Staging> {
    this.#check();
    if (commitments.size > DISCLOSURES_MAX) {
      const rule = `${commitments.size} commitments; a record has at most ${DISCLOSURES_MAX}`;
      throw new SteleError('too_large', rule);
    }
    const record = recordHash(key);
    const hex = toHex(record);
    // Before the first look: from here on the sweep leaves the record alone.
    this.#count(hex, 1);
    try {
      if (this.#disk.keys.isErased(record)) {
        const rule = 'its content was erased, and none is accepted again';
        throw new SteleError('conflict', `record ${shown(key.recordId)}: ${rule}`);
      }
      const stored = await this.#shelf.sections(key);
      const names = new Set(stored.map(({ section }) => sectionName(section)));
      const waiting = stored.filter(({ row }) => row.state === STATE.stored);
      const path = this.#disk.layout.staging(this.#stagings++);
      let made = false;
      const staging: OpenStaging = new OpenStaging(key, commitments, names, {
        create: () => {
          made = true;
          return this.#create(key, record, path);
        },
        remove: async () => {
          if (made) await this.#disk.files.remove(path);
        },
        storedDisclosure: (field, digest) => this.#shelf.text(key, field, digest),
        ended: () => {
          this.#members.delete(staging);
          this.#count(hex, -1);
        },
        failed: (error) => this.#note(error),
      });
      const relies = [...new Set(waiting.map(({ row }) => row.seq))];
      this.#members.set(staging, { staging, record, path, relies });
      return staging;
    } catch (error) {
      this.#count(hex, -1);
      throw error;
    }
  }

  /**
   * Commits all of them: when it resolves the content is on disk, and it stays if the log takes the
   * records. After `storage` nothing is promised, and what could not be taken back the sweep removes.
   * The stagings are spent either way; one that was discarded must not be among them. Rejects with
   * `FsyncFailed` where the process has to end.
   */
  async commitAll(stagings: readonly Staging[]): Promise<void> {
    this.#check();
    const members = stagings.map((staging) => {
      const member = this.#members.get(staging);
      invariant(member !== undefined, 'a staging is committed once, in the vault that began it');
      return member;
    });
    try {
      for (const { staging } of members) staging.hold();
      const open = members.filter(({ staging }) => !staging.isSealed);
      await all(open.map(({ staging }) => staging.seal()));
      await this.#turns.run(() => this.#place(members));
    } catch (error) {
      this.#note(error);
      // After a failed fsync nothing may be touched any more: the next start cleans up.
      if (!(error instanceof FsyncFailed)) {
        await all(members.map(({ staging }) => staging.drop()));
      }
      throw error;
    }
  }

  /** The fields of which something is stored, by name. Empty for a record without content. */
  async fields(
    key: RecordKey,
  ): Promise<readonly { readonly field: string; readonly bodyBytes?: number }[]> {
    this.#check();
    const found = new Map<string, { field: string; digest: string; bodyBytes?: number }>();
    const stored = await this.#shelf.sections(key);
    for (const { section } of stored) {
      const { kind, field, digest } = section;
      if (kind === 'disclosure' && !found.has(field)) found.set(field, { field, digest });
    }
    for (const { section } of stored) {
      const field = found.get(section.field);
      if (section.kind === 'body' && field?.digest === section.digest) {
        field.bodyBytes ??= sectionBytes(section);
      }
    }
    return [...found.values()]
      .sort((a, b) => (a.field < b.field ? -1 : 1))
      .map(({ field, bodyBytes }) => (bodyBytes === undefined ? { field } : { field, bodyBytes }));
  }

  /**
   * The stored disclosure of a field; `not_found` where there is none. With `digest`, the one that opens
   * that commitment; without, the newest.
   */
  async disclosure(key: RecordKey, field: string, digest?: string): Promise<string> {
    this.#check();
    const text = await this.#shelf.text(key, field, digest);
    if (text === undefined) throw absent(key, field, 'no disclosure');
    return text;
  }

  /**
   * The stored body of a field, and what its disclosure says of it; `not_found` where there is none.
   * The chunks are read as they are asked for, and the last step throws if the whole is not what the
   * disclosure names: who passes them on must be able to break off.
   */
  async body(
    key: RecordKey,
    field: string,
    digest?: string,
  ): Promise<{ value: BodyValue; chunks: AsyncIterable<Uint8Array> }> {
    const disclosure = parseDisclosure(await this.disclosure(key, field, digest));
    const value = bodyValueOf(disclosure.value);
    const stored = value && (await this.#shelf.find(key, 'body', field, disclosure.digest));
    if (value === undefined || stored === undefined) throw absent(key, field, 'no body');
    const chunks = this.#shelf.chunks(key, stored);
    return { value, chunks: checked(field, value, chunks) };
  }

  /**
   * Destroys the keys of a record's content, then its files, and refuses content for it from now on.
   * Once it resolves nothing here can open the content. Reads that have begun end normally.
   */
  async erase(key: RecordKey): Promise<void> {
    this.#check();
    await this.#watched(() =>
      this.#turns.run(async () => {
        // After this the content cannot be opened. A crash leaves files that no key opens; the rows
        // remember them, and the sweep removes them.
        const rows = this.#disk.keys.erase(recordHash(key), this.#now());
        await removeFiles(this.#disk, rows);
      }),
    );
  }

  /**
   * Removes content stored longer than `olderThanMs` ago whose record is not in the log, and what an
   * interrupted erasure left. Resolves to the number of files.
   */
  async sweep(
    isLogged: (key: RecordKey) => Promise<boolean>,
    olderThanMs: number,
    nowMs: number,
  ): Promise<number> {
    this.#check();
    const isOpen = (record: Uint8Array) => this.#open.has(toHex(record));
    const untilMs = nowMs - olderThanMs;
    const work = { disk: this.#disk, turns: this.#turns, isOpen, isLogged, untilMs };
    return this.#watched(() => sweep(work));
  }

  /** Discards what is still staged. Commits that were asked for are finished first. */
  async close(): Promise<void> {
    await this.#turns.run(async () => {
      try {
        if (this.#fatal === undefined) {
          await all([...this.#members.keys()].map((staging) => staging.discard()));
        }
      } finally {
        await this.#disk.keys.close();
      }
    });
  }

  async #place(members: readonly Member[]): Promise<void> {
    const touched = new Set<number>();
    const fresh: { readonly member: Member; readonly sealed: Sealed }[] = [];
    const spare: Member[] = [];
    const storedBy = new Map<string, Set<string>>();
    for (const member of members) {
      for (const seq of member.relies) touched.add(seq);
      const { staging, record, path } = member;
      const { key } = staging;
      const content = staging.sealed;
      if (content === undefined) {
        spare.push(member);
        continue;
      }
      // The same content may have been stored since this staging began, also earlier in this batch.
      const hex = toHex(record);
      let stored = storedBy.get(hex);
      if (stored === undefined) {
        const found = await this.#shelf.sections(key);
        for (const { row } of found) if (row.state === STATE.stored) touched.add(row.seq);
        stored = new Set(found.map(({ section }) => sectionName(section)));
        storedBy.set(hex, stored);
      }
      const names = content.sections.map(sectionName);
      if (names.every((name) => stored.has(name))) {
        spare.push(member);
        continue;
      }
      for (const name of names) stored.add(name);
      const { source, recordId } = key;
      fresh.push({ member, sealed: { path, record, source, recordId, wrapped: content.wrapped } });
    }
    const sealed = fresh.map((one) => one.sealed);
    const placed = await this.#placer.place(sealed, [...touched], this.#now());
    for (const [i, { member }] of fresh.entries()) {
      if (placed[i] === true) member.staging.end();
      else spare.push(member);
    }
    await all(spare.map(({ staging }) => staging.drop()));
  }

  async #create(key: RecordKey, record: Uint8Array, path: string): Promise<StagingFile> {
    this.#check();
    const stored = this.#disk.keys.files(record).length;
    const open = this.#open.get(toHex(record)) ?? 0;
    if (stored + open > RECORD_FILES_MAX) {
      const rule = `${stored} content files and ${open} submissions; at most ${RECORD_FILES_MAX}`;
      const code = stored < RECORD_FILES_MAX ? 'pushback' : 'conflict';
      throw new SteleError(code, `record ${shown(key.recordId)}: ${rule}`);
    }
    const dataKey = this.#keyring.newDataKey();
    const wrapped = this.#shelf.wrap(key, dataKey);
    const output = await this.#disk.files.create(path);
    return {
      writer: new ContentWriter(output, dataKey, this.#shelf.owner(key)),
      wrapped,
      close: () => output.close(),
    };
  }

  #count(hex: string, by: 1 | -1): void {
    const count = (this.#open.get(hex) ?? 0) + by;
    if (count === 0) this.#open.delete(hex);
    else this.#open.set(hex, count);
  }

  #check(): void {
    if (this.#fatal !== undefined) throw this.#fatal;
  }

  #note(error: unknown): void {
    if (error instanceof FsyncFailed) this.#fatal ??= error;
  }

  async #watched<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }
}
