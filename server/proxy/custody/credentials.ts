/**
 * Which token does a request bring, and what of it may go on to the provider?
 *
 * Clients put their key where the provider wants it, so that is where the Stele token is. Nothing that could
 * be a credential of the caller's own goes on: with it the call would be made outside the proxy's custody. A
 * token in a URL is refused, since URLs are written down everywhere (P10).
 */
import { SteleError } from '../../core/errors.ts';
import { TOKEN } from '../../core/token.ts';
import type { RawHeaders } from '../headers.ts';

/** Where providers look for a key. */
export const KEY_HEADERS = ['authorization', 'x-api-key', 'api-key', 'x-goog-api-key'] as const;
export type KeyHeader = (typeof KEY_HEADERS)[number];

const CREDENTIALS: ReadonlySet<string> = new Set([
  ...KEY_HEADERS,
  'cookie',
  'ocp-apim-subscription-key',
  'x-amz-security-token',
  'x-goog-user-project',
]);

const BEARER = /^bearer +/i;

/** Query parameters that hold a key, or a signature in place of one. */
const KEY_PARAMETERS = /^\$?(?:key|api[-_]?key|(?:access|oauth)_token|subscription-key|x-amz-.*)$/i;

/** [OpenAI Realtime] Browsers, which can set no header of a WebSocket, send a key among its protocols. */
const KEY_PROTOCOL = /^openai-insecure-api-key\b/i;

export interface Presented {
  readonly token: string;
  readonly header: KeyHeader;
}

/** The Stele token of a request. Bytes from strangers; throws `unauthenticated`, and quotes none of them. */
export function presentedToken(raw: RawHeaders, target: string): Presented {
  for (const part of target.split(/[?&;]/).slice(1)) {
    const name = decoded(part.split('=', 1)[0] ?? '');
    if (KEY_PARAMETERS.test(name)) {
      throw unauthenticated('query: a Stele token belongs in a header, and no key in the URL');
    }
  }
  const found: Presented[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const header = KEY_HEADERS.find((name) => name === raw[i]?.toLowerCase());
    if (header === undefined) continue;
    const value = raw[i + 1] as string;
    if (/^AWS4-/i.test(value)) {
      throw unauthenticated(
        'authorization: a request signed with SigV4 carries a key of its own, which the proxy cannot replace; ' +
          'send a Stele token as Bearer (Bedrock takes API keys in that way)',
      );
    }
    const token = header === 'authorization' ? value.replace(BEARER, '') : value;
    if (TOKEN.test(token)) found.push({ token, header });
  }
  const [first] = found;
  if (first === undefined) {
    throw unauthenticated(
      `a Stele token is needed where the provider’s key would be: ${KEY_HEADERS.join(', ')}`,
    );
  }
  if (found.some(({ token }) => token !== first.token)) {
    throw unauthenticated('two different Stele tokens came with one request');
  }
  return first;
}

/** The headers without anything that could be a credential, and with the provider's key. */
export function withProviderKey(
  headers: readonly string[],
  header: KeyHeader,
  key: string | undefined,
): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    const lower = name.toLowerCase();
    if (CREDENTIALS.has(lower)) continue;
    out.push(name, lower === 'sec-websocket-protocol' ? withoutKey(value) : value);
  }
  if (key !== undefined) out.push(header, header === 'authorization' ? `Bearer ${key}` : key);
  return out;
}

function withoutKey(protocols: string): string {
  const all = protocols.split(',').map((protocol) => protocol.trim());
  return all.filter((protocol) => !KEY_PROTOCOL.test(protocol)).join(', ');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function unauthenticated(message: string): SteleError {
  return new SteleError('unauthenticated', message);
}
