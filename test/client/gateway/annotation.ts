import type { NewRecord } from '../../../server/client/gateway/statement.ts';

/** A record that says as little as one can. */
export function annotation(id?: string): NewRecord {
  return {
    kind: 'annotation',
    ...(id === undefined ? {} : { record_id: id }),
    time: { received: '2026-11-01T00:00:00.000000Z' },
    annotation: {
      records: ['0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f'],
      type: 'human-review',
      role: 'reviewer',
      verdict: 'fine',
    },
  };
}
