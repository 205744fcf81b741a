/**
 * Taking a backup while a server runs, without asking it and without its lock.
 *
 *     stele.db ─▶ logs/ ─▶ vault-keys/ ─▶ vault/ ─▶ settings ─▶ keys/ ─▶ verify ─▶ backup.json
 *
 * Each database is copied as of one moment, and the moments differ. The order makes that good: a log is
 * copied after the list that names it, and content is durable before its entry, so a vault that is copied
 * after a log has all that the log's copy names. Keys come last: what signed a head was there before it.
 *
 * What must never lie together goes to folders of its own, or nowhere: private keys and tokens, and the
 * wrapped data keys of the vaults. The proxy's journal is never copied: put back, it would give out
 * sequence numbers again that are in the log, and its source would fork.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { toBase64 } from '../core/bytes.ts';
import { parseCheckpoint } from '../core/checkpoint.ts';
import { invariant, SteleError, shown } from '../core/errors.ts';
import { parseNote } from '../core/note.ts';
import { timestamp } from '../log/clock.ts';
import { keptFor } from '../log/names.ts';
import { writeWhole } from '../storage/files.ts';
import { type SeenLog, settleInstanceCopy } from '../storage/instance.ts';
import { SqliteStore } from '../storage/sqlite/log-store.ts';
import { type SnapshotOptions, snapshot } from '../storage/sqlite/snapshot.ts';
import { KeyReader } from '../vault/key-reader.ts';
import { copyContent, LOST_MAX, type Lost } from './content.ts';
import { copyFile, filesBelow, makeFolder, refused, sumOf, syncPath } from './files.ts';
import {
  ascending,
  formatManifest,
  listingOf,
  MANIFEST_NAME,
  type Manifest,
  type ManifestFile,
  type ManifestLog,
  type Part,
} from './manifest.ts';
import { checkApart, checkEmpty } from './places.ts';
import { type Finding, verifyPart, type Watching } from './verify.ts';

export interface BackupOptions extends Watching {
  /** The data folder. */
  readonly data: string;
  /** Where each part goes: folders that are new or empty. Parts without one are not copied. */
  readonly to: { readonly [part in Part]?: string | undefined } & { readonly data: string };
  /** Logs that are left out. */
  readonly except: readonly string[];
  readonly version: string;
  readonly nowMs: number;
  /** 16 hex digits that no other backup has. */
  readonly id: string;
}

export interface TakenPart {
  readonly part: Part;
  readonly folder: string;
  readonly manifest: Manifest;
  /** What was verified: with the files of the vaults. */
  readonly files: number;
  readonly bytes: number;
}

export interface Backup {
  readonly parts: readonly TakenPart[];
  /** What does not verify; with any of these no folder has a manifest. */
  readonly findings: readonly (Finding & { readonly folder: string })[];
  /** Content files that the keys name, that the log has and that are not there any more: some, and how many. */
  readonly lost: Lost;
}

export async function takeBackup(options: BackupOptions): Promise<Backup> {
  const { data, to } = options;
  if (!existsSync(join(data, 'stele.db'))) {
    throw new SteleError('not_found', `${data} is no data folder: name one with --data`);
  }
  const folders = new Map<Part, string>();
  for (const part of ['data', 'vault-keys', 'keys'] as const) {
    const folder = to[part];
    if (folder !== undefined) folders.set(part, folder);
  }
  checkApart([['the data folder', data], ...folders]);
  for (const folder of folders.values()) await checkEmpty(folder);
  try {
    return await new Taking(options, folders).run();
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    const none = `${to.data} has no ${MANIFEST_NAME} and is no backup`;
    throw new SteleError(error.code, `${error.message}; ${none}`, { cause: error });
  }
}

class Taking {
  readonly #options: BackupOptions;
  readonly #folders: ReadonlyMap<Part, string>;
  readonly #files: Record<Part, ManifestFile[]> = { data: [], keys: [], 'vault-keys': [] };
  readonly #logs: ManifestLog[] = [];
  #lost: Lost = { count: 0, some: [] };
  /** Folders that were made: their names have to reach the disk before the manifest does. */
  readonly #made = new Set<string>();

  constructor(options: BackupOptions, folders: ReadonlyMap<Part, string>) {
    this.#options = options;
    this.#folders = folders;
  }

  async run(): Promise<Backup> {
    for (const folder of this.#folders.values()) await this.#makeFolder(folder);
    const logs = await this.#copyInstance();
    for (const log of logs) await this.#copyLog(log);
    for (const { name } of logs) await this.#copyVault(name);
    for (const name of ['stele.yaml', 'trust.json', 'callers.json']) {
      await this.#copyFile('data', name);
    }
    for (const name of ['keys', 'tokens']) await this.#copyKeys(name);
    for (const folder of this.#made) await syncPath(folder);
    return await this.#finish();
  }

  /** The list of logs, and of those the ones to copy. */
  async #copyInstance(): Promise<readonly SeenLog[]> {
    const { except } = this.#options;
    const logs: SeenLog[] = [];
    const edit = (copy: Parameters<typeof settleInstanceCopy>[0]) => {
      logs.push(...settleInstanceCopy(copy));
    };
    await this.#snapshot('data', 'stele.db', { edit });
    const unknown = except.find((name) => !logs.some((log) => log.name === name));
    if (unknown !== undefined) {
      throw new SteleError('not_found', `there is no log ${shown(unknown)} to leave out`);
    }
    return logs.filter(({ name }) => !except.includes(name));
  }

  async #copyLog({ name, isGone }: SeenLog): Promise<void> {
    for (const { name: one } of keptFor(name, isGone)) {
      const path = `logs/${one}.db`;
      try {
        await this.#snapshot('data', path);
        await this.#noteLog(one, path);
      } catch (error) {
        if (!(error instanceof SteleError) || error.retryAfterS !== undefined) throw error;
        const others = `with --except ${name} the others are backed up`;
        throw new SteleError(error.code, `${error.message} (${others})`, { cause: error });
      }
    }
  }

  async #noteLog(name: string, path: string): Promise<void> {
    const store = SqliteStore.openReadOnly(join(this.#folder('data'), path));
    try {
      const head = await store.readHead();
      if (head === undefined) throw new SteleError('storage', `${path}: the log is empty`);
      const { size, root, checkpoint } = head;
      const { origin } = parseCheckpoint(parseNote(Buffer.from(checkpoint)).text);
      this.#logs.push({ name, origin, size, root: toBase64(root), checkpoint });
    } finally {
      await store.close();
    }
  }

  async #copyVault(name: string): Promise<void> {
    const { data } = this.#options;
    const path = `vault-keys/${name}.db`;
    // A log that never had content has none.
    if (!existsSync(join(data, path))) return;
    if (this.#folders.has('vault-keys')) await this.#snapshot('vault-keys', path);
    const vault = `vault/${name}`;
    const to = this.#folder('data');
    await this.#makeFolder(join(to, vault));
    const keys = new KeyReader(join(data, path));
    try {
      const { lost } = await copyContent({
        keys,
        from: join(data, vault),
        to: join(to, vault),
        listing: join(to, listingOf(name)),
        progress: (files) => this.#step(`${vault}: ${files} files`),
      });
      this.#lost = {
        count: this.#lost.count + lost.count,
        some: [...this.#lost.some, ...lost.some.map((file) => `${vault}/${file}`)].slice(
          0,
          LOST_MAX,
        ),
      };
    } finally {
      keys.close();
    }
    await this.#note('data', listingOf(name));
  }

  async #copyKeys(name: string): Promise<void> {
    if (!this.#folders.has('keys')) return;
    for await (const { path, isFile } of filesBelow(join(this.#options.data, name))) {
      // Drafts of a file that is being made.
      if (isFile && !/(^|\/)\.|\.new$/.test(path)) await this.#copyFile('keys', `${name}/${path}`);
    }
  }

  /** Copies one small file, if it is there. */
  async #copyFile(part: Part, path: string): Promise<void> {
    this.#step(path);
    const source = join(this.#options.data, path);
    if (!existsSync(source)) return;
    const target = join(this.#folder(part), path);
    await this.#makeFolder(dirname(target));
    const sum = await copyFile(source, target);
    if (sum !== undefined) this.#files[part].push({ ...sum, path });
  }

  async #snapshot(
    part: Part,
    path: string,
    options: Pick<SnapshotOptions, 'edit'> = {},
  ): Promise<void> {
    const target = join(this.#folder(part), path);
    await this.#makeFolder(dirname(target));
    await snapshot(join(this.#options.data, path), target, {
      ...options,
      progress: (done) => this.#step(`${path}: ${Math.floor(100 * done)} %`),
    });
    await this.#note(part, path);
  }

  /** Takes a file that was made here into the manifest. */
  async #note(part: Part, path: string): Promise<void> {
    const sum = await sumOf(join(this.#folder(part), path));
    invariant(sum !== undefined, 'a file that was just made is there');
    this.#files[part].push({ ...sum, path });
  }

  async #finish(): Promise<Backup> {
    const parts: TakenPart[] = [];
    const findings: (Finding & { folder: string })[] = [];
    for (const [part, folder] of this.#folders) {
      const manifest = this.#manifest(part);
      const verified = await verifyPart(folder, manifest, this.#options);
      findings.push(...verified.findings.map((finding) => ({ ...finding, folder })));
      parts.push({ part, folder, manifest, files: verified.files, bytes: verified.bytes });
    }
    // That of the logs last: with it the whole is there.
    if (findings.length === 0) for (const part of parts.toReversed()) writeManifest(part);
    return { parts, findings, lost: this.#lost };
  }

  #manifest(part: Part): Manifest {
    const { version, nowMs, id, except } = this.#options;
    return {
      format: 'stele.backup/1',
      version,
      time: timestamp(nowMs),
      id,
      part,
      except: part === 'data' ? ascending(except, (name) => name) : [],
      files: ascending(this.#files[part], ({ path }) => path),
      logs: part === 'data' ? ascending(this.#logs, ({ name }) => name) : [],
    };
  }

  #folder(part: Part): string {
    const folder = this.#folders.get(part);
    invariant(folder !== undefined, 'only parts that have a folder are copied');
    return folder;
  }

  /** Makes a folder, and keeps in mind every one whose names have to be synced. */
  async #makeFolder(path: string): Promise<void> {
    await makeFolder(path);
    const roots = new Set(this.#folders.values());
    let one = path;
    for (; !roots.has(one); one = dirname(one)) this.#made.add(one);
    this.#made.add(one).add(dirname(one));
  }

  #step(line: string): void {
    this.#options.progress(line);
    if (this.#options.signal.aborted) throw new SteleError('storage', 'interrupted');
  }
}

function writeManifest({ folder, manifest }: TakenPart): void {
  const path = join(folder, MANIFEST_NAME);
  try {
    writeWhole(path, formatManifest(manifest), 0o600);
  } catch (error) {
    throw refused(path, error);
  }
}
