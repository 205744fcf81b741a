/**
 * A signer's socket: who may connect, and what bounds each connection.
 *
 * Whoever can connect can have heads signed that continue the log, so the socket is its owner's, or its
 * group's, and lies in a folder in which nobody else can put another in its place. A line that is not of the
 * protocol ends its connection: there is no number to answer it under.
 */
import { chmodSync, lstatSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { invariant, SteleError } from '../../core/errors.ts';
import {
  formatAnswer,
  formatHello,
  Lines,
  type Numbered,
  parseQuestion,
  type Question,
} from './protocol.ts';
import type { SignerService } from './service.ts';

export interface ListenOptions {
  readonly path: string;
  /** 0o600: the owner's alone; 0o660: its group's too. */
  readonly mode: 0o600 | 0o660;
  readonly service: SignerService;
  /** Told of what a connection did wrong. */
  readonly warn: (message: string, error: unknown) => void;
  /** The process must end: see `HeadSyncFailed`. */
  readonly fatal: (error: Error) => void;
  readonly limits?: Partial<SocketLimits>;
}

export interface SocketLimits {
  readonly connections: number;
  /** Requests of one connection that are under way; then it is not read from. */
  readonly requests: number;
  /** Milliseconds in which a line that has begun must have ended. */
  readonly lineMs: number;
}

const LIMITS: SocketLimits = { connections: 32, requests: 128, lineMs: 10_000 };

/** What the kernel takes as the path of a socket, less the zero at its end. */
const PATH_BYTES_MAX = 107;

export interface Listening {
  /** Takes no more requests, ends those that are under way, and removes the socket. */
  close(): Promise<void>;
}

export async function listenForLogs(options: ListenOptions): Promise<Listening> {
  const { path, mode } = options;
  checkPath(path);
  await removeStale(path);
  const limits = { ...LIMITS, ...options.limits };
  const connections = new Set<Connection>();
  const server = createServer((socket) => {
    const connection = new Connection(socket, options, limits);
    connections.add(connection);
    socket.once('close', () => connections.delete(connection));
  });
  server.maxConnections = limits.connections;
  await bind(server, path, mode);
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await Promise.all([...connections].map((connection) => connection.close()));
      await closed;
    },
  };
}

class Connection {
  readonly #socket: Socket;
  readonly #options: ListenOptions;
  readonly #limits: SocketLimits;
  readonly #lines = new Lines();
  readonly #running = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #isClosing = false;

  constructor(socket: Socket, options: ListenOptions, limits: SocketLimits) {
    this.#socket = socket;
    this.#options = options;
    this.#limits = limits;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('drain', () => this.#flow());
    socket.on('close', () => clearTimeout(this.#timer));
    // Whoever goes away does so; what it asked for ends all the same.
    socket.on('error', () => socket.destroy());
    socket.write(formatHello());
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#flow();
    await Promise.all(this.#running);
    this.#socket.destroySoon();
  }

  #take(chunk: Buffer): void {
    try {
      for (const line of this.#lines.feed(chunk)) this.#start(parseQuestion(line));
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.#options.warn('a connection that does not speak as a log does was ended', error);
      this.#socket.destroy();
      return;
    }
    if (!this.#lines.isOpen) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    if (this.#lines.isOpen) {
      this.#timer ??= setTimeout(() => this.#socket.destroy(), this.#limits.lineMs);
    }
    this.#flow();
  }

  #start({ id, content }: Numbered<Question>): void {
    const work = this.#options.service
      .answer(content)
      .then((answer) => {
        if (!this.#socket.destroyed) this.#socket.write(formatAnswer({ id, content: answer }));
      })
      .catch((error: unknown) => this.#options.fatal(error as Error))
      .finally(() => {
        this.#running.delete(work);
        this.#flow();
      });
    this.#running.add(work);
  }

  /** Reads on while there is room for requests, and for answers that are not taken yet. */
  #flow(): void {
    const isFull = this.#running.size >= this.#limits.requests || this.#socket.writableNeedDrain;
    if (this.#isClosing || isFull) this.#socket.pause();
    else this.#socket.resume();
  }
}

function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > PATH_BYTES_MAX) {
    throw new SteleError(
      'too_large',
      `socket ${path}: ${bytes} bytes where the system takes ${PATH_BYTES_MAX}: choose a shorter path`,
    );
  }
  const folder = dirname(path);
  let found: ReturnType<typeof statSync>;
  try {
    found = statSync(folder);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new SteleError('storage', `socket ${path}: its folder cannot be looked at (${code})`, {
      cause,
    });
  }
  invariant(found !== undefined, 'what was found is there');
  const { mode, uid } = found;
  const own = process.getuid?.() ?? uid;
  if ((mode & 0o022) !== 0 || (uid !== own && uid !== 0)) {
    throw new SteleError(
      'forbidden',
      `socket ${path}: others could put a socket of theirs in its place: make its folder yours alone to ` +
        `write into (chmod go-w ${folder})`,
    );
  }
}

/** A socket that a killed signer left behind; one that answers is another signer's. */
async function removeStale(path: string): Promise<void> {
  const state = await new Promise<'free' | 'stale' | 'taken'>((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve('taken');
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') resolve('free');
      else if (error.code === 'ECONNREFUSED') resolve('stale');
      else reject(new SteleError('storage', `socket ${path}: it cannot be used (${error.code})`));
    });
  });
  if (state === 'taken') {
    throw new SteleError('conflict', `socket ${path}: another signer listens there`);
  }
  if (state === 'free') return;
  // Who connects to a file that is no socket is told the same as with one that nobody listens on.
  if (!lstatSync(path).isSocket()) {
    throw new SteleError('conflict', `socket ${path}: something else is there, and is left alone`);
  }
  unlinkSync(path);
}

function bind(server: Server, path: string, mode: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const before = process.umask(0o177);
    server.once('error', (cause: NodeJS.ErrnoException) => {
      process.umask(before);
      reject(
        new SteleError('storage', `socket ${path}: it cannot be made (${cause.code})`, { cause }),
      );
    });
    server.listen(path, () => {
      process.umask(before);
      chmodSync(path, mode);
      resolve();
    });
  });
}
