/**
 * How can a witness be asked that has no port to the outside? It dials a bastion, shows its key, and then serves
 * HTTP/2 over the connection that it opened itself.
 *
 *     log ── https://BASTION/KEY-HASH/add-checkpoint ─► bastion ══ TLS 1.3, bastion/0 ══ witness
 *                                                                 ◄── dialed from here
 *
 * The bastion sees every request and could keep one from coming; it has no key that signs anything. Nothing but
 * the two routes of tlog-witness is served this way. All who come through it share the rate of one address.
 * A connection that is lost is made again, after a pause that grows.
 *
 * [C2SP https-bastion]
 */
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { parseHex } from '../core/bytes.ts';
import { SteleError, shown } from '../core/errors.ts';
import { ADD_CHECKPOINT_BYTES_MAX, formatTlogSize, TLOG_SIZE_TYPE } from '../core/tlog-witness.ts';
import type { SelfSigned } from '../keys/self-signed.ts';
import type { Clock } from '../log/clock.ts';
import type { Witness } from '../witness/giving.ts';
import { TEXT_TYPE } from './answer.ts';
import { Buckets, type Rate } from './buckets.ts';
import { Refusal } from './errors.ts';
import { forStranger, problemHeaders, problemOf } from './problem.ts';
import { HEADER_BYTES_MAX } from './settings.ts';

export interface BastionOptions {
  readonly host: string;
  readonly port: number;
  /** Certificates in PEM that the bastion's has to lead to; those of the system where none are given. */
  readonly ca?: string | undefined;
  readonly certificate: SelfSigned;
  readonly witness: Pick<Witness, 'add' | 'newest'>;
  /** For all who come through it together; none where `perSecond` is 0. */
  readonly rate: Rate;
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** The process must end. */
  readonly failed: (error: unknown) => void;
  readonly timing?: Partial<typeof TIMING>;
}

const TIMING = {
  /** Milliseconds for the connection, and for the whole body of a request. */
  connectMs: 15_000,
  bodyMs: 30_000,
  /** Milliseconds between two signs of life that are asked for; the next one fails if none came. */
  pingMs: 30_000,
  /** The first pause before another attempt, and the longest. */
  pauseMs: 1_000,
  pauseMaxMs: 300_000,
};

/** Requests at once: as many as fit one transaction. */
const STREAMS_MAX = 256;
/** Megabytes that a session may hold: the bodies of those, in the worst case. */
const SESSION_MEGABYTES = 64;

export class Bastion {
  readonly #options: BastionOptions;
  readonly #timing: typeof TIMING;
  readonly #buckets: Buckets | undefined;
  #pauseMs: number;
  #socket: TLSSocket | undefined;
  #session: ServerHttp2Session | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: BastionOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#pauseMs = this.#timing.pauseMs;
    const { rate, clock } = options;
    this.#buckets = rate.perSecond === 0 ? undefined : new Buckets(rate, 1, clock);
    this.#dial();
  }

  get isConnected(): boolean {
    return this.#session !== undefined;
  }

  /** Requests under way are cut: whoever asked asks again. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#session?.destroy();
    this.#socket?.destroy();
  }

  #dial(): void {
    const { host, port, ca, certificate } = this.#options;
    const { cert, key, passphrase } = certificate;
    const socket = connect({
      host,
      port,
      // A name is told, an address is not [RFC 6066 §3]; the certificate has to have either.
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ['bastion/0'],
      // SPEC: TLS 1.3, so that nobody on the way sees the key.
      minVersion: 'TLSv1.3',
      cert,
      key,
      ...(passphrase === undefined ? {} : { passphrase }),
      ...(ca === undefined ? {} : { ca }),
    });
    this.#socket = socket;
    socket.setTimeout(this.#timing.connectMs, () => socket.destroy(new Error('no answer in time')));
    let failure: Error | undefined;
    socket.on('error', (error) => {
      failure = error;
    });
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      if (socket.alpnProtocol === 'bastion/0') this.#serve(socket);
      else socket.destroy(new Error('it is no bastion: it does not take bastion/0'));
    });
    socket.once('close', () => this.#lost(failure));
  }

  /** Connected or not, it is gone now. */
  #lost(failure: Error | undefined): void {
    clearInterval(this.#timer);
    this.#session = undefined;
    if (this.#closed) return;
    const { host, port, logger, certificate } = this.#options;
    const waitMs = this.#pauseMs * (0.5 + Math.random() / 2);
    this.#pauseMs = Math.min(this.#pauseMs * 2, this.#timing.pauseMaxMs);
    const { keyHash } = certificate;
    const said = { err: failure, keyHash, waitMs: Math.round(waitMs) };
    logger.warn(said, `bastion ${host}:${port}: not connected`);
    this.#timer = setTimeout(() => this.#dial(), waitMs);
    this.#timer.unref();
  }

  #serve(socket: TLSSocket): void {
    const { host, port, certificate, logger } = this.#options;
    const session = performServerHandshake(socket, {
      maxSessionMemory: SESSION_MEGABYTES,
      maxHeaderListPairs: 128,
      settings: {
        maxConcurrentStreams: STREAMS_MAX,
        maxHeaderListSize: HEADER_BYTES_MAX,
        enablePush: false,
      },
    });
    this.#session = session;
    // The socket's end is told by its own event.
    session.on('error', () => socket.destroy());
    session.on('close', () => socket.destroy());
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      // Its reader is gone; there is nobody to tell.
      stream.on('error', () => undefined);
      this.#handle(stream, headers).catch(this.#options.failed);
    });
    logger.info({ keyHash: certificate.keyHash }, `bastion ${host}:${port}: connected`);
    let isAlive = true;
    this.#timer = setInterval(() => {
      if (!isAlive) {
        socket.destroy(new Error('no sign of life'));
        return;
      }
      isAlive = false;
      session.ping((error) => {
        if (error !== null) return;
        isAlive = true;
        // It held for a while: the next loss is a new one.
        this.#pauseMs = this.#timing.pauseMs;
      });
    }, this.#timing.pingMs);
    this.#timer.unref();
  }

  /** Bytes from strangers. Rejects only for what the process must end for. */
  async #handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    try {
      const { type, body, status } = await this.#answer(stream, headers);
      respond(
        stream,
        { ':status': status, 'content-type': type, 'cache-control': 'no-store' },
        body,
      );
    } catch (error) {
      const said = problemOf(forStranger(error), 'bastion');
      const more = problemHeaders(error, said);
      respond(stream, { ':status': said.status, ...more }, JSON.stringify(said));
      if (!(error instanceof SteleError)) throw error;
    }
  }

  async #answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<Said> {
    const { witness } = this.#options;
    const waitS = this.#buckets?.take('');
    if (waitS !== undefined) {
      throw new SteleError('pushback', 'rate: more came through the bastion than is served', {
        retryAfterS: waitS,
      });
    }
    const { ':method': method, ':path': path = '' } = headers;
    if (method === 'POST' && path === '/add-checkpoint') {
      const answer = await witness.add(await this.#body(stream));
      return answer.kind === 'cosigned'
        ? { status: 200, type: TEXT_TYPE, body: answer.lines }
        : { status: 409, type: TLOG_SIZE_TYPE, body: formatTlogSize(answer.size) };
    }
    stream.resume();
    const [, hex] = /^\/([0-9a-f]{64})\/checkpoint$/.exec(path) ?? [];
    if (hex !== undefined && (method === 'GET' || method === 'HEAD')) {
      const body = await witness.newest(parseHex(hex, 'id'), hex);
      if (body !== undefined) return { status: 200, type: TEXT_TYPE, body };
    }
    throw new SteleError('not_found', `path: there is nothing at ${shown(path)}`);
  }

  #body(stream: ServerHttp2Stream): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const timer = setTimeout(() => {
        reject(new Refusal('malformed', 'body: not complete in time', { status: 408 }));
      }, this.#timing.bodyMs);
      stream.on('close', () => {
        clearTimeout(timer);
        reject(new SteleError('malformed', 'body: it broke off'));
      });
      stream.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > ADD_CHECKPOINT_BYTES_MAX) {
          reject(new SteleError('too_large', `body: more than ${ADD_CHECKPOINT_BYTES_MAX} bytes`));
        } else chunks.push(chunk);
      });
      stream.on('end', () => {
        clearTimeout(timer);
        resolve(Buffer.concat(chunks, length));
      });
    });
  }
}

interface Said {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

type Headers = Readonly<Record<string, string | number>>;

function respond(stream: ServerHttp2Stream, headers: Headers, body: string): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ...headers });
  stream.end(body);
  // What is still sent of a body is not read any more.
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}
