/**
 * Which provider's format does a call have?
 *
 * The path decides, because most servers speak somebody else's format: vLLM behind `/v1/chat/completions`
 * is read like OpenAI, and so is Anthropic's own compatible endpoint. What is not known is opaque: its
 * bytes are recorded, and the ends of its streams recognized, all the same.
 */
import { plainPath } from '../plain-path.ts';
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
const BY_TAIL: ReadonlyMap<string, ByName> = new Map([
  ['chat/completions', openaiChat],
  ['completions', openaiCompletions],
  ['responses', openaiResponses],
  ['embeddings', openaiEmbeddings],
  ['moderations', openaiModerations],
  ['messages', anthropicMessages],
  ['api/chat', ollamaChat],
  ['api/generate', ollamaGenerate],
]);

/** `upstream` is its configured name; `target` is what is behind the base URL. */
export function providerFor(upstream: string, method: string, target: string): Provider {
  const [path = '', query = ''] = target.split('#', 1)[0]?.split('?') ?? [];
  const plain = plainPath(path);
  const segments = plain.split('/');
  const name = isAzure(segments) ? 'azure.ai.openai' : upstream;
  // To many servers an encoded slash is one, and to some a capital is its small letter; in a model's name neither.
  const words = plain.replace(/%2f/gi, '/').toLowerCase().split('/');
  // [OpenAI Assistants] A thread's messages are no model call.
  if (method !== 'POST' || words.includes('threads')) return opaque(name);
  const byTail = BY_TAIL.get(words.slice(-2).join('/')) ?? BY_TAIL.get(words.at(-1) ?? '');
  const provider = byTail?.(name) ?? byModel(segments, query) ?? opaque(name);
  const model = nameIn(modelIn(segments));
  return model === undefined ? provider : named(provider, model);
}

/** [Azure OpenAI REST reference] /openai/deployments/NAME/…, /openai/v1/…, and /openai/responses */
function isAzure([, first = '', second = '', third]: readonly string[]): boolean {
  if (!isWord(first, 'openai')) return false;
  if (isWord(second, 'deployments')) return third !== undefined;
  return isWord(second, 'v1') || isWord(second, 'responses');
}

/** A model in the path of a call whose format has it in the body. */
function modelIn(segments: readonly string[]): string | undefined {
  if (isAzure(segments)) return behind(segments, 'deployments');
  // [Databricks, Model Serving] /serving-endpoints/NAME/invocations; but also /serving-endpoints/chat/completions
  if (isWord(segments.at(-1) ?? '', 'invocations')) return behind(segments, 'serving-endpoints');
  if (!segments.includes('projects')) return undefined;
  // [Vertex AI, endpoints] /projects/P/locations/L/endpoints/ID/chat/completions, endpoints/ID:predict
  const id = behind(segments, 'endpoints')?.split(':', 1)[0];
  return id === 'openapi' ? undefined : id;
}

function behind(segments: readonly string[], word: string): string | undefined {
  const at = segments.findIndex((segment) => isWord(segment, word));
  return at < 0 ? undefined : segments[at + 1];
}

/** Servers differ in whether a capital is another letter. */
function isWord(segment: string, word: string): boolean {
  return segment.toLowerCase() === word;
}

/** Formats whose paths end in a model and what is wanted of it. */
function byModel(segments: readonly string[], query: string): Provider | undefined {
  const last = segments.at(-1) ?? '';
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
  return segments.at(-3) === 'model' ? bedrock(segments.at(-2), last) : undefined;
}

function platformOf(segments: readonly string[]): string {
  return segments.includes('projects') ? 'gcp.vertex_ai' : 'gcp.gemini';
}

function bedrock(segment: string | undefined, verb: string): Provider | undefined {
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
      return facts.model === undefined ? { ...facts, model } : facts;
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
