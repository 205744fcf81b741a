/** What bounds a source, and what it says of itself: numbers for `readyz`, metrics and people. */

export interface SourceLimits {
  readonly segmentBytes: number;
  readonly queueBytes: number;
  readonly recentBytes: number;
  readonly floorBytes: number;
  readonly spoolBytes: number;
  readonly heartbeatMs: number;
  /** Pause before what failed is tried again; towards the log it grows from there. */
  readonly retryMs: number;
  /** How long an ended call waits for others, so that their records are made together. */
  readonly gatherMs: number;
  /** How long a log may forbid a record before it is set aside. */
  readonly patienceMs: number;
  /** How long a call waits for the log to take the intent to make it (posture strict). */
  readonly intentMs: number;
  readonly inFlight: number;
}

export interface SourceState {
  readonly source: string;
  /** The origin of the log that its records go to now. */
  readonly log: string;
  readonly next_seq: number;
  /** Calls in progress or waiting for their record. */
  readonly open_calls: number;
  /** Ended calls that wait for their record. */
  readonly unrecorded: number;
  /** Records that wait for the log. */
  readonly backlog: number;
  /** Calls that went through unrecorded (posture observe), and that no gap on disk counts yet. */
  readonly missed?: number;
  readonly journal_bytes: number;
  /** Why new calls are refused now, if they are. */
  readonly refusing?: string;
  readonly log_error?: string;
}
