/** An event of a monitor as lines for people. */
import type { Event } from '../monitor/events.ts';
import { oneLine } from './terminal.ts';

export function linesOf(event: Event): string[] {
  const { log, detail = '', heads = [], files = [] } = event;
  if (event.event === 'ok') return okLines(event);
  const place = event.index === undefined ? '' : `entry ${event.index}: `;
  const mark = event.event === 'alarm' ? 'ALARM' : event.event;
  const lines = [`${mark.padEnd(7)}  ${event.kind ?? ''}  ${oneLine(log)}`];
  lines.push(`         ${place}${oneLine(detail)}`);
  for (const [i, head] of heads.entries()) {
    lines.push('', `  head ${i + 1} of ${heads.length}:`, '');
    lines.push(
      ...head
        .trimEnd()
        .split('\n')
        .map((line) => `    ${line}`.trimEnd()),
    );
  }
  if (files.length > 0) lines.push('', '  kept in', ...files.map((file) => `    ${oneLine(file)}`));
  if (heads.length > 0) lines.push('');
  return lines;
}

function okLines({ log, size, depth, checked, fresh, left_out = [] }: Event): string[] {
  const read = depth === 'heads' ? 'heads alone' : `${checked?.entries} read as ${depth}`;
  const sources = depth === 'records' ? `, ${checked?.sources} sources` : '';
  const alive = fresh === undefined ? '' : `; alive ${fresh.time} by ${oneLine(fresh.by)}`;
  return [
    `ok       ${oneLine(log)}`,
    `         ${size} entries, ${read}${sources}${alive}`,
    ...left_out.map((what) => `         left out: ${oneLine(what)}`),
  ];
}
