/**
 * Two signed heads that contradict each other, kept as files that anybody can check: the two notes as they
 * are, and the proof that the first is no part of the second.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { writeWhole } from '../storage/files.ts';
import type { SplitView } from './compare.ts';

/** The files' paths. They have the same names when the same is found again. */
export function keepEvidence(
  folder: string,
  origin: string,
  { heads, proof, detail }: SplitView,
): readonly string[] {
  const place = join(folder, 'evidence');
  const log = toHex(sha256(utf8(origin))).slice(0, 16);
  try {
    mkdirSync(place, { recursive: true, mode: 0o700 });
    const files = heads.map(({ size, root, note }) => {
      const path = join(place, `${log}-${size}-${toHex(root).slice(0, 12)}.checkpoint`);
      writeWhole(path, note, 0o600);
      return path;
    });
    const [from, to] = heads;
    const last = `${log}-${from.size}-${to.size}-${toHex(to.root).slice(0, 12)}.json`;
    const said = {
      ...{ origin, detail, from: from.size, to: to.size },
      ...{ from_root_in_to: proof.root, consistency: proof.consistency },
    };
    writeWhole(join(place, last), `${JSON.stringify(said, null, 2)}\n`, 0o600);
    return [...files, join(place, last)];
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SteleError('storage', `${place}: evidence cannot be written (${code})`, { cause });
  }
}
