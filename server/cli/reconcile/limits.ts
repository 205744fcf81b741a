/** How much of a list is held at once. */
import { Unusable } from '../exit.ts';

/** Characters of one row: a provider's object may have the whole answer in it, and a page a hundred of them. */
export const ROW_CHARS_MAX = 33_554_432;

export function tooLong(name: string, line: number): Unusable {
  return new Unusable(`${name} line ${line}: over ${ROW_CHARS_MAX} characters`);
}
