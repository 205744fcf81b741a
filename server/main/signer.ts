/**
 * The signer, running until told to stop: keys, memory and socket, and nothing else of a log.
 *
 * What has to be right before the first signature is looked at first: who else runs on this state folder, who
 * could put other keys or another memory in the place of these, and what the operator says of where the logs
 * are (`--expect`).
 */
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Logger, pino } from 'pino';
import { Unusable } from '../cli/exit.ts';
import type { SignerOptions } from '../cli/program.ts';
import { takeSecrets } from '../cli/signer-secrets.ts';
import { table, voiceOf, type World } from '../cli/terminal.ts';
import { readBytes } from '../cli/where.ts';
import { openCheckpoint, parseCheckpoint } from '../core/checkpoint.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import { NOTE_BYTES_MAX } from '../core/limits.ts';
import { parseNote } from '../core/note.ts';
import { identityVerifierKey } from '../keys/log-keys.ts';
import { type KeySecrets, openKeyByFile } from '../keys/reference.ts';
import { addKeys } from '../keys/remote/add-keys.ts';
import { HeadBook } from '../keys/remote/head-book.ts';
import { HeadFiles } from '../keys/remote/heads-file.ts';
import { HeldKeys } from '../keys/remote/held-keys.ts';
import { listenForLogs } from '../keys/remote/listen.ts';
import { SignerService } from '../keys/remote/service.ts';
import { lockFolder } from '../log/guard.ts';
import { ensureFolder } from './files.ts';
import { aborted, type Program } from './start.ts';

/** Checkpoints that one `--expect` may name, in a folder. */
const EXPECTED_MAX = 65_536;

export async function runSigner(
  program: Program,
  options: SignerOptions,
  world: World,
): Promise<void> {
  const { interrupted } = world;
  const logger = pino({ level: 'info' }, { write: (line) => world.err(line) });
  const voice = voiceOf(world, options.json === true);
  const at = (path: string) => resolve(world.cwd, path);
  const [keys, state, socket] = [at(options.keys), at(options.state), at(options.socket)];
  const secrets = takeSecrets(options, world);
  const closing: (() => Promise<void> | void)[] = [];
  try {
    ensureFolder(keys);
    ensureFolder(state);
    for (const folder of [keys, state]) checkOwn(folder);
    const lock = lockState(state);
    closing.push(() => lock.release());
    const held = await HeldKeys.open(keys, (path) => openKeyByFile(path, secrets));
    closing.push(() => held.close());
    const files = new HeadFiles(join(state, 'heads'));
    closing.push(() => files.close());
    const book = new HeadBook(files);
    const expected = await expectAll((options.expect ?? []).map(at), held, book);
    const service = new SignerService({
      keys: held,
      book,
      create:
        options.create === true ? (origin) => create(origin, keys, secrets, logger) : undefined,
    });
    const listening = await listenForLogs({
      path: socket,
      mode: options.socketMode === '0660' ? 0o660 : 0o600,
      service,
      warn: (message, error) => logger.warn({ err: error }, message),
      fatal: program.fatal,
    });
    closing.push(() => listening.close());
    voice.say(
      'The signer is running.',
      '',
      ...table(greeting(held, expected, { keys, state, socket })),
    );
    voice.say('', 'Ctrl-C stops it.');
    voice.json({ socket, origins: held.origins, expected });
    await aborted(interrupted);
    voice.say('', 'Stopping: finishing what is under way …');
  } finally {
    for (const step of closing.reverse()) await step();
  }
  voice.say('Stopped.');
}

/** Whoever can write here can have anything signed, or forgotten. */
function checkOwn(folder: string): void {
  const { mode, uid } = statSync(folder);
  const own = process.getuid?.() ?? uid;
  if ((mode & 0o022) === 0 && (uid === own || uid === 0)) return;
  throw new SteleError(
    'forbidden',
    `${folder}: others could write into it: make it yours alone (chmod go-w ${folder})`,
  );
}

function lockState(folder: string): { release(): void } {
  try {
    return lockFolder(folder);
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error;
    throw new SteleError(
      'conflict',
      `another signer is using the state folder ${folder}: stop it first`,
      {
        cause: error,
      },
    );
  }
}

async function create(
  origin: string,
  keys: string,
  secrets: KeySecrets,
  logger: Logger,
): Promise<void> {
  await addKeys(keys, origin, {}, { cwd: keys, secrets });
  logger.info(`keys were made for ${origin}`);
}

interface Expected {
  readonly origin: string;
  readonly size: number;
  readonly outcome: 'known' | 'noted';
}

/** Notes each head that an operator says the signer must know: one that the log's own key signed. */
async function expectAll(
  paths: readonly string[],
  held: HeldKeys,
  book: HeadBook,
): Promise<readonly Expected[]> {
  const files = paths.flatMap(filesOf);
  if (files.length > EXPECTED_MAX) {
    throw new SteleError(
      'too_large',
      `${files.length} checkpoints where at most ${EXPECTED_MAX} are read`,
    );
  }
  const expected: Expected[] = [];
  for (const file of files) {
    const bytes = readBytes(file, 'checkpoint', NOTE_BYTES_MAX);
    const { origin } = parseCheckpoint(parseNote(bytes).text);
    const keys = (await held.keys(origin))
      .filter(({ purpose }) => purpose === 'identity')
      .map(({ signer }) => identityVerifierKey(origin, signer));
    const { checkpoint } = openCheckpoint(bytes, origin, keys);
    const outcome = await book.expect(origin, checkpoint);
    expected.push({ origin, size: checkpoint.size, outcome });
  }
  return expected;
}

function filesOf(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => !name.startsWith('.'));
    return names.sort().map((name) => join(path, name));
  } catch (cause) {
    throw new Unusable(`--expect ${path}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
}

function greeting(
  held: HeldKeys,
  expected: readonly Expected[],
  at: { readonly keys: string; readonly state: string; readonly socket: string },
): string[][] {
  const count = held.origins.length;
  return [
    ['  socket', at.socket],
    ['  keys', `${at.keys}: ${count === 1 ? '1 log' : `${count} logs`}`],
    ['  state', at.state],
    ...expected.map(({ origin, size, outcome }) => [`  ${outcome}`, `${origin}: ${size} entries`]),
  ];
}
