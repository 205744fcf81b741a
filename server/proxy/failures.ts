/** The ways in which an exchange ends early through nobody's fault here. */
import { SteleError } from '../core/errors.ts';
import type { Transport } from './facts.ts';

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
