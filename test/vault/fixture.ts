/** Records with content, and vaults in a folder of their own that can be stopped at any step. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll } from 'vitest';
import { concat, toBase64url, utf8 } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { SteleError } from '../../server/core/errors.ts';
import type { Json } from '../../server/core/json.ts';
import { type Files, FsyncFailed, nodeFiles } from '../../server/vault/files.ts';
import type { KeyWriter } from '../../server/vault/key-writer.ts';
import { type KeyTable, type KeyTableOptions, SqliteKeys } from '../../server/vault/keys.ts';
import { type RecordKey, type Staging, Vault } from '../../server/vault/vault.ts';
import { PowerCut } from './power.ts';

export const ORIGIN = 'log.example/logs/default';
const KEK = new Uint8Array(32).fill(9);

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder that is removed after the test file's last test. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'stele-vault-'));
  folders.push(folder);
  return folder;
}

export interface OpenOptions {
  readonly kek?: Uint8Array;
  readonly origin?: string;
  readonly now?: () => number;
  readonly faults?: Faults;
  /** The thread that adds to the key database. */
  readonly keyWriter?: KeyWriter;
}

export function openVault(folder: string, options: OpenOptions = {}): Promise<Vault> {
  const { kek = KEK, origin = ORIGIN, now = () => 1_000, faults, keyWriter } = options;
  return Vault.open({
    dir: join(folder, 'vault', 'default'),
    keysDb: join(folder, 'vault-keys', 'default.db'),
    kek,
    origin,
    now,
    keyWriter,
    ...(faults === undefined
      ? {}
      : {
          files: faults.files(nodeFiles, folder),
          openKeys: (o: KeyTableOptions) => faults.keys(o),
        }),
  });
}

/** Bytes that look like text, differ from place to place, and can be searched for. */
export function plain(length: number, name = 'x'): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0, i = 0; at < length; i++) {
    const word = utf8(`secret ${name} ${i} of a body; `).subarray(0, length - at);
    bytes.set(word, at);
    at += word.length;
  }
  return bytes;
}

export async function* stream(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return concat(...parts);
}

export interface Content {
  readonly key: RecordKey;
  readonly commitments: ReadonlyMap<string, string>;
  readonly disclosures: ReadonlyMap<string, string>;
  readonly bodies: ReadonlyMap<string, Uint8Array>;
}

/** A record with a committed value for each field; bytes stand for a body. */
export function content(
  recordId: string,
  fields: { readonly [name: string]: Json | Uint8Array },
  source = 'proxy-1',
): Content {
  const commitments = new Map<string, string>();
  const disclosures = new Map<string, string>();
  const bodies = new Map<string, Uint8Array>();
  for (const [name, value] of Object.entries(fields)) {
    const body = value instanceof Uint8Array ? value : undefined;
    if (body !== undefined) bodies.set(name, body);
    const committed = body === undefined ? (value as Json) : bodyValue(body);
    const { disclosure, digest } = makeDisclosure(name, committed, new Uint8Array(randomBytes(16)));
    commitments.set(name, digest);
    disclosures.set(name, disclosure);
  }
  return { key: { source, recordId }, commitments, disclosures, bodies };
}

export function bodyValue(body: Uint8Array) {
  const sha256 = toBase64url(new Uint8Array(createHash('sha256').update(body).digest()));
  return { bytes: body.length, media_type: 'application/json', sha256 };
}

/** Stages all of a record's content, or the fields named. */
export async function stage(
  vault: Vault,
  record: Content,
  fields: readonly string[] = [...record.commitments.keys()],
): Promise<Staging> {
  const staging = await vault.begin(record.key, record.commitments);
  for (const field of fields) await staging.addDisclosure(record.disclosures.get(field) ?? '');
  for (const field of fields) {
    const body = record.bodies.get(field);
    if (body !== undefined) await staging.addBody(field, stream(body));
  }
  return staging;
}

export async function store(vault: Vault, record: Content, fields?: readonly string[]) {
  await vault.commitAll([await stage(vault, record, fields)]);
}

/** Whether all of a record's content is there, byte for byte. Throws where it is damaged. */
export async function isWhole(vault: Vault, record: Content): Promise<boolean> {
  const stored = new Set((await vault.fields(record.key)).map(({ field }) => field));
  for (const [field, disclosure] of record.disclosures) {
    if (!stored.has(field)) return false;
    if ((await vault.disclosure(record.key, field)) !== disclosure) return false;
  }
  for (const [field, body] of record.bodies) {
    const { chunks } = await vault.body(record.key, field);
    if (!Buffer.from(await gather(chunks)).equals(body)) return false;
  }
  return true;
}

/** Every file below a folder, by its path. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((path) => statSync(path).isFile());
}

export function contentFiles(folder: string): string[] {
  return filesBelow(join(folder, 'vault'));
}

/** Whether any file below `folder` holds these bytes. */
export function holds(folder: string, bytes: string | Uint8Array): boolean {
  return filesBelow(folder).some((path) => readFileSync(path).includes(Buffer.from(bytes)));
}

/** The process died here, as far as the code under test can tell. */
export class Killed extends Error {}

export const FAULT_KINDS = [
  'killed before',
  'killed after',
  'without power before',
  'without power after',
  'failing before',
  'failing after',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/**
 * Notes every step that a vault asks of the disk, and stops one of them.
 *
 * A step is known by what is done to which file, and never by its place in the order of all steps: the
 * files of a batch are written at the same time, and the disk decides which of them is served first.
 */
export class Faults {
  readonly steps: string[] = [];
  readonly power = new PowerCut();
  /** How often each step was done since the vault was opened or a step was planned. */
  readonly #done = new Map<string, number>();
  #plan: { readonly step: string; readonly kind: FaultKind } | undefined;
  #dead = false;
  #keys: KeyTable | undefined;
  readonly #open = new Set<() => Promise<void>>();

  /** The steps that `work` takes, counted from its beginning. */
  async during(work: () => Promise<void>): Promise<readonly string[]> {
    this.#done.clear();
    const before = this.steps.length;
    await work();
    return this.steps.slice(before);
  }

  /** The step fails, counted from now on as `during` counts. */
  plan(step: string, kind: FaultKind): void {
    this.#done.clear();
    this.#plan = { step, kind };
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** What the death of a process does to what it has open, and a power failure to what is not synced. */
  async bury(): Promise<void> {
    await this.#keys?.close();
    for (const close of this.#open) await close();
    if (this.#plan?.kind.startsWith('without power') === true) this.power.cut();
  }

  /** `root` is left out of the steps' names: every test has a folder of its own. */
  files(disk: Files, root: string): Files {
    const real = this.power.files(disk);
    const wrap = <T>(name: string, path: string, work: () => Promise<T>): Promise<T> =>
      this.#step(`${name} ${relative(root, path)}`, work);
    return {
      makeFolder: (path) => wrap('make folder', path, () => real.makeFolder(path)),
      list: (path) => wrap('list', path, () => real.list(path)),
      create: (path) =>
        wrap('create', path, async () => {
          const output = await real.create(path);
          const close = () => output.close();
          this.#open.add(close);
          return {
            write: (parts) => wrap('write', path, () => output.write(parts)),
            sync: () => wrap('fsync file', path, () => output.sync()),
            close: () =>
              wrap('close', path, async () => {
                this.#open.delete(close);
                await close();
              }),
          };
        }),
      rename: (from, to) => wrap('rename', from, () => real.rename(from, to)),
      syncFolder: (path) => wrap('fsync folder', path, () => real.syncFolder(path)),
      remove: (path) => wrap('remove', path, () => real.remove(path)),
      exists: (path) => wrap('exists', path, () => real.exists(path)),
      open: (path) =>
        wrap('open', path, async () => {
          const input = await real.open(path);
          if (input === undefined) return undefined;
          const close = () => input.close();
          this.#open.add(close);
          const closed = async () => {
            this.#open.delete(close);
            await close();
          };
          return { size: input.size, read: input.read, close: closed };
        }),
    };
  }

  keys(options: KeyTableOptions): KeyTable {
    const real = SqliteKeys.open(options);
    this.#keys = real;
    const wrap = this.#syncStep.bind(this);
    return {
      files: (record) => wrap('read keys', () => real.files(record)),
      isErased: (record) => wrap('read erased', () => real.isErased(record)),
      add: (files, touched, now) => this.#step('add keys', () => real.add(files, touched, now)),
      unsettled: (after, until, limit) =>
        wrap('read unsettled', () => real.unsettled(after, until, limit)),
      settle: (seqs) => wrap('settle keys', () => real.settle(seqs)),
      remove: (seqs) => wrap('remove keys', () => real.remove(seqs)),
      erase: (record, now) => wrap('erase keys', () => real.erase(record, now)),
      close: () => real.close(),
    };
  }

  #before(name: string): FaultKind | undefined {
    if (this.#dead) throw new Killed(name);
    const times = (this.#done.get(name) ?? 0) + 1;
    this.#done.set(name, times);
    const step = times === 1 ? name : `${name}, ${times}`;
    this.steps.push(step);
    const kind = this.#plan?.step === step ? this.#plan.kind : undefined;
    if (kind?.endsWith('before')) this.#stop(name, kind);
    return kind;
  }

  #stop(name: string, kind: FaultKind): never {
    if (!kind.startsWith('failing')) {
      this.#dead = true;
      throw new Killed(name);
    }
    const cause = new Error('EIO, injected');
    if (name.startsWith('fsync')) throw new FsyncFailed(name, { cause });
    throw new SteleError('storage', `${name}: EIO, injected`, { cause });
  }

  async #step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const kind = this.#before(name);
    const result = await work();
    if (this.#dead) throw new Killed(name);
    if (kind !== undefined) this.#stop(name, kind);
    return result;
  }

  #syncStep<T>(name: string, work: () => T): T {
    const kind = this.#before(name);
    const result = work();
    if (kind !== undefined) this.#stop(name, kind);
    return result;
  }
}
