/**
 * How does the application get a port, and how does it let go of it?
 *
 * Node's own time limits guard the headers; the limits of bodies are ours, since a content upload may
 * honestly take an hour. On shutdown nothing new is accepted, what is under way is finished for a
 * bounded time, and what is then left is cut.
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type Koa from 'koa';
import { SteleError } from '../core/errors.ts';
import { createTlsServer, type TlsFiles } from '../keys/tls-pair.ts';
import { LINGER, type LingerBounds, lingerAfter, RefusedSockets } from '../linger.ts';
import { TITLE } from './errors.ts';
import { PROBLEM_TYPE } from './problem.ts';
import { headersOfAll } from './security.ts';
import { HEADER_BYTES_MAX } from './settings.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Serves HTTPS, and nothing else, with the certificate of these files. */
  readonly tls?: TlsFiles | undefined;
  /** Connections at once; more are closed at once. */
  readonly connectionsMax?: number;
  /** Milliseconds for the headers of a request. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds that an idle connection is kept. */
  readonly keepAliveMs?: number;
  /** Milliseconds without a byte in either direction after which a connection is cut. */
  readonly stallMs?: number;
  /** Milliseconds that requests under way may take to end at shutdown. */
  readonly graceMs?: number;
  /** What is still read of a sender that has its answer. */
  readonly linger?: LingerBounds;
  /** Aborted when shutdown begins, so that waiting requests end. */
  readonly stopping?: AbortController;
}

export interface Listening {
  readonly url: string;
  readonly server: Server;
  close(): Promise<void>;
}

const DEFAULTS = {
  connectionsMax: 10_000,
  headersTimeoutMs: 10_000,
  keepAliveMs: 65_000,
  stallMs: 120_000,
  graceMs: 10_000,
  linger: LINGER,
};

type Settings = ListenOptions & typeof DEFAULTS;

export async function listen(app: Koa, options: ListenOptions): Promise<Listening> {
  const settings: Settings = { ...DEFAULTS, ...options };
  const handle = app.callback();
  let closing = false;
  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    if (closing) res.setHeader('Connection', 'close');
    if (hasBody(req)) lingerAfter(req, res, settings.linger);
    // Koa answers every error itself; it never rejects.
    void handle(req, res);
  };
  const { tls } = settings;
  const serverOptions: ServerOptions = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: settings.headersTimeoutMs,
    requestTimeout: 0,
    keepAliveTimeout: settings.keepAliveMs,
    connectionsCheckingInterval: Math.max(100, Math.floor(settings.headersTimeoutMs / 4)),
    noDelay: true,
  };
  const server: Server =
    tls === undefined ? createServer(serverOptions) : createTlsServer(tls, serverOptions);
  server.on('request', onRequest);
  server.maxConnections = settings.connectionsMax;
  // A reader that stops reading holds its answer; a waiting request is far below this.
  server.setTimeout(settings.stallMs);
  // A body is asked for only once its headers and its sender have been judged.
  server.on('checkContinue', onRequest);
  // Node would answer this by itself; `request-head.ts` does.
  server.on('checkExpectation', onRequest);
  // All of them are read, or the one that a proxy has added might be among those that are not.
  server.maxHeadersCount = 0;
  const refused = new RefusedSockets(settings.linger);
  server.on('clientError', (error, socket: Socket) => {
    if (!refused.goesOn(socket))
      refuseClient(error, socket, { refused, secure: tls !== undefined });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(settings.port, settings.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    url: urlOf(tls === undefined ? 'http' : 'https', server.address() as AddressInfo),
    server,
    close: async () => {
      closing = true;
      options.stopping?.abort();
      await closeServer(server, settings.graceMs);
    },
  };
}

/** How often connections that have become idle are looked for while the server closes. */
const SWEEP_MS = 20;

function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
    server.close((error) => {
      clearTimeout(cut);
      clearInterval(sweep);
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}

function urlOf(scheme: string, { address, family, port }: AddressInfo): string {
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

const CLIENT_ERRORS: { readonly [code: string]: readonly [number, string] } = {
  HPE_HEADER_OVERFLOW: [431, `headers: more than ${HEADER_BYTES_MAX} bytes`],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'body: chunk extensions are too long'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'headers: not complete in time'],
};

/** What is not HTTP never reaches the application; it gets the same kind of answer. */
function refuseClient(
  error: NodeJS.ErrnoException,
  socket: Socket,
  { refused, secure }: { readonly refused: RefusedSockets; readonly secure: boolean },
): void {
  const { code = '' } = error;
  // Where TLS itself failed there is nobody who could read an answer.
  const unanswerable = code === 'ECONNRESET' || /^ERR_(?:SSL|TLS)_/.test(code);
  if (unanswerable || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const [status, detail] = CLIENT_ERRORS[code] ?? [400, 'request: is not HTTP/1.1'];
  const refusal = new SteleError(
    status === 413 || status === 431 ? 'too_large' : 'malformed',
    detail,
  );
  const body = JSON.stringify({
    type: `urn:stele:error:${refusal.code}`,
    title: TITLE[refusal.code],
    status,
    detail,
    code: refusal.code,
  });
  const headers = [
    ...headersOfAll(secure),
    ['Content-Type', PROBLEM_TYPE],
    ['Cache-Control', 'no-store'],
    ['Connection', 'close'],
    ['Content-Length', Buffer.byteLength(body)],
  ].map(([name, value]) => `${name}: ${value}\r\n`);
  refused.end(
    socket,
    `HTTP/1.1 ${status} ${TITLE[refusal.code]}\r\n${headers.join('')}\r\n${body}`,
  );
}
