/**
 * A Rekor for tests, on loopback, with keys of its own: v1 and v2 at one address.
 *
 *     const rekor = await RekorDouble.start();
 *     rekor.url                       what a target is given, for both versions
 *     rekor.trustedRoot()             what a reader is given
 *     rekor.v1.shard.grow(300)        others use it too; rekor.v2.shard as well
 *     rekor.next({ drop: 'after' })   what becomes of the next request that writes; nextRead, of one that reads
 *     rekor.v2.shard.lag(7)           a replica that is behind
 *     rekor.v2.frozen = true          a shard that takes nothing more; rekor.v1.reshard() begins another
 *     rekor.v2.shard.fork(3)          a log that has two histories
 *     rekor.requests                  what was asked, in order
 *     await rekor.stop()
 *
 * It is strict: it verifies signatures over digests, makes the entry's canonical bytes itself, keeps a real
 * tree, and answers a repeat with 409 as the servers do. None of it uses what it is there to test, but for
 * the names of tiles.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jsonReply, Refused, type Reply } from './accept.ts';
import type { KeyPair } from './shard.ts';
import { RekorV1 } from './v1.ts';
import { RekorV2 } from './v2.ts';

/** What becomes of one request. Without any member it is answered as it should be. */
export interface Fault {
  /** The connection is cut: before the entry is taken up, or when it is. */
  readonly drop?: 'before' | 'after';
  /** This status instead of taking the entry up, with a `retry-after`. */
  readonly status?: number;
  readonly retryAfter?: string;
  /** The answer waits for this. */
  readonly until?: Promise<unknown>;
  /** The answer is changed on its way. */
  readonly change?: (reply: Reply) => Reply;
}

export interface DoubleOptions {
  readonly host?: string;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Entries of v1 that were logged in shards before. */
  readonly before?: number;
  readonly v1Key?: KeyPair;
  readonly v2Key?: KeyPair;
}

export interface Asked {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** A server would cut it off at some megabytes. */
const BODY_BYTES_MAX = 1_048_576;

export class RekorDouble {
  readonly v1: RekorV1;
  readonly v2: RekorV2;
  readonly requests: Asked[] = [];
  readonly #server: Server;
  readonly #writes: Fault[] = [];
  readonly #reads: Fault[] = [];

  private constructor(options: DoubleOptions) {
    const { host = 'rekor.test.example', now = Date.now, before = 121_904_262 } = options;
    const { v1Key, v2Key } = options;
    this.v1 = new RekorV1(host, now, { before, ...(v1Key === undefined ? {} : { key: v1Key }) });
    this.v2 = new RekorV2(host, v2Key === undefined ? {} : { key: v2Key });
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(options: DoubleOptions = {}): Promise<RekorDouble> {
    const double = new RekorDouble(options);
    await new Promise<void>((resolve) => {
      double.#server.listen(0, '127.0.0.1', resolve);
    });
    return double;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What becomes of the next requests that write, one each. */
  next(...faults: readonly Fault[]): void {
    this.#writes.push(...faults);
  }

  /** What becomes of the next requests that read, one each. */
  nextRead(...faults: readonly Fault[]): void {
    this.#reads.push(...faults);
  }

  /** Forgets what was to become of requests that did not come. */
  asUsual(): void {
    this.#writes.length = 0;
    this.#reads.length = 0;
  }

  /** Sigstore's trusted_root.json with both logs, as JSON. */
  trustedRoot({
    start = '2024-01-01T00:00:00Z',
    end,
  }: {
    start?: string | null;
    end?: string;
  } = {}) {
    const baseUrl = `https://${this.v1.host}`;
    const from = start ?? undefined;
    return {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [
        this.v1.shard.instance(baseUrl, from, end),
        this.v2.shard.instance(baseUrl, from, end),
      ],
      certificateAuthorities: [],
      ctlogs: [],
      timestampAuthorities: [],
    };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > BODY_BYTES_MAX) return send(response, { status: 413, body: 'too large' });
      chunks.push(chunk);
    }
    const { method = '', url: path = '', headers } = request;
    const asked = { method, path, headers, body: Buffer.concat(chunks) };
    this.requests.push(asked);
    const fault = (method === 'POST' ? this.#writes : this.#reads).shift() ?? {};
    if (fault.drop === 'before') return void response.destroy();
    const reply =
      fault.status === undefined
        ? this.#reply(asked)
        : jsonReply(
            fault.status,
            { code: fault.status, message: 'as the test wants it' },
            fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter },
          );
    await fault.until;
    if (fault.drop === 'after') return void response.destroy();
    send(response, fault.change === undefined ? reply : fault.change(reply));
  }

  #reply({ method, path, headers, body }: Asked): Reply {
    const { pathname, searchParams } = new URL(path, 'http://double');
    const type = headers['content-type'];
    try {
      if (method === 'POST' && pathname === '/api/v1/log/entries') return this.v1.post(type, body);
      if (method === 'POST' && pathname === '/api/v2/log/entries') return this.v2.post(body);
      if (method === 'GET' && pathname.startsWith('/api/v1/')) {
        return this.v1.get(pathname, searchParams);
      }
      if (method === 'GET' && pathname.startsWith('/api/v2/')) {
        return this.v2.get(pathname.slice('/api/v2'.length));
      }
    } catch (error) {
      if (error instanceof Refused) return error.reply;
      throw error;
    }
    return { status: 404, body: 'page not found' };
  }
}

function send(response: ServerResponse, { status, headers = {}, body }: Reply): void {
  response.writeHead(status, headers).end(body);
}
