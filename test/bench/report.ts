/** How are the figures shown? As a table for people, and as JSON for whoever compares two of them. */
import { cpus, loadavg, totalmem } from 'node:os';
import type { Parts } from './parts.ts';
import type { Published } from './published.ts';
import type { Runs } from './stats.ts';

export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly figure: Runs;
  readonly target?: { readonly at: 'least' | 'most'; readonly value: number };
  /** Microseconds of the server's processor time for one of them: says more than a rate on a busy machine. */
  readonly serverUs?: number | undefined;
}

export interface Report {
  readonly date: string;
  readonly mode: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGiB: number;
    readonly node: string;
    /** Programs that wanted a processor when the run began: over 0, others are measured too. */
    readonly loadBefore: number;
  };
  readonly parts: Parts;
  readonly rows: readonly Row[];
  /** What others say that their gateways add. */
  readonly published?: readonly Published[];
}

export function describeMachine(): Report['machine'] {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    loadBefore: loadavg()[0] ?? 0,
  };
}

/** Whether the median meets the target. */
function verdict({ figure, target }: Row): string {
  if (target === undefined) return '';
  const meets =
    target.at === 'least' ? figure.median >= target.value : figure.median <= target.value;
  return `${target.at === 'least' ? '≥' : '≤'} ${number(target.value)} ${meets ? 'met' : 'missed'}`;
}

function number(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en-US');
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(value < 10 ? 2 : 1);
}

export function formatReport(report: Report): string {
  const { machine } = report;
  const lines = [
    `Stele bench, ${report.mode}, ${report.date}`,
    `${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, Node ${machine.node}, load before ${number(machine.loadBefore)}`,
    '',
    'What the parts allow, measured in the same run:',
    ...aligned(
      Object.entries(report.parts).map(([what, value]) => [
        `  ${what}`,
        typeof value === 'number' ? number(value) : String(value),
      ]),
    ),
    '',
    ...aligned([
      ['what', 'unit', 'min', 'median', 'max', 'runs', 'server µs each', 'target'],
      ...report.rows.map((row) => [
        row.what,
        row.unit,
        number(row.figure.min),
        number(row.figure.median),
        number(row.figure.max),
        String(row.figure.runs),
        row.serverUs === undefined ? '' : number(row.serverUs),
        verdict(row),
      ]),
    ]),
    ...publishedLines(report.published ?? []),
  ];
  return `${lines.join('\n')}\n`;
}

function publishedLines(published: readonly Published[]): string[] {
  if (published.length === 0) return [];
  return [
    '',
    'What others say that their gateways add, by their own methods and not by this one:',
    ...published.flatMap(({ who, figure, method }) => [`  ${who}: ${figure}`, `    ${method}`]),
  ];
}

/** Columns, the first two to the left and figures to the right. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const width = widths[i] ?? 0;
        const isText = i === 0 || (row.length > 2 && (i === 1 || i === row.length - 1));
        return isText ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
}
