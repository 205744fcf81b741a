/** A data folder with a log of 300 entries and some content, and backups of it, made in this process. */
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll } from 'vitest';
import type { Manifest } from '../../server/backup/manifest.ts';
import { type Backup, type BackupOptions, takeBackup } from '../../server/backup/take.ts';
import { readManifest } from '../../server/backup/verify.ts';
import { type Config, loadConfig } from '../../server/config.ts';
import { SteleError } from '../../server/core/errors.ts';
import type { PublicKey } from '../../server/core/keys.ts';
import { openInstance } from '../../server/main/instance.ts';
import { LocalLog } from '../../server/main/local-log.ts';
import { setUp } from '../../server/main/setup.ts';
import { Author, type Draft } from '../fault/author.ts';
import { makeSigner } from '../log/make.ts';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder that is removed after the test file's last test. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'stele-backup-'));
  folders.push(folder);
  return folder;
}

export const program = {
  version: '0.0.0-test',
  fatal: (error: Error) => {
    throw error;
  },
};

export function configOf(folder: string, env: Readonly<Record<string, string>> = {}): Config {
  return loadConfig({
    cwd: folder,
    data: join(folder, 'data'),
    env: {
      STELE_STATE: join(folder, 'state'),
      STELE_VERIFY_THREADS: '1',
      STELE_LIMITS_DISK_FLOOR_BYTES: '0',
      ...env,
    },
  });
}

/** `accept` where the folder is a copy. */
export function openData(folder: string, options: { readonly accept?: boolean } = {}) {
  const logger = pino({ level: 'silent' });
  return openInstance({ config: configOf(folder), logger, ...program, ...options });
}

export interface Made {
  /** With `data` and `state` in it. */
  readonly folder: string;
  readonly data: string;
  /** What has content in the vault. */
  readonly drafts: readonly Draft[];
  /** A key that is registered nowhere. */
  readonly key: PublicKey;
}

/** Entries that fill a tile, so that a full one is stored. */
const PLAIN = 300;
const WITH_CONTENT = 3;

export async function makeData(): Promise<Made> {
  const folder = makeFolder();
  const instance = await openData(folder);
  try {
    await setUp(instance, configOf(folder), { proxy: false });
    const author = await instance.logs.use('default', async (log) => {
      const author = new Author(log.origin, 'gateway');
      await log.registerGateway(author.signer.publicKey);
      const items = await Promise.all(
        Array.from({ length: PLAIN }, () => author.next()).map(async (draft) => ({
          admitted: await log.admit(await author.sign(draft)),
        })),
      );
      for (const answer of await log.submit(items)) if (answer instanceof SteleError) throw answer;
      return author;
    });
    const drafts = await submitContent(instance, author);
    return { folder, data: join(folder, 'data'), drafts, key: makeSigner().publicKey };
  } finally {
    await instance.close();
  }
}

async function submitContent(
  { logs, vaults }: Awaited<ReturnType<typeof openData>>,
  author: Author,
): Promise<Draft[]> {
  const { fatal } = program;
  const local = new LocalLog({ logs, vaults, name: 'default', bodyBytesMax: 1e9, fatal });
  const drafts: Draft[] = [];
  for (let i = 0; i < WITH_CONTENT; i++) {
    const bytes = new Uint8Array(600_000 * i + 10).fill(i);
    const draft = author.next([{ field: 'request.body', bytes }]);
    await local.submit(await author.sign(draft), {
      disclosures: draft.disclosures,
      bodies: draft.bodies.map((body) => ({
        field: body.field,
        bytes: body.bytes.length,
        open: async function* () {
          yield body.bytes;
        },
      })),
    });
    drafts.push(draft);
  }
  return drafts;
}

/** Where the parts of one backup lie. */
export function placesIn(folder: string) {
  return {
    data: join(folder, 'b-data'),
    keys: join(folder, 'b-keys'),
    'vault-keys': join(folder, 'b-vault-keys'),
  };
}

export function take(
  data: string,
  more: Partial<BackupOptions> & Pick<BackupOptions, 'to'>,
): Promise<Backup> {
  return takeBackup({
    data,
    except: [],
    version: program.version,
    nowMs: Date.UTC(2026, 10, 29),
    id: '0123456789abcdef',
    progress: () => {},
    signal: new AbortController().signal,
    ...more,
  });
}

export const watching = { progress: () => {}, signal: new AbortController().signal };

/** A copy of a backup, to be spoiled. */
export function copyOf(folder: string): string {
  const copy = join(makeFolder(), 'copy');
  cpSync(folder, copy, { recursive: true });
  return copy;
}

export async function manifestOf(folder: string): Promise<Manifest> {
  return await readManifest(folder);
}

/** Every file below a folder, by its path in it. */
export function pathsBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => !file.isDirectory())
    .map((file) => join(file.parentPath, file.name).slice(folder.length + 1))
    .sort();
}
