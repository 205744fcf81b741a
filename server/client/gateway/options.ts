/** What a gateway is made of, and its bounds. */
import type { SteleError } from '../../core/errors.ts';
import { uuidv7 } from '../../core/uuid.ts';
import type { Signer } from '../../keys/signer.ts';
import type { SeriesOptions } from '../series.ts';
import type { Logged } from './exchange.ts';
import type { Making } from './round.ts';
import type { StateStore } from './state.ts';

export interface GatewayOptions extends SeriesOptions {
  /** The name of the series: of its first log, or of whichever is the first that this gateway writes to. */
  readonly log: string;
  /** Registered with the log. A roll registers it with the next one. */
  readonly signer: Signer;
  readonly state: StateStore;
  /** The readable part of the source's id. */
  readonly source: string;
  /** Name and version of what captures. */
  readonly software: string;
  /** The source of a state that was lost: the new one begins with a gap record that names it. */
  readonly replaces?: string | undefined;
  readonly limits?: Partial<GatewayLimits>;
  /** Milliseconds for which a refusal is waited out that only an operator can lift: a token, a key's registration. */
  readonly patienceMs?: number;
  /** Why nothing gets on record now. Called with each failure; it is tried again by itself. */
  readonly onTrouble?: (error: Error) => void;
  /** What became of an entry that an earlier process had signed. */
  readonly onRecovered?: (entry: Uint8Array, outcome: Logged | SteleError) => void;
  readonly now?: () => number;
  readonly random?: (bytes: number) => Uint8Array;
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface GatewayLimits {
  /** Statements, and their bytes, that may wait for a number. */
  readonly waiting: number;
  readonly waitingBytes: number;
  /** Statements, and their bytes, of one round. */
  readonly round: number;
  readonly roundBytes: number;
}

export const LIMITS: GatewayLimits = {
  waiting: 10_000,
  waitingBytes: 67_108_864,
  round: 1_024,
  roundBytes: 4_194_304,
};

/** Ids and times of records. */
export function idsOf(options: GatewayOptions): Pick<Making, 'newRecordId' | 'now'> {
  const { now = Date.now } = options;
  return {
    newRecordId: () => uuidv7(now(), randomOf(options)(10)),
    now: () => new Date(now()).toISOString().replace('Z', '000Z'),
  };
}

export function randomOf({
  random,
}: Pick<GatewayOptions, 'random'>): (bytes: number) => Uint8Array {
  return random ?? ((bytes) => crypto.getRandomValues(new Uint8Array(bytes)));
}
