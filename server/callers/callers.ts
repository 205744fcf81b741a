/**
 * Who may call models through the proxy, as a file says it: `callers.json`, format `stele.callers/1`.
 *
 *     {"format":"stele.callers/1","callers":[
 *       {"id":"0123456789abcdef","hash":"…64 hex…","holder":"ci","tenant":"team-a","kind":"service",
 *        "upstreams":["openai"],"models":["gpt-4o*"],"calls_per_minute":60,"created":"2026-…Z"}]}
 *
 * A caller is a token with what it may be used for. The file holds hashes and no token, so whoever reads it
 * is let in nowhere; whoever writes it decides who gets in. It is closed: a member that nobody knows is
 * refused, because a limit with a misspelled name would be none.
 */

import { malformed, shown } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import { token as word } from '../core/record/fields.ts';
import { constant, int, list, object, pattern, read, type Shaped, text } from '../core/schema.ts';
import { TOKEN_ID } from '../core/token.ts';

export const CALLERS_MAX = 10_000;
export const CALLERS_BYTES_MAX = 16_777_216;

const LIST_MAX = 100;

/** A name, or the beginning of one with a star behind it. */
const MODEL = /^[^\p{Cc}*]{0,200}(?:[^\p{Cc}*]|\*)$/u;

export const holder = pattern(
  /^[^\p{Cc}]{1,200}$/u,
  '1 to 200 characters without control characters',
);
export const tenant = text(200);
export const upstreams = list(
  pattern(/^(?:\*|[a-z0-9][a-z0-9_-]{0,62})$/, 'the name of an upstream, or "*"'),
  LIST_MAX,
  1,
);
export const models = list(
  pattern(MODEL, 'the name of a model, or its beginning with "*" behind it'),
  LIST_MAX,
  1,
);
export const callsPerMinute = int(1, 1_000_000);
export const callsAtOnce = int(1, 100_000);

const time = pattern(
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3,6}Z$/,
  'a time like 2026-09-01T10:15:30.123456Z',
);

const caller = object(
  {
    id: pattern(TOKEN_ID, '16 lower-case hex digits'),
    hash: pattern(/^[0-9a-f]{64}$/, '64 lower-case hex digits'),
    holder,
    tenant,
    /** What calls, for the record: `service`, `user`, `agent`. */
    kind: word,
    upstreams,
    created: time,
  },
  {
    /** Without it every model. */
    models,
    calls_per_minute: callsPerMinute,
    calls_at_once: callsAtOnce,
    expires: time,
    revoked: time,
  },
);

const file = object(
  { format: constant('stele.callers/1'), callers: list(caller, CALLERS_MAX) },
  {},
);

export type Caller = Shaped<typeof caller>;

/** Reads the file; throws `malformed` with the place, the value and the rule. */
export function parseCallers(bytes: Uint8Array, what: string): readonly Caller[] {
  const { callers } = read(file, parseJson(bytes, what), what);
  const ids = new Set<string>();
  for (const { id } of callers) {
    if (ids.has(id)) throw malformed(what, `caller ${shown(id)} is there twice`);
    ids.add(id);
  }
  return callers;
}

export function formatCallers(callers: readonly Caller[]): string {
  const rows = callers.map((row) => `  ${JSON.stringify(row)}`);
  const text = `{"format":"stele.callers/1","callers":[\n${rows.join(',\n')}\n]}\n`;
  parseCallers(new TextEncoder().encode(text), 'callers');
  return text;
}
