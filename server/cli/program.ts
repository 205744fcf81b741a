/**
 * The command line: which commands there are, and how one of them is found and run.
 *
 * Only the file of the command that was asked for is loaded, so that `stele verify` does not wait for
 * a server to be read in.
 */
import { Command, CommanderError } from 'commander';
import type { Administration } from '../client/instance.ts';
import type { Config } from '../config.ts';
import { SteleError } from '../core/errors.ts';
import type { Memories } from '../log/memories.ts';
import type { CheckRow } from '../storage/checks.ts';
import { exitOf, HOLDS, type Status, UNKNOWN, Unusable } from './exit.ts';
import { lineOf, type World } from './terminal.ts';

/** What commands need from the composition root: the edges do not know one another. */
export interface Starters {
  readonly version: string;
  /** Runs until `world.interrupted`, or until it fails. */
  up(options: StartOptions, world: World): Promise<void>;
  serve(options: StartOptions, world: World): Promise<void>;
  proxy(options: ProxyOptions, world: World): Promise<void>;
  signer(options: SignerOptions, world: World): Promise<void>;
  /** The data folder's own files, for when no server runs. Throws `conflict` if one does. */
  administer(data: string, world: World): Promise<Administration>;
  /** Takes the folder over as the only copy that will ever sign. */
  restore(data: string, world: World): Promise<readonly string[]>;
  /** All that this installation can ask how far its logs had got. */
  memories(config: Config): Promise<Memories>;
  /** Reads everything that is stored of logs again, and notes what it finds. */
  checkLogs(config: Config, request: CheckRequest): Promise<readonly CheckRow[]>;
}

export interface CheckRequest {
  /** Nothing stands for all of them. */
  readonly name: string | undefined;
  /** Instead of the setting's. */
  readonly bytesPerSecond: number | undefined;
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface StartOptions {
  readonly data?: string | undefined;
  readonly config?: string | undefined;
  /** The operator's key, for the first start: a file, or a pkcs11: URI. */
  readonly operatorKey?: string | undefined;
  readonly flags: Readonly<Record<string, string | undefined>>;
}

export interface ProxyOptions extends StartOptions {
  readonly server?: string | undefined;
  readonly token?: string | undefined;
  readonly key?: string | undefined;
  readonly trust?: string | undefined;
}

export interface SignerOptions {
  readonly keys: string;
  readonly socket: string;
  readonly state: string;
  readonly socketMode?: '0600' | '0660';
  readonly create?: true;
  readonly expect?: readonly string[];
  readonly passphraseFile?: string;
  readonly pinFile?: string;
  readonly json?: true;
}

/** What a command is given. */
export interface Cli {
  readonly world: World;
  readonly starters: Starters;
  /** Wraps the work of a command: its status becomes that of the process. */
  action<A extends unknown[]>(
    work: (...args: A) => Promise<Status | undefined>,
  ): (...args: A) => Promise<void>;
}

interface Entry {
  readonly about: string;
  readonly load: () => Promise<{ readonly command: (cli: Cli) => Command }>;
}

const COMMANDS: Readonly<Record<string, Entry>> = {
  up: {
    about: 'run the log and the LLM proxy in one process, set up on first use',
    load: () => import('./commands/up.ts'),
  },
  serve: { about: 'run the log alone', load: () => import('./commands/serve.ts') },
  proxy: {
    about: 'run the LLM proxy alone, for a log elsewhere',
    load: () => import('./commands/proxy.ts'),
  },
  signer: {
    about: 'hold the keys of logs in a process of their own',
    load: () => import('./commands/signer.ts'),
  },
  verify: {
    about: 'check a receipt, offline',
    load: () => import('./commands/verify.ts'),
  },
  receipt: { about: 'fetch a receipt', load: () => import('./commands/receipt.ts') },
  submit: {
    about: 'submit a record or any signed statement',
    load: () => import('./commands/submit.ts'),
  },
  get: { about: 'show one entry', load: () => import('./commands/get.ts') },
  export: {
    about: 'write all entries of a log as lines of JSON',
    load: () => import('./commands/export.ts'),
  },
  reconcile: {
    about: 'compare the records of calls with a list of them',
    load: () => import('./commands/reconcile.ts'),
  },
  audit: { about: 're-derive and check a whole log', load: () => import('./commands/audit.ts') },
  monitor: {
    about: 'watch logs and say when one is not what it was',
    load: () => import('./commands/monitor.ts'),
  },
  log: {
    about: 'create, list, show, change and end logs',
    load: () => import('./commands/log.ts'),
  },
  gateway: {
    about: 'register, list and revoke the keys that may submit',
    load: () => import('./commands/gateway.ts'),
  },
  token: {
    about: 'create, list and revoke access tokens',
    load: () => import('./commands/token.ts'),
  },
  caller: {
    about: 'create, list and revoke the tokens that the proxy lets calls in with',
    load: () => import('./commands/caller.ts'),
  },
  witness: {
    about: 'show heads to witnesses, and whom this instance witnessed itself',
    load: () => import('./commands/witness.ts'),
  },
  anchor: {
    about: 'show heads to Rekor and time-stamping authorities',
    load: () => import('./commands/anchor.ts'),
  },
  request: {
    about: 'list, approve and refuse what waits for a second person',
    load: () => import('./commands/request.ts'),
  },
  key: {
    about: 'list and change the keys of the logs; make a key',
    load: () => import('./commands/key.ts'),
  },
  doctor: {
    about: 'look at an installation and say what is wrong with it',
    load: () => import('./commands/doctor.ts'),
  },
  backup: {
    about: 'copy a data folder while its server runs, and verify the copy',
    load: () => import('./commands/backup.ts'),
  },
  restore: {
    about: 'take over a data folder that was copied or restored',
    load: () => import('./commands/restore.ts'),
  },
  version: { about: 'print the version', load: () => import('./commands/version.ts') },
};

export const COMMAND_NAMES = Object.keys(COMMANDS);

/** Runs one command line, without the program's name, and returns the exit status. */
export async function runCli(
  argv: readonly string[],
  world: World,
  starters: Starters,
): Promise<Status> {
  let status: Status = HOLDS;
  const cli: Cli = {
    world,
    starters,
    action:
      (work) =>
      async (...args) => {
        status = (await work(...args)) ?? HOLDS;
      },
  };
  const wantsJson = argv.includes('--json');
  try {
    const program = await programFor(argv, cli);
    await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? HOLDS : UNKNOWN;
    }
    if (wantsJson) {
      const code = error instanceof SteleError ? error.code : null;
      world.out(`${JSON.stringify({ error: { code, message: lineOf(error) } })}\n`);
    }
    world.err(`stele: ${lineOf(error)}\n`);
    if (isOurs(error)) world.err(`${error.stack ?? ''}\n`);
    return exitOf(error);
  }
}

/** A mistake of this program, and not of its user or the machine: worth a stack trace. */
function isOurs(error: unknown): error is Error {
  const expected = error instanceof SteleError || error instanceof Unusable;
  return error instanceof Error && !expected && !('syscall' in error);
}

async function programFor(argv: readonly string[], cli: Cli): Promise<Command> {
  const program = new Command('stele')
    .description('A transparency log for what AI systems did: signed leaves in, proofs out.')
    .version(cli.starters.version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'explain a command')
    // An option belongs to the command that it stands behind.
    .enablePositionalOptions()
    .addHelpText(
      'after',
      '\nExample:\n  $ stele up\n\nExit status: 0 holds, 1 does not hold, 2 could not tell.',
    );
  const wanted = argv[0] === 'help' ? argv[1] : argv[0];
  for (const [name, { about, load }] of Object.entries(COMMANDS)) {
    const command =
      name === wanted ? (await load()).command(cli) : new Command(name).description(about);
    program.addCommand(command);
  }
  settle(program, cli.world);
  if (argv.length === 0) program.help();
  return program;
}

/** Output goes to our world and nothing ends the process, in every command and subcommand. */
function settle(command: Command, world: World): void {
  command.exitOverride();
  command.configureOutput({
    writeOut: (text) => world.out(text),
    writeErr: (text) => world.err(text),
    outputError: (text, write) => write(text.replace(/^error: /, 'stele: ')),
    getOutHelpWidth: () => 100,
    getErrHelpWidth: () => 100,
  });
  command.showHelpAfterError('(--help explains this command)');
  for (const sub of command.commands) settle(sub, world);
}
