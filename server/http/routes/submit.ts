/** POST LOG/v1/entries: one entry in, one receipt out. */

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
import type { Parts } from '../app.ts';
import { judgeBodyHeaders, readBody } from '../body.ts';
import type { Call, Log, LogRoute } from '../call.ts';
import { ENVELOPE_BYTES_MAX } from '../settings.ts';
import { submitWithContent } from './submit-content.ts';

export const PROTOBUF_TYPES = [
  'application/protobuf',
  'application/x-protobuf',
  'application/octet-stream',
];
export const JSON_TYPES = [DSSE_JSON_TYPE, ENVELOPE_JSON_TYPE, 'application/json'];
const MULTIPART_TYPE = 'multipart/form-data';
const TYPES = [...PROTOBUF_TYPES, ...JSON_TYPES, MULTIPART_TYPE];

export function submitRoutes(parts: Parts): readonly LogRoute[] {
  return [
    {
      on: 'log',
      method: 'POST',
      pattern: '/v1/entries',
      access: 'submit',
      handle: (call, log) => postEntry(parts, call, log),
    },
  ];
}

async function postEntry(parts: Parts, call: Call, log: Log): Promise<void> {
  const { req } = call.ctx;
  const type = judgeBodyHeaders(req, TYPES, Number.MAX_SAFE_INTEGER);
  if (type === MULTIPART_TYPE) {
    await submitWithContent(parts, call, log);
    return;
  }
  log.checkRoom();
  const bytesMax = entryBytesMax(type);
  judgeBodyHeaders(req, TYPES, bytesMax);
  const { bodyTimeoutMs: timeoutMs } = parts.settings;
  const body = await readBody(call, { bytesMax, timeoutMs }, parts.held);
  const admitted = await log.admit(parseEntryBody(body, type));
  const [submitted] = await log.submit([{ admitted }]);
  await answerSubmitted(call, log, admitted, submitted);
}

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
