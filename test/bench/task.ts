/** What the load generator can be told to do, and what it says when it is done. */
import type { Spread } from './stats.ts';

export interface Target {
  /** Address of the server, without a path. */
  readonly url: string;
  readonly log: string;
  readonly origin: string;
  /** A token that may submit. */
  readonly token: string;
}

export type Task =
  /** Makes a gateway key and says its SPKI in base64. */
  | { readonly do: 'begin'; readonly target: Target }
  /** Single entries that come when they come, whether the last was answered or not. */
  | { readonly do: 'open-loop'; readonly rate: number; readonly count: number }
  /** Single entries, each client's next one when its last was answered. */
  | { readonly do: 'singles'; readonly clients: number; readonly count: number }
  /** Batches, signed one by one or with one signature for the batch. */
  | {
      readonly do: 'batches';
      readonly clients: number;
      readonly count: number;
      readonly entries: number;
      readonly windows: boolean;
    }
  /** Requests of spans over OTLP. */
  | {
      readonly do: 'reports';
      readonly clients: number;
      readonly count: number;
      readonly spans: number;
    }
  | { readonly do: 'inclusion'; readonly clients: number; readonly count: number; size: number }
  | { readonly do: 'checkpoint'; readonly clients: number; readonly count: number }
  /** Checkpoints of many logs, each continuing the last one of its log. */
  | {
      readonly do: 'witness';
      readonly url: string;
      readonly logs: number;
      readonly clients: number;
      /** Whether the logs begin anew. */
      readonly fresh: boolean;
      /** Checkpoints of each log. */
      readonly rounds: number;
    }
  /** Bodies of 1 KiB to a server that does nothing with them: what HTTP alone costs. */
  | {
      readonly do: 'echo';
      readonly url: string;
      readonly clients: number;
      readonly count: number;
    }
  /** Calls to a model, straight and through the proxy by turns. */
  | {
      readonly do: 'calls';
      readonly direct: string;
      readonly proxied: string;
      readonly rate: number;
      readonly count: number;
      readonly stream: boolean;
    }
  /** Calls through the proxy, each client's next one when its last was answered. */
  | {
      readonly do: 'crowd';
      readonly proxied: string;
      readonly clients: number;
      readonly count: number;
      readonly stream: boolean;
    }
  /** So many streams through the proxy that are open at once; then their end. */
  | { readonly do: 'hold'; readonly proxied: string; readonly count: number }
  | { readonly do: 'release'; readonly model: string };

export interface Load {
  /** Requests answered as wanted. */
  readonly count: number;
  readonly seconds: number;
  /** Milliseconds from asking to the whole answer. */
  readonly ms: Spread;
  /** Milliseconds of processor time that the generator took for it. */
  readonly cpuMs: number;
  /** The body of the last answer, where it is a receipt. */
  readonly receipt?: string;
}

export interface Calls {
  readonly direct: CallTimes;
  readonly proxied: CallTimes;
  readonly recordIds: readonly string[];
}

/** Calls that were answered well, each with the record that its answer names. */
export interface Crowd {
  readonly seconds: number;
  readonly recordIds: readonly string[];
}

export interface CallTimes {
  /** Milliseconds to the first byte of the answer's body, and to its end. */
  readonly first: Spread;
  readonly total: Spread;
}

export interface Begun {
  readonly spki: string;
}

export type Result = Begun | Load | Calls | Crowd;
