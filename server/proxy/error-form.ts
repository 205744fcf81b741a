/**
 * How does a refusal look to the client of a provider?
 *
 * The official clients show an error only where their provider would have put it. So a problem document of the
 * proxy has the member `error` as well, in the form of whatever the path belongs to; whoever does not know
 * the path gets OpenAI's, which most servers share.
 */
import type { Problem } from './problem.ts';

type Members = Readonly<Record<string, unknown>>;

const FORMS: readonly (readonly [RegExp, (problem: Problem) => Members])[] = [
  // [Anthropic API, errors] {"type":"error","error":{"type","message"}}
  [/\/messages(?:\/|$)/, anthropic],
  // [Google AIP-193] {"error":{"code","message","status"}}
  [/\/models\/[^/]+:[a-zA-Z]+$/, google],
  // [Ollama API] {"error":"…"}
  [/\/api\/[a-z]+$/, ({ detail }) => ({ error: detail })],
];

/** What a problem document has besides its own members. `url` is the target of the request. */
export function errorForm(url: string, problem: Problem): Members {
  const path = url.split('?', 1)[0] ?? '';
  const form = FORMS.find(([pattern]) => pattern.test(path))?.[1] ?? openai;
  return form(problem);
}

function openai(problem: Problem): Members {
  const { detail: message, code } = problem;
  return { error: { message, type: kindOf(problem), param: null, code } };
}

function anthropic(problem: Problem): Members {
  return { type: 'error', error: { type: kindOf(problem), message: problem.detail } };
}

function google({ status, detail: message }: Problem): Members {
  return { error: { code: status, message, status: GOOGLE[status] ?? 'UNAVAILABLE' } };
}

/** OpenAI's and Anthropic's names for kinds of error are the same, as far as they matter here. */
function kindOf({ status }: Problem): string {
  return KINDS[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
}

const KINDS: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
};

const GOOGLE: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  413: 'INVALID_ARGUMENT',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  501: 'UNIMPLEMENTED',
  504: 'DEADLINE_EXCEEDED',
};
