/**
 * What a party outside said of a head: does it hold, is the party known, and what does it prove?
 *
 * An anchor is about one head of the receipt's log that covers the entry: the receipt's own, or another to whose
 * root the entry's path leads. What the party said is over the text of that head's note, which is made anew here.
 */
import { type Anchor, anchoredText, parseAnchor, type TimestampAnchor } from '../core/anchor.ts';
import { equalBytes } from '../core/bytes.ts';
import type { Checkpoint } from '../core/checkpoint.ts';
import { NoTrust, SteleError, shown, unverified } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { leafHash } from '../core/merkle.ts';
import { checkInclusion } from '../core/proof.ts';
import type { Receipt } from '../core/receipt.ts';
import { checkTimestamp, describeTimestamp } from '../core/rfc3161.ts';
import type { Trust } from '../core/trust.ts';
import type { Bound, StepName, StepStatus } from './verdict.ts';

export interface AnchorFinding {
  readonly step: StepName;
  readonly status: StepStatus;
  readonly detail: string;
  /** The time at which the entry existed at the latest, where that is proven. */
  readonly bound?: Bound;
}

/** Judges one member of a receipt's `anchors`. `checkpoint` is the receipt's, verified; nothing where it could not be. */
export function judgeAnchor(
  json: Json,
  receipt: Receipt,
  checkpoint: Checkpoint | undefined,
  trust: Trust,
): AnchorFinding {
  let step: StepName = 'anchors';
  try {
    const anchor = parseAnchor(json, 'anchor');
    if (anchor === undefined) {
      return { step, status: 'no-trust', detail: 'One is of a type that is not known here.' };
    }
    step = anchor.type;
    checkCovers(anchor, receipt, checkpoint);
    return { step, status: 'valid', ...judgeTimestamp(anchor as TimestampAnchor, trust) };
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    const status = error instanceof NoTrust ? 'no-trust' : 'invalid';
    return { step, status, detail: `${error.message}.` };
  }
}

/** Throws unless the anchor's head is one of this log that has the entry. */
function checkCovers(
  { of, proof }: Anchor,
  { origin, index, entry }: Receipt,
  checkpoint: Checkpoint | undefined,
): void {
  if (of.origin !== origin) {
    throw unverified('anchor', `it is about ${shown(of.origin)}, and the entry is of ${origin}`);
  }
  if (proof !== undefined) {
    const { size, root } = of;
    checkInclusion({ index, size, root, leafHash: leafHash(entry), proof });
    return;
  }
  if (checkpoint === undefined) {
    throw unverified('anchor', 'it is about the receipt’s head, which does not verify');
  }
  const isOwn = of.size === checkpoint.size && equalBytes(of.root, checkpoint.root);
  if (!isOwn) {
    throw unverified(
      'anchor',
      `it is about a head of ${of.size} with no path from the entry, and is not the receipt’s of ${checkpoint.size}`,
    );
  }
}

function judgeTimestamp(anchor: TimestampAnchor, trust: Trust) {
  const stamp = checkTimestamp({
    message: anchoredText(anchor.of),
    response: anchor.response,
    authorities: trust.tsaRoots?.authorities ?? [],
  });
  const by = stamp.authority;
  return {
    detail: `The head of size ${anchor.of.size} existed at ${describeTimestamp(stamp)}.`,
    bound: { by, latestMs: stamp.latestMs },
  };
}
