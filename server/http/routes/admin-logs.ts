/** `/v1/admin/logs`: making logs, and what they are like. */
import * as v from 'valibot';
import { toBase64 } from '../../core/bytes.ts';
import { SteleError } from '../../core/errors.ts';
import { RECORD_LIST_MAX } from '../../core/limits.ts';
import { CONTINUITIES } from '../../core/record/control.ts';
import { timestamp } from '../../log/clock.ts';
import { LOG_NAME } from '../../log/logs.ts';
import { VISIBILITIES } from '../../storage/instance.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import type { Call, InstanceRoute, Log } from '../call.ts';
import { isBound } from '../roles.ts';
import { closed, readObject } from './admin-body.ts';
import { boundLogs, openBound } from './admin-bound.ts';

/** Like those of a genesis record, which judges them again. */
const PayloadTypes = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,255}$/, 'not a payload type'))),
  v.minLength(1),
  v.maxLength(RECORD_LIST_MAX),
  v.check((types) => new Set(types).size === types.length, 'the same payload type twice'),
);

export const NewLog = closed({
  name: v.pipe(v.string(), v.regex(LOG_NAME, `not a name of the form ${LOG_NAME.source}`)),
  visibility: v.exactOptional(v.picklist(VISIBILITIES)),
  rules: v.exactOptional(
    closed({
      payload_types: v.exactOptional(PayloadTypes),
      continuity: v.exactOptional(v.picklist(CONTINUITIES)),
    }),
  ),
});

export function adminLogRoutes(parts: Parts): readonly InstanceRoute[] {
  const base = { on: 'instance' } as const;
  return [
    {
      ...base,
      method: 'POST',
      pattern: '/v1/admin/logs',
      access: 'admin',
      handle: (call) => createLog(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: '/v1/admin/logs',
      access: 'admin',
      handle: (call) => listLogs(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: '/v1/admin/logs/{log}',
      access: 'admin',
      handle: (call) => showLog(parts, call),
    },
  ];
}

async function createLog(parts: Parts, call: Call): Promise<void> {
  const wanted = await readObject(parts, call, NewLog);
  const { name } = wanted;
  if (call.token === undefined || !isBound(call.token, name)) {
    throw new SteleError('forbidden', `token ${call.token?.id} is not bound to log ${name}`);
  }
  const log = await parts.logs.create(wanted);
  sendJson(call, describe(log), 201);
}

function listLogs(parts: Parts, call: Call): void {
  const logs = boundLogs(parts, call);
  sendJson(call, {
    logs: logs.map(({ name, origin, visibility }) => ({ name, origin, visibility })),
  });
}

async function showLog(parts: Parts, call: Call): Promise<void> {
  sendJson(call, describe(await openBound(parts, call)));
}

function describe(log: Log) {
  const { size, root, timeMs } = log.head();
  const { identity, anchor } = log.verifierKeys();
  return {
    name: log.name,
    origin: log.origin,
    visibility: log.visibility,
    size,
    root: toBase64(root),
    time: timestamp(timeMs),
    rules: log.rules,
    keys: [
      { purpose: 'identity', vkey: identity.text },
      { purpose: 'anchor', vkey: anchor.text },
    ],
  };
}
