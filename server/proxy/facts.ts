/**
 * What is noted about a call, sealed in its frames, from which its record is made: at once from memory
 * where all went well, and from the disk after a crash.
 */
import type { HeaderFacts } from './headers.ts';
import type { RuleEvent } from './rules/judgment.ts';

/** Who calls, where the proxy asks: of the token only its id. */
export interface CallerFacts {
  readonly id: string;
  readonly holder: string;
  readonly tenant: string;
  /** `service`, `user`, `agent`. */
  readonly kind: string;
  readonly method: 'bearer' | 'api-key';
}

/** Known before the first byte of the request's body. */
export interface BeginFacts {
  readonly received_us: number;
  readonly upstream: string;
  /** The upstream's host, for the record's `model.endpoint`. */
  readonly endpoint: string;
  readonly method: string;
  /** Path behind the base URL, without the query's secrets: "/chat/completions". */
  readonly target: string;
  readonly headers: HeaderFacts;
  readonly client_address?: string;
  readonly caller?: CallerFacts;
}

export interface BodyFacts {
  readonly bytes: number;
  /** SHA-256, base64url. It is sealed like the rest: a plain hash of content never lies open. */
  readonly sha256: string;
}

/** What the rules of an upstream said of a request before it was forwarded (`rules/`). */
export interface JudgedFacts {
  readonly version?: string;
  readonly digest: string;
  readonly events: readonly RuleEvent[];
  readonly replaced: readonly { readonly rule: string; readonly count: number }[];
  /** What went on in place of the request's body; its bytes are in content frames. */
  readonly forwarded?: BodyFacts & { readonly frames: readonly number[] };
}

export type RequestedFacts = BodyFacts;

export interface HeadFacts {
  readonly status: number;
  readonly headers: HeaderFacts;
  readonly at_us: number;
}

/**
 * How the exchange ended on the wire.
 *
 *   complete       the upstream's answer ended as HTTP says it should
 *   cut            it broke off
 *   unreachable    no answer began
 *   timeout        nothing came for the idle time
 *   client-abort   the client left before it had everything
 *   refused        the proxy itself refused the request
 *   storage        the journal could not be written
 *   crash          nobody knows: the process ended first
 */
export type Transport =
  | 'complete'
  | 'cut'
  | 'unreachable'
  | 'timeout'
  | 'client-abort'
  | 'refused'
  | 'storage'
  | 'crash';

export interface EndFacts {
  readonly transport: Transport;
  readonly at_us: number;
  /** First byte of the answer's body, where there was one. */
  readonly first_byte_us?: number;
  /** Bytes of the answer's body that were handed to the client's connection. */
  readonly delivered: number;
  /** Time that the proxy itself took before the answer's head went out. */
  readonly overhead_us?: number;
  readonly clock_error_us: number;
  /** A system error's name: "ECONNREFUSED"; or why the proxy itself refused the call. */
  readonly error?: string;
  /** Whether the request went upstream at all. */
  readonly forwarded: boolean;
  /** Bodies of which bytes came but were lost here: "request.body", "response.body". */
  readonly truncated?: readonly string[];
  /** There was content that nobody looked at: what went over a WebSocket. */
  readonly unseen?: boolean;
}

export interface EndFrame extends EndFacts {
  /** False while the connection was still open: a later end frame replaces this one. */
  readonly final: boolean;
  readonly requested?: RequestedFacts;
  readonly judged?: JudgedFacts;
  readonly head?: HeadFacts;
  /** The request's bytes as far as they came. */
  readonly received: BodyFacts;
  readonly response: BodyFacts;
  /** Positions of the frames that hold the two bodies, in order. */
  readonly request_frames: readonly number[];
  readonly response_frames: readonly number[];
}
