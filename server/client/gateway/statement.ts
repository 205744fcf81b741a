/**
 * What does a gateway say, before it has a place in a log?
 *
 * A record without the members that its place gives it: schema, log, and where it stands in its source's
 * chain; or opaque bytes of another type, which have no chain. What can never be logged is refused here,
 * before it gets a number: a number that was given out is used up.
 */
import { utf8 } from '../../core/bytes.ts';
import { malformed, SteleError, shown } from '../../core/errors.ts';
import { formatRecord, isControlKind, RECORD_TYPE, type Record } from '../../core/record.ts';
import { checkEntry } from '../../core/statement.ts';
import type { Content } from '../multipart.ts';
import type { Standing } from '../remake.ts';

type Source = Record['source'];

/** What a gateway may say of its capture; the rest of `source` is not for each record to choose. */
type Capture = Partial<Pick<Source, 'provenance' | 'completeness' | 'truncated_fields'>>;

type Unplaced<R> = R extends { readonly kind: 'genesis' | 'key' | 'policy' | 'gap' | 'heartbeat' }
  ? never
  : Omit<R, 'schema' | 'log' | 'record_id' | 'source'>;

/** Something that is missing; without `source` and numbers it is about this gateway's own record. */
interface UnplacedGap {
  readonly kind: 'gap';
  readonly time: { readonly received: string };
  readonly gap: {
    readonly reason: string;
    readonly source?: string;
    readonly seq_from?: number;
    readonly seq_to?: number;
    readonly time_from?: string;
    readonly time_to?: string;
    readonly count?: number;
  };
}

interface UnplacedHeartbeat {
  readonly kind: 'heartbeat';
  readonly time: { readonly received: string };
}

export type NewRecord = (Unplaced<Record> | UnplacedGap | UnplacedHeartbeat) & {
  /** Without one, it is given one. */
  readonly record_id?: string;
  readonly source?: Capture;
};

/** Bytes of another type, which the log's rules have to admit. */
export interface Opaque {
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

export type Statement = NewRecord | Opaque;

/** What all records of one start of a gateway have in common. */
export interface Speaker {
  readonly source: string;
  readonly instance: string;
  readonly software: string;
}

export function isOpaque(statement: Statement): statement is Opaque {
  return 'payloadType' in statement;
}

/** Bytes of a payload: an entry's 65,535 without the largest signatures, key ID and path of a window. */
export const PAYLOAD_BYTES_MAX = 60_000;

/** The bytes of its payload. Throws `malformed` or `too_large` if no log could ever take it. */
export function measured(
  statement: Statement,
  content: Content | undefined,
  speaker: Speaker,
  log: string,
): number {
  if (isOpaque(statement)) {
    if (content !== undefined) throw malformed('content', 'is for records: opaque bytes have none');
    if (statement.payloadType === RECORD_TYPE) {
      throw malformed('statement', 'a record is given as one, and not as bytes of its type');
    }
    checkEntry({ ...statement, signatures: [{ keyid: '0'.repeat(64), sig: utf8('x') }] });
    return checked(statement.payload);
  }
  if (isControlKind(statement.kind as Record['kind'])) {
    throw malformed('statement', `a record of kind ${shown(statement.kind)} is for the log itself`);
  }
  // With the longest number there is, and a hash before it.
  const standing = { log, seq: Number.MAX_SAFE_INTEGER, prev: 'A'.repeat(43) };
  const recordId = statement.record_id ?? NO_ID;
  return checked(placed(statement, recordId, speaker, standing));
}

const NO_ID = '00000000-0000-7000-8000-000000000000';

function checked({ length }: Uint8Array): number {
  if (length <= PAYLOAD_BYTES_MAX) return length;
  throw new SteleError(
    'too_large',
    `statement: ${length} bytes where at most ${PAYLOAD_BYTES_MAX} are taken; what is larger goes beside the entry`,
  );
}

/** The bytes of a record at its place. */
export function placed(
  statement: NewRecord,
  recordId: string,
  { source: id, instance, software }: Speaker,
  { log, seq, prev }: Standing,
): Uint8Array {
  const { source: capture, ...rest } = statement;
  const { provenance = 'observed', completeness = 'full', truncated_fields } = capture ?? {};
  return formatRecord({
    ...rest,
    ...ownMembers(statement, id, seq),
    schema: 'stele.record/1',
    log,
    record_id: recordId,
    source: {
      id,
      instance,
      seq,
      prev,
      provenance,
      completeness,
      software,
      ...(truncated_fields === undefined ? {} : { truncated_fields }),
    },
    // Its kind says which members it has, and `formatRecord` holds it to that.
  } as unknown as Record);
}

function ownMembers(statement: NewRecord, source: string, seq: number) {
  if (statement.kind === 'heartbeat') return { heartbeat: { seq } };
  if (statement.kind !== 'gap') return {};
  return { gap: { source, seq_from: seq, seq_to: seq, ...statement.gap } };
}
