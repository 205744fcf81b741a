/**
 * What do the parts allow, on this machine, right now? Every row of the table is to be judged beside
 * them: these machines run at half their speed for seconds at a time.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parsePublicKey } from '../../server/core/keys.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkSignatureNative, ED25519_ENGINE } from '../../server/keys/engine.ts';
import { KeyObjectSigner } from '../../server/keys/key-object.ts';
import type { Generator } from './children.ts';
import { quantile, runsOf } from './stats.ts';
import type { Load } from './task.ts';

export interface Parts {
  readonly 'leaf hashes/s (1 KiB, one thread)': number;
  readonly 'signatures/s checked (one thread)': number;
  readonly 'signature engine': string;
  readonly 'fdatasync of 4 KiB, p50 ms': number;
  readonly 'HTTP echo of 1 KiB/s (64 clients)': number;
}

const RUN_MS = 250;
const RUNS = 3;

/** Operations a second: the median of a few short runs. */
function rate(operation: () => void): number {
  const rates = Array.from({ length: RUNS }, () => {
    const begun = performance.now();
    let done = 0;
    while (performance.now() - begun < RUN_MS) {
      for (let i = 0; i < 64; i++) operation();
      done += 64;
    }
    return done / ((performance.now() - begun) / 1_000);
  });
  return runsOf(rates).median;
}

export async function measureParts(
  folder: string,
  generator: Generator,
  echoUrl: string,
): Promise<Parts> {
  const message = randomBytes(1_024);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  const key = new KeyObjectSigner(privateKey, parsePublicKey('ed25519', spki)).publicKey;
  const signature = new Uint8Array(sign(null, message, privateKey));
  const echoes: number[] = [];
  for (let i = 0; i <= RUNS; i++) {
    const task = { do: 'echo', url: echoUrl, clients: 64, count: i === 0 ? 1_000 : 6_000 } as const;
    const { count, seconds } = await generator.run<Load>(task);
    if (i > 0) echoes.push(count / seconds);
  }
  return {
    'leaf hashes/s (1 KiB, one thread)': rate(() => leafHash(message)),
    'signatures/s checked (one thread)': rate(() => checkSignatureNative(key, message, signature)),
    'signature engine': ED25519_ENGINE,
    'fdatasync of 4 KiB, p50 ms': syncMs(folder),
    'HTTP echo of 1 KiB/s (64 clients)': runsOf(echoes).median,
  };
}

function syncMs(folder: string): number {
  const file = openSync(join(folder, 'sync'), 'a');
  const block = randomBytes(4_096);
  const ms: number[] = [];
  for (let i = 0; i < 300; i++) {
    writeSync(file, block);
    const begun = performance.now();
    fdatasyncSync(file);
    ms.push(performance.now() - begun);
  }
  closeSync(file);
  return quantile(
    ms.sort((a, b) => a - b),
    0.5,
  );
}
