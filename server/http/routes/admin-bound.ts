/** Which logs an administrator's token reaches: those that it is bound to, and to it there are no others. */
import { hasCode } from '../../core/errors.ts';
import type { Parts } from '../app.ts';
import { type Call, type Log, param } from '../call.ts';
import { unknownLog } from '../errors.ts';
import { isBound } from '../roles.ts';

export function boundLogs(parts: Parts, { token }: Call) {
  return parts.logs.list().filter(({ name }) => token !== undefined && isBound(token, name));
}

/** The log that the path names first; to a token that is not bound to it, it does not exist. */
export async function openBound(parts: Parts, call: Call): Promise<Log> {
  const name = param(call, 0);
  if (call.token === undefined || !isBound(call.token, name)) throw unknownLog(name);
  try {
    return await parts.logs.get(name);
  } catch (error) {
    throw hasCode(error, 'not_found') ? unknownLog(name) : error;
  }
}
