/** What an action throws, by its code; nothing if it returns. */
import { type Code, SteleError } from '../../server/core/errors.ts';

export function codeOf(action: () => unknown): Code | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof SteleError) return error.code;
    throw error;
  }
}
