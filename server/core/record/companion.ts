/**
 * Records beside the calls: what is missing, who read, what was erased or kept, what was learned later.
 *
 * A record never changes. Whatever is to be said about one later is another record that names it, with
 * the role that acted.
 */
import { REASON_MAX, RECORD_LIST_MAX } from '../limits.ts';
import {
  anyObject,
  bool,
  constant,
  int,
  list,
  object,
  oneOf,
  type Shaped,
  test,
  text,
  where,
} from '../schema.ts';
import {
  common,
  dig,
  distinct,
  origin,
  plainTime,
  recordIds,
  sourceId,
  str,
  token,
  ts,
  uuidv7,
} from './fields.ts';
import { isCommitmentName } from './names.ts';

const commitmentName = test(
  (v): v is string => typeof v === 'string' && isCommitmentName(v),
  'a commitment name',
);

const reason = text(REASON_MAX);

const base = { ...common, time: plainTime };

/** Evidence that should exist and does not. Sequence numbers are from the first to the last missing. */
export const gap = where(
  object(
    {
      ...base,
      kind: constant('gap'),
      gap: object(
        { reason: token, source: sourceId, seq_from: int(), seq_to: int() },
        { time_from: ts, time_to: ts, count: int() },
      ),
    },
    {},
  ),
  ({ gap: { seq_from, seq_to, time_from, time_to } }) => {
    if (seq_to < seq_from) return { path: 'gap.seq_to', rule: `${seq_to} is before ${seq_from}` };
    // Times in one format and zone compare as text.
    return time_from !== undefined && time_to !== undefined && time_to < time_from
      ? { path: 'gap.time_to', rule: `${time_to} is before ${time_from}` }
      : undefined;
  },
);

/** A source is alive and has got as far as `seq`, so that silence shows. */
export const heartbeat = object(
  { ...base, kind: constant('heartbeat'), heartbeat: object({ seq: int() }, {}) },
  {},
);

/** Somebody read content: made, and durable, before it is given out. */
export const access = object(
  {
    ...base,
    kind: constant('access'),
    access: object(
      {
        log: origin,
        record_id: uuidv7,
        fields: distinct(list(commitmentName, RECORD_LIST_MAX, 1)),
        reason,
        holder: str,
      },
      { source: sourceId, role: token, grant: str },
    ),
  },
  {},
);

/** Content was destroyed. What stays is the digests, and this. */
export const erasure = object(
  {
    ...base,
    kind: constant('erasure'),
    erasure: object(
      {
        records: recordIds,
        fields: distinct(list(commitmentName, RECORD_LIST_MAX, 1)),
        ground: str,
        requested: ts,
        executed: ts,
        approver: str,
        role: token,
      },
      { source: sourceId, holder: str, backups_until: ts },
    ),
  },
  {},
);

/** Content may not be erased, or may again. */
export const hold = object(
  {
    ...base,
    kind: constant('hold'),
    hold: object(
      { action: oneOf(['place', 'release']), id: str, reason, holder: str, role: token },
      { records: recordIds, source: sourceId, tenant: str, from: ts, to: ts, until: ts },
    ),
  },
  {},
);

/** A later fact about earlier records: a human review, an executed effect, an incident, a correction. */
export const annotation = object(
  {
    ...base,
    kind: constant('annotation'),
    annotation: object(
      { records: recordIds, type: token, role: token },
      {
        source: sourceId,
        verdict: token,
        tag: str,
        model: str,
        effect: object({ type: token }, { ok: bool, id: str }),
        reviewer_commit: dig,
        reason_commit: dig,
        target_commit: dig,
      },
    ),
  },
  {},
);

/** A report or evidence was handed out: what, over which entries, by whom. */
export const report = object(
  {
    ...base,
    kind: constant('report'),
    report: object(
      { type: token, digest: dig, role: token },
      { records: recordIds, holder: str, from: ts, to: ts, size: int(), reason },
    ),
  },
  {},
);

/** What becomes of an act of administration, step by step. */
export const ADMIN_STATES = ['requested', 'rejected', 'begun', 'done', 'failed'] as const;

/**
 * Somebody administered the instance: before it is done, an entry says what is to be done and by whom, and
 * another after it what came of it. A request is an act that waits for the approval of somebody else.
 */
export const admin = object(
  {
    ...base,
    kind: constant('admin'),
    admin: object(
      { act: token, state: oneOf(ADMIN_STATES), holder: str },
      {
        token: str,
        approver: str,
        request: str,
        log: str,
        details: anyObject,
        begun: int(),
        error: str,
      },
    ),
  },
  {},
);

export type GapRecord = Shaped<typeof gap>;
export type HeartbeatRecord = Shaped<typeof heartbeat>;
export type AccessRecord = Shaped<typeof access>;
export type ErasureRecord = Shaped<typeof erasure>;
export type HoldRecord = Shaped<typeof hold>;
export type AnnotationRecord = Shaped<typeof annotation>;
export type AdminRecord = Shaped<typeof admin>;
export type ReportRecord = Shaped<typeof report>;
