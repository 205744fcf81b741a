/**
 * `stele monitor --demo-fork`: what does it look like when a log shows different people different things?
 *
 * Everything is real and takes place in a temporary folder: a server on loopback with a log of its own, a copy
 * of its data folder that is made to sign too, entries in both, and the monitor that anybody else would run.
 * The one thing that is done for the demonstration is to take from the copy its memory of what was signed,
 * as somebody would who controls the whole machine.
 *
 *     stele-data ──▶ copied ──▶ two servers, one origin, the same keys, another history each
 *
 * Known hole: what a witness and a Rekor log make of it is told and not shown; that needs a second party to run.
 */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FAILS, HOLDS, type Status, Unusable } from './exit.ts';
import { type Cli, runCli, type Starters } from './program.ts';
import { readRunning } from './running.ts';
import type { Voice, World } from './terminal.ts';

/** A start takes a second or two, and a minute where everything is slow. */
const START_MS = 120_000;

export async function demoFork({ world, starters }: Cli, voice: Voice): Promise<Status> {
  const folder = mkdtempSync(join(tmpdir(), 'stele-demo-'));
  const demo = new Demo(folder, world, starters, voice);
  try {
    return await demo.run();
  } finally {
    await demo.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Server {
  readonly stop: AbortController;
  readonly ended: Promise<unknown>;
}

class Demo {
  readonly #folder: string;
  readonly #world: World;
  readonly #starters: Starters;
  readonly #voice: Voice;
  readonly #servers: Server[] = [];

  constructor(folder: string, world: World, starters: Starters, voice: Voice) {
    this.#folder = folder;
    this.#world = world;
    this.#starters = starters;
    this.#voice = voice;
  }

  async run(): Promise<Status> {
    this.#say(
      'A transparency log promises that everybody sees one history. This shows what happens when it',
      'breaks that promise, and who notices. Nothing here touches a log of yours.',
    );
    await this.#begin();
    await this.#watchWell();
    await this.#fork();
    const found = await this.#watchFork();
    this.#say(
      'What to take away',
      '',
      '  Somebody has to remember. The log’s signature alone did not help: both histories have a good one.',
      '  - A monitor that had looked before noticed at once, and so did one that was shown both copies.',
      '  - One that met the second history first, and nothing else, could not know.',
      '  - So heads are shown to others who remember: a witness cosigns a head only if it continues the',
      '    one that it cosigned before, and refuses the second history; an entry in Rekor or a time stamp',
      '    fixes which head there was, for the whole world. Give "stele monitor" those with --witness and',
      '    --trust, and it holds every one of them to what the log shows.',
    );
    this.#voice.json({ noticed: found });
    if (found.rememberer && found.comparer && !found.newcomer) return HOLDS;
    return FAILS;
  }

  async close(): Promise<void> {
    for (const { stop } of this.#servers) stop.abort();
    await Promise.all(this.#servers.map(({ ended }) => ended));
  }

  async #begin(): Promise<void> {
    this.#say('1. A log is set up, and somebody submits to it.');
    await this.#start('honest');
    await this.#stele(
      'log',
      'set',
      'default',
      '--also',
      'text/plain',
      '--data',
      this.#data('honest'),
    );
    await this.#stele('key', 'create', this.#path('gateway.key'));
    await this.#stele(
      ...['gateway', 'register', this.#path('gateway.key.pub'), '--log', 'default'],
      ...['--key', this.#path('gateway.key'), '--data', this.#data('honest')],
    );
    for (const text of ['loan 1: refused', 'loan 2: granted']) await this.#submit('honest', text);
  }

  async #watchWell(): Promise<void> {
    this.#say(
      '2. A monitor looks at it for the first time. It reads every entry, derives the tree again, and',
      '   remembers the head that was signed.',
    );
    const status = await this.#monitor('a', ['honest']);
    if (status !== HOLDS) throw new Unusable('the demonstration failed: a sound log did not hold');
  }

  async #fork(): Promise<void> {
    this.#say(
      '3. The operator turns bad: the data folder is copied, keys and all, and the copy signs as well.',
      '   Stele refuses that by itself, since copies are made by accident; here it is told that no other',
      '   copy runs, and what it remembers outside its folder is taken away.',
    );
    await this.#stopAll();
    cpSync(this.#data('honest'), this.#data('forked'), { recursive: true });
    await this.#stele('restore', '--accept', '--data', this.#data('forked'));
    await this.#start('honest');
    await this.#start('forked');
    await this.#submit('honest', 'loan 3: refused');
    await this.#submit('forked', 'loan 3: granted');
    await this.#submit('forked', 'loan 4: granted');
    this.#say(
      '   Now two servers sign heads of one log, and they differ from the fifth entry on. Each of them',
      '   proves everything that it says to whoever sees it alone.',
    );
  }

  async #watchFork() {
    this.#say('4. The monitor looks again, and the log is as it was, and longer:');
    await this.#monitor('a', ['honest']);
    this.#say('5. Then it is sent to the copy. It has seen a head that the copy cannot continue:');
    const rememberer = (await this.#monitor('a', ['forked'])) === FAILS;
    this.#say('6. A monitor that never saw this log is shown both addresses, and compares them:');
    const comparer = (await this.#monitor('b', ['honest', 'forked'])) === FAILS;
    this.#say('7. A monitor that never saw this log is shown the copy alone:');
    const newcomer = (await this.#monitor('c', ['forked'])) === FAILS;
    return { rememberer, comparer, newcomer };
  }

  #submit(name: string, text: string): Promise<Status> {
    const file = this.#path('entry.txt');
    writeFileSync(file, `${text}\n`);
    this.#say(`   ${name === 'honest' ? 'log' : 'copy'} ◀── "${text}"`);
    return this.#stele(
      ...['submit', file, '--type', 'text/plain', '--key', this.#path('gateway.key')],
      ...['--data', this.#data(name)],
    );
  }

  /** What anybody would run, with its lines shown. Each monitor has a memory of its own. */
  #monitor(memory: string, names: readonly string[]): Promise<Status> {
    const addresses = names.map((name) => `${readRunning(this.#data(name))?.server}/logs/default`);
    const tokens = names.flatMap((name, i) => [
      '--token',
      `${addresses[i]}=${join(this.#data(name), 'tokens', 'read')}`,
    ]);
    this.#say(`   $ stele monitor --once ${addresses.join(' ')}`, '');
    const argv = ['monitor', '--once', '--trust', join(this.#data('honest'), 'trust.json')];
    return this.#run([...argv, ...tokens, '--state', this.#path(memory), ...addresses], (text) =>
      this.#voice.say(
        ...text
          .trimEnd()
          .split('\n')
          .map((line) => `     ${line}`.trimEnd()),
      ),
    );
  }

  async #stele(...argv: readonly string[]): Promise<Status> {
    const said: string[] = [];
    const status = await this.#run(argv, (text) => said.push(text));
    if (status === HOLDS) return status;
    throw new Unusable(`the demonstration failed at "stele ${argv.join(' ')}": ${said.join('')}`);
  }

  #run(argv: readonly string[], hear: (text: string) => void): Promise<Status> {
    const out = (text: string | Uint8Array) => hear(Buffer.from(text).toString('utf8'));
    const name = argv.includes(this.#data('forked')) ? 'forked' : 'honest';
    return runCli(argv, this.#worldOf(name, this.#world.interrupted, out), this.#starters);
  }

  async #start(name: string): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#world.interrupted]);
    let said = '';
    const running = new Promise<boolean>((resolve, reject) => {
      const hear = (text: string | Uint8Array) => {
        said += Buffer.from(text).toString('utf8');
        if (said.includes('Ctrl-C stops it.')) resolve(true);
      };
      const world = this.#worldOf(name, signal, hear);
      const ended = runCli(['serve', '--data', this.#data(name)], world, this.#starters);
      this.#servers.push({ stop, ended });
      ended.then(() => resolve(false), reject);
    });
    const late = AbortSignal.timeout(START_MS);
    const isUp = await Promise.race([
      running,
      new Promise<boolean>((resolve) => late.addEventListener('abort', () => resolve(false))),
    ]);
    if (!isUp) throw new Unusable(`the demonstration failed: its server did not start: ${said}`);
  }

  async #stopAll(): Promise<void> {
    await this.close();
    this.#servers.length = 0;
  }

  /** A world of its own for each server: other ports, and another memory. */
  #worldOf(name: string, interrupted: AbortSignal, out: World['out']): World {
    const { PATH, HOME, TMPDIR } = this.#world.env;
    return {
      ...this.#world,
      env: {
        ...{ PATH, HOME, TMPDIR },
        STELE_LISTEN: '127.0.0.1:0',
        STELE_LOG_LEVEL: 'silent',
        STELE_STATE: this.#path(`state-${name}`),
        STELE_VERIFY_THREADS: '1',
      },
      cwd: this.#folder,
      isTerminal: false,
      interrupted,
      out,
      err: out,
    };
  }

  #data(name: string): string {
    return this.#path(name);
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #say(...lines: readonly string[]): void {
    this.#voice.say('', ...lines);
  }
}
