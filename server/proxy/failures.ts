/** The ways in which an exchange ends early through nobody's fault here. */
import { hasCode, SteleError } from '../core/errors.ts';
import type { Transport } from './facts.ts';
import { errorCode } from './journal/disk.ts';

/** The way to the provider failed, before or after its answer began. */
export class UpstreamFailed extends Error {
  readonly transport: Extract<Transport, 'cut' | 'unreachable' | 'timeout'>;

  constructor(transport: UpstreamFailed['transport'], cause: unknown) {
    super(`upstream: ${transport}`, { cause });
    this.name = 'UpstreamFailed';
    this.transport = transport;
  }
}

/** The client left before it had everything. */
export class ClientGone extends Error {
  constructor(when: string, cause?: unknown) {
    super(`the client left ${when}`, { cause });
    this.name = 'ClientGone';
  }
}

/** The log does not have the intent to make the call, so it is not made (posture strict). */
export class IntentMissing extends SteleError {
  constructor(rule: string) {
    super('storage', `intent: ${rule}`, { retryAfterS: 5 });
    this.name = 'IntentMissing';
  }
}

/** The rules of its upstream let the call not go on. */
export class PolicyBlocked extends SteleError {
  constructor(rule: string) {
    super('forbidden', `policy: ${rule}`);
    this.name = 'PolicyBlocked';
  }
}

const REFUSALS = ['unauthenticated', 'forbidden', 'pushback'] as const;

/** Why a call ended early, for the record: the proxy's own reason, or the name of a system error. */
export function whyEnded(error: unknown): string | undefined {
  if (error instanceof IntentMissing) return 'intent-not-logged';
  if (error instanceof PolicyBlocked) return 'policy';
  if (REFUSALS.some((code) => hasCode(error, code))) return (error as SteleError).code;
  return error instanceof Error ? errorCode(error.cause) : undefined;
}

/** How the exchange ended on the wire. `isWhole`: the client has the whole answer, by its own mark. */
export function transportOf(error: unknown, { isWhole }: { readonly isWhole: boolean }): Transport {
  const isEarlyEnd = error instanceof UpstreamFailed || error instanceof ClientGone;
  if (isEarlyEnd && isWhole) return 'complete';
  if (error instanceof UpstreamFailed) return error.transport;
  if (error instanceof ClientGone) return 'client-abort';
  return isRefusal(error) ? 'refused' : 'storage';
}

/** Whether it was the proxy itself that refused the call. */
function isRefusal(error: unknown): boolean {
  const isRefused = REFUSALS.some((code) => hasCode(error, code));
  return isRefused || error instanceof IntentMissing || hasCode(error, 'too_large');
}
