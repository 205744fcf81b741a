/**
 * Is this whole log what it says it is? Every entry is read once and everything else is derived from
 * that: leaf hashes, tiles, roots, keys, signatures, schemas, chains. Memory does not grow with the log.
 *
 *     entries ──► leaf hashes ──► tree ──► root = the head's?      tree.ts
 *        │                         └─────► tiles = the stored ones?
 *        └──► keys, signatures, records, chains                    entries.ts, chains.ts
 *
 * A tail that was cut off, head and all, leaves a perfect smaller log. Only a head that is known from
 * elsewhere shows it: the high-water file, or one that somebody kept.
 */
import { equalBytes } from '../../core/bytes.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../../core/checkpoint.ts';
import { decodeEntry } from '../../core/entry.ts';
import { SteleError, unverified } from '../../core/errors.ts';
import { parseNote, parseVerifierKey, type VerifierKey } from '../../core/note.ts';
import { parseRecord } from '../../core/record.ts';
import { leafIndex, treeSize } from '../../core/units.ts';
import type { SignatureChecker } from '../admit.ts';
import { EntryCheck } from './entries.ts';
import { type Finding, Findings } from './findings.ts';
import type { AuditReader, KnownHead } from './reader.ts';
import { TreeCheck } from './tree.ts';

export interface AuditOptions {
  readonly reader: AuditReader;
  /** The log's origin, where it is known from elsewhere. */
  readonly origin?: string | undefined;
  /** The log's keys, where they are known from elsewhere; else the log's own word is taken. */
  readonly keys?: readonly VerifierKey[] | undefined;
  /** Heads that the log must still contain. */
  readonly known: readonly KnownHead[];
  /** Checks signatures; nothing for the tree alone. */
  readonly checker: SignatureChecker | undefined;
  readonly progress?: (done: number, size: number) => void;
}

export interface AuditReport {
  /** Nothing failed and everything could be told. */
  readonly holds: boolean;
  /** Something failed. */
  readonly fails: boolean;
  readonly origin: string;
  readonly size: number;
  /** Base64 is for whoever prints it. */
  readonly root: Uint8Array;
  readonly firstBad: number | undefined;
  readonly findings: readonly Finding[];
  readonly counts: {
    readonly fail: number;
    readonly note: number;
    readonly unknown: number;
    readonly signatures: number;
    readonly records: number;
    readonly sources: number;
  };
  /** Known heads that the log was found to contain. */
  readonly contained: readonly KnownHead[];
}

export async function audit(options: AuditOptions): Promise<AuditReport> {
  const { reader, known, checker } = options;
  const findings = new Findings();
  const head = await openHead(options, findings);
  // A head that was published since ours was read is newer than this audit.
  const others = (await openOthers(options, head, findings)).filter((h) => h.size <= head.size);
  const marks = [...known, ...others];
  const tree = new TreeCheck(reader, findings);
  const entries =
    checker === undefined ? undefined : new EntryCheck(head.origin, checker, findings);
  const contained = await walk(options, head, { tree, entries, marks, findings });
  await compareControl(reader, entries, tree.size === head.size, findings);
  if (checker === undefined) {
    findings.add('note', 'the tree alone was checked, without signatures and records');
  }
  if (known.length === 0) {
    findings.add(
      'unknown',
      'a tail that was cut off cannot be seen: there is no high-water file, and no head was given with --known',
    );
  }
  const count = { fail: findings.count('fail'), unknown: findings.count('unknown') };
  return {
    holds: count.fail === 0 && count.unknown === 0,
    fails: count.fail > 0,
    origin: head.origin,
    size: head.size,
    root: head.root,
    firstBad: findings.firstBad(),
    findings: findings.list(),
    counts: {
      ...count,
      note: findings.count('note'),
      ...(entries?.counts ?? { signatures: 0, records: 0, sources: 0 }),
    },
    contained: contained.filter((mark) => known.includes(mark)),
  };
}

interface Parts {
  readonly tree: TreeCheck;
  readonly entries: EntryCheck | undefined;
  readonly marks: readonly KnownHead[];
  readonly findings: Findings;
}

/** Reads every entry once, and looks at the root at each size at which a head is known. */
async function walk(options: AuditOptions, head: Checkpoint, parts: Parts): Promise<KnownHead[]> {
  const { reader, progress } = options;
  const { tree, entries, marks, findings } = parts;
  const contained: KnownHead[] = [];
  const stops = [...new Set(marks.map((mark) => mark.size))].sort((a, b) => a - b);
  for (const mark of marks.filter((m) => m.size > head.size)) {
    findings.add(
      'fail',
      `the log has ${head.size} entries, and ${mark.from} knows ${mark.size}: its tail was cut off`,
    );
  }
  try {
    for await (const piece of reader.entries(leafIndex(0), head.size)) {
      for (let at = 0; at < piece.length; ) {
        const begin = tree.size;
        const stop = stops.find((size) => size > begin) ?? Number.POSITIVE_INFINITY;
        const part = piece.slice(at, at + Math.min(piece.length - at, stop - begin));
        at += part.length;
        await tree.add(part);
        await entries?.add(begin, part);
        contained.push(...compareRoots(tree, marks, findings));
      }
      progress?.(tree.size, head.size);
    }
  } catch (error) {
    if (!(error instanceof SteleError) || error.code !== 'unverified') throw error;
    findings.add('fail', error.message, tree.size);
  }
  await entries?.finish();
  if (tree.size === head.size) await tree.finish(head.root);
  else findings.add('fail', `reading ended at entry ${tree.size} of ${head.size}`);
  return contained;
}

function compareRoots(tree: TreeCheck, marks: readonly KnownHead[], findings: Findings) {
  const here = marks.filter((mark) => mark.size === tree.size);
  return here.filter((mark) => {
    const same = equalBytes(tree.root(), mark.root);
    if (!same) {
      findings.add('fail', `at size ${mark.size} the log has another root than ${mark.from} knows`);
    }
    return same;
  });
}

/** The head under audit, signed by a key that is trusted or that the log's genesis names. */
async function openHead(options: AuditOptions, findings: Findings): Promise<Checkpoint> {
  const bytes = await options.reader.checkpoint();
  const claimed = parseCheckpoint(parseNote(bytes).text);
  const origin = options.origin ?? claimed.origin;
  if (claimed.size === 0)
    throw unverified('head', 'a log has at least its genesis, this has size 0');
  const keys = options.keys ?? (await genesisKeys(options.reader, origin, findings));
  try {
    return openCheckpoint(bytes, origin, keys).checkpoint;
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    findings.add('fail', `the head: ${error.message}`);
    return claimed;
  }
}

/** Other heads that the log keeps. One whose signature fails is named and not followed. */
async function openOthers(options: AuditOptions, head: Checkpoint, findings: Findings) {
  const notes = await options.reader.otherHeads();
  if (notes.length === 0) return [];
  const keys = options.keys ?? (await genesisKeys(options.reader, head.origin, new Findings()));
  return notes.flatMap((bytes): KnownHead[] => {
    try {
      const { size, root } = openCheckpoint(bytes, head.origin, keys).checkpoint;
      return [{ from: 'a published head', size, root }];
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      findings.add('fail', `a published head: ${error.message}`);
      return [];
    }
  });
}

/** The keys that the log's first entry names: what it says of itself, for want of better. */
async function genesisKeys(
  reader: AuditReader,
  origin: string,
  findings: Findings,
): Promise<VerifierKey[]> {
  findings.add('note', 'the log’s keys are taken from its own genesis: no trust file was given');
  for await (const [first] of reader.entries(leafIndex(0), treeSize(1))) {
    if (first === undefined) break;
    const record = parseRecord(decodeEntry(first).payload, origin);
    if (record.kind === 'genesis')
      return record.genesis.log_keys.map((key) => parseVerifierKey(key));
  }
  throw unverified('entry 0', 'it is no genesis record, so the log’s keys are not known');
}

/** The log's own list of control records must be the true one: it is what its keys are read from. */
async function compareControl(
  reader: AuditReader,
  entries: EntryCheck | undefined,
  complete: boolean,
  findings: Findings,
): Promise<void> {
  const listed = entries === undefined || !complete ? undefined : await reader.control();
  if (entries === undefined || listed === undefined) return;
  const derived = new Set<number>(entries.control);
  const kept = new Set<number>(listed);
  for (const index of derived) {
    if (!kept.has(index))
      findings.add('fail', 'a control record that the log’s own list lacks', index);
  }
  for (const index of kept) {
    if (!derived.has(index))
      findings.add('fail', 'the log’s list names it as a control record', index);
  }
}
