/**
 * Does a log go on where the one before it ended? Its genesis names the head of that one; this monitor may have
 * seen another, or a larger one, which was then left behind.
 */
import { equalBytes, parseBase64 } from '../core/bytes.ts';
import type { Registry } from '../log/registry.ts';
import type { Words } from './alarms.ts';
import { remembered } from './heads.ts';
import type { State } from './state.ts';

/** `before` is what is remembered of the log that this one follows; nothing where it was never looked at. */
export function judgeSeam(
  previous: Registry['previous'],
  before: (origin: string) => State | undefined,
  words: Words,
): void {
  if (previous === undefined) return;
  const { origin, size, root } = previous;
  const note = before(origin)?.seen?.note;
  if (note === undefined) return;
  const seen = remembered(note);
  const says = `its genesis follows the head of ${size} of ${origin}`;
  if (seen.size > size) {
    words.add('shrunk', `${says}, and a head of ${seen.size} was signed there`, { heads: [note] });
  } else if (seen.size === size && !equalBytes(seen.root, parseBase64(root, 'previous.root'))) {
    words.add('split_view', `${says}, and another root of that size was signed there`, {
      heads: [note],
    });
  }
}
