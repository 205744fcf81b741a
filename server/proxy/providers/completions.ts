/**
 * OpenAI Completions, the older form: one text in, texts out, streamed like Chat.
 */
import { Answer, CHOICES_MAX, type Fold } from './answer.ts';
import type { Message, Part } from './draft.ts';
import type { Provider } from './provider.ts';
import { readResponse } from './reading.ts';
import { readRequest } from './request.ts';
import { UsageReader } from './usage.ts';
import { countOf, items, labelOf, members } from './values.ts';

export function openaiCompletions(provider: string): Provider {
  return {
    format: 'openai.completions',
    provider,
    operation: 'text_completion',
    request: (body) =>
      readRequest(body, ({ prompt, suffix }) => ({
        messages: promptsOf(prompt, suffix),
        attachments: 0,
        isExternal: false,
      })),
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      return readResponse(info, answer, new CompletionsFold(answer));
    },
  };
}

/** One message for each prompt; token ids are kept as they are. */
function promptsOf(prompt: unknown, suffix: unknown): unknown[] {
  const isBatch = Array.isArray(prompt) && prompt.some((item) => typeof item !== 'number');
  const prompts = isBatch ? items(prompt) : prompt === undefined ? [] : [prompt];
  const after =
    typeof suffix === 'string' ? [{ type: 'other', raw_type: 'suffix', value: suffix }] : [];
  return prompts.map((item) => ({
    role: 'user',
    parts: [
      typeof item === 'string'
        ? { type: 'text', text: item }
        : { type: 'other', raw_type: 'tokens', value: item },
      ...after,
    ],
  }));
}

class CompletionsFold implements Fold {
  readonly #answer: Answer;
  readonly #choices = new Map<number, { readonly message: Message; readonly part: Part }>();

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  event(value: unknown): void {
    this.body(value);
  }

  body(value: unknown): void {
    const chunk = members(value);
    this.#answer.labels(chunk);
    this.#answer.usage.read(chunk.usage);
    this.#answer.filters.readChat(chunk);
    for (const [position, item] of items(chunk.choices).entries()) {
      const { index, text, finish_reason } = members(item);
      const { message, part } = this.#choice(countOf(index) ?? position);
      message.append(part, text);
      message.finish = labelOf(finish_reason) ?? message.finish;
      if (message.finish === 'content_filter') this.#answer.filtered();
    }
  }

  finish(isWhole: boolean): void {
    const isOpen = [...this.#choices.values()].some(({ message }) => message.finish === undefined);
    if (isWhole && isOpen) this.#answer.flags.add('choice-without-finish');
  }

  #choice(index: number): { readonly message: Message; readonly part: Part } {
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    const message = this.#answer.message();
    const choice = { message, part: message.add('text') };
    if (this.#choices.size < CHOICES_MAX) this.#choices.set(index, choice);
    return choice;
  }
}
