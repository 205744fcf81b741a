/** The witness of the demonstration: an instance that cosigns one log, and what it answers to a head of it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LogClient } from '../client/client.ts';
import { utf8 } from '../core/bytes.ts';
import { invariant } from '../core/errors.ts';
import { COSIGNATURES_BYTES_MAX, formatAddCheckpoint } from '../core/tlog-witness.ts';
import type { TreeSize } from '../core/units.ts';
import type { Outbound } from '../outbound.ts';

const TIMEOUT_MS = 60_000;

/** Settings of a folder that is to be a witness of the log with this key. */
export function writeWitnessSettings(data: string, vkey: string): void {
  mkdirSync(data, { recursive: true });
  const lines = ['witness:', '  name: witness.demo/w1', 'witnessed:', '  demo:'];
  writeFileSync(join(data, 'stele.yaml'), [...lines, `    keys: [${vkey}]`, ''].join('\n'));
}

export interface Shown {
  readonly size: TreeSize;
  readonly status: number;
}

/** Shows the newest head of a log to a witness that cosigned the one of size `old`, as a log does it. */
export async function showToWitness(
  outbound: Outbound,
  witness: string,
  log: string,
  old: TreeSize,
): Promise<Shown> {
  const client = new LogClient({ base: log });
  const { size, checkpoint } = await client.head();
  invariant(checkpoint !== undefined, 'the newest head of a log is signed');
  const proof = old === 0 || old === size ? [] : await client.consistency(old, size);
  const { status } = await outbound.ask(`${witness}/add-checkpoint`, {
    method: 'POST',
    body: formatAddCheckpoint({ old, proof, checkpoint: utf8(checkpoint) }),
    maxBytes: COSIGNATURES_BYTES_MAX,
    timeoutMs: TIMEOUT_MS,
  });
  return { size, status };
}
