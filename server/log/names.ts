/** What logs are called: those that somebody named, and those that the server keeps beside them. */

export const LOG_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** The suffix of the log in which reads of another's content are recorded. */
export const ACCESS_SUFFIX = '.access';

/** The log in which acts of administration are recorded; `_admin-2` follows it, and so on. */
export const ADMIN_LOG = '_admin';
const ADMIN_NAME = /^_admin(?:-([1-9][0-9]{0,3}))?$/;

/** The name of a log that has a row: one that somebody gave, or the instance's own. */
export const ROW_NAME = new RegExp(
  `^(?:${ADMIN_NAME.source.slice(1, -1)}|${LOG_NAME.source.slice(1, -1)})$`,
);

/** The name of a log that there are files of: one that has a row, or an access log. */
export const FILE_NAME = new RegExp(
  `^(?:${ADMIN_NAME.source.slice(1, -1)}|${LOG_NAME.source.slice(1, -1)}(?:\\${ACCESS_SUFFIX})?)$`,
);

/** Whether it is the instance's own, which nobody names, changes or ends. */
export function isAdminLog(name: string): boolean {
  return ADMIN_NAME.test(name);
}

/** The log whose row and whose tokens count for `name`: of an access log, the one it is beside. */
export function boundName(name: string): string {
  return name.endsWith(ACCESS_SUFFIX) ? name.slice(0, -ACCESS_SUFFIX.length) : name;
}

/** A name with what is behind it in an access log's, to be put behind an origin as well. */
export interface Kept {
  readonly name: string;
  readonly suffix: string;
}

/**
 * The logs that there are for a row: one, and its access log, which outlives it; but the instance's own has
 * none.
 */
export function keptFor(name: string, isGone = false): readonly Kept[] {
  const own = { name, suffix: '' };
  if (isAdminLog(name)) return [own];
  const access = { name: name + ACCESS_SUFFIX, suffix: ACCESS_SUFFIX };
  return isGone ? [access] : [own, access];
}

/** The sources under which the server itself writes to logs of its own. */
export const ACCESS_SOURCE = 'access';
export const ADMIN_SOURCE = 'admin';

/** The source under which the server itself writes to a log; nothing where it does not. */
export function ownSource(name: string): string | undefined {
  if (name.endsWith(ACCESS_SUFFIX)) return ACCESS_SOURCE;
  return isAdminLog(name) ? ADMIN_SOURCE : undefined;
}

/** The name of the log of administration of this number, from 1. */
export function adminName(number: number): string {
  return number === 1 ? ADMIN_LOG : `${ADMIN_LOG}-${number}`;
}

export function adminNumber(name: string): number {
  return Number(ADMIN_NAME.exec(name)?.[1] ?? 1);
}
