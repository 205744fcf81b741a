/**
 * Which headers pass the proxy, and which may ever be written down?
 *
 * Passing: everything but what belongs to one hop [RFC 9110 §7.6.1], what the proxy says itself (host,
 * length, `x-stele-*`), and what would make the answer unreadable to it. Names keep their case, order and
 * repetitions. Written down: only what is on a list here. A list of what to leave out would miss the name
 * that the next provider gives its key (P10).
 *
 * Headers are flat lists as Node's `rawHeaders`: name, value, name, value, …
 */

export type RawHeaders = readonly string[];

/** [RFC 9110 §7.6.1] and what older software still sends; `proxy-*` besides. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // Settled before a request is forwarded: its body is on disk by then.
  'expect',
]);

/** What holds for the bytes that came and for no others. */
const OF_THE_BODY: ReadonlySet<string> = new Set([
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
]);

export interface RequestRewrite {
  /** Host and port of the upstream. */
  readonly host: string;
  /** The exact length of the body, or nothing for a request without one. */
  readonly bodyBytes: number | undefined;
  /** The body is another one than came, and plain. */
  readonly isChanged?: boolean;
  /** Ask for an uncompressed answer. */
  readonly identity: boolean;
}

/** The headers to send upstream. */
export function forwardedRequestHeaders(raw: RawHeaders, rewrite: RequestRewrite): string[] {
  const out = ['Host', rewrite.host];
  const skip = namedByConnection(raw);
  const signed = signedHeaders(raw);
  // What is signed has to arrive as it was signed, or the provider refuses the call.
  const identity = rewrite.identity && !signed.has('accept-encoding');
  for (const [name, value, lower] of pairs(raw)) {
    if (isHopByHop(lower, skip) || lower === 'host' || lower === 'content-length') continue;
    if (lower.startsWith('x-stele-') && !signed.has(lower)) continue;
    if (rewrite.isChanged === true && OF_THE_BODY.has(lower)) continue;
    if (identity && lower === 'accept-encoding') continue;
    out.push(name, value);
  }
  // Without the header some servers compress as they like.
  if (identity) out.push('Accept-Encoding', 'identity');
  if (rewrite.bodyBytes !== undefined) out.push('Content-Length', String(rewrite.bodyBytes));
  return out;
}

/** The headers to answer the client with: the upstream's, then ours. */
export function forwardedResponseHeaders(raw: RawHeaders, ours: RawHeaders): string[] {
  const out: string[] = [];
  const skip = namedByConnection(raw);
  const isChunked = headerValue(raw, 'transfer-encoding') !== undefined;
  for (const [name, value, lower] of pairs(raw)) {
    if (isHopByHop(lower, skip) || lower.startsWith('x-stele-')) continue;
    // [RFC 9112 §6.3] Where both are sent, the coding holds and the length must not be passed on.
    if (isChunked && lower === 'content-length') continue;
    out.push(name, value);
  }
  return [...out, ...ours];
}

/** The first value of a header, by its lower-case name. */
export function headerValue(raw: RawHeaders, wanted: string): string | undefined {
  for (const [, value, lower] of pairs(raw)) if (lower === wanted) return value;
  return undefined;
}

/** All values of a header, by its lower-case name. */
export function headerValues(raw: RawHeaders, wanted: string): string[] {
  return [...pairs(raw)].flatMap(([, value, lower]) => (lower === wanted ? [value] : []));
}

/** Other charsets say something else with the same bytes. [RFC 9110 §8.3.2] */
const OTHER_CHARSET = /charset\s*\*?\s*=(?!\s*["']?(?:utf-?8|us-ascii)["']?\s*(?:[;,]|$))/i;

/** Whether a body is said to be in another charset than UTF-8 or a part of it. */
export function hasOtherCharset(raw: RawHeaders): boolean {
  return headerValues(raw, 'content-type').some((type) => OTHER_CHARSET.test(type));
}

const REQUEST_FACTS: ReadonlySet<string> = new Set([
  'accept',
  'anthropic-beta',
  'anthropic-version',
  'content-encoding',
  'content-type',
  'openai-beta',
  'traceparent',
  'user-agent',
  'x-client-request-id',
  'x-request-id',
  'x-stainless-retry-count',
  'x-stele-conversation',
  'x-stele-prompt-name',
  'x-stele-prompt-version',
  'x-stele-system-prompt-version',
]);

const RESPONSE_FACTS: ReadonlySet<string> = new Set([
  'apim-request-id',
  'cf-ray',
  'content-encoding',
  'content-type',
  'date',
  'openai-processing-ms',
  'openai-version',
  'request-id',
  'retry-after',
  'x-amzn-errortype',
  'x-amzn-requestid',
  'x-ms-region',
  'x-request-id',
]);

/** Longer values are no ids and no types; they are left out. */
const FACT_CHARS_MAX = 1_024;

export type HeaderFacts = Readonly<Record<string, string>>;

export function requestHeaderFacts(raw: RawHeaders): HeaderFacts {
  return facts(raw, REQUEST_FACTS);
}

export function responseHeaderFacts(raw: RawHeaders): HeaderFacts {
  return facts(raw, RESPONSE_FACTS);
}

/** Query parameters that select an API and are worth keeping. Gemini's `key`, for one, is not here. */
const QUERY_FACTS: ReadonlySet<string> = new Set(['alt', 'api-version', 'beta']);

/** A request target as it may be written down: the path, and of the query only what is listed. */
export function storedTarget(target: string): string {
  const at = target.indexOf('?');
  if (at < 0) return target;
  const kept = target
    .slice(at + 1)
    .split('&')
    .filter((part) => QUERY_FACTS.has(part.split('=', 1)[0] ?? ''));
  return target.slice(0, at) + (kept.length === 0 ? '' : `?${kept.join('&')}`);
}

function facts(raw: RawHeaders, allowed: ReadonlySet<string>): HeaderFacts {
  const found: Record<string, string> = {};
  for (const [, value, lower] of pairs(raw)) {
    if (!allowed.has(lower) || lower in found || value.length > FACT_CHARS_MAX) continue;
    found[lower] = value;
  }
  return found;
}

function isHopByHop(lower: string, named: ReadonlySet<string>): boolean {
  return HOP_BY_HOP.has(lower) || lower.startsWith('proxy-') || named.has(lower);
}

/** [AWS Signature Version 4] The names that a signature covers, in lower case; none without one. */
function signedHeaders(raw: RawHeaders): ReadonlySet<string> {
  const authorization = headerValue(raw, 'authorization') ?? '';
  const names = /^AWS4-[A-Z0-9-]+ .*\bSignedHeaders=([^,\s]+)/.exec(authorization)?.[1];
  return new Set(names?.toLowerCase().split(';'));
}

/** [RFC 9110 §7.6.1] SPEC: intermediaries MUST remove the fields that Connection names. */
function namedByConnection(raw: RawHeaders): ReadonlySet<string> {
  const named = new Set<string>();
  for (const [, value, lower] of pairs(raw)) {
    if (lower !== 'connection') continue;
    for (const option of value.split(',')) named.add(option.trim().toLowerCase());
  }
  return named;
}

function* pairs(raw: RawHeaders): Generator<readonly [string, string, string]> {
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    yield [name, raw[i + 1] as string, name.toLowerCase()];
  }
}
