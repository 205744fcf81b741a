/**
 * A WebSocket through the proxy, where the upstream's settings allow one: who, when, where to, and how long.
 *
 *     client            proxy                                        upstream
 *       │── GET, upgrade ▶│ commit: the request is on disk             │
 *       │                │──────────────── GET, upgrade ──────────────▶│
 *       │◀── 101 ────────│◀──────────────── 101 ───────────────────────│
 *       │◀═══════════════ bytes, unseen ═══════════════════════════════▶│
 *       │                │ commit: its end; the record, and a gap       │
 *
 * Frames go both ways for hours, and nothing in them could be held back until it is on disk. So they are not
 * recorded: the record has `completeness: metadata-only`, and a gap beside it says that there was something to
 * be seen, and from when to when. An upstream that does not switch is relayed and recorded like any answer.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { hasCode, type SteleError } from '../core/errors.ts';
import { uuidv7 } from '../core/uuid.ts';
import type { EndFacts, Transport } from './facts.ts';
import { transportOf, UpstreamFailed, whyEnded } from './failures.ts';
import type { Call, ForwardOptions } from './forward.ts';
import {
  forwardedRequestHeaders,
  forwardedResponseHeaders,
  requestHeaderFacts,
  responseHeaderFacts,
  storedTarget,
} from './headers.ts';
import { HoldBack } from './holdback.ts';
import { IdleTimer } from './idle.ts';
import { type Problem, problemBody, problemHeaders, problemOf } from './problem.ts';
import { chunksOf, declaredLength } from './send.ts';
import type { CallSpool } from './spool.ts';

type Answer =
  | {
      readonly kind: 'switched';
      readonly head: IncomingMessage;
      readonly socket: Duplex;
      readonly first: Buffer;
    }
  | { readonly kind: 'answered'; readonly head: IncomingMessage };

export class Tunnel {
  readonly #req: IncomingMessage;
  readonly #client: Duplex;
  readonly #first: Uint8Array;
  readonly #call: Call;
  readonly #options: ForwardOptions;
  readonly #receivedUs: number;
  readonly #recordId: string;
  #spool: CallSpool | undefined;
  #up: ClientRequest | undefined;
  #overheadUs: number | undefined;
  #hasAnswered = false;
  /** Why the token that it was opened with is good no more. */
  #tokenError: SteleError | undefined;
  /** Ends what goes both ways. */
  #sever: (transport: Transport) => void = () => {};
  readonly #ended = Promise.withResolvers<void>();

  /** `first` is what came behind the request. */
  constructor(
    req: IncomingMessage,
    client: Duplex,
    first: Uint8Array,
    call: Call,
    options: ForwardOptions,
  ) {
    this.#req = req;
    this.#client = client;
    this.#first = first;
    this.#call = call;
    this.#options = options;
    this.#receivedUs = options.clock.nowUs();
    this.#recordId = uuidv7(Math.floor(this.#receivedUs / 1_000), options.random(10));
    if (call.pass !== undefined) call.pass.onEnd = (error) => this.#tokenEnded(error);
    // Without a listener a client that resets its connection ends the process.
    client.on('error', () => {});
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  abort(): void {
    this.#up?.destroy();
    this.#client.destroy();
  }

  #tokenEnded(error: SteleError): void {
    this.#tokenError = error;
    this.#up?.destroy();
    this.#sever('refused');
  }

  async run(): Promise<void> {
    try {
      await this.#begin();
      const answer = await this.#ask();
      if (answer.kind === 'answered') await this.#relay(answer.head);
      else await this.#tunnel(answer);
    } catch (error) {
      await this.#fail(error);
    } finally {
      this.#call.pass?.release();
      this.#ended.resolve();
    }
  }

  /** What is needed to record it is on disk when this resolves; in posture observe perhaps not. */
  async #begin(): Promise<void> {
    const { route, source, pass } = this.#call;
    const { upstream, target } = route;
    const address = this.#req.socket.remoteAddress;
    try {
      this.#spool = source.begin(this.#recordId, {
        received_us: this.#receivedUs,
        upstream: upstream.name,
        endpoint: upstream.hostname,
        method: 'GET',
        target: storedTarget(target),
        headers: requestHeaderFacts(this.#req.rawHeaders),
        ...(address === undefined ? {} : { client_address: address }),
        ...(pass === undefined ? {} : { caller: pass.caller }),
      });
      await this.#spool.commitRequest();
    } catch (error) {
      if (upstream.posture !== 'observe' || !hasCode(error, 'storage')) throw error;
      this.#spool = undefined;
      source.missed(this.#receivedUs);
    }
    if (upstream.posture === 'strict' && this.#spool) await source.intend(this.#spool, undefined);
  }

  async #ask(): Promise<Answer> {
    const { route, pass } = this.#call;
    const { upstream, target, host } = route;
    pass?.checkStill();
    const plain = forwardedRequestHeaders(this.#req.rawHeaders, {
      host,
      bodyBytes: undefined,
      identity: false,
    });
    const headers = pass?.headers(plain) ?? plain;
    const up = upstream.request('GET', target, [
      ...headers,
      ...['Connection', 'Upgrade', 'Upgrade', 'websocket'],
    ]);
    this.#up = up;
    this.#overheadUs = this.#options.clock.nowUs() - this.#receivedUs;
    let isIdle = false;
    const idle = new IdleTimer(this.#options.idleMs, () => {
      isIdle = true;
      up.destroy();
    });
    idle.touch();
    const left = () => up.destroy();
    this.#client.on('close', left);
    try {
      return await new Promise<Answer>((resolve, reject) => {
        up.on('upgrade', (head, socket, first) =>
          resolve({ kind: 'switched', head, socket, first }),
        );
        up.on('response', (head) => resolve({ kind: 'answered', head }));
        up.on('error', reject);
        up.on('close', () => reject(new Error('closed before an answer')));
        up.end();
      });
    } catch (error) {
      throw new UpstreamFailed(isIdle ? 'timeout' : 'unreachable', error);
    } finally {
      idle.stop();
      this.#client.off('close', left);
    }
  }

  /** No WebSocket: an answer like any other, on a connection that ends with it. */
  async #relay(head: IncomingMessage): Promise<void> {
    const spool = this.#noteHead(head);
    const headers = forwardedResponseHeaders(head.rawHeaders, this.#ourHeaders());
    const writeHead = () => this.#writeHead(head, [...headers, 'Connection', 'close']);
    const declared = declaredLength(head);
    // The head of an empty answer is the whole of it.
    const isEmpty = [204, 304].includes(head.statusCode ?? 502) || declared === 0;
    if (!isEmpty) writeHead();
    const hold = new HoldBack(declared);
    for await (const chunk of chunksOf(head, this.#options.idleMs)) {
      await spool?.pushResponse(chunk);
      for (const part of hold.push(chunk, 'body')) await this.#write(part);
    }
    await this.#end('complete');
    if (isEmpty) writeHead();
    for (const part of hold.release()) await this.#write(part);
    this.#client.end();
  }

  async #write(part: Uint8Array): Promise<void> {
    if (!this.#client.write(part)) await drained(this.#client);
  }

  async #tunnel({ head, socket, first }: Extract<Answer, { kind: 'switched' }>): Promise<void> {
    this.#noteHead(head);
    const headers = forwardedResponseHeaders(head.rawHeaders, this.#ourHeaders());
    this.#writeHead(head, [...headers, 'Connection', 'Upgrade', 'Upgrade', 'websocket']);
    const transport = await this.#join(socket, first);
    await this.#end(transport, true, this.#tokenError);
    const fromUs = this.#receivedUs;
    this.#call.source.unseen({ fromUs, toUs: this.#options.clock.nowUs() });
  }

  /** Both ways until one side ends; how it ended. */
  #join(upstream: Duplex, first: Buffer): Promise<Transport> {
    const client = this.#client;
    return new Promise((resolve) => {
      let how: Transport | undefined;
      const idle = new IdleTimer(this.#options.idleMs, () => end('timeout'));
      const end = (transport: Transport) => {
        how ??= transport;
        idle.stop();
        client.destroy();
        upstream.destroy();
        resolve(how);
      };
      this.#sever = end;
      upstream.on('error', () => end('cut'));
      // Whoever closes first has said what there was to say, in frames of its own.
      upstream.on('end', () => client.end());
      client.on('end', () => upstream.end());
      upstream.on('close', () => end('complete'));
      client.on('close', () => end(client.errored === null ? 'complete' : 'client-abort'));
      for (const side of [client, upstream]) side.on('data', () => idle.touch());
      idle.touch();
      if (first.length > 0) client.write(first);
      if (this.#first.length > 0) upstream.write(this.#first);
      client.pipe(upstream);
      upstream.pipe(client);
      if (client.destroyed) end('client-abort');
      if (this.#tokenError !== undefined) end('refused');
    });
  }

  #noteHead(head: IncomingMessage): CallSpool | undefined {
    this.#spool?.pushHead({
      status: head.statusCode ?? 502,
      headers: responseHeaderFacts(head.rawHeaders),
      at_us: this.#options.clock.nowUs(),
    });
    return this.#spool;
  }

  #writeHead({ statusCode, statusMessage }: IncomingMessage, headers: readonly string[]): void {
    this.#hasAnswered = true;
    this.#client.write(rawHead(statusCode ?? 502, statusMessage ?? '', headers), 'latin1');
  }

  #ourHeaders(): string[] {
    return this.#spool?.isRequestCommitted === true ? ['x-stele-record-id', this.#recordId] : [];
  }

  async #end(transport: Transport, isUnseen = false, error?: unknown): Promise<void> {
    const spool = this.#spool;
    if (spool === undefined) return;
    const cause = whyEnded(error);
    const facts: EndFacts = {
      transport,
      at_us: this.#options.clock.nowUs(),
      delivered: spool.responseBytes,
      clock_error_us: this.#options.clock.maxErrorUs(),
      forwarded: this.#up !== undefined,
      ...(this.#overheadUs === undefined ? {} : { overhead_us: this.#overheadUs }),
      ...(cause === undefined ? {} : { error: cause }),
      ...(isUnseen ? { unseen: true } : {}),
    };
    try {
      const { position, end } = await spool.commitEnd(facts, true);
      this.#call.source.ended({
        recordId: this.#recordId,
        beginPosition: spool.position,
        endPosition: position,
        bytes: end.response.bytes,
      });
    } catch (failure) {
      this.#call.source.broken(spool, facts);
      throw failure;
    }
  }

  async #fail(failed: unknown): Promise<void> {
    const error = this.#tokenError ?? failed;
    this.#up?.destroy();
    const isEarlyEnd = error instanceof UpstreamFailed || hasCode(error, 'unauthenticated');
    let shown = error;
    // What failed on the disk is being mended already, or nothing was begun.
    if (isEarlyEnd && this.#spool?.isRequestCommitted === true) {
      const isGone = error instanceof UpstreamFailed && this.#client.destroyed;
      const transport = isGone ? 'client-abort' : transportOf(error, { isWhole: false });
      await this.#end(transport, false, error).catch((failure: SteleError) => {
        shown = failure;
      });
    } else if (this.#spool !== undefined && !isEarlyEnd && this.#up === undefined) {
      this.#call.source.broken(this.#spool, {
        transport: 'storage',
        at_us: this.#options.clock.nowUs(),
        delivered: 0,
        clock_error_us: this.#options.clock.maxErrorUs(),
        forwarded: false,
      });
    }
    if (this.#hasAnswered || this.#client.destroyed) this.#client.destroy();
    else refuseUpgrade(this.#req, this.#client, problemOf(shown), this.#ourHeaders());
  }
}

/** Answers on a bare connection, and ends it. */
export function refuseUpgrade(
  req: IncomingMessage,
  client: Duplex,
  problem: Problem,
  ours: readonly string[] = [],
): void {
  const body = problemBody(problem, req.url ?? '');
  const headers = [...problemHeaders(problem, body), ...ours, 'Connection', 'close'];
  client.on('error', () => {});
  client.write(rawHead(problem.status, problem.title, headers), 'latin1');
  client.end(body);
}

function rawHead(status: number, message: string, headers: readonly string[]): string {
  const lines = [`HTTP/1.1 ${status} ${message}`];
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function drained(client: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      client.off('drain', done).off('close', done);
      resolve();
    };
    if (client.destroyed) resolve();
    else client.on('drain', done).on('close', done);
  });
}
