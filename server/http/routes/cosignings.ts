/**
 * `LOG/v1/witnesses`: what witnesses were asked about heads, and what they answered, holes included; and what one
 * of them holds against the log, for whoever judges it.
 *
 * Why an attempt failed names hosts of the operator's, so it is for those who hold a token.
 */
import { witnessingOf } from '../../admin/witnesses.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { malformed } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import { timestamp } from '../../log/clock.ts';
import type { CosigningSummary, WitnessRows } from '../../storage/witnesses.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import type { Call, Log, LogRoute } from '../call.ts';
import { COSIGNINGS_PAGE_MAX } from '../settings.ts';

export function cosigningRoutes(parts: Parts): readonly LogRoute[] {
  return [
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/witnesses',
      access: 'heads',
      query: ['before', 'limit'],
      handle: (call, log) => listCosignings(parts.instance.witnesses, call, log),
    },
  ];
}

function listCosignings(rows: WitnessRows, call: Call, log: Log): void {
  const { query, token } = call;
  const before = query.get('before');
  const limit = parseDecimal(query.get('limit') ?? String(COSIGNINGS_PAGE_MAX), 'limit');
  if (limit < 1 || limit > COSIGNINGS_PAGE_MAX) {
    throw malformed('limit', `${limit} is not 1 to ${COSIGNINGS_PAGE_MAX}`);
  }
  const page = { limit, before: before === undefined ? undefined : parseDecimal(before, 'before') };
  sendJson(call, {
    witnessing: witnessingOf(rows, log.name),
    asked: rows.list(log.name, page).map((row) => describe(row, token !== undefined)),
    evidence: rows
      .evidence(log.name, { all: true })
      .map(({ evidence }) => JSON.parse(evidence) as JsonObject),
  });
}

function describe(
  { witness, size, state, timeMs, attempts, reason, plannedMs, changedMs }: CosigningSummary,
  withReason: boolean,
): JsonObject {
  return {
    witness,
    size,
    state,
    ...(timeMs === null ? {} : { time: timestamp(timeMs) }),
    attempts,
    planned: timestamp(plannedMs),
    changed: timestamp(changedMs),
    ...(reason === null || !withReason ? {} : { reason }),
  };
}
