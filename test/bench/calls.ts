/**
 * What does the proxy add? The same call, straight to the model and through the proxy, by turns in one
 * process at one time, so that whatever the machine does happens to both.
 */
import { Connection, type Reply, requestBytes } from './connection.ts';
import { spread } from './stats.ts';
import type { Calls, CallTimes, Task } from './task.ts';

type CallTask = Task & { readonly do: 'calls' };
type Arrivals = (
  rate: number,
  count: number,
  arrive: (i: number, due: number) => void,
) => Promise<void>;

/** Connections to each side: at the rates asked for, calls overlap by a few dozen. */
const CONNECTIONS = 64;

class Side {
  readonly first: number[] = [];
  readonly total: number[] = [];
  readonly recordIds: string[] = [];
  readonly #free: Connection[] = [];
  readonly #request: Buffer;
  readonly #all: Connection[] = [];

  constructor(path: string, stream: boolean) {
    const body = JSON.stringify({
      model: 'gpt-4o-mini',
      stream,
      messages: [{ role: 'user', content: 'Say something. '.repeat(60) }],
    });
    this.#request = requestBytes({
      method: 'POST',
      path,
      type: 'application/json',
      body: Buffer.from(body),
    });
  }

  async connect(url: string): Promise<void> {
    for (let i = 0; i < CONNECTIONS; i++) this.#all.push(await Connection.open(url));
    this.#free.push(...this.#all);
  }

  async call(): Promise<void> {
    const connection = this.#free.pop();
    if (connection === undefined)
      throw new Error(`more than ${CONNECTIONS} calls are open at once`);
    const begun = performance.now();
    const reply = await connection.ask(this.#request);
    const ended = performance.now();
    if (reply.status !== 200) throw new Error(`${reply.status}: ${reply.body.toString()}`);
    this.first.push(reply.firstByteMs - begun);
    this.total.push(ended - begun);
    const id = recordIdOf(reply);
    if (id !== undefined) this.recordIds.push(id);
    this.#free.push(connection);
  }

  close(): void {
    for (const connection of this.#all) connection.close();
  }

  times(): CallTimes {
    return { first: spread(this.first), total: spread(this.total) };
  }
}

export function recordIdOf(reply: Reply): string | undefined {
  return /\nx-stele-record-id: *([0-9a-f-]{36})/i.exec(reply.head)?.[1];
}

/** `rate` calls a second through the proxy, and as many straight. */
export async function calls(task: CallTask, arrivals: Arrivals): Promise<Calls> {
  const path = '/v1/chat/completions';
  const direct = new Side(path, task.stream);
  const proxied = new Side(`/openai${path}`, task.stream);
  await direct.connect(task.direct);
  await proxied.connect(task.proxied);
  const running: Promise<void>[] = [];
  try {
    await arrivals(2 * task.rate, 2 * task.count, (i) => {
      running.push((i % 2 === 0 ? direct : proxied).call());
    });
    await Promise.all(running);
  } finally {
    direct.close();
    proxied.close();
  }
  return { direct: direct.times(), proxied: proxied.times(), recordIds: proxied.recordIds };
}
