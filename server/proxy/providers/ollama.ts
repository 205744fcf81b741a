/**
 * Ollama's own API: `/api/chat`, and `/api/generate` with one prompt in place of messages.
 *
 * It streams unless it is told not to: lines of JSON, each with more of the message, the last with `done`, a
 * reason and the counts. A tool call comes whole, its arguments as a value. An error in the middle is a line
 * with `error`, under status 200, after which nothing comes.
 */
import { Answer, type Fold } from './answer.ts';
import type { Message, Part } from './draft.ts';
import type { Provider, RequestFacts } from './provider.ts';
import { readResponse } from './reading.ts';
import { Parts, type RequestParts, readRequest } from './request.ts';
import type { Terminal } from './terminal.ts';
import { UsageReader } from './usage.ts';
import { isObject, items, labelOf, type Members, members, textOf } from './values.ts';

export function ollamaChat(provider: string): Provider {
  return ollama(provider, {
    format: 'ollama.chat',
    operation: 'chat',
    request: (body) => readRequest(body, chatParts),
  });
}

export function ollamaGenerate(provider: string): Provider {
  return ollama(provider, {
    format: 'ollama.generate',
    operation: 'text_completion',
    request: (body) => readRequest(body, generateParts),
  });
}

function ollama(
  provider: string,
  form: Pick<Provider, 'format' | 'operation'> & { request: (body: Uint8Array) => RequestFacts },
): Provider {
  return {
    ...form,
    provider,
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      return readResponse(info, answer, new OllamaFold(answer), 'ndjson');
    },
  };
}

function chatParts(all: Members): RequestParts {
  const parts = new Parts();
  const messages = items(all.messages).map((item) => {
    const { role, content, thinking, images, tool_calls, tool_name } = members(item);
    if (role === 'tool') return parts.message(role, [parts.toolResult(tool_name, content)]);
    return parts.message(role, [
      ...(textOf(thinking) ? [{ type: 'reasoning', text: thinking }] : []),
      ...parts.list(content),
      ...parts.list(items(images).map((image) => ({ type: 'image', source: image }))),
      ...items(tool_calls).map((value) => {
        const { id, function: called } = members(value);
        const { name, arguments: args } = members(called);
        return parts.toolCall(id, name, args);
      }),
    ]);
  });
  const system = messages.filter((message) => members(message).role === 'system');
  return {
    ...commonParts(all),
    messages,
    system: system.length > 0 ? { messages: system } : undefined,
    tools: all.tools,
    attachments: parts.attachments,
  };
}

function generateParts(all: Members): RequestParts {
  const parts = new Parts();
  const rest = ['suffix', 'template', 'context'].flatMap((name) =>
    all[name] === undefined ? [] : [{ type: 'other', raw_type: name, value: all[name] }],
  );
  const prompt = [
    ...parts.list(all.prompt),
    ...parts.list(items(all.images).map((image) => ({ type: 'image', source: image }))),
    ...rest,
  ];
  const system = parts.list(all.system);
  return {
    ...commonParts(all),
    messages: [parts.message('user', prompt)],
    system: system.length > 0 ? { messages: [parts.message('system', system)] } : undefined,
    attachments: parts.attachments,
  };
}

function commonParts(all: Members): Pick<RequestParts, 'stream' | 'settings' | 'isExternal'> {
  const options = members(all.options);
  const { format } = all;
  return {
    stream: all.stream !== false,
    isExternal: false,
    settings: {
      ...options,
      stream: all.stream,
      max_tokens: options.num_predict,
      repetition_penalty: options.repeat_penalty,
      reasoning_effort: all.think,
      response_format: format ? { type: isObject(format) ? 'json_schema' : format } : undefined,
    },
  };
}

class OllamaFold implements Fold {
  readonly #answer: Answer;
  #message: Message | undefined;
  #open: Part | undefined;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  terminal(value: unknown): Terminal | undefined {
    return members(value).done === true ? 'done' : undefined;
  }

  event(value: unknown): void {
    this.body(value);
  }

  body(value: unknown): void {
    const { model, message, response, thinking, done_reason, ...rest } = members(value);
    if (rest.error !== undefined) return;
    this.#answer.labels({ model });
    // The counts are of the whole answer, and come with its end.
    this.#answer.usage.read({
      prompt_tokens: rest.prompt_eval_count,
      completion_tokens: rest.eval_count,
    });
    this.#message ??= this.#answer.message();
    const said = members(message);
    this.#message.role = labelOf(said.role) ?? this.#message.role;
    this.#text('reasoning', said.thinking ?? thinking);
    this.#text('text', said.content ?? response);
    for (const item of items(said.tool_calls)) this.#toolCall(this.#message, members(item));
    this.#message.finish = labelOf(done_reason) ?? this.#message.finish;
  }

  #text(type: 'text' | 'reasoning', text: unknown): void {
    if (typeof text !== 'string' || text === '' || this.#message === undefined) return;
    if (this.#open?.type !== type) this.#open = this.#message.add(type);
    this.#message.append(this.#open, text);
  }

  #toolCall(message: Message, call: Members): void {
    const { name, arguments: args } = members(call.function);
    const text = textOf(args) ?? (args === undefined ? '' : JSON.stringify(args));
    message.add('tool_call', { text, id: labelOf(call.id), name: labelOf(name) });
    this.#open = undefined;
  }
}
