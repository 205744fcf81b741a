/**
 * Putting a backup back, into a folder that has nothing in it.
 *
 *     verify all parts │ mark the folder │ copy │ accept the place │ take the mark away
 *                      A                                           B
 *
 * Before A nothing was changed. From A to B the folder has a mark that keeps every start away: a crash
 * leaves a folder to be removed, and never a data folder that lacks something. After B it is the only
 * place where its logs sign, as far as what else remembers them allows.
 */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { malformed, SteleError } from '../core/errors.ts';
import { acceptPlace } from '../log/guard.ts';
import { syncFolder, writeWhole } from '../storage/files.ts';
import { InstanceStore } from '../storage/instance.ts';
import { openForWriting } from '../storage/sqlite/database.ts';
import { copyFile, makeFolder, type Sum, someAtATime, syncPath } from './files.ts';
import { type Manifest, PARTS, type Part, vaultOf } from './manifest.ts';
import { checkApart, checkEmpty } from './places.ts';
import { type Finding, listedFiles, readManifest, verifyPart, type Watching } from './verify.ts';

export interface RestoreOptions extends Watching {
  readonly from: { readonly [part in Part]?: string | undefined } & { readonly data: string };
  /** The data folder that it becomes. */
  readonly data: string;
}

export interface Restored {
  /** Of the data part. */
  readonly manifest: Manifest;
  readonly files: number;
  readonly bytes: number;
  /** What the backup lacks or has too much; with any of these nothing was restored. */
  readonly findings: readonly (Finding & { readonly folder: string })[];
}

/** The mark of a folder that is being filled. */
const MARK = '.restoring';

/** Files that are copied at one time. */
const AT_A_TIME = 8;

interface Source {
  readonly part: Part;
  readonly folder: string;
  readonly manifest: Manifest;
}

export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { data, from } = options;
  const folders = PARTS.flatMap((part) =>
    from[part] === undefined ? [] : [[part, from[part]] as const],
  );
  checkApart([['the data folder', data], ...folders]);
  await checkEmpty(data);
  const sources: Source[] = [];
  for (const [part, folder] of folders) {
    sources.push({ part, folder, manifest: await readPart(part, folder) });
  }
  const verified = { files: 0, bytes: 0, findings: [] as (Finding & { folder: string })[] };
  for (const { folder, manifest } of sources) {
    const { files, bytes, findings } = await verifyPart(folder, manifest, options);
    verified.files += files;
    verified.bytes += bytes;
    verified.findings.push(...findings.map((finding) => ({ ...finding, folder })));
  }
  const [{ manifest } = unreachable()] = sources;
  if (verified.findings.length === 0) await fill(sources, options);
  return { manifest, ...verified };
}

function unreachable(): never {
  throw new Error('the data part is always asked for');
}

async function readPart(part: Part, folder: string): Promise<Manifest> {
  const manifest = await readManifest(folder);
  if (manifest.part === part) return manifest;
  throw malformed(folder, `it is the part ${manifest.part} of a backup where ${part} is expected`);
}

async function fill(sources: readonly Source[], options: RestoreOptions): Promise<void> {
  const { data } = options;
  await makeFolder(data);
  writeWhole(join(data, MARK), 'A backup is being put back here.\n', 0o600);
  try {
    for (const source of sources) await new Filling(source, options).run();
    accept(data, sources);
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    const rule = `${data} is no data folder yet: remove it, and restore again`;
    throw new SteleError(error.code, `${error.message}; ${rule}`, { cause: error });
  }
  rmSync(join(data, MARK));
  syncFolder(data);
}

class Filling {
  readonly #source: Source;
  readonly #options: RestoreOptions;
  /** Folders whose names have to reach the disk. */
  readonly #made = new Set<string>();

  constructor(source: Source, options: RestoreOptions) {
    this.#source = source;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { folder, manifest } = this.#source;
    for (const { path, ...sum } of manifest.files) {
      const vault = vaultOf(path);
      if (vault === undefined) await this.#copy(path, sum);
      else {
        for await (const files of listedFiles(join(folder, path))) {
          await someAtATime(files, AT_A_TIME, (file) =>
            this.#copy(`vault/${vault}/${file.path}`, file),
          );
        }
      }
    }
    for (const made of this.#made) await syncPath(made);
  }

  async #copy(path: string, { bytes, sha256 }: Sum): Promise<void> {
    const { progress, signal, data } = this.#options;
    progress(path);
    if (signal.aborted) throw new SteleError('storage', 'interrupted');
    const target = join(data, path);
    await makeFolder(dirname(target));
    for (let one = target; one !== data; ) this.#made.add((one = dirname(one)));
    const sum = await copyFile(join(this.#source.folder, path), target);
    // It was verified a moment ago: somebody is at work on the backup.
    if (sum?.bytes !== bytes || sum.sha256 !== sha256) {
      throw new SteleError('conflict', `${path} changed while it was copied`);
    }
  }
}

/** Makes this the place where the folder was written, and brings old files to this release's form. */
function accept(data: string, sources: readonly Source[]): void {
  for (const { name } of sources.flatMap(({ manifest }) => manifest.logs)) {
    openForWriting(join(data, 'logs', `${name}.db`), 'sqlite').close();
  }
  const instance = new InstanceStore(join(data, 'stele.db'));
  try {
    acceptPlace(instance);
  } finally {
    instance.close();
  }
}

/** Throws `conflict` where a restore was cut short: what is there may lack anything. */
export function checkRestored(data: string): void {
  if (!existsSync(join(data, MARK))) return;
  throw new SteleError(
    'conflict',
    `${data}: a backup was being put back here and is not complete: remove the folder, and restore again`,
  );
}
