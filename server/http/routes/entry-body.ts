/** One entry as it comes in, alone or as a part of something, and the receipt that answers it. */
import {
  DSSE_JSON_TYPE,
  ENVELOPE_JSON_TYPE,
  type Entry,
  parseEnvelopeJson,
} from '../../core/entry.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import { ENTRY_BYTES_MAX } from '../../core/limits.ts';
import { RECEIPT_TYPE } from '../../core/receipt.ts';
import type { Admitted } from '../../log/admit.ts';
import { sendFresh } from '../answer.ts';
import type { Call, Log } from '../call.ts';
import { ENVELOPE_BYTES_MAX } from '../settings.ts';

export const PROTOBUF_TYPES = [
  'application/protobuf',
  'application/x-protobuf',
  'application/octet-stream',
];
const JSON_TYPES = [DSSE_JSON_TYPE, ENVELOPE_JSON_TYPE, 'application/json'];
/** Every spelling of one entry. */
export const ENTRY_TYPES = [...PROTOBUF_TYPES, ...JSON_TYPES];

export function entryBytesMax(type: string): number {
  return PROTOBUF_TYPES.includes(type) ? ENTRY_BYTES_MAX : ENVELOPE_BYTES_MAX;
}

/** Bytes from strangers: an entry in the spelling that `type` names, its own or that of transport. */
export function parseEntryBody(body: Uint8Array, type: string): Entry | Uint8Array {
  if (body.length === 0) throw malformed('body', 'is empty where an entry is needed');
  if (PROTOBUF_TYPES.includes(type)) return body;
  return parseEnvelopeJson(body, { windows: type !== DSSE_JSON_TYPE });
}

/** The receipt, 201 or for a repeat 200; or throws why there is none. */
export async function answerSubmitted(
  call: Call,
  log: Log,
  admitted: Admitted,
  submitted: Awaited<ReturnType<Log['submit']>>[number] | undefined,
): Promise<void> {
  if (submitted === undefined || submitted instanceof SteleError) {
    throw submitted ?? new Error('a submission has one outcome');
  }
  const receipt = await log.receiptOf(submitted, admitted);
  sendFresh(call, RECEIPT_TYPE, receipt, submitted.repeat ? 200 : 201);
  call.ctx.set('Location', `/logs/${log.name}/v1/entries/${submitted.index}`);
}
