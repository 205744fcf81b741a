/**
 * A call whose end was never written: what do its frames say about it?
 *
 * After a crash, or a disk that failed in the middle, the call is ended from what is on disk: the bodies as
 * far as they are there, and a note of what may be missing. It becomes a record like any other, with the
 * outcome that is known and `completeness: truncated`.
 */
import { createHash } from 'node:crypto';
import { toBase64url, utf8 } from '../core/bytes.ts';
import { hasCode } from '../core/errors.ts';
import type { Clock } from './clock.ts';
import type {
  BodyFacts,
  EndFacts,
  EndFrame,
  HeadFacts,
  JudgedFacts,
  RequestedFacts,
} from './facts.ts';
import { FRAME, type FrameType } from './journal/frame.ts';
import type { OpenCall } from './recover.ts';
import type { SpoolContext } from './spool.ts';
import { SpooledCall } from './spooled.ts';

/**
 * Writes the end frame that is missing and returns its position; returns that of a final end frame if there is
 * one. `known` is what a living process still knows. Rejects with `unverified` if the call does not open.
 */
export async function closeOpenCall(
  context: SpoolContext,
  call: OpenCall,
  known: EndFacts | undefined,
  clock: Clock,
): Promise<number> {
  const spooled = await SpooledCall.open(context, call.recordId, call.begin);
  const last = call.end === undefined ? undefined : await readable(spooled.end(call.end));
  if (last?.final) return call.end as number;
  const requested = await factsAt<RequestedFacts>(spooled, 'requested', call.requested);
  const judged = await factsAt<JudgedFacts>(spooled, 'judged', call.judged);
  const head = await factsAt<HeadFacts>(spooled, 'head', call.head);
  const request = await spool(spooled, FRAME.request, 'request', call.request);
  const response = await spool(spooled, FRAME.response, 'response', call.response);
  const isWhole = requested !== undefined && requested.sha256 === request.facts.sha256;
  // Whatever was still in memory, or on its way, when the process ended.
  const mayMissAnswer = requested !== undefined;
  const facts = known ?? last ?? crashed(spooled, head, requested !== undefined, clock);
  const end: EndFrame = {
    ...facts,
    final: true,
    ...(requested === undefined ? {} : { requested }),
    ...(judged === undefined ? {} : { judged }),
    ...(head === undefined ? {} : { head }),
    received: request.facts,
    response: response.facts,
    request_frames: request.frames,
    response_frames: response.frames,
    truncated: [...(isWhole ? [] : ['request.body']), ...(mayMissAnswer ? ['response.body'] : [])],
  };
  const sealed = spooled.seal.seal('end', utf8(JSON.stringify(end)), context.random);
  const position = context.journal.append(FRAME.end, call.recordId, sealed);
  await context.journal.commit();
  return position;
}

/** The last moment that is known is the call's end, so that no time after it is claimed. */
function crashed(
  spooled: SpooledCall,
  head: HeadFacts | undefined,
  forwarded: boolean,
  clock: Clock,
): EndFacts {
  return {
    transport: 'crash',
    at_us: head?.at_us ?? spooled.begin.received_us,
    delivered: 0,
    clock_error_us: clock.maxErrorUs(),
    forwarded,
  };
}

/** The frames of a body up to the first that does not open, and what they hold. */
async function spool(
  spooled: SpooledCall,
  type: FrameType,
  field: string,
  positions: readonly number[],
): Promise<{ facts: BodyFacts; frames: number[] }> {
  const hash = createHash('sha256');
  const frames: number[] = [];
  let bytes = 0;
  const pieces = spooled.bytes(type, field, positions);
  for (const position of positions) {
    const piece = await readable(pieces.next());
    if (piece === undefined || piece.done) break;
    hash.update(piece.value);
    bytes += piece.value.length;
    frames.push(position);
  }
  return { facts: { bytes, sha256: toBase64url(new Uint8Array(hash.digest())) }, frames };
}

async function factsAt<T>(
  spooled: SpooledCall,
  field: 'requested' | 'judged' | 'head',
  position: number | undefined,
): Promise<T | undefined> {
  if (position === undefined) return undefined;
  return (await readable(spooled.facts(field, position))) as T | undefined;
}

/** Nothing where the frame is lost or does not open: then less is known, and the record says so. */
async function readable<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (hasCode(error, 'unverified') || hasCode(error, 'storage')) return undefined;
    throw error;
  }
}
