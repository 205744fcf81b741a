/** How much of everything: enough to trust in a full run, and as much as fits into a minute in a quick one. */
export interface Sizes {
  readonly runs: number;
  /** Seconds of each open-loop run at 50, 1,000 and 2,000 entries a second. */
  readonly openLoopSeconds: readonly [number, number, number];
  readonly singles: number;
  /** Batches of 256 in one run, with a signature for each entry and with windows. */
  readonly batches: number;
  readonly windows: number;
  readonly reads: number;
  /** Requests of 64 spans in one run. */
  readonly reports: number;
  /** Entries of the log that is started and looked into. */
  readonly logEntries: number;
  /** Seconds of each run of calls through the proxy. */
  readonly callSeconds: number;
  /** Checkpoints that a witness is shown of each of its logs in one run. */
  readonly witnessRounds: number;
  /** Calls of each run of a crowd, and streams that are open at once. */
  readonly crowdCalls: number;
  readonly heldStreams: number;
  /** Logs of one instance. */
  readonly logs: number;
  /** Bytes of large bodies and of a long stream. */
  readonly memory: { readonly bodyBytes: number; readonly streamBytes: number };
}

export const SIZES = {
  quick: {
    runs: 3,
    openLoopSeconds: [1, 1, 1],
    singles: 3_000,
    batches: 32,
    windows: 64,
    reads: 8_000,
    reports: 40,
    logEntries: 100_000,
    callSeconds: 1.5,
    witnessRounds: 2,
    crowdCalls: 600,
    heldStreams: 1_000,
    logs: 50,
    memory: { bodyBytes: 60_000_000, streamBytes: 100_000_000 },
  },
  full: {
    runs: 5,
    openLoopSeconds: [10, 6, 6],
    singles: 20_000,
    batches: 160,
    windows: 320,
    reads: 40_000,
    reports: 320,
    logEntries: 2_000_000,
    callSeconds: 8,
    witnessRounds: 5,
    crowdCalls: 6_000,
    heldStreams: 1_000,
    logs: 1_000,
    memory: { bodyBytes: 60_000_000, streamBytes: 1_000_000_000 },
  },
} as const satisfies Record<string, Sizes>;
