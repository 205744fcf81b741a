/**
 * What do a span and the events beside it say of one call to a model?
 *
 * The conventions changed their names, and instrumentations still speak each of them; where two say the same,
 * the newest name counts. A record has names of its own, so nothing here reaches hashed bytes as it is named.
 *
 *     current      gen_ai.provider.name, gen_ai.input.messages on the span or its `…operation.details` event
 *     to 1.36      gen_ai.system, one event for each message (gen_ai.user.message, gen_ai.choice)
 *     to 1.27      gen_ai.prompt and gen_ai.completion, on span events or numbered attributes
 *     OpenInference  openinference.span.kind, llm.*, input.value, output.value
 */
import { labelOf, normal, textOf } from '../../proxy/providers/values.ts';
import { JsonRoom } from '../json.ts';
import type { AnswerFacts, Outcome, Reported } from '../reported.ts';
import {
  indexedMessages,
  instructionsOf,
  type Message,
  messageOf,
  messagesOf,
  openInferenceMessages,
} from './messages.ts';
import { paramsIn, usageIn } from './numbers.ts';
import type { Attributes, LogData, SpanData } from './telemetry.ts';

export const DETAILS = 'gen_ai.client.inference.operation.details';

/** The events of one message each, by what they say. */
const MESSAGE_EVENTS: Readonly<Record<string, string>> = {
  'gen_ai.system.message': 'system',
  'gen_ai.user.message': 'user',
  'gen_ai.assistant.message': 'assistant',
  'gen_ai.tool.message': 'tool',
};
export const CHOICE = 'gen_ai.choice';
const EXCEPTIONS = new Set([
  'exception',
  'gen_ai.client.inference.exception',
  'gen_ai.client.operation.exception',
]);

/** What an event is to a call: nothing if it is none of a call's. */
export function roleOfEvent(name: string): 'details' | 'choice' | 'part' | undefined {
  if (name === DETAILS) return 'details';
  if (name === CHOICE) return 'choice';
  const isPart =
    Object.hasOwn(MESSAGE_EVENTS, name) || (EXCEPTIONS.has(name) && name !== 'exception');
  return isPart ? 'part' : undefined;
}

/** Operations around calls, each of which has a span of its own. */
const AROUND = new Set([
  'create_agent',
  'execute_tool',
  'invoke_agent',
  'invoke_workflow',
  'retrieval',
]);

/** Whether a span is of a call to a model. */
export function isCall({ attributes }: SpanData): boolean {
  const operation = textOf(attributes['gen_ai.operation.name']);
  if (operation !== undefined) return !AROUND.has(operation) && !/memory/.test(operation);
  const kind = textOf(attributes['openinference.span.kind']);
  if (kind !== undefined) return kind === 'LLM' || kind === 'EMBEDDING';
  const provider = attributes['gen_ai.provider.name'] ?? attributes['gen_ai.system'];
  return provider !== undefined && attributes['gen_ai.request.model'] !== undefined;
}

/** The call that a span, its events, or both tell of. */
export function callOf(span: SpanData | undefined, events: readonly LogData[]): Reported {
  const details = events.find(({ name }) => name === DETAILS);
  const first = span ?? details ?? events[0];
  const attributes = mergedAttributes(span, events, details);
  const at = timesOf(span, events);
  const room = first?.room ?? new JsonRoom();
  const content = contentOf(span, events, attributes, room);
  const request = requestOf(attributes, content, room);
  const answer = answerOf(attributes, content, room);
  const { outcome, error } = outcomeOf(span, events, attributes, answer);
  const read = (...names: readonly string[]) => labelOf(firstOf(attributes, names));
  return {
    format:
      content.input === undefined && content.output === undefined ? 'opaque' : 'otel.messages',
    provider:
      read('gen_ai.provider.name', 'gen_ai.system', 'llm.provider', 'llm.system') ?? 'unknown',
    operation: operationOf(attributes),
    ids: {
      trace: first?.trace,
      span: first?.span,
      conversation: read('gen_ai.conversation.id', 'session.id'),
    },
    ...at,
    request,
    answer,
    outcome,
    error,
    endpoint: endpointOf(attributes),
    apiVersion: read('openai.api.version', 'az.api.version'),
    promptName: read('gen_ai.prompt.name', 'llm.prompt_template.name'),
    promptVersion: read('gen_ai.prompt.version', 'llm.prompt_template.version'),
    principal: textOf(firstOf(attributes, ['enduser.id', 'user.id'])),
    costNanoUsd: costOf(attributes),
    reporter: reporterOf(first),
    truncated: [
      ...new Set([...(span?.dropped ?? []), ...events.flatMap(({ dropped }) => dropped)]),
    ],
  };
}

/** Whether a span brings messages of its own, so that no event of them is to be waited for. */
export function hasContent(span: SpanData): boolean {
  const { input, output } = contentOf(
    span,
    [],
    mergedAttributes(span, [], undefined),
    // It is only looked at, and gone.
    new JsonRoom(),
  );
  return input !== undefined || output !== undefined;
}

/** The span's own word counts before its event's. */
function mergedAttributes(
  span: SpanData | undefined,
  events: readonly LogData[],
  details: LogData | undefined,
): Attributes {
  const onSpan = span?.events.find(({ name }) => name === DETAILS);
  const others = events.filter((event) => event !== details).map(({ attributes }) => attributes);
  const all = [...others, details?.attributes, onSpan?.attributes, span?.attributes];
  return Object.assign(Object.create(null), ...all);
}

function timesOf(span: SpanData | undefined, events: readonly LogData[]) {
  const times = events.flatMap(({ timeUs }) => timeUs ?? []);
  const begin = span?.beginUs ?? (times.length > 0 ? Math.min(...times) : 0);
  const end = Math.max(begin, span?.endUs ?? (times.length > 0 ? Math.max(...times) : begin));
  const seconds = span?.attributes['gen_ai.response.time_to_first_chunk'];
  const firstByte =
    typeof seconds === 'number' && seconds >= 0 ? Math.round(begin + seconds * 1e6) : undefined;
  const isInside = firstByte !== undefined && firstByte <= end;
  return { beginUs: begin, endUs: end, ...(isInside && { firstByteUs: firstByte }) };
}

interface Content {
  readonly system: readonly Message[] | undefined;
  readonly input: readonly Message[] | undefined;
  readonly output: readonly Message[] | undefined;
  readonly tools: unknown;
}

function contentOf(
  span: SpanData | undefined,
  events: readonly LogData[],
  attributes: Attributes,
  room: JsonRoom,
): Content {
  const said = [
    ...(span?.events ?? []),
    ...events.map(({ name, attributes: own, body }) => ({ name, attributes: bodied(own, body) })),
  ];
  const input =
    messagesOf(attributes['gen_ai.input.messages'], 'user', room) ??
    openInferenceMessages(attributes, 'llm.input_messages.', { role: 'user', room }) ??
    indexedMessages(attributes, 'gen_ai.prompt.', { role: 'user', room }) ??
    notEmpty(said.flatMap(({ name, attributes: own }) => inputOfEvent(name, own, room))) ??
    messagesOf(openInferenceValue(attributes, 'input.value'), 'user', room);
  const output =
    messagesOf(attributes['gen_ai.output.messages'], 'assistant', room) ??
    openInferenceMessages(attributes, 'llm.output_messages.', { role: 'assistant', room }) ??
    indexedMessages(attributes, 'gen_ai.completion.', { role: 'assistant', room }) ??
    notEmpty(said.flatMap(({ name, attributes: own }) => outputOfEvent(name, own, room))) ??
    messagesOf(openInferenceValue(attributes, 'output.value'), 'assistant', room);
  return {
    system: instructionsOf(attributes['gen_ai.system_instructions'], room),
    input,
    output,
    tools: attributes['gen_ai.tool.definitions'] ?? attributes['llm.tools'],
  };
}

/** Without messages of its own an OpenInference span still has its input and output as one text. */
function openInferenceValue(attributes: Attributes, name: 'input.value' | 'output.value'): unknown {
  if (attributes['openinference.span.kind'] === undefined) return undefined;
  const value = attributes[name];
  return typeof value === 'string'
    ? { role: name === 'input.value' ? 'user' : 'assistant', content: value }
    : undefined;
}

/** An event's body is a map of what others put into attributes. */
function bodied(attributes: Attributes, body: unknown): Attributes {
  return typeof body === 'object' && body !== null && !Array.isArray(body)
    ? { ...attributes, ...body }
    : body === undefined || body === ''
      ? attributes
      : { ...attributes, content: body };
}

function inputOfEvent(name: string, attributes: Attributes, room: JsonRoom): Message[] {
  const role = Object.hasOwn(MESSAGE_EVENTS, name) ? MESSAGE_EVENTS[name] : undefined;
  if (role !== undefined)
    return hasWords(attributes) ? [messageOf({ ...attributes }, role, room)] : [];
  if (name !== 'gen_ai.content.prompt') return [];
  return messagesOf(attributes['gen_ai.prompt'], 'user', room) ?? [];
}

function outputOfEvent(name: string, attributes: Attributes, room: JsonRoom): Message[] {
  if (name === 'gen_ai.content.completion') {
    return messagesOf(attributes['gen_ai.completion'], 'assistant', room) ?? [];
  }
  if (name !== CHOICE) return [];
  const said = attributes.message;
  const parsed = typeof said === 'string' ? (room.within(said) ?? { content: said }) : said;
  const inner = typeof parsed === 'object' && parsed !== null ? parsed : attributes;
  if (!hasWords(inner as Attributes)) return [];
  const finish = labelOf(attributes.finish_reason);
  return [
    {
      ...messageOf(inner, 'assistant', room),
      ...(finish !== undefined && { finish_reason: finish }),
    },
  ];
}

/** Where content is not captured, the events still come, with everything but words. */
function hasWords({ content, tool_calls, parts }: Attributes): boolean {
  return content !== undefined || tool_calls !== undefined || parts !== undefined;
}

function requestOf(
  attributes: Attributes,
  { system, input, tools }: Content,
  room: JsonRoom,
): Reported['request'] {
  const ours = input?.filter(({ role }) => role === 'system' || role === 'developer') ?? [];
  const instructions = [...(system ?? []), ...ours];
  const all = input && [...(system ?? []), ...input];
  const normalized = all && normal({ messages: all });
  const systemText = instructions.length > 0 ? normal({ messages: instructions }) : undefined;
  const list = typeof tools === 'string' ? (room.within(tools) ?? tools) : tools;
  const definitions = list === undefined ? undefined : normal(list);
  const model = labelOf(
    firstOf(attributes, [
      'gen_ai.request.model',
      'llm.request.model_name',
      'llm.model_name',
      'embedding.model_name',
    ]),
  );
  const attachments = input
    ?.flatMap(({ parts }) => parts)
    .filter(({ type }) => type === 'image' || type === 'audio' || type === 'file').length;
  const previous = labelOf(attributes['gen_ai.request.previous_response.id']);
  return {
    parsed: true,
    stream: attributes['gen_ai.request.stream'] === true,
    ...(model !== undefined && { model }),
    ...(input && { messages: input.length }),
    ...(Array.isArray(list) && { tools: list.length }),
    ...(attachments !== undefined && { attachments }),
    // Whoever reported it may have reported less than the model was given.
    context: 'unknown',
    params: paramsIn(attributes, room),
    ...(normalized !== undefined && { normalized }),
    ...(systemText !== undefined && { system: systemText }),
    ...(definitions !== undefined && { toolDefinitions: definitions }),
    ...(previous !== undefined && { previousResponse: previous }),
  };
}

function answerOf(
  attributes: Attributes,
  { output }: Content,
  room: JsonRoom,
): AnswerFacts | undefined {
  const finishReasons = finishReasonsOf(attributes, output, room);
  const usage = usageIn(attributes);
  const read = (...names: readonly string[]) => labelOf(firstOf(attributes, names));
  const id = read('gen_ai.response.id');
  const served = read('gen_ai.response.model', 'llm.response.model_name');
  const isKnown = [output, usage?.outputTokens, id, served].some((known) => known !== undefined);
  if (!isKnown && finishReasons.length === 0) return undefined;
  const parts = output?.flatMap((message) => message.parts) ?? [];
  const normalized = output && normal({ messages: output.map((one) => only(one, false)) });
  const thought = output?.filter(({ parts: all }) => all.some(isReasoning)) ?? [];
  const reasoning =
    thought.length > 0 ? normal({ messages: thought.map((one) => only(one, true)) }) : undefined;
  const serviceTier = read('openai.response.service_tier', 'gen_ai.openai.response.service_tier');
  const systemFingerprint = read(
    'openai.response.system_fingerprint',
    'gen_ai.openai.response.system_fingerprint',
  );
  return {
    ...(id !== undefined && { id }),
    ...(served !== undefined && { served }),
    ...(serviceTier !== undefined && { serviceTier }),
    ...(systemFingerprint !== undefined && { systemFingerprint }),
    ...(output && { choices: output.length }),
    ...(usage !== undefined && { usage }),
    ...(normalized !== undefined && { normalized }),
    ...(reasoning !== undefined && { reasoning }),
    finishReasons,
    refused: finishReasons.includes('refusal') || parts.some(({ type }) => type === 'refusal'),
    toolCalls: parts.flatMap(({ type, id: call, name, arguments: args }) => {
      const [callId, callName] = [labelOf(call), labelOf(name)];
      return type !== 'tool_call'
        ? []
        : {
            ...(callId !== undefined && { id: callId }),
            ...(callName !== undefined && { name: callName }),
            arguments: textOf(args) ?? '',
          };
    }),
    policyEvents: [],
  };
}

function isReasoning({ type }: Message['parts'][number]): boolean {
  return type === 'reasoning';
}

function only(message: Message, reasoning: boolean): Message {
  return { ...message, parts: message.parts.filter((part) => isReasoning(part) === reasoning) };
}

function finishReasonsOf(
  attributes: Attributes,
  output: readonly Message[] | undefined,
  room: JsonRoom,
): readonly string[] {
  const given = firstOf(attributes, ['gen_ai.response.finish_reasons', 'llm.finish_reason']);
  const parsed = typeof given === 'string' ? (room.within(given) ?? given) : given;
  const list = Array.isArray(parsed) ? parsed : parsed === undefined ? [] : [parsed];
  const reasons = list.flatMap((reason) => labelOf(reason) ?? []);
  return reasons.length > 0 ? reasons : (output ?? []).flatMap((one) => one.finish_reason ?? []);
}

function outcomeOf(
  span: SpanData | undefined,
  events: readonly LogData[],
  attributes: Attributes,
  answer: AnswerFacts | undefined,
): { readonly outcome: Outcome; readonly error: string | undefined } {
  const exception = [...(span?.events ?? []), ...events].find(({ name }) => EXCEPTIONS.has(name));
  const type =
    labelOf(attributes['error.type']) ?? labelOf(exception?.attributes['exception.type']);
  const status = firstOf(attributes, ['http.response.status_code', 'http.status_code']);
  const http = typeof status === 'number' && status >= 100 && status <= 599 ? status : undefined;
  const hasFailed = span?.status.code === 2 || type !== undefined || exception !== undefined;
  const how = /timeout|deadline/i.test(type ?? '') ? 'timeout' : 'upstream-error';
  const refused = answer?.refused === true ? 'refused' : 'ok';
  return {
    outcome: {
      status: hasFailed ? how : refused,
      ...(http !== undefined && Number.isInteger(http) && { http_status: http }),
      ...(hasFailed && type !== undefined && { error_type: type }),
    },
    error: hasFailed
      ? (span?.status.message ?? textOf(exception?.attributes['exception.message']))
      : undefined,
  };
}

function operationOf(attributes: Attributes): string {
  const named = labelOf(attributes['gen_ai.operation.name']);
  if (named !== undefined) return named;
  const kind = attributes['openinference.span.kind'] ?? attributes['llm.request.type'];
  return /embedding/i.test(textOf(kind) ?? '') ? 'embeddings' : 'chat';
}

function endpointOf(attributes: Attributes): string | undefined {
  const address = labelOf(attributes['server.address']);
  const port = labelOf(attributes['server.port']);
  return address === undefined || port === undefined ? address : `${address}:${port}`;
}

const NANO = 1e9;

/** [OpenInference, llm.cost.total; LiteLLM, gen_ai.cost.total_cost] In US dollars. */
function costOf(attributes: Attributes): number | undefined {
  const cost = firstOf(attributes, [
    'gen_ai.cost.total_cost',
    'llm.cost.total',
    'gen_ai.usage.cost',
  ]);
  if (typeof cost !== 'number' || !(cost >= 0)) return undefined;
  const nano = Math.round(cost * NANO);
  return Number.isSafeInteger(nano) ? nano : undefined;
}

/** Which service reported it, with which instrumentation. */
function reporterOf(from: SpanData | LogData | undefined): string {
  const service = textOf(from?.resource['service.name']);
  const { name, version } = from?.scope ?? {};
  const scope = name && (version ? `${name}/${version}` : name);
  const text = [service, scope].filter((part) => part !== undefined && part !== '').join(' ');
  return text === '' ? 'opentelemetry' : text.toWellFormed().slice(0, 256);
}

function firstOf(attributes: Attributes, names: readonly string[]): unknown {
  for (const name of names) if (attributes[name] !== undefined) return attributes[name];
  return undefined;
}

function notEmpty(messages: Message[]): Message[] | undefined {
  return messages.length > 0 ? messages : undefined;
}
