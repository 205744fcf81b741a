/** How long may a request be held? Until its time is up, its client has gone, or the server stops. */
import type { Call } from './call.ts';

export interface Hold {
  /** Aborted when the request should be held no longer. */
  readonly over: AbortSignal;
  /** To be called in the end, whatever happened. */
  release(): void;
}

export function hold(call: Call, ms: number, stopping: AbortSignal): Hold {
  const { res } = call.ctx;
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  const timer = setTimeout(stop, ms);
  res.once('close', stop);
  stopping.addEventListener('abort', stop, { once: true });
  if (stopping.aborted) stop();
  return {
    over: controller.signal,
    release() {
      clearTimeout(timer);
      res.off('close', stop);
      stopping.removeEventListener('abort', stop);
    },
  };
}
