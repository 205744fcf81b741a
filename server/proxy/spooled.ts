/**
 * A call as it lies in the journal: how is it read back?
 *
 * Used to send a request that was too large for memory, to submit bodies, and to make the record of a call
 * that an earlier process began. What does not open is `unverified`; nothing is guessed.
 */
import { parseUtf8 } from '../core/bytes.ts';
import { SteleError, unverified } from '../core/errors.ts';
import { free } from '../core/free.ts';
import { associatedData } from '../vault/chunks.ts';
import type { BeginFacts, EndFrame } from './facts.ts';
import { FRAME, type FrameType } from './journal/frame.ts';
import { RECENT_FRAME_BYTES_MAX } from './journal/recent.ts';
import { FactsSeal, FieldOpener } from './journal/seal.ts';
import type { SpoolContext } from './spool.ts';

/** A wrapped data key: salt, sealed key, tag (`vault/keyring.ts`). */
export const WRAPPED_KEY_BYTES = 80;

type ReadContext = Pick<SpoolContext, 'journal' | 'keyring' | 'origin'>;

export class SpooledCall {
  readonly recordId: string;
  readonly begin: BeginFacts;
  readonly dataKey: Uint8Array;
  readonly seal: FactsSeal;
  readonly #context: ReadContext;

  private constructor(
    context: ReadContext,
    recordId: string,
    begin: BeginFacts,
    dataKey: Uint8Array,
    seal: FactsSeal,
  ) {
    this.#context = context;
    this.recordId = recordId;
    this.begin = begin;
    this.dataKey = dataKey;
    this.seal = seal;
  }

  /** A call of this process, whose key is still at hand. */
  static of(
    context: ReadContext,
    recordId: string,
    begin: BeginFacts,
    dataKey: Uint8Array,
    seal: FactsSeal,
  ): SpooledCall {
    return new SpooledCall(context, recordId, begin, dataKey, seal);
  }

  static async open(
    context: ReadContext,
    recordId: string,
    position: number,
  ): Promise<SpooledCall> {
    const frame = await context.journal.read(position);
    if (frame.type !== FRAME.begin || frame.call !== recordId) {
      throw unverified(`call ${recordId}`, `position ${position} is not its begin`);
    }
    const place = { origin: context.origin, recordId };
    const wrapped = frame.payload.subarray(0, WRAPPED_KEY_BYTES);
    const owner = associatedData({ ...place, field: 'key' });
    const dataKey = context.keyring.unwrap(wrapped, owner);
    const seal = new FactsSeal(dataKey, place);
    const begin = seal.open('begin', frame.payload.subarray(WRAPPED_KEY_BYTES));
    return new SpooledCall(context, recordId, parseFacts(begin) as BeginFacts, dataKey, seal);
  }

  /** The sealed facts in a frame: `requested`, `judged`, `head` or `end`. */
  async facts(field: 'requested' | 'judged' | 'head' | 'end', position: number): Promise<unknown> {
    const frame = await this.#frame(FRAME[field], position);
    return parseFacts(this.seal.open(field, frame));
  }

  async end(position: number): Promise<EndFrame> {
    return (await this.facts('end', position)) as EndFrame;
  }

  /** The bytes in these frames of one field, in order, at most `limit` of them. */
  async *bytes(
    type: FrameType,
    field: string,
    positions: readonly number[],
    limit = Number.POSITIVE_INFINITY,
  ): AsyncGenerator<Uint8Array> {
    const opener = new FieldOpener(this.dataKey, this.#place(field));
    let left = limit;
    for (const position of positions) {
      if (left <= 0) return;
      const sealed = await this.#frame(type, position);
      const plain = opener.next(sealed);
      // One that is not kept for others was read for this alone.
      if (sealed.length > RECENT_FRAME_BYTES_MAX) free(sealed);
      const piece = plain.length <= left ? plain : plain.subarray(0, left);
      // Before it is given away, since it may be empty here afterwards.
      left -= piece.length;
      yield piece;
    }
  }

  request(positions: readonly number[]): AsyncGenerator<Uint8Array> {
    return this.bytes(FRAME.request, 'request', positions);
  }

  response(positions: readonly number[], limit?: number): AsyncGenerator<Uint8Array> {
    return this.bytes(FRAME.response, 'response', positions, limit);
  }

  async #frame(type: FrameType, position: number): Promise<Uint8Array> {
    const frame = await this.#context.journal.read(position);
    if (frame.type !== type || frame.call !== this.recordId) {
      throw unverified(`call ${this.recordId}`, `position ${position} is not a frame of it`);
    }
    return frame.payload;
  }

  #place(field: string) {
    return { origin: this.#context.origin, recordId: this.recordId, field };
  }
}

/** All of a body that is known to fit; `too_large` otherwise. */
export async function collect(pieces: AsyncIterable<Uint8Array>, max: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (bytes > max) throw new SteleError('too_large', `body: more than ${max} bytes`);
    parts.push(piece);
  }
  return Buffer.concat(parts);
}

/** Facts were sealed by this program, so their shape is its own. */
function parseFacts(plain: Uint8Array): unknown {
  return JSON.parse(parseUtf8(plain, 'spooled facts'));
}
