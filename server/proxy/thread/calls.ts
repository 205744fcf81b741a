/**
 * What the proxy's thread and the thread of the program ask of each other, and how.
 *
 *     program                                     proxy
 *     keys, logs, log lines    ◀── HostCalls ──   calls, journal, records
 *                              ── ThreadCalls ──▶
 *
 * What crosses is copied, or given away where it is a long result. An error crosses as what a caller can tell it apart
 * by, and arrives as an error of the same kind.
 */
import type { MessagePort, Worker } from 'node:worker_threads';
import { type BirpcReturn, createBirpc } from 'birpc';
import type { ServedSource } from '../../client/client.ts';
import { BadAnswer } from '../../client/problem.ts';
import { type Code, SteleError } from '../../core/errors.ts';
import type { PublicKey } from '../../core/keys.ts';
import type { ProxyLogger } from '../logger.ts';

/** A record on its way to its log. */
export interface Submission {
  /** Names it while it is on its way. */
  readonly id: number;
  readonly origin: string;
  readonly entry: Uint8Array;
  readonly content: SubmittedContent | undefined;
}

export interface SubmittedContent {
  readonly disclosures: readonly string[];
  readonly bodies: readonly SubmittedBody[];
}

export interface SubmittedBody {
  readonly field: string;
  readonly bytes: number;
  /** All of it, where it is small; the rest is asked for in pieces. */
  readonly whole: Uint8Array | undefined;
}

export type LogLevel = keyof ProxyLogger;

/** What the proxy's thread asks of the program. Nothing that holds a private key leaves the program's thread. */
export interface HostCalls {
  sign(keyid: string, message: Uint8Array): Promise<Uint8Array>;
  signerOf(origin: string, source: string): Promise<PublicKey>;
  /** Resolves with the leaf index. */
  submit(submission: Submission): Promise<number>;
  /** The answer is not waited for any more. */
  abandon(id: number): void;
  sources(origin: string): Promise<readonly ServedSource[]>;
  next(origin: string): Promise<string>;
  handOver(keyid: string, origin: string, source: string): Promise<void>;
  log(level: LogLevel, facts: object, message: string): void;
  /** A sync failed: the process must end. */
  fatal(error: CrossingError): void;
}

export interface ThreadCalls {
  /** Resolves with the address once it listens. */
  start(): Promise<string>;
  /** The next piece of a body on its way, nothing at its end; `isFirst` begins it anew. */
  piece(id: number, body: number, isFirst: boolean): Promise<Uint8Array | undefined>;
  /** Resolves with the logs whose key is still the one before, and why. */
  changeSigner(next: PublicKey): Promise<readonly Unchanged[]>;
  close(): Promise<void>;
}

export interface Unchanged {
  readonly log: string;
  readonly error: CrossingError;
}

export interface CrossingError {
  readonly kind: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Of a `SteleError`, or the system's. */
  readonly code: string | undefined;
  readonly retryAfterS?: number | undefined;
}

/** Bytes of a result that are worth giving away. */
const GIVEN_BYTES = 16_384;

/** Joins both ends: `local` answers what comes over `port`, and what is returned asks over it. */
export function connect<Remote extends object, Local extends object>(
  port: MessagePort | Worker,
  local: Local,
): BirpcReturn<Remote, Local> {
  return createBirpc<Remote, Local>(local, {
    post: (message: Message) => port.postMessage(message, given(message)),
    on: (listener) => void port.on('message', listener),
    // Whoever asks knows how long it may take; a log may be away for days.
    timeout: -1,
    serialize: (message: Message) =>
      message.e === undefined ? message : { ...message, e: crossing(message.e) },
    deserialize: (message: Message) =>
      message.e === undefined ? message : { ...message, e: arrived(message.e as CrossingError) },
  });
}

/** The part of the library's messages that is of interest: the result of a call, and the error of one that failed. */
interface Message {
  readonly r?: unknown;
  readonly e?: unknown;
}

/** What goes over without a copy: bytes that are a result, where they are many, and then gone here. */
function given({ r: result }: Message): ArrayBuffer[] {
  if (!(result instanceof Uint8Array) || result.length < GIVEN_BYTES) return [];
  return result.buffer instanceof ArrayBuffer ? [result.buffer] : [];
}

export function crossing(error: unknown): CrossingError {
  const { message, stack, name } = error instanceof Error ? error : new Error(String(error));
  const { code } = error as NodeJS.ErrnoException;
  if (!(error instanceof SteleError)) return { kind: name, message, stack, code };
  const kind = error instanceof BadAnswer ? 'BadAnswer' : 'SteleError';
  return { kind, message, stack, code, retryAfterS: error.retryAfterS };
}

export function arrived({ kind, message, stack, code, retryAfterS }: CrossingError): Error {
  const cause = Object.assign(new Error(message), { name: kind, stack });
  if (kind === 'BadAnswer') return new BadAnswer(message.replace(/^answer: /, ''), cause);
  if (kind === 'SteleError') {
    const options = retryAfterS === undefined ? { cause } : { cause, retryAfterS };
    return new SteleError(code as Code, message, options);
  }
  return code === undefined ? cause : Object.assign(cause, { code });
}

/** Bytes that are a buffer's own: of a part of one the whole buffer would be copied. */
export function owned(bytes: Uint8Array): Uint8Array {
  const { buffer, byteLength } = bytes;
  if (byteLength === buffer.byteLength && !Buffer.isBuffer(bytes)) return bytes;
  return Uint8Array.prototype.slice.call(bytes);
}
