/**
 * How many tokens did it take, by one rule for all providers?
 *
 * The OpenTelemetry rule: input includes what was read from or written to a cache, output includes
 * reasoning. OpenAI counts so; Anthropic's `input_tokens` leaves the cached ones out, so they are added.
 * Numbers in a stream are running totals: of each, the last counts.
 */
import type { Usage } from './provider.ts';
import { countOf, members } from './values.ts';

export class UsageReader {
  readonly #rule: 'included' | 'apart';
  readonly #last = new Map<keyof Usage | 'total', number>();

  /** Whether the provider's input count includes cached tokens or leaves them apart. */
  constructor(rule: 'included' | 'apart') {
    this.#rule = rule;
  }

  read(value: unknown): void {
    const usage = members(value);
    const input = members(usage.prompt_tokens_details ?? usage.input_tokens_details);
    const output = members(usage.completion_tokens_details ?? usage.output_tokens_details);
    this.#set('inputTokens', usage.prompt_tokens ?? usage.input_tokens);
    this.#set('outputTokens', usage.completion_tokens ?? usage.output_tokens);
    this.#set(
      'cacheReadInputTokens',
      usage.cache_read_input_tokens ?? input.cached_tokens ?? usage.prompt_cache_hit_tokens,
    );
    this.#set('cacheWriteInputTokens', usage.cache_creation_input_tokens);
    this.#set('reasoningOutputTokens', output.reasoning_tokens ?? output.thinking_tokens);
    this.#set('total', usage.total_tokens);
  }

  /** Whether the provider's own total is something else than input and output together. */
  get hasMismatch(): boolean {
    const { inputTokens, outputTokens } = this.usage() ?? {};
    const total = this.#last.get('total');
    if (total === undefined || inputTokens === undefined) return false;
    return total !== inputTokens + (outputTokens ?? 0);
  }

  usage(): Usage | undefined {
    if (this.#last.size === 0) return undefined;
    const { total, ...usage } = Object.fromEntries(this.#last) as Record<string, number>;
    if (usage.inputTokens === undefined) return usage;
    if (this.#rule === 'included') return withReasoning(usage, total);
    const { cacheReadInputTokens = 0, cacheWriteInputTokens = 0 } = usage;
    const inputTokens = usage.inputTokens + cacheReadInputTokens + cacheWriteInputTokens;
    return Number.isSafeInteger(inputTokens) ? { ...usage, inputTokens } : usage;
  }

  #set(name: keyof Usage | 'total', value: unknown): void {
    const count = countOf(value);
    if (count !== undefined) this.#last.set(name, count);
  }
}

/** [xAI] Reasoning is counted apart from the output, and so only the total tells. */
function withReasoning(usage: Record<string, number>, total: number | undefined): Usage {
  const { inputTokens = 0, outputTokens, reasoningOutputTokens } = usage;
  if (outputTokens === undefined || !reasoningOutputTokens) return usage;
  const isApart = total === inputTokens + outputTokens + reasoningOutputTokens;
  return isApart ? { ...usage, outputTokens: outputTokens + reasoningOutputTokens } : usage;
}
