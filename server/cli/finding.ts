/** What a look at an installation found: one line for each thing that was looked at. */
export type Health = 'ok' | 'warn' | 'fail';

export interface Finding {
  readonly check: string;
  readonly health: Health;
  /** What was seen, and what to do if it is not good. */
  readonly detail: string;
}

export function ok(check: string, detail: string): Finding {
  return { check, health: 'ok', detail };
}

export function warn(check: string, detail: string): Finding {
  return { check, health: 'warn', detail };
}

export function fail(check: string, detail: string): Finding {
  return { check, health: 'fail', detail };
}
