/**
 * Amazon Bedrock: Converse and ConverseStream, and Anthropic's models by InvokeModel.
 *
 * A stream comes in AWS's binary frames, each an event with a name: blocks by index as Anthropic has them, then
 * `messageStop` with the reason, then `metadata` with the counts, though some put that first. What goes wrong in
 * the middle is an exception frame, under status 200. The signature is the client's: nothing here or in
 * the proxy changes what it covers.
 */
import { Answer, CHOICES_MAX, type Fold } from './answer.ts';
import { anthropicBy } from './anthropic.ts';
import type { Message, Part } from './draft.ts';
import type { Provider, RequestFacts, ResponseInfo } from './provider.ts';
import { readResponse } from './reading.ts';
import { Parts, readRequest } from './request.ts';
import type { Terminal } from './terminal.ts';
import { UsageReader } from './usage.ts';
import { countOf, items, labelOf, type Members, members, textOf } from './values.ts';

export interface BedrockCall {
  readonly model: string;
  readonly stream: boolean;
}

const NAME = 'aws.bedrock';

export function bedrockConverse({ model, stream }: BedrockCall): Provider {
  return {
    format: 'bedrock.converse',
    provider: NAME,
    operation: 'chat',
    request: (body) => request(body, model, stream),
    response(info) {
      const answer = answerOf(info);
      return readResponse(info, answer, new ConverseFold(answer), 'eventstream');
    },
  };
}

/** [Bedrock, Anthropic Claude Messages API] The same messages, the events in frames. */
export function bedrockAnthropic({ model, stream }: BedrockCall): Provider {
  return anthropicBy({ provider: NAME, model, stream, framing: 'eventstream', answerOf });
}

/** Errors have a message in the body, and their kind in a header. */
function answerOf({ headers }: ResponseInfo): Answer {
  const answer = new Answer(new UsageReader('apart'));
  // "ThrottlingException:http://internal.amazon.com/…"
  answer.errorType = labelOf(headers['x-amzn-errortype']?.split(':', 1)[0]);
  return answer;
}

function request(body: Uint8Array, model: string, stream: boolean): RequestFacts {
  return readRequest(body, (all) => {
    const parts = new Parts();
    const messages = items(all.messages).map((item) => {
      const { role, content } = members(item);
      return parts.message(role, contentOf(content, parts));
    });
    const system = contentOf(all.system, parts);
    const tools = members(all.toolConfig);
    return {
      model,
      stream,
      messages,
      system: system.length > 0 ? { messages: [{ role: 'system', parts: system }] } : undefined,
      tools: tools.tools,
      attachments: parts.attachments,
      // A prompt that is kept at the provider's stands in the place of the model.
      isExternal: parts.isExternal || /:prompt[/:]/.test(model),
      settings: settingsOf(all, tools),
    };
  });
}

function settingsOf(all: Members, tools: Members): Members {
  const config = members(all.inferenceConfig);
  return {
    ...members(all.additionalModelRequestFields),
    temperature: config.temperature,
    top_p: config.topP,
    max_tokens: config.maxTokens,
    stop: config.stopSequences,
    service_tier: members(all.serviceTier).type,
    tool_choice: Object.keys(members(tools.toolChoice))[0],
  };
}

const ATTACHMENTS: Readonly<Record<string, string>> = {
  image: 'image',
  document: 'file',
  video: 'file',
  audio: 'audio',
};

function contentOf(content: unknown, parts: Parts): unknown[] {
  return items(content).map((raw) => {
    const block = members(raw);
    const [name = 'unknown'] = Object.keys(block);
    const value = members(block[name]);
    if (typeof block.text === 'string') return { type: 'text', text: block.text };
    if (name === 'toolUse') return parts.toolCall(value.toolUseId, value.name, value.input);
    if (name === 'toolResult') {
      const shown = items(value.content).map((item) => {
        const { text, json } = members(item);
        if (typeof text === 'string') return { type: 'text', text };
        return json === undefined ? { ...members(item), type: 'other' } : { type: 'json', json };
      });
      const isError = value.status === 'error';
      return parts.toolResult(value.toolUseId, shown, isError);
    }
    if (name === 'reasoningContent') {
      const { text, signature } = members(value.reasoningText);
      return { type: 'reasoning', text: textOf(text) ?? '', signature: textOf(signature) };
    }
    const kind = ATTACHMENTS[name];
    if (kind === undefined) return { type: 'other', raw_type: name, value: raw };
    parts.attachments++;
    if (members(value.source).s3Location !== undefined) parts.isExternal = true;
    return { type: kind, value: raw };
  });
}

/** [Bedrock API, stopReason] */
const REFUSALS: ReadonlySet<string> = new Set([
  'guardrail_intervened',
  'content_filtered',
  'refusal',
]);

class ConverseFold implements Fold {
  readonly trailing: ReadonlySet<string> = new Set(['metadata']);
  readonly #answer: Answer;
  #message: Message | undefined;
  readonly #blocks = new Map<number, Part>();

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  terminal(_: unknown, name: string | undefined): Terminal | undefined {
    return name === 'messageStop' ? 'message_stop' : undefined;
  }

  event(value: unknown, name: string | undefined): void {
    const event = members(value);
    const index = countOf(event.contentBlockIndex) ?? 0;
    switch (name) {
      case 'messageStart':
        this.#current().role = labelOf(event.role) ?? 'assistant';
        break;
      case 'contentBlockStart':
        this.#keep(index, this.#open(members(event.start)));
        break;
      case 'contentBlockDelta':
        this.#delta(index, members(event.delta));
        break;
      case 'messageStop':
        this.#stop(event.stopReason);
        break;
      case 'metadata':
        this.#metadata(event);
        break;
    }
  }

  body(value: unknown): void {
    const { output, stopReason, ...rest } = members(value);
    const { role, content } = members(members(output).message);
    this.#current().role = labelOf(role) ?? 'assistant';
    for (const block of items(content)) this.#whole(members(block));
    this.#stop(stopReason);
    this.#metadata(rest);
  }

  #current(): Message {
    this.#message ??= this.#answer.message();
    return this.#message;
  }

  #keep(index: number, part: Part): void {
    if (this.#blocks.size < CHOICES_MAX) this.#blocks.set(index, part);
  }

  /** A block that is announced; one of text is not, and begins with its first delta. */
  #open(start: Members): Part {
    const { toolUseId, name } = members(start.toolUse);
    if (start.toolUse !== undefined) {
      return this.#current().add('tool_call', { id: labelOf(toolUseId), name: labelOf(name) });
    }
    const [raw_type] = Object.keys(start);
    return this.#current().add('other', { raw_type, value: start });
  }

  #delta(index: number, delta: Members): void {
    const message = this.#current();
    const { text, toolUse, reasoningContent } = delta;
    if (text !== undefined) message.append(this.#part(index, 'text'), text);
    else if (toolUse !== undefined) {
      message.append(this.#part(index, 'tool_call'), members(toolUse).input);
    } else if (reasoningContent !== undefined) {
      const reasoning = members(reasoningContent);
      const part = this.#part(index, 'reasoning');
      message.append(part, reasoning.text);
      if (typeof reasoning.signature === 'string') {
        part.signature = (part.signature ?? '') + reasoning.signature;
      }
      if (reasoning.redactedContent !== undefined) part.value = reasoning.redactedContent;
    } else {
      const [raw_type] = Object.keys(delta);
      if (raw_type !== undefined) message.add('other', { raw_type, value: delta[raw_type] });
    }
  }

  #part(index: number, type: Part['type']): Part {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const part = this.#current().add(type);
    this.#keep(index, part);
    return part;
  }

  #whole(block: Members): void {
    const message = this.#current();
    const [name = 'unknown'] = Object.keys(block);
    const value = members(block[name]);
    if (typeof block.text === 'string') message.append(message.add('text'), block.text);
    else if (name === 'toolUse') {
      const part = this.#open(block);
      if (value.input !== undefined) message.append(part, JSON.stringify(value.input));
    } else if (name === 'reasoningContent') {
      const { text, signature } = members(value.reasoningText);
      const part = message.add('reasoning', { value: value.redactedContent });
      message.append(part, text);
      if (typeof signature === 'string') part.signature = signature;
    } else message.add('other', { raw_type: name, value: block[name] });
  }

  #stop(value: unknown): void {
    const reason = labelOf(value);
    if (reason === undefined) return;
    this.#current().finish = reason;
    if (!REFUSALS.has(reason)) return;
    this.#answer.isRefused = true;
    if (reason !== 'refusal') this.#answer.filters.block('bedrock.stop', 'output', reason);
  }

  #metadata({ usage, trace, serviceTier }: Members): void {
    const counts = members(usage);
    this.#answer.labels({ service_tier: members(serviceTier).type });
    this.#answer.usage.read({
      input_tokens: counts.inputTokens,
      output_tokens: counts.outputTokens,
      cache_read_input_tokens: counts.cacheReadInputTokens,
      cache_creation_input_tokens: counts.cacheWriteInputTokens,
    });
    this.#answer.filters.readBedrock(members(trace).guardrail);
  }
}
