/**
 * What LiteLLM's webhook reports: a `StandardLoggingPayload` for each call, alone, in a list, or one a line.
 *
 * Whatever the provider was, LiteLLM's messages and answers are in OpenAI's formats, so they are read by the
 * proxy's readers of those. Times are seconds as floating-point numbers, costs US dollars. LiteLLM may have put
 * `redacted-by-litellm` in place of words, or a placeholder in place of a file: the record says so.
 */
import { utf8 } from '../core/bytes.ts';
import { malformed, SteleError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { anthropicMessages } from '../proxy/providers/anthropic.ts';
import { openaiChat } from '../proxy/providers/chat.ts';
import { openaiCompletions } from '../proxy/providers/completions.ts';
import { openaiEmbeddings } from '../proxy/providers/embeddings.ts';
import { opaque } from '../proxy/providers/opaque.ts';
import type { Provider, RequestFacts, ResponseFacts } from '../proxy/providers/provider.ts';
import { openaiResponses } from '../proxy/providers/responses.ts';
import {
  countOf,
  isObject,
  labelOf,
  type Members,
  members,
  textOf,
} from '../proxy/providers/values.ts';
import { JsonRoom } from './json.ts';
import type { AnswerFacts, Format, Outcome, Reported } from './reported.ts';
import { inTurns } from './turns.ts';
import type { CallReport } from './writer.ts';

/** Calls in one request: as many as entries in a batch. */
const CALLS_MAX = 10_000;

/** A call, or why it is none. */
export type Item = CallReport | SteleError;

/** Reads a request in any of LiteLLM's three forms. */
export async function findPayloads(body: Uint8Array): Promise<Item[]> {
  const items = itemsOf(body);
  if (items.length > CALLS_MAX) {
    throw new SteleError(
      'too_large',
      `litellm: ${items.length} calls where ${CALLS_MAX} are taken`,
    );
  }
  if (items.length === 0) throw malformed('litellm', 'there is no call in it');
  return inTurns(items, (item, i) => itemOf(item, i + 1));
}

/** One text of JSON, or one a line; what is wrong with a line is wrong with that call alone. */
function itemsOf(body: Uint8Array): unknown[] {
  const lines = linesOf(body);
  const room = new JsonRoom();
  const whole = lines.length === 1 || !isWhole(lines[0]) ? room.parse(body, 'litellm') : undefined;
  if (whole !== undefined) return Array.isArray(whole) ? whole : [whole];
  return lines.map((line) => {
    const item = itemIn(line, room);
    room.checkAll('litellm');
    return item;
  });
}

function itemIn(line: Uint8Array, room: JsonRoom): unknown {
  try {
    return room.parse(line, 'litellm');
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
}

/** Whether a line is JSON by itself, so that the others are too. */
function isWhole(line: Uint8Array | undefined): boolean {
  if (line === undefined) return false;
  try {
    return isObject(new JsonRoom().parse(line, 'litellm'));
  } catch (error) {
    if (error instanceof SteleError) return false;
    throw error;
  }
}

const LINE_FEED = 0x0a;

function linesOf(body: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let at = 0; at < body.length; ) {
    const found = body.indexOf(LINE_FEED, at);
    const end = found < 0 ? body.length : found;
    const line = body.subarray(at, end);
    if (line.some((byte) => byte > 0x20)) lines.push(line);
    at = end + 1;
  }
  return lines;
}

/** The call that a payload tells of; throws `malformed` if it is none. */
export function callIn(payload: Members, what = 'call'): Reported {
  const id = labelOf(payload.id) ?? labelOf(payload.litellm_call_id);
  if (id === undefined) throw malformed(what, 'it has no id');
  if (secondsOf(payload.startTime) === undefined || secondsOf(payload.endTime) === undefined) {
    throw malformed(what, 'startTime and endTime are not seconds since 1970');
  }
  return reportedOf(payload);
}

function itemOf(item: unknown, number: number): Item {
  const what = `call ${number}`;
  if (item instanceof SteleError) return malformed(what, item.message);
  if (!isObject(item)) return malformed(what, 'it is no StandardLoggingPayload');
  const payload = members(item);
  let reported: Reported;
  try {
    reported = callIn(payload, what);
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
  const identity = `litellm ${JSON.stringify(payload)}`;
  // It was JSON when it came.
  return {
    call: undefined,
    reported,
    pieces: [{ identity, report: payload as Json }],
  };
}

type Shape = {
  readonly of: (provider: string) => Provider;
  readonly format: Format;
  /** Where the request has what LiteLLM calls messages. */
  readonly input: string;
};

const CHAT: Shape = { of: openaiChat, format: 'openai.chat', input: 'messages' };

/** By LiteLLM's `call_type`, without the `a` of what was awaited. */
const SHAPES: Readonly<Record<string, Shape>> = {
  completion: CHAT,
  text_completion: { of: openaiCompletions, format: 'opaque', input: 'prompt' },
  embedding: { of: openaiEmbeddings, format: 'openai.embeddings', input: 'input' },
  responses: { of: openaiResponses, format: 'openai.responses', input: 'input' },
  anthropic_messages: { of: anthropicMessages, format: 'anthropic.messages', input: 'messages' },
};
const OTHER: Shape = { of: opaque, format: 'opaque', input: 'input' };

function reportedOf(payload: Members): Reported {
  const type = textOf(payload.call_type) ?? '';
  const shape = SHAPES[type] ?? SHAPES[type.replace(/^a/, '')] ?? OTHER;
  const name = labelOf(payload.custom_llm_provider) ?? 'unknown';
  const provider = shape.of(name);
  const cut = cutIn(payload);
  const request = requestOf(payload, provider, shape, cut);
  const answer = answerOf(payload, provider, cut);
  const metadata = members(payload.metadata);
  const { outcome, error } = outcomeOf(payload, answer);
  const [begin, end] = [payload.startTime, payload.endTime].map((time) => secondsOf(time) ?? 0);
  const first = secondsOf(payload.completionStartTime);
  const isStream = payload.stream === true && first !== undefined;
  return {
    format: shape.format,
    provider: name,
    operation: shape === OTHER ? (labelOf(type) ?? 'unknown') : provider.operation,
    ids: {
      gatewayRequest: labelOf(payload.litellm_call_id) ?? labelOf(payload.id),
      conversation: labelOf(payload.session_id),
    },
    beginUs: begin ?? 0,
    endUs: Math.max(begin ?? 0, end ?? 0),
    ...(isStream && first >= (begin ?? 0) && first <= (end ?? 0) && { firstByteUs: first }),
    request,
    answer,
    outcome,
    error,
    endpoint: hostOf(textOf(payload.api_base)),
    principal:
      textOf(metadata.user_api_key_user_id) || textOf(metadata.user_api_key_hash) || undefined,
    onBehalfOf: textOf(payload.end_user) || undefined,
    costNanoUsd: costOf(payload.response_cost),
    reporter: 'litellm',
    truncated: cut,
  };
}

function requestOf(
  payload: Members,
  provider: Provider,
  { input }: Shape,
  cut: readonly string[],
): RequestFacts {
  const { messages, model, model_parameters } = payload;
  const body = { ...members(model_parameters), model, [input]: messages };
  const facts = provider.request(utf8(JSON.stringify(body)));
  if (!cut.includes('request.messages')) return { ...facts, context: 'unknown' };
  // Words that stand in place of others are not what the model was given.
  const { normalized: _, system: __, messages: ___, ...rest } = facts;
  return { ...rest, context: 'unknown' };
}

function answerOf(
  payload: Members,
  provider: Provider,
  cut: readonly string[],
): AnswerFacts | undefined {
  const { response } = payload;
  if (textOf(payload.status) === 'failure' || !isObject(response)) return undefined;
  const reader = provider.response({
    status: 200,
    headers: { 'content-type': 'application/json' },
  });
  reader.push(utf8(JSON.stringify(response)));
  const facts = reader.end('eof');
  const usage = facts.usage ?? usageOf(payload);
  const known: ResponseFacts = { ...facts, ...(usage !== undefined && { usage }) };
  if (!cut.includes('response.messages')) return known;
  const { normalized: _, reasoning: __, ...rest } = known;
  return { ...rest, toolCalls: [] };
}

function usageOf({ prompt_tokens, completion_tokens }: Members): ResponseFacts['usage'] {
  const [inputTokens, outputTokens] = [countOf(prompt_tokens), countOf(completion_tokens)];
  if (!inputTokens && !outputTokens) return undefined;
  return {
    ...(inputTokens !== undefined && { inputTokens }),
    ...(outputTokens !== undefined && { outputTokens }),
  };
}

function outcomeOf(payload: Members, answer: AnswerFacts | undefined) {
  const { error_class, error_code, error_message } = members(payload.error_information);
  if (textOf(payload.status) !== 'failure') {
    const status: Outcome['status'] = answer?.refused === true ? 'refused' : 'ok';
    return { outcome: { status }, error: undefined };
  }
  const type = labelOf(error_class);
  const code = labelOf(error_code);
  const http = /^[1-5][0-9]{2}$/.test(code ?? '') ? Number(code) : undefined;
  const status: Outcome['status'] = /timeout/i.test(type ?? '') ? 'timeout' : 'upstream-error';
  return {
    outcome: {
      status,
      ...(http !== undefined && { http_status: http }),
      ...(type !== undefined && { error_type: type }),
      ...(code !== undefined && http === undefined && { error_code: code }),
    },
    error: textOf(error_message) || textOf(payload.error_str) || undefined,
  };
}

const REDACTED = 'redacted-by-litellm';
/** [LiteLLM, truncate_base64_in_messages; litellm_truncated] */
const SHORTENED = /\[base64_data truncated: |"litellm_truncated"/;

/** Which parts LiteLLM itself left out, by the marks that it puts there. */
function cutIn({ messages, response }: Members): readonly string[] {
  const cut: string[] = [];
  for (const [name, value] of [
    ['request.messages', messages],
    ['response.messages', response],
  ] as const) {
    const text = JSON.stringify(value ?? null);
    if (text.includes(REDACTED)) cut.push(name);
    else if (SHORTENED.test(text)) cut.push(name.replace('messages', 'attachments'));
  }
  return cut;
}

/** Microseconds of seconds since 1970; nothing for what is no time. */
function secondsOf(value: unknown): number | undefined {
  if (typeof value !== 'number' || !(value > 0) || value > 253_402_300_799) return undefined;
  return Math.round(value * 1e6);
}

function costOf(cost: unknown): number | undefined {
  const nano = typeof cost === 'number' && cost >= 0 ? Math.round(cost * 1e9) : undefined;
  return Number.isSafeInteger(nano) ? nano : undefined;
}

/** Never the whole address: a path or a query may hold what is secret. */
function hostOf(address: string | undefined): string | undefined {
  if (address === undefined || !URL.canParse(address)) return undefined;
  return labelOf(new URL(address).host);
}
