/**
 * One log checked: its tree, and its content where the key-encryption key is there. It opens files of its
 * own for reading only, so it runs as well in a thread of the server as in the process of a command.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SteleError } from '../../core/errors.ts';
import { StoreReader } from '../../log/audit/store-reader.ts';
import { checkTree } from '../../log/check.ts';
import { Pace } from '../../log/pace.ts';
import type { CheckRow } from '../../storage/checks.ts';
import { SqliteStore } from '../../storage/sqlite/log-store.ts';
import { checkVault } from '../../vault/check.ts';

export interface CheckTask {
  readonly data: string;
  /** NAME, or NAME.access. */
  readonly name: string;
  readonly origin: string;
  /** Nothing where content is not checked. */
  readonly kek: Uint8Array | undefined;
  readonly bytesPerSecond: number;
}

export type Checked = Pick<CheckRow, 'size' | 'files' | 'tree' | 'content' | 'found'>;

interface Half {
  readonly count: number;
  readonly damage: readonly string[];
}

export async function checkOne(
  task: CheckTask,
  progress: (line: string) => void,
): Promise<Checked> {
  const pace = new Pace({
    bytesPerSecond: task.bytesPerSecond,
    now: () => performance.now(),
    sleep: (ms) => delay(ms),
  });
  const tree = await judged(() => treeOf(task, pace, progress));
  const content = await judged(() => contentOf(task, pace, progress));
  return {
    size: tree.count,
    files: content.count,
    tree: tree.verdict,
    content: content.verdict,
    found: [...tree.found, ...content.found],
  };
}

async function treeOf(
  { data, name, origin }: CheckTask,
  pace: Pace,
  progress: (line: string) => void,
): Promise<Half> {
  const store = SqliteStore.openReadOnly(join(data, 'logs', `${name}.db`));
  try {
    const { size, damage } = await checkTree({
      reader: new StoreReader(store),
      origin,
      pace,
      progress: (done, of) => progress(`${name}: ${Math.floor((100 * done) / of)} %`),
    });
    return { count: size, damage };
  } finally {
    await store.close();
  }
}

async function contentOf(
  { data, name, kek }: CheckTask,
  pace: Pace,
  progress: (line: string) => void,
): Promise<Half | undefined> {
  const keysDb = join(data, 'vault-keys', `${name}.db`);
  // A log that never had content has nothing to check, and an access log never has.
  if (!existsSync(keysDb)) return { count: 0, damage: [] };
  if (kek === undefined) return undefined;
  const { files, damage } = await checkVault({
    dir: join(data, 'vault', name),
    keysDb,
    kek,
    spend: (bytes) => pace.spend(bytes),
    progress: (count) => progress(`${name}: ${count} content files`),
  });
  return { count: files, damage };
}

/** What a half of the check says. What could not be read at all is not called damaged. */
async function judged(work: () => Promise<Half | undefined>) {
  try {
    const half = await work();
    if (half === undefined) return { verdict: 'unknown', count: 0, found: [] } as const;
    const { count, damage } = half;
    return { verdict: damage.length === 0 ? 'holds' : 'damaged', count, found: damage } as const;
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    return { verdict: 'unknown', count: 0, found: [error.message] } as const;
  }
}
