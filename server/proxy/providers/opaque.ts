/**
 * A call whose format is not known: the bytes are the evidence. The ends of streams are still
 * recognized (P7), and the usual spelling of an error is still read.
 */
import { Answer, type Fold } from './answer.ts';
import type { Provider } from './provider.ts';
import { readResponse } from './reading.ts';
import { UsageReader } from './usage.ts';
import { members } from './values.ts';

export function opaque(provider: string): Provider {
  return {
    format: 'opaque',
    provider,
    operation: 'unknown',
    request: () => ({ parsed: false, stream: false, context: 'unknown', params: {} }),
    response(info) {
      const answer = new Answer(new UsageReader('included'));
      answer.hasMessages = false;
      const fold: Fold = {
        event: () => undefined,
        body: () => undefined,
        // [Bedrock, InvokeModelWithResponseStream] Of any model the last event has the counts.
        terminal: (value) =>
          members(value)['amazon-bedrock-invocationMetrics'] === undefined ? undefined : 'done',
      };
      return readResponse(info, answer, fold);
    },
  };
}
