/**
 * What is watched, and by whose keys: everything that a look at one log needs and that does not change.
 */
import type { PublicKey } from '../core/keys.ts';
import type { Trust } from '../core/trust.ts';
import type { SignatureChecker } from '../log/admit.ts';
import type { Keys } from './heads.ts';
import type { LogPlace, WitnessPlace } from './places.ts';
import type { Depth } from './state.ts';
import type { RekorPlace } from './sweep.ts';

/** Words of parties outside that a log can be required to have. */
export const REQUIRABLE = ['quorum', 'rekor', 'rfc3161'] as const;
export type Requirable = (typeof REQUIRABLE)[number];

export interface KnownNote {
  readonly from: string;
  readonly bytes: Uint8Array;
}

export interface Watched {
  readonly keys: Keys;
  /** Gateway keys that the reader got elsewhere. */
  readonly gateways: readonly PublicKey[];
  /** The log's own address first, then others that serve the same log. */
  readonly places: readonly [LogPlace, ...LogPlace[]];
  readonly witnesses: readonly WitnessPlace[];
  readonly rekors: readonly RekorPlace[];
  /** Heads that the log must still contain. */
  readonly known: readonly KnownNote[];
  readonly trust: Trust;
  readonly limits: Limits;
}

export interface Limits {
  /** How much is read; nothing for as much as can be. */
  readonly depth: Depth | 'heads' | undefined;
  readonly require: readonly Requirable[];
  /** Milliseconds after which a head is no longer fresh; 0 for no end. */
  readonly staleMs: number;
  /** Milliseconds that parties outside have for a head. */
  readonly lateMs: number;
}

/** The rest of the world, as arguments. */
export interface Means {
  readonly checker: SignatureChecker;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}
