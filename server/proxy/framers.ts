/** Which reader goes with which framing? The framings are drawn in `framing.ts`. */
import { EventStreamParser } from './eventstream.ts';
import type { EventSink, Framer } from './framing.ts';
import { JsonArrayParser } from './json-array.ts';
import { LineParser } from './lines.ts';
import { SseParser } from './sse.ts';

export type Framing = 'sse' | 'ndjson' | 'json-array' | 'eventstream';

const FRAMERS: Readonly<Record<Framing, new (sink: EventSink) => Framer>> = {
  sse: SseParser,
  ndjson: LineParser,
  'json-array': JsonArrayParser,
  eventstream: EventStreamParser,
};

export function framerOf(framing: Framing, sink: EventSink): Framer {
  return new FRAMERS[framing](sink);
}
