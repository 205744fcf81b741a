/**
 * The load generator: a process of its own that does one task after another, as it is told.
 *
 * Everything is signed and put into bytes before the clock starts. Every answer must have the status
 * that is wanted; one that has not ends the run, so a rate is never one of refusals.
 */
import { generateKeyPairSync } from 'node:crypto';
import { parsePublicKey } from '../../server/core/keys.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { calls } from './calls.ts';
import { Connection, type Reply, requestBytes } from './connection.ts';
import { crowd, HeldStreams } from './crowd.ts';
import { alone, batchBody, type Gateway, inWindow, Source } from './records.ts';
import { reportOf } from './reports.ts';
import { spread } from './stats.ts';
import type { Load, Result, Target, Task } from './task.ts';
import { WitnessedLogs } from './witnessed-logs.ts';

const PROTOBUF = 'application/protobuf';

/**
 * Sources that single entries are spread over in the open loop: with so many, a source's records come in
 * order even when answers take long.
 */
const OPEN_LOOP_SOURCES = 512;

/** Connections of the open loop; a request that finds none free waits for one. */
const OPEN_LOOP_CONNECTIONS = 256;

/** How late a timer may be without that being the server's fault. */
const TIMER_MS = 2;

class Generator {
  readonly #target: Target;
  readonly #gateway: Gateway;
  readonly #sources = new Map<string, Source>();

  constructor(target: Target, gateway: Gateway) {
    this.#target = target;
    this.#gateway = gateway;
  }

  async openLoop(rate: number, count: number): Promise<Load> {
    const requests = Array.from({ length: count }, (_, i) =>
      this.#single(`open-${i % OPEN_LOOP_SOURCES}`),
    );
    const free = await this.#connect(Math.min(OPEN_LOOP_CONNECTIONS, count));
    const all = [...free];
    const waiting: ((connection: Connection) => void)[] = [];
    const ms: number[] = [];
    let last: Reply | undefined;
    const one = async (request: Buffer, due: number): Promise<void> => {
      const begun = performance.now() - due < TIMER_MS ? performance.now() : due;
      const connection = free.pop() ?? (await new Promise<Connection>((r) => waiting.push(r)));
      last = wanted(await connection.ask(request), 201);
      ms.push(performance.now() - begun);
      const next = waiting.shift();
      if (next === undefined) free.push(connection);
      else next(connection);
    };
    const load = await timed(count, ms, async () => {
      const running: Promise<void>[] = [];
      await arrivals(rate, count, (i, due) => running.push(one(requests[i]!, due)));
      await Promise.all(running);
    });
    for (const connection of all) connection.close();
    return { ...load, ...receiptOf(last) };
  }

  async singles(clients: number, count: number): Promise<Load> {
    const each = Math.ceil(count / clients);
    const requests = Array.from({ length: clients }, (_, client) =>
      Array.from({ length: each }, () => this.#single(`single-${client}`)),
    );
    return this.#closedLoop(requests, 201);
  }

  async batches(task: Task & { readonly do: 'batches' }): Promise<Load> {
    const each = Math.ceil(task.count / task.clients);
    const requests = Array.from({ length: task.clients }, (_, client) =>
      Array.from({ length: each }, () => this.#batch(client, task)),
    );
    const load = await this.#closedLoop(requests, 200);
    return { ...load, count: load.count * task.entries };
  }

  async reports({ clients, count, spans }: Task & { readonly do: 'reports' }): Promise<Load> {
    const { log, token } = this.#target;
    const path = `/ingest/${log}/otlp/v1/traces`;
    const type = 'application/x-protobuf';
    const requests = Array.from({ length: clients }, () =>
      Array.from({ length: Math.ceil(count / clients) }, () =>
        requestBytes({ method: 'POST', path, token, type, body: reportOf(spans) }),
      ),
    );
    const load = await this.#closedLoop(requests, 200);
    return { ...load, count: load.count * spans };
  }

  async inclusion(clients: number, count: number, size: number): Promise<Load> {
    const each = Math.ceil(count / clients);
    const requests = Array.from({ length: clients }, (_, client) =>
      Array.from({ length: each }, (_, i) => {
        // Spread over the whole log, in no order.
        const index = ((client * each + i) * 7_919) % size;
        return this.#get(`/v1/proofs/inclusion/${index}/${size}`);
      }),
    );
    return this.#closedLoop(requests, 200);
  }

  checkpoint(clients: number, count: number): Promise<Load> {
    const request = this.#get('/checkpoint');
    const each: Buffer[] = new Array(Math.ceil(count / clients)).fill(request);
    return this.#closedLoop(new Array(clients).fill(each), 200);
  }

  async #closedLoop(requests: readonly (readonly Buffer[])[], status: number): Promise<Load> {
    const { load, last } = await closedLoop(this.#target.url, requests, status);
    return { ...load, ...(status === 201 ? receiptOf(last) : {}) };
  }

  async #connect(count: number): Promise<Connection[]> {
    return Promise.all(Array.from({ length: count }, () => Connection.open(this.#target.url)));
  }

  #single(name: string): Buffer {
    const entry = alone(this.#gateway, this.#source(name).next());
    return this.#post('/v1/entries', entry);
  }

  #batch(client: number, { entries, windows }: Task & { readonly do: 'batches' }): Buffer {
    const source = this.#source(`batch-${client}`);
    const statements = Array.from({ length: entries }, () => source.next());
    const signed = windows
      ? inWindow(this.#gateway, statements)
      : statements.map((statement) => alone(this.#gateway, statement));
    return this.#post('/v1/entries/batch', batchBody(signed));
  }

  #source(name: string): Source {
    let source = this.#sources.get(name);
    if (source === undefined) {
      source = new Source(this.#gateway.origin, name);
      this.#sources.set(name, source);
    }
    return source;
  }

  #post(path: string, body: Uint8Array): Buffer {
    const { log, token } = this.#target;
    return requestBytes({
      method: 'POST',
      path: `/logs/${log}${path}`,
      token,
      type: PROTOBUF,
      body,
    });
  }

  #get(path: string): Buffer {
    return requestBytes({ method: 'GET', path: `/logs/${this.#target.log}${path}` });
  }
}

/** Each list on a connection of its own, the next request when the last was answered. */
async function closedLoop(
  url: string,
  requests: readonly (readonly Buffer[])[],
  status: number,
): Promise<{ readonly load: Load; readonly last: Reply | undefined }> {
  const connections = await Promise.all(requests.map(() => Connection.open(url)));
  const ms: number[] = [];
  let last: Reply | undefined;
  const count = requests.reduce((sum, list) => sum + list.length, 0);
  const load = await timed(count, ms, async () => {
    await Promise.all(
      connections.map(async (connection, i) => {
        for (const request of requests[i] ?? []) {
          const begun = performance.now();
          last = wanted(await connection.ask(request), status);
          ms.push(performance.now() - begun);
        }
      }),
    );
  });
  for (const connection of connections) connection.close();
  return { load, last };
}

function wanted(reply: Reply, status: number): Reply {
  if (reply.status === status) return reply;
  throw new Error(
    `${reply.status} where ${status} is wanted: ${reply.body.toString().slice(0, 300)}`,
  );
}

function receiptOf(reply: Reply | undefined): { readonly receipt?: string } {
  return reply === undefined ? {} : { receipt: reply.body.toString() };
}

async function timed(
  count: number,
  ms: readonly number[],
  run: () => Promise<void>,
): Promise<Load> {
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await run();
  const seconds = (performance.now() - begun) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { count, seconds, ms: spread(ms), cpuMs: (user + system) / 1_000 };
}

/** Calls `arrive` `count` times, `rate` times a second, as independent callers would: a Poisson process. */
async function arrivals(
  rate: number,
  count: number,
  arrive: (i: number, due: number) => void,
): Promise<void> {
  let due = performance.now();
  for (let i = 0; i < count; i++) {
    due += (-Math.log(1 - Math.random()) * 1_000) / rate;
    const wait = due - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    arrive(i, due);
  }
}

async function echo(task: Task & { readonly do: 'echo' }): Promise<Load> {
  const request = requestBytes({ method: 'POST', path: '/', body: new Uint8Array(1_024) });
  const each: Buffer[] = new Array(Math.ceil(task.count / task.clients)).fill(request);
  return (await closedLoop(task.url, new Array(task.clients).fill(each), 200)).load;
}

let witnessed: WitnessedLogs | undefined;

/** Each log's checkpoints go over one connection, so that they come in order. */
async function witness(task: Task & { readonly do: 'witness' }): Promise<Load> {
  const { url, logs, clients, rounds, fresh } = task;
  if (fresh || witnessed === undefined) witnessed = new WitnessedLogs(logs);
  const requests = witnessed.requests(clients, rounds);
  return (await closedLoop(url, requests, 200)).load;
}

let generator: Generator | undefined;
let held: HeldStreams | undefined;

async function perform(task: Task): Promise<Result> {
  if (task.do === 'echo') return echo(task);
  if (task.do === 'witness') return witness(task);
  if (task.do === 'calls') return calls(task, arrivals);
  if (task.do === 'crowd') return crowd(task);
  if (task.do === 'hold') {
    held = await HeldStreams.open(task.proxied, task.count);
    return { seconds: 0, recordIds: [] };
  }
  if (task.do === 'release') {
    if (held === undefined) throw new Error('no stream is held');
    await fetch(`${task.model}/release`, { method: 'POST' });
    return held.end();
  }
  if (task.do === 'begin') {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const { keyid } = parsePublicKey('ed25519', new Uint8Array(spki));
    generator = new Generator(task.target, { privateKey, keyid, origin: task.target.origin });
    return { spki: spki.toString('base64') };
  }
  if (generator === undefined) throw new Error('the first task says where the log is');
  switch (task.do) {
    case 'open-loop':
      return generator.openLoop(task.rate, task.count);
    case 'singles':
      return generator.singles(task.clients, task.count);
    case 'batches':
      return generator.batches(task);
    case 'reports':
      return generator.reports(task);
    case 'inclusion':
      return generator.inclusion(task.clients, task.count, task.size);
    case 'checkpoint':
      return generator.checkpoint(task.clients, task.count);
  }
}

useNativePrimitives();
process.on('message', (task: Task) => {
  perform(task).then(
    (result) => process.send?.({ result }),
    (error: Error) => process.send?.({ error: error.stack ?? error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
