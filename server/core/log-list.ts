/**
 * Which logs would like to be witnessed? A list as witness networks publish it.
 *
 *     logs/v0
 *
 *     vkey example.com/logs/audit+4d6d8825+AV2yLmze…     the log's key
 *     origin something else                              where that is not the key's name
 *     qpd 96                                             requests that it may make in a day
 *     contact sysadmin (at) example.com
 *
 * Lines come in this order; empty ones and those that begin with # count for nothing. Whether a witness does
 * what a list says is its own matter: such a list only ever adds logs.
 *
 * [witness-network log-list-format]
 */
import { parseUtf8, utf8 } from './bytes.ts';
import { parseDecimal } from './decimal.ts';
import { malformed, SteleError, shown } from './errors.ts';
import { ORIGIN_BYTES_MAX } from './limits.ts';
import { controlCharacterAt, parseVerifierKey, type VerifierKey } from './verifier-key.ts';

/** Bytes of a list: 40,000 logs, as the largest that are published promise to have at most. */
export const LOG_LIST_BYTES_MAX = 16_777_216;

/** Requests a day: 2^31 − 1 by the format. */
export const PER_DAY_MAX = 2_147_483_647;

export interface ListedKey {
  readonly origin: string;
  readonly key: VerifierKey;
  readonly perDay: number;
  readonly contact: string;
}

const HEADER = 'logs/v0';
const CONTACT_MAX = 1_024;

/**
 * Reads a list; throws `malformed` with the line. With `skipped`, a log whose key, origin or rate is not good is
 * told of and left out: in a list of others it keeps nobody else from being witnessed. `parseKey` is for whoever reads
 * a list again and knows most of its keys: to check one takes longer than all else.
 */
export function parseLogList(
  bytes: Uint8Array,
  skipped?: (error: SteleError) => void,
  parseKey: (text: string) => VerifierKey = parseVerifierKey,
): ListedKey[] {
  const what = 'log list';
  if (bytes.length > LOG_LIST_BYTES_MAX) {
    throw malformed(what, `${bytes.length} bytes where at most ${LOG_LIST_BYTES_MAX} are allowed`);
  }
  const lines = parseUtf8(bytes, what)
    .split('\n')
    .map((line, i) => ({
      text: line.replace(/^[ \t]+|[ \t\r]+$/g, ''),
      where: `${what} line ${i + 1}`,
    }))
    .filter(({ text }) => text !== '' && !text.startsWith('#'));
  const [header, ...rest] = lines;
  if (header?.text !== HEADER) {
    throw malformed(header?.where ?? what, `the first line is not ${HEADER}`);
  }
  const keys: ListedKey[] = [];
  for (let at = 0; at < rest.length; ) {
    const take = (name: string): string | undefined => {
      const line = rest[at];
      if (line === undefined || !line.text.startsWith(`${name} `)) return undefined;
      at += 1;
      return line.text.slice(name.length + 1);
    };
    const must = (name: string): string => {
      const value = take(name);
      if (value !== undefined) return value;
      const line = rest[at];
      throw malformed(
        line?.where ?? `${what} at its end`,
        line === undefined ? `no ${name} line` : `${shown(line.text)} where ${name} is needed`,
      );
    };
    const { where } = rest[at] ?? { where: what };
    const parts = [must('vkey'), take('origin'), must('qpd'), must('contact')] as const;
    try {
      keys.push(readLog(parseKey, where, ...parts));
    } catch (error) {
      if (skipped === undefined || !(error instanceof SteleError)) throw error;
      skipped(error);
    }
  }
  return keys;
}

function readLog(
  parseKey: (text: string) => VerifierKey,
  where: string,
  vkey: string,
  named: string | undefined,
  qpd: string,
  contact: string,
): ListedKey {
  const key = within(where, () => parseKey(vkey));
  const origin = named ?? key.name;
  const length = utf8(origin).length;
  if (length > ORIGIN_BYTES_MAX || controlCharacterAt(origin) >= 0) {
    throw malformed(
      where,
      `origin ${shown(origin)} is over ${ORIGIN_BYTES_MAX} bytes, or not plain`,
    );
  }
  const perDay = within(where, () => parseDecimal(qpd, 'qpd'));
  if (perDay < 1 || perDay > PER_DAY_MAX) {
    throw malformed(where, `qpd ${perDay} is not from 1 to ${PER_DAY_MAX}`);
  }
  if (contact.length > CONTACT_MAX)
    throw malformed(where, `a contact of over ${CONTACT_MAX} characters`);
  return { origin, key, perDay, contact };
}

function within<T>(where: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw malformed(where, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
