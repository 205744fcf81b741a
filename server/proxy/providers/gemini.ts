/**
 * Gemini: `MODEL:generateContent`, and `MODEL:streamGenerateContent` as events (`alt=sse`) or as one JSON array
 * that comes in pieces; of Google AI and of Vertex AI.
 *
 * A stream of events has no end mark: every chunk is an answer of its own with more of the parts, and each
 * candidate is over with the chunk that has its `finishReason`. Usage repeats in every chunk; the last counts. A
 * prompt that is blocked is answered with no candidate at all, and the reason. Names may be written in camelCase
 * or in snake_case in a request.
 */
import { Answer, CHOICES_MAX, type Fold } from './answer.ts';
import type { Message, Part } from './draft.ts';
import type { Provider, RequestFacts } from './provider.ts';
import { readResponse } from './reading.ts';
import { Parts, readRequest } from './request.ts';
import { UsageReader } from './usage.ts';
import { countOf, items, labelOf, type Members, members, textOf, wordOf } from './values.ts';

export interface GeminiCall {
  readonly provider: string;
  readonly model: string | undefined;
  readonly apiVersion: string | undefined;
  /** Nothing for an answer in one piece. */
  readonly stream: 'sse' | 'json-array' | undefined;
}

export function gemini({ provider, model, apiVersion, stream }: GeminiCall): Provider {
  return {
    format: 'gemini',
    provider,
    operation: 'generate_content',
    ...(apiVersion === undefined ? {} : { apiVersion }),
    request: (body) => request(body, model, stream !== undefined),
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      const asked = info.request ?? { parsed: false, context: 'unknown', params: {} };
      // What was asked for says the path, also where the body could not be read.
      const as = { ...info, request: { ...asked, stream: stream !== undefined } };
      return readResponse(as, answer, new GeminiFold(answer), stream);
    },
  };
}

function either(value: unknown, name: string): unknown {
  const all = members(value);
  return all[name] ?? all[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)];
}

function request(body: Uint8Array, model: string | undefined, stream: boolean): RequestFacts {
  return readRequest(body, (all) => {
    const parts = new Parts();
    const messages = items(all.contents ?? []).map((item) => {
      const { role } = members(item);
      return parts.message(role ?? 'user', requestParts(members(item).parts, parts));
    });
    const system = requestParts(members(either(all, 'systemInstruction')).parts, parts);
    const tools = items(all.tools);
    const functions = tools.flatMap((tool) => items(either(tool, 'functionDeclarations')));
    const hosted = tools.filter((tool) => either(tool, 'functionDeclarations') === undefined);
    return {
      model,
      stream,
      messages,
      system: system.length > 0 ? { messages: [{ role: 'system', parts: system }] } : undefined,
      tools: all.tools,
      toolCount: functions.length + hosted.length,
      attachments: parts.attachments,
      // A search or a cache brings along what is not in the body.
      isExternal:
        parts.isExternal || hosted.length > 0 || either(all, 'cachedContent') !== undefined,
      settings: settingsOf(all),
    };
  });
}

function settingsOf(all: Members): Members {
  const config = either(all, 'generationConfig');
  const thinking = either(config, 'thinkingConfig');
  const calling = either(either(all, 'toolConfig'), 'functionCallingConfig');
  const isJson = either(config, 'responseMimeType') === 'application/json';
  const hasSchema = ['responseSchema', 'responseJsonSchema'].some((name) => either(config, name));
  return {
    ...members(config),
    top_p: either(config, 'topP'),
    top_k: either(config, 'topK'),
    n: either(config, 'candidateCount'),
    max_tokens: either(config, 'maxOutputTokens'),
    stop: either(config, 'stopSequences'),
    presence_penalty: either(config, 'presencePenalty'),
    frequency_penalty: either(config, 'frequencyPenalty'),
    logprobs: either(config, 'responseLogprobs'),
    top_logprobs: members(config).logprobs,
    thinking: { budget_tokens: either(thinking, 'thinkingBudget') },
    reasoning_effort: either(thinking, 'thinkingLevel'),
    response_format: isJson ? { type: hasSchema ? 'json_schema' : 'json_object' } : undefined,
    tool_choice: members(calling).mode,
  };
}

function requestParts(value: unknown, parts: Parts): unknown[] {
  return (Array.isArray(value) ? value : value === undefined ? [] : [value]).map((raw) => {
    const part = members(raw);
    const { text, thought } = part;
    if (typeof text === 'string') return { type: thought === true ? 'reasoning' : 'text', text };
    const call = members(either(part, 'functionCall'));
    if (call.name !== undefined) return parts.toolCall(call.id, call.name, call.args);
    const result = members(either(part, 'functionResponse'));
    if (result.name !== undefined) {
      const content = { type: 'json', value: result.response };
      return parts.toolResult(result.id ?? result.name, [content]);
    }
    const file = either(part, 'fileData');
    const data = either(part, 'inlineData') ?? file;
    if (data === undefined) return { type: 'other', raw_type: nameOf(part), value: raw };
    parts.attachments++;
    if (file !== undefined) parts.isExternal = true;
    const kind = /^(image|audio)\//.exec(textOf(either(data, 'mimeType')) ?? '')?.[1] ?? 'file';
    return { type: kind, value: raw };
  });
}

/** What a part is, of a kind that is not known here. */
function nameOf(part: Members): string | undefined {
  return Object.keys(part).find(
    (name) => !/^(?:thought|thoughtSignature|videoMetadata)$/.test(name),
  );
}

/** [Gemini API, FinishReason] The provider's own filters ended the answer. */
const REFUSALS: ReadonlySet<string> = new Set([
  'SAFETY',
  'RECITATION',
  'LANGUAGE',
  'BLOCKLIST',
  'PROHIBITED_CONTENT',
  'SPII',
  'IMAGE_SAFETY',
  'IMAGE_PROHIBITED_CONTENT',
  'IMAGE_RECITATION',
  'MODEL_ARMOR',
]);

class GeminiFold implements Fold {
  readonly #answer: Answer;
  readonly #candidates = new Map<number, { message: Message; open: Part | undefined }>();
  #isBlocked = false;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  mayEnd(value: unknown): boolean {
    const { candidates, promptFeedback } = members(value);
    const isFinished = items(candidates).some((one) => textOf(members(one).finishReason));
    return isFinished || members(promptFeedback).blockReason !== undefined;
  }

  isWhole(): boolean {
    const all = [...this.#candidates.values()];
    return (
      this.#isBlocked ||
      (all.length > 0 && all.every(({ message }) => message.finish !== undefined))
    );
  }

  event(value: unknown): void {
    this.body(value);
  }

  body(value: unknown): void {
    const { candidates, promptFeedback, usageMetadata, modelVersion, responseId } = members(value);
    this.#answer.labels({ id: responseId, model: modelVersion });
    this.#answer.usage.read(usageOf(members(usageMetadata)));
    this.#feedback(members(promptFeedback));
    for (const [position, item] of items(candidates).entries()) {
      const candidate = members(item);
      this.#candidate(countOf(candidate.index) ?? position, candidate);
    }
  }

  #feedback(feedback: Members): void {
    this.#answer.filters.readGemini('input', feedback.safetyRatings);
    const reason = wordOf(feedback.blockReason);
    if (reason === undefined) return;
    this.#isBlocked = true;
    this.#answer.isRefused = true;
    this.#answer.filters.block('gemini.block', 'input', reason);
  }

  #candidate(index: number, { content, finishReason, safetyRatings, ...rest }: Members): void {
    let candidate = this.#candidates.get(index);
    if (candidate === undefined) {
      candidate = { message: this.#answer.message(), open: undefined };
      if (this.#candidates.size < CHOICES_MAX) this.#candidates.set(index, candidate);
    }
    const { message } = candidate;
    message.role = roleOf(members(content).role) ?? message.role;
    for (const part of items(members(content).parts)) this.#part(candidate, members(part));
    for (const name of ['citationMetadata', 'groundingMetadata', 'urlContextMetadata']) {
      if (rest[name] !== undefined) message.add('other', { raw_type: name, value: rest[name] });
    }
    this.#answer.filters.readGemini('output', safetyRatings);
    const reason = labelOf(finishReason);
    if (reason === undefined) return;
    message.finish = reason;
    if (!REFUSALS.has(reason)) return;
    this.#answer.isRefused = true;
    this.#answer.filters.block('gemini.finish', 'output', wordOf(reason) ?? 'other');
  }

  #part(candidate: { message: Message; open: Part | undefined }, part: Members): void {
    const { message } = candidate;
    const { text, thought, thoughtSignature: signature, functionCall } = part;
    if (typeof text === 'string') {
      const type = thought === true ? 'reasoning' : 'text';
      if (candidate.open?.type !== type && (text !== '' || signature !== undefined)) {
        candidate.open = message.add(type);
      }
      if (candidate.open === undefined) return;
      message.append(candidate.open, text);
      if (typeof signature === 'string') candidate.open.signature = signature;
      return;
    }
    candidate.open = undefined;
    if (functionCall !== undefined) {
      const { id, name, args } = members(functionCall);
      const given = args === undefined ? '' : JSON.stringify(args);
      const call = message.add('tool_call', { id: labelOf(id), name: labelOf(name) });
      message.append(call, given);
      if (typeof signature === 'string') call.signature = signature;
      return;
    }
    message.add('other', { raw_type: nameOf(part), value: part });
  }
}

/** "model" is what others call "assistant". */
function roleOf(role: unknown): string | undefined {
  return role === 'model' ? 'assistant' : labelOf(role);
}

/** Thoughts are part of the output, and the results of hosted tools part of the input. */
function usageOf(usage: Members): Members {
  const sum = (...counts: unknown[]) => {
    const known = counts.map(countOf).filter((count) => count !== undefined);
    return known.length === 0 ? undefined : known.reduce((a, b) => a + b);
  };
  return {
    prompt_tokens: sum(usage.promptTokenCount, usage.toolUsePromptTokenCount),
    completion_tokens: sum(usage.candidatesTokenCount, usage.thoughtsTokenCount),
    total_tokens: usage.totalTokenCount,
    prompt_tokens_details: { cached_tokens: usage.cachedContentTokenCount },
    completion_tokens_details: { reasoning_tokens: usage.thoughtsTokenCount },
  };
}
