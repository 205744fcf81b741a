/**
 * Anthropic Messages.
 *
 * A stream opens blocks by `index`, adds to them, closes them, and says in `message_delta` why it stopped
 * and what it used so far. A tool's input comes as fragments of JSON that may stop in the middle: they
 * are kept as text. Blocks and deltas of types that do not exist yet are kept or passed over, never an
 * error. `ping` may come at any time.
 */

import type { Framing } from '../framers.ts';
import { Answer, CHOICES_MAX, type Fold } from './answer.ts';
import type { Message, Part } from './draft.ts';
import type { Provider, RequestFacts, ResponseInfo } from './provider.ts';
import { readResponse } from './reading.ts';
import { Parts, readRequest } from './request.ts';
import { UsageReader } from './usage.ts';
import { countOf, isObject, items, labelOf, type Members, members, textOf } from './values.ts';

export function anthropicMessages(provider: string): Provider {
  return {
    format: 'anthropic.messages',
    provider,
    operation: 'chat',
    request: (body) => request(body),
    response(info) {
      const answer = new Answer(new UsageReader('apart'));
      return readResponse(info, answer, new MessagesFold(answer));
    },
  };
}

export interface AnthropicBy {
  readonly provider: string;
  /** Named by the path, as is whether a stream was asked for. */
  readonly model: string;
  readonly stream: boolean;
  readonly framing: Framing;
  readonly answerOf: (info: ResponseInfo) => Answer;
}

/** The same messages by way of somebody else's platform. */
export function anthropicBy({ provider, model, stream, framing, answerOf }: AnthropicBy): Provider {
  return {
    format: 'anthropic.messages',
    provider,
    operation: 'chat',
    request: (body) => request(body, { model, stream }),
    response(info) {
      const answer = answerOf(info);
      return readResponse(info, answer, new MessagesFold(answer), framing);
    },
  };
}

function request(
  body: Uint8Array,
  named?: { readonly model: string; readonly stream: boolean },
): RequestFacts {
  return readRequest(body, (all) => {
    const parts = new Parts();
    const messages = items(all.messages).map((item) => {
      const { role, content } = members(item);
      return parts.message(role, parts.list(content));
    });
    const system = parts.list(all.system);
    // A tool with a type of its own, but for "custom", runs at the provider's and brings input along.
    const isHosted = items(all.tools).some((tool) => /^(?:web_|code_exec|mcp)/.test(typeOf(tool)));
    return {
      ...named,
      messages,
      system: system.length > 0 ? { messages: [{ role: 'system', parts: system }] } : undefined,
      tools: all.tools,
      attachments: parts.attachments,
      isExternal:
        parts.isExternal || isHosted || isSet(all.container) || items(all.mcp_servers).length > 0,
    };
  });
}

function typeOf(value: unknown): string {
  return textOf(members(value).type) ?? '';
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

class MessagesFold implements Fold {
  readonly #answer: Answer;
  #message: Message | undefined;
  #blocks = new Map<number, Part>();

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  event(value: unknown): void {
    const event = members(value);
    switch (event.type) {
      case 'message_start':
        if (this.#message !== undefined) this.#answer.flags.add('message-restarted');
        this.#start(event.message);
        break;
      case 'content_block_start':
        this.#block(countOf(event.index) ?? 0, members(event.content_block));
        break;
      case 'content_block_delta':
        this.#delta(countOf(event.index) ?? 0, members(event.delta));
        break;
      case 'message_delta':
        this.#answer.usage.read(event.usage);
        this.#stop(members(event.delta));
        break;
    }
  }

  body(value: unknown): void {
    const message = members(value);
    this.#start(message);
    for (const [index, block] of items(message.content).entries()) {
      const part = this.#block(index, members(block));
      // Whole, not in fragments: the text is made from the value.
      const { input } = members(block);
      if (part.type === 'tool_call' && part.text === '' && input !== undefined) {
        this.#current().append(part, JSON.stringify(input));
      }
    }
    this.#stop(message);
  }

  #start(value: unknown): void {
    const { id, model, role, usage } = members(value);
    this.#message = this.#answer.message();
    this.#blocks = new Map();
    this.#message.role = labelOf(role) ?? this.#message.role;
    // The first names the answer, also where a second one is spliced in.
    this.#answer.id ??= labelOf(id);
    this.#answer.served ??= labelOf(model);
    this.#answer.serviceTier ??= labelOf(members(usage).service_tier);
    this.#answer.usage.read(usage);
  }

  #current(): Message {
    this.#message ??= this.#answer.message();
    return this.#message;
  }

  #block(index: number, block: Members): Part {
    const part = this.#open(block, textOf(block.type) ?? 'unknown');
    if (this.#blocks.size < CHOICES_MAX) this.#blocks.set(index, part);
    return part;
  }

  #open(block: Members, type: string): Part {
    const message = this.#current();
    if (type === 'text') {
      const part = message.add('text', { text: textOf(block.text) ?? '' });
      if (items(block.citations).length > 0) part.value = { citations: block.citations };
      return part;
    }
    if (type === 'thinking') {
      const signature = textOf(block.signature) ?? '';
      return message.add('reasoning', { text: textOf(block.thinking) ?? '', signature });
    }
    if (type === 'redacted_thinking') {
      return message.add('reasoning', { raw_type: type, value: block.data });
    }
    const raw_type = type === 'tool_use' ? undefined : type;
    if (type.endsWith('tool_use')) {
      const text = hasMembers(block.input) ? JSON.stringify(block.input) : '';
      return message.add('tool_call', {
        text,
        id: labelOf(block.id),
        name: labelOf(block.name),
        raw_type,
      });
    }
    if (type.endsWith('tool_result')) {
      return message.add('tool_result', {
        id: labelOf(block.tool_use_id),
        raw_type,
        value: block.content,
      });
    }
    return message.add('other', { raw_type, value: block });
  }

  #delta(index: number, delta: Members): void {
    const part = this.#blocks.get(index);
    if (part === undefined) return;
    const message = this.#current();
    switch (delta.type) {
      case 'text_delta':
        message.append(part, delta.text);
        break;
      case 'input_json_delta':
        message.append(part, delta.partial_json);
        break;
      case 'thinking_delta':
        message.append(part, delta.thinking);
        break;
      case 'signature_delta':
        part.signature = (part.signature ?? '') + (textOf(delta.signature) ?? '');
        break;
      case 'citations_delta':
        message.append(message.add('other', { raw_type: 'citation', value: delta.citation }), '');
        break;
    }
  }

  #stop(value: Members): void {
    const reason = labelOf(value.stop_reason);
    if (reason !== undefined) this.#current().finish = reason;
    if (reason === 'refusal') this.#answer.isRefused = true;
  }
}

function hasMembers(value: unknown): boolean {
  return isObject(value) && Object.keys(members(value)).length > 0;
}
