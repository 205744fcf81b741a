/**
 * Which upstream does a request mean, and what of its target is behind the base URL?
 *
 *     PROXY/openai/v1/chat/completions?x=1  →  BASE/chat/completions?x=1     BASE ends in /v1
 *     PROXY/ollama/api/chat                 →  BASE/api/chat                 any other BASE
 *     Host: bedrock-runtime.….com, /model/… →  BASE/model/…                  upstreams that go by their host
 *
 * The target is forwarded byte for byte; nothing is decoded or put together again. Nothing a client sends can
 * name another host (P8): the host is the configuration's.
 */
import { malformed, SteleError, shown } from '../core/errors.ts';
import type { Upstream } from './upstream.ts';

export interface Route {
  readonly upstream: Upstream;
  /** Behind the base URL, beginning with "/" or "?" or empty: "/chat/completions?x=1". */
  readonly target: string;
  /** What the upstream is told as its `Host`. */
  readonly host: string;
}

/** A stranger's request target and `Host`. Throws `not_found` or `malformed`. */
export function parseRoute(
  url: string,
  hostHeader: string | undefined,
  upstreams: ReadonlyMap<string, Upstream>,
): Route {
  // [RFC 9112 §3.2.2] SPEC: a server MUST accept the absolute-form, whose host counts.
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(url);
  const host = absolute?.[1] ?? hostHeader;
  const local = absolute?.[2] ?? url;
  const route = byHost(local, host, upstreams) ?? byName(local, upstreams);
  if (route === undefined) {
    const names = [...upstreams.values()].map((one) => `${one.prefix}/…`).join(', ');
    const path = local.split('?', 1)[0] ?? '';
    throw new SteleError('not_found', `path: ${shown(path)} where the proxy has ${names}`);
  }
  // [RFC 3986 §2] A parser of requests is more lenient than one may send.
  if (!/^[\x21-\x7e]*$/.test(route.target)) {
    // Of the query nothing is said, since a key may be in it (P10).
    const path = route.target.split('?', 1)[0] ?? '';
    throw malformed(
      'path',
      `${shown(path)} or its query has bytes that have to be percent-encoded`,
    );
  }
  checkSegments(route.target);
  return route;
}

function byHost(
  target: string,
  host: string | undefined,
  upstreams: ReadonlyMap<string, Upstream>,
): Route | undefined {
  if (host === undefined || !target.startsWith('/')) return undefined;
  const hostname = URL.parse(`http://${host}`)?.hostname;
  for (const upstream of upstreams.values()) {
    // Byte for byte as it was sent: a signature covers it.
    if (upstream.goesByHost && upstream.hostname === hostname) return { upstream, target, host };
  }
  return undefined;
}

function byName(url: string, upstreams: ReadonlyMap<string, Upstream>): Route | undefined {
  const name = /^\/([^/?]*)/.exec(url)?.[1];
  const upstream = upstreams.get(name ?? '');
  if (upstream === undefined || !url.startsWith(upstream.prefix)) return undefined;
  const target = url.slice(upstream.prefix.length);
  return /^(?:[/?]|$)/.test(target) ? { upstream, target, host: upstream.host } : undefined;
}

/** Dot segments would climb out of the base path on the provider's side. */
function checkSegments(target: string): void {
  const path = target.split('?', 1)[0] ?? '';
  for (const segment of path.split(/[/\\]|%2f|%5c/i)) {
    if (/^(?:\.|%2e){1,2}$/i.test(segment)) {
      throw malformed('path', `${shown(path)} has a dot segment`);
    }
  }
}
