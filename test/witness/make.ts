/** A witness with keys from fixed seeds, on an instance database. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { parsePublicKey } from '../../server/core/keys.ts';
import type { VerifierKey } from '../../server/core/note.ts';
import { KeyObjectSigner } from '../../server/keys/key-object.ts';
import { PortableSigner } from '../../server/keys/mldsa.ts';
import type { InstanceStore } from '../../server/storage/instance.ts';
import type { Judged } from '../../server/storage/witnessed.ts';
import { Witness, type WitnessOptions } from '../../server/witness/giving.ts';
import { Cosigner } from '../../server/witness/giving-keys.ts';
import { Origins } from '../../server/witness/giving-origins.ts';
import { JudgeQueue } from '../../server/witness/giving-queue.ts';

export const WITNESS = 'witness.example/w1';

export function makeCosigner({ mldsa = true, seed = 1 } = {}): Cosigner {
  const der = Buffer.concat([
    Buffer.from('302e020100300506032b657004220420', 'hex'),
    Buffer.alloc(32, seed),
  ]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const ed25519 = new KeyObjectSigner(privateKey, parsePublicKey('ed25519', new Uint8Array(spki)));
  return new Cosigner(WITNESS, {
    ed25519,
    mldsa: mldsa ? new PortableSigner(new Uint8Array(32).fill(seed)) : undefined,
  });
}

export interface MakeWitness extends Partial<Pick<WitnessOptions, 'stopped' | 'cosigner'>> {
  readonly nowMs: () => number;
  readonly logs: readonly { readonly origin: string; readonly keys: readonly VerifierKey[] }[];
  readonly perDay?: number;
  readonly written?: (judged: Judged) => void;
  readonly program?: URL;
}

export function makeWitness(instance: InstanceStore, options: MakeWitness): Witness {
  const { nowMs, logs, perDay = 1_000_000, written = () => {}, program, stopped } = options;
  const { cosigner = makeCosigner() } = options;
  const origins = new Origins(cosigner.keys, nowMs);
  for (const { origin, keys } of logs) for (const key of keys) origins.add({ origin, key, perDay });
  const { name, keys } = cosigner;
  const rows = instance.witnessed;
  rows.setWitness({ name, keys: JSON.stringify(keys.map(({ text }) => text)) });
  const queue = new JudgeQueue({
    path: instance.path,
    nowS: () => Math.floor(nowMs() / 1_000),
    written,
    ...(program === undefined ? {} : { program }),
  });
  return new Witness({ cosigner, origins, queue, rows, nowMs, remember: () => {}, stopped });
}
