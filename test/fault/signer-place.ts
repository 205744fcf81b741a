/** A signer in a process of its own, that makes keys as they are asked for, behind a wire that is written down. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Process, STELE } from './process.ts';
import { SignerTap } from './signer-tap.ts';

export interface SignerPlace {
  readonly tap: SignerTap;
  readonly keys: string;
  readonly state: string;
  running: Process;
  /** Starts it where it does not run, with more arguments. */
  start(...more: readonly string[]): Promise<Process>;
}

export async function signerPlace(): Promise<SignerPlace> {
  const folder = mkdtempSync(join(tmpdir(), 'stele-signer-'));
  mkdirSync(join(folder, 'run'), { mode: 0o700 });
  const [keys, state] = [join(folder, 'keys'), join(folder, 'state')];
  const [socket, wire] = [join(folder, 'run', 'signer'), join(folder, 'run', 'wire')];
  const argv = ['signer', '--keys', keys, '--state', state, '--socket', socket, '--create'];
  const spawn = (...more: readonly string[]) =>
    new Process(process.execPath, [STELE, ...argv, ...more], {}, folder);
  const tap = new SignerTap(wire, socket);
  await tap.listen();
  const place: SignerPlace = {
    tap,
    keys,
    state,
    running: spawn(),
    start: async (...more) => {
      if (!place.running.isRunning) place.running = spawn(...more);
      await place.running.ready;
      return place.running;
    },
  };
  onTestFinished(async () => {
    await tap.close();
    await place.running.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  await place.start();
  return place;
}
