/**
 * Somebody outside who says something about a head that the log cannot take back: a transparency log that
 * takes its signature up, an authority that stamps its time.
 *
 * What is asked is bytes that are written down before they are first sent, and the same at every retry; what
 * is answered is kept as it came. Both are held to each other, to pinned trust and to the newest that was
 * seen of the target before anything of it counts.
 */
import type { JsonObject } from '../core/json.ts';
import type { PublicKey } from '../core/keys.ts';
import type { Hash, TreeSize } from '../core/units.ts';
import type { Searched } from './rekor-search.ts';

/** A head as it is shown outside. */
export interface AnchoredHead {
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
  /** The text of its note, which is all that is ever signed or stamped. */
  readonly text: Uint8Array;
  /** The anchor key's signature over the text: ECDSA P-256 in DER. */
  readonly signature: Uint8Array;
  readonly key: PublicKey;
}

export interface Checked {
  /** The member of `anchors` that receipts carry. */
  readonly anchor: JsonObject;
  /** What is remembered of the target for the next check. */
  readonly last?: Uint8Array;
  /** The time that it proves, where it proves one. */
  readonly timeMs?: number;
}

export interface Target {
  /** As it is configured. */
  readonly name: string;
  readonly kind: 'rekor' | 'rfc3161';

  /** What to ask for a head. Made once for each. */
  request(head: AnchoredHead): Promise<Uint8Array>;

  /** Asks, and brings back the whole answer. Throws `TargetError`. */
  ask(request: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;

  /**
   * Holds an answer to its request, to pinned trust, and to `last`, what an earlier check remembered. Throws
   * `unverified`, `TargetError` where more has to be asked for and cannot be had, or `Equivocation`.
   */
  check(
    head: AnchoredHead,
    request: Uint8Array,
    answer: Uint8Array,
    last: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<Checked>;

  /** Absent where what it took up cannot be read. */
  readonly search?: Search;
}

/**
 * Finds heads by these keys among what a target took up since `mark`; without it, from now on. Throws
 * `TargetError`.
 */
export type Search = (
  keys: readonly PublicKey[],
  mark: Uint8Array | undefined,
  signal: AbortSignal,
) => Promise<Searched>;

/**
 * Why a target gave nothing.
 *
 *     retry    no answer, or 408, 429, 5xx: the same bytes are sent again, after `afterS` where it says so
 *     frozen   a shard that takes nothing more: another has to be configured
 *     refused  the request itself is wrong: no retry helps
 */
export class TargetError extends Error {
  readonly kind: 'retry' | 'frozen' | 'refused';
  readonly afterS: number | undefined;

  constructor(
    kind: TargetError['kind'],
    message: string,
    options: ErrorOptions & { readonly afterS?: number | undefined } = {},
  ) {
    super(message, options);
    this.name = 'TargetError';
    this.kind = kind;
    this.afterS = options.afterS;
  }
}

/** A target signed two heads of which neither continues the other: its word counts no more. */
export class Equivocation extends Error {
  /** The signed notes. */
  readonly notes: readonly [string, string];
  /** What shows it beside them, for whoever judges it. */
  readonly evidence: JsonObject;

  constructor(
    message: string,
    notes: readonly [string, string],
    evidence: JsonObject = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'Equivocation';
    this.notes = notes;
    this.evidence = evidence;
  }
}
