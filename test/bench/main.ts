/**
 * How fast is it, here and now?
 *
 *     npm run bench                    everything, a quarter of an hour
 *     npm run bench -- quick           everything, smaller, about a minute
 *     npm run bench -- log|logs|proxy|proxy-memory|ingest|witness
 *                                    one part; with "quick" a quick one
 *       --json FILE                    writes the figures there too
 *       --folder DIR                   where to put the data: a folder on the disk to be measured
 *       --profiles DIR                 writes processor profiles of the server there
 *
 * The server, the load generator and the model are processes of their own on this machine; they talk over
 * loopback only, and their data goes away at the end. docs/benchmarks.md says what the rows mean.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { useNativePrimitives } from '../../server/native.ts';
import { Generator, Server, Upstream } from './children.ts';
import { fill, restRows } from './growth-rows.ts';
import { ingestRows } from './ingest-rows.ts';
import { LogUnderLoad, logRows } from './log-rows.ts';
import { logsRows } from './logs-rows.ts';
import { LargeModel, memoryRows } from './memory-rows.ts';
import { measureParts } from './parts.ts';
import { proxyRows } from './proxy-rows.ts';
import { PUBLISHED } from './published.ts';
import { describeMachine, formatReport, type Report, type Row } from './report.ts';
import { SIZES } from './sizes.ts';
import { witnessRows } from './witness-rows.ts';

const PARTS = ['log', 'logs', 'proxy', 'proxy-memory', 'ingest', 'witness'] as const;
const WORDS = ['quick', ...PARTS] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    folder: { type: 'string' },
    profiles: { type: 'string' },
  },
});
const unknown = positionals.find((word) => !(WORDS as readonly string[]).includes(word));
if (unknown !== undefined) throw new Error(`${unknown} is none of ${WORDS.join(', ')}`);
const has = (word: (typeof WORDS)[number]) => positionals.includes(word);
const wants = (part: (typeof PARTS)[number]) => has(part) || !PARTS.some(has);
const sizes = has('quick') ? SIZES.quick : SIZES.full;

useNativePrimitives();
const machine = describeMachine();
const folder = mkdtempSync(join(values.folder ?? tmpdir(), 'stele-bench-'));
const generator = new Generator();
const upstream = new Upstream();

async function benchLog(): Promise<Row[]> {
  const own = { folder: join(folder, 'log') };
  mkdirSync(own.folder);
  const server = await Server.start({ command: 'serve', profiles: values.profiles, ...own });
  let rows: Row[];
  try {
    const load = await LogUnderLoad.begin(server, generator);
    rows = await logRows(load, sizes, progress);
    progress('filling');
    rows.push(...(await fill(load, sizes.logEntries)));
  } finally {
    await server.stop();
  }
  return [...rows, ...(await restRows(own.folder, progress))];
}

function benchLogs(): Promise<Row[]> {
  const folders = { many: join(folder, 'many'), none: join(folder, 'none') };
  for (const path of Object.values(folders)) mkdirSync(path);
  return logsRows(folders, sizes.logs, progress);
}

async function benchProxy(model: string): Promise<Row[]> {
  const own = { folder: join(folder, 'proxy') };
  mkdirSync(own.folder);
  const env = { STELE_UPSTREAM_OPENAI: `${model}/v1` };
  const server = await Server.start({ command: 'up', env, profiles: values.profiles, ...own });
  try {
    return await proxyRows({ server, generator, model }, sizes, progress);
  } finally {
    await server.stop();
  }
}

async function benchMemory(): Promise<Row[]> {
  const own = { folder: join(folder, 'memory') };
  mkdirSync(own.folder);
  const large = new LargeModel();
  const env = { STELE_UPSTREAM_OPENAI: `${await large.listen()}/v1` };
  const server = await Server.start({ command: 'up', env, profiles: values.profiles, ...own });
  try {
    return await memoryRows({ server, model: large }, { runs: 3, ...sizes.memory }, progress);
  } finally {
    await server.stop();
    large.close();
  }
}

async function benchIngest(): Promise<Row[]> {
  const own = { folder: join(folder, 'ingest') };
  mkdirSync(own.folder);
  const server = await Server.start({ command: 'serve', profiles: values.profiles, ...own });
  try {
    return await ingestRows(server, generator, sizes, progress);
  } finally {
    await server.stop();
  }
}

function progress(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what} …`);
}

try {
  const { echo, model } = await upstream.addresses();
  progress('parts');
  const parts = await measureParts(folder, generator, echo);
  const rows: Row[] = [];
  if (wants('log')) rows.push(...(await benchLog()));
  if (wants('logs')) rows.push(...(await benchLogs()));
  if (wants('proxy')) rows.push(...(await benchProxy(model)));
  if (wants('proxy-memory')) rows.push(...(await benchMemory()));
  if (wants('ingest')) rows.push(...(await benchIngest()));
  if (wants('witness')) {
    rows.push(...(await witnessRows(join(folder, 'witness'), generator, sizes, progress)));
  }
  progress('');
  const report: Report = {
    date: new Date().toISOString(),
    mode: positionals.length === 0 ? 'full' : positionals.join(' '),
    machine,
    parts,
    rows,
    ...(wants('proxy') ? { published: PUBLISHED } : {}),
  };
  process.stdout.write(`\n${formatReport(report)}`);
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
  }
} finally {
  await generator.stop();
  await upstream.stop();
  rmSync(folder, { recursive: true, force: true });
}
