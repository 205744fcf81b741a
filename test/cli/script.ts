/**
 * Text scripts: what is typed, what comes back, and the exit status.
 *
 *     # The first comment says what the script shows.
 *     $ stele get 0 --raw > genesis
 *     $ stele verify receipt.json --trust trust.json
 *     valid  receipt  <any>
 *     …
 *     ? 0
 *
 * `stele` runs in this process; `stele up &` runs until `stop`, which ends what was started last. `call`
 * sends one chat completion through the proxy of a data folder, with the token in a file if one is named, and keeps
 * the id of its record as $ID;
 * $SERVER is the address of the log, `GET` asks it for something, and `export` sets a variable. Anything
 * else is a line for the shell. Each line of output must be there, in order, standard error included; "…"
 * stands for any number of lines, and <any>, <n>, <hex>, <base64>, <uuid> and <time> for such text.
 * Without "?" the status is 0.
 */
import { execFile } from 'node:child_process';
import { createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCli, type Starters } from '../../server/cli/program.ts';
import { readRunning } from '../../server/cli/running.ts';
import type { World } from '../../server/cli/terminal.ts';

export interface Step {
  readonly line: number;
  readonly command: string;
  readonly expected: readonly string[];
  readonly status: number;
}

export function parseScript(text: string): { readonly title: string; readonly steps: Step[] } {
  const steps: Step[] = [];
  let step: { line: number; command: string; expected: string[]; status: number } | undefined;
  let title = '';
  for (const [i, line] of text.split('\n').entries()) {
    if (line.startsWith('#')) title ||= line.slice(1).trim();
    else if (line.startsWith('$ ')) {
      step = { line: i + 1, command: line.slice(2), expected: [], status: 0 };
      steps.push(step);
    } else if (line.startsWith('? ') && step !== undefined) step.status = Number(line.slice(2));
    else if (step !== undefined) step.expected.push(line);
  }
  // Blank lines between commands are for the reader.
  const trimmed = steps.map((s) => ({
    ...s,
    expected: s.expected
      .join('\n')
      .replace(/^\n+|\n+$/g, '')
      .split('\n')
      .filter((l, _, all) => all.length > 1 || l !== ''),
  }));
  return { title, steps: trimmed };
}

const PLACEHOLDERS: Readonly<Record<string, string>> = {
  any: '.*',
  n: '[0-9]+',
  hex: '[0-9a-f]+',
  base64: '[A-Za-z0-9+/=_-]+',
  uuid: '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}',
  time: '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z',
};

/** Whether the lines are as expected. */
export function matches(expected: readonly string[], lines: readonly string[]): boolean {
  const [first, ...rest] = expected;
  if (first === undefined) return lines.length === 0;
  if (first === '…') {
    for (let at = 0; at <= lines.length; at++) if (matches(rest, lines.slice(at))) return true;
    return false;
  }
  const [line, ...others] = lines;
  return line !== undefined && patternOf(first).test(line) && matches(rest, others);
}

function patternOf(line: string): RegExp {
  const parts = line.split(/<(any|n|hex|base64|uuid|time)>/);
  const source = parts.map((part, i) =>
    i % 2 === 1 ? PLACEHOLDERS[part] : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
  );
  return new RegExp(`^${source.join('')}$`, 'u');
}

export interface Outcome {
  readonly status: number;
  readonly output: string;
}

/** A folder, an environment and a server, for one script. */
export class Shell {
  readonly #cwd: string;
  readonly #env: Record<string, string>;
  readonly #starters: Starters;
  readonly #up: { readonly stop: AbortController; readonly ended: Promise<Outcome> }[] = [];

  constructor(cwd: string, env: Readonly<Record<string, string>>, starters: Starters) {
    this.#cwd = cwd;
    this.#env = { ...env };
    this.#starters = starters;
  }

  async run(command: string): Promise<Outcome> {
    const [name] = command.split(' ');
    if (name === 'stop') return this.#stop();
    if (name === 'call') return this.#call(...command.split(' ').slice(1));
    if (name === 'export') return this.#export(command.slice('export '.length));
    if (name !== 'stele' && name !== 'GET') return this.#shell(command);
    const { words, input, output, background } = parseCommand(command, this.#variables());
    if (background) return this.#start(words.slice(1));
    const outcome =
      name === 'GET' ? await this.#get(words[1] ?? '') : await this.stele(words.slice(1), input);
    if (output === undefined) return { status: outcome.status, output: outcome.output };
    writeFileSync(join(this.#cwd, output), outcome.bytes);
    return { status: outcome.status, output: outcome.errors };
  }

  /** Ends what still runs. */
  async close(): Promise<void> {
    while (this.#up.length > 0) await this.#stop();
  }

  async stele(argv: readonly string[], input?: string) {
    const bytes: Uint8Array[] = [];
    const all: string[] = [];
    const errors: string[] = [];
    const status = await runCli(
      argv,
      this.#world(new AbortController().signal, {
        out: (text) => {
          bytes.push(Buffer.from(text));
          all.push(Buffer.from(text).toString('utf8'));
        },
        err: (text) => {
          errors.push(text);
          all.push(text);
        },
        stdin: () => createReadStream(join(this.#cwd, input ?? 'no-input')),
      }),
      this.#starters,
    );
    const output = all.join('');
    return { status, output, errors: errors.join(''), bytes: Buffer.concat(bytes) };
  }

  /** Starts a server and resolves once it says that it is running, or has failed. */
  async #start(argv: readonly string[]): Promise<Outcome> {
    const stop = new AbortController();
    const said: string[] = [];
    let ready: () => void = () => {};
    const running = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const say = (text: string | Uint8Array) => {
      said.push(Buffer.from(text).toString('utf8'));
      if (said.join('').includes('Ctrl-C stops it.')) ready();
    };
    const world = this.#world(stop.signal, { out: say, err: say, stdin: noInput });
    const ended = runCli(argv, world, this.#starters).then((status) => ({
      status,
      output: said.splice(0).join(''),
    }));
    const failed = await Promise.race([running.then(() => undefined), ended]);
    if (failed !== undefined) return failed;
    this.#up.push({ stop, ended });
    return { status: 0, output: said.splice(0).join('') };
  }

  async #stop(): Promise<Outcome> {
    const up = this.#up.pop();
    up?.stop.abort();
    return (await up?.ended) ?? { status: 2, output: 'nothing runs\n' };
  }

  async #call(folder = 'stele-data', tokenFile?: string): Promise<Outcome> {
    const token =
      tokenFile === undefined
        ? 'sk-planted-secret'
        : readFileSync(join(this.#cwd, tokenFile), 'utf8').trim();
    const running = readRunning(join(this.#cwd, folder));
    const answer = await fetch(`${running?.proxy}/openai/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: '{"model":"gpt-x","messages":[{"role":"user","content":"Say hello."}]}',
    });
    const output = `${await answer.text()}\n`;
    this.#env.ID = answer.headers.get('x-stele-record-id') ?? '';
    return { status: answer.ok ? 0 : 1, output };
  }

  #export(line: string): Outcome {
    const [, name = '', value = ''] = /^([A-Z_]+)=(.*)$/.exec(line) ?? [];
    this.#env[name] = filled(value, this.#variables());
    return { status: 0, output: '' };
  }

  async #get(path: string) {
    const answer = await fetch(`${this.#variables().SERVER}${path}`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    return { status: answer.ok ? 0 : 1, output: bytes.toString(), errors: '', bytes };
  }

  #shell(line: string): Promise<Outcome> {
    const options = { cwd: this.#cwd, env: { PATH: process.env.PATH ?? '', ...this.#variables() } };
    return new Promise((resolve) => {
      execFile('/bin/sh', ['-c', line], options, (error, out, err) => {
        resolve({ status: error === null ? 0 : Number(error.code ?? 1), output: out + err });
      });
    });
  }

  /** What a line may name: the environment, $ID, and $SERVER. */
  #variables(): Record<string, string> {
    return { ...this.#env, SERVER: readRunning(join(this.#cwd, 'stele-data'))?.server ?? '' };
  }

  #world(interrupted: AbortSignal, io: Pick<World, 'out' | 'err' | 'stdin'>): World {
    const { ID: _, ...env } = this.#env;
    return { env, cwd: this.#cwd, isTerminal: false, now: () => Date.now(), interrupted, ...io };
  }
}

async function* noInput(): AsyncGenerator<Uint8Array> {}

/** Words with quotes and $NAME, `< file`, `> file`, and `&` at the end. */
function parseCommand(command: string, env: Readonly<Record<string, string>>) {
  const words = [...command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, plain]) => single ?? filled(double ?? plain ?? '', env),
  );
  const background = words.at(-1) === '&';
  if (background) words.pop();
  const take = (mark: string) => {
    const at = words.indexOf(mark);
    return at < 0 ? undefined : words.splice(at, 2)[1];
  };
  return { input: take('<'), output: take('>'), words, background };
}

function filled(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$([A-Z]+)/g, (_, name: string) => env[name] ?? '');
}
