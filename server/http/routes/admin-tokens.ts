/**
 * `/v1/admin/tokens`: a token is shown once, when it is made.
 *
 * Who holds an `admin` token for some logs makes tokens only for those. That `admin` does not imply
 * `read` or `content` means that using either takes a token of its own, with a holder to answer for it.
 */
import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { malformed, SteleError } from '../../core/errors.ts';
import { timestamp } from '../../log/clock.ts';
import { ROLES, type TokenRow } from '../../storage/instance.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import { type Call, type InstanceRoute, param } from '../call.ts';
import { mintToken } from '../tokens.ts';
import { closed, readObject } from './admin-body.ts';

const LIST_MAX = 100;
const HOLDER = /^[^\p{Cc}]{1,200}$/u;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z$/;

export const NewToken = closed({
  holder: v.pipe(v.string(), v.regex(HOLDER, 'not 1 to 200 characters without control characters')),
  roles: v.pipe(v.array(v.picklist(ROLES)), v.minLength(1), v.maxLength(ROLES.length)),
  logs: v.pipe(
    v.array(
      v.pipe(v.string(), v.regex(/^(?:\*|[a-z0-9][a-z0-9-]{0,62})$/, 'not a log name or "*"')),
    ),
    v.minLength(1),
    v.maxLength(LIST_MAX),
  ),
  expires: v.exactOptional(v.pipe(v.string(), v.regex(TIME, 'not an RFC 3339 time in UTC'))),
});

export function adminTokenRoutes(parts: Parts): readonly InstanceRoute[] {
  const base = { on: 'instance', access: 'admin' } as const;
  const pattern = '/v1/admin/tokens';
  return [
    { ...base, method: 'POST', pattern, handle: (call) => createToken(parts, call) },
    { ...base, method: 'GET', pattern, handle: (call) => listTokens(parts, call) },
    {
      ...base,
      method: 'DELETE',
      pattern: `${pattern}/{id}`,
      handle: (call) => revokeToken(parts, call),
    },
  ];
}

async function createToken(parts: Parts, call: Call): Promise<void> {
  const { holder, roles, logs, expires } = await readObject(parts, call, NewToken);
  const outside = logs.find((name) => !covers(call.token, [name]));
  if (outside !== undefined) {
    throw new SteleError('forbidden', `token ${call.token?.id} is not bound to log ${outside}`);
  }
  const now = parts.clock.now();
  const expiresMs = expires === undefined ? undefined : Date.parse(expires);
  if (expiresMs !== undefined && !(expiresMs > now)) {
    throw malformed('body.expires', `${expires} is not in the future`);
  }
  const options = { holder, roles: [...new Set(roles)], logs: [...new Set(logs)] };
  const { token, row } = mintToken(
    expiresMs === undefined ? options : { ...options, expiresMs },
    now,
    randomBytes,
  );
  parts.tokens.add(row);
  sendJson(call, { token, ...describe(row) }, 201);
}

function listTokens(parts: Parts, call: Call): void {
  const rows = parts.tokens.list().filter((row) => covers(call.token, row.logs));
  sendJson(call, { tokens: rows.map(describe) });
}

function revokeToken(parts: Parts, call: Call): void {
  const row = parts.tokens.get(param(call, 0));
  if (!covers(call.token, row.logs)) {
    throw new SteleError('forbidden', `token ${row.id} is for logs that yours is not bound to`);
  }
  const revokedMs = row.revokedMs ?? parts.clock.now();
  parts.tokens.revoke(row, revokedMs);
  sendJson(call, { id: row.id, revoked: timestamp(revokedMs) });
}

/** Whether `token` is bound to all of `logs`. */
function covers(token: TokenRow | undefined, logs: readonly string[]): boolean {
  return (
    token !== undefined &&
    (token.logs.includes('*') || logs.every((name) => token.logs.includes(name)))
  );
}

function describe(row: TokenRow) {
  return {
    id: row.id,
    holder: row.holder,
    roles: row.roles,
    logs: row.logs,
    created: timestamp(row.createdMs),
    ...(row.expiresMs === undefined ? {} : { expires: timestamp(row.expiresMs) }),
    ...(row.revokedMs === undefined ? {} : { revoked: timestamp(row.revokedMs) }),
  };
}
