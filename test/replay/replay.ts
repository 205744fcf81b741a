/**
 * A model provider for tests: serves recorded exchanges on 127.0.0.1, and misbehaves on request.
 *
 * An exchange is chosen by method, path and, where it says so, the request's body. Its body goes out in
 * pieces of a given size, one write after the other without waiting in between: the order and the cuts
 * are those of a real stream, the time is not.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';

export interface Exchange {
  readonly method?: string;
  /** Path without the query. */
  readonly path: string;
  /** Only for requests whose body holds. */
  readonly when?: (body: unknown) => boolean;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string;
  /** Bytes in one write; the server's own where absent. */
  readonly pieces?: number;
  readonly coding?: Coding;
  /** A body of declared length rather than chunks. */
  readonly hasLength?: boolean;
  /** After so many bytes of the body: break the connection, or send nothing more. */
  readonly cutAfter?: number;
  readonly stallAfter?: number;
  /** Awaited before each piece; where a test wants to hold the stream. */
  readonly beforePiece?: (sent: number) => Promise<void>;
}

export type Coding = 'gzip' | 'deflate' | 'br' | 'zstd';

export interface ReplayOptions {
  readonly pieces?: number;
  readonly exchanges: readonly Exchange[];
}

export interface ReplayRequest {
  readonly method: string;
  /** With its query. */
  readonly target: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly body: Uint8Array;
  /** What went out, content coding and all. */
  readonly sent: Uint8Array;
  /** Resolves when the answer is over, or its connection is. */
  readonly closed: Promise<void>;
  /** Whether the connection was over before the answer was. */
  readonly wasAborted: () => boolean;
}

export interface Replay {
  /** "http://127.0.0.1:PORT", without a path. */
  readonly url: string;
  /** In the order in which they were complete. */
  readonly requests: readonly ReplayRequest[];
  close(): Promise<void>;
}

const CODERS = {
  gzip: gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
} satisfies Record<Coding, (bytes: Uint8Array) => Uint8Array>;

/** The body of an exchange as it goes over the wire. */
export function wireBody(exchange: Exchange): Uint8Array {
  const body = typeof exchange.body === 'string' ? Buffer.from(exchange.body) : exchange.body;
  return exchange.coding === undefined ? body : new Uint8Array(CODERS[exchange.coding](body));
}

export async function startReplay(options: ReplayOptions): Promise<Replay> {
  const requests: ReplayRequest[] = [];
  const server = createServer((req, res) => {
    serve(req, res, options, requests).catch((error: unknown) => res.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function serve(
  req: IncomingMessage,
  res: ServerResponse,
  options: ReplayOptions,
  requests: ReplayRequest[],
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  const body = new Uint8Array(Buffer.concat(chunks));
  const { method = 'GET', url: target = '/' } = req;
  const exchange = choose(options.exchanges, method, target, body);
  const wire = wireBody(exchange);
  requests.push({
    method,
    target,
    headers: req.headers,
    rawHeaders: req.rawHeaders,
    body,
    sent: wire,
    closed: new Promise((resolve) => res.once('close', () => resolve())),
    wasAborted: () => res.closed && !res.writableFinished,
  });
  res.writeHead(exchange.status ?? 200, {
    'content-type': 'application/json',
    ...exchange.headers,
    ...(exchange.coding && { 'content-encoding': exchange.coding }),
    ...(exchange.hasLength && { 'content-length': String(wire.length) }),
  });
  res.flushHeaders();
  await send(res, wire, exchange, exchange.pieces ?? options.pieces ?? 4096);
}

async function send(res: ServerResponse, wire: Uint8Array, exchange: Exchange, pieces: number) {
  const { cutAfter = wire.length, stallAfter = wire.length } = exchange;
  const end = Math.min(wire.length, cutAfter, stallAfter);
  for (let at = 0; at < end; at += pieces) {
    await exchange.beforePiece?.(at);
    if (res.destroyed) return;
    if (!res.write(wire.subarray(at, Math.min(at + pieces, end)))) {
      await Promise.race([once(res, 'drain'), once(res, 'close')]);
    }
    // The piece leaves before the next one is written.
    await nextTurn();
  }
  await exchange.beforePiece?.(end);
  if (exchange.cutAfter !== undefined) res.socket?.destroy();
  else if (exchange.stallAfter === undefined) res.end();
}

function choose(
  exchanges: readonly Exchange[],
  method: string,
  target: string,
  body: Uint8Array,
): Exchange {
  const path = target.replace(/\?.*$/, '');
  const value = jsonOf(body);
  const found = exchanges.find(
    (e) => (e.method ?? 'POST') === method && e.path === path && (e.when?.(value) ?? true),
  );
  return (
    found ?? { path, status: 404, body: `{"error":{"message":"nothing recorded for ${path}"}}` }
  );
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString());
  } catch {
    return undefined;
  }
}
