/**
 * Which methods does a path have, and which pages of other origins may use them?
 *
 * Reads that strangers may make are open to pages of any origin. A page never gets to send a token: the
 * header is not among those that a preflight allows.
 */
import type Koa from 'koa';
import type { Route } from './call.ts';

const EXPOSED = 'etag, retry-after, x-request-id';

type Methods = ReadonlyMap<string, Route>;

/** HEAD is GET without the body, but for content: nobody's content is read to throw it away. */
export function routeOf(methods: Methods, method: string): Route | undefined {
  if (method !== 'HEAD') return methods.get(method);
  const get = methods.get('GET');
  return get?.access === 'content' ? undefined : get;
}

/** For the header `allow`. */
export function allowed(methods: Methods): string {
  const head = routeOf(methods, 'HEAD') === undefined ? [] : ['HEAD'];
  return [...methods.keys(), ...head, 'OPTIONS'].sort().join(', ');
}

export function openToOrigins(ctx: Koa.Context, route: Route): void {
  if (!isOpen(route)) return;
  ctx.set('Access-Control-Allow-Origin', '*');
  ctx.set('Access-Control-Expose-Headers', EXPOSED);
  ctx.set('Cross-Origin-Resource-Policy', 'cross-origin');
}

/** OPTIONS, for every path alike: the answer tells nothing of what exists behind it. */
export function preflight(ctx: Koa.Context, methods: Methods): void {
  ctx.status = 204;
  ctx.set('Allow', allowed(methods));
  ctx.set('Cache-Control', 'no-store');
  const get = methods.get('GET');
  if (get === undefined || !isOpen(get)) return;
  ctx.set('Access-Control-Allow-Origin', '*');
  ctx.set('Access-Control-Allow-Methods', 'GET, HEAD');
  ctx.set('Access-Control-Allow-Headers', 'if-none-match');
  ctx.set('Access-Control-Max-Age', '86400');
}

function isOpen({ access, method }: Route): boolean {
  return method === 'GET' && (access === 'open' || access === 'heads' || access === 'entries');
}
