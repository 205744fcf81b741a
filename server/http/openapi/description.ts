/**
 * What is said of one route? All that its handler does not say itself.
 *
 * Method, path, roles and the names of query parameters come from the route; a description adds meanings,
 * bounds, answers, and the codes that the route has beside those that every route of its kind has.
 */
import type { Code } from '../../core/errors.ts';
import type { Schema } from './schema.ts';

export const TAGS = {
  Heads:
    'What a log looks like now: heads, tiles and proofs. Open to strangers, so that a log can be witnessed.',
  Submitting: 'Entries in, receipts out.',
  Ingest:
    'What other gateways report of their calls, in forms of their own. An answer without an error says that it is on record.',
  Reading: 'Entries, where they are, and receipts.',
  Content:
    'What lies sealed beside the log. Every read leaves an entry in the log’s access log first.',
  'RFC 6962':
    'The same log for clients of Certificate Transparency’s first version. A leaf’s input is the entry’s bytes. Parameters that are not known are ignored, and a refusal has its reason in `error_message` too.',
  Witness:
    'This instance as a witness of other logs: it cosigns a checkpoint only if it continues the one that it cosigned before. 404 where it is none.',
  Instance: 'What runs here, and how it is.',
  Administration:
    'Logs, gateways, keys and tokens. Bodies are closed: an unknown member is refused.',
} as const satisfies Record<string, string>;

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly text: string;
  readonly schema: Schema;
  /** Parameters of the path always are. */
  readonly required?: boolean;
  readonly example: string | number;
}

/** A header of an answer, by its key in `HEADERS`. */
export type AnswerHeader = 'etag' | 'location' | 'disposition' | 'policy' | 'vary';

export interface Answer {
  readonly text: string;
  /** The body by its media type; none means that there is no body. */
  readonly types: Readonly<Record<string, Schema>>;
  readonly headers?: readonly AnswerHeader[];
}

export interface Body {
  readonly text: string;
  /** The name of a recorded request, and the schema, for each media type. */
  readonly types: Readonly<Record<string, { readonly schema: Schema; readonly example: string }>>;
  /** The media type of a multipart body's parts. */
  readonly encoding?: Readonly<Record<string, { readonly contentType: string }>>;
}

/** A code under its own status, or under one that HTTP has for the case. */
export type Refused = Code | { readonly code: Code; readonly status: number };

export interface Description {
  /** For programs that make clients: a verb and what it is about. */
  readonly id: string;
  readonly tag: keyof typeof TAGS;
  readonly summary: string;
  readonly text?: string;
  /** In the order of the path, then the query's, then headers. Without `{log}`, which all share. */
  readonly parameters?: readonly Parameter[];
  readonly body?: Body;
  readonly answers: Readonly<Record<number, Answer>>;
  readonly refusals?: readonly Refused[];
}

/** Descriptions by method and pattern, as `GET LOG/checkpoint` or `GET /healthz`. */
export type Descriptions = Readonly<Record<string, Description>>;

/** Bytes that are no text. */
export function bytes(contentMediaType: string, maxLength?: number): Schema {
  return { contentMediaType, ...(maxLength === undefined ? {} : { maxLength }) };
}
