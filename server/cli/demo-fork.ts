/**
 * `stele monitor --demo-fork`: what does it look like when a log shows different people different things?
 *
 * Everything is real and takes place in a temporary folder: a server on loopback with a log of its own, a copy
 * of its data folder that is made to sign too, entries in both, and the monitor that anybody else would run.
 * The one thing that is done for the demonstration is to take from the copy its memory of what was signed,
 * as somebody would who controls the whole machine.
 *
 *     stele-data ──▶ copied ──▶ two servers, one origin, the same keys, another history each
 *     witness    ──▶ a third server, which cosigns what continues what it cosigned
 *
 * Known hole: what a Rekor log makes of it is told and not shown; there is none to run on a laptop.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTrust } from '../core/trust.ts';
import { treeSize } from '../core/units.ts';
import { Outbound } from '../outbound.ts';
import { isIdentity } from '../verify/head.ts';
import { showToWitness, writeWitnessSettings } from './demo-witness.ts';
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
  readonly name: string;
  readonly stop: AbortController;
  readonly ended: Promise<unknown>;
}

class Demo {
  readonly #folder: string;
  readonly #world: World;
  readonly #starters: Starters;
  readonly #voice: Voice;
  readonly #servers: Server[] = [];
  /** The size of the head that the witness cosigned last. */
  #witnessed = 0;

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
    const noticed = { ...(await this.#watchFork()), ...(await this.#askWitness()) };
    this.#say(
      'What to take away',
      '',
      '  Somebody has to remember. The log’s signature alone did not help: both histories have a good one.',
      '  - A monitor that had looked before noticed at once, and so did one that was shown both copies.',
      '  - One that met the second history first, and nothing else, could not know.',
      '  - A witness remembers for everybody: it refused to cosign the second history, and what it had',
      '    cosigned gave the copy away to a monitor that had never seen this log.',
      '  - An entry in Rekor or a time stamp fixes in the same way, for the whole world, which head there',
      '    was: "stele monitor" holds those to what the log shows, too.',
    );
    this.#voice.json({ noticed });
    const { newcomer, ...others } = noticed;
    // That the newcomer does not notice is the point of the rest.
    return !newcomer && Object.values(others).every((one) => one) ? HOLDS : FAILS;
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
    await this.#startWitness();
  }

  /** It knows the log by its key, as any witness does. */
  async #startWitness(): Promise<void> {
    const trust = parseTrust(new Uint8Array(readFileSync(this.#trust())));
    const key = trust.logs[0]?.keys.find((one) => isIdentity(one.key))?.key;
    if (key === undefined) throw new Unusable('the demonstration failed: the log has no key');
    writeWitnessSettings(this.#data('witness'), key.text);
    await this.#start('witness');
    this.#say(
      '   A witness, which is another server, is shown the head. It has seen none before, and cosigns.',
    );
    this.#witnessed = await this.#show('honest', 0, true);
  }

  /** Shows the head of a server to the witness, which cosigned `old`; whether it cosigns. */
  async #show(name: string, old: number, isWanted: boolean): Promise<number> {
    const { size, status } = await showToWitness(
      new Outbound(this.#starters.version),
      `${this.#address('witness')}/witness`,
      `${this.#address(name)}/logs/default`,
      treeSize(old),
    );
    const did = status === 200 ? 'it cosigns' : `it refuses (${status})`;
    this.#say(`   ${name === 'honest' ? 'log' : 'copy'}, head of ${size} ──▶ witness: ${did}`);
    if ((status === 200) !== isWanted) {
      throw new Unusable(`the demonstration failed: the witness answered ${status}`);
    }
    return size;
  }

  async #askWitness() {
    this.#say(
      `8. The witness is shown the head of the copy. It has cosigned the log’s head of ${this.#witnessed}, and no`,
      '   proof leads from that one to this:',
    );
    const witness = await this.#show('forked', this.#witnessed, false).then(() => true);
    this.#say(
      '9. A monitor that never saw this log is shown the copy alone, and told where the witness is:',
    );
    const newcomer_with_witness = (await this.#monitor('d', ['forked'], true)) === FAILS;
    return { witness, newcomer_with_witness };
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
    await this.#stop('honest');
    cpSync(this.#data('honest'), this.#data('forked'), { recursive: true });
    await this.#stele('restore', '--accept', '--data', this.#data('forked'));
    await this.#start('honest');
    await this.#start('forked');
    await this.#submit('honest', 'loan 3: refused');
    await this.#submit('forked', 'loan 3: granted');
    await this.#submit('forked', 'loan 4: granted');
    this.#say(
      '   Now two servers sign heads of one log, and they differ from entry 5 on. Each of them',
      '   proves everything that it says to whoever sees it alone.',
    );
  }

  async #watchFork() {
    this.#say('4. The monitor looks again, and the log is as it was, and longer:');
    await this.#monitor('a', ['honest']);
    this.#say(
      '   The witness is shown the longer head, with the proof that it continues the first:',
    );
    this.#witnessed = await this.#show('honest', this.#witnessed, true);
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
  #monitor(memory: string, names: readonly string[], withWitness = false): Promise<Status> {
    const addresses = names.map((name) => `${this.#address(name)}/logs/default`);
    const witness = withWitness ? ['--witness', `${this.#address('witness')}/witness`] : [];
    const tokens = names.flatMap((name, i) => [
      '--token',
      `${addresses[i]}=${join(this.#data(name), 'tokens', 'read')}`,
    ]);
    this.#say(`   $ ${['stele monitor --once', ...addresses, ...witness].join(' ')}`, '');
    const argv = ['monitor', '--once', '--trust', this.#trust(), ...witness];
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
      this.#servers.push({ name, stop, ended });
      ended.then(() => resolve(false), reject);
    });
    const late = AbortSignal.timeout(START_MS);
    const isUp = await Promise.race([
      running,
      new Promise<boolean>((resolve) => late.addEventListener('abort', () => resolve(false))),
    ]);
    if (!isUp) throw new Unusable(`the demonstration failed: its server did not start: ${said}`);
  }

  async #stop(name: string): Promise<void> {
    const server = this.#servers.find((one) => one.name === name);
    server?.stop.abort();
    await server?.ended;
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

  #address(name: string): string {
    return readRunning(this.#data(name))?.server ?? '';
  }

  #trust(): string {
    return join(this.#data('honest'), 'trust.json');
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
