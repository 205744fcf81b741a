/**
 * The time-stamp target against an authority that you run: docs/interop.md says which were tried and what was
 * seen. Without an address these tests are skipped, and say so.
 *
 *     STELE_TSA_URL, STELE_TSA_ROOTS (a file of certificates in PEM)
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { TsaTarget } from '../../server/anchor/tsa.ts';
import { parseBase64, utf8 } from '../../server/core/bytes.ts';
import { NoTrust } from '../../server/core/errors.ts';
import { checkTimestamp, parseTsaRoots } from '../../server/core/rfc3161.ts';
import { Outbound } from '../../server/outbound.ts';
import { AnchorKey } from './heads.ts';

const { STELE_TSA_URL: url, STELE_TSA_ROOTS: roots } = process.env;
const never = new AbortController().signal;
const anchorKey = new AnchorKey();

describe('a real time-stamping authority', () => {
  /** A test that runs where there is such a server. */
  function against(
    name: string,
    run: (target: TsaTarget, authority: ReturnType<typeof parseTsaRoots>) => Promise<void>,
  ): void {
    test(name, async ({ skip }) => {
      if (url === undefined || roots === undefined) {
        return skip('STELE_TSA_URL and STELE_TSA_ROOTS do not name a running one');
      }
      const authority = parseTsaRoots(readFileSync(roots, 'utf8'), 'roots');
      const options = { name: 'real', url, authorities: [authority], now: Date.now };
      const random = (length: number) => new Uint8Array(randomBytes(length));
      const outbound = new Outbound('0.0.0-test');
      return await run(new TsaTarget({ ...options, outbound, random }), authority);
    });
  }

  against('stamps heads, and what it says is verified offline', async (target, authority) => {
    for (const size of [1, 2, 3]) {
      const head = anchorKey.head(size);
      const request = await target.request(head);
      const answer = await target.ask(request, never);
      const { anchor, timeMs = 0 } = await target.check(head, request, answer);
      expect(Math.abs(timeMs - Date.now())).toBeLessThan(60_000);
      const response = parseBase64(String(anchor.response), 'response');
      const stamp = checkTimestamp({ message: head.text, response, authorities: [authority] });
      expect(stamp.timeMs).toBe(timeMs);
      const other = { message: anchorKey.head(size + 1).text, response, authorities: [authority] };
      expect(() => checkTimestamp(other)).toThrow('imprint');
      expect(() => checkTimestamp({ ...other, message: head.text, authorities: [] })).toThrow(
        NoTrust,
      );
    }
  });

  against('stamps several at once, each with its own nonce', async (target) => {
    const heads = Array.from({ length: 16 }, (_, i) => anchorKey.head(100 + i));
    await Promise.all(
      heads.map(async (head) => {
        const request = await target.request(head);
        await target.check(head, request, await target.ask(request, never));
      }),
    );
    const [one, two] = [await target.request(heads[0]!), await target.request(heads[0]!)];
    const swapped = target.check(heads[0]!, two, await target.ask(one, never));
    await expect(swapped).rejects.toThrow('nonce');
  });

  against('stamps a signature for a Sigstore bundle', async (target, authority) => {
    const message = anchorKey.sign(utf8('text'));
    const response = await target.stamp(message, never);
    checkTimestamp({ message, response, authorities: [authority] });
  });
});
