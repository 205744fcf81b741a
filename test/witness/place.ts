/** Servers whose logs are shown to doubles. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InstanceClient } from '../../server/client/instance.ts';
import { parseVerifierKey, type VerifierKey } from '../../server/core/verifier-key.ts';
import type { Place } from '../fault/process.ts';
import type { WitnessDouble } from './double.ts';

/** Writes a policy that asks for a quorum of all these, and says where it is. */
export function policyFile(folder: string, doubles: readonly WitnessDouble[]): string {
  const file = join(folder, 'witnesses.txt');
  writeFileSync(file, policyText(doubles));
  return file;
}

export function policyText(doubles: readonly WitnessDouble[]): string {
  const names = doubles.map(({ name }) => name).join(' ');
  return `${doubles.map((one) => one.policyLines()).join('')}group all all ${names}\nquorum all\n`;
}

/** Introduces a log to them, as an operator does: by its origin and its keys. Gives its origin. */
export async function introduce(
  place: Place,
  doubles: readonly WitnessDouble[],
  log = 'default',
): Promise<string> {
  const { server } = place.addresses();
  const admin = new InstanceClient({ base: server, token: place.token('admin') });
  const known = (await admin.keys()).filter((key) => key.log === log && key.purpose !== 'sth');
  const keys: VerifierKey[] = known.map(({ vkey }) => parseVerifierKey(String(vkey)));
  const origin = String(known[0]?.origin);
  for (const double of doubles) double.knows(origin, keys);
  return origin;
}
