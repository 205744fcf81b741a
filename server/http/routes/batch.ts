/**
 * POST LOG/v1/entries/batch: many entries, one head, a result for each in order.
 *
 * One bad entry does not spoil the others. All that is good goes to the log in one submission, so it
 * shares one commit; the answer waits for it.
 */
import { ENVELOPE_JSON_TYPE } from '../../core/envelope.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import { leafHash } from '../../core/merkle.ts';
import type { Hash } from '../../core/units.ts';
import type { Admitted } from '../../log/admit.ts';
import type { Head } from '../../storage/store.ts';
import { sendFresh } from '../answer.ts';
import type { Parts } from '../app.ts';
import { judgeBodyHeaders, readBody } from '../body.ts';
import type { Call, Log, LogRoute } from '../call.ts';
import { type BatchResult, delimited, type Framing, ndjson } from '../framing.ts';
import { isCallersDoing, problemOf } from '../problem.ts';
import { priceOfBatch } from '../rates.ts';
import { BATCH_BYTES_MAX } from '../settings.ts';
import type { Turns } from '../turns.ts';
import { PROTOBUF_TYPES, parseEntryBody } from './entry-body.ts';

export const NDJSON_TYPE = 'application/x-ndjson';
const TYPES = [NDJSON_TYPE, ...PROTOBUF_TYPES];

/** Entries of one batch whose signatures are checked, or wait for it, at a time. */
const CHECKED_MAX = 512;

export function batchRoutes(parts: Parts): readonly LogRoute[] {
  return [
    {
      on: 'log',
      method: 'POST',
      pattern: '/v1/entries/batch',
      access: 'submit',
      handle: (call, log) => postBatch(parts, call, log),
    },
  ];
}

async function postBatch(parts: Parts, call: Call, log: Log): Promise<void> {
  const type = judgeBodyHeaders(call.ctx.req, TYPES, BATCH_BYTES_MAX);
  log.checkRoom();
  const bounds = { bytesMax: BATCH_BYTES_MAX, timeoutMs: parts.settings.bodyTimeoutMs };
  const body = await readBody(call, bounds, parts);
  const framing = type === NDJSON_TYPE ? ndjson : delimited;
  const frames = framing.split(body);
  if (frames.length === 0) throw malformed('batch', 'has no entry');
  call.charge.more(priceOfBatch(frames.length));
  const entryType = type === NDJSON_TYPE ? ENVELOPE_JSON_TYPE : 'application/protobuf';
  const judged = await admitAll(parts.turns, log, frames, entryType);
  parts.tokens.checkStill(call.token);
  const outcomes = await submitAll(log, judged);
  checkNotAllPushedBack(outcomes);
  for (const one of outcomes) parts.metrics.refused(one);
  const notTheirs = outcomes.filter((one) => one instanceof SteleError && !isCallersDoing(one));
  call.charge.giveBack(priceOfBatch(notTheirs.length));
  const head = newestHead(outcomes) ?? log.head();
  sendFresh(
    call,
    type === NDJSON_TYPE ? NDJSON_TYPE : 'application/protobuf',
    Buffer.concat(await formatAnswer(parts.turns, call, log, framing, head, outcomes)),
  );
}

/** Each entry judged on its own, in turns with everybody else's. */
async function admitAll(
  turns: Turns,
  log: Log,
  frames: readonly Uint8Array[],
  type: string,
): Promise<(Admitted | SteleError)[]> {
  const work = turns.begin();
  const judged: Promise<Admitted | SteleError>[] = [];
  for (const frame of frames) {
    await work.step();
    await judged.at(-CHECKED_MAX);
    judged.push(admitOne(log, frame, type));
  }
  return Promise.all(judged);
}

async function admitOne(log: Log, frame: Uint8Array, type: string): Promise<Admitted | SteleError> {
  try {
    return await log.admit(parseEntryBody(frame, type));
  } catch (error) {
    if (error instanceof SteleError) return withoutTrace(error);
    throw error;
  }
}

/**
 * The same refusal, made here. The trace of the other keeps alive what its frames had in hand, which for a
 * decoder is all that it had made of an entry, and in a batch there may be ten thousand.
 */
function withoutTrace({ code, message, retryAfterS }: SteleError): SteleError {
  return new SteleError(code, message, retryAfterS === undefined ? {} : { retryAfterS });
}

type Outcome =
  | SteleError
  | {
      readonly admitted: Admitted;
      readonly index: number;
      readonly repeat: boolean;
      readonly head: Head;
    };

async function submitAll(log: Log, judged: readonly (Admitted | SteleError)[]): Promise<Outcome[]> {
  const good = judged.filter((one): one is Admitted => !(one instanceof SteleError));
  const submitted =
    good.length === 0 ? [] : await log.submit(good.map((admitted) => ({ admitted })));
  let at = 0;
  return judged.map((one) => {
    if (one instanceof SteleError) return one;
    const outcome = submitted[at++];
    if (outcome === undefined) throw new Error('each submission has one outcome');
    return outcome instanceof SteleError ? outcome : { admitted: one, ...outcome };
  });
}

const RETRYABLE: readonly string[] = ['pushback', 'storage', 'frozen'];

/** Where nothing was accepted for one passing reason, the whole request is refused for that reason. */
function checkNotAllPushedBack(outcomes: readonly Outcome[]): void {
  const [first] = outcomes;
  if (!(first instanceof SteleError) || !RETRYABLE.includes(first.code)) return;
  const same = outcomes.every((one) => one instanceof SteleError && one.code === first.code);
  if (same) throw first;
}

function newestHead(outcomes: readonly Outcome[]): Head | undefined {
  let newest: Head | undefined;
  for (const one of outcomes) {
    if (one instanceof SteleError) continue;
    if (newest === undefined || one.head.size > newest.size) newest = one.head;
  }
  return newest;
}

async function formatAnswer(
  turns: Turns,
  call: Call,
  log: Log,
  framing: Framing,
  head: Head,
  outcomes: readonly Outcome[],
): Promise<Uint8Array[]> {
  const work = turns.begin();
  const frames = [framing.head(head)];
  for (const one of outcomes) {
    await work.step();
    frames.push(
      one instanceof SteleError
        ? framing.problem(problemOf(one, call.id))
        : framing.result(await prove(log, head, one)),
    );
  }
  return frames;
}

async function prove(
  log: Log,
  head: Head,
  { admitted, index, repeat }: Exclude<Outcome, SteleError>,
): Promise<BatchResult> {
  const at = index as Parameters<Log['inclusion']>[0];
  const proof = await log.inclusion(at, head.size);
  return { index, leafHash: await leafHashOf(log, at, repeat, admitted), proof, repeat };
}

/** A repeat's leaf is the first entry, which may be signed otherwise than what was sent now. */
async function leafHashOf(
  log: Log,
  index: Parameters<Log['entry']>[0],
  repeat: boolean,
  admitted: Admitted,
): Promise<Hash> {
  return repeat ? leafHash(await log.entry(index)) : admitted.leafHash;
}
