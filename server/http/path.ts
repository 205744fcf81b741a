/**
 * What does a request's target say? The segments of its path and the parameters of its query.
 *
 * A path has one spelling: what would need decoding, cleaning or redirecting is refused. A front-end
 * proxy and this server must never see two different routes in the same bytes.
 */
import { malformed, SteleError, shown } from '../core/errors.ts';

export interface Target {
  readonly path: string;
  readonly segments: readonly string[];
  readonly query: string;
}

const PLAIN_PATH = /^(?:\/|(?:\/[A-Za-z0-9._~-]+)+)$/;

/** Splits the bytes after the method. Bytes from strangers enter here. */
export function parseTarget(url: string): Target {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  if (!PLAIN_PATH.test(path)) throw malformed('path', `${shown(path)} ${pathRule(path)}`);
  const segments = path === '/' ? [] : path.slice(1).split('/');
  if (path.includes('/.') && segments.some((s) => s === '.' || s === '..')) {
    throw malformed('path', `${shown(path)} has a segment "." or ".."`);
  }
  return { path, segments, query: mark < 0 ? '' : url.slice(mark + 1) };
}

/** Which rule a path breaks that is not plain. */
function pathRule(path: string): string {
  if (!path.startsWith('/')) return 'does not begin with "/"';
  if (path.includes('%')) return 'has "%": paths here never need encoding';
  if (path.includes('//')) return 'has an empty segment';
  if (path.endsWith('/')) return 'ends with "/"';
  return 'has a character outside A-Z a-z 0-9 . _ ~ -';
}

export type Query = ReadonlyMap<string, string>;

const NO_QUERY: Query = new Map();

/** The parameters, each known to the route and given at most once. Others are refused, or not looked at. */
export function parseQuery(
  text: string,
  known: readonly string[],
  others: 'refused' | 'ignored' = 'refused',
): Query {
  if (text === '') return NO_QUERY;
  const query = new Map<string, string>();
  for (const pair of text.split('&')) {
    const equals = pair.indexOf('=');
    const name = equals < 0 ? pair : pair.slice(0, equals);
    if (!known.includes(name)) {
      if (others === 'ignored') continue;
      const rule = known.length === 0 ? 'none' : known.join(', ');
      throw malformed('query', `parameter ${shown(name)} where the route knows ${rule}`);
    }
    if (query.has(name)) throw malformed('query', `parameter ${shown(name)} is given twice`);
    query.set(name, decodeValue(name, equals < 0 ? '' : pair.slice(equals + 1)));
  }
  return query;
}

function decodeValue(name: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw malformed('query', `${name}=${shown(text)} is not percent-encoded UTF-8`, { cause });
  }
}

export function unknownPath(path: string): SteleError {
  // Where a browser begins.
  const hint = path === '/' ? '; what there is says /docs' : '';
  return new SteleError('not_found', `path: there is nothing at ${shown(path)}${hint}`);
}
