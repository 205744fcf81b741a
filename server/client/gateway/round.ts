/**
 * One round: some statements get their numbers, are chained and signed together.
 *
 *     gap? │ record record record        one window over all of them, or a signature if it is only one
 *          │ opaque opaque               a signature each: their neighbors' hashes could tell something
 *
 * Nothing here is sent, and nothing is on disk: whoever made a round may throw it away.
 */
import { sha256, toBase64url } from '../../core/bytes.ts';
import { decodeEntry, RECORD_TYPE } from '../../core/entry.ts';
import { invariant } from '../../core/errors.ts';
import { formatRecord, parseRecord } from '../../core/record.ts';
import type { Signer } from '../../keys/signer.ts';
import { keptFrom, remade, type Standing } from '../remake.ts';
import { signEntry, signWindow } from '../sign.ts';
import type { Told, Waiting } from './line.ts';
import type { Lost } from './state.ts';
import { isOpaque, type NewRecord, placed, type Speaker } from './statement.ts';

/** A signed entry on its way into the log. */
export interface Item {
  readonly entry: Uint8Array;
  /** Of a record: its number, and the hash before it. */
  readonly link: Pick<Standing, 'seq' | 'prev'> | undefined;
  /** The numbers that it explains, of a gap record of the gateway's own. */
  readonly explains: Lost | undefined;
  /** Nobody, of a gap record. */
  readonly told: Told | undefined;
}

/** Where the chain stands: the number of the next record, and the hash of the last one. */
export interface Chain {
  readonly next: number;
  readonly prev: string | null;
}

export interface Making {
  readonly log: string;
  readonly speaker: Speaker;
  readonly signer: Signer;
  readonly newRecordId: () => string;
  /** The time of records that the gateway makes itself. */
  readonly now: () => string;
}

export interface Round extends Chain {
  readonly items: readonly Item[];
}

/** What becomes an entry. */
type Source =
  | { readonly kind: 'new'; readonly waiting: Waiting }
  | { readonly kind: 'gap'; readonly lost: Lost }
  | { readonly kind: 'again'; readonly item: Item };

/** A round of what waits, with a gap record for each run of numbers that was lost. */
export function makeRound(
  making: Making,
  from: Chain,
  lost: readonly Lost[],
  taken: readonly Waiting[],
): Promise<Round> {
  return make(making, from, [
    ...lost.map((run) => ({ kind: 'gap', lost: run }) as const),
    ...taken.map((waiting) => ({ kind: 'new', waiting }) as const),
  ]);
}

/**
 * The same once more for another log: records that end the chain keep their numbers, and all others get new
 * ones. For the log they were made for, none keeps its own.
 */
export function remakeRound(
  making: Making,
  chain: Chain,
  lost: readonly Lost[],
  items: readonly Item[],
  reason: 'rolled-over' | 'refused',
): Promise<Round> {
  const opaque = items.filter(({ link }) => link === undefined);
  const records = items.filter(({ link }) => link !== undefined);
  const seqs = records.map(({ link }) => (link as Standing).seq);
  const keep = reason === 'rolled-over' ? keptFrom(seqs, chain.next) : seqs.length;
  const kept = records.slice(keep);
  const others = records.slice(0, keep);
  const [first] = kept;
  const start = first?.link === undefined ? chain : { next: first.link.seq, prev: first.link.prev };
  const gone = withLost(lost, seqs.slice(0, keep), reason);
  const again = (item: Item) => ({ kind: 'again', item }) as const;
  return make(making, start, [
    ...opaque.map(again),
    ...kept.map(again),
    ...gone.map((run) => ({ kind: 'gap', lost: run }) as const),
    ...others.map(again),
  ]);
}

/** An entry that an earlier process signed, and who is told of it unless it is the gateway's own gap record. */
export function itemOf(entry: Uint8Array, told?: Told): Item {
  const { payloadType, payload } = decodeEntry(entry);
  if (payloadType !== RECORD_TYPE) return { entry, link: undefined, explains: undefined, told };
  const record = parseRecord(payload);
  const { id, seq, prev } = record.source;
  const isOwn = record.kind === 'gap' && record.gap.source === id && record.gap.seq_from !== seq;
  const explains = isOwn
    ? { from: record.gap.seq_from, to: record.gap.seq_to, reason: record.gap.reason }
    : undefined;
  return { entry, link: { seq, prev }, explains, told: isOwn ? undefined : told };
}

/** Runs of lost numbers with some more: what touches, for one reason, is one run. */
export function withLost(
  lost: readonly Lost[],
  seqs: readonly number[],
  reason: string,
): readonly Lost[] {
  const runs: Lost[] = [];
  const all = [...lost, ...seqs.map((seq) => ({ from: seq, to: seq, reason }))];
  for (const run of all.sort((a, b) => a.from - b.from)) {
    const last = runs.at(-1);
    const touches = last !== undefined && last.reason === run.reason && run.from <= last.to + 1;
    if (touches) runs[runs.length - 1] = { ...last, to: Math.max(last.to, run.to) };
    else runs.push(run);
  }
  return runs;
}

async function make(making: Making, from: Chain, sources: readonly Source[]): Promise<Round> {
  let { next, prev } = from;
  const drafts = sources.map((source) => {
    const standing = { log: making.log, seq: next, prev };
    const payload = payloadOf(source, making, standing);
    if (payload === undefined) return { source, link: undefined, payload: undefined };
    prev = toBase64url(sha256(payload));
    next++;
    return { source, link: { seq: standing.seq, prev: standing.prev }, payload };
  });
  const payloads = drafts.flatMap(({ payload }) => (payload === undefined ? [] : [payload]));
  const signed = await signRecords(making, payloads);
  const opaque = await Promise.all(
    drafts.map(({ source, link }) =>
      link === undefined ? opaqueEntry(source, making) : undefined,
    ),
  );
  let at = 0;
  const items = drafts.map(({ source, link }, i): Item => {
    const entry = link === undefined ? opaque[i] : signed[at++];
    invariant(entry !== undefined, 'what is made is signed');
    return { entry, link, ...carriedBy(source) };
  });
  return { items, next, prev };
}

function carriedBy(source: Source): Pick<Item, 'explains' | 'told'> {
  switch (source.kind) {
    case 'new':
      return { told: source.waiting, explains: undefined };
    case 'gap':
      return { told: undefined, explains: source.lost };
    case 'again':
      return { told: source.item.told, explains: source.item.explains };
  }
}

/** The bytes of a record at its place; nothing for opaque bytes, which have none. */
function payloadOf(source: Source, making: Making, standing: Standing): Uint8Array | undefined {
  const { speaker, newRecordId, now } = making;
  switch (source.kind) {
    case 'new': {
      const { statement } = source.waiting;
      if (isOpaque(statement)) return undefined;
      return placed(statement, statement.record_id ?? newRecordId(), speaker, standing);
    }
    case 'gap':
      return placed(gapOf(source.lost, now()), newRecordId(), speaker, standing);
    case 'again': {
      if (source.item.link === undefined) return undefined;
      return formatRecord(remade(decodeEntry(source.item.entry).payload, standing));
    }
  }
}

function gapOf({ from, to, reason }: Lost, received: string): NewRecord {
  return {
    kind: 'gap',
    time: { received },
    gap: { reason, seq_from: from, seq_to: to, count: to - from + 1 },
  };
}

async function signRecords(
  { signer, log }: Making,
  payloads: readonly Uint8Array[],
): Promise<readonly Uint8Array[]> {
  const [first, second] = payloads;
  if (first === undefined) return [];
  if (second === undefined) return [await signEntry(signer, RECORD_TYPE, first)];
  const statements = payloads.map((payload) => ({ payloadType: RECORD_TYPE, payload }));
  return signWindow(signer, log, statements);
}

/** Opaque bytes are bound to no log: what was signed once is sent as it is. */
async function opaqueEntry(source: Source, { signer }: Making): Promise<Uint8Array> {
  if (source.kind === 'again') return source.item.entry;
  invariant(source.kind === 'new' && isOpaque(source.waiting.statement), 'a gap is a record');
  const { payloadType, payload } = source.waiting.statement;
  return signEntry(signer, payloadType, payload);
}
