/**
 * The proxy's HTTP side: which requests are calls, and what else does it answer?
 *
 * Plain node:http. Nothing parses or decodes a body here, and no timeout ends a call that still moves:
 * model calls may be silent for minutes and uploads slow, so the limits are between bytes.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SteleError, shown } from '../core/errors.ts';
import { createTlsServer, type TlsFiles } from '../keys/tls-pair.ts';
import { RefusedSockets } from '../linger.ts';
import type { Custody } from './custody/custody.ts';
import { Exchange, type ForwardOptions } from './forward.ts';
import { headerValue } from './headers.ts';
import type { ProxyLogger } from './logger.ts';
import { type Problem, problemOf } from './problem.ts';
import { refuse } from './receive.ts';
import { parseRoute, type Route } from './route.ts';
import type { Judge } from './rules/judge.ts';
import type { Source } from './source.ts';
import type { SourceState } from './source-state.ts';
import { refuseUpgrade, Tunnel } from './tunnel.ts';
import type { Upstream } from './upstream.ts';

export interface ServerOptions extends ForwardOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsFiles | undefined;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  /** By the name of the log. */
  readonly sources: ReadonlyMap<string, Source>;
  /** Calls at once, beyond which a new one gets `pushback`. */
  readonly callsMax: number;
  /** Connections at once, with a call or without; more are closed at once. */
  readonly connectionsMax: number;
  /** Milliseconds for the headers of a request, and for the first byte of a connection. */
  readonly headersMs: number;
  readonly logger: ProxyLogger;
  /** Where the proxy asks who calls. */
  readonly custody: Custody | undefined;
  /** By the name of the upstream. */
  readonly judges: ReadonlyMap<string, Judge>;
}

/** Cookies, long keys and many beta flags fit; Node's default is 16 KiB. */
const HEADER_BYTES_MAX = 65_536;

/** Longer than a client's pool keeps a connection, so that the client closes first. */
const KEEP_ALIVE_MS = 75_000;

export class ProxyServer {
  readonly #options: ServerOptions;
  readonly #server: Server;
  readonly #calls = new Set<Exchange | Tunnel>();
  readonly #refused = new RefusedSockets();
  #whenIdle: () => void = () => {};

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#server = serverOf(options, (req) => this.#mayUpgrade(req));
    this.#server.maxConnections = options.connectionsMax;
    // All pass or none: Node would drop those after the thousandth without a word.
    this.#server.maxHeadersCount = 0;
    this.#server.on('request', (req, res) => this.#handle(req, res, false));
    this.#server.on('checkContinue', (req, res) => this.#handle(req, res, true));
    // With a listener, Node before 24.9 and 22.21 would ask nobody and upgrade everything.
    if ([...options.upstreams.values()].some(({ websocket }) => websocket === 'record')) {
      this.#server.on('upgrade', (req, socket, first) => this.#upgrade(req, socket, first));
    }
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      const failedTls = /^ERR_(?:SSL|TLS)_/.test(error.code ?? '');
      if (this.#refused.goesOn(socket)) return;
      if (socket.writable && !failedTls)
        this.#refused.end(socket, 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      else socket.destroy();
    });
  }

  static async listen(options: ServerOptions): Promise<ProxyServer> {
    const proxy = new ProxyServer(options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(options.port, options.host, resolve);
    });
    return proxy;
  }

  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    const scheme = this.#options.tls === undefined ? 'http' : 'https';
    return `${scheme}://${address.includes(':') ? `[${address}]` : address}:${port}`;
  }

  get calls(): number {
    return this.#calls.size;
  }

  /** Takes no new connection, lets calls end for `graceMs`, then breaks them off. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    if (this.#calls.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        this.#whenIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const ending = [...this.#calls].map((call) => call.ended);
    for (const call of this.#calls) call.abort();
    await Promise.all(ending);
    this.#server.closeAllConnections();
    await closed;
  }

  #handle(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void {
    try {
      const path = (req.url ?? '').split('?', 1)[0];
      if (path === '/healthz') answerJson(res, 200, { status: 'ok' });
      else if (path === '/readyz') {
        this.#ready(req, res).catch((error) => refuse(req, res, problemOf(error)));
      } else this.#call(req, res, expectsContinue);
    } catch (error) {
      refuse(req, res, problemOf(error));
    }
  }

  #call(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void {
    const { sources, callsMax, custody, judges } = this.#options;
    const route = this.#routeOf(req);
    const source = sources.get(route.upstream.log);
    if (source === undefined) {
      throw new SteleError('not_found', `log: there is no log ${shown(route.upstream.log)} here`);
    }
    if (this.#calls.size >= callsMax) {
      throw new SteleError('pushback', `proxy: ${callsMax} calls are in progress`, {
        retryAfterS: 1,
      });
    }
    const pass = custody?.admit(
      route,
      req.method ?? 'GET',
      req.rawHeaders,
      req.socket.remoteAddress,
    );
    if (isWebSocket(req)) {
      pass?.release();
      refuse(req, res, UPGRADE_PROBLEM);
      return;
    }
    const judge = judges.get(route.upstream.name);
    const call = new Exchange(req, res, { route, source, pass, judge }, this.#options);
    this.#carry(call, call.run(expectsContinue));
  }

  #carry(call: Exchange | Tunnel, running: Promise<void>): void {
    this.#calls.add(call);
    running
      .catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        this.#options.logger.error({ error: message }, 'a call failed in the proxy itself');
        call.abort();
      })
      .finally(() => {
        this.#calls.delete(call);
        if (this.#calls.size === 0) this.#whenIdle();
      });
  }

  /** Only a WebSocket, and only where it is let through; whatever else asks is a request like any other. */
  #mayUpgrade(req: IncomingMessage): boolean {
    if (!isWebSocket(req) || req.method !== 'GET') return false;
    try {
      return this.#routeOf(req).upstream.websocket === 'record';
    } catch {
      // As a request it is told why.
      return false;
    }
  }

  #upgrade(req: IncomingMessage, socket: Duplex, first: Buffer): void {
    const { sources, callsMax, custody, judges } = this.#options;
    try {
      const route = this.#routeOf(req);
      const source = sources.get(route.upstream.log);
      const judge = judges.get(route.upstream.name);
      const pass = custody?.admit(route, 'GET', req.rawHeaders, req.socket.remoteAddress);
      // What goes over it cannot be judged: not by rules, and not by the models that a caller may use.
      const isJudged = judge !== undefined || pass?.models !== undefined;
      if (source === undefined || isJudged || !this.#mayUpgrade(req)) {
        pass?.release();
        refuseUpgrade(req, socket, UPGRADE_PROBLEM);
        return;
      }
      if (this.#calls.size >= callsMax) {
        pass?.release();
        throw new SteleError('pushback', `proxy: ${callsMax} calls are in progress`, {
          retryAfterS: 1,
        });
      }
      const call = { route, source, pass, judge };
      const tunnel = new Tunnel(req, socket, first, call, this.#options);
      this.#carry(tunnel, tunnel.run());
    } catch (error) {
      refuseUpgrade(req, socket, problemOf(error));
    }
  }

  #routeOf(req: IncomingMessage): Route {
    const host = headerValue(req.rawHeaders, 'host');
    return parseRoute(req.url ?? '', host, this.#options.upstreams);
  }

  /** A proxy that asks who calls tells strangers from other machines no more than whether it is ready. */
  #mayKnow(req: IncomingMessage): boolean {
    const { custody } = this.#options;
    if (custody === undefined || LOOPBACK.test(req.socket.remoteAddress ?? '')) return true;
    return custody.knows(req.rawHeaders, req.url ?? '');
  }

  /** Whether calls can be recorded now, and for those who may know why not, and how much waits. */
  async #ready(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { custody, sources } = this.#options;
    const upstreams = [...this.#options.upstreams.values()];
    const strict = new Set(upstreams.filter((u) => u.posture === 'strict').map(({ log }) => log));
    const logs: Record<string, SourceState> = {};
    const reasons: string[] = [];
    try {
      custody?.check();
    } catch (error) {
      reasons.push(messageOf(error));
    }
    for (const [name, source] of sources) {
      try {
        await source.probe();
      } catch (error) {
        reasons.push(`log ${name}: ${messageOf(error)}`);
      }
      const state = source.state();
      logs[name] = state;
      // Without the log no call is made whose intent has to be there first.
      if (state.log_error !== undefined && strict.has(name)) {
        reasons.push(`log ${name}: ${state.log_error}`);
      }
    }
    const isReady = reasons.length === 0;
    const status = isReady ? 'ready' : 'not ready';
    if (!this.#mayKnow(req)) return answerJson(res, isReady ? 200 : 503, { status });
    answerJson(res, isReady ? 200 : 503, {
      status,
      ...(isReady ? {} : { reasons }),
      calls: this.#calls.size,
      logs,
    });
  }
}

/** An address of this machine, as sockets have it. */
const LOOPBACK = /^(?:::1|(?:::ffff:)?127\.[0-9.]+)$/;

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function serverOf(
  { tls, headersMs }: ServerOptions,
  mayUpgrade: (req: IncomingMessage) => boolean,
): Server {
  const options = {
    shouldUpgradeCallback: mayUpgrade,
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: headersMs,
    // How late a connection that says nothing may be noticed.
    connectionsCheckingInterval: Math.max(50, Math.floor(headersMs / 4)),
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
  };
  return tls === undefined ? createServer(options) : createTlsServer(tls, options);
}

function isWebSocket({ rawHeaders }: IncomingMessage): boolean {
  return /\bwebsocket\b/i.test(headerValue(rawHeaders, 'upgrade') ?? '');
}

/** Any other upgrade a server may ignore, and so does this one. */
const UPGRADE_PROBLEM: Problem = {
  status: 501,
  code: 'not_supported',
  title: 'Not supported',
  detail: 'upgrade: what goes over a WebSocket cannot be recorded, so none is forwarded',
};

function answerJson(res: ServerResponse, status: number, value: object): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    'cache-control': 'no-store',
  });
  res.end(body);
}
