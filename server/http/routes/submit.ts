/** POST LOG/v1/entries: one entry in, one receipt out. */
import type { Parts } from '../app.ts';
import { judgeBodyHeaders, readBody } from '../body.ts';
import type { Call, Log, LogRoute } from '../call.ts';
import { answerSubmitted, ENTRY_TYPES, entryBytesMax, parseEntryBody } from './entry-body.ts';
import { submitWithContent } from './submit-content.ts';

export const MULTIPART_TYPE = 'multipart/form-data';
const TYPES = [...ENTRY_TYPES, MULTIPART_TYPE];

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
  const body = await readBody(call, { bytesMax, timeoutMs }, parts);
  const admitted = await log.admit(parseEntryBody(body, type));
  const [submitted] = await log.submit([{ admitted }]);
  await answerSubmitted(call, log, admitted, submitted);
}
