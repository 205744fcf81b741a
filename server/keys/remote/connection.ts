/**
 * A log's side of the socket: one connection to the signer, made again whenever it breaks.
 *
 *     connecting ──▶ there ──▶ away ──▶ connecting …          waits grow from 0.1 s to 5 s
 *
 * While the signer is away every request is refused at once. A request whose connection broke, or that was
 * not answered in time, has an unknown outcome: it is refused with `storage`, and whoever asked asks again.
 */
import { connect, type Socket } from 'node:net';
import { hasCode, malformed, SteleError } from '../../core/errors.ts';
import {
  type Answer,
  formatQuestion,
  Lines,
  parseAnswer,
  parseHello,
  type Question,
  SIGNER_VERSION,
} from './protocol.ts';

export interface ConnectionOptions {
  readonly path: string;
  /** Told when the signer goes away, and when it is there again. */
  readonly said: (message: string, error?: unknown) => void;
  /** Milliseconds for an answer; a module in hardware may take long. */
  readonly answerMs?: number;
  /** Milliseconds for the signer's hello, which is also how long a request waits for a connection. */
  readonly helloMs?: number;
}

const ANSWER_MS = 20_000;
const HELLO_MS = 3_000;
const BACK_OFF_MS = { min: 100, max: 5_000 } as const;

/** Requests under way; a log has one for each batch and one for each head that it publishes. */
const ASKED_MAX = 4_096;

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: SteleError) => void;
  readonly timer: NodeJS.Timeout;
}

type State =
  | {
      readonly kind: 'connecting';
      readonly done: Promise<void>;
      /** Why it was away before, if it was. */
      readonly reason: SteleError | undefined;
    }
  | { readonly kind: 'there'; readonly socket: Socket }
  | { readonly kind: 'away'; readonly reason: SteleError };

export class SignerConnection {
  readonly path: string;
  readonly #options: ConnectionOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<() => void>();
  #state: State;
  #socket: Socket | undefined;
  #nextId = 1;
  #backOffMs: number = BACK_OFF_MS.min;
  #timer: NodeJS.Timeout | undefined;
  #hasLeft = false;
  #wasSaid = false;
  #isClosed = false;

  constructor(options: ConnectionOptions) {
    this.path = options.path;
    this.#options = options;
    this.#state = this.#connect(undefined);
  }

  /** Throws `storage` while the signer is known to be away. */
  checkThere(): void {
    if (this.#state.kind !== 'there' && this.#state.reason !== undefined) throw this.#state.reason;
  }

  /** Calls `listener` whenever the signer is there again. Returns how to stop that. */
  onReturn(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Asks and resolves to the answer. Rejects with `split_view` where that is what the signer says, and
   * otherwise with `storage`: it is away, it refuses, or its answer was lost.
   */
  async ask(question: Question): Promise<Exclude<Answer, { readonly kind: 'error' }>> {
    if (this.#state.kind === 'connecting') await this.#state.done;
    if (this.#state.kind !== 'there') {
      this.checkThere();
      throw this.#away('it is being connected to');
    }
    if (this.#waiting.size >= ASKED_MAX) throw this.#away(`${ASKED_MAX} requests wait for it`);
    const answer = await this.#send(this.#state.socket, question);
    if (answer.kind !== 'error') return answer;
    const { code, message } = answer;
    if (code === 'split_view') throw new SteleError('split_view', message);
    throw new SteleError('storage', `the signer refuses: ${message}`, { retryAfterS: 30 });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#listeners.clear();
  }

  #send(socket: Socket, question: Question): Promise<Answer> {
    const id = this.#nextId++;
    const { answerMs = ANSWER_MS } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // Nothing that it says later is to be taken for the answer to something else.
        socket.destroy(this.#away(`no answer within ${answerMs} ms`));
      }, answerMs);
      this.#waiting.set(id, { resolve, reject, timer });
      socket.write(formatQuestion({ id, content: question }));
    });
  }

  #connect(reason: SteleError | undefined): State {
    const { helloMs = HELLO_MS } = this.#options;
    const socket = connect(this.path);
    this.#socket = socket;
    const lines = new Lines();
    let failure: SteleError | undefined;
    let end: () => void = () => {};
    const done = new Promise<void>((resolve) => {
      end = resolve;
    });
    const timer = setTimeout(() => {
      socket.destroy(this.#away(`no hello within ${helloMs} ms`));
    }, helloMs);
    const takeHello = (line: Uint8Array) => {
      const version = parseHello(line);
      if (version !== SIGNER_VERSION) {
        throw malformed(
          'signer',
          `it speaks version ${version} where ${SIGNER_VERSION} is spoken here`,
        );
      }
      clearTimeout(timer);
      this.#arrived(socket);
      end();
    };
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const line of lines.feed(chunk)) {
          if (this.#state.kind === 'connecting') takeHello(line);
          else this.#take(line);
        }
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        socket.destroy(this.#away(error.message));
      }
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure ??= hasCode(error, 'storage') ? error : this.#away(reasonOf(error), error);
    });
    socket.on('close', () => {
      clearTimeout(timer);
      this.#left(failure ?? this.#away('it closed the connection'));
      end();
    });
    return { kind: 'connecting', done, reason };
  }

  #arrived(socket: Socket): void {
    this.#state = { kind: 'there', socket };
    this.#backOffMs = BACK_OFF_MS.min;
    if (this.#wasSaid) this.#options.said(`the signer at ${this.path} is there again`);
    this.#wasSaid = false;
    // From the first failure on, also if that was the first attempt, whoever listens waits for it.
    if (this.#hasLeft) for (const listener of this.#listeners) listener();
  }

  #left(reason: SteleError): void {
    this.#state = { kind: 'away', reason };
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(reason);
    }
    this.#waiting.clear();
    if (this.#isClosed) return;
    // Once for each time that it goes, however often it is looked for.
    if (!this.#wasSaid) this.#options.said(`the signer at ${this.path} is away`, reason);
    this.#wasSaid = true;
    this.#hasLeft = true;
    this.#timer = setTimeout(() => {
      this.#state = this.#connect(reason);
    }, this.#backOffMs);
    this.#backOffMs = Math.min(BACK_OFF_MS.max, 2 * this.#backOffMs);
  }

  #take(line: Uint8Array): void {
    const { id, content } = parseAnswer(line);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined)
      throw malformed('signer', `it answers request ${id}, which nobody made`);
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.resolve(content);
  }

  #away(why: string, cause?: unknown): SteleError {
    return new SteleError('storage', `the signer at ${this.path} is away: ${why}`, {
      cause,
      retryAfterS: 2,
    });
  }
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such socket';
  if (code === 'ECONNREFUSED') return 'nobody listens there';
  return code ?? message;
}
