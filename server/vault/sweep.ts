/**
 * The sweep: content whose record the log never took, and files whose erasure was interrupted.
 *
 * A batch stores its content before the log commits, so a crash in between leaves content that no entry
 * refers to. Each row is asked about once, after a time that no commit takes, and then either settled
 * for good or removed: the cost is that of the records stored since the last sweep.
 */
import type { FileRow } from './keys.ts';
import { STATE } from './keys.ts';
import { type Disk, removeFiles, type Turns } from './place.ts';
import type { RecordKey } from './staging.ts';

const PAGE_ROWS = 256;

export interface Sweep {
  readonly disk: Disk;
  readonly turns: Turns;
  /** Whether content of this record is on its way in, which may rely on what is stored. */
  readonly isOpen: (record: Uint8Array) => boolean;
  readonly isLogged: (key: RecordKey) => Promise<boolean>;
  /** Rows stored later than this are left alone: their commit may be under way. */
  readonly untilMs: number;
}

/** Resolves to the number of files' rows that were removed. */
export async function sweep(work: Sweep): Promise<number> {
  const { disk, turns, untilMs } = work;
  let removed = 0;
  for (let after = -1; ; ) {
    const rows = disk.keys.unsettled(after, untilMs, PAGE_ROWS);
    const last = rows.at(-1);
    if (last === undefined) return removed;
    after = last.seq;
    const logged = new Set<number>();
    for (const { seq, state, source, recordId } of rows) {
      if (state === STATE.stored && (await work.isLogged({ source, recordId }))) logged.add(seq);
    }
    removed += await turns.run(() => sweepPage(work, rows, logged));
  }
}

async function sweepPage(
  { disk, isOpen, untilMs }: Sweep,
  asked: readonly FileRow[],
  logged: ReadonlySet<number>,
): Promise<number> {
  const settled: number[] = [];
  const gone: FileRow[] = [];
  for (const row of asked) {
    // Asked again, now that no commit can come in between.
    const now = disk.keys.unsettled(row.seq - 1, untilMs, 1)[0];
    if (now?.seq !== row.seq) continue;
    if (now.state === STATE.erased) gone.push(now);
    else if (!logged.has(row.seq)) {
      if (!isOpen(now.record)) gone.push(now);
    } else if (await disk.files.exists(disk.layout.content(now))) {
      settled.push(row.seq);
    } else {
      // A commit that never finished, of a record that was sent again and logged.
      gone.push(now);
    }
  }
  disk.keys.settle(settled);
  await removeFiles(disk, gone);
  return gone.length;
}
