/**
 * Which server, which token? What the command line says, then the environment, then the data folder.
 *
 * A token found in a data folder goes only to that folder's own server, never to an address that was
 * given beside it (P10).
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { LogClient } from '../client/client.ts';
import { pinnedFetch } from '../client/pinned.ts';
import { dataFolder } from '../config.ts';
import { SteleError } from '../core/errors.ts';
import { Unusable } from './exit.ts';
import { type Running, readRunning } from './running.ts';
import type { World } from './terminal.ts';

export interface WhereOptions {
  readonly data?: string;
  readonly server?: string;
  readonly token?: string;
  readonly json?: true;
}

export interface Where {
  /** Without a slash at its end. */
  readonly server: string;
  readonly token: string | undefined;
  /** Talks to the certificate that the data folder knows, and to no other. */
  readonly fetch?: typeof fetch | undefined;
}

/** The token files of a data folder, each with one role. */
export type TokenFile = 'admin' | 'read' | 'submit' | 'content';

const TOKEN_FILE_BYTES_MAX = 4_096;

/** The options of every command that talks to a server. */
export function addWhere(command: Command): Command {
  return command
    .option(
      '--data <dir>',
      'the data folder of a server on this machine [STELE_DATA, ./stele-data]',
    )
    .option('--server <url>', 'the address of a server [STELE_SERVER]')
    .option('--token <file>', 'a file with a token, or the token itself [STELE_TOKEN]')
    .option('--json', 'print JSON');
}

export function locate(world: World, options: WhereOptions, role: TokenFile): Where {
  const { env } = world;
  const data = dataFolder({ env, cwd: world.cwd, data: options.data });
  const running = readRunning(data);
  const named = options.server ?? env.STELE_SERVER;
  const server = named?.replace(/\/+$/, '') ?? running?.server;
  if (server === undefined) {
    throw new Unusable(
      `no server runs on the data folder ${data}: start one with "stele up", or name one with --server`,
    );
  }
  const given = options.token ?? env.STELE_TOKEN ?? fileOf(env.STELE_TOKEN_FILE);
  const pinned = server === running?.server ? fetchOf(data, running) : undefined;
  if (given !== undefined) return { server, token: readToken(world, given), fetch: pinned };
  const file = join(data, 'tokens', role);
  const own = server === running?.server && existsSync(file);
  return { server, token: own ? readToken(world, file) : undefined, fetch: pinned };
}

/** How to reach a folder's own server: where it has TLS, by the certificate that it wrote down. */
export function fetchOf(data: string, { certificate }: Running): typeof fetch | undefined {
  if (certificate === undefined) return undefined;
  return pinnedFetch(() => readRunning(data)?.certificate);
}

function fileOf(path: string | undefined): string | undefined {
  return path === undefined || path === '' ? undefined : path;
}

export function readToken(world: World, given: string): string {
  if (given.startsWith('stele_')) return given;
  const path = resolve(world.cwd, given);
  const text = readText(path, 'token file', TOKEN_FILE_BYTES_MAX).trim();
  if (!text.startsWith('stele_')) {
    throw new Unusable(`token file ${path}: it does not hold a token, which begins with stele_`);
  }
  return text;
}

export function logClient(world: World, options: WhereOptions & { log: string }, role: TokenFile) {
  const { server, ...as } = locate(world, options, role);
  return new LogClient({ base: `${server}/logs/${options.log}`, ...as });
}

export function addLog(command: Command): Command {
  return command.option('--log <name>', 'the log', 'default');
}

/** The text of a file that was named on the command line. */
export function readText(path: string, what: string, maxBytes: number): string {
  return Buffer.from(readBytes(path, what, maxBytes)).toString('utf8');
}

export function readBytes(path: string, what: string, maxBytes: number): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(readFileSync(path));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw new Unusable(`${what} ${path}: ${reason}`, { cause });
  }
  if (bytes.length > maxBytes) {
    throw new SteleError(
      'too_large',
      `${what} ${path}: ${bytes.length} bytes, at most ${maxBytes}`,
    );
  }
  return bytes;
}

/** What a command reads: a file, or standard input for "-". */
export async function readInput(world: World, file: string, maxBytes: number): Promise<Uint8Array> {
  if (file !== '-') return readBytes(resolve(world.cwd, file), 'file', maxBytes);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of world.stdin()) {
    length += part.length;
    if (length > maxBytes) {
      throw new SteleError('too_large', `standard input: over ${maxBytes} bytes`);
    }
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}
