/**
 * How does a connection end whose sender has its answer before all that it sends was read?
 *
 * Closing it would reset it: a write that is under way fails, and most clients and front ends then never
 * look at the answer that has come. So what still arrives is read and thrown away [RFC 9112 §9.6]:
 *
 *     answer out ── read on, up to `bytesMax` ── read no more: the sender is held up, and looks up
 *                └─ `ms` later: cut
 *
 * Where the connection is not kept, its end is sent behind the answer, and the reading goes on all the same.
 * A sender that ends its body in that time has its connection kept, unless it was told otherwise.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

export interface LingerBounds {
  readonly bytesMax: number;
  readonly ms: number;
}

/**
 * More than a whole batch, so that whoever sends first and reads afterwards is seldom held up; and longer than a
 * front end on a busy machine needs to look up from sending, and no longer than headers may take.
 */
export const LINGER: LingerBounds = { bytesMax: 32 * 1024 ** 2, ms: 10_000 };

/** To be called for a request before it is answered. */
export function lingerAfter(
  req: IncomingMessage,
  res: ServerResponse,
  bounds: LingerBounds = LINGER,
): void {
  const { socket } = req;
  // Node ends a connection that is not kept with this, which destroys it with whatever is unread.
  socket.destroySoon = () => {
    if (req.complete) destroySoon(socket);
    else socket.end();
  };
  // Before Node's own, which throws away without a bound what nobody has begun to read.
  res.prependOnceListener('finish', () => {
    if (req.complete) socket.destroySoon = Socket.prototype.destroySoon;
    else discard(req, bounds);
  });
}

function discard(req: IncomingMessage, { bytesMax, ms }: LingerBounds): void {
  const { socket } = req;
  let left = bytesMax;
  const timer = setTimeout(() => socket.destroy(), ms);
  timer.unref();
  const gone = (): void => clearTimeout(timer);
  socket.once('close', gone);
  req.removeAllListeners('readable');
  while (req.read() !== null);
  req.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) req.pause();
  });
  req.once('error', gone);
  req.once('end', () => {
    gone();
    socket.off('close', gone);
    socket.destroySoon = Socket.prototype.destroySoon;
    if (socket.writableEnded) socket.destroySoon();
  });
  req.resume();
}

/** The same for connections on which no request could be read at all. */
export class RefusedSockets {
  readonly #bounds: LingerBounds;
  /** Bytes that had come when they were refused. */
  readonly #cameBefore = new WeakMap<Socket, number>();

  constructor(bounds: LingerBounds = LINGER) {
    this.#bounds = bounds;
  }

  /** Says this and no more. */
  end(socket: Socket, answer: string): void {
    this.#cameBefore.set(socket, socket.bytesRead);
    const timer = setTimeout(() => socket.destroy(), this.#bounds.ms);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
    socket.end(answer);
  }

  /** Whether it was refused before, and only goes on sending: Node reports whatever comes of it. */
  goesOn(socket: Socket): boolean {
    const before = this.#cameBefore.get(socket);
    if (before === undefined) return false;
    if (socket.bytesRead - before > this.#bounds.bytesMax) socket.pause();
    return true;
  }
}

function destroySoon(socket: Socket): void {
  Socket.prototype.destroySoon.call(socket);
}
