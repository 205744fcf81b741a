/** GET /metrics: for Prometheus, with a token of role `metrics`; logs have rows as far as it may know of them. */
import { sendFresh } from '../answer.ts';
import type { Parts } from '../app.ts';
import type { InstanceRoute } from '../call.ts';
import { isVisible } from '../roles.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export function metricsRoutes(parts: Parts): readonly InstanceRoute[] {
  return [
    {
      on: 'instance',
      method: 'GET',
      pattern: '/metrics',
      access: 'metrics',
      async handle(call) {
        const text = await parts.metrics.text(({ name, visibility }) =>
          isVisible(visibility, call.token, name),
        );
        sendFresh(call, METRICS_TYPE, text);
      },
    },
  ];
}
