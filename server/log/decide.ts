/**
 * What becomes of each entry of a batch: a new index, the index of the first entry it repeats, or a
 * refusal. Order matters here, and only here: the answer depends on everything that came before.
 */
import { equalBytes, toHex } from '../core/bytes.ts';
import { decodeEntry, gatewayKeyid, RECORD_TYPE, statementDigest } from '../core/entry.ts';
import { hasCode, SteleError, shown } from '../core/errors.ts';
import { parseRecord } from '../core/record.ts';
import { type Hash, type LeafIndex, leafIndex, type TreeSize, treeSize } from '../core/units.ts';
import { CANDIDATES_MAX, type LogStore } from '../storage/store.ts';
import type { Admitted } from './admit.ts';
import { Damaged, readStored } from './damaged.ts';
import { hashPrefix, type Lookups, recordPrefix } from './lookups.ts';
import type { QuotaDraft } from './quota.ts';
import type { Registry } from './registry.ts';
import type { Link, SourceDraft } from './sources.ts';

export type Decision = { readonly index: LeafIndex; readonly repeat: boolean } | SteleError;

export interface DecidePorts {
  readonly store: LogStore;
  readonly lookups: Lookups;
  readonly registry: Registry;
  readonly draft: SourceDraft;
  readonly quota: QuotaDraft;
}

/** What makes an entry the same as another, or one that contradicts it. */
export interface Identified {
  readonly keyid: string;
  readonly statement: Hash;
  /** Of a record: its source and id. */
  readonly source: string | undefined;
  readonly recordId: string | undefined;
}

/** What the stored entry at `index` is, read back from its bytes; throws `Damaged`. */
export function identify(bytes: Uint8Array, index: LeafIndex): Identified {
  return readStored(index, () => {
    const entry = decodeEntry(bytes);
    const record = entry.payloadType === RECORD_TYPE ? parseRecord(entry.payload) : undefined;
    return {
      keyid: gatewayKeyid(entry),
      statement: statementDigest(entry),
      source: record?.source.id,
      recordId: record?.record_id,
    };
  });
}

export async function decide(
  batch: readonly Admitted[],
  size: TreeSize,
  ports: DecidePorts,
): Promise<Decision[]> {
  const earlier = await readCandidates(batch, ports);
  const taken = new Map<string, { admitted: Admitted; index: LeafIndex }>();
  const crowds = new Map<string, number>();
  const decisions: Decision[] = [];
  let next: number = size;
  for (const [i, admitted] of batch.entries()) {
    try {
      ports.registry.checkSigners(admitted.entry, admitted.control);
      const { place = '', candidates = [] } = earlier[i] ?? {};
      const alike = withTaken(candidates, taken.get(keyOf(admitted)));
      const first = repeated(admitted, alike);
      if (first !== undefined) {
        decisions.push({ index: first, repeat: true });
        continue;
      }
      // What was logged before has its place, also once the log takes no more.
      ports.registry.checkOpen();
      if (admitted.link !== undefined) await checkOwner(admitted, ports);
      checkAlike(admitted, alike);
      const crowd = crowds.get(place) ?? candidates.length;
      checkCrowd(crowd, admitted);
      const index = leafIndex(next);
      // What the log's own records do not allow never becomes one of them.
      if (admitted.control) ports.registry.historyWith(admitted.entry, index);
      if (admitted.link !== undefined) {
        // Before genesis there are no rules, and control records come in order anyway.
        const continuity = admitted.control ? 'flag' : ports.registry.rules.continuity;
        await ports.draft.check(admitted.link, continuity, chainOf(admitted.link, ports));
      }
      // Last of all that may refuse: what is refused is not counted.
      takeQuota(admitted, ports);
      if (admitted.link !== undefined) await ports.draft.add(admitted.link, index);
      taken.set(keyOf(admitted), { admitted, index });
      crowds.set(place, crowd + 1);
      decisions.push({ index, repeat: false });
      next++;
    } catch (error) {
      // A disk that refuses refuses them all; one damaged entry concerns only those who need it.
      const isDisk = hasCode(error, 'storage') && !(error instanceof Damaged);
      if (!(error instanceof SteleError) || isDisk) throw error;
      decisions.push(error);
    }
  }
  return decisions;
}

function takeQuota({ bytes, control }: Admitted, { quota, registry }: DecidePorts): void {
  if (control) quota.take(bytes.length);
  else quota.take(bytes.length, registry.rules);
}

/**
 * What is found by one prefix stays so little that it can be read for every later entry. One gateway could
 * otherwise give a record id to so many sources that nobody's record of that id is found any more.
 */
function checkCrowd(crowd: number, { record }: Admitted): void {
  if (crowd < CANDIDATES_MAX) return;
  const what = record === undefined ? 'a statement' : `a record with id ${record.record_id}`;
  throw new SteleError(
    'conflict',
    `${what} would be one of over ${CANDIDATES_MAX} entries that are looked up alike: make another`,
  );
}

/**
 * A stranger to the source gets `forbidden`, also when it repeats what the owner said. A key that had the
 * source before it was handed over says nothing new there, but may still ask what became of what it said.
 */
async function checkOwner(admitted: Admitted, ports: DecidePorts): Promise<void> {
  const { link } = admitted;
  if (link === undefined) return;
  await ports.draft.check(link, 'flag', chainOf(link, ports));
}

function chainOf({ source }: Link, { registry }: DecidePorts) {
  return { owner: registry.ownerOf(source), follows: registry.previous !== undefined };
}

type Alike = Earlier['candidates'];

/** What is stored, and what came before in this very batch. */
function withTaken(
  earlier: Alike,
  inBatch: { readonly admitted: Admitted; readonly index: LeafIndex } | undefined,
): Alike {
  if (inBatch === undefined) return earlier;
  return [...earlier, { index: inBatch.index, what: identityOf(inBatch.admitted) }];
}

/** The index of the entry that this one repeats, if it does (P3). */
function repeated(admitted: Admitted, alike: Alike): LeafIndex | undefined {
  const first = alike.find(
    ({ what }) =>
      !(what instanceof Damaged) &&
      what.keyid === admitted.keyid &&
      equalBytes(what.statement, admitted.statement),
  );
  return first?.index;
}

/**
 * Throws `conflict` where the same source and record id was used for another statement: one of the two is
 * not what happened.
 */
function checkAlike({ record }: Admitted, alike: Alike): void {
  for (const { index, what } of alike) {
    if (what instanceof Damaged) throw what;
    if (record === undefined) continue;
    if (what.source === record.source.id && what.recordId === record.record_id) {
      throw new SteleError(
        'conflict',
        `record ${record.record_id} of source ${shown(record.source.id)} is already entry ${index}, ` +
          'with another statement',
      );
    }
  }
}

function identityOf(admitted: Admitted): Identified {
  return {
    keyid: admitted.keyid,
    statement: admitted.statement,
    source: admitted.record?.source.id,
    recordId: admitted.record?.record_id,
  };
}

/** Two entries of a batch that could be repeats of each other have the same key. */
function keyOf({ record, keyid, statement }: Admitted): string {
  return record === undefined
    ? `s ${keyid} ${toHex(statement)}`
    : `r ${record.source.id} ${record.record_id}`;
}

/** Where an entry is looked up, and the stored entries that are found there. */
interface Earlier {
  readonly place: string;
  readonly candidates: readonly {
    readonly index: LeafIndex;
    readonly what: Identified | Damaged;
  }[];
}

/** For each entry of the batch, the stored entries that may be the same: asked for all at once. */
async function readCandidates(
  batch: readonly Admitted[],
  { lookups, store }: DecidePorts,
): Promise<Earlier[]> {
  const prefixes = { record: new Set<number>(), statement: new Set<number>() };
  const wanted = batch.map(({ record, statement }) => {
    const kind = record === undefined ? ('statement' as const) : ('record' as const);
    const prefix = record === undefined ? hashPrefix(statement) : recordPrefix(record.record_id);
    prefixes[kind].add(prefix);
    return { kind, prefix };
  });
  const found = {
    record: await findAll('record', [...prefixes.record], lookups),
    statement: await findAll('statement', [...prefixes.statement], lookups),
  };
  const read = new Map<LeafIndex, Identified | Damaged>();
  for (const index of new Set([...found.record.values(), ...found.statement.values()].flat())) {
    const [bytes] = await store.readEntries(index, treeSize(index + 1));
    if (bytes !== undefined) read.set(index, identifyOr(bytes, index));
  }
  return wanted.map(({ kind, prefix }) => ({
    place: `${kind} ${prefix}`,
    candidates: (found[kind].get(prefix) ?? []).flatMap((index) => {
      const what = read.get(index);
      return what === undefined ? [] : [{ index, what }];
    }),
  }));
}

function identifyOr(bytes: Uint8Array, index: LeafIndex): Identified | Damaged {
  try {
    return identify(bytes, index);
  } catch (error) {
    if (error instanceof Damaged) return error;
    throw error;
  }
}

async function findAll(
  kind: 'record' | 'statement',
  prefixes: readonly number[],
  lookups: Lookups,
): Promise<Map<number, LeafIndex[]>> {
  const found = await lookups.find(kind, prefixes);
  return new Map(prefixes.map((prefix, i) => [prefix, found[i] ?? []]));
}
