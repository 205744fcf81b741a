/**
 * OpenAI Moderations: no model's answer but a judgment, which becomes policy events of the call.
 */
import { Answer, type Fold } from './answer.ts';
import type { Provider } from './provider.ts';
import { readResponse } from './reading.ts';
import { readRequest } from './request.ts';
import { UsageReader } from './usage.ts';
import { members } from './values.ts';

export function openaiModerations(provider: string): Provider {
  return {
    format: 'opaque',
    provider,
    operation: 'moderation',
    request: (body) => readRequest(body, () => ({ isExternal: false })),
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      answer.hasMessages = false;
      const read = (value: unknown): void => {
        answer.labels(value);
        answer.filters.readModeration(members(value).results);
      };
      const fold: Fold = { event: read, body: read };
      return readResponse(info, answer, fold);
    },
  };
}
