/**
 * Is a backup what its manifest says, and are the logs in it what was signed?
 *
 * Each file is there with its bytes, and no other is. Each log's copy is opened, its tree is derived again
 * from its entries up to its head, and the head's signature is checked with the keys that the log itself
 * names. Everything that is wrong is told, by the name of the file.
 */
import { createReadStream, existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseBase64 } from '../core/bytes.ts';
import { hasCode, malformed, SteleError } from '../core/errors.ts';
import { hash, treeSize } from '../core/units.ts';
import { audit } from '../log/audit/audit.ts';
import { StoreReader } from '../log/audit/store-reader.ts';
import { schemaOf } from '../storage/sqlite/database.ts';
import { SqliteStore } from '../storage/sqlite/log-store.ts';
import { type Below, filesBelow, namesIn, refused, type Sum, someAtATime, sumOf } from './files.ts';
import {
  type Listed,
  MANIFEST_BYTES_MAX,
  MANIFEST_NAME,
  type Manifest,
  type ManifestLog,
  parseListed,
  parseManifest,
  vaultOf,
} from './manifest.ts';

export interface Finding {
  /** The file that it is about. */
  readonly path: string;
  readonly what: string;
}

export interface Watching {
  readonly progress: (line: string) => void;
  /** Aborted where nobody wants to know any more. */
  readonly signal: AbortSignal;
}

export interface Verified {
  readonly files: number;
  readonly bytes: number;
  /** The first hundred, and how many there are. */
  readonly findings: readonly Finding[];
  readonly wrong: number;
  /** Logs whose trees were not derived, since an older release wrote them: their files are hashed all the same. */
  readonly older: readonly string[];
}

const FINDINGS_MAX = 100;

/** Files that are read at one time. */
const AT_A_TIME = 4;

/** Reads the manifest of a folder; `not_found` where there is none, so that it is no backup. */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST_NAME);
  if (!existsSync(path)) {
    throw new SteleError(
      'not_found',
      `${folder} is no backup: it has no ${MANIFEST_NAME}, which is written last`,
    );
  }
  try {
    const { size } = await stat(path);
    if (size > MANIFEST_BYTES_MAX) {
      throw new SteleError(
        'too_large',
        `${path}: ${size} bytes, and ${MANIFEST_BYTES_MAX} are the most`,
      );
    }
    return parseManifest(new Uint8Array(await readFile(path)));
  } catch (error) {
    if (error instanceof SteleError && error.code === 'malformed') {
      throw malformed(folder, error.message, { cause: error });
    }
    throw refused(path, error);
  }
}

/** Holds a folder to a manifest. */
export function verifyPart(
  folder: string,
  manifest: Manifest,
  watching: Watching,
): Promise<Verified> {
  return new Verifying(folder, manifest, watching).run();
}

class Verifying {
  readonly #folder: string;
  readonly #manifest: Manifest;
  readonly #watching: Watching;
  readonly #findings: Finding[] = [];
  #wrong = 0;
  readonly #older: string[] = [];
  /** Databases of logs whose bytes are not those of the manifest: there is nothing more to say of them. */
  readonly #spoiled = new Set<string>();
  #files = 0;
  #bytes = 0;

  constructor(folder: string, manifest: Manifest, watching: Watching) {
    this.#folder = folder;
    this.#manifest = manifest;
    this.#watching = watching;
  }

  async run(): Promise<Verified> {
    const { files, logs } = this.#manifest;
    await someAtATime(files, AT_A_TIME, async ({ path, ...sum }) => {
      if (!(await this.#compare(path, sum))) this.#spoiled.add(path);
    });
    const vaults = files.flatMap(({ path }) => (vaultOf(path) === undefined ? [] : [path]));
    for (const listing of vaults) {
      if (!this.#spoiled.has(listing)) await this.#verifyContent(listing);
    }
    await this.#findExtra(vaults.map((listing) => listing.replace(/\.files$/, '')));
    for (const log of logs) await this.#verifyLog(log);
    return {
      files: this.#files,
      bytes: this.#bytes,
      findings: this.#findings,
      wrong: this.#wrong,
      older: this.#older,
    };
  }

  #add(path: string, what: string): void {
    this.#wrong += 1;
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push({ path, what });
  }

  /** Whether a file is there with its bytes. */
  async #compare(path: string, expected: Sum): Promise<boolean> {
    this.#step(path);
    this.#files += 1;
    const what = await this.#differenceOf(path, expected);
    if (what !== undefined) this.#add(path, what);
    return what === undefined;
  }

  async #differenceOf(path: string, expected: Sum): Promise<string | undefined> {
    let found: Sum | undefined;
    try {
      found = await sumOf(join(this.#folder, path));
    } catch (error) {
      if (error instanceof SteleError) return `it cannot be read: ${error.message}`;
      throw error;
    }
    this.#bytes += found?.bytes ?? 0;
    return found === undefined ? 'it is missing' : difference(found, expected);
  }

  /** Every line of a vault's listing has its file, and no folder has another. */
  async #verifyContent(listing: string): Promise<void> {
    const vault = listing.replace(/\.files$/, '');
    const folders = new Set<string>();
    for await (const files of this.#listed(listing)) {
      const folder = dirname(files[0]?.path ?? '');
      folders.add(folder);
      await someAtATime(files, AT_A_TIME, async ({ path, ...sum }) => {
        await this.#compare(`${vault}/${path}`, sum);
      });
      const listed = new Set(files.map(({ path }) => path));
      for (const { name } of await namesIn(join(this.#folder, vault, folder))) {
        if (!listed.has(`${folder}/${name}`)) this.#addExtra(`${vault}/${folder}/${name}`);
      }
    }
    for await (const folder of foldersOf(join(this.#folder, vault))) {
      if (!folders.has(folder.path)) this.#addExtra(`${vault}/${folder.path}`);
    }
  }

  async *#listed(listing: string): AsyncGenerator<Listed[]> {
    try {
      yield* listedFiles(join(this.#folder, listing));
    } catch (error) {
      if (!hasCode(error, 'malformed')) throw error;
      this.#add(listing, error.message);
    }
  }

  /** Files that the manifest does not name. Those of vaults are held to their listings. */
  async #findExtra(vaults: readonly string[]): Promise<void> {
    const known = new Set([MANIFEST_NAME, ...this.#manifest.files.map(({ path }) => path)]);
    const skip = new Set(vaults);
    for await (const { path, isFile } of filesBelow(this.#folder, (f) => !skip.has(f))) {
      if (!known.has(path)) this.#addExtra(path);
      else if (!isFile) this.#add(path, 'it is no plain file');
    }
  }

  #addExtra(path: string): void {
    this.#add(path, 'the manifest does not name it');
  }

  async #verifyLog(log: ManifestLog): Promise<void> {
    const path = `logs/${log.name}.db`;
    if (!this.#manifest.files.some((file) => file.path === path)) {
      this.#add(path, 'the manifest names the log and not its file');
      return;
    }
    if (this.#spoiled.has(path)) return;
    const file = join(this.#folder, path);
    const { has, known } = schemaOf(file, 'sqlite');
    if (has < known) this.#older.push(log.name);
    else if (has > known) this.#add(path, `it has schema ${has}, this release knows ${known}`);
    else await this.#derive(path, log);
  }

  async #derive(path: string, log: ManifestLog): Promise<void> {
    const store = SqliteStore.openReadOnly(join(this.#folder, path));
    try {
      const known = {
        from: MANIFEST_NAME,
        size: treeSize(log.size),
        root: hash(parseBase64(log.root, 'root')),
      };
      const report = await audit({
        reader: new StoreReader(store),
        origin: log.origin,
        known: [known],
        checker: undefined,
        progress: (done, size) => this.#step(`${path}: ${Math.floor((100 * done) / size)} %`),
      });
      for (const { severity, index, what } of report.findings) {
        if (severity !== 'fail') continue;
        this.#add(path, index === undefined ? what : `entry ${index}: ${what}`);
      }
      const head = await store.readHead();
      if (head?.checkpoint !== log.checkpoint) this.#add(path, 'its head is not the manifest’s');
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.#add(path, error.message);
    } finally {
      await store.close();
    }
  }

  #step(line: string): void {
    this.#watching.progress(line);
    if (this.#watching.signal.aborted) throw new SteleError('storage', 'interrupted');
  }
}

/**
 * The files of a listing, folder by folder, in its order. Throws `malformed` at the first line that is none
 * of a listing, or not in its place.
 */
export async function* listedFiles(listing: string): AsyncGenerator<Listed[]> {
  let files: Listed[] = [];
  let last = '';
  for await (const line of createInterface({ input: createReadStream(listing) })) {
    const listed = parseListed(line, last);
    if (listed === undefined) {
      throw malformed(
        'listing',
        `the line after ${JSON.stringify(last)} is none, or not in its place`,
      );
    }
    if (files.length > 0 && dirname(listed.path) !== dirname(last)) {
      yield files;
      files = [];
    }
    files.push(listed);
    last = listed.path;
  }
  if (files.length > 0) yield files;
}

function difference(found: Sum, expected: Sum): string | undefined {
  if (found.bytes !== expected.bytes) {
    return `it has ${found.bytes} bytes where the backup had ${expected.bytes}`;
  }
  return found.sha256 === expected.sha256 ? undefined : 'its bytes were changed';
}

/** The folders two levels down, and whatever else lies on the way to them. */
async function* foldersOf(vault: string): AsyncGenerator<Below> {
  for (const outer of await namesIn(vault)) {
    if (!outer.isDirectory()) yield { path: outer.name, isFile: outer.isFile() };
    else {
      for (const inner of await namesIn(join(vault, outer.name))) {
        yield { path: `${outer.name}/${inner.name}`, isFile: inner.isFile() };
      }
    }
  }
}
