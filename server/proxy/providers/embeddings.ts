/**
 * OpenAI Embeddings: megabytes of fractions out, which are recorded as bytes and not normalized.
 */
import { Answer, type Fold } from './answer.ts';
import type { Provider } from './provider.ts';
import { readResponse } from './reading.ts';
import { readRequest } from './request.ts';
import { UsageReader } from './usage.ts';
import { members } from './values.ts';

export function openaiEmbeddings(provider: string): Provider {
  return {
    format: 'openai.embeddings',
    provider,
    operation: 'embeddings',
    request: (body) => readRequest(body, () => ({ isExternal: false })),
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      const read = (value: unknown): void => {
        answer.labels(value);
        answer.usage.read(members(value).usage);
      };
      const fold: Fold = { event: read, body: read };
      return readResponse(info, answer, fold);
    },
  };
}
