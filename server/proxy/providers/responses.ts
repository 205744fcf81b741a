/**
 * OpenAI Responses.
 *
 * The terminal event holds the whole answer and is the authority; the deltas before it are a cross-check,
 * and all there is where the stream broke off. Much of the input can lie with the provider (an earlier
 * response, a conversation, a stored prompt, hosted tools), and then the body is not the whole of it.
 */
import { Answer, CHOICES_MAX, type Fold } from './answer.ts';
import { Deltas } from './deltas.ts';
import type { Message } from './draft.ts';
import type { Provider, RequestFacts } from './provider.ts';
import { readResponse } from './reading.ts';
import { Parts, readRequest } from './request.ts';
import { UsageReader } from './usage.ts';
import { countOf, items, labelOf, type Members, members, textOf } from './values.ts';

export function openaiResponses(provider: string): Provider {
  return {
    format: 'openai.responses',
    provider,
    operation: 'chat',
    request,
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      return readResponse(info, answer, new ResponsesFold(answer));
    },
  };
}

/** Tools that the client runs itself; all others run at the provider's. */
const CLIENT_TOOLS: ReadonlySet<string> = new Set([
  'function',
  'custom',
  'local_shell',
  'apply_patch',
]);

function request(body: Uint8Array): RequestFacts {
  return readRequest(body, (all) => {
    const parts = new Parts();
    const input =
      typeof all.input === 'string' ? [{ role: 'user', content: all.input }] : items(all.input);
    const messages = input.map((item) => inputItem(members(item), parts));
    const system = parts.list(all.instructions);
    const conversation = labelOf(all.conversation) ?? labelOf(members(all.conversation).id);
    const previousResponse = labelOf(all.previous_response_id);
    const isHosted = items(all.tools).some((tool) => {
      const { type, execution } = members(tool);
      return execution !== 'client' && !CLIENT_TOOLS.has(textOf(type) ?? 'function');
    });
    const isElsewhere = [conversation, previousResponse, all.prompt].some(
      (v) => v !== undefined && v !== null,
    );
    const isReference = input.some((item) => members(item).type === 'item_reference');
    return {
      messages,
      system: system.length > 0 ? { messages: [{ role: 'system', parts: system }] } : undefined,
      tools: all.tools,
      attachments: parts.attachments,
      isExternal: parts.isExternal || isHosted || isElsewhere || isReference,
      conversation,
      previousResponse,
    };
  });
}

function inputItem(item: Members, parts: Parts): unknown {
  switch (item.type ?? 'message') {
    case 'message':
      return parts.message(item.role, parts.list(item.content));
    case 'function_call':
    case 'custom_tool_call':
      return parts.message('assistant', [
        parts.toolCall(item.call_id, item.name, item.arguments ?? item.input),
      ]);
    case 'function_call_output':
    case 'custom_tool_call_output':
      return parts.message('tool', [parts.toolResult(item.call_id, item.output)]);
    case 'reasoning':
      return parts.message('assistant', [{ type: 'reasoning', value: item }]);
    default:
      return parts.message('unknown', [
        { type: 'other', raw_type: textOf(item.type), value: item },
      ]);
  }
}

class ResponsesFold implements Fold {
  readonly #answer: Answer;
  readonly #deltas = new Deltas();
  /** Items that were announced or finished, for streams without a terminal event. */
  readonly #items = new Map<number, unknown>();
  #response: Members = {};
  #hasEnded = false;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  event(value: unknown, name: string | undefined): void {
    const event = members(value);
    const type = textOf(event.type) ?? name ?? '';
    const index = countOf(event.output_index);
    if (/^response\.(?:completed|incomplete|failed)$/.test(type)) this.#hasEnded = true;
    if (event.response) {
      this.#response = members(event.response);
      this.#answer.labels(event.response);
    } else if (/^response\.output_item\.(?:added|done)$/.test(type) && index !== undefined) {
      if (this.#items.has(index) || this.#items.size < CHOICES_MAX)
        this.#items.set(index, event.item);
    } else if (type.endsWith('.delta')) {
      this.#deltas.add(event);
    }
  }

  body(value: unknown): void {
    this.#response = members(value);
    this.#answer.labels(value);
    this.#end(items(this.#response.output));
  }

  finish(): void {
    if (this.#hasEnded) {
      const output = items(this.#response.output);
      if (!this.#deltas.agrees(output)) this.#answer.flags.add('deltas-mismatch');
      this.#end(output);
      return;
    }
    const known = [...this.#items].sort(([a], [b]) => a - b);
    this.#end(known.map(([index, item]) => this.#deltas.complete(index, item)));
    if (this.#deltas.isFull) this.#answer.flags.add('normalized-too-large');
  }

  #end(output: readonly unknown[]): void {
    const { status, error, incomplete_details, usage } = this.#response;
    this.#answer.usage.read(usage);
    this.#answer.filters.readResponses(this.#response);
    if (error) this.#answer.fail(error);
    const reason = labelOf(members(incomplete_details).reason) ?? labelOf(status);
    if (reason === 'content_filter') this.#answer.filtered();
    if (output.length === 0 && reason === undefined) return;
    const message = this.#answer.message();
    // "in_progress" is no reason to have finished.
    if (reason !== 'in_progress' && reason !== 'queued') message.finish = reason;
    for (const item of output) this.#item(message, members(item));
  }

  #item(message: Message, item: Members): void {
    const type = textOf(item.type) ?? 'unknown';
    if (type === 'message') {
      message.role = labelOf(item.role) ?? message.role;
      for (const part of items(item.content)) this.#content(message, members(part));
    } else if (type === 'function_call' || type === 'custom_tool_call') {
      const text = textOf(item.arguments) ?? textOf(item.input) ?? '';
      message.add('tool_call', { text, id: labelOf(item.call_id), name: labelOf(item.name) });
    } else if (type === 'reasoning') {
      message.add('reasoning', { text: summaryOf(item), value: item.encrypted_content });
    } else {
      message.add('other', { raw_type: type, value: item });
    }
  }

  #content(message: Message, part: Members): void {
    if (part.type === 'output_text') message.add('text', { text: textOf(part.text) ?? '' });
    else if (part.type === 'refusal') {
      this.#answer.isRefused = true;
      message.add('refusal', { text: textOf(part.refusal) ?? '' });
    } else message.add('other', { raw_type: textOf(part.type), value: part });
  }
}

/** What the provider shows of the reasoning, each paragraph apart. */
function summaryOf(item: Members): string {
  return [...items(item.summary), ...items(item.content)]
    .map((part) => textOf(members(part).text) ?? '')
    .join('\n\n');
}
