/**
 * A log that has grown: does its size cost anything (P12)? Filled by batches in windows, then started
 * again, measured on disk, and audited.
 */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { runCommand, Server } from './children.ts';
import { BATCH_CLIENTS, BATCH_ENTRIES, LOG, type LogUnderLoad } from './log-rows.ts';
import type { Row } from './report.ts';
import { runsOf } from './stats.ts';

/** Batches between two looks at the rate: what the generator makes beforehand lies in its memory. */
const STEP_BATCHES = 128;

const STARTS = 3;

/** The rate of signatures and records is that of the signatures; the tree alone has a target. */
const AUDITS = [
  { what: 'audit of the tree', flags: ['--tree-only'], least: 100_000 },
  { what: 'audit of everything', flags: [], least: undefined },
];

/** Fills the log up to about `entries`, and says what became of the rate on the way. */
export async function fill(load: LogUnderLoad, entries: number): Promise<Row[]> {
  const rates: number[] = [];
  while ((await load.head()).size < entries) {
    const { count, seconds } = await load.run({
      do: 'batches',
      clients: BATCH_CLIENTS,
      count: STEP_BATCHES,
      entries: BATCH_ENTRIES,
      windows: true,
    });
    rates.push(count / seconds);
  }
  // Thirds, so that a slow moment of the machine is not taken for a trend.
  const third = Math.floor(rates.length / 3);
  if (third === 0) return [];
  const ratio = runsOf(rates.slice(-third)).median / runsOf(rates.slice(0, third)).median;
  return [
    {
      what: `append rate, last third of ${(await load.head()).size} entries against the first`,
      unit: 'ratio',
      figure: runsOf([ratio]),
      target: { at: 'least', value: 0.9 },
    },
  ];
}

/** The log in `folder`, whose server has been stopped. */
export async function restRows(folder: string, progress: (what: string) => void): Promise<Row[]> {
  const path = join(folder, 'data', 'logs', `${LOG}.db`);
  const { size, bytes } = entriesOf(path);
  const rows: Row[] = [];

  progress('start');
  const starts: number[] = [];
  const resident: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const server = await Server.start({ command: 'serve', folder });
    starts.push(server.startMs / 1_000);
    const now = server.residentBytes();
    if (now !== undefined) resident.push(now / 2 ** 20);
    await server.stop();
  }
  const of = `${size.toLocaleString('en-US')} entries`;
  rows.push({
    what: `start to first answer, ${of}`,
    unit: 's',
    figure: runsOf(starts),
    target: { at: 'most', value: 2 },
  });
  rows.push({
    what: `resident memory after the start, ${of}`,
    unit: 'MiB',
    figure: runsOf(resident),
    target: { at: 'most', value: 286 },
  });
  rows.push({
    what: 'stored beyond the entry itself',
    unit: 'bytes/entry',
    figure: runsOf([(statSync(path).size - bytes) / size]),
    target: { at: 'most', value: 100 },
  });

  for (const { what, flags, least } of AUDITS) {
    progress(what);
    const args = ['audit', '--files', '--data', join(folder, 'data'), '--json', ...flags];
    const { status, output, seconds } = await runCommand(args, {
      STELE_STATE: join(folder, 'state'),
    });
    if (status !== 0) throw new Error(`${what} ended with ${status}: ${output.slice(-2_000)}`);
    rows.push({
      what: `${what}, the command from start to end`,
      unit: 'entries/s',
      figure: runsOf([size / seconds]),
      ...(least === undefined ? {} : { target: { at: 'least', value: least } }),
    });
  }
  return rows;
}

function entriesOf(path: string): { readonly size: number; readonly bytes: number } {
  const db = new Database(path, { readonly: true });
  try {
    return db
      .prepare('SELECT sum(count) AS size, sum(length(data) - 2 * count) AS bytes FROM chunk')
      .get() as { size: number; bytes: number };
  } finally {
    db.close();
  }
}
