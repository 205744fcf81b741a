/**
 * A call to a model as somebody else reported it: what every way in is turned into, before it is a record.
 *
 * Nothing here was seen by Stele. Labels are short and well formed, normalized values have a canonical form;
 * all else is as the reporter wrote it.
 */
import type { Json } from '../core/json.ts';
import type { InferenceRecord } from '../core/record.ts';
import type { RequestFacts, ResponseFacts } from '../proxy/providers/provider.ts';

export type Outcome = InferenceRecord['outcome'];
export type Format = InferenceRecord['input']['format'];

/** What is known of an answer; nothing of it need be. */
export type AnswerFacts = Partial<
  Pick<
    ResponseFacts,
    | 'id'
    | 'served'
    | 'serviceTier'
    | 'systemFingerprint'
    | 'choices'
    | 'usage'
    | 'normalized'
    | 'reasoning'
  >
> &
  Pick<ResponseFacts, 'finishReasons' | 'refused' | 'toolCalls' | 'policyEvents'>;

export interface Reported {
  readonly format: Format;
  readonly provider: string;
  readonly operation: string;
  readonly ids: {
    readonly gatewayRequest?: string | undefined;
    readonly trace?: string | undefined;
    readonly span?: string | undefined;
    readonly conversation?: string | undefined;
  };
  readonly beginUs: number;
  readonly firstByteUs?: number | undefined;
  readonly endUs: number;
  readonly request: RequestFacts;
  /** Nothing where no answer is known of. */
  readonly answer?: AnswerFacts | undefined;
  readonly outcome: Outcome;
  /** What the error said: content. */
  readonly error?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly apiVersion?: string | undefined;
  readonly promptName?: string | undefined;
  readonly promptVersion?: string | undefined;
  /** Who called, and for whom, as far as it was ingested: content. */
  readonly principal?: string | undefined;
  readonly onBehalfOf?: string | undefined;
  readonly costNanoUsd?: number | undefined;
  /** What reported it, by name and version. */
  readonly reporter: string;
  /** Parts of the report that are said, or seen, to be missing: tokens of a record. */
  readonly truncated: readonly string[];
}

/** One thing that was reported, as it was reported: it is committed to whole, and known again when it comes again. */
export interface Piece {
  /** The same for the same thing, however often it is sent. */
  readonly identity: string;
  readonly report: Json | undefined;
  /** The report's own bytes, where it came in bytes of its own. */
  readonly bytes?: Uint8Array;
}
