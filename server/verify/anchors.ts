/**
 * What a party outside said of a head: does it hold, is the party known, and what does it prove?
 *
 * An anchor is about one head of the receipt's log that covers the entry: the receipt's own, or another to whose
 * root the entry's path leads. What the party said is over the text of that head's note, which is made anew here.
 */
import {
  type Anchor,
  anchoredText,
  parseAnchor,
  type RekorAnchor,
  type TimestampAnchor,
} from '../core/anchor.ts';
import { equalBytes } from '../core/bytes.ts';
import type { Checkpoint } from '../core/checkpoint.ts';
import { NoTrust, SteleError, shown, unverified } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { parsePublicKey } from '../core/keys.ts';
import { leafHash } from '../core/merkle.ts';
import { checkInclusion } from '../core/proof.ts';
import type { Receipt } from '../core/receipt.ts';
import { checkTimestamp, describeTimestamp } from '../core/rfc3161.ts';
import { checkRekorAnchor, type RekorAnchored } from '../core/sigstore/rekor-anchor.ts';
import { readSigstoreBundle } from '../core/sigstore/sigstore-bundle.ts';
import { authoritiesOf, timestampCheck } from '../core/sigstore/timestamps.ts';
import { keysGoodAt, type Trust } from '../core/trust.ts';
import { NOTE_ECDSA } from '../core/verifier-key.ts';
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
    const found =
      anchor.type === 'rekor' ? judgeRekor(anchor, trust) : judgeTimestamp(anchor, trust);
    return { step, status: 'valid', ...found };
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

type Judged = Pick<AnchorFinding, 'detail' | 'bound'>;

/** By an anchor key of the log's, in a Rekor log of the trusted root; the time is Rekor's or a stamp's. */
function judgeRekor({ of, bundle }: RekorAnchor, trust: Trust): Judged {
  const root = trust.trustedRoot?.parsed;
  if (root === undefined) {
    throw new NoTrust('rekor anchor', 'the trust file names no Rekor log: it has no trusted_root');
  }
  const keys = trust.logs.find(({ origin }) => origin === of.origin)?.keys ?? [];
  const anchorKeys = keysGoodAt(keys, of.size)
    .filter(({ type }) => type === NOTE_ECDSA)
    .map(({ key }) => parsePublicKey('ecdsa-p256', key));
  const authorities = [...authoritiesOf(root), ...(trust.tsaRoots?.authorities ?? [])];
  const anchored = checkRekorAnchor(
    readSigstoreBundle(bundle),
    { text: anchoredText(of) },
    anchorKeys,
    root,
    { checkTimestamp: timestampCheck(authorities) },
  );
  const detail = `The head of size ${of.size}: ${anchored.detail}`;
  const bound = boundOf(anchored);
  return bound === undefined ? { detail } : { detail, bound };
}

/** The earliest word on when the signature was there. */
function boundOf({ log, integratedMs, stamps }: RekorAnchored): Bound | undefined {
  const bounds = stamps.map(({ latestMs, authority }) => ({ by: authority, latestMs }));
  if (integratedMs !== undefined) bounds.push({ by: log.baseUrl, latestMs: integratedMs });
  return bounds.sort((a, b) => a.latestMs - b.latestMs)[0];
}

function judgeTimestamp(anchor: TimestampAnchor, trust: Trust): Judged {
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
