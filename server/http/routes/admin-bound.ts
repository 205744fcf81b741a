/** Which logs an administrator's token reaches: those that it is bound to, and to it there are no others. */
import { hasCode, SteleError } from '../../core/errors.ts';
import type { Parts } from '../app.ts';
import { type Call, type Log, param } from '../call.ts';
import { unknownLog } from '../errors.ts';
import { isBound } from '../roles.ts';

export function boundLogs(parts: Parts, { token }: Call) {
  return parts.logs.list().filter(({ name }) => token !== undefined && isBound(token, name));
}

/** `forbidden` unless the token may work on a log of this name, which need not exist yet. */
export function checkBound({ token }: Call, name: string): void {
  if (token !== undefined && isBound(token, name)) return;
  throw new SteleError('forbidden', `token ${token?.id} is not bound to log ${name}`);
}

/** Works on the log that the path names first; to a token that is not bound to it, it does not exist. */
export async function onLog<T>(
  parts: Parts,
  call: Call,
  work: (log: Log) => Promise<T> | T,
): Promise<T> {
  const name = param(call, 0);
  if (call.token === undefined || !isBound(call.token, name)) throw unknownLog(name);
  const { log, release } = await parts.logs.lease(name).catch((error: unknown) => {
    throw hasCode(error, 'not_found') ? unknownLog(name) : error;
  });
  try {
    return await work(log);
  } finally {
    release();
  }
}
