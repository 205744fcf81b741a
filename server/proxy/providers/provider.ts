/**
 * What does the proxy want to know about one exchange with a model provider?
 *
 * A provider reads copies of the bytes that pass and says what they mean; it forwards nothing, keeps
 * nothing and never fails: what does not parse is absent, and the raw bodies are recorded in any case.
 * Everything in the facts came from strangers. Labels (ids, models, reasons) are well-formed text of at
 * most 256 characters; normalized values have a canonical form and hold no fractions.
 */
import type { Json } from '../../core/json.ts';

export type Format =
  | 'openai.chat'
  | 'openai.completions'
  | 'openai.responses'
  | 'openai.embeddings'
  | 'anthropic.messages'
  | 'gemini'
  | 'bedrock.converse'
  | 'ollama.chat'
  | 'ollama.generate'
  | 'opaque';

export interface Provider {
  readonly format: Format;
  /** OpenTelemetry's name for it where there is one: "openai", "anthropic", "azure.ai.openai". */
  readonly provider: string;
  readonly operation: string;
  /** Of the API, where the path names it: "v1beta". */
  readonly apiVersion?: string;
  /** Reads a whole request body, its content coding undone. */
  request(body: Uint8Array): RequestFacts;
  response(info: ResponseInfo): ResponseReader;
}

export type Params = Readonly<Record<string, number | boolean | string>>;

export interface RequestFacts {
  readonly parsed: boolean;
  readonly model?: string;
  /** Whether the client asked for a stream. */
  readonly stream: boolean;
  readonly messages?: number;
  readonly tools?: number;
  readonly attachments?: number;
  /** Whether the body is all of the model's input. */
  readonly context: 'complete' | 'external-state' | 'unknown';
  /** Members of the record's `model.params`: fractions as decimal strings. */
  readonly params: Params;
  /** Stop sequences are content: for a commitment. */
  readonly stop?: Json;
  readonly normalized?: Json;
  readonly system?: Json;
  readonly toolDefinitions?: Json;
  readonly previousResponse?: string;
  readonly conversation?: string;
}

export interface ResponseInfo {
  readonly status: number;
  /** Names in lower case; `content-type` and `content-encoding` are looked at. */
  readonly headers: Readonly<Record<string, string>>;
  readonly request?: RequestFacts | undefined;
}

/** Fed with the bytes after transfer decoding and before content decoding, in pieces of any size. */
export interface ResponseReader {
  /**
   * Whether terminal events can be recognized, so that nothing but what completes them must wait (P7). Holds for
   * the bytes that were pushed last; an answer may not tell before its first.
   */
  readonly isStream: boolean;
  /**
   * A stream whose ends cannot be seen in its bytes, since they are coded or their frames cannot be followed any
   * further: every piece waits for the disk (P7).
   */
  readonly hasHiddenEnds: boolean;
  /** Whether what a cut kept back made the answer whole, as far as can be told. */
  readonly hasEnd: boolean;
  /**
   * Offsets in `chunk`, rising: what lies before one may be forwarded now. The byte there completes an event
   * that is terminal or may be, and it waits until the answer is on disk.
   */
  push(chunk: Uint8Array): readonly number[];
  /** To be called once. `cut` is a connection that broke. */
  end(how: 'eof' | 'cut'): ResponseFacts;
}

export type Terminated =
  | 'done'
  | 'message_stop'
  | 'response.completed'
  | 'eof-clean'
  | 'eof-cut'
  | 'error-event';

export interface ToolCall {
  readonly id?: string;
  readonly name?: string;
  /** As the model wrote them, which need not be JSON. */
  readonly arguments: string;
}

/** Input includes cached tokens and output includes reasoning, whatever the provider's own rule is. */
export interface Usage {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly cacheReadInputTokens?: number;
  readonly cacheWriteInputTokens?: number;
  readonly reasoningOutputTokens?: number;
}

export interface PolicyEvent {
  readonly rule: string;
  readonly stage: 'input' | 'output';
  /** What was found: "clear", "detected", or a severity. */
  readonly verdict: string;
  /** What was done about it. */
  readonly action: 'allow' | 'block';
  readonly category: string;
}

export interface ProviderError {
  readonly type?: string;
  readonly code?: string;
  readonly message?: string;
}

/**
 *   body-too-large                  more than is parsed; its long texts are left out
 *   choice-without-finish           the stream ended properly, one of its choices did not
 *   deltas-mismatch                 the pieces do not add up to the final event, which counts
 *   event-too-large                 an event over 16 MiB
 *   events-after-end                something followed the terminal event
 *   final-event-without-blank-line  the last event was read all the same
 *   invalid-event                   an event whose data is not JSON, or that is not framed as it should be
 *   invalid-utf8                    and so there is no normalized form
 *   message-restarted               a second answer began inside the first
 *   normalized-too-large            more than 4 Mi characters of text
 *   not-normalizable                text with lone surrogates, or nested too deep
 *   undecodable-content             a content coding that is unknown, broken, or expands too far
 *   usage-mismatch                  the provider's total is not the sum of its parts
 */
export type Flag =
  | 'body-too-large'
  | 'choice-without-finish'
  | 'deltas-mismatch'
  | 'event-too-large'
  | 'events-after-end'
  | 'final-event-without-blank-line'
  | 'invalid-event'
  | 'invalid-utf8'
  | 'message-restarted'
  | 'normalized-too-large'
  | 'not-normalizable'
  | 'undecodable-content'
  | 'usage-mismatch';

export interface ResponseFacts {
  readonly parsed: boolean;
  readonly id?: string;
  readonly served?: string;
  readonly serviceTier?: string;
  readonly systemFingerprint?: string;
  readonly choices?: number;
  readonly finishReasons: readonly string[];
  /** The model, or the provider's safety system, declined to answer. */
  readonly refused: boolean;
  readonly toolCalls: readonly ToolCall[];
  readonly usage?: Usage;
  readonly normalized?: Json;
  readonly reasoning?: Json;
  readonly stream?: { readonly events: number; readonly terminated: Terminated };
  /** Whether the answer came whole, by its own marks; stricter than the official clients. */
  readonly complete: boolean;
  readonly error?: ProviderError;
  readonly policyEvents: readonly PolicyEvent[];
  readonly flags: readonly Flag[];
}
