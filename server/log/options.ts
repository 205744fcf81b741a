/** What a log is made of: its own parts, and what all logs of an instance share. */
import type { SteleError } from '../core/errors.ts';
import type { LogKeyring } from '../keys/log-keyring.ts';
import type { SignerMemory } from '../keys/log-keys.ts';
import type { Signer } from '../keys/signer.ts';
import type { Visibility } from '../storage/instance.ts';
import type { LogStore } from '../storage/store.ts';
import type { SignatureChecker } from './admit.ts';
import type { AppendLimits, StagedContent } from './append.ts';
import type { Clock } from './clock.ts';
import type { LogWitnesses } from './cosigned.ts';
import type { Memories } from './memories.ts';
import type { Meter } from './meter.ts';
import type { TileCache } from './tile-cache.ts';

/** A log as far as it decides who is shown its heads. */
export interface ShownLog {
  readonly name: string;
  readonly origin: string;
  readonly visibility: Visibility;
}

export interface LogOptions<C extends StagedContent> {
  readonly name: string;
  readonly origin: string;
  readonly visibility: Visibility;
  readonly store: LogStore;
  readonly keys: LogKeyring;
  readonly operator: Signer;
  /** Where the keys are held by somebody who remembers the log's heads. */
  readonly signerMemory?: SignerMemory | undefined;
  readonly checker: SignatureChecker;
  /** What outside the data folder knows how far each log had got. */
  readonly memories: Memories;
  /** Those who are shown its heads, as the settings and its visibility have them now; nothing where none is. */
  readonly witnesses?: ((log: ShownLog) => LogWitnesses | undefined) | undefined;
  /** Why the log is to sign nothing, if something is known that opening it does not show. */
  readonly stopped?: SteleError | undefined;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  readonly instance: string;
  readonly software: string;
  readonly limits: AppendLimits;
  readonly meter?: Meter;
  /** Where all logs of an instance keep tiles; without it a log has room of its own. */
  readonly tiles?: TileCache;
  readonly commitContent: (contents: readonly C[]) => Promise<void>;
  readonly checkSpace: () => void;
  readonly fatal: (error: Error) => void;
  readonly warn: (message: string, error: unknown) => void;
}
