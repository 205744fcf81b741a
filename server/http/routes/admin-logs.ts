/** `/v1/admin/logs`: making logs, and what they are like. */
import * as v from 'valibot';
import { ENTRY_BYTES_MAX, REASON_MAX, RECORD_LIST_MAX } from '../../core/limits.ts';
import { CONTINUITIES } from '../../core/record/control.ts';
import { describeListed, describeLog } from '../../log/describe.ts';
import { LOG_NAME, withRules } from '../../log/logs.ts';
import { VISIBILITIES } from '../../storage/instance.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import type { Call, InstanceRoute } from '../call.ts';
import { isBound } from '../roles.ts';
import { closed, readObject } from './admin-body.ts';
import { checkBound, onLog } from './admin-bound.ts';

/** Like those of a genesis record, which judges them again. */
const PayloadTypes = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,255}$/, 'not a payload type'))),
  v.minLength(1),
  v.maxLength(RECORD_LIST_MAX),
  v.check((types) => new Set(types).size === types.length, 'the same payload type twice'),
);

/** No limit is beyond what a number can say. */
const LIMIT_MAX = Number.MAX_SAFE_INTEGER;

const RULES = {
  payload_types: PayloadTypes,
  continuity: v.picklist(CONTINUITIES),
  entries_per_second: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1),
    v.maxValue(LIMIT_MAX),
    v.description('Entries that gateways together may have logged in a second.'),
  ),
  bytes_per_day: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(ENTRY_BYTES_MAX),
    v.maxValue(LIMIT_MAX),
    v.description('Bytes of entries that gateways together may have logged in a day of UTC.'),
  ),
};

export const NewLog = closed({
  name: v.pipe(v.string(), v.regex(LOG_NAME, `not a name of the form ${LOG_NAME.source}`)),
  visibility: v.exactOptional(v.picklist(VISIBILITIES)),
  previous: v.exactOptional(
    v.pipe(
      v.string(),
      v.regex(LOG_NAME, `not a name of the form ${LOG_NAME.source}`),
      v.description(
        'The log that this one follows, which has ended or signs nothing more: the genesis names its last head.',
      ),
    ),
  ),
  rules: v.exactOptional(
    closed({
      payload_types: v.exactOptional(RULES.payload_types),
      continuity: v.exactOptional(RULES.continuity),
      entries_per_second: v.exactOptional(RULES.entries_per_second),
      bytes_per_day: v.exactOptional(RULES.bytes_per_day),
    }),
  ),
});

const ChangedRules = closed({
  payload_types: v.exactOptional(RULES.payload_types),
  continuity: v.exactOptional(RULES.continuity),
  entries_per_second: v.exactOptional(v.nullable(RULES.entries_per_second)),
  bytes_per_day: v.exactOptional(v.nullable(RULES.bytes_per_day)),
});

export const ChangedLog = closed({
  visibility: v.exactOptional(v.picklist(VISIBILITIES)),
  rules: v.exactOptional(ChangedRules),
});

const REASON = v.pipe(
  v.string(),
  v.regex(/^[^\p{Cc}]+$/u, 'not text without control characters'),
  v.maxLength(REASON_MAX),
  v.description('Why; it becomes part of the log.'),
);

export const FrozenLog = closed({ reason: v.exactOptional(REASON) });

export const NextLog = closed({
  name: v.exactOptional(
    v.pipe(
      v.string(),
      v.regex(LOG_NAME, `not a name of the form ${LOG_NAME.source}`),
      v.description('Of the log that follows; without it the old name and the year.'),
    ),
  ),
});

export const RetiredLog = closed({
  name: v.pipe(v.string(), v.description('The name of the log, once more.')),
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
    {
      ...base,
      method: 'PATCH',
      pattern: '/v1/admin/logs/{log}',
      access: 'admin',
      handle: (call) => changeLog(parts, call),
    },
    {
      ...base,
      method: 'POST',
      pattern: '/v1/admin/logs/{log}/freeze',
      access: 'admin',
      handle: (call) => freezeLog(parts, call),
    },
    {
      ...base,
      method: 'POST',
      pattern: '/v1/admin/logs/{log}/roll',
      access: 'admin',
      handle: (call) => rollLog(parts, call),
    },
    {
      ...base,
      method: 'POST',
      pattern: '/v1/admin/logs/{log}/retire',
      access: 'admin',
      handle: (call) => retireLog(parts, call),
    },
    {
      ...base,
      method: 'DELETE',
      pattern: '/v1/admin/logs/{log}/retire',
      access: 'admin',
      handle: (call) => unretireLog(parts, call),
    },
  ];
}

async function createLog(parts: Parts, call: Call): Promise<void> {
  const { previous, ...wanted } = await readObject(parts, call, NewLog);
  checkBound(call, wanted.name);
  if (previous === undefined) await parts.logs.create(wanted);
  else {
    checkBound(call, previous);
    await parts.logs.create({ ...wanted, previous: await parts.logs.lastHead(previous) });
  }
  await sendLog(parts, call, wanted.name, 201);
}

function listLogs(parts: Parts, call: Call): void {
  const { token } = call;
  const bound = parts.logs
    .listAll()
    .filter(({ name }) => token !== undefined && isBound(token, name));
  sendJson(call, { logs: bound.map(describeListed) });
}

async function sendLog(parts: Parts, call: Call, name: string, status = 200): Promise<void> {
  sendJson(call, await describeLog(parts.logs, name), status);
}

async function showLog(parts: Parts, call: Call): Promise<void> {
  await onLog(parts, call, (log) => sendLog(parts, call, log.name));
}

async function changeLog(parts: Parts, call: Call): Promise<void> {
  const name = await onLog(parts, call, (log) => log.name);
  const { visibility, rules } = await readObject(parts, call, ChangedLog);
  await onLog(parts, call, async (log) => {
    if (rules !== undefined) await log.changeRules(withRules(log.rules, rules));
    if (visibility !== undefined) await parts.logs.changeVisibility(name, visibility);
  });
  await sendLog(parts, call, name);
}

async function freezeLog(parts: Parts, call: Call): Promise<void> {
  const name = await onLog(parts, call, (log) => log.name);
  const end = await readObject(parts, call, FrozenLog);
  await parts.logs.freeze(name, end);
  await sendLog(parts, call, name);
}

async function rollLog(parts: Parts, call: Call): Promise<void> {
  const name = await onLog(parts, call, (log) => log.name);
  const { name: wanted } = await readObject(parts, call, NextLog);
  if (wanted !== undefined) checkBound(call, wanted);
  const next = await parts.logs.roll(name, wanted);
  await sendLog(parts, call, next, 201);
}

async function retireLog(parts: Parts, call: Call): Promise<void> {
  const name = await onLog(parts, call, (log) => log.name);
  const { name: typed } = await readObject(parts, call, RetiredLog);
  await parts.logs.retire(name, typed);
  await sendLog(parts, call, name);
}

async function unretireLog(parts: Parts, call: Call): Promise<void> {
  const name = await onLog(parts, call, (log) => log.name);
  parts.logs.unretire(name);
  await sendLog(parts, call, name);
}
