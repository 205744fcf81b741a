/**
 * Lists that providers give, and where in them a call's id is.
 *
 * Only lists with a row for each call can be compared. The usage and cost reports of OpenAI and Anthropic add up calls by
 * the minute or longer and name none of them.
 */
import type { IdKind } from './records.ts';

export interface Preset {
  readonly fields: readonly string[];
  readonly timeFields: readonly string[];
  readonly by: IdKind;
  /** Which records the list can be about. */
  readonly only: readonly string[];
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
  /** Stored completions and responses, as the API lists them. */
  openai: {
    fields: ['id'],
    timeFields: ['created', 'created_at'],
    by: 'response',
    only: ['model.provider=openai'],
  },
  /** The id of a message, or the header `request-id` of its answer. */
  anthropic: {
    fields: ['request_id', 'request-id', 'id'],
    timeFields: ['created_at', 'timestamp'],
    by: 'any',
    only: ['model.provider=anthropic'],
  },
  /** Diagnostic logs of the category RequestResponse, from a workspace or a storage account. */
  azure: {
    fields: ['CorrelationId', 'correlationId'],
    timeFields: ['TimeGenerated', 'time'],
    by: 'upstream',
    only: ['model.provider=azure.ai.openai'],
  },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof PRESETS;

export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[];
