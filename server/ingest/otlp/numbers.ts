/** How was the model told to work, and how many tokens did it take, by the names that telemetry has for it? */
import { paramsOf } from '../../proxy/providers/params.ts';
import type { Params, Usage } from '../../proxy/providers/provider.ts';
import { countOf, items, members, textOf } from '../../proxy/providers/values.ts';
import type { JsonRoom } from '../json.ts';
import type { Attributes } from './telemetry.ts';

/** Names of ours in the request's own spelling, and what telemetry calls each. */
const REQUEST: Readonly<Record<string, readonly string[]>> = {
  dimensions: ['gen_ai.embeddings.dimension.count'],
  frequency_penalty: ['gen_ai.request.frequency_penalty'],
  max_tokens: ['gen_ai.request.max_tokens'],
  n: ['gen_ai.request.choice.count'],
  presence_penalty: ['gen_ai.request.presence_penalty'],
  reasoning_effort: ['gen_ai.request.reasoning.level', 'gen_ai.request.reasoning_effort'],
  seed: ['gen_ai.request.seed', 'gen_ai.openai.request.seed'],
  service_tier: ['openai.request.service_tier', 'gen_ai.openai.request.service_tier'],
  stop: ['gen_ai.request.stop_sequences'],
  stream: ['gen_ai.request.stream', 'gen_ai.is_streaming'],
  temperature: ['gen_ai.request.temperature'],
  top_k: ['gen_ai.request.top_k'],
  top_p: ['gen_ai.request.top_p'],
};

export function paramsIn(attributes: Attributes, room: JsonRoom): Params {
  const invocation = attributes['llm.invocation_parameters'];
  const given = members(typeof invocation === 'string' ? room.within(invocation) : invocation);
  const request: Record<string, unknown> = { ...given };
  for (const [name, keys] of Object.entries(REQUEST)) {
    const key = keys.find((one) => attributes[one] !== undefined);
    if (key !== undefined) request[name] = attributes[key];
  }
  const formats = attributes['gen_ai.request.encoding_formats'];
  if (items(formats).length === 1) request.encoding_format = items(formats)[0];
  const output = textOf(attributes['gen_ai.output.type']);
  if (output !== undefined) request.response_format = { type: output };
  return paramsOf(request);
}

/** Input includes what a cache gave, and output the reasoning: the conventions count so as well. */
const USAGE: Readonly<Record<keyof Usage, readonly string[]>> = {
  inputTokens: [
    'gen_ai.usage.input_tokens',
    'gen_ai.usage.prompt_tokens',
    'llm.token_count.prompt',
    'llm.usage.prompt_tokens',
  ],
  outputTokens: [
    'gen_ai.usage.output_tokens',
    'gen_ai.usage.completion_tokens',
    'llm.token_count.completion',
    'llm.usage.completion_tokens',
  ],
  cacheReadInputTokens: [
    'gen_ai.usage.cache_read.input_tokens',
    'gen_ai.usage.cache_read_input_tokens',
    'llm.token_count.prompt_details.cache_read',
  ],
  cacheWriteInputTokens: [
    'gen_ai.usage.cache_write.input_tokens',
    'gen_ai.usage.cache_creation.input_tokens',
    'gen_ai.usage.cache_creation_input_tokens',
    'llm.token_count.prompt_details.cache_write',
  ],
  reasoningOutputTokens: [
    'gen_ai.usage.reasoning.output_tokens',
    'gen_ai.usage.reasoning_tokens',
    'llm.token_count.completion_details.reasoning',
  ],
};

export function usageIn(attributes: Attributes): Usage | undefined {
  const usage: Record<string, number> = {};
  for (const [name, keys] of Object.entries(USAGE)) {
    const key = keys.find((one) => countOf(attributes[one]) !== undefined);
    const count = key === undefined ? undefined : countOf(attributes[key]);
    if (count !== undefined) usage[name] = count;
  }
  return Object.keys(usage).length === 0 ? undefined : usage;
}
