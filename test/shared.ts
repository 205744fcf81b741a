/**
 * Where the published vectors and fixtures are: `STELE_SHARED`, or a folder `shared` beside the
 * checkout. They are not part of the project. Where they are missing, the tests that read them are
 * skipped and the run's last lines say so.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

export const SHARED = process.env.STELE_SHARED ?? join(dirname(root), 'shared');

/** For `test.skipIf(…)` and `describe.skipIf(…)`. */
export const sharedMissing = !existsSync(join(SHARED, 'vectors'));

export function sharedBytes(...path: readonly string[]): Uint8Array {
  return new Uint8Array(readFileSync(join(SHARED, ...path)));
}

export function sharedJson(...path: readonly string[]): unknown {
  return JSON.parse(readFileSync(join(SHARED, ...path), 'utf8'));
}
