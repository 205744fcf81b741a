/**
 * How did a call end, in the record's words?
 *
 * Two witnesses: the connection (`Transport`), and what the provider's reader found in the bytes. The client
 * library may call a cut stream a success; the record must not.
 */
import type { InferenceRecord } from '../core/record.ts';
import type { EndFrame } from './facts.ts';
import type { ResponseFacts } from './providers/provider.ts';

type Outcome = InferenceRecord['outcome'];
type StreamEnd = NonNullable<NonNullable<InferenceRecord['output']>['stream']>['terminated'];

/** Why a whole body may not have been read. */
const UNREAD: ReadonlySet<string> = new Set(['body-too-large', 'undecodable-content']);

export function outcomeOf(end: EndFrame, response: ResponseFacts | undefined): Outcome {
  const type = response?.error?.type ?? end.error;
  const code = response?.error?.code;
  return {
    status: statusOf(end, response),
    ...(end.head === undefined ? {} : { http_status: end.head.status }),
    ...(type === undefined || type === '' ? {} : { error_type: type }),
    ...(code === undefined || code === '' ? {} : { error_code: code }),
  };
}

function statusOf(end: EndFrame, response: ResponseFacts | undefined): Outcome['status'] {
  switch (end.transport) {
    case 'client-abort':
      return 'client-abort';
    case 'timeout':
      return 'timeout';
    case 'refused':
      return 'blocked';
    case 'cut':
    case 'unreachable':
    case 'storage':
    case 'crash':
      return 'transport-error';
    case 'complete':
      return answerStatus(end.head?.status ?? 0, response);
  }
}

function answerStatus(http: number, response: ResponseFacts | undefined): Outcome['status'] {
  if (http >= 400 || response?.error !== undefined) return 'upstream-error';
  if (response?.stream?.terminated === 'error-event') return 'upstream-error';
  if (response?.refused) return 'refused';
  // By its own word it ended before the model did.
  if (response?.finishReasons.some((reason) => LIMITS.has(reason.toLowerCase())))
    return 'incomplete';
  // The connection ended well, the answer did not: a stream without its end mark, or a body of no
  // declared length that stops in the middle. A body that could not be looked into is not judged.
  const isJudged = response?.flags.some((flag) => UNREAD.has(flag)) === false;
  return isJudged && !response.complete ? 'incomplete' : 'ok';
}

/** What providers say where an answer was stopped by a limit on its length, and Responses of any other too. */
const LIMITS: ReadonlySet<string> = new Set([
  'length',
  'max_tokens',
  'max_output_tokens',
  'model_context_window_exceeded',
  'model_length',
  'incomplete',
]);

/** What ended a stream: its own mark where it has one, else the connection. */
export function streamEndOf(
  { transport }: EndFrame,
  { terminated }: NonNullable<ResponseFacts['stream']>,
): StreamEnd {
  if (terminated !== 'eof-clean' && terminated !== 'eof-cut') return terminated;
  if (transport === 'client-abort' || transport === 'timeout') return transport;
  return terminated;
}
