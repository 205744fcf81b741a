/** What is kept of Rekor: its answers, and the heads that were seen. It is read back as it was, or not at all. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatRekorAnswer, parseRekorAnswer } from '../../server/anchor/rekor-answer.ts';
import { followOn } from '../../server/anchor/rekor-seen.ts';
import { TargetError } from '../../server/anchor/target.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { nearMiss } from '../core/near-miss.ts';
import { Made } from '../core/sigstore/made.ts';

const made = new Made();
const never = new AbortController().signal;
const entry = made.entry(2, made.anchorKey.head(1));

const kept = formatRekorAnswer({
  isNew: false,
  found: { entry },
  receivedMs: 1_795_231_520_123,
  timestamps: [Uint8Array.of(1, 2, 3)],
});

describe('a kept answer', () => {
  test('is read back', () => {
    expect(parseRekorAnswer(kept, 2)).toEqual({
      isNew: false,
      entry,
      receivedMs: 1_795_231_520_123,
      timestamps: [Uint8Array.of(1, 2, 3)],
    });
  });

  test('that came from Rekor is kept byte for byte', () => {
    const raw = utf8(' {"not": "what Rekor answers"} ');
    const bytes = formatRekorAnswer({
      isNew: true,
      found: { raw },
      receivedMs: 1,
      timestamps: [],
    });
    const { raw: base64 } = JSON.parse(Buffer.from(bytes).toString()) as { readonly raw: string };
    expect(new Uint8Array(Buffer.from(base64, 'base64'))).toEqual(raw);
  });

  test('near a good one is read or malformed', () => {
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(nearMiss(kept), fc.uint8Array({ maxLength: 64 })), (bytes) => {
        try {
          parseRekorAnswer(bytes, 2);
          read++;
        } catch (error) {
          if (!(error instanceof SteleError)) throw error;
          expect(error.code).toBe('malformed');
        }
      }),
      { numRuns: 500 },
    );
    expect(read).toBeLessThan(500);
  });
});

describe('what was seen', () => {
  const nobody = {
    continuation: () => Promise.reject(new TargetError('retry', 'nobody is there')),
  };

  test('near a good one leads to a check, or is refused', async () => {
    const trust = made.trust();
    const last = await followOn(nobody, trust, undefined, entry, never, checkSignatureNative);
    await fc.assert(
      fc.asyncProperty(nearMiss(last), async (bytes) => {
        try {
          await followOn(nobody, trust, bytes, entry, never, checkSignatureNative);
        } catch (error) {
          expect(error instanceof SteleError || error instanceof TargetError).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('is remembered of 64 logs, the newest first', async () => {
    let last: Uint8Array | undefined;
    const logs = Array.from({ length: 66 }, () => new Made({ v1: 1, v2: 1 }));
    const all = { logs: logs.flatMap((one) => one.trust().logs), authorities: [] };
    for (const one of logs) {
      const said = one.entry(2, one.anchorKey.head(1));
      last = await followOn(nobody, all, last, said, never, checkSignatureNative);
    }
    const { seen } = JSON.parse(Buffer.from(last ?? []).toString()) as {
      readonly seen: readonly { readonly key_id: string }[];
    };
    expect(seen.map(({ key_id }) => key_id)).toEqual(
      logs
        .map((one) => one.v2.shard.keyId.toString('base64'))
        .reverse()
        .slice(0, 64),
    );
  });
});
