/**
 * How much memory does the proxy take for large bodies and long streams?
 *
 * A real `stele up`, a model that takes and gives as much as is wanted, and the resident memory of the server, looked at
 * all the time: the most while calls go through and their records are made and logged, less what it was at rest.
 * Bodies are checked byte for byte by their digests at both ends.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server as HttpServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Server } from './children.ts';
import { LOG } from './log-rows.ts';
import type { Row } from './report.ts';
import { runsOf } from './stats.ts';

/** Milliseconds between two looks. */
const LOOK_MS = 10;

const PIECE = 65_536;

const WARM_CALLS = 200;

/** Of 20 s each. */
const LOGGED_TRIES = 30;

/** As OpenAI sends them. */
const CHUNK = {
  id: 'chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012',
  object: 'chat.completion.chunk',
  created: 1_790_000_000,
  model: 'gpt-4o-mini-2024-07-18',
  service_tier: 'default',
  system_fingerprint: 'fp_0123456789',
  choices: [{ index: 0, delta: { content: ' then' }, logprobs: null, finish_reason: null }],
  usage: null,
  obfuscation: 'abcdefghijkl',
};

const MIB = 1_048_576;

export interface MemorySizes {
  readonly bodyBytes: number;
  readonly streamBytes: number;
  /** Calls one after the other, of which the most counts. */
  readonly runs: number;
}

/** What goes over the wire, and what its digest is. */
interface Sent {
  readonly bytes: number;
  readonly sha256: string;
}

/** A model of its own for this: it answers with as many bytes as the path asks for. */
export class LargeModel {
  readonly #server: HttpServer;
  readonly requests: Sent[] = [];
  readonly answers: Sent[] = [];

  constructor() {
    this.#server = createServer((req, res) => {
      void (async () => {
        this.requests.push(await drain(req));
        const asked = new URL(req.url ?? '/', 'http://model').searchParams;
        const pieces = asked.has('stream')
          ? events(Number(asked.get('bytes')))
          : answer(Number(asked.get('bytes')));
        const type = asked.has('stream') ? 'text/event-stream' : 'application/json';
        res.setHeader('content-type', type);
        this.answers.push(await send(pieces, (piece) => res.write(piece), res));
        res.end();
      })();
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

export async function memoryRows(
  { server, model }: { readonly server: Server; readonly model: LargeModel },
  { bodyBytes, streamBytes, runs }: MemorySizes,
  progress: (what: string) => void,
): Promise<Row[]> {
  const ask = (bytes: number, asked: string) => call(server, model, bytes, asked);
  // At rest is a server that has worked: what any call needs is there before anything is measured.
  for (let i = 0; i < WARM_CALLS; i++) await ask(20_000, `?bytes=200000${i % 2 ? '&stream' : ''}`);
  const rest = resident(server);
  const rows: Row[] = [];
  const cases = [
    { what: `a request of ${sizeOf(bodyBytes)}`, bytes: bodyBytes, asked: '?bytes=1000' },
    { what: `an answer of ${sizeOf(bodyBytes)}`, bytes: 1_000, asked: `?bytes=${bodyBytes}` },
    {
      what: `a stream of ${sizeOf(streamBytes)}`,
      bytes: 1_000,
      asked: `?bytes=${streamBytes}&stream`,
    },
  ];
  for (const { what, bytes, asked } of cases) {
    progress(`proxy memory, ${what}`);
    const above: number[] = [];
    for (let i = 0; i < runs; i++) {
      const watch = new Watch(server);
      try {
        await ask(bytes, asked);
      } finally {
        above.push((watch.end() - rest) / MIB);
      }
    }
    rows.push({
      what: `proxy, ${what}: memory above rest`,
      unit: 'MiB',
      figure: runsOf(above),
      target: { at: 'most', value: 64 },
    });
  }
  return rows;
}

/** The most that was resident between two moments. */
class Watch {
  readonly #server: Server;
  readonly #timer: NodeJS.Timeout;
  #most = 0;

  constructor(server: Server) {
    this.#server = server;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  #look(): void {
    this.#most = Math.max(this.#most, resident(this.#server));
  }

  end(): number {
    clearInterval(this.#timer);
    this.#look();
    return this.#most;
  }
}

function resident(server: Server): number {
  const bytes = server.residentBytes();
  if (bytes === undefined)
    throw new Error('this system does not say how much memory a process has');
  return bytes;
}

/** One call, until its record is in the log. */
async function call(
  server: Server,
  model: LargeModel,
  bytes: number,
  asked: string,
): Promise<void> {
  const req = request(`${server.proxy}/openai/v1/chat/completions${asked}`, { method: 'POST' });
  req.setHeader('content-type', 'application/json');
  const sent = await send(question(bytes, asked.includes('stream')), (p) => req.write(p), req);
  req.end();
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  const got = await drain(res);
  check(model.requests.at(-1), sent);
  check(got, model.answers.at(-1));
  const id = String(res.headers['x-stele-record-id']);
  const url = `${server.url}/logs/${LOG}/v1/receipts/${id}?wait=20`;
  const headers = { authorization: `Bearer ${server.token('read')}` };
  // A GB takes a while to be read back, sealed anew and taken by the log.
  for (let tries = 0; tries < LOGGED_TRIES; tries++) {
    const logged = await fetch(url, { headers });
    await logged.arrayBuffer();
    if (logged.ok) return;
    if (logged.status !== 404) break;
  }
  throw new Error(`record ${id} is not in the log`);
}

function check(got: Sent | undefined, sent: Sent | undefined): void {
  if (got === undefined || got.sha256 !== sent?.sha256) {
    throw new Error(`${JSON.stringify(got)} arrived of ${JSON.stringify(sent)}`);
  }
}

/** A question with a picture of so many bytes. */
function* question(bytes: number, stream: boolean): Generator<Buffer> {
  yield Buffer.from(
    `{"model":"gpt-4o-mini","stream":${stream},"messages":[{"role":"user","content":[`,
  );
  yield Buffer.from('{"type":"image_url","image_url":{"url":"data:image/png;base64,');
  yield* filler(bytes);
  yield Buffer.from('"}}]}]}');
}

function* answer(bytes: number): Generator<Buffer> {
  yield Buffer.from('{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,');
  yield Buffer.from('"finish_reason":"stop","message":{"role":"assistant","content":"');
  yield* filler(bytes);
  yield Buffer.from('"}}]}');
}

function* events(bytes: number): Generator<Buffer> {
  const event = Buffer.from(`data: ${JSON.stringify(CHUNK)}\n\n`);
  const piece = Buffer.concat(Array.from({ length: Math.ceil(PIECE / event.length) }, () => event));
  for (let sent = 0; sent < bytes; sent += piece.length) yield piece;
  yield Buffer.from('data: [DONE]\n\n');
}

function* filler(bytes: number): Generator<Buffer> {
  const piece = Buffer.alloc(PIECE, 'QUJD');
  for (let left = bytes; left > 0; left -= PIECE) yield piece.subarray(0, Math.min(left, PIECE));
}

async function send(
  pieces: Iterable<Buffer>,
  write: (piece: Buffer) => boolean,
  to: NodeJS.EventEmitter,
): Promise<Sent> {
  const hash = createHash('sha256');
  let bytes = 0;
  for (const piece of pieces) {
    hash.update(piece);
    bytes += piece.length;
    if (!write(piece)) await drained(to);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Resolves when more may be written, or nobody takes it. */
function drained(to: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      to.off('drain', done).off('close', done);
      resolve();
    };
    to.on('drain', done).on('close', done);
  });
}

async function drain(from: IncomingMessage): Promise<Sent> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of from as AsyncIterable<Buffer>) {
    hash.update(piece);
    bytes += piece.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

function sizeOf(bytes: number): string {
  return bytes >= 1e9 ? `${bytes / 1e9} GB` : `${bytes / 1e6} MB`;
}
