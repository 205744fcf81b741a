/**
 * `/witness`: this instance as a witness of other logs. The bytes and statuses of its two routes for logs and
 * their readers are those of C2SP tlog-witness; the rest is a page for people and lists for programs.
 *
 * What was refused may hold checkpoints that a log does not show to everybody, so it is for administrators.
 */
import {
  describeEvidence,
  describeWitness,
  EVIDENCE_PAGE_MAX,
  noWitness,
  WITNESSED_SHOWN_MAX,
} from '../../admin/witnessed.ts';
import { parseHex } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import {
  ADD_CHECKPOINT_BYTES_MAX,
  formatTlogSize,
  TLOG_SIZE_TYPE,
} from '../../core/tlog-witness.ts';
import type { Witness } from '../../witness/giving.ts';
import { HTML_TYPE, sendFresh, sendHead, sendJson, TEXT_TYPE, tagged } from '../answer.ts';
import type { Parts } from '../app.ts';
import { judgeBodyHeaders, readBody } from '../body.ts';
import { type Call, type InstanceRoute, param } from '../call.ts';
import { setPage } from '../security.ts';
import { formatWitnessPage, WITNESS_PAGE_POLICY } from './witness-page.ts';

export function witnessRoutes(parts: Parts): readonly InstanceRoute[] {
  const base = { on: 'instance', access: 'open' } as const;
  return [
    {
      ...base,
      method: 'POST',
      pattern: '/witness/add-checkpoint',
      handle: (call) => addCheckpoint(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: '/witness/{id}/checkpoint',
      handle: (call) => getNewest(parts, call),
    },
    { ...base, method: 'GET', pattern: '/witness', handle: (call) => getPage(parts, call) },
    { ...base, method: 'GET', pattern: '/v1/witness', handle: (call) => getWitness(parts, call) },
    {
      on: 'instance',
      access: 'admin',
      method: 'GET',
      pattern: '/v1/admin/witness/evidence',
      query: ['before', 'limit'],
      handle: (call) => getEvidence(parts, call),
    },
  ];
}

function witnessOf({ witness }: Parts): Witness {
  if (witness === undefined) throw noWitness();
  return witness;
}

/** Bytes from strangers: whatever their type is called, as the specification names none. */
async function addCheckpoint(parts: Parts, call: Call): Promise<void> {
  const witness = witnessOf(parts);
  judgeBodyHeaders(call.ctx.req, 'any', ADD_CHECKPOINT_BYTES_MAX);
  const { bodyTimeoutMs: timeoutMs } = parts.settings;
  const body = await readBody(call, { bytesMax: ADD_CHECKPOINT_BYTES_MAX, timeoutMs }, parts);
  const answer = await witness.add(body);
  if (answer.kind === 'cosigned') sendFresh(call, TEXT_TYPE, answer.lines);
  else sendFresh(call, TLOG_SIZE_TYPE, formatTlogSize(answer.size), 409);
}

async function getNewest(parts: Parts, call: Call): Promise<void> {
  const witness = witnessOf(parts);
  const hex = param(call, 0);
  const note = await witness.newest(parseHex(hex, 'SHA-256 of the origin', 32), hex);
  if (note === undefined) {
    throw new SteleError('not_found', 'no checkpoint of this log was cosigned');
  }
  sendHead(call, TEXT_TYPE, tagged(note));
}

function getPage(parts: Parts, call: Call): void {
  const witness = witnessOf(parts);
  sendFresh(call, HTML_TYPE, formatWitnessPage(witness, witness.list(WITNESSED_SHOWN_MAX)));
  setPage(call.ctx.res, WITNESS_PAGE_POLICY);
}

function getWitness(parts: Parts, call: Call): void {
  const { origins, stopped } = witnessOf(parts);
  sendJson(call, {
    ...describeWitness(parts.instance.witnessed),
    known: origins.length,
    ...(stopped === undefined ? {} : { stopped: true }),
  });
}

function getEvidence(parts: Parts, call: Call): void {
  witnessOf(parts);
  const { query } = call;
  const before = query.get('before');
  const limit = parseDecimal(query.get('limit') ?? String(EVIDENCE_PAGE_MAX), 'limit');
  if (limit < 1 || limit > EVIDENCE_PAGE_MAX) {
    throw malformed('limit', `${limit} is not 1 to ${EVIDENCE_PAGE_MAX}`);
  }
  const page = { limit, before: before === undefined ? undefined : parseDecimal(before, 'before') };
  sendJson(call, { evidence: describeEvidence(parts.instance.witnessed, page) });
}
