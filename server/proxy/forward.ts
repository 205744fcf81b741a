/**
 * One call through the proxy: what happens, in which order, and who is told when a step fails?
 *
 *     client          proxy                                      upstream
 *       │── request ──▶│ spool, seal, hash                          │
 *       │              │ commit: on disk, with its end              │
 *       │              │──────────────── request ──────────────────▶│
 *       │◀── head ─────│◀──────────────── head ─────────────────────│
 *       │◀── bytes ────│◀──────────────── bytes ────────────────────│   byte for byte, as they come
 *       │              │ commit: the answer and its end             │
 *       │◀── the rest ─│   what `HoldBack` kept                     │
 *
 * No request leaves before the first commit, and no complete answer before the second (P7); in posture strict none
 * leaves before the log has the intent to send it (`intent.ts`). A commit that
 * fails breaks the client's connection; it never ends cleanly with something missing. Retries belong
 * to the client: each attempt is a call of its own.
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { hasCode, invariant, SteleError } from '../core/errors.ts';
import { uuidv7 } from '../core/uuid.ts';
import { type Budget, HeldBody } from './budget.ts';
import type { Clock } from './clock.ts';
import type { Pass } from './custody/custody.ts';
import { isIdentity } from './decode.ts';
import { Delivery } from './delivery.ts';
import type { EndFacts, HeadFacts, Transport } from './facts.ts';
import { ClientGone, transportOf, UpstreamFailed, whyEnded } from './failures.ts';
import {
  forwardedRequestHeaders,
  headerValue,
  requestHeaderFacts,
  responseHeaderFacts,
  storedTarget,
} from './headers.ts';
import { HoldBack } from './holdback.ts';
import { type Judging, type RequestRules, rulesFor } from './judging.ts';
import { problemOf } from './problem.ts';
import { providerFor } from './providers/index.ts';
import type { Provider, RequestFacts, ResponseReader } from './providers/provider.ts';
import { refuse, requestChunks } from './receive.ts';
import { requestFacts } from './record.ts';
import type { Route } from './route.ts';
import type { Judge } from './rules/judge.ts';
import { chunksOf, declaredLength, sendRequest } from './send.ts';
import type { Source } from './source.ts';
import type { CallSpool } from './spool.ts';

export interface ForwardOptions {
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  /** The longest silence between two bytes, in either direction. */
  readonly idleMs: number;
  readonly requestBytesMax: number;
  /** Request bodies up to this size stay in memory until they are sent; larger ones are read back. */
  readonly memoryBytes: number;
  /** What the requests of all calls may hold of it together. */
  readonly budget: Budget;
  /** When the client leaves: stop the upstream (and its cost), or read on so that the usage is known. */
  readonly onClientAbort: 'cancel' | 'drain';
}

/** In posture observe the spool may fail at any byte, and then a request is forwarded from memory. */
const OBSERVED_BYTES_MAX = 67_108_864;

/** What there is to do. */
export interface Call {
  readonly route: Route;
  readonly source: Source;
  /** What its caller may do, where the proxy asks who calls. */
  readonly pass: Pass | undefined;
  /** Where requests are judged before they are forwarded. */
  readonly judge: Judge | undefined;
}

export class Exchange {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #route: Route;
  readonly #source: Source;
  readonly #pass: Pass | undefined;
  readonly #rules: RequestRules | undefined;
  readonly #options: ForwardOptions;
  readonly #provider: Provider;
  readonly #recordId: string;
  readonly #receivedUs: number;
  readonly #delivery: Delivery;
  readonly #body: HeldBody;
  #spool: CallSpool | undefined;
  /** What is needed to record this call, whatever becomes of it, is on disk. */
  #isOnDisk = false;
  #requestFacts: RequestFacts | undefined;
  #reader: ResponseReader | undefined;
  #up: ClientRequest | undefined;
  #terminalReleased = false;
  /** Why the token that the call came with is good no more. */
  #tokenError: SteleError | undefined;
  #forwarded = false;
  #firstByteUs: number | undefined;
  /** When the request had come whole. */
  #wholeUs = 0;
  #overheadUs: number | undefined;
  readonly #ended = Promise.withResolvers<void>();
  /** The client is gone. */
  readonly #left = Promise.withResolvers<void>();

  constructor(
    req: IncomingMessage,
    res: ServerResponse,
    { route, source, pass, judge }: Call,
    options: ForwardOptions,
  ) {
    this.#req = req;
    this.#res = res;
    this.#route = route;
    this.#source = source;
    this.#pass = pass;
    if (pass !== undefined) pass.onEnd = (error) => this.#tokenEnded(error);
    this.#rules = judge && rulesFor(judge, route, req, pass?.caller);
    this.#options = options;
    this.#receivedUs = options.clock.nowUs();
    const isObserved = route.upstream.posture === 'observe';
    const max = isObserved ? OBSERVED_BYTES_MAX : options.memoryBytes;
    this.#body = new HeldBody(options.budget, max);
    this.#delivery = new Delivery(res, options.idleMs, () => {
      this.#left.resolve();
      if (options.onClientAbort === 'cancel' || this.#terminalReleased) this.#up?.destroy();
    });
    this.#recordId = uuidv7(Math.floor(this.#receivedUs / 1_000), options.random(10));
    const target = storedTarget(route.target);
    this.#provider = providerFor(route.upstream.name, req.method ?? 'GET', target);
  }

  /** Resolves when the call is over. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Carries the call to its end, whatever happens; what goes wrong is answered, recorded or both. */
  async run(expectsContinue: boolean): Promise<void> {
    try {
      await this.#carry(expectsContinue);
    } finally {
      this.#body.drop();
      this.#pass?.release();
      this.#ended.resolve();
    }
  }

  async #carry(expectsContinue: boolean): Promise<void> {
    try {
      this.#begin();
      if (expectsContinue) this.#res.writeContinue();
      const body = await this.#receive();
      // What is in memory is judged first, so that one commit is for both.
      const judging = await this.#judge(body);
      await this.#commitRequest(body);
      this.#pass?.models?.check(body);
      const { forwarded, blocked } = judging ?? (await this.#judgeLate(body)) ?? {};
      if (blocked !== undefined) throw blocked;
      if (forwarded !== undefined) this.#pass?.models?.checkForwarded(forwarded);
      await this.#intend();
      const answer = await this.#send(body, forwarded);
      await this.#relay(answer);
    } catch (error) {
      await this.#fail(error);
    }
  }

  /** What was begun with a token ends with it, unless the client has the whole answer. */
  #tokenEnded(error: SteleError): void {
    if (this.#terminalReleased) return;
    this.#tokenError = error;
    this.#up?.destroy();
  }

  /** Ends the call from outside: the proxy stops. */
  abort(): void {
    this.#up?.destroy();
    this.#res.destroy();
  }

  #begin(): void {
    const { upstream, target } = this.#route;
    const address = this.#req.socket.remoteAddress;
    try {
      this.#spool = this.#source.begin(this.#recordId, {
        received_us: this.#receivedUs,
        upstream: upstream.name,
        endpoint: upstream.hostname,
        method: this.#req.method ?? 'GET',
        target: storedTarget(target),
        headers: requestHeaderFacts(this.#req.rawHeaders),
        ...(address === undefined ? {} : { client_address: address }),
        ...(this.#pass === undefined ? {} : { caller: this.#pass.caller }),
      });
    } catch (error) {
      this.#goOnUnrecorded(error);
      this.#source.missed(this.#receivedUs);
    }
  }

  /** Reads the request to its end. Returns its bytes if they are few, else they are in the spool. */
  async #receive(): Promise<Uint8Array | undefined> {
    const { idleMs, requestBytesMax } = this.#options;
    for await (const chunk of requestChunks(this.#req, { idleMs, bytesMax: requestBytesMax })) {
      await this.#journal((spool) => spool.pushRequest(chunk));
      this.#body.push(chunk);
      this.#pass?.models?.push(chunk);
      if (this.#spool === undefined && !this.#body.isHeld) throw unspoolable();
    }
    this.#wholeUs = this.#options.clock.nowUs();
    return this.#body.whole();
  }

  async #commitRequest(body: Uint8Array | undefined): Promise<void> {
    const committed = this.#journal((spool) => spool.commitRequest());
    // Parsed while the disk is at work. A body too large to be kept is parsed later, from the spool.
    try {
      if (body !== undefined) {
        const headers = requestHeaderFacts(this.#req.rawHeaders);
        this.#requestFacts = requestFacts(this.#provider, body, headers);
      }
    } finally {
      await committed;
    }
    this.#isOnDisk = this.#spool !== undefined;
    if (body === undefined && this.#spool === undefined) throw unspoolable();
  }

  /** What the rules say of a body in memory. */
  async #judge(body: Uint8Array | undefined): Promise<Judging | undefined> {
    if (body === undefined || body.length === 0) return undefined;
    return this.#noted(await this.#rules?.judge(body));
  }

  /** The same of one that is only in the spool. */
  async #judgeLate(body: Uint8Array | undefined): Promise<Judging | undefined> {
    if (this.#rules === undefined || body !== undefined) return undefined;
    const bytes = this.#spool?.requestBytes ?? 0;
    const judging = await this.#rules.judgeLarge(bytes, () => this.#spooledBody());
    await this.#noted(judging);
    await this.#journal((spool) => spool.commit());
    return judging;
  }

  async #noted(judging: Judging | undefined): Promise<Judging | undefined> {
    if (judging === undefined) return undefined;
    await this.#journal((spool) => spool.pushJudged(judging.facts, judging.forwarded));
    return judging;
  }

  /** In posture strict the log has the intent before the provider has the request. */
  async #intend(): Promise<void> {
    if (this.#route.upstream.posture !== 'strict' || this.#spool === undefined) return;
    const taken = this.#source.intend(this.#spool, this.#requestFacts);
    // Nobody is kept waiting for a call that nobody wants; `send` sees that it is so.
    await Promise.race([taken, this.#left.promise]);
  }

  /** Sends the request; resolves with the head of the answer. */
  async #send(
    received: Uint8Array | undefined,
    changed: Uint8Array | undefined,
  ): Promise<IncomingMessage> {
    if (this.#delivery.isGone) throw new ClientGone('before its request was forwarded');
    this.#pass?.checkStill();
    const { upstream, target, host } = this.#route;
    const raw = this.#req.rawHeaders;
    const hasBody =
      headerValue(raw, 'content-length') !== undefined ||
      headerValue(raw, 'transfer-encoding') !== undefined;
    const body = changed ?? received;
    if (body === undefined && this.#spool === undefined) throw unspoolable();
    const bodyBytes = body?.length ?? this.#spool?.requestBytes ?? 0;
    const forwarded = forwardedRequestHeaders(raw, {
      host,
      bodyBytes: hasBody ? bodyBytes : undefined,
      isChanged: changed !== undefined,
      // A stream is asked for uncompressed, so that what is hashed is what is read; so is an answer
      // to a body that was too large to look into.
      identity: this.#requestFacts === undefined || this.#requestFacts.stream === true,
    });
    const headers = this.#pass?.headers(forwarded) ?? forwarded;
    const up = upstream.request(this.#req.method ?? 'GET', target, headers);
    this.#up = up;
    up.on('information', (information) => this.#delivery.information(information));
    this.#forwarded = true;
    this.#overheadUs = this.#options.clock.nowUs() - this.#wholeUs;
    try {
      return await sendRequest(up, body ?? this.#spooledBody(), this.#options.idleMs);
    } catch (error) {
      if (!(error instanceof UpstreamFailed)) throw error;
      if (this.#delivery.isGone && error.transport !== 'timeout') {
        throw new ClientGone('before an answer', error.cause);
      }
      throw error;
    }
  }

  #spooledBody(): AsyncIterable<Uint8Array> {
    invariant(this.#spool !== undefined, 'a body that is not in memory is in the spool');
    return this.#source.requestBytes(this.#spool);
  }

  async #relay(answer: IncomingMessage): Promise<void> {
    const headUs = this.#options.clock.nowUs();
    const status = answer.statusCode ?? 502;
    const head: HeadFacts = {
      status,
      headers: responseHeaderFacts(answer.rawHeaders),
      at_us: headUs,
    };
    await this.#journal((spool) => spool.pushHead(head));
    const reader = this.#provider.response({
      status,
      headers: head.headers,
      request: this.#requestFacts,
    });
    this.#reader = reader;
    const declared = declaredLength(answer);
    const isEmpty = this.#req.method === 'HEAD' || [204, 304].includes(status) || declared === 0;
    // The head of an empty answer is the whole of it.
    if (!isEmpty) this.#writeHead(answer, headUs);
    const hold = new HoldBack(declared);
    await this.#relayBody(answer, reader, hold, declared);
    // In posture `drain` the upstream is read to its end for a client that has left.
    const left = this.#delivery.isGone && !this.#terminalReleased;
    const facts = this.#endFacts(left ? 'client-abort' : 'complete');
    const ended = await this.#journal((spool) => spool.commitEnd(facts, true));
    // From here on a crash loses no evidence: the answer may become complete.
    if (isEmpty) this.#writeHead(answer, headUs);
    for (const part of hold.release()) await this.#delivery.write(part);
    this.#delivery.end(answer.rawTrailers);
    // An upstream that answered before it had read the request has no use for the rest of it.
    if (this.#up?.writableFinished === false) this.#up.destroy();
    this.#hand(ended?.position, ended?.end, reader.end('eof'));
  }

  async #relayBody(
    answer: IncomingMessage,
    reader: ResponseReader,
    hold: HoldBack,
    declared: number | undefined,
  ): Promise<void> {
    const isPlain = isIdentity(headerValue(answer.rawHeaders, 'content-encoding'));
    let received = 0;
    try {
      for await (const chunk of chunksOf(answer, this.#options.idleMs)) {
        this.#firstByteUs ??= this.#options.clock.nowUs();
        received += chunk.length;
        const cut = reader.push(chunk)[0];
        await this.#journal((spool) => spool.pushResponse(chunk));
        // Any piece may have the end in it.
        if (reader.hasHiddenEnds) await this.#journal((spool) => spool.commit());
        // Where every piece is on disk before it goes, no more is kept than of what is plain.
        const isBody = isPlain || reader.hasHiddenEnds;
        const form = reader.isStream ? 'events' : isBody ? 'body' : 'coded';
        for (const part of hold.push(chunk, form, cut)) await this.#delivery.write(part);
        if (cut === undefined || received === declared) continue;
        // To the client the answer may be complete with the held bytes, though the connection is open.
        if (reader.hasEnd) {
          await this.#journal((spool) => spool.commitEnd(this.#endFacts('complete'), false));
        } else await this.#journal((spool) => spool.commit());
        for (const part of hold.release()) await this.#delivery.write(part);
        this.#terminalReleased = reader.hasEnd && !this.#delivery.isGone;
      }
    } catch (error) {
      if (!(error instanceof UpstreamFailed)) throw error;
      if (this.#delivery.isGone) throw new ClientGone('in the middle of the answer', error.cause);
      if (error.transport === 'timeout') throw error;
      // What was received is passed on before the connection breaks.
      await this.#journal((spool) => spool.commitEnd(this.#endFacts('cut', error), false));
      for (const part of hold.release()) await this.#delivery.write(part);
      throw error;
    }
  }

  #writeHead(answer: IncomingMessage, headUs: number): void {
    const now = this.#options.clock.nowUs();
    this.#overheadUs = (this.#overheadUs ?? 0) + (now - headUs);
    const overhead = ['x-stele-overhead-us', String(this.#overheadUs)];
    this.#delivery.head(answer, [...this.#ourHeaders(), ...overhead]);
  }

  /** A record is named only where there will be one. */
  #ourHeaders(): string[] {
    return this.#isOnDisk ? ['x-stele-record-id', this.#recordId] : [];
  }

  async #fail(cause: unknown): Promise<void> {
    const error = this.#tokenError ?? cause;
    // After the terminal event either side may leave: the answer was whole, and is on record.
    const transport = transportOf(error, { isWhole: this.#terminalReleased });
    const facts = this.#endFacts(transport, error);
    this.#up?.destroy();
    if (transport === 'storage') {
      if (this.#spool !== undefined) this.#source.broken(this.#spool, facts);
      this.#answer(error);
      return;
    }
    try {
      const ended = await this.#journal((spool) => spool.commitEnd(facts, true));
      this.#isOnDisk ||= ended !== undefined;
      const clean = transport === 'complete';
      this.#hand(ended?.position, ended?.end, this.#reader?.end(clean ? 'eof' : 'cut'));
    } catch (failure) {
      if (this.#spool !== undefined) this.#source.broken(this.#spool, facts);
      this.#answer(failure);
      return;
    }
    this.#answer(error);
  }

  /** A problem document where nothing was sent yet; otherwise the connection breaks. */
  #answer(error: unknown): void {
    if (this.#delivery.isGone || this.#delivery.hasBegun) this.#delivery.breakOff();
    else refuse(this.#req, this.#res, problemOf(error), this.#ourHeaders());
  }

  #endFacts(transport: Transport, error?: unknown): EndFacts {
    const cause = whyEnded(error);
    return {
      transport,
      at_us: this.#options.clock.nowUs(),
      ...(this.#firstByteUs === undefined ? {} : { first_byte_us: this.#firstByteUs }),
      delivered: this.#delivery.bytes,
      ...(this.#overheadUs === undefined ? {} : { overhead_us: this.#overheadUs }),
      clock_error_us: this.#options.clock.maxErrorUs(),
      ...(cause === undefined ? {} : { error: cause }),
      forwarded: this.#forwarded,
    };
  }

  /** Gives the call to the recorder, off the client's path. */
  #hand(
    position: number | undefined,
    end: Awaited<ReturnType<CallSpool['commitEnd']>>['end'] | undefined,
    response: ReturnType<ResponseReader['end']> | undefined,
  ): void {
    if (this.#spool === undefined || position === undefined || end === undefined) return;
    this.#source.ended({
      recordId: this.#recordId,
      beginPosition: this.#spool.position,
      endPosition: position,
      bytes: end.received.bytes + end.response.bytes,
      live: { spooled: this.#spool.spooled, end, request: this.#requestFacts, response },
    });
  }

  /** One step of the journal. Its failure ends the call, or in posture observe the recording of it. */
  async #journal<T>(step: (spool: CallSpool) => T | Promise<T>): Promise<T | undefined> {
    if (this.#spool === undefined) return undefined;
    try {
      return await step(this.#spool);
    } catch (error) {
      const spool = this.#spool;
      this.#goOnUnrecorded(error);
      this.#spool = undefined;
      // It is or was forwarded all the same.
      this.#source.broken(spool, { ...this.#endFacts('storage'), forwarded: true });
      return undefined;
    }
  }

  /** Throws on unless a failing journal may be outlived. */
  #goOnUnrecorded(error: unknown): void {
    if (this.#route.upstream.posture !== 'observe' || !hasCode(error, 'storage')) throw error;
  }
}

function unspoolable(): SteleError {
  return new SteleError('storage', 'request: too large to be forwarded without the journal');
}
