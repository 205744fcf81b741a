/**
 * A log under load: a real server with a folder of its own, every commit synced, every signature checked.
 *
 * Each row is warmed up once, then run a few times. After every run of submissions the log must have
 * grown by exactly what was sent, and one receipt is verified offline.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseTrust } from '../../server/core/trust.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import type { Generator, Server } from './children.ts';
import type { Row } from './report.ts';
import type { Sizes } from './sizes.ts';
import { runsOf } from './stats.ts';
import type { Begun, Load, Task } from './task.ts';

export const LOG = 'default';

/** Entries in a batch, and clients that send batches. */
export const BATCH_ENTRIES = 256;
export const BATCH_CLIENTS = 4;

type CountedTask = Extract<Task, { readonly count: number }>;

interface TreeHead {
  readonly origin: string;
  readonly size: number;
}

export class LogUnderLoad {
  readonly #server: Server;
  readonly #generator: Generator;

  /** Registers the generator's key with the log. */
  static async begin(server: Server, generator: Generator): Promise<LogUnderLoad> {
    const load = new LogUnderLoad(server, generator);
    const { origin } = await load.head();
    const target = { url: server.url, log: LOG, origin, token: server.token('submit') };
    const { spki } = await generator.run<Begun>({ do: 'begin', target });
    const answer = await fetch(`${server.url}/v1/admin/logs/${LOG}/gateways`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.token('admin')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ key: spki }),
    });
    if (!answer.ok) throw new Error(`the key was not registered: ${await answer.text()}`);
    await answer.arrayBuffer();
    return load;
  }

  private constructor(server: Server, generator: Generator) {
    this.#server = server;
    this.#generator = generator;
  }

  async head(): Promise<TreeHead> {
    const answer = await fetch(`${this.#server.url}/logs/${LOG}/v1/tree-head`);
    return (await answer.json()) as TreeHead;
  }

  /** One run; the server's share of the processor is per entry or request. */
  async run(task: Task): Promise<Load & { readonly serverUs: number | undefined }> {
    const { size } = await this.head();
    const before = this.#server.cpuMs();
    const load = await this.#generator.run<Load>(task);
    const after = this.#server.cpuMs();
    const grown = (await this.head()).size - size;
    const submitted = task.do === 'inclusion' || task.do === 'checkpoint' ? 0 : load.count;
    if (grown !== submitted) throw new Error(`${submitted} entries were answered, ${grown} logged`);
    if (load.receipt !== undefined) this.#checkReceipt(load.receipt);
    const cpu = before === undefined || after === undefined ? undefined : after - before;
    return { ...load, serverUs: cpu && (cpu * 1_000) / load.count };
  }

  /** A warm-up of a tenth, then `runs` runs. */
  async runs(task: CountedTask, runs: number) {
    await this.run({ ...task, count: Math.max(64, Math.ceil(task.count / 10)) });
    const loads: (Load & { readonly serverUs: number | undefined })[] = [];
    while (loads.length < runs) loads.push(await this.run(task));
    return loads;
  }

  #checkReceipt(receipt: string): void {
    const trust = parseTrust(new Uint8Array(readFileSync(join(this.#server.data, 'trust.json'))));
    const verdict = verifyReceipt(new Uint8Array(Buffer.from(receipt)), trust);
    if (!verdict.holds)
      throw new Error(`a receipt does not hold: ${JSON.stringify(verdict.steps)}`);
  }
}

function serverUs(loads: readonly { readonly serverUs: number | undefined }[]) {
  const known = loads.flatMap((load) => load.serverUs ?? []);
  return known.length === 0 ? {} : { serverUs: runsOf(known).median };
}

export async function logRows(
  load: LogUnderLoad,
  sizes: Sizes,
  progress: (what: string) => void,
): Promise<Row[]> {
  const rows: Row[] = [];
  const targets = [
    [2, 8],
    [undefined, 10],
    [undefined, 25],
  ] as const;
  for (const [i, rate] of [50, 1_000, 2_000].entries()) {
    const what = `one signed entry to durable receipt, open loop ${rate}/s`;
    progress(what);
    const count = Math.ceil(rate * (sizes.openLoopSeconds[i] ?? 1));
    const loads = await load.runs({ do: 'open-loop', rate, count }, sizes.runs);
    for (const [j, share] of (['p50', 'p99'] as const).entries()) {
      const most = targets[i]?.[j];
      rows.push({
        what: `${what}, ${share}`,
        unit: 'ms',
        figure: runsOf(loads.map(({ ms }) => ms[share])),
        ...(most === undefined ? {} : { target: { at: 'most', value: most } }),
        ...(j === 0 ? serverUs(loads) : {}),
      });
    }
  }

  const rated = async (what: string, unit: string, least: number, task: CountedTask) => {
    progress(what);
    const loads = await load.runs(task, sizes.runs);
    const figure = runsOf(loads.map(({ count, seconds }) => count / seconds));
    rows.push({ what, unit, figure, target: { at: 'least', value: least }, ...serverUs(loads) });
    return loads;
  };
  const singles = await rated('single signed entries, 64 clients', 'entries/s', 8_000, {
    do: 'singles',
    clients: 64,
    count: sizes.singles,
  });
  rows.push({
    what: 'single signed entries, 64 clients, p99',
    unit: 'ms',
    figure: runsOf(singles.map(({ ms }) => ms.p99)),
    target: { at: 'most', value: 40 },
  });
  const batch = { do: 'batches', clients: BATCH_CLIENTS, entries: BATCH_ENTRIES } as const;
  await rated('batches of 256, a signature each', 'entries/s', 18_000, {
    ...batch,
    count: sizes.batches,
    windows: false,
  });
  await rated('batches of 256 in windows', 'entries/s', 50_000, {
    ...batch,
    count: sizes.windows,
    windows: true,
  });
  const { size } = await load.head();
  await rated('inclusion proofs', 'requests/s', 12_000, {
    do: 'inclusion',
    clients: 32,
    count: sizes.reads,
    size,
  });
  await rated('checkpoints', 'requests/s', 20_000, {
    do: 'checkpoint',
    clients: 32,
    count: sizes.reads,
  });
  return rows;
}
