/**
 * Who may do what? The roles, and the one place where a caller is judged.
 *
 *                      stranger   submit  read  content  keys  admin
 *     heads            *          yes     yes   yes      yes   yes      * not of a private log
 *     entries          public     public  yes   yes      public public
 *     submit                      yes
 *     content                                   yes
 *     keys                                              yes   yes
 *     admin                                                   yes
 *
 * Requests that wait for a second person are approved with the role `approve` alone; `keys` and `admin` list
 * them, and withdraw their own. The server's own figures (`metrics`) are for the roles `metrics` and
 * `admin`. The role `metrics` opens nothing else, as a program that only watches should have no more.
 *
 * A token counts only for the logs it is bound to. To any other caller a private log does not exist:
 * the answer is word for word that of a name that was never given.
 */
import { isBound, unknownLog } from '../admin/actor.ts';
import { SteleError } from '../core/errors.ts';
import type { Role, TokenRow, Visibility } from '../storage/instance.ts';
import { unauthenticated } from './errors.ts';

/** What a route gives away or changes. */
export type Access =
  | 'open'
  | 'heads'
  | 'entries'
  | 'submit'
  | 'content'
  | 'keys'
  | 'approve'
  | 'requests'
  | 'metrics'
  | 'admin';

/** Which roles open what; nothing listed means that no role is needed. */
export const OPENED_BY = {
  open: [],
  heads: [],
  entries: ['read', 'content'],
  submit: ['submit'],
  content: ['content'],
  keys: ['keys', 'admin'],
  approve: ['approve'],
  requests: ['keys', 'approve', 'admin'],
  metrics: ['metrics', 'admin'],
  admin: ['admin'],
} as const satisfies Record<Access, readonly Role[]>;

export { ACCESS_SUFFIX, boundName } from '../log/names.ts';

/** Whether a caller may know that the log exists. */
export function isVisible(visibility: Visibility, token: TokenRow | undefined, name: string) {
  return visibility !== 'private' || (token !== undefined && isBound(token, name));
}

/**
 * Judges a call on a log. Says whether a stranger may have the same answer, which decides how it may
 * be cached.
 */
export function judge(
  access: Access,
  log: { readonly name: string; readonly visibility: Visibility },
  token: TokenRow | undefined,
): { readonly shared: boolean } {
  if (!isVisible(log.visibility, token, log.name)) throw unknownLog(log.name);
  const open =
    access === 'open' ||
    access === 'heads' ||
    (access === 'entries' && log.visibility === 'public');
  if (open) return { shared: log.visibility !== 'private' };
  checkRole(access, token, log.name);
  return { shared: false };
}

/** `unauthenticated` without a token, `forbidden` with one that does not open this for `name`. */
export function checkRole(
  access: Access,
  token: TokenRow | undefined,
  name: string | undefined,
): asserts token is TokenRow {
  const roles: readonly Role[] = OPENED_BY[access];
  if (token === undefined) {
    throw unauthenticated(`token: none was sent where the role ${roles.join(' or ')} is needed`);
  }
  if (name !== undefined && !isBound(token, name)) {
    throw new SteleError('forbidden', `token ${token.id} is not bound to log ${name}`);
  }
  if (!token.roles.some((role) => (roles as readonly string[]).includes(role))) {
    throw new SteleError(
      'forbidden',
      `token ${token.id} has ${token.roles.join(', ')} where ${roles.join(' or ')} is needed`,
    );
  }
}
