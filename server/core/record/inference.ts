/**
 * The record of one model call, and of the intent to make it.
 *
 * Eight groups in the order of a request (docs/formats.md has every member with its meaning):
 *
 *     ids time · auth · input · model · policy · output · effects · metrics, and the outcome
 *
 * A member is there exactly if the event happened and is known: without an answer byte there is no
 * `output`, no `ids.response`, no `metrics.ttfb_us`; `model.requested` is absent where the body could
 * not be read. Content and identities are in `commitments` only.
 */
import { RECORD_LIST_MAX } from '../limits.ts';
import {
  bool,
  constant,
  int,
  list,
  listOr,
  map,
  nullable,
  object,
  oneOf,
  pattern,
  type Shape,
  type Shaped,
} from '../schema.ts';
import { clock, common, dec, dig, str, token, ts } from './fields.ts';
import { isFieldName } from './names.ts';

export const INPUT_FORMATS = [
  'openai.chat',
  'openai.responses',
  'openai.embeddings',
  'anthropic.messages',
  'gemini',
  'bedrock.converse',
  'ollama.chat',
  'otel.messages',
  'opaque',
] as const;

export const INPUT_CONTEXTS = ['complete', 'external-state', 'unknown'] as const;

export const STREAM_ENDS = [
  'done',
  'message_stop',
  'response.completed',
  'eof-clean',
  'eof-cut',
  'error-event',
  'client-abort',
  'timeout',
] as const;

export const USAGE_SOURCES = ['provider', 'estimated', 'none'] as const;

export const OUTCOMES = [
  'ok',
  'incomplete',
  'refused',
  'blocked',
  'upstream-error',
  'transport-error',
  'client-abort',
  'timeout',
] as const;

/** A list, or what stands for one with more than 64 items: how many, and a commitment to all. */
function items<T>(item: Shape<T>) {
  return listOr(
    list(item, RECORD_LIST_MAX),
    object({ count: int(RECORD_LIST_MAX + 1), commit: dig }, {}),
  );
}

/** Bits that a byte count needs: hides the exact size. */
const bytesClass = int(0, 53);

const ids = object(
  { gateway_request: str, attempt: int(1) },
  {
    upstream_request: str,
    client_request: str,
    trace: pattern(/^[0-9a-f]{32}$/, '32 lower-case hex digits'),
    span: pattern(/^[0-9a-f]{16}$/, '16 lower-case hex digits'),
    conversation: str,
    previous_response: str,
    response: str,
  },
);

const auth = object(
  { tenant: str, method: token, principal_type: token },
  { role: str, credential: str },
);

const input = object(
  {
    format: oneOf(INPUT_FORMATS),
    context: oneOf(INPUT_CONTEXTS),
    bytes_class: bytesClass,
  },
  {
    messages: int(),
    tools: int(),
    attachments: int(),
    system_prompt_version: str,
    prompt_name: str,
    prompt_version: str,
    retrieved: items(object({ id_commit: dig }, { digest_commit: dig })),
  },
);

const params = object(
  {},
  {
    dimensions: int(),
    encoding_format: str,
    frequency_penalty: dec,
    logprobs: bool,
    max_output_tokens: int(),
    min_p: dec,
    n: int(),
    parallel_tool_calls: bool,
    presence_penalty: dec,
    reasoning_budget_tokens: int(),
    reasoning_effort: str,
    repetition_penalty: dec,
    response_format: str,
    seed: str,
    service_tier: str,
    stop_count: int(),
    store: bool,
    stream: bool,
    temperature: dec,
    tool_choice: str,
    top_k: int(),
    top_logprobs: int(),
    top_p: dec,
    truncation: str,
    verbosity: str,
  },
);

const model = object(
  { provider: str, operation: str },
  {
    requested: str,
    served: str,
    weights_digest: str,
    system_fingerprint: str,
    service_tier: str,
    endpoint: str,
    api_version: str,
    region: str,
    params,
  },
);

const policyEvent = object(
  { stage: token, verdict: token, action: token },
  {
    id: str,
    rule: str,
    category: str,
    score_milli: int(),
    modified: bool,
    reason_commit: dig,
  },
);

const policy = object({ events: items(policyEvent) }, { version: str, digest: str });

const output = object(
  { format: oneOf(INPUT_FORMATS), refused: bool, finish_reasons: items(str) },
  {
    choices: int(),
    bytes_class: bytesClass,
    stream: object({ terminated: oneOf(STREAM_ENDS) }, { events: int() }),
    tool_calls: items(object({}, { id: str, name: str, args_commit: dig })),
  },
);

const effects = items(object({ type: token }, { target_commit: dig, ok: bool }));

const metrics = object(
  { duration_us: int(), usage_source: oneOf(USAGE_SOURCES) },
  {
    ttfb_us: int(),
    proxy_overhead_us: int(),
    input_tokens: int(),
    output_tokens: int(),
    cache_read_input_tokens: int(),
    cache_write_input_tokens: int(),
    reasoning_output_tokens: int(),
    cost_nano_usd: nullable(int()),
  },
);

const outcome = object(
  { status: oneOf(OUTCOMES) },
  { http_status: int(100, 599), error_type: str, error_code: str },
);

export const commitments = object(
  {
    alg: constant('sha-256'),
    form: constant('sd-disclosure/1'),
    fields: map(isFieldName, 'a commitment name', dig, RECORD_LIST_MAX),
  },
  {},
);

const retention = object({ class: str }, {});

export const inference = object(
  {
    ...common,
    kind: constant('inference'),
    time: object({ received: ts, completed: ts, clock }, { upstream_first_byte: ts }),
    ids,
    auth,
    input,
    model,
    policy,
    metrics,
    outcome,
    commitments,
    retention,
  },
  { output, effects },
);

/** Written, and durable, before the call is forwarded; the call's own record has the same request id. */
export const intent = object(
  {
    ...common,
    kind: constant('intent'),
    time: object({ received: ts, clock }, {}),
    ids,
    auth,
    input,
    commitments,
  },
  { model, policy, retention },
);

export type InferenceRecord = Shaped<typeof inference>;
export type IntentRecord = Shaped<typeof intent>;
