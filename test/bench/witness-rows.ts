/**
 * How many cosignatures does a witness of 4,000 logs make in a second? Each request is a checkpoint that continues
 * the last one of its log, with a proof of some twenty hashes; each answer comes after the commit. Once with Ed25519
 * alone, and once with ML-DSA-44 beside it, which is bound by what signing costs: that is measured beside it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PER_DAY_MAX } from '../../server/core/log-list.ts';
import { createMldsaKeyFile, openMldsaKeyFile } from '../../server/keys/mldsa.ts';
import { type Generator, Server } from './children.ts';
import type { Row } from './report.ts';
import type { Sizes } from './sizes.ts';
import { runsOf } from './stats.ts';
import type { Load } from './task.ts';
import { keyOf } from './witnessed-logs.ts';

const LOGS = 4_000;
const CLIENTS = 64;

export async function witnessRows(
  folder: string,
  generator: Generator,
  sizes: Pick<Sizes, 'runs' | 'witnessRounds'>,
  progress: (what: string) => void,
): Promise<Row[]> {
  mkdirSync(folder);
  const list = join(folder, 'logs.txt');
  const keys = Array.from({ length: LOGS }, (_, log) => keyOf(log).text);
  const stanzas = keys.map((key) => `vkey ${key}\nqpd ${PER_DAY_MAX}\ncontact bench\n`);
  writeFileSync(list, ['logs/v0\n', ...stanzas].join('\n'));
  const rows: Row[] = [];
  for (const mldsa of [false, true]) {
    const own = join(folder, String(mldsa));
    mkdirSync(own);
    progress(`witness${mldsa ? ', with ML-DSA-44' : ''}`);
    rows.push(...(await measure(own, generator, sizes, { list, mldsa })));
  }
  rows.push({
    what: 'ML-DSA-44 signatures alone, in the library’s threads',
    unit: '/s',
    figure: runsOf([await signingRate(folder)]),
  });
  return rows;
}

async function measure(
  folder: string,
  generator: Generator,
  { runs, witnessRounds: rounds }: Pick<Sizes, 'runs' | 'witnessRounds'>,
  { list, mldsa }: { readonly list: string; readonly mldsa: boolean },
): Promise<Row[]> {
  const env = {
    STELE_WITNESS_NAME: 'witness.example/bench',
    STELE_WITNESS_LISTS: list,
    STELE_WITNESS_MLDSA: String(mldsa),
  };
  const server = await Server.start({ command: 'serve', folder, env });
  try {
    const task = { do: 'witness', url: server.url, logs: LOGS, clients: CLIENTS } as const;
    const rates: number[] = [];
    const p99s: number[] = [];
    const cpu: number[] = [];
    // The first run is that of logs that were never seen.
    for (let run = 0; run <= runs; run++) {
      const before = server.cpuMs() ?? Number.NaN;
      const { count, seconds, ms } = await generator.run<Load>({
        ...task,
        fresh: run === 0,
        rounds: run === 0 ? 1 : rounds,
      });
      if (run === 0) continue;
      rates.push(count / seconds);
      p99s.push(ms.p99);
      cpu.push((((server.cpuMs() ?? Number.NaN) - before) * 1_000) / count);
    }
    const of = `${LOGS.toLocaleString('en-US')} logs, ${mldsa ? 'Ed25519 and ML-DSA-44' : 'Ed25519'}`;
    return [
      {
        what: `cosignatures of a witness, ${of}`,
        unit: '/s',
        figure: runsOf(rates),
        ...(mldsa ? {} : { target: { at: 'least', value: 2_500 } as const }),
        serverUs: runsOf(cpu).median,
      },
      { what: `the same, ${CLIENTS} clients, p99`, unit: 'ms', figure: runsOf(p99s) },
    ];
  } finally {
    await server.stop();
  }
}

async function signingRate(folder: string): Promise<number> {
  const path = join(folder, 'alone.pem');
  createMldsaKeyFile(path);
  const signer = await openMldsaKeyFile(path);
  const message = new Uint8Array(128);
  const count = 1_000;
  const begun = performance.now();
  for (let done = 0; done < count; done += 100) {
    await Promise.all(Array.from({ length: 100 }, () => signer.sign(message)));
  }
  return count / ((performance.now() - begun) / 1_000);
}
