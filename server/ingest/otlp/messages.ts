/**
 * Messages in the shapes that telemetry has for them, in the one shape that records have:
 * {messages: [{role, parts: […], finish_reason?}]}.
 *
 *     structured   [{role, parts: [{type, content}], finish_reason?}]        since 1.37, also as JSON text
 *     chat         [{role, content, tool_calls}]                             OpenAI's, of events and of others
 *     flattened    llm.input_messages.0.message.role, gen_ai.prompt.0.role   one attribute for each leaf
 */
import { Parts } from '../../proxy/providers/request.ts';
import { items, labelOf, type Members, members, textOf } from '../../proxy/providers/values.ts';
import type { JsonRoom } from '../json.ts';
import type { Attributes } from './telemetry.ts';

/** A message of ours, before its form is checked. */
export interface Message {
  readonly role: string;
  readonly parts: readonly Members[];
  readonly finish_reason?: string;
}

/** Messages in any shape: a list, one alone, JSON text of either, or plain text. */
export function messagesOf(
  value: unknown,
  role: 'user' | 'assistant',
  room: JsonRoom,
): Message[] | undefined {
  if (value === undefined || value === null) return undefined;
  const parsed = typeof value === 'string' ? (room.within(value) ?? value) : value;
  if (typeof parsed !== 'object' || parsed === null) {
    return [{ role, parts: [{ type: 'text', text: String(value) }] }];
  }
  const list = Array.isArray(parsed) ? parsed : [parsed];
  return list.map((item) => messageOf(item, role, room));
}

export function messageOf(item: unknown, role: string, room: JsonRoom): Message {
  if (typeof item === 'string') return { role, parts: [{ type: 'text', text: item }] };
  const message = members(item);
  const finish = labelOf(message.finish_reason);
  return {
    role: labelOf(message.role) ?? role,
    parts: Array.isArray(message.parts)
      ? message.parts.map(partOf)
      : chatParts(message, role, room),
    ...(finish !== undefined && { finish_reason: finish }),
  };
}

/** System instructions: a list of parts, or text. */
export function instructionsOf(value: unknown, room: JsonRoom): Message[] | undefined {
  const parsed = typeof value === 'string' ? (room.within(value) ?? value) : value;
  if (parsed === undefined || parsed === null) return undefined;
  const list = Array.isArray(parsed) ? parsed : [parsed];
  return [{ role: 'system', parts: list.map(partOf) }];
}

// [gen-ai-input-messages.json and its like] Parts of the structured form.
function partOf(value: unknown): Members {
  if (typeof value === 'string') return { type: 'text', text: value };
  const part = members(value);
  const text = textOf(part.content) ?? textOf(part.text);
  switch (part.type) {
    case 'text':
      return { type: 'text', text: text ?? '' };
    case 'reasoning':
    case 'thinking':
      return { type: 'reasoning', text: text ?? '' };
    case 'refusal':
      return { type: 'refusal', text: text ?? textOf(part.refusal) ?? '' };
    case 'tool_call':
      return toolCall(part.id, part.name, part.arguments);
    case 'tool_call_response':
      return toolResult(part.id, part.response ?? part.result);
    case 'blob':
    case 'file':
    case 'uri':
      return { type: attachmentOf(part.modality ?? part.mime_type), value };
    default:
      return { type: 'other', raw_type: labelOf(part.type) ?? 'unknown', value };
  }
}

function attachmentOf(modality: unknown): string {
  const kind = /^(image|audio)/.exec(textOf(modality) ?? '')?.[1];
  return kind ?? 'file';
}

function chatParts(message: Members, role: string, room: JsonRoom): Members[] {
  const reader = new Parts();
  const content = message.content ?? message.text;
  if (message.role === 'tool' || role === 'tool') {
    return [toolResult(message.tool_call_id ?? message.id, content)];
  }
  const legacy = members(message.function_call);
  const reasoning = textOf(message.reasoning_content);
  const parts = [
    ...(reasoning ? [{ type: 'reasoning', text: reasoning }] : []),
    ...reader.list(parsedContent(content, room)),
    ...(typeof message.refusal === 'string' ? [{ type: 'refusal', text: message.refusal }] : []),
    ...items(message.tool_calls).map((item) => {
      const call = members(item);
      const { name, arguments: args } = members(call.function ?? call);
      return toolCall(call.id, name, args);
    }),
    ...(legacy.name ? [toolCall(undefined, legacy.name, legacy.arguments)] : []),
  ];
  return parts.map(members);
}

/** A list of content parts that somebody wrote as text. */
function parsedContent(content: unknown, room: JsonRoom): unknown {
  if (typeof content !== 'string' || !/^\s*\[\s*\{/.test(content)) return content;
  const parsed = room.within(content);
  const isParts = Array.isArray(parsed) && parsed.every((part) => textOf(members(part).type));
  return isParts ? parsed : content;
}

function toolCall(id: unknown, name: unknown, args: unknown): Members {
  return members(new Parts().toolCall(id, name, args));
}

function toolResult(id: unknown, result: unknown): Members {
  const text = typeof result === 'string' ? result : undefined;
  const content = text ?? (result === undefined ? undefined : JSON.stringify(result));
  return members(new Parts().toolResult(id, content));
}

/** Attributes that flatten a tree: how many, and how deep, bounded as what comes in is. */
const PATH_MAX = 16;

/** The tree that attributes with this prefix are the leaves of; nothing where there is none. */
export function unflattened(attributes: Attributes, prefix: string): Members | undefined {
  let root: Record<string, unknown> | undefined;
  for (const [key, value] of Object.entries(attributes)) {
    if (!key.startsWith(prefix)) continue;
    const path = key.slice(prefix.length).split('.');
    if (path.length > PATH_MAX) continue;
    root ??= Object.create(null) as Record<string, unknown>;
    let at = root;
    for (const step of path.slice(0, -1)) {
      const next = at[step];
      if (typeof next === 'object' && next !== null) at = next as Record<string, unknown>;
      else at[step] = at = Object.create(null) as Record<string, unknown>;
    }
    at[path.at(-1) ?? ''] ??= value;
  }
  return root;
}

/** The items of a flattened list, by their numbers. */
export function flatList(value: unknown): readonly Members[] {
  const found = Object.entries(members(value)).filter(([key]) => /^[0-9]{1,6}$/.test(key));
  return found.sort(([a], [b]) => Number(a) - Number(b)).map(([, item]) => members(item));
}

/** [OpenInference, llm.input_messages and llm.output_messages] */
export function openInferenceMessages(
  attributes: Attributes,
  prefix: string,
  { role, room }: { readonly role: string; readonly room: JsonRoom },
): Message[] | undefined {
  const tree = unflattened(attributes, prefix);
  if (tree === undefined) return undefined;
  return flatList(tree).map((item) => {
    const message = members(item.message);
    const contents = flatList(message.contents).map(({ message_content }) => {
      const content = members(message_content);
      return content.type === 'text' || content.type === undefined
        ? { type: 'text', text: textOf(content.text) ?? '' }
        : { type: attachmentOf(content.type), value: content };
    });
    const plain = {
      role: message.role,
      content: contents.length === 0 ? message.content : undefined,
      tool_call_id: message.tool_call_id,
      tool_calls: flatList(message.tool_calls).map(({ tool_call }) => members(tool_call)),
      function_call: message.function_call_name && {
        name: message.function_call_name,
        arguments: message.function_call_arguments_json,
      },
    };
    const read = messageOf(plain, role, room);
    return contents.length === 0 ? read : { ...read, parts: [...contents, ...read.parts] };
  });
}

/** [OpenLLMetry, gen_ai.prompt.N and gen_ai.completion.N] */
export function indexedMessages(
  attributes: Attributes,
  prefix: string,
  { role, room }: { readonly role: string; readonly room: JsonRoom },
): Message[] | undefined {
  const tree = unflattened(attributes, prefix);
  if (tree === undefined) return undefined;
  return flatList(tree).map((item) =>
    messageOf({ ...item, tool_calls: flatList(item.tool_calls) }, role, room),
  );
}
