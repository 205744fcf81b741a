/** A log in the public format that others made: watched from its first head to its last, whole and spoiled. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseVerifierKey } from '../../server/core/note.ts';
import type { Event } from '../../server/monitor/events.ts';
import { LogPlace } from '../../server/monitor/places.ts';
import { type Outcome, run } from '../../server/monitor/run.ts';
import type { Limits } from '../../server/monitor/watched.ts';
import { checker } from '../log/make.ts';
import { SHARED, sharedJson, sharedMissing } from '../shared.ts';
import { temporaryFolder } from '../temporary.ts';

const TESSERA = join(SHARED, 'vectors', 'tessera-log');

/** Its files as a plain server has them; `size` says which checkpoint it shows. */
function serving(size: () => number, change: (path: string, bytes: Buffer) => Buffer | undefined) {
  return async (input: Parameters<typeof fetch>[0]) => {
    const path = new URL(String(input)).pathname.slice(1);
    const file = join(TESSERA, path === 'checkpoint' ? `checkpoint.${size()}` : path);
    const bytes = existsSync(file) ? change(path, readFileSync(file)) : undefined;
    return bytes === undefined
      ? new Response('', { status: 404 })
      : new Response(bytes as Uint8Array<ArrayBuffer>);
  };
}

async function looked(
  folder: string,
  fetch: ReturnType<typeof serving>,
  depth: Limits['depth'],
): Promise<{ outcome: Outcome; events: Event[] }> {
  const { vkey } = sharedJson('vectors', 'tessera-log', 'index.json') as { vkey: string };
  const events: Event[] = [];
  const outcome = await run({
    places: [new LogPlace({ url: 'http://log.example', fetch })],
    ...{ witnesses: [], rekors: [], known: [], trust: { logs: [] } },
    keys: [parseVerifierKey(vkey)],
    limits: { depth, require: [], staleMs: 0, lateMs: 0 },
    folder,
    means: {
      checker,
      now: () => 1_790_000_000_000,
      signal: new AbortController().signal,
      progress: () => undefined,
    },
    tell: (event) => events.push(event),
    ...{ once: true, acknowledge: false, intervalMs: 1, pauseMs: 1 },
  });
  return { outcome, events };
}

const same = (_: string, bytes: Buffer) => bytes;

describe.skipIf(sharedMissing)('a log that Tessera made', () => {
  test.for(['heads', 'tiles', 'entries'] as const)(
    'holds at every size, read as %s',
    async (depth) => {
      const folder = temporaryFolder();
      for (let size = 0; size <= 15; size++) {
        const { outcome, events } = await looked(
          folder,
          serving(() => size, same),
          depth,
        );
        expect(outcome, `${size}`).toBe('ok');
        expect(events.at(-1)).toMatchObject({ event: 'ok', size });
      }
    },
  );

  test('is smaller than it was, or has another key: an alarm', async () => {
    const folder = temporaryFolder();
    expect(
      (
        await looked(
          folder,
          serving(() => 12, same),
          'tiles',
        )
      ).outcome,
    ).toBe('ok');
    const back = await looked(
      folder,
      serving(() => 11, same),
      'tiles',
    );
    expect(back.events).toContainEqual(expect.objectContaining({ kind: 'shrunk' }));
    expect(back.outcome).toBe('alarm');
    expect(
      (
        await looked(
          folder,
          serving(() => 12, same),
          'tiles',
        )
      ).outcome,
    ).toBe('ok');
  });

  test('has one bit of anything changed: an alarm', async () => {
    const folder = temporaryFolder();
    expect(
      (
        await looked(
          folder,
          serving(() => 7, same),
          'entries',
        )
      ).outcome,
    ).toBe('ok');
    const flipped = (name: RegExp) => (path: string, bytes: Buffer) => {
      if (!name.test(path)) return bytes;
      const copy = Buffer.from(bytes);
      copy[copy.length - 3] = (copy[copy.length - 3] ?? 0) ^ 1;
      return copy;
    };
    for (const name of [/^checkpoint$/, /^tile\/0\//, /^tile\/entries\//]) {
      const { outcome } = await looked(
        folder,
        serving(() => 15, flipped(name)),
        'entries',
      );
      expect(outcome, String(name)).toBe('alarm');
    }
    expect(
      (
        await looked(
          folder,
          serving(() => 15, same),
          'entries',
        )
      ).outcome,
    ).toBe('ok');
  });
});
