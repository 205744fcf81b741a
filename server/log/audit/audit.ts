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
import type { Checkpoint } from '../../core/checkpoint.ts';
import { decodeEntry } from '../../core/entry.ts';
import { SteleError, unverified } from '../../core/errors.ts';
import { parseVerifierKey, type VerifierKey } from '../../core/note.ts';
import { parseRecord } from '../../core/record.ts';
import type { TrustedKey } from '../../core/trust.ts';
import { leafIndex, treeSize } from '../../core/units.ts';
import type { KeyHistory } from '../../verify/key-history.ts';
import type { SignatureChecker } from '../admit.ts';
import { Registry } from '../registry.ts';
import { EntryCheck } from './entries.ts';
import { type Finding, Findings } from './findings.ts';
import { type ClaimedHead, judgeHead, readClaim } from './heads.ts';
import type { AuditReader, KnownHead } from './reader.ts';
import { TreeCheck } from './tree.ts';

export interface AuditOptions {
  readonly reader: AuditReader;
  /** The log's origin, where it is known from elsewhere. */
  readonly origin?: string | undefined;
  /** The log's keys, where they are known from elsewhere; else the log's own word is taken. */
  readonly keys?: readonly TrustedKey[] | undefined;
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
  const head = await readHead(options);
  const origin = options.origin ?? head.origin;
  // A head that was published since ours was read is newer than this audit.
  const others = (await readOthers(reader, findings)).filter((h) => h.size <= head.size);
  const marks = [...known, ...others];
  const tree = new TreeCheck(reader, findings);
  const entries = checker === undefined ? undefined : new EntryCheck(origin, checker, findings);
  const contained = await walk(options, head, { tree, entries, marks, findings });
  const isComplete = tree.size === head.size;
  await compareControl(reader, entries, isComplete, findings);
  const history =
    entries === undefined ? await listedHistory(reader, origin, findings) : entries.history;
  await judgeHeads(options, origin, [head, ...others], {
    history: isComplete ? history : undefined,
    findings,
  });
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
    origin,
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

/** The head under audit, as it claims to be: who signed it is judged once the log's records are read. */
async function readHead({ reader }: AuditOptions): Promise<ClaimedHead> {
  const head = readClaim(await reader.checkpoint(), 'the head', false);
  if (head.size === 0) throw unverified('head', 'a log has at least its genesis, this has size 0');
  return head;
}

/** Other heads that the log keeps. */
async function readOthers(reader: AuditReader, findings: Findings): Promise<ClaimedHead[]> {
  const notes = await reader.otherHeads();
  return notes.flatMap((bytes) => {
    try {
      return [readClaim(bytes, 'a published head', true)];
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      findings.add('fail', `a published head: ${error.message}`);
      return [];
    }
  });
}

async function judgeHeads(
  { reader, keys }: AuditOptions,
  origin: string,
  heads: readonly ClaimedHead[],
  { history, findings }: { readonly history: KeyHistory | undefined; readonly findings: Findings },
): Promise<void> {
  const isAlone = keys === undefined && history === undefined;
  const genesis = isAlone ? await genesisKeys(reader, origin) : [];
  if (keys === undefined) {
    const what = 'the log’s keys are taken from its own records: no trust file was given';
    findings.add('note', what);
  }
  for (const head of heads) judgeHead(head, { origin, history, trusted: keys, genesis }, findings);
}

/**
 * What the records that the log itself lists say of its keys, for an audit of the tree alone: they are in the
 * tree, and one that the list lacks can only make a good line seem strange.
 */
async function listedHistory(
  reader: AuditReader,
  origin: string,
  findings: Findings,
): Promise<KeyHistory | undefined> {
  const registry = new Registry(origin);
  for (const index of (await reader.control()) ?? []) {
    try {
      for await (const [bytes] of reader.entries(index, treeSize(index + 1))) {
        if (bytes !== undefined) registry.replay(bytes, index);
      }
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      findings.add('fail', `as a control record: ${error.message}`, index);
    }
  }
  return registry.history;
}

/** The keys that the log's first entry names: what it says of itself, for want of better. */
async function genesisKeys(reader: AuditReader, origin: string): Promise<VerifierKey[]> {
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
