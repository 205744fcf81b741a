/** Who administers, and which logs there are for him: those that he is bound to, and no others. */
import { SteleError, shown } from '../core/errors.ts';
import { ADMIN_LOG, boundName, isAdminLog } from '../log/names.ts';
import type { TokenRow } from '../storage/instance.ts';

export interface Actor {
  readonly holder: string;
  /** Without one it is somebody who has the files themselves, or the server of its own accord. */
  readonly token?: TokenRow | undefined;
}

export function isBound({ logs }: TokenRow, name: string): boolean {
  return logs.includes('*') || logs.includes(isAdminLog(name) ? ADMIN_LOG : boundName(name));
}

export function reaches({ token }: Actor, name: string): boolean {
  return token === undefined || isBound(token, name);
}

/** Whether `actor` is bound to all of `logs`, where `*` is all that there will ever be. */
export function covers({ token }: Actor, logs: readonly string[]): boolean {
  return (
    token === undefined ||
    token.logs.includes('*') ||
    logs.every((name) => token.logs.includes(name))
  );
}

/** `forbidden` unless the actor may work on a log of this name, which need not exist yet. */
export function checkBound(actor: Actor, name: string): void {
  if (reaches(actor, name)) return;
  throw new SteleError('forbidden', `token ${actor.token?.id} is not bound to log ${name}`);
}

/** The instance's own log is nobody's to change. */
export function checkNotOwn(name: string): void {
  if (!isAdminLog(name)) return;
  throw new SteleError('forbidden', `log ${name} is the instance's own: nothing about it is set`);
}

/** The same words for a log that does not exist and for one that the caller may not know of. */
export function unknownLog(name: string): SteleError {
  return new SteleError('not_found', `log: there is no log ${shown(name)} here`);
}
