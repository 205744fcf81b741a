/**
 * One request to a Stele server: the token, a deadline, an answer of bounded length, and a problem
 * document turned back into the error it was.
 *
 * Whatever comes back is a stranger's. Redirects are refused: following one would take the token, or
 * the question, to whoever the answer names (P8, P10).
 */
import { type Code, malformed, SteleError, shown } from '../core/errors.ts';
import { readBounded, reasonOf, retryAfterOf } from '../outbound.ts';
import { parseProblem } from './problem.ts';

export interface TransportOptions {
  /** An http or https address, without a slash at its end. */
  readonly base: string;
  readonly token?: string | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** Milliseconds for a whole exchange, unless a request says otherwise. */
  readonly timeoutMs?: number | undefined;
}

export interface Question {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes of answer beyond which it is refused. */
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly bytes: Uint8Array;
  readonly header: (name: string) => string | null;
}

const TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 16_777_216;
const PROBLEM_BYTES_MAX = 65_536;

export class Transport {
  readonly base: string;
  readonly #token: string | undefined;
  readonly #fetch: typeof fetch;
  readonly #timeoutMs: number;

  constructor(options: TransportOptions) {
    const { base } = options;
    const parsed = URL.parse(base);
    if (parsed === null || !['http:', 'https:'].includes(parsed.protocol) || base.endsWith('/')) {
      throw malformed(
        'server',
        `${shown(base)} is not an http or https address without a slash at its end`,
      );
    }
    this.base = base;
    this.#token = options.token;
    this.#fetch = options.fetch ?? fetch;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  }

  /**
   * The answer to a request that succeeded. Anything but a 2xx, or the 304 that was asked for, is thrown as
   * the error it stands for.
   */
  async ask(path: string, question: Question = {}): Promise<Answer> {
    const answer = await this.#exchange(path, question, (response) =>
      readBounded(response.body, question.maxBytes ?? ANSWER_BYTES_MAX),
    );
    return answer;
  }

  /** The body of an answer as it comes. Whoever reads it bounds it. */
  async *stream(path: string, question: Question = {}): AsyncGenerator<Uint8Array> {
    const { response, done } = await this.#open(path, question);
    try {
      for await (const chunk of response.body ?? []) yield chunk;
    } catch (cause) {
      throw this.#unreachable(cause, question);
    } finally {
      done();
    }
  }

  async #exchange(
    path: string,
    question: Question,
    read: (response: Response) => Promise<Uint8Array>,
  ): Promise<Answer> {
    const { response, done } = await this.#open(path, question);
    try {
      const bytes = await read(response);
      return { status: response.status, bytes, header: (name) => response.headers.get(name) };
    } catch (cause) {
      throw cause instanceof SteleError ? cause : this.#unreachable(cause, question);
    } finally {
      done();
    }
  }

  /** A response whose status is 2xx and whose body is unread. `done` must be called. */
  async #open(path: string, question: Question) {
    const timer = new AbortController();
    const deadline = setTimeout(() => timer.abort(), question.timeoutMs ?? this.#timeoutMs);
    const stop = new AbortController();
    const signals = [timer.signal, stop.signal];
    if (question.signal !== undefined) signals.push(question.signal);
    const done = () => {
      clearTimeout(deadline);
      stop.abort();
    };
    try {
      const response = await this.#fetch(this.base + path, {
        method: question.method ?? 'GET',
        redirect: 'manual',
        signal: AbortSignal.any(signals),
        headers: {
          ...question.headers,
          ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        },
        ...bodyOf(question.body),
      });
      if (!response.ok && !isUnchanged(response, question)) throw await problemOf(response);
      return { response, done };
    } catch (cause) {
      done();
      throw cause instanceof SteleError ? cause : this.#unreachable(cause, question);
    }
  }

  /** No answer: whether the request took effect is unknown. Asking again is safe. */
  #unreachable(cause: unknown, question: Question): SteleError {
    const { host } = new URL(this.base);
    if (question.signal?.aborted) {
      return new SteleError('not_yet', `${host}: the request was given up`, { cause });
    }
    const late = cause instanceof Error && cause.name === 'AbortError';
    const seconds = (question.timeoutMs ?? this.#timeoutMs) / 1000;
    return new SteleError(
      'storage',
      late ? `${host}: no answer within ${seconds} s` : `${host}: ${reasonOf(cause)}`,
      { cause },
    );
  }
}

function isUnchanged({ status }: Response, { headers }: Question): boolean {
  return status === 304 && headers?.['if-none-match'] !== undefined;
}

function bodyOf(body: Question['body']): RequestInit {
  if (body === undefined) return {};
  if (body instanceof Uint8Array) return { body: body as Uint8Array<ArrayBuffer> };
  return { body: ReadableStream.from(body), duplex: 'half' } as RequestInit;
}

/** The error that an answer stands for: its problem document's code, or what its status says. */
async function problemOf(response: Response): Promise<SteleError> {
  const bytes = await readBounded(response.body, PROBLEM_BYTES_MAX);
  const retryAfterS = retryAfterOf(response.headers.get('retry-after'), Date.now());
  const options = retryAfterS === undefined ? {} : { retryAfterS };
  const problem = parseProblem(bytes);
  if (problem !== undefined) return new SteleError(problem.code, problem.message, options);
  const { status } = response;
  return new SteleError(codeOf(status), `the server answered ${status}`, options);
}

function codeOf(status: number): Code {
  if (status === 401) return 'unauthenticated';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not_found';
  if (status === 413) return 'too_large';
  if (status === 429) return 'pushback';
  return status >= 300 && status < 500 ? 'malformed' : 'storage';
}
