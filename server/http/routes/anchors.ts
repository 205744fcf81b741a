/**
 * `LOG/v1/anchors`: what targets outside were asked about heads, and what they answered, holes included; and
 * each answer in the form that other people's tools read.
 *
 * Why an attempt failed names hosts of the operator's, so it is for those who hold a token.
 */
import { parseBase64 } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import { SIGSTORE_BUNDLE_TYPE } from '../../core/sigstore/sigstore-bundle.ts';
import { timestamp } from '../../log/clock.ts';
import type { AnchorRows, AnchorSummary } from '../../storage/anchors.ts';
import { sendFresh, sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';
import { ANCHORS_PAGE_MAX } from '../settings.ts';

/** A whole RFC 3161 response. */
export const TIMESTAMP_TYPE = 'application/timestamp-reply';

export function anchorRoutes(parts: Parts): readonly LogRoute[] {
  return [
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/anchors',
      access: 'heads',
      query: ['before', 'limit'],
      handle: (call, log) => listAnchors(parts.instance.anchors, call, log),
    },
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/anchors/{target}/{size}',
      access: 'heads',
      handle: (call, log) => getAnchor(parts.instance.anchors, call, log),
    },
  ];
}

function listAnchors(rows: AnchorRows, call: Call, log: Log): void {
  const { query, token } = call;
  const before = query.get('before');
  const limit = parseDecimal(query.get('limit') ?? String(ANCHORS_PAGE_MAX), 'limit');
  if (limit < 1 || limit > ANCHORS_PAGE_MAX) {
    throw malformed('limit', `${limit} is not 1 to ${ANCHORS_PAGE_MAX}`);
  }
  const page = { limit, before: before === undefined ? undefined : parseDecimal(before, 'before') };
  const listed = rows.list(log.name, page);
  sendJson(call, { anchors: listed.map((row) => describe(row, token !== undefined)) });
}

function getAnchor(rows: AnchorRows, call: Call, log: Log): void {
  const target = param(call, 0);
  const size = parseDecimal(param(call, 1), 'size');
  const row = rows.published(log.name, target, size);
  if (row === undefined) {
    throw new SteleError('not_found', `anchor: there is none of size ${size} by this target`);
  }
  const kept = JSON.parse(row.anchor ?? '{}') as JsonObject;
  if (row.kind === 'rekor') sendFresh(call, SIGSTORE_BUNDLE_TYPE, JSON.stringify(kept.bundle));
  else sendFresh(call, TIMESTAMP_TYPE, parseBase64(String(kept.response), 'response'));
}

function describe(
  { target, kind, size, state, timeMs, attempts, reason, plannedMs, changedMs }: AnchorSummary,
  withReason: boolean,
): JsonObject {
  return {
    target,
    type: kind,
    size,
    state,
    ...(timeMs === null ? {} : { time: timestamp(timeMs) }),
    attempts,
    planned: timestamp(plannedMs),
    changed: timestamp(changedMs),
    ...(reason === null || !withReason ? {} : { reason }),
  };
}
