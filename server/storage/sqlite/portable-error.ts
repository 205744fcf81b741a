/** What goes wrong in a writer thread, as it crosses over to whoever waits for it. */
import { Bug, type Code, SteleError } from '../../core/errors.ts';
import { FsyncFailed, storageError } from './database.ts';

export interface WriterError {
  readonly kind: 'stele' | 'fsync' | 'bug';
  readonly code: string;
  readonly message: string;
  readonly retryAfterS?: number;
}

export function portable(error: unknown, path: string): WriterError {
  const ours = storageError(error, path);
  if (ours instanceof FsyncFailed) return { kind: 'fsync', code: '', message: ours.message };
  if (!(ours instanceof SteleError)) return { kind: 'bug', code: '', message: ours.message };
  const { code, message, retryAfterS } = ours;
  return { kind: 'stele', code, message, ...(retryAfterS === undefined ? {} : { retryAfterS }) };
}

/** `what` was written, for the message of a failed fsync. */
export function received(error: WriterError, what: string): Error {
  if (error.kind === 'fsync') return new FsyncFailed(what, { cause: new Error(error.message) });
  if (error.kind === 'bug') return new Bug(error.message);
  return new SteleError(error.code as Code, error.message, {
    ...(error.retryAfterS === undefined ? {} : { retryAfterS: error.retryAfterS }),
  });
}
