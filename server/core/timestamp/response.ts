/**
 * What did a time-stamping authority answer?
 *
 *     TimeStampResp   status { number, text?, failures? } · token?
 *     TSTInfo         1 · policy · imprint · serial · time · accuracy? · ordering? · nonce? · name? · extensions?
 *
 * A refusal is an answer like any other, and comes with HTTP's 200. The status is signed by nobody; what
 * counts is the token. Reading one says nothing yet about whether it holds: that is `core/rfc3161.ts`.
 *
 * [RFC 3161 §2.4.2]
 */
import { parseUtf8 } from '../bytes.ts';
import { DerReader, encodeDer, oidText } from '../der.ts';
import { readGeneralizedTime } from '../der-time.ts';
import { malformed, unverified } from '../errors.ts';
import { TIMESTAMP_BYTES_MAX } from '../limits.ts';
import { nameText } from '../x509/name.ts';
import { parseSignedContent, type SignedContent } from './cms.ts';
import { type Imprint, readImprint } from './query.ts';

/** By their numbers [RFC 3161 §2.4.2]; with the first two there is a token. */
const STATUSES = [
  'granted',
  'granted with changes',
  'rejection',
  'waiting',
  'revocation warning',
  'revocation',
] as const;

const FAILURES = {
  0: 'badAlg',
  2: 'badRequest',
  5: 'badDataFormat',
  14: 'timeNotAvailable',
  15: 'unacceptedPolicy',
  16: 'unacceptedExtension',
  17: 'addInfoNotAvailable',
  25: 'systemFailure',
} as const;

export interface TimestampResponse {
  readonly status: (typeof STATUSES)[number];
  /** What the authority says about it; a stranger's words. */
  readonly text: string;
  readonly failures: readonly string[];
  /** There exactly where it is granted. */
  readonly token?: TimestampToken;
}

export interface TimestampToken {
  readonly signed: SignedContent;
  readonly info: TimestampInfo;
}

export interface TimestampInfo {
  readonly policy: string;
  readonly imprint: Imprint;
  /** The content of its INTEGER. */
  readonly serial: Uint8Array;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  readonly accuracyMs?: number;
  /** The content of its INTEGER. */
  readonly nonce?: Uint8Array;
  /** The authority's own name, where it gives one as X.509 does. */
  readonly name?: string;
}

export const TST_INFO = '1.2.840.113549.1.9.16.1.4';

const WHAT = 'time stamp response';
const INFO = 'time stamp';

/** Lines of text beside a status. */
const TEXTS_MAX = 16;

/** Seconds that an authority may be off by its own word: beyond a century it says nothing. */
const ACCURACY_MAX_S = 3_155_760_000;

/** Reads an answer; throws `malformed`, or `unverified` where its imprint is of a weak hash. */
export function parseTimestampResponse(bytes: Uint8Array): TimestampResponse {
  if (bytes.length > TIMESTAMP_BYTES_MAX) {
    throw malformed(WHAT, `${bytes.length} bytes where at most ${TIMESTAMP_BYTES_MAX} are allowed`);
  }
  const outer = new DerReader(bytes, WHAT);
  const response = outer.inside('sequence');
  outer.end();
  const status = readStatus(response.inside('sequence'));
  const isGranted = status.status === 'granted' || status.status === 'granted with changes';
  if (isGranted === response.isAtEnd) {
    throw malformed(WHAT, `${status.status}, ${isGranted ? 'and no token' : 'and a token'}`);
  }
  if (!isGranted) return status;
  const signed = parseSignedContent(response.element('sequence'), TST_INFO);
  response.end();
  return { ...status, token: { signed, info: parseInfo(signed.content) } };
}

function readStatus(reader: DerReader): Omit<TimestampResponse, 'token'> {
  const status = STATUSES[reader.number(STATUSES.length - 1)] ?? 'rejection';
  const texts: string[] = [];
  if (reader.isNext('sequence')) {
    const lines = reader.inside('sequence');
    while (!lines.isAtEnd) {
      if (texts.push(parseUtf8(lines.content('utf8String'), WHAT)) > TEXTS_MAX) {
        throw malformed(WHAT, `more than ${TEXTS_MAX} texts`);
      }
    }
  }
  const failures = reader.isAtEnd ? [] : failuresOf(reader.content('bitString'));
  reader.end();
  return { status, text: texts.join(' '), failures };
}

/** The first byte counts the unused bits of the last one; bit 0 is the highest of the first. */
function failuresOf([unused = 8, ...bytes]: Uint8Array): string[] {
  if (unused > 7 || bytes.length > 4) throw malformed(WHAT, 'not a string of at most 32 failures');
  return Object.entries(FAILURES)
    .filter(([bit]) => {
      const byte = bytes[Math.floor(Number(bit) / 8)] ?? 0;
      return (byte & (0x80 >> (Number(bit) % 8))) !== 0;
    })
    .map(([, name]) => name);
}

function parseInfo(content: Uint8Array): TimestampInfo {
  const outer = new DerReader(content, INFO);
  const info = outer.inside('sequence');
  outer.end();
  const version = info.number(255);
  if (version !== 1) throw malformed(INFO, `version ${version} where 1 is known`);
  const policy = oidText(info.content('oid'), INFO);
  const imprint = readImprint(info.inside('sequence'), INFO);
  const serial = info.integer();
  const timeMs = readGeneralizedTime(info, INFO);
  const accuracyMs = info.isNext('sequence') ? readAccuracy(info.inside('sequence')) : undefined;
  // Whether later stamps have later times: of no use to who has one.
  if (info.isNext('boolean')) info.boolean();
  const nonce = info.isNext('integer') ? info.integer() : undefined;
  const name = info.isNext('context0') ? readName(info.inside('context0')) : undefined;
  if (info.isNext('context1')) checkExtensions(info.inside('context1'));
  info.end();
  return {
    policy,
    imprint,
    serial,
    timeMs,
    ...(accuracyMs === undefined ? {} : { accuracyMs }),
    ...(nonce === undefined ? {} : { nonce }),
    ...(name === undefined ? {} : { name }),
  };
}

/** SPEC: "If either seconds, millis or micros is missing, then a value of zero MUST be taken". */
function readAccuracy(accuracy: DerReader): number {
  const seconds = accuracy.isNext('integer') ? accuracy.number(ACCURACY_MAX_S) : 0;
  const thousandth = (tag: 'primitive0' | 'primitive1') =>
    accuracy.isNext(tag)
      ? new DerReader(encodeDer('integer', accuracy.content(tag)), INFO).number(999)
      : 0;
  const millis = thousandth('primitive0');
  const micros = thousandth('primitive1');
  accuracy.end();
  return seconds * 1_000 + millis + Math.ceil(micros / 1_000);
}

function readName(explicit: DerReader): string | undefined {
  const isDirectory = explicit.isNext('context4');
  const { content } = explicit.any();
  explicit.end();
  return isDirectory ? nameText(content, INFO) : undefined;
}

function checkExtensions(list: DerReader): void {
  while (!list.isAtEnd) {
    const extension = list.inside('sequence');
    const oid = oidText(extension.content('oid'), INFO);
    const isCritical = extension.isNext('boolean') && extension.boolean();
    extension.content('octetString');
    extension.end();
    if (isCritical) throw unverified(INFO, `critical extension ${oid} is not known`);
  }
}
