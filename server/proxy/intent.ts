/**
 * The intent to make a call: what is on record of it before the provider has the request (posture strict)?
 *
 * All that the call's own record will say of the request, with salts of its own. The request's body does not
 * travel with it but with the call's record; the disclosure that comes along has its hash.
 */
import type { IntentRecord } from '../core/record.ts';
import type { BodyFacts, EndFrame, JudgedFacts } from './facts.ts';
import type { RequestFacts } from './providers/provider.ts';
import { buildCall, buildMinimal, type CallInput } from './record.ts';
import type { SpooledCall } from './spooled.ts';

/** A call whose whole request is on disk. */
export interface IntendedCall {
  /** The intent's own id. */
  readonly recordId: string;
  /** The call's. */
  readonly call: string;
  readonly beginPosition: number;
  readonly requestFrames: readonly number[];
  readonly received: BodyFacts;
  readonly judged: JudgedFacts | undefined;
  /** What is still in memory; without it the request is read back. */
  live?: LiveIntent | undefined;
}

export interface LiveIntent {
  readonly spooled: SpooledCall;
  readonly request: RequestFacts | undefined;
}

export interface BuiltIntent {
  readonly record: IntentRecord;
  readonly disclosures: readonly string[];
}

export interface IntentInput extends Omit<CallInput, 'end' | 'live'> {
  readonly intent: IntendedCall;
  readonly live: LiveIntent | undefined;
  readonly clockErrorUs: number;
}

/** Throws as `buildCall` does; without `details`, nothing that is read out of the body is in it. */
export async function buildIntent(input: IntentInput, details = true): Promise<BuiltIntent> {
  const { intent, live, clockErrorUs, ...rest } = input;
  const { received, requestFrames, judged } = intent;
  const end: EndFrame = {
    // Nothing has happened yet, so nothing of this is on record.
    transport: 'crash',
    at_us: rest.spooled.begin.received_us,
    delivered: 0,
    clock_error_us: clockErrorUs,
    forwarded: false,
    final: false,
    received,
    ...(judged === undefined ? {} : { judged }),
    response: { bytes: 0, sha256: '' },
    request_frames: requestFrames,
    response_frames: [],
  };
  const known = live && { ...live, end, response: undefined };
  const call = { ...rest, end, live: known };
  const built = details ? await buildCall(call) : await buildMinimal(call);
  const { schema, log, source, time, ids, auth, model, policy, commitments, retention } =
    built.record;
  const record: IntentRecord = {
    schema,
    kind: 'intent',
    log,
    record_id: intent.recordId,
    source,
    time: { received: time.received, clock: time.clock },
    ids,
    auth,
    input: built.record.input,
    model,
    policy,
    commitments,
    retention,
  };
  return { record, disclosures: built.disclosures };
}
