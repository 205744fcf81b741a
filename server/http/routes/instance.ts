/** What runs here: `/v1/logs`, `/v1/keys`, `/.well-known/stele`, `/healthz`, `/readyz`. */
import { RECORD_TYPE } from '../../core/entry.ts';
import { DSSE_JSON_TYPE, ENVELOPE_JSON_TYPE } from '../../core/envelope.ts';
import { SteleError } from '../../core/errors.ts';
import { RECEIPT_TYPE } from '../../core/receipt.ts';
import { describeListed, describeLogKey } from '../../log/describe.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import type { Call, InstanceRoute } from '../call.ts';
import { priceOfKeys } from '../rates.ts';
import { readinessOf } from '../readiness.ts';
import { isVisible } from '../roles.ts';

export function instanceRoutes(parts: Parts): readonly InstanceRoute[] {
  const route = (pattern: string, handle: (call: Call) => Promise<void> | void) =>
    ({ on: 'instance', method: 'GET', pattern, access: 'open', handle }) as const;
  return [
    route('/v1/logs', (call) => getLogs(parts, call)),
    route('/v1/keys', (call) => getKeys(parts, call)),
    route('/.well-known/stele', (call) => getWellKnown(parts, call)),
    route('/healthz', (call) => sendJson(call, { status: 'ok' })),
    route('/readyz', (call) => getReady(parts, call)),
  ];
}

function visibleLogs(parts: Parts, call: Call) {
  return parts.logs
    .list()
    .filter(({ name, visibility }) => isVisible(visibility, call.token, name));
}

/** The list depends on who asks, so no cache may keep it. */
function getLogs(parts: Parts, call: Call): void {
  sendJson(call, { logs: visibleLogs(parts, call).map(describeListed) });
  call.ctx.set('Vary', 'Authorization');
}

async function getKeys(parts: Parts, call: Call): Promise<void> {
  const logs = visibleLogs(parts, call);
  call.charge.more(priceOfKeys(logs.length));
  const keys = [];
  const unavailable: string[] = [];
  for (const { name, origin } of logs) {
    const known = await ownKeysOf(parts, name);
    if (known === undefined) unavailable.push(name);
    keys.push(...(known ?? []).map((key) => ({ log: name, origin, ...describeLogKey(key) })));
  }
  const { witness } = parts;
  sendJson(call, {
    keys,
    ...(unavailable.length === 0 ? {} : { unavailable }),
    ...(witness === undefined ? {} : { witness: witness.keys.map(({ text }) => text) }),
  });
  call.ctx.set('Vary', 'Authorization');
}

/** Nothing of a log that cannot be opened: the keys of the others are given all the same. */
async function ownKeysOf(parts: Parts, name: string) {
  try {
    return await parts.logs.use(name, (log) => log.ownKeys());
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    parts.logger.debug({ err: error }, `log ${name}: its keys cannot be given`);
    return undefined;
  }
}

function getWellKnown(parts: Parts, call: Call): void {
  sendJson(call, {
    name: 'stele',
    version: parts.version,
    logs: '/v1/logs',
    keys: '/v1/keys',
    ...(parts.witness === undefined ? {} : { witness: '/witness' }),
    formats: [RECORD_TYPE, RECEIPT_TYPE, DSSE_JSON_TYPE, ENVELOPE_JSON_TYPE],
  });
}

/** What it says depends on who asks, so no cache may keep it. */
async function getReady(parts: Parts, call: Call): Promise<void> {
  try {
    parts.instance.identity();
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw new SteleError(cause.code, 'the server’s own database cannot be read', { cause });
  }
  sendJson(call, await readinessOf(parts, call.token));
  call.ctx.set('Vary', 'Authorization');
}
