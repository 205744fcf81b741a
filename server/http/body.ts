/**
 * How does a request's body get into memory? Bounded in bytes and in time, before anyone parses it.
 *
 * Bodies are read by events: an async iterator costs more here than all else that Koa does. Bytes that
 * are held count against one bound for the whole process until their request is answered.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseDecimal } from '../core/decimal.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import type { Call } from './call.ts';
import { lengthRequired, Refusal, unsupportedType } from './errors.ts';
import type { Tokens } from './tokens.ts';

/** Bytes that are held in memory now for requests, of bodies or of answers: bounded all together. */
export class HeldBytes {
  readonly #max: number;
  #held = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** More of a body; counted until `giveBack`. */
  take(call: Call, bytes: number): void {
    this.#add(bytes, 'body');
    call.heldBytes += bytes;
  }

  /** A whole answer; counted until its client has it, or is gone. */
  takeAnswer(res: ServerResponse, bytes: number): void {
    this.#add(bytes, 'answer');
    res.once('close', () => {
      this.#held -= bytes;
    });
  }

  /** The request is answered. */
  giveBack(call: Call): void {
    this.#held -= call.heldBytes;
    call.heldBytes = 0;
  }

  #add(bytes: number, what: string): void {
    if (this.#held + bytes > this.#max) {
      throw new SteleError(
        'pushback',
        `${what}: ${bytes} bytes more would pass the ${this.#max} that all requests together may hold`,
      );
    }
    this.#held += bytes;
  }
}

export interface BodyBounds {
  readonly bytesMax: number;
  readonly timeoutMs: number;
}

/**
 * The media type of the body, in lower case and without parameters, once the headers have been judged:
 * a length there must be, within bounds, and no content encoding but `encoding`, where the route knows one.
 */
export function judgeBodyHeaders(
  req: IncomingMessage,
  types: readonly string[] | 'any',
  bytesMax: number,
  encoding?: 'gzip',
) {
  const { headers } = req;
  const sent = headers['content-encoding'];
  if (sent !== undefined && sent.toLowerCase() !== encoding) {
    throw unsupportedType('content-encoding', sent, encoding ?? 'no encoding');
  }
  const type = mediaType(headers['content-type']);
  if (types !== 'any' && !types.includes(type)) {
    throw unsupportedType('content-type', headers['content-type'] ?? '', types.join(', '));
  }
  const length = headers['content-length'];
  if (length === undefined) {
    if (headers['transfer-encoding'] === undefined) throw lengthRequired();
  } else if (parseDecimal(length, 'content-length') > bytesMax) {
    throw new SteleError('too_large', `body: ${length} bytes where at most ${bytesMax} are taken`);
  }
  return type;
}

export function mediaType(header: string | undefined): string {
  const text = header ?? '';
  const end = text.indexOf(';');
  return (end < 0 ? text : text.slice(0, end)).trim().toLowerCase();
}

/** Tells a client that waits for it to send its body. To be called once the headers are judged. */
export function askForBody(req: IncomingMessage, res: ServerResponse): void {
  if (req.headers.expect !== undefined && !res.headersSent) res.writeContinue();
}

/** What reading a body needs: room for it, and who may still send one. */
export interface BodyParts {
  readonly held: HeldBytes;
  readonly tokens: Pick<Tokens, 'checkStill'>;
}

/**
 * The whole body. Rejects with `too_large`, with `malformed` if it breaks off, with 408, or with
 * `unauthenticated` if the token ended meanwhile.
 */
export async function readBody(
  call: Call,
  bounds: BodyBounds,
  { held, tokens }: BodyParts,
): Promise<Uint8Array> {
  const body = await receive(call, bounds, held);
  tokens.checkStill(call.token);
  return body;
}

function receive(call: Call, bounds: BodyBounds, held: HeldBytes): Promise<Uint8Array> {
  const { req, res } = call.ctx;
  askForBody(req, res);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => {
      stop(timedOut(length, bounds.timeoutMs));
    }, bounds.timeoutMs);
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > bounds.bytesMax) {
        stop(new SteleError('too_large', `body: more than ${bounds.bytesMax} bytes`));
        return;
      }
      try {
        held.take(call, chunk.length);
        chunks.push(chunk);
      } catch (error) {
        stop(error);
      }
    };
    const onEnd = (): void => {
      stop(undefined);
      const [only] = chunks;
      resolve(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, length));
    };
    const onBroken = (): void => stop(brokenOff(req, length));
    const stop = (error: unknown): void => {
      clearTimeout(timer);
      req.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken);
      if (error !== undefined) reject(error);
    };
    req.on('data', onData).on('end', onEnd).on('error', onBroken).on('close', onBroken);
  });
}

export function timedOut(length: number, timeoutMs: number): Refusal {
  return new Refusal(
    'malformed',
    `body: not complete after ${timeoutMs} ms, with ${length} bytes received`,
    { status: 408, headers: { connection: 'close' } },
  );
}

export function brokenOff(req: IncomingMessage, length: number): SteleError {
  const announced = req.headers['content-length'];
  const of = announced === undefined ? '' : ` of ${shown(announced)}`;
  return malformed('body', `broke off after ${length}${of} bytes`);
}
