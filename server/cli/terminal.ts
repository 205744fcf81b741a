/**
 * What a command sees of the world, and how it speaks to people: plain aligned lines, or JSON.
 */
import { SteleError } from '../core/errors.ts';
import { ADVICE, Unusable } from './exit.ts';

/** The process around a command; tests give their own. */
export interface World {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Whether standard error is a terminal: progress is shown only there. */
  readonly isTerminal: boolean;
  readonly out: (text: string | Uint8Array) => void;
  readonly err: (text: string) => void;
  readonly stdin: () => AsyncIterable<Uint8Array>;
  readonly now: () => number;
  /** Aborted at the first interrupt. A second one ends the process without asking anyone. */
  readonly interrupted: AbortSignal;
}

export interface Voice {
  /**
   * Lines for people. Nothing where JSON was asked for. What strangers wrote may be in them: characters
   * that would move the cursor or reorder text are shown as U+FFFD.
   */
  say(...lines: readonly string[]): void;
  /** The result, where JSON was asked for. */
  json(value: unknown): void;
  /** A line that replaces itself, on a terminal only; empty to take it away. */
  progress(line: string): void;
}

export function voiceOf(world: World, json: boolean): Voice {
  let shown = 0;
  const progress = (line: string) => {
    if (!world.isTerminal || json || (line === '' && shown === 0)) return;
    world.err(`\r${line.padEnd(shown)}${line === '' ? '\r' : ''}`);
    shown = line.length;
  };
  return {
    say: (...lines) => {
      progress('');
      if (!json) for (const line of lines) world.out(`${visible(line)}\n`);
    },
    json: (value) => {
      if (json) world.out(`${JSON.stringify(value)}\n`);
    },
    progress,
  };
}

/** Rows with their columns aligned; the last column is left as it is. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** One line for an error: what, value, rule, and what to do where we know. */
export function lineOf(error: unknown): string {
  if (error instanceof SteleError) {
    const advice = ADVICE[error.code];
    const again = error.retryAfterS === undefined ? '' : ` (again in ${error.retryAfterS} s)`;
    return oneLine(`${error.message}${advice === undefined ? '' : `; ${advice}`}${again}`);
  }
  if (error instanceof Unusable) return oneLine(error.message);
  const message = error instanceof Error ? error.message : String(error);
  const system = error instanceof Error && 'syscall' in error;
  return oneLine(system ? message : `unexpected: ${message}`);
}

/** A line with every control and format character made visible; tabs stay. */
function visible(line: string): string {
  return line.replace(/[^\P{C}\t]/gu, '\uFFFD');
}

/** A message from outside must not move the cursor or add lines. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Z}]+/gu, ' ').trim();
}
