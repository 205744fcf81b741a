/**
 * An HTTP client that costs as little as can be: it shares two cores with what it measures.
 *
 * One connection, one request at a time, whole requests as bytes made beforehand. It reads only what
 * this server and these tests answer with: a length, or chunks that end with an empty one.
 */
import { connect, type Socket } from 'node:net';

export interface Reply {
  readonly status: number;
  /** Header lines, as they came. */
  readonly head: string;
  readonly body: Buffer;
  /** When the first byte of the body was here, by `performance.now()`. */
  readonly firstByteMs: number;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** Milliseconds after which an answer is not waited for any more. */
const PATIENCE_MS = 60_000;

export class Connection {
  readonly #socket: Socket;
  #received: Buffer[] = [];
  #length = 0;
  #head: { readonly text: string; readonly end: number; readonly total: number } | undefined;
  #firstByteMs = 0;
  #waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | undefined;
  readonly #begun = Promise.withResolvers<void>();

  static open(url: string): Promise<Connection> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect({ host: hostname, port: Number(port), noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Connection(socket));
      });
    });
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data) => this.#take(data));
    // Few ask for it.
    this.#begun.promise.catch(() => {});
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('no answer came')));
  }

  ask(request: Uint8Array): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) reject(new Error('the connection is closed'));
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  /** Resolves with the first byte of the first answer's body. */
  begun(): Promise<void> {
    return this.#begun.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(data: Buffer): void {
    this.#received.push(data);
    this.#length += data.length;
    let head = this.#head;
    if (head === undefined) {
      const all = this.#whole();
      const at = all.indexOf(HEAD_END);
      if (at < 0) return;
      const text = all.toString('latin1', 0, at + 2);
      const length = /\ncontent-length: *(\d+)/i.exec(text)?.[1];
      const end = at + HEAD_END.length;
      head = { text, end, total: length === undefined ? Number.NaN : end + Number(length) };
      this.#head = head;
      this.#firstByteMs = 0;
    }
    if (this.#firstByteMs === 0 && this.#length > head.end) {
      this.#firstByteMs = performance.now();
      this.#begun.resolve();
    }
    if (this.#isWhole(head, data)) this.#settle(head);
  }

  #isWhole(head: { readonly end: number; readonly total: number }, last: Buffer): boolean {
    if (!Number.isNaN(head.total)) return this.#length >= head.total;
    // The five bytes may be split over two reads.
    const tail = last.length >= LAST_CHUNK.length ? last : this.#whole();
    return tail.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK);
  }

  #whole(): Buffer {
    const [only] = this.#received;
    if (this.#received.length === 1 && only !== undefined) return only;
    const whole = Buffer.concat(this.#received, this.#length);
    this.#received = [whole];
    return whole;
  }

  #settle(head: { readonly text: string; readonly end: number }): void {
    const reply: Reply = {
      status: Number(head.text.slice(9, 12)),
      head: head.text,
      body: this.#whole().subarray(head.end),
      firstByteMs: this.#firstByteMs === 0 ? performance.now() : this.#firstByteMs,
    };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#received = [];
    this.#length = 0;
    this.#head = undefined;
    waiting?.resolve(reply);
  }

  #fail(error: Error): void {
    this.#begun.reject(error);
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

export interface RequestParts {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly token?: string | undefined;
  readonly type?: string;
  readonly body?: Uint8Array;
}

/** The bytes of a request. */
export function requestBytes({ method, path, token, type, body }: RequestParts): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, 'host: bench'];
  if (token !== undefined) lines.push(`authorization: Bearer ${token}`);
  if (type !== undefined) lines.push(`content-type: ${type}`);
  if (body !== undefined) lines.push(`content-length: ${body.length}`);
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  return body === undefined ? head : Buffer.concat([head, body]);
}
