/** When what a monitor found is told, told again, and said to be gone. */
import { expect, test } from 'vitest';
import { hash, treeSize } from '../../server/core/units.ts';
import { KINDS, type Kind, type Word, Words } from '../../server/monitor/alarms.ts';
import { Events } from '../../server/monitor/events.ts';
import type { Look } from '../../server/monitor/look.ts';
import { page } from '../repo/pages.ts';

const HOUR = 3_600_000;
const NOW = 1_790_000_000_000;

function look(words: readonly Word[], size = 5): Look {
  const root = hash(new Uint8Array(32).fill(size));
  const base = { origin: 'o', from: 'x', note: 'n', witnessed: undefined, hasQuorum: undefined };
  return {
    words,
    head: { ...base, size: treeSize(size), root },
    depth: 'records',
    checked: { entries: size, sources: 1, control: 1 },
    fresh: { by: 'the log itself', ms: NOW },
    isEnded: false,
    acknowledged: 0,
  };
}

const word = (kind: Kind, detail = 'x'): Word => ({ kind, detail });

function brief(events: readonly { event: string; kind?: string }[]): string[] {
  return events.map(({ event, kind }) => (kind === undefined ? event : `${event} ${kind}`));
}

test('an alarm is told when it is new, after an hour, and when it is gone', () => {
  const events = new Events('http://log', 'origin');
  expect(brief(events.after(look([word('hole')]), NOW))).toEqual(['alarm hole']);
  expect(brief(events.after(look([word('hole')]), NOW + 1))).toEqual([]);
  expect(brief(events.after(look([word('hole'), word('stale')]), NOW + 2))).toEqual([
    'alarm stale',
  ]);
  expect(brief(events.after(look([word('hole')]), NOW + HOUR))).toEqual([
    'alarm hole',
    'cleared stale',
  ]);
  expect(brief(events.after(look([]), NOW + HOUR + 1))).toEqual(['cleared hole', 'ok']);
});

test('a look that could not see everything clears nothing, and is no success', () => {
  const events = new Events('http://log', 'origin');
  events.after(look([word('entries')]), NOW);
  const blind = look([word('unreachable')]);
  expect(brief(events.after(blind, NOW + 1))).toEqual(['unknown unreachable']);
  expect(brief(events.after(look([word('entries')]), NOW + 2))).toEqual(['cleared unreachable']);
  expect(brief(events.after(look([]), NOW + 3))).toEqual(['cleared entries', 'ok']);
});

test('that all is well is said when the head is another one, and each hour', () => {
  const events = new Events('http://log', 'origin');
  expect(brief(events.after(look([]), NOW))).toEqual(['ok']);
  expect(brief(events.after(look([]), NOW + 1))).toEqual([]);
  expect(brief(events.after(look([], 6), NOW + 2))).toEqual(['ok']);
  expect(brief(events.after(look([], 6), NOW + 2 + HOUR))).toEqual(['ok']);
  const [ok] = events.after(look([word('left_out', 'the entries')], 7), NOW + 3 + HOUR);
  expect(ok).toMatchObject({ event: 'ok', size: 7, left_out: ['the entries'] });
});

test('a notice is told once', () => {
  const events = new Events('http://log', 'origin');
  expect(brief(events.after(look([word('control')]), NOW))).toEqual(['notice control', 'ok']);
  expect(brief(events.after(look([word('control')]), NOW + 2 * HOUR))).toEqual(['ok']);
  expect(brief(events.after(look([]), NOW + 2 * HOUR + 1))).toEqual([]);
});

test('a log that is all wrong does not fill the memory', () => {
  const events = new Events('http://log', 'origin');
  for (let i = 0; i < 30; i++) {
    const words = Array.from({ length: 200 }, (_, j) => word('entries', `${i} ${j}`));
    events.after(look([...words, word('unreachable')]), NOW + i);
  }
  // What there was no room for is told again rather than forgotten.
  expect(events.after(look([word('entries', '29 199')]), NOW + 99)).not.toEqual([]);
});

test('no number of one kind hides another, and what is not listed is counted', () => {
  const words = new Words();
  for (let i = 0; i < 1_000; i++) words.add('acknowledged', `hole ${i}`);
  expect(words.isBroken).toBe(false);
  words.add('entries', 'entry 7');
  expect(words.isBroken && words.hold).toBe(true);
  const listed = words.list();
  expect(listed).toHaveLength(52);
  expect(listed.at(-2)).toEqual({ kind: 'acknowledged', detail: '950 more of this kind' });
  expect(listed.at(-1)).toEqual({ kind: 'entries', detail: 'entry 7' });
});

test('every kind stands on the page, with how bad it is', () => {
  const rows = [
    ...page('docs/operating.md').matchAll(/^\| `(\w+)` \| (alarm|unknown|notice) \|/gm),
  ];
  expect(rows.map(([, kind, severity]) => [kind, severity])).toEqual(
    Object.entries(KINDS).map(([kind, { severity }]) => [kind, severity]),
  );
});

test('the page says how many kinds keep the state', () => {
  const alarms = Object.values(KINDS).filter(
    ({ severity, holds }) => severity === 'alarm' && holds,
  );
  expect(alarms).toHaveLength(8);
  expect(page('docs/operating.md')).toContain('The first eight keep the state where it is');
});
