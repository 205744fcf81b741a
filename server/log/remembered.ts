/**
 * A log's files held to what is remembered of it, also without opening it for work: `doctor` and `restore`
 * ask what a start would ask, before there is one.
 */
import { SteleError } from '../core/errors.ts';
import { EMPTY_ROOT } from '../core/merkle.ts';
import type { TreeSize } from '../core/units.ts';
import type { Head, LogStore, UnsignedHead } from '../storage/store.ts';
import { contradiction, type Memories, type Recollection, type Remembering } from './memories.ts';
import { Reader } from './reader.ts';
import { restoreTree } from './recover.ts';

/** A log with its newest head, and perhaps one that is staged: that one too may be remembered. */
export function rememberingOf(
  name: string,
  reader: Reader,
  head: Head,
  staged: UnsignedHead | undefined,
): Remembering {
  const rootOf = async (at: TreeSize) => {
    if (at <= head.size) return reader.root(at);
    // Nothing was ever signed between the two.
    return at === staged?.size ? staged.root : EMPTY_ROOT;
  };
  return { name, size: (staged ?? head).size, rootOf };
}

export interface Remembered {
  readonly answers: readonly Recollection[];
  /** In words, why the log may not sign; nothing if it may. */
  readonly reason: string | undefined;
}

/** Rejects with `storage` where what is stored does not hash to its own head. */
export async function compareWithMemories(
  store: LogStore,
  { name, origin }: { readonly name: string; readonly origin: string },
  memories: Memories,
): Promise<Remembered> {
  const head = await store.readHead();
  if (head === undefined) throw new SteleError('storage', `log ${name} is empty`);
  const tree = await restoreTree(store, head);
  const reader = new Reader(store, () => tree);
  const staged = (await store.readStaged())?.head;
  const answers = await memories.ask(origin);
  const reason = await contradiction(rememberingOf(name, reader, head, staged), answers);
  return { answers, reason };
}
