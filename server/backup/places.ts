/** Which folders a backup may be written to: new or empty ones, none inside another. */
import { relative, resolve, sep } from 'node:path';
import { SteleError, shown } from '../core/errors.ts';
import { namesIn } from './files.ts';

/** Throws `conflict` unless the folder is new or empty. */
export async function checkEmpty(folder: string): Promise<void> {
  // A file system of its own has this folder from the beginning.
  const [first] = (await namesIn(folder)).filter(({ name }) => name !== 'lost+found');
  if (first === undefined) return;
  throw new SteleError(
    'conflict',
    `${folder} holds ${shown(first.name)}: name a new or an empty folder`,
  );
}

/** Throws `conflict` if one of the folders lies in another: what must be apart then is not. */
export function checkApart(folders: readonly (readonly [what: string, folder: string])[]): void {
  for (const [i, [what, folder]] of folders.entries()) {
    for (const [other, place] of folders.slice(0, i)) {
      if (!contains(place, folder) && !contains(folder, place)) continue;
      throw new SteleError(
        'conflict',
        `${folder} (${what}) and ${place} (${other}): neither may lie in the other`,
      );
    }
  }
}

function contains(outer: string, inner: string): boolean {
  const path = relative(resolve(outer), resolve(inner));
  return path === '' || (path !== '..' && !path.startsWith(`..${sep}`));
}
