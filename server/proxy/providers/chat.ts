/**
 * OpenAI Chat Completions, and everybody who speaks it.
 *
 * A stream's chunks carry deltas for choices by `index`, interleaved; inside a choice, fragments of tool
 * calls by an `index` of their own, which may begin at 1 and whose id comes once. The stream ends with
 * `[DONE]`; without it the answer is not complete, though the official client says so. `obfuscation`
 * is padding against traffic analysis and says nothing.
 */
import { Answer, CHOICES_MAX, type Fold } from './answer.ts';
import type { Message, Part } from './draft.ts';
import type { Provider, RequestFacts } from './provider.ts';
import { readResponse } from './reading.ts';
import { Parts, readRequest } from './request.ts';
import type { Terminal } from './terminal.ts';
import { UsageReader } from './usage.ts';
import { countOf, items, labelOf, type Members, members, textOf } from './values.ts';

export function openaiChat(provider: string): Provider {
  return {
    format: 'openai.chat',
    provider,
    operation: 'chat',
    request,
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      return readResponse(info, answer, new ChatFold(answer));
    },
  };
}

function request(body: Uint8Array): RequestFacts {
  return readRequest(body, (all) => {
    const parts = new Parts();
    const messages = items(all.messages).map((message) => requestMessage(members(message), parts));
    const system = messages.filter((message) =>
      ['system', 'developer'].includes(textOf(members(message).role) ?? ''),
    );
    return {
      messages,
      system: system.length > 0 ? { messages: system } : undefined,
      tools: all.tools ?? all.functions,
      attachments: parts.attachments,
      // [OpenAI web search in Chat, Azure On Your Data] What the model sees comes from the provider's side too.
      isExternal:
        parts.isExternal || all.web_search_options !== undefined || all.data_sources !== undefined,
    };
  });
}

function requestMessage(message: Members, parts: Parts): unknown {
  const { role, content, tool_calls, function_call, tool_call_id, refusal } = message;
  if (role === 'tool' || role === 'function') {
    return parts.message(role, [parts.toolResult(tool_call_id ?? message.name, content)]);
  }
  const reasoning = textOf(message.reasoning_content);
  const legacy = members(function_call);
  return parts.message(role, [
    ...(reasoning ? [{ type: 'reasoning', text: reasoning }] : []),
    ...parts.list(content),
    ...(typeof refusal === 'string' ? [{ type: 'refusal', text: refusal }] : []),
    ...items(tool_calls).map((value) => {
      const call = members(value);
      const { name, arguments: args, input } = members(call.function ?? call.custom);
      return parts.toolCall(call.id, name, args ?? input);
    }),
    ...(legacy.name ? [parts.toolCall(undefined, legacy.name, legacy.arguments)] : []),
  ]);
}

/** A choice while it is put together. */
interface Choice {
  readonly message: Message;
  readonly tools: Map<string, Part>;
  readonly open: Map<Part['type'], Part>;
}

class ChatFold implements Fold {
  readonly #answer: Answer;
  readonly #choices = new Map<number, Choice>();

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  terminal(value: unknown): Terminal | undefined {
    const { choices, x_groq } = members(value);
    const isError =
      members(x_groq).error !== undefined || items(choices).some((one) => members(one).error);
    return isError ? 'error-event' : undefined;
  }

  event(value: unknown): void {
    this.#read(value, (choice) => choice.delta);
  }

  body(value: unknown): void {
    this.#read(value, (choice) => choice.message);
  }

  finish(isWhole: boolean): void {
    const isOpen = [...this.#choices.values()].some(({ message }) => message.finish === undefined);
    if (isWhole && isOpen) this.#answer.flags.add('choice-without-finish');
  }

  #read(value: unknown, deltaOf: (choice: Members) => unknown): void {
    const chunk = members(value);
    this.#answer.labels(chunk);
    // [Groq] In streams a member of its own, also for what went wrong.
    const groq = members(chunk.x_groq);
    this.#answer.usage.read(chunk.usage ?? groq.usage);
    if (groq.error !== undefined) this.#answer.fail(groq.error);
    this.#answer.filters.readChat(chunk);
    for (const [position, item] of items(chunk.choices).entries()) {
      const choice = members(item);
      const index = countOf(choice.index) ?? position;
      const draft = this.#choice(index);
      this.#delta(draft, members(deltaOf(choice)));
      draft.message.finish = labelOf(choice.finish_reason) ?? draft.message.finish;
      if (draft.message.finish === 'content_filter') this.#answer.filtered();
      // [OpenRouter] What went wrong with one of them, under status 200.
      if (choice.error) this.#answer.fail(choice.error);
    }
  }

  #choice(index: number): Choice {
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    const choice: Choice = {
      message: this.#answer.message(),
      tools: new Map(),
      open: new Map(),
    };
    if (this.#choices.size < CHOICES_MAX) this.#choices.set(index, choice);
    return choice;
  }

  #delta(choice: Choice, delta: Members): void {
    const { message } = choice;
    message.role = labelOf(delta.role) ?? message.role;
    // [DeepSeek, vLLM] reasoning_content, [OpenRouter] reasoning.
    this.#text(choice, 'reasoning', delta.reasoning_content ?? delta.reasoning);
    this.#text(choice, 'text', delta.content);
    this.#text(choice, 'refusal', delta.refusal);
    if (typeof delta.refusal === 'string' && delta.refusal !== '') this.#answer.isRefused = true;
    for (const [position, item] of items(delta.tool_calls).entries()) {
      this.#toolCall(choice, position, members(item));
    }
    if (delta.function_call) this.#toolCall(choice, -1, { function: delta.function_call });
    if (delta.audio) message.add('other', { raw_type: 'audio', value: delta.audio });
  }

  #text(choice: Choice, type: 'text' | 'refusal' | 'reasoning', text: unknown): void {
    if (Array.isArray(text)) {
      // [Mistral] Content as a list of typed pieces, thoughts among them.
      for (const item of text) {
        const piece = members(item);
        const isThought = piece.type === 'thinking';
        this.#text(choice, isThought ? 'reasoning' : type, piece.thinking ?? piece.text);
      }
      return;
    }
    if (typeof text !== 'string' || text === '') return;
    let part = choice.open.get(type);
    if (part === undefined) {
      part = choice.message.add(type);
      choice.open.set(type, part);
    }
    choice.message.append(part, text);
  }

  #toolCall(choice: Choice, position: number, call: Members): void {
    const { name, arguments: args, input } = members(call.function ?? call.custom);
    const key = String(countOf(call.index) ?? position);
    let part = choice.tools.get(key);
    if (part === undefined) {
      part = choice.message.add('tool_call');
      if (choice.tools.size < CHOICES_MAX) choice.tools.set(key, part);
    }
    part.id ??= labelOf(call.id);
    part.name ??= labelOf(name);
    choice.message.append(part, args ?? input);
  }
}
