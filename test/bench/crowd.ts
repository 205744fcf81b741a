/**
 * As many calls as there can be: clients that each call again when they were answered, and streams that are all open
 * at one time.
 */
import { recordIdOf } from './calls.ts';
import { Connection, requestBytes } from './connection.ts';
import type { Crowd, Task } from './task.ts';

type CrowdTask = Task & { readonly do: 'crowd' };

/** The path through the proxy. */
const PATH = '/openai/v1/chat/completions';

function callBytes(members: object): Buffer {
  const body = JSON.stringify({
    model: 'gpt-4o-mini',
    ...members,
    messages: [{ role: 'user', content: 'Say something. '.repeat(60) }],
  });
  return requestBytes({
    method: 'POST',
    path: PATH,
    type: 'application/json',
    body: Buffer.from(body),
  });
}

/** Every client's next call when its last was answered; one that is not answered well ends the run. */
export async function crowd(task: CrowdTask): Promise<Crowd> {
  const request = callBytes({ stream: task.stream });
  const connections = await connect(task.proxied, task.clients);
  const recordIds: string[] = [];
  let left = task.count;
  const begun = performance.now();
  await Promise.all(
    connections.map(async (connection) => {
      while (left-- > 0) recordIds.push(await recorded(connection, request));
    }),
  );
  const seconds = (performance.now() - begun) / 1_000;
  for (const connection of connections) connection.close();
  return { seconds, recordIds };
}

/** Streams that the model holds in the middle, until it is told to go on. */
export class HeldStreams {
  readonly #connections: readonly Connection[];
  readonly #calls: readonly Promise<string>[];

  private constructor(connections: readonly Connection[]) {
    this.#connections = connections;
    const request = callBytes({ stream: true, hold: true });
    this.#calls = connections.map((connection) => recorded(connection, request));
    // Whoever ends them hears of a failure.
    for (const call of this.#calls) call.catch(() => {});
  }

  /** Resolves when every stream has begun. */
  static async open(url: string, count: number): Promise<HeldStreams> {
    const streams = new HeldStreams(await connect(url, count));
    await Promise.all(streams.#connections.map((connection) => connection.begun()));
    return streams;
  }

  /** Resolves when all are whole. */
  async end(): Promise<Crowd> {
    const begun = performance.now();
    const recordIds = await Promise.all(this.#calls);
    for (const connection of this.#connections) connection.close();
    return { seconds: (performance.now() - begun) / 1_000, recordIds };
  }
}

async function recorded(connection: Connection, request: Buffer): Promise<string> {
  const reply = await connection.ask(request);
  const id = recordIdOf(reply);
  if (reply.status !== 200 || id === undefined) {
    throw new Error(`${reply.status}: ${reply.body.toString().slice(0, 300)}`);
  }
  return id;
}

/** A few at a time: a listener's queue is not for a thousand at once. */
async function connect(url: string, count: number): Promise<Connection[]> {
  const connections: Connection[] = [];
  while (connections.length < count) {
    const some = Math.min(64, count - connections.length);
    connections.push(
      ...(await Promise.all(Array.from({ length: some }, () => Connection.open(url)))),
    );
  }
  return connections;
}
