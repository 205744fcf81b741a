/**
 * What does the record of a call say?
 *
 * The eight groups of docs/formats.md, from what the proxy saw: the facts of the exchange, and what the
 * provider's reader made of the bytes. A member is there exactly if the event happened and is known. Content
 * and identities are commitments; their disclosures, and the bodies themselves, travel beside the entry.
 *
 * A value that is too large for a disclosure becomes a body. What has no canonical form, or no room, is left
 * out: the raw bodies are committed in any case.
 */
import type { Json } from '../core/json.ts';
import { RECORD_LIST_MAX } from '../core/limits.ts';
import type { InferenceRecord } from '../core/record.ts';
import { timestampUs } from './clock.ts';
import { Committed, commitRequest, commitResponse } from './committed.ts';
import { decodeContent, isIdentity } from './decode.ts';
import type { BeginFacts, EndFrame } from './facts.ts';
import type { HeaderFacts } from './headers.ts';
import { outcomeOf, streamEndOf } from './outcome.ts';
import { NORMALIZED_CHARS_MAX } from './providers/draft.ts';
import { providerFor } from './providers/index.ts';
import type { Provider, RequestFacts, ResponseFacts } from './providers/provider.ts';
import type { BodyRef } from './record-frame.ts';
import { Skimmer } from './skim.ts';
import { collect, type SpooledCall } from './spooled.ts';

/** What the forwarder still knows when a call ends. */
export interface LiveFacts {
  readonly spooled: SpooledCall;
  readonly end: EndFrame;
  /** Nothing if the body was too large to be parsed on the way. */
  readonly request: RequestFacts | undefined;
  readonly response: ResponseFacts | undefined;
}

export interface CallInput {
  readonly spooled: SpooledCall;
  readonly end: EndFrame;
  readonly live: LiveFacts | undefined;
  /** The log's origin. */
  readonly log: string;
  readonly source: InferenceRecord['source'];
  readonly retentionClass: string;
  readonly random: (bytes: number) => Uint8Array;
}

export interface BuiltCall {
  readonly record: InferenceRecord;
  readonly disclosures: readonly string[];
  readonly bodies: readonly BodyRef[];
  /** Committed like bodies, and not yet anywhere on disk. */
  readonly content: readonly { readonly field: string; readonly bytes: Uint8Array }[];
}

/** Bytes of a request whose content coding is undone. */
export const PARSE_BYTES_MAX = 16_777_216;

/** Bytes of a request that are read as they are; of a larger one all but the long texts (`skim.ts`). */
const WHOLE_BYTES_MAX = NORMALIZED_CHARS_MAX;

/** Tool calls whose arguments get a commitment of their own, beside that to the whole answer. */
const TOOL_ARGS_MAX = 32;

/** The whole record. Throws `malformed` or `unverified` if the spool does not give it. */
export async function buildCall(input: CallInput): Promise<BuiltCall> {
  const { spooled, end, live } = input;
  const provider = providerOf(spooled.begin);
  const request = live?.request ?? (await readRequest(provider, spooled, end));
  const response =
    live === undefined ? await readResponse(provider, spooled, end, request) : live.response;
  return build(input, provider, request, response);
}

/** Without anything that is read out of the bodies. */
export function buildMinimal(input: CallInput): Promise<BuiltCall> {
  return build(input, providerOf(input.spooled.begin), undefined, undefined);
}

export function providerOf(begin: BeginFacts): Provider {
  return providerFor(begin.upstream, begin.method, begin.target);
}

/** A request as its provider reads it, its content coding undone. */
export function requestFacts(
  provider: Provider,
  body: Uint8Array,
  headers: HeaderFacts,
): RequestFacts | undefined {
  const content = decodeContent(body, headers['content-encoding'], PARSE_BYTES_MAX);
  if (content === undefined) return undefined;
  if (content.length <= WHOLE_BYTES_MAX) return provider.request(content);
  const skimmer = new Skimmer();
  skimmer.push(content);
  return skimmed(provider, skimmer);
}

async function readRequest(
  provider: Provider,
  spooled: SpooledCall,
  end: EndFrame,
): Promise<RequestFacts | undefined> {
  const pieces = spooled.request(end.request_frames);
  const { headers } = spooled.begin;
  if (end.received.bytes <= WHOLE_BYTES_MAX) {
    return requestFacts(provider, await collect(pieces, WHOLE_BYTES_MAX), headers);
  }
  if (!isIdentity(headers['content-encoding'])) return undefined;
  const skimmer = new Skimmer();
  for await (const piece of pieces) skimmer.push(piece);
  return skimmed(provider, skimmer);
}

/** What is not told in full is not told. */
function skimmed(provider: Provider, skimmer: Skimmer): RequestFacts | undefined {
  const content = skimmer.end();
  if (content === undefined) return undefined;
  const { normalized, system, toolDefinitions, stop, ...facts } = provider.request(content);
  return facts;
}

async function readResponse(
  provider: Provider,
  spooled: SpooledCall,
  end: EndFrame,
  request: RequestFacts | undefined,
): Promise<ResponseFacts | undefined> {
  if (end.head === undefined) return undefined;
  const { status, headers } = end.head;
  const reader = provider.response({ status, headers, request });
  for await (const piece of spooled.response(end.response_frames)) reader.push(piece);
  return reader.end(end.transport === 'complete' ? 'eof' : 'cut');
}

async function build(
  input: CallInput,
  provider: Provider,
  request: RequestFacts | undefined,
  response: ResponseFacts | undefined,
): Promise<BuiltCall> {
  const { spooled, end, log, source } = input;
  const { begin, recordId } = spooled;
  const committed = new Committed(input.random);
  commitRequest(committed, begin, end, request);
  await commitResponse(committed, spooled, end, response);
  const output =
    end.response.bytes === 0 ? undefined : outputOf(provider, end, response, committed);
  const policy = policyOf(end, response, committed);
  const record: InferenceRecord = {
    schema: 'stele.record/1',
    kind: 'inference',
    log,
    record_id: recordId,
    source,
    time: {
      received: timestampUs(begin.received_us),
      completed: timestampUs(end.at_us),
      clock: { source: 'system', max_error_us: end.clock_error_us },
      ...(end.first_byte_us === undefined
        ? {}
        : { upstream_first_byte: timestampUs(end.first_byte_us) }),
    },
    ids: idsOf(begin, recordId, end, request, response),
    auth: authOf(begin),
    input: inputOf(provider, begin, end, request),
    model: modelOf(provider, begin, end, request, response),
    policy,
    ...(output === undefined ? {} : { output }),
    metrics: metricsOf(begin, end, response),
    outcome: outcomeOf(end, response),
    commitments: { alg: 'sha-256', form: 'sd-disclosure/1', fields: committed.fields },
    retention: { class: input.retentionClass },
  };
  const { disclosures, bodies, content } = committed;
  return { record, disclosures, bodies, content };
}

function idsOf(
  begin: BeginFacts,
  recordId: string,
  end: EndFrame,
  request: RequestFacts | undefined,
  response: ResponseFacts | undefined,
): InferenceRecord['ids'] {
  const { headers } = begin;
  const answer = end.head?.headers ?? {};
  const trace = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(headers.traceparent ?? '');
  const retries = /^[0-9]{1,4}$/.exec(headers['x-stainless-retry-count'] ?? '');
  const upstream =
    // [Azure OpenAI] Its x-request-id is another, and in no log that it gives out.
    answer['apim-request-id'] ??
    answer['x-request-id'] ??
    answer['request-id'] ??
    answer['x-amzn-requestid'] ??
    answer['cf-ray'];
  return known({
    gateway_request: recordId,
    attempt: 1 + Number(retries?.[0] ?? 0),
    upstream_request: label(upstream),
    client_request: label(headers['x-client-request-id'] ?? headers['x-request-id']),
    trace: trace?.[1],
    span: trace?.[2],
    conversation: label(request?.conversation ?? headers['x-stele-conversation']),
    previous_response: label(request?.previousResponse),
    response: label(response?.id),
  });
}

function authOf({ caller }: BeginFacts): InferenceRecord['auth'] {
  // Nobody asked who calls: a provider key passes through and is not ours to judge.
  if (caller === undefined) return { tenant: 'default', method: 'none', principal_type: 'unknown' };
  const { id, tenant, kind, method } = caller;
  return { tenant, method, principal_type: kind, credential: id };
}

function inputOf(
  provider: Provider,
  { headers }: BeginFacts,
  end: EndFrame,
  request: RequestFacts | undefined,
): InferenceRecord['input'] {
  return known({
    format: formatOf(provider),
    context: request?.context ?? 'unknown',
    bytes_class: bitLength(end.received.bytes),
    messages: request?.messages,
    tools: request?.tools,
    attachments: request?.attachments,
    system_prompt_version: label(headers['x-stele-system-prompt-version']),
    prompt_name: label(headers['x-stele-prompt-name']),
    prompt_version: label(headers['x-stele-prompt-version']),
  });
}

function modelOf(
  provider: Provider,
  { headers, endpoint, target }: BeginFacts,
  end: EndFrame,
  request: RequestFacts | undefined,
  response: ResponseFacts | undefined,
): InferenceRecord['model'] {
  const version =
    headers['anthropic-version'] ??
    end.head?.headers['openai-version'] ??
    new URLSearchParams(target.split('?')[1] ?? '').get('api-version') ??
    provider.apiVersion;
  return known({
    provider: provider.provider,
    operation: provider.operation,
    requested: label(request?.model),
    served: label(response?.served),
    system_fingerprint: label(response?.systemFingerprint),
    service_tier: label(response?.serviceTier),
    endpoint: label(endpoint),
    api_version: label(version),
    region: label(regionOf(endpoint, end)),
    params: request?.parsed ? request.params : undefined,
  });
}

function outputOf(
  provider: Provider,
  end: EndFrame,
  response: ResponseFacts | undefined,
  committed: Committed,
): NonNullable<InferenceRecord['output']> {
  const reasons = (response?.finishReasons ?? []).flatMap((reason) => label(reason) ?? []);
  return known({
    format: formatOf(provider),
    refused: response?.refused ?? false,
    finish_reasons: listOf('output.finish_reasons', reasons, committed),
    choices: response?.choices,
    bytes_class: bitLength(end.response.bytes),
    stream:
      response?.stream === undefined
        ? undefined
        : { events: response.stream.events, terminated: streamEndOf(end, response.stream) },
    tool_calls: toolCalls(response, committed),
  });
}

function toolCalls(response: ResponseFacts | undefined, committed: Committed) {
  if (response === undefined) return undefined;
  if (response.toolCalls.length > RECORD_LIST_MAX) {
    const all = response.toolCalls.map((call) => ({ ...call }));
    return listOf('output.tool_calls', all, committed);
  }
  return response.toolCalls.map((call, i) =>
    known({
      name: label(call.name) ?? 'unnamed',
      id: label(call.id),
      args_commit:
        i < TOOL_ARGS_MAX
          ? committed.value(`tool_calls.${i}.args`, call.arguments, false)
          : undefined,
    }),
  );
}

/** What was said here of the request, then what the provider said of it and of its answer. */
function policyOf(
  { judged }: EndFrame,
  response: ResponseFacts | undefined,
  committed: Committed,
): InferenceRecord['policy'] {
  const ours = judged?.events ?? [];
  const theirs = response?.policyEvents ?? [];
  // Reasons belong to items, and a longer list has none.
  const hasItems = ours.length + theirs.length <= RECORD_LIST_MAX;
  const events = [
    ...ours.map(({ rule, verdict, action, category, score_milli, reason }, i) =>
      known({
        stage: 'input',
        verdict,
        action,
        rule,
        category,
        score_milli,
        modified: action === 'redact' ? true : undefined,
        reason_commit: hasItems ? committed.value(`policy.${i}.reason`, reason, false) : undefined,
      }),
    ),
    ...theirs.map((event) =>
      known({
        stage: event.stage,
        verdict: token(event.verdict),
        action: event.action,
        rule: label(event.rule),
        category: label(event.category),
      }),
    ),
  ];
  const replaced = judged?.replaced ?? [];
  if (replaced.length > 0) committed.value('policy.manifest', replaced);
  return known({
    version: judged?.version,
    digest: judged?.digest,
    events: listOf('policy.events', events, committed) as InferenceRecord['policy']['events'],
  });
}

function metricsOf(
  begin: BeginFacts,
  end: EndFrame,
  response: ResponseFacts | undefined,
): InferenceRecord['metrics'] {
  const usage = response?.usage;
  return known({
    duration_us: Math.max(0, end.at_us - begin.received_us),
    usage_source: usage === undefined ? ('none' as const) : ('provider' as const),
    ttfb_us:
      end.first_byte_us === undefined || end.response.bytes === 0
        ? undefined
        : Math.max(0, end.first_byte_us - begin.received_us),
    proxy_overhead_us: end.overhead_us,
    input_tokens: usage?.inputTokens,
    output_tokens: usage?.outputTokens,
    cache_read_input_tokens: usage?.cacheReadInputTokens,
    cache_write_input_tokens: usage?.cacheWriteInputTokens,
    reasoning_output_tokens: usage?.reasoningOutputTokens,
  });
}

/** A list, or its count and a commitment to all of it where it is too long for a record. */
function listOf<T extends Json>(name: string, items: readonly T[], committed: Committed) {
  if (items.length <= RECORD_LIST_MAX) return items;
  const commit = committed.value(name, items, false);
  return commit === undefined ? [] : { count: items.length, commit };
}

/** Where the model ran: Azure says it, and of AWS it is in the host's name. */
function regionOf(endpoint: string, end: EndFrame): string | undefined {
  const region = end.head?.headers['x-ms-region'];
  return region ?? /^bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\./.exec(endpoint)?.[1];
}

/** Forms with one prompt in place of messages have no format of their own in a record. */
function formatOf({ format }: Provider): InferenceRecord['input']['format'] {
  return format === 'openai.completions' || format === 'ollama.generate' ? 'opaque' : format;
}

/** Bits that a byte count needs. */
function bitLength(n: number): number {
  return n === 0 ? 0 : Math.floor(Math.log2(n)) + 1;
}

/** A stranger's text as a label, or nothing: not empty, well formed, and short. */
function label(text: string | undefined): string | undefined {
  return text !== undefined && text !== '' && text.length <= 1_024 && text.isWellFormed()
    ? text
    : undefined;
}

function token(text: string): string {
  return /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(text) && text.length <= 64 ? text : 'other';
}

type Known<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Without the members that are not known: absent, never null. */
function known<T extends object>(members: T): Known<T> {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined),
  ) as Known<T>;
}
