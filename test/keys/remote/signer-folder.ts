/** A folder of keys as a signer has it, and a signer that runs on it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { createKeyFile, openKeyFile } from '../../../server/keys/file.ts';
import { SignerConnection } from '../../../server/keys/remote/connection.ts';
import { HeadBook } from '../../../server/keys/remote/head-book.ts';
import { HeadFiles } from '../../../server/keys/remote/heads-file.ts';
import { HeldKeys } from '../../../server/keys/remote/held-keys.ts';
import { type ListenOptions, listenForLogs } from '../../../server/keys/remote/listen.ts';
import { SignerService } from '../../../server/keys/remote/service.ts';
import { temporaryFolder } from '../../temporary.ts';

export const ORIGIN = 'log.example/logs/a';

export async function addLog(keys: string, name: string, origin: string): Promise<void> {
  const folder = join(keys, name);
  mkdirSync(folder, { recursive: true });
  await createKeyFile(join(folder, 'identity.pem'), 'ed25519');
  await createKeyFile(join(folder, 'anchor.pem'), 'ecdsa-p256');
  await createKeyFile(join(folder, 'sth.pem'), 'ecdsa-p256');
  writeFileSync(join(folder, 'origin'), `${origin}\n`);
}

/** Keys of one log and of the operator. */
export async function keysFolder(): Promise<string> {
  const folder = temporaryFolder();
  await createKeyFile(join(folder, 'operator.pem'), 'ed25519');
  await addLog(folder, 'a', ORIGIN);
  return folder;
}

export interface Running {
  readonly service: SignerService;
  readonly book: HeadBook;
  stop(): Promise<void>;
}

export interface Place {
  readonly keys: string;
  readonly state: string;
  readonly path: string;
  readonly warned: string[];
  readonly fatal: Error[];
  start(options?: Partial<ListenOptions>): Promise<Running>;
  connect(options?: { answerMs?: number; helloMs?: number; said?: string[] }): SignerConnection;
}

/** A place for a signer, to be started and stopped, and for those who connect to it. */
export async function signerPlace(): Promise<Place> {
  const keys = await keysFolder();
  const state = temporaryFolder();
  const path = join(temporaryFolder(), 'socket');
  const warned: string[] = [];
  const fatal: Error[] = [];
  const stops: (() => Promise<void>)[] = [];
  onTestFinished(async () => {
    for (const stop of stops) await stop();
  });
  return {
    keys,
    state,
    path,
    warned,
    fatal,
    async start(options = {}) {
      const held = await HeldKeys.open(keys, openKeyFile);
      const files = new HeadFiles(state);
      const book = new HeadBook(files);
      const service = options.service ?? new SignerService({ keys: held, book });
      const listening = await listenForLogs({
        path,
        mode: 0o600,
        warn: (message) => warned.push(message),
        fatal: (error) => fatal.push(error),
        ...options,
        service,
      });
      let stopped: Promise<void> | undefined;
      const stop = () => {
        stopped ??= listening.close().then(() => files.close());
        return stopped;
      };
      stops.unshift(stop);
      return { service, book, stop };
    },
    connect({ said = [], ...options } = {}) {
      const connection = new SignerConnection({
        path,
        said: (message) => said.push(message),
        ...options,
      });
      stops.unshift(() => connection.close());
      return connection;
    },
  };
}
