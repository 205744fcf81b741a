/**
 * How was the model told to work: the members of a record's `model.params`.
 *
 * Formats name them differently; where two names mean the same, the one that is sent counts. Content is
 * not here: stop sequences, response schemas and tool names are committed to, not logged.
 */
import type { Params } from './provider.ts';
import {
  countOf,
  decimalOf,
  isObject,
  items,
  labelOf,
  type Members,
  members,
  wordOf,
} from './values.ts';

type Value = number | boolean | string | undefined;

const bool = (value: unknown): Value => (typeof value === 'boolean' ? value : undefined);

const PARAMS: Readonly<Record<string, (body: Members) => Value>> = {
  dimensions: (body) => countOf(body.dimensions),
  encoding_format: (body) => wordOf(body.encoding_format),
  frequency_penalty: (body) => decimalOf(body.frequency_penalty),
  // The number of them in Completions, whether there are any in Chat.
  logprobs: (body) => bool(body.logprobs),
  max_output_tokens: (body) =>
    countOf(body.max_output_tokens) ??
    countOf(body.max_completion_tokens) ??
    countOf(body.max_tokens),
  min_p: (body) => decimalOf(body.min_p),
  n: (body) => countOf(body.n),
  parallel_tool_calls: (body) => bool(body.parallel_tool_calls),
  presence_penalty: (body) => decimalOf(body.presence_penalty),
  reasoning_budget_tokens: (body) => countOf(members(body.thinking).budget_tokens),
  reasoning_effort: (body) =>
    wordOf(body.reasoning_effort) ??
    wordOf(members(body.reasoning).effort) ??
    wordOf(members(body.output_config).effort),
  repetition_penalty: (body) => decimalOf(body.repetition_penalty),
  response_format: (body) =>
    wordOf(members(body.response_format).type) ?? wordOf(members(members(body.text).format).type),
  seed: (body) => labelOf(body.seed),
  service_tier: (body) => wordOf(body.service_tier),
  stop_count: (body) => {
    const stop = body.stop ?? body.stop_sequences;
    return typeof stop === 'string' ? 1 : Array.isArray(stop) ? items(stop).length : undefined;
  },
  store: (body) => bool(body.store),
  stream: (body) => bool(body.stream),
  temperature: (body) => decimalOf(body.temperature),
  // Which tool is forced is in the tool definitions' neighborhood: only the manner is logged.
  tool_choice: (body) =>
    wordOf(isObject(body.tool_choice) ? members(body.tool_choice).type : body.tool_choice),
  top_k: (body) => countOf(body.top_k),
  top_logprobs: (body) => countOf(body.top_logprobs),
  top_p: (body) => decimalOf(body.top_p),
  truncation: (body) => wordOf(body.truncation),
  verbosity: (body) => wordOf(body.verbosity) ?? wordOf(members(body.text).verbosity),
};

export function paramsOf(body: Members): Params {
  const params: Record<string, number | boolean | string> = {};
  for (const [name, read] of Object.entries(PARAMS)) {
    const value = read(body);
    if (value !== undefined) params[name] = value;
  }
  return params;
}
