/**
 * Which provider's format does a call have?
 *
 * The path decides, because most servers speak somebody else's format: vLLM behind `/v1/chat/completions`
 * is read like OpenAI, and so is Anthropic's own compatible endpoint. What is not known is opaque: its
 * bytes are recorded, and the ends of its streams recognized, all the same.
 */
import { anthropicMessages } from './anthropic.ts';
import { openaiChat } from './chat.ts';
import { openaiCompletions } from './completions.ts';
import { openaiEmbeddings } from './embeddings.ts';
import { opaque } from './opaque.ts';
import type { Provider } from './provider.ts';
import { openaiResponses } from './responses.ts';

const BY_PATH: readonly (readonly [RegExp, (provider: string) => Provider])[] = [
  [/\/chat\/completions$/, openaiChat],
  [/\/completions$/, openaiCompletions],
  [/\/responses$/, openaiResponses],
  [/\/embeddings$/, openaiEmbeddings],
  [/\/messages$/, anthropicMessages],
];

/** [Azure OpenAI REST reference] The deployment is in the path. */
const AZURE = /^\/openai\/(?:deployments\/[^/]+|v1)\//;

/** `upstream` is its configured name; `path` may have a query, which says nothing here. */
export function providerFor(upstream: string, method: string, path: string): Provider {
  const plain = path.replace(/[?#].*$/s, '').replace(/\/+$/, '');
  const name = AZURE.test(plain.replace(/^\/v1(?=\/)/, '')) ? 'azure.ai.openai' : upstream;
  const known = method === 'POST' ? BY_PATH.find(([form]) => form.test(plain)) : undefined;
  // [OpenAI Assistants] A thread's messages are no model call.
  if (known === undefined || /\/threads\//.test(plain)) return opaque(name);
  return known[1](name);
}
