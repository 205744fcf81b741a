/**
 * Lists that providers and gateways give, and where in them a call's id is. Each was written after what is published, which
 * docs/operating.md names; none was tried against an account.
 *
 * Only lists with a row for each call can be compared. The usage and cost reports of OpenAI and Anthropic add up calls by
 * the minute or longer and name none of them; `usage.ts` reads those.
 */
import type { IdKind } from './records.ts';
import type { Kind } from './rows.ts';

export interface Preset {
  readonly fields: readonly string[];
  readonly timeFields: readonly string[];
  readonly by: IdKind;
  /** Which records the list can be about. */
  readonly only: readonly string[];
  /** Which of its rows are calls. */
  readonly kind?: Kind;
  /** That an id has one call, and rows with the same id are about that one. */
  readonly isOneCallPerId?: boolean;
}

/** What an application's own list may call it. */
const OWN_FIELDS = [
  'record_id',
  'x-stele-record-id',
  'response_id',
  'request_id',
  'x-request-id',
  'id',
];

export const PRESETS = {
  own: { fields: OWN_FIELDS, timeFields: [], by: 'any', only: [] },
  /** [OpenAI, GET /v1/chat/completions] Those that were sent with `store`, in pages. */
  openai: {
    fields: ['id'],
    timeFields: ['created', 'created_at'],
    by: 'response',
    only: ['model.provider=openai', 'model.params.store=true'],
  },
  /** The id of a message, or the header `request-id` of its answer. */
  anthropic: {
    fields: ['request_id', 'request-id', 'id'],
    timeFields: ['created_at', 'timestamp'],
    by: 'any',
    only: ['model.provider=anthropic'],
  },
  /**
   * [Azure Monitor, RequestResponse] `correlationId` is the header apim-request-id. A workspace has other categories in
   * the same table, and two rows of some calls.
   */
  azure: {
    fields: ['correlationId', 'CorrelationId'],
    timeFields: ['time', 'TimeGenerated', 'TimeGenerated [UTC]'],
    by: 'upstream',
    only: ['model.provider=azure.ai.openai'],
    kind: { fields: ['category', 'Category'], value: 'RequestResponse' },
    isOneCallPerId: true,
  },
  /** [Bedrock, model invocation logging] As S3 has it, or as `aws logs filter-log-events` answers. */
  bedrock: {
    fields: ['requestId', 'message.requestId', '@message.requestId'],
    timeFields: ['timestamp', '@timestamp'],
    by: 'upstream',
    only: ['model.provider=aws.bedrock'],
    kind: { fields: ['schemaType', 'message.schemaType'], value: 'ModelInvocationLog' },
  },
  /** [Vertex AI, request-response logging] The table in BigQuery, of Gemini's models. */
  vertex: {
    fields: ['full_response.responseId'],
    timeFields: ['logging_time'],
    by: 'response',
    only: ['model.provider=gcp.vertex_ai', 'input.format=gemini'],
  },
  /** [LiteLLM, /spend/logs] `request_id` is the id of the answer, or where there is none LiteLLM's own. */
  litellm: { fields: ['request_id'], timeFields: ['startTime'], by: 'any', only: [] },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof PRESETS;

export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[];
