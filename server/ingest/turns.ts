/** Long lists are worked through some at a time, so that others are served in between. */
import { setImmediate as othersFirst } from 'node:timers/promises';

/** Items at a time: some milliseconds of work. */
const AT_ONCE = 32;

export async function inTurns<T, R>(
  items: Iterable<T>,
  work: (item: T, index: number) => R,
): Promise<R[]> {
  const done: R[] = [];
  for (const item of items) {
    if (done.length % AT_ONCE === AT_ONCE - 1) await othersFirst();
    done.push(work(item, done.length));
  }
  return done;
}
