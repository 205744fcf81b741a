/**
 * What did the client ask, in one shape for all formats?
 *
 * Messages become {role, parts}; a part that has no name here is kept whole as `other`, so that nothing
 * that was sent is missing. Where part of the input lies elsewhere (a file at the provider, a picture
 * behind an address, a conversation that goes on) the body is not the whole input, and the context says so.
 */
import type { Json } from '../../core/json.ts';
import { NORMALIZED_CHARS_MAX } from './draft.ts';
import { paramsOf } from './params.ts';
import type { RequestFacts } from './provider.ts';
import {
  isObject,
  items,
  labelOf,
  type Members,
  members,
  normal,
  parseLenient,
  textOf,
} from './values.ts';

const NOTHING: RequestFacts = { parsed: false, stream: false, context: 'unknown', params: {} };

/** What a format finds in a body, beyond what all have in common. */
export interface RequestParts {
  readonly messages?: readonly unknown[];
  readonly system?: unknown;
  readonly tools?: unknown;
  readonly attachments?: number;
  readonly isExternal: boolean;
  readonly previousResponse?: string | undefined;
  readonly conversation?: string | undefined;
  /** Where the model is not named by a member `model`, and a stream not asked for by `stream`. */
  readonly model?: string | undefined;
  readonly stream?: boolean;
  /** Tools, where the list of them is not flat. */
  readonly toolCount?: number;
  /** What `params.ts` looks for, where it is not in the body under OpenAI's or Anthropic's names. */
  readonly settings?: Members;
}

export function readRequest(body: Uint8Array, find: (body: Members) => RequestParts): RequestFacts {
  const value = parseUtf8Json(body);
  if (!isObject(value)) return NOTHING;
  const all = members(value);
  const found = find(all);
  // What is longer than this is committed to as raw bytes only.
  const isShort = body.length <= NORMALIZED_CHARS_MAX;
  const normalized = isShort && found.messages ? normal({ messages: found.messages }) : undefined;
  const system = isShort ? normal(found.system) : undefined;
  const tools = isShort ? normal(found.tools) : undefined;
  const model = labelOf(all.model) ?? found.model;
  const settings = found.settings ?? all;
  const stop = stopOf(settings.stop ?? settings.stop_sequences);
  return {
    parsed: true,
    ...(model !== undefined && { model }),
    stream: found.stream ?? all.stream === true,
    ...(found.messages && { messages: found.messages.length }),
    ...(found.messages && { tools: found.toolCount ?? items(found.tools).length }),
    ...(found.attachments !== undefined && { attachments: found.attachments }),
    context: found.isExternal ? 'external-state' : 'complete',
    params: paramsOf(settings),
    ...(stop !== undefined && { stop }),
    ...(normalized !== undefined && { normalized }),
    ...(system !== undefined && { system }),
    ...(tools !== undefined && { toolDefinitions: tools }),
    ...(found.previousResponse !== undefined && { previousResponse: found.previousResponse }),
    ...(found.conversation !== undefined && { conversation: found.conversation }),
  };
}

/** A body in another encoding is not what the provider reads either. */
function parseUtf8Json(body: Uint8Array): unknown {
  try {
    return parseLenient(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(body));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function stopOf(stop: unknown): Json | undefined {
  return stop === null ? undefined : normal(stop);
}

const ATTACHMENTS: ReadonlyMap<string, 'image' | 'file' | 'audio'> = new Map([
  ['image', 'image'],
  ['image_url', 'image'],
  ['input_image', 'image'],
  ['file', 'file'],
  ['input_file', 'file'],
  ['document', 'file'],
  ['container_upload', 'file'],
  ['audio', 'audio'],
  ['input_audio', 'audio'],
]);

const TEXTS: ReadonlySet<string> = new Set(['text', 'input_text', 'output_text']);
const NESTING_MAX = 8;

/** Reads content parts of any format, and counts what it meets. */
export class Parts {
  attachments = 0;
  isExternal = false;

  /** Text stands for one part. */
  list(content: unknown): unknown[] {
    return this.#list(content, 0);
  }

  message(role: unknown, parts: readonly unknown[]): unknown {
    return { role: labelOf(role) ?? 'unknown', parts };
  }

  /** What an assistant asked for in an earlier turn. */
  toolCall(id: unknown, name: unknown, args: unknown): unknown {
    const text = textOf(args) ?? (args === undefined ? '' : JSON.stringify(args));
    return { type: 'tool_call', id: textOf(id), name: textOf(name), arguments: text };
  }

  toolResult(id: unknown, content: unknown, isError?: unknown): unknown {
    return this.#toolResult(id, content, isError, 0);
  }

  #list(content: unknown, depth: number): unknown[] {
    if (typeof content === 'string') return [{ type: 'text', text: content }];
    if (Array.isArray(content)) return content.map((item) => this.#part(item, depth));
    return content === null || content === undefined ? [] : [this.#part(content, depth)];
  }

  #toolResult(id: unknown, content: unknown, isError: unknown, depth: number): unknown {
    const parts = this.#list(content, depth + 1);
    return { type: 'tool_result', id: textOf(id), parts, is_error: isError === true || undefined };
  }

  #part(raw: unknown, depth: number): unknown {
    if (typeof raw === 'string') return { type: 'text', text: raw };
    const part = members(raw);
    const type = textOf(part.type) ?? 'unknown';
    if (TEXTS.has(type) && typeof part.text === 'string') return { type: 'text', text: part.text };
    if (type === 'refusal') return { type: 'refusal', text: textOf(part.refusal) ?? '' };
    if (type === 'thinking') return { type: 'reasoning', text: textOf(part.thinking) ?? '' };
    if (type === 'redacted_thinking') return { type: 'reasoning', data: part.data };
    if (type.endsWith('tool_use')) {
      const call = members(this.toolCall(part.id, part.name, part.input));
      return type === 'tool_use' ? call : { ...call, raw_type: type };
    }
    if (type === 'tool_result' && depth < NESTING_MAX) {
      return this.#toolResult(part.tool_use_id, part.content, part.is_error, depth);
    }
    const attachment = ATTACHMENTS.get(type);
    if (attachment === undefined) return { type: 'other', raw_type: type, value: raw };
    this.attachments++;
    if (isElsewhere(part)) this.isExternal = true;
    return { type: attachment, value: raw };
  }
}

/** Whether an attachment is named and not sent: a file's id, or an address. */
function isElsewhere(part: Members): boolean {
  const inner = [part, part.source, part.file, part.image_url, part.input_audio].map(members);
  if (inner.some(({ file_id }) => file_id !== undefined && file_id !== null)) return true;
  const urls = inner.flatMap(({ url, file_url, image_url }) => [url, file_url, image_url]);
  return urls.some((url) => typeof url === 'string' && !url.startsWith('data:'));
}
