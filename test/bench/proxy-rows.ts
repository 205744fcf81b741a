/**
 * The proxy in the way: a real `stele up` before a model that answers after a fixed time. Everything is
 * on: capture, spool and fsync, sealing, signing, and the log in the same process.
 */
import type { Generator, Server } from './children.ts';
import { LOG } from './log-rows.ts';
import type { Row } from './report.ts';
import type { Sizes } from './sizes.ts';
import { runsOf } from './stats.ts';
import type { Calls, CallTimes, Crowd } from './task.ts';

const RATE = 100;

/** Clients of a crowd. */
const CLIENTS = 64;

const MIB = 1_048_576;

/** How often a receipt is waited for, 20 seconds each, before its record is lost. */
const PATIENCE = 6;

/** Receipts asked for at once. */
const LOOKS = 16;

export interface ProxyBench {
  readonly server: Server;
  readonly generator: Generator;
  /** Address of the model. */
  readonly model: string;
}

export async function proxyRows(
  { server, generator, model }: ProxyBench,
  { runs, callSeconds: seconds, crowdCalls, heldStreams }: Sizes,
  progress: (what: string) => void,
): Promise<Row[]> {
  if (server.proxy === undefined) throw new Error('the server has a proxy');
  const rows: Row[] = [];
  let calls = 0;
  let lost = 0;
  // Before anything else, while the process is small; once warm, so that what stays is not counted.
  await generator.run<Crowd>({
    do: 'crowd',
    proxied: server.proxy,
    clients: CLIENTS,
    count: 4 * CLIENTS,
    stream: true,
  });
  progress(`proxy, ${heldStreams} streams open at once`);
  const idle = server.residentBytes();
  await generator.run<Crowd>({ do: 'hold', proxied: server.proxy, count: heldStreams });
  const open = server.residentBytes();
  const streams = await generator.run<Crowd>({ do: 'release', model });
  calls += streams.recordIds.length;
  lost += await countLost(server, streams.recordIds);
  for (const stream of [true, false]) {
    const kind = stream ? 'streaming' : 'not streaming';
    progress(`proxy, ${kind}`);
    const task = { do: 'calls', direct: model, proxied: server.proxy, rate: RATE, stream } as const;
    await generator.run<Calls>({ ...task, count: RATE / 2 });
    const done: Calls[] = [];
    const serverUs: number[] = [];
    while (done.length < runs) {
      const before = server.cpuMs();
      const run = await generator.run<Calls>({ ...task, count: Math.ceil(RATE * seconds) });
      const after = server.cpuMs();
      done.push(run);
      if (before !== undefined && after !== undefined) {
        serverUs.push(((after - before) * 1_000) / run.recordIds.length);
      }
      calls += run.recordIds.length;
      lost += await countLost(server, run.recordIds);
    }
    const added = (which: keyof CallTimes, share: 'p50' | 'p99') =>
      runsOf(done.map(({ direct, proxied }) => proxied[which][share] - direct[which][share]));
    const what = `proxy, ${kind}, ${RATE}/s`;
    rows.push(
      {
        what: `${what}: added to the first byte, p50`,
        unit: 'ms',
        figure: added('first', 'p50'),
        target: { at: 'most', value: 2 },
        ...(serverUs.length === 0 ? {} : { serverUs: runsOf(serverUs).median }),
      },
      {
        what: `${what}: added to the first byte, p99`,
        unit: 'ms',
        figure: added('first', 'p99'),
        target: { at: 'most', value: 10 },
      },
      { what: `${what}: added to the whole, p50`, unit: 'ms', figure: added('total', 'p50') },
      { what: `${what}: added to the whole, p99`, unit: 'ms', figure: added('total', 'p99') },
    );
  }
  for (const stream of [true, false]) {
    const kind = stream ? 'streaming' : 'not streaming';
    progress(`proxy, ${kind}, ${CLIENTS} clients`);
    const task = { do: 'crowd', proxied: server.proxy, clients: CLIENTS, stream } as const;
    await generator.run<Crowd>({ ...task, count: CLIENTS });
    const rates: number[] = [];
    const behind: number[] = [];
    const serverUs: number[] = [];
    while (rates.length < runs) {
      const before = server.cpuMs();
      const run = await generator.run<Crowd>({ ...task, count: crowdCalls });
      const ended = performance.now();
      lost += await countLost(server, run.recordIds.slice(-1));
      behind.push((performance.now() - ended) / 1_000);
      const after = server.cpuMs();
      if (before !== undefined && after !== undefined) {
        serverUs.push(((after - before) * 1_000) / run.recordIds.length);
      }
      rates.push(run.recordIds.length / run.seconds);
      calls += run.recordIds.length;
      lost += await countLost(server, run.recordIds.slice(0, -1));
    }
    const what = `proxy, ${kind}, ${CLIENTS} clients`;
    const median = runsOf(serverUs).median;
    rows.push(
      {
        what: `${what}: calls`,
        unit: '/s',
        figure: runsOf(rates),
        ...(serverUs.length === 0 ? {} : { serverUs: median }),
      },
      { what: `${what}: until the last is logged`, unit: 's', figure: runsOf(behind) },
    );
  }
  if (idle !== undefined && open !== undefined) {
    rows.push(
      {
        what: `resident memory, ${heldStreams} streams open at once`,
        unit: 'MiB',
        figure: runsOf([open / MIB]),
      },
      { what: 'the same above idle', unit: 'MiB', figure: runsOf([(open - idle) / MIB]) },
    );
  }
  rows.push({
    what: `records lost of ${calls} calls`,
    unit: 'records',
    figure: runsOf([lost]),
    target: { at: 'most', value: 0 },
  });
  return rows;
}

/** How many of these records the log does not have, having been given time to get them. */
async function countLost(server: Server, recordIds: readonly string[]): Promise<number> {
  const left = [...recordIds];
  let lost = 0;
  const look = async (): Promise<void> => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      if (!(await isLogged(server, id))) lost++;
    }
  };
  await Promise.all(Array.from({ length: LOOKS }, look));
  return lost;
}

/** After a crowd the log is behind: a record that it does not have yet is asked for again. */
async function isLogged(server: Server, id: string): Promise<boolean> {
  for (let i = 0; i < PATIENCE; i++) {
    const answer = await fetch(`${server.url}/logs/${LOG}/v1/receipts/${id}?wait=20`, {
      headers: { authorization: `Bearer ${server.token('read')}` },
    });
    await answer.arrayBuffer();
    if (answer.ok) return true;
  }
  return false;
}
