/** A connection of which a test writes and reads every byte. */
import { connect, type Socket } from 'node:net';
import type { World } from './world.ts';

export interface Wire {
  readonly socket: Socket;
  /** What has come so far, as latin1: a character for each byte. */
  text(): string;
  send(data: string | Uint8Array): Promise<void>;
  /** Everything that comes until the other side closes. */
  end(): Promise<string>;
  /** Resolves when this has come. */
  until(part: string): Promise<void>;
  /** Resolves when so many answers have begun. */
  answers(count: number): Promise<readonly number[]>;
}

export function talk(world: World): Wire {
  const socket = connect(Number(new URL(world.server.url).port), '127.0.0.1');
  const got: Buffer[] = [];
  const arrivals = new Set<() => void>();
  socket.on('data', (chunk: Buffer) => {
    got.push(chunk);
    for (const arrived of arrivals) arrived();
  });
  socket.on('end', () => socket.end());
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  const text = () => Buffer.concat(got).toString('latin1');
  const when = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!holds()) return;
        arrivals.delete(look);
        resolve();
      };
      arrivals.add(look);
      look();
    });
  return {
    socket,
    text,
    send: (data) => new Promise((resolve) => socket.write(data, () => resolve())),
    async end() {
      await closed;
      return text();
    },
    until: (part) => when(() => text().includes(part)),
    async answers(count) {
      await when(() => statusesOf(text()).length >= count);
      return statusesOf(text());
    },
  };
}

/** The statuses of the answers in a text, 100 among them. */
export function statusesOf(text: string): readonly number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) [A-Z]/g)].map(([, status]) => Number(status));
}

/** The head of a request, ended. */
export function head(
  method: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
): string {
  const lines = Object.entries({ host: 'x', ...headers }).map(([n, v]) => `${n}: ${v}\r\n`);
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}
