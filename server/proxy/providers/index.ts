/**
 * Which provider's format does a call have?
 *
 * The path decides, because most servers speak somebody else's format: vLLM behind `/v1/chat/completions`
 * is read like OpenAI, and so is Anthropic's own compatible endpoint. What is not known is opaque: its
 * bytes are recorded, and the ends of its streams recognized, all the same.
 */

import { Answer } from './answer.ts';
import { anthropicBy, anthropicMessages } from './anthropic.ts';
import { bedrockAnthropic, bedrockConverse } from './bedrock.ts';
import { openaiChat } from './chat.ts';
import { openaiCompletions } from './completions.ts';
import { openaiEmbeddings } from './embeddings.ts';
import { gemini } from './gemini.ts';
import { openaiModerations } from './moderations.ts';
import { ollamaChat, ollamaGenerate } from './ollama.ts';
import { opaque } from './opaque.ts';
import type { Provider } from './provider.ts';
import { openaiResponses } from './responses.ts';
import { UsageReader } from './usage.ts';
import { labelOf } from './values.ts';

type ByName = (provider: string) => Provider;

/** By the last segments of the path. */
const BY_TAIL: Readonly<Record<string, ByName>> = {
  'chat/completions': openaiChat,
  completions: openaiCompletions,
  responses: openaiResponses,
  embeddings: openaiEmbeddings,
  moderations: openaiModerations,
  messages: anthropicMessages,
  'api/chat': ollamaChat,
  'api/generate': ollamaGenerate,
};

/** `upstream` is its configured name; `target` is what is behind the base URL. */
export function providerFor(upstream: string, method: string, target: string): Provider {
  const [path = '', query = ''] = target.split('#', 1)[0]?.split('?') ?? [];
  // What a stranger wrote is taken apart and not searched through: no pattern has to look at it twice.
  const segments = path.split('/');
  while (segments.length > 0 && segments.at(-1) === '') segments.pop();
  const azure = azureOf(segments);
  const name = azure === undefined ? upstream : 'azure.ai.openai';
  // [OpenAI Assistants] A thread's messages are no model call.
  const isCall = method === 'POST' && !segments.includes('threads');
  const provider = isCall ? known(name, segments, query) : undefined;
  if (provider === undefined) return opaque(name);
  const deployment = nameIn(azure?.deployment);
  return deployment === undefined ? provider : named(provider, deployment);
}

/** [Azure OpenAI REST reference] A deployment in the path stands for the model. */
function azureOf(segments: readonly string[]): { readonly deployment?: string } | undefined {
  const [, first, second, third] = segments;
  if (first !== 'openai') return undefined;
  if (second === 'deployments' && third !== undefined) return { deployment: third };
  // [Azure OpenAI REST reference] /openai/responses and the like have the model in the body.
  return second === 'v1' || second === 'responses' ? {} : undefined;
}

function known(name: string, segments: readonly string[], query: string): Provider | undefined {
  const last = segments.at(-1) ?? '';
  const before = segments.at(-2) ?? '';
  const byName = BY_TAIL[`${before}/${last}`] ?? (Object.hasOwn(BY_TAIL, last) && BY_TAIL[last]);
  if (byName) return byName(name);
  const [model = '', verb = ''] = splitLast(last, ':');
  if (/^(?:generateContent|streamGenerateContent)$/.test(verb)) {
    const isSse = query.split('&').includes('alt=sse');
    return gemini({
      provider: platformOf(segments),
      model: nameIn(model),
      apiVersion: segments.find((segment) => /^v[0-9][a-z0-9]*$/.test(segment)),
      stream: verb === 'generateContent' ? undefined : isSse ? 'sse' : 'json-array',
    });
  }
  // [Vertex AI, Claude] Anthropic's messages, events and all.
  if (/^(?:rawPredict|streamRawPredict)$/.test(verb) && segments.includes('anthropic')) {
    return anthropicBy({
      provider: platformOf(segments),
      model: nameIn(model) ?? 'unknown',
      stream: verb === 'streamRawPredict',
      framing: 'sse',
      answerOf: () => new Answer(new UsageReader('apart')),
    });
  }
  return segments.at(-3) === 'model' ? bedrock(before, last) : undefined;
}

function platformOf(segments: readonly string[]): string {
  return segments.includes('projects') ? 'gcp.vertex_ai' : 'gcp.gemini';
}

function bedrock(segment: string, verb: string): Provider | undefined {
  const model = nameIn(segment) ?? 'unknown';
  if (verb === 'converse' || verb === 'converse-stream') {
    return bedrockConverse({ model, stream: verb === 'converse-stream' });
  }
  const stream = verb === 'invoke-with-response-stream';
  const isAnthropic = model.includes('anthropic.') && (stream || verb === 'invoke');
  return isAnthropic ? bedrockAnthropic({ model, stream }) : undefined;
}

/** A model that the path names where the body does not. */
function named(provider: Provider, model: string): Provider {
  return {
    ...provider,
    request(body) {
      const facts = provider.request(body);
      return facts.parsed && facts.model === undefined ? { ...facts, model } : facts;
    },
  };
}

/** A name in a path, as it is written elsewhere: "amazon.nova-lite-v1%3A0" has a colon. */
function nameIn(segment: string | undefined): string | undefined {
  if (segment === undefined) return undefined;
  try {
    return labelOf(decodeURIComponent(segment));
  } catch {
    // A stranger's percent signs; what they wrote is a name as well.
    return labelOf(segment);
  }
}

function splitLast(text: string, at: string): readonly string[] {
  const found = text.lastIndexOf(at);
  return found < 0 ? [text] : [text.slice(0, found), text.slice(found + 1)];
}
