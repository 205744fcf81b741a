/**
 * What do parties outside say of this log, and how far behind are they? Silence is never taken for success.
 *
 *     what a target said   the head that it is about is one of this log: made again from the tiles, and held
 *                          to the Sigstore bundle or the time stamp, by the reader's trust file
 *     how far it got       the largest size with such a word, and since when the log has been further
 *     a quorum             the same for heads with the cosignatures that the policy asks for
 *
 * The log's own list says which words there are; that it lists too few shows as being behind. What it does not
 * list and Rekor has all the same is looked for in `sweep.ts`.
 */
import type { JsonObject } from '../client/client.ts';
import { anchoredText } from '../core/anchor.ts';
import { NoTrust, SteleError, shown } from '../core/errors.ts';
import { type PublicKey, parsePublicKey } from '../core/keys.ts';
import { checkTimestamp } from '../core/rfc3161.ts';
import { checkRekorAnchor } from '../core/sigstore/rekor-anchor.ts';
import { parseSigstoreBundle } from '../core/sigstore/sigstore-bundle.ts';
import { authoritiesOf, timestampCheck } from '../core/sigstore/timestamps.ts';
import { keysGoodAt } from '../core/trust.ts';
import { type TreeSize, treeSize } from '../core/units.ts';
import { NOTE_ECDSA } from '../core/verifier-key.ts';
import type { TileReader } from '../log/audit/reader.ts';
import type { KeyHistory } from '../verify/key-history.ts';
import type { Words } from './alarms.ts';
import { judgeClaims, nameIn } from './claims.ts';
import type { Compared } from './compare.ts';
import { isFlaw } from './contents.ts';
import type { SeenHead } from './heads.ts';
import { isAbsence, type LogPlace } from './places.ts';
import { prefixOf } from './prefix.ts';
import { type State, TARGETS_MAX } from './state.ts';
import type { Requirable, Watched } from './watched.ts';

type Targets = NonNullable<State['targets']>;
type TargetState = Targets[string];

/** Words of one target that are fetched and judged in one look: a year of them, four a day. */
const JUDGED_MAX = 1_500;
const PAGE = 100;

export interface OutsideContext {
  readonly watched: Watched;
  readonly head: SeenHead;
  readonly place: LogPlace;
  readonly tiles: TileReader;
  readonly history: KeyHistory | undefined;
  readonly words: Words;
  readonly signal: AbortSignal;
  readonly nowMs: number;
}

interface Row {
  readonly target: string;
  readonly type: string;
  readonly size: number;
  readonly state: string;
  readonly ms: number | undefined;
}

const FINAL = ['published', 'superseded', 'dead', 'suspect'];

/** Judges what is new among the words that the log lists; what is known of each target then. */
export async function judgeAnchors(context: OutsideContext, before: Targets): Promise<Targets> {
  const { place, words, signal } = context;
  const targets = new Map(Object.entries(before));
  try {
    const rows = await newRows(place, before, words, signal);
    for (const [name, own] of grouped(rows)) {
      if (!targets.has(name) && targets.size >= TARGETS_MAX) {
        words.add(
          'state',
          `over ${TARGETS_MAX} targets are listed: ${shown(name)} is not followed`,
        );
        continue;
      }
      const next = await judgeTarget(context, name, own, targets.get(name));
      if (next !== undefined) targets.set(name, next);
    }
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    if (isAbsence(error)) words.add('unreachable', `${place.url}/v1/anchors: ${error.message}`);
    else words.add('anchor', `${place.url}/v1/anchors: ${error.message}`);
  }
  return Object.fromEntries(targets);
}

/** The log's list down to what was judged before, the newest first. */
async function newRows(
  place: LogPlace,
  before: Targets,
  words: Words,
  signal: AbortSignal,
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  let at: TreeSize | undefined;
  for (;;) {
    signal.throwIfAborted();
    const page = await place.client.anchors(at === undefined ? {} : { before: at });
    const parsed = page.map(rowOf);
    const fresh = parsed.filter(({ target, size }) => size > (before[target]?.checked ?? 0));
    rows.push(...fresh);
    const last = parsed.at(-1);
    if (last === undefined || parsed.length < PAGE || fresh.length === 0) return rows;
    if (at !== undefined && last.size >= at) return rows;
    if (rows.length >= JUDGED_MAX) {
      words.add('left_out', `what was said outside of heads of less than ${last.size} entries`);
      return rows;
    }
    at = treeSize(last.size);
  }
}

function rowOf(row: JsonObject): Row {
  const { size, time } = row;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 1) {
    throw new SteleError('malformed', 'an anchor is listed without the size that it is of');
  }
  const target = nameIn(row, 'target');
  const ms = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  return {
    target,
    type: nameIn(row, 'type'),
    size,
    state: nameIn(row, 'state'),
    ms: ms >= 0 ? ms : undefined,
  };
}

function grouped(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const group = groups.get(row.target);
    if (group === undefined) groups.set(row.target, [row]);
    else group.push(row);
  }
  return groups;
}

async function judgeTarget(
  context: OutsideContext,
  name: string,
  rows: readonly Row[],
  before: TargetState | undefined,
): Promise<TargetState | undefined> {
  const { head, words, nowMs } = context;
  const ascending = rows
    .filter(({ size }) => size <= head.size)
    .toSorted((a, b) => a.size - b.size);
  // What is still under way may be answered later than what came after it.
  const open = ascending.find(({ state }) => !FINAL.includes(state));
  const [first] = rows;
  let isJudged = true;
  let state: TargetState = before ?? { type: first?.type ?? '', checked: 0 };
  for (const row of ascending) {
    let ms = row.ms;
    if (row.state === 'suspect') {
      words.add('anchoring', `target ${name} showed two histories of its own, at ${row.size}`);
    }
    if (row.state === 'published') {
      const proven = await judgeOne(context, row);
      if (proven === 'bad') return state;
      const isProven = proven !== 'unjudged';
      if (isProven) ms = proven.ms ?? ms;
      if (row.size > (state.size ?? 0)) {
        const { behind_ms: _, ...rest } = state;
        // What nobody judged is no sign of life: the log alone says when it was.
        state = { ...rest, size: row.size, ...(isProven ? { ms: ms ?? nowMs } : {}) };
      }
      // What it is of follows what was proven, and not what the log calls it.
      if (isProven) state = { ...state, type: row.type, proven: row.size };
    }
    if (open === undefined || row.size < open.size) state = { ...state, checked: row.size };
    isJudged = row.state !== 'published' || state.proven === row.size;
  }
  // The newest one is looked at again: the reader may trust whoever said it by then.
  const newest = ascending.at(-1);
  if (isJudged || newest === undefined) return state;
  return { ...state, checked: Math.min(state.checked, newest.size - 1) };
}

/** Whether one word is about the log's head of that size; the time that it proves. */
async function judgeOne(
  { watched, head, place, tiles, history, words }: OutsideContext,
  row: Row,
): Promise<'bad' | 'unjudged' | { readonly ms: number | undefined }> {
  const { target, type } = row;
  const size = treeSize(row.size);
  const what = `what target ${target} said of the head of ${size}`;
  if (type !== 'rekor' && type !== 'rfc3161') {
    words.add('left_out', `target ${target}: its type ${JSON.stringify(type)} is not known here`);
    return 'unjudged';
  }
  try {
    const [{ root }, bytes] = await Promise.all([
      prefixOf(tiles, size, head),
      place.client.anchor(target, size),
    ]);
    const message = anchoredText({ origin: watched.keys.origin, size, root });
    return type === 'rekor'
      ? { ms: judgeRekor(bytes, message, anchorKeys(watched, history, size), watched) }
      : { ms: judgeStamp(bytes, message, watched) };
  } catch (error) {
    if (error instanceof NoTrust) {
      words.add('left_out', `target ${target}: ${error.message}`);
      return 'unjudged';
    }
    if (isFlaw(error) && error.code !== 'not_found') {
      words.add('anchor', `${what}: ${error.message}`);
      return 'bad';
    }
    throw error;
  }
}

function judgeRekor(
  bytes: Uint8Array,
  message: Uint8Array,
  keys: readonly PublicKey[],
  { trust }: Watched,
): number | undefined {
  const root = trust.trustedRoot?.parsed;
  const bundle = parseSigstoreBundle(bytes);
  const authorities = [
    ...(root === undefined ? [] : authoritiesOf(root)),
    ...(trust.tsaRoots?.authorities ?? []),
  ];
  // Without a trusted root what is about another head is still found: that is looked at first.
  return checkRekorAnchor(bundle, { text: message }, keys, root ?? { logs: [], authorities: [] }, {
    checkTimestamp: timestampCheck(authorities),
  }).timeMs;
}

function judgeStamp(response: Uint8Array, message: Uint8Array, { trust }: Watched): number {
  return checkTimestamp({ response, message, authorities: trust.tsaRoots?.authorities ?? [] })
    .latestMs;
}

/** The log's anchor keys: by its own records where they were read, and by the trust file. */
export function anchorKeys(
  { keys: { keys } }: Watched,
  history: KeyHistory | undefined,
  size: number,
): readonly PublicKey[] {
  const own = history?.ofPurpose('anchor').map(({ publicKey }) => publicKey) ?? [];
  const trusted = keysGoodAt(keys, size)
    .filter(({ type }) => type === NOTE_ECDSA)
    .map(({ key }) => parsePublicKey('ecdsa-p256', key));
  return [...new Map([...own, ...trusted].map((key) => [key.keyid, key])).values()];
}

/**
 * Whether targets and witnesses keep up; since when they do not. `claimed` is what the log says of targets
 * beside its head.
 */
export function judgeLag(
  context: OutsideContext,
  { served }: Pick<Compared, 'served'>,
  before: { readonly targets: Targets; readonly quorum: State['quorum'] },
): { readonly targets: Targets; readonly quorum: State['quorum'] } {
  const { watched, head, words, nowMs } = context;
  const { lateMs, require } = watched.limits;
  const targets = new Map(Object.entries(before.targets));
  for (const { target, type } of judgeClaims(served, words)) {
    if (!targets.has(target) && targets.size < TARGETS_MAX) {
      targets.set(target, { type, checked: 0 });
    }
  }
  if (watched.keys.policy === undefined && (served?.witnessing ?? []).length > 0) {
    words.add('left_out', 'what witnesses cosigned: the trust file has no policy that names any');
  }
  for (const [name, state] of targets) {
    const now = behindOf(state, head.size, nowMs);
    targets.set(name, now);
    if (isLate(now, nowMs, lateMs)) {
      words.add('anchoring', `target ${name}: ${lagOf(now)}`);
    }
  }
  const quorum = judgeQuorum(context, before.quorum);
  const has: Readonly<Record<Requirable, boolean>> = {
    quorum: quorum?.size !== undefined,
    rekor: isProvenBy('rekor', targets),
    rfc3161: isProvenBy('rfc3161', targets),
  };
  for (const name of require.filter((one) => !has[one])) {
    const kind = name === 'quorum' ? 'witnessing' : 'anchoring';
    words.add(kind, `${name} is required, and no head of this log has it`);
  }
  return { targets: Object.fromEntries(targets), quorum };
}

/** Whether a word of this type was held to the reader's trust file; what the log only lists does not count. */
function isProvenBy(type: 'rekor' | 'rfc3161', targets: ReadonlyMap<string, TargetState>): boolean {
  return [...targets.values()].some((one) => one.type === type && one.proven !== undefined);
}

/** A head with a quorum is the log's newest, or was not long ago. */
function judgeQuorum(
  { watched, words, nowMs, head }: OutsideContext,
  before: State['quorum'],
): State['quorum'] {
  if (watched.keys.policy?.quorum === undefined) return before;
  const now = behindOf(before ?? {}, head.size, nowMs);
  if (isLate(now, nowMs, watched.limits.lateMs)) {
    words.add('witnessing', `the policy’s quorum: ${lagOf(now)}`);
  }
  return now;
}

interface Lag {
  readonly size?: number;
  readonly ms?: number;
  readonly behind_ms?: number;
}

/** Notes since when the log is further than this; nothing while it is not. */
function behindOf<T extends Lag>(state: T, size: number, nowMs: number): T {
  const { behind_ms, ...rest } = state;
  if ((state.size ?? 0) >= size) return rest as T;
  return { ...state, behind_ms: behind_ms ?? nowMs };
}

function isLate({ behind_ms }: Lag, nowMs: number, lateMs: number): boolean {
  return behind_ms !== undefined && nowMs - behind_ms > lateMs;
}

function lagOf({ size, behind_ms }: Lag): string {
  const since = new Date(behind_ms ?? 0).toISOString();
  const last = size === undefined ? 'no head at all' : `no head after the one of ${size}`;
  return `${last}, and the log has been further since ${since}`;
}
