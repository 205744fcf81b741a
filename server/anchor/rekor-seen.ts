/**
 * Does what Rekor shows now continue what it showed before?
 *
 * Of each log that a target ever answered from (v1: each shard; v2: each instance) the largest checkpoint
 * is remembered. A new one has to be proven to continue it. A smaller one comes from a replica that is
 * behind, or from an answer that waited: it has to be continued by the one that is remembered, which stays.
 *
 *     {"seen": [{"key_id": "…", "note": "…", "version": 2}], "v": 1}
 *
 * Two checkpoints of one size and two roots contradict each other, and so do two where the proof leads to
 * the larger and to another root than the smaller's. A proof that leads nowhere, or that is not to be had,
 * shows nothing: it is asked for again.
 *
 * Known hole: of v1 there is nothing but the proof, and between a checkpoint whose size is a power of two and
 * a larger one it does not have the smaller tree's root. There a log with two histories is told from one
 * that answers nonsense only at the next checkpoint. The proof of an entry of the smaller tree would close it.
 */
import { equalBytes, parseBase64, toBase64, utf8 } from '../core/bytes.ts';
import { canonicalize, parseCanonical } from '../core/canonical.ts';
import { SteleError } from '../core/errors.ts';
import { NOTE_BYTES_MAX } from '../core/limits.ts';
import { rootsFromConsistency } from '../core/proof.ts';
import { base64, int, list, object, read, type Shaped, text } from '../core/schema.ts';
import type { SignatureCheck } from '../core/signature.ts';
import { ENTRY_VERSIONS, type RekorVersion } from '../core/sigstore/hashedrekord.ts';
import { openRekorCheckpoint, type RekorCheckpoint } from '../core/sigstore/rekor-checkpoint.ts';
import type { TlogEntry } from '../core/sigstore/tlog-entry.ts';
import type { TrustedRoot } from '../core/sigstore/trusted-root.ts';
import { HASH_BYTES, type Hash, type TreeSize } from '../core/units.ts';
import { Equivocation, TargetError } from './target.ts';

/** A proof between two heads, and the smaller one's root as the larger tree has it, where that is known. */
export interface Continuation {
  readonly proof: readonly Hash[];
  readonly fromRoot?: Hash;
}

/** Where the proof between two heads of one log comes from. */
export interface Heads {
  /** Throws `TargetError`. */
  continuation(
    from: RekorCheckpoint,
    to: RekorCheckpoint,
    signal: AbortSignal,
  ): Promise<Continuation>;
}

/** Logs that are remembered of one target: a new shard every half year, for decades. */
const SEEN_MAX = 64;

const seenLog = object(
  { key_id: base64(HASH_BYTES, true), note: text(NOTE_BYTES_MAX), version: int(1, 2) },
  {},
);

const SHAPE = object({ v: int(1, 1), seen: list(seenLog, SEEN_MAX) }, {});

type SeenLog = Shaped<typeof seenLog>;

const WHAT = 'what was seen of rekor';

/**
 * Holds a verified entry's checkpoint to what was seen, and gives what is to be remembered. Throws
 * `Equivocation`, or `TargetError` where it cannot be told.
 */
export async function followOn(
  heads: Heads,
  trust: TrustedRoot,
  last: Uint8Array | undefined,
  entry: TlogEntry,
  signal: AbortSignal,
  check?: SignatureCheck,
): Promise<Uint8Array> {
  const seen = last === undefined ? [] : read(SHAPE, parseCanonical(last, WHAT), WHAT).seen;
  const version = entry.version === ENTRY_VERSIONS[1] ? 1 : 2;
  const now: SeenLog = { key_id: toBase64(entry.keyId), note: entry.proof.checkpoint, version };
  const head = open(now, trust, check);
  const known = seen.find((one) => isOfLog(one, now, head, trust, check));
  if (known === undefined) return format([now, ...seen]);
  const before = open(known, trust, check);
  await continues(heads, { note: known.note, head: before }, { note: now.note, head }, signal);
  // A smaller head never takes the place of a larger.
  const newest = head.size > before.size ? now : known;
  return format([newest, ...seen.filter((one) => one !== known)]);
}

interface Signed {
  readonly note: string;
  readonly head: RekorCheckpoint;
}

async function continues(heads: Heads, a: Signed, b: Signed, signal: AbortSignal): Promise<void> {
  const [from, to] = a.head.size <= b.head.size ? [a, b] : [b, a];
  const { origin } = from.head;
  if (from.head.size === to.head.size) {
    if (equalBytes(from.head.root, to.head.root)) return;
    throw new Equivocation(`${origin} has two roots of size ${from.head.size}`, [
      from.note,
      to.note,
    ]);
  }
  const sizes = { from: from.head.size as TreeSize, to: to.head.size as TreeSize };
  const { proof, fromRoot = from.head.root } = await heads.continuation(from.head, to.head, signal);
  const roots = leadsTo({ ...sizes, fromRoot, proof }, origin);
  if (!equalBytes(roots.to, to.head.root)) {
    throw unproven(origin, sizes, 'it does not lead to the larger');
  }
  // Whatever the proof is, the tree with the larger root has `roots.from` as the root of its first leaves.
  if (equalBytes(roots.from, from.head.root) && equalBytes(fromRoot, from.head.root)) return;
  throw new Equivocation(
    `${origin} has a head of ${sizes.to} that does not continue its head of ${sizes.from}`,
    [from.note, to.note],
    {
      from: sizes.from,
      to: sizes.to,
      from_root_in_to: toBase64(roots.from),
      consistency: proof.map(toBase64),
    },
  );
}

function leadsTo(claim: Parameters<typeof rootsFromConsistency>[0], origin: string) {
  try {
    return rootsFromConsistency(claim);
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw unproven(origin, claim, cause.message);
  }
}

function unproven(
  origin: string,
  { from, to }: { readonly from: number; readonly to: number },
  why: string,
): TargetError {
  return new TargetError(
    'retry',
    `${origin}: no proof between its heads of ${from} and ${to}: ${why}`,
  );
}

/** Whether a remembered head is of the same log: the same instance, and of v1 the same shard. */
function isOfLog(
  one: SeenLog,
  now: SeenLog,
  head: RekorCheckpoint,
  trust: TrustedRoot,
  check: SignatureCheck | undefined,
): boolean {
  if (one.key_id !== now.key_id || one.version !== now.version) return false;
  return open(one, trust, check).origin === head.origin;
}

/** What is stored is not believed on the way back. */
function open(
  { key_id, note, version }: SeenLog,
  { logs }: TrustedRoot,
  check?: SignatureCheck,
): RekorCheckpoint {
  const keyId = parseBase64(key_id, WHAT);
  const log = logs.filter((one) => one.usable).find((one) => equalBytes(one.keyId, keyId));
  if (log === undefined) {
    throw new SteleError('unverified', `${WHAT}: the log ${key_id} is not in the trusted root`);
  }
  return openRekorCheckpoint(note, version as RekorVersion, log, check);
}

function format(seen: readonly SeenLog[]): Uint8Array {
  return utf8(canonicalize({ v: 1, seen: seen.slice(0, SEEN_MAX).map((one) => ({ ...one })) }));
}
