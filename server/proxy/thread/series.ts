/** The logs, as the proxy's thread reaches them: over the program's own thread. */
import type { BirpcReturn } from 'birpc';
import type { Content, ContentBody } from '../../client/multipart.ts';
import { invariant } from '../../core/errors.ts';
import type { LogPort, SeriesPort } from '../source.ts';
import {
  type HostCalls,
  owned,
  type SubmittedBody,
  type SubmittedContent,
  type ThreadCalls,
} from './calls.ts';

/** Bytes of a body that goes with its record at once; of a larger one pieces are asked for. */
const WHOLE_BYTES_MAX = 65_536;

/** The bodies of one record on its way. */
interface UnderWay {
  readonly bodies: readonly ContentBody[];
  readonly reading: Map<number, AsyncIterator<Uint8Array>>;
}

export class ThreadSeries implements SeriesPort {
  readonly #host: BirpcReturn<HostCalls, ThreadCalls>;
  readonly #underWay = new Map<number, UnderWay>();
  #next = 0;

  constructor(host: BirpcReturn<HostCalls, ThreadCalls>) {
    this.#host = host;
  }

  log(origin: string): LogPort {
    return {
      submit: (entry, content, signal) => this.#submit(origin, entry, content, signal),
      sources: () => this.#host.sources(origin),
    };
  }

  next(origin: string): Promise<string> {
    return this.#host.next(origin);
  }

  /** The next piece of a body on its way, for the thread that has the log. */
  async piece(id: number, index: number, isFirst: boolean): Promise<Uint8Array | undefined> {
    const underWay = this.#underWay.get(id);
    // Its record was given up.
    if (underWay === undefined) return undefined;
    const { bodies, reading } = underWay;
    if (isFirst) {
      await reading.get(index)?.return?.();
      const body = bodies[index];
      invariant(body !== undefined, 'only bodies that were announced are asked for');
      reading.set(index, body.open()[Symbol.asyncIterator]());
    }
    const { value, done } = (await reading.get(index)?.next()) ?? { value: undefined, done: true };
    return done === true ? undefined : owned(value);
  }

  async #submit(
    origin: string,
    entry: Uint8Array,
    content: Content | undefined,
    signal: AbortSignal | undefined,
  ) {
    signal?.throwIfAborted();
    const id = this.#next++;
    const abandon = () => void this.#host.abandon.asEvent(id);
    const underWay: UnderWay = { bodies: content?.bodies ?? [], reading: new Map() };
    this.#underWay.set(id, underWay);
    signal?.addEventListener('abort', abandon, { once: true });
    try {
      const submitted = { id, origin, entry: owned(entry), content: await submittedOf(content) };
      signal?.throwIfAborted();
      return await this.#host.submit(submitted);
    } finally {
      signal?.removeEventListener('abort', abandon);
      this.#underWay.delete(id);
      for (const body of underWay.reading.values()) await body.return?.();
    }
  }
}

async function submittedOf(content: Content | undefined): Promise<SubmittedContent | undefined> {
  if (content === undefined) return undefined;
  const bodies: SubmittedBody[] = [];
  for (const body of content.bodies) {
    const { field, bytes } = body;
    const whole = bytes > WHOLE_BYTES_MAX ? undefined : await wholeOf(body);
    bodies.push({ field, bytes, whole });
  }
  return { disclosures: content.disclosures, bodies };
}

async function wholeOf({ open }: ContentBody): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of open()) pieces.push(piece);
  const [only] = pieces;
  return pieces.length === 1 && only !== undefined ? owned(only) : owned(Buffer.concat(pieces));
}
