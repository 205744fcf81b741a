/** Entries of Rekor with stamps of a real authority over the signature: what others read, and how. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rekorV1 } from '../../server/anchor/rekor-v1.ts';
import { rekorV2 } from '../../server/anchor/rekor-v2.ts';
import { TargetError } from '../../server/anchor/target.ts';
import { TsaTarget } from '../../server/anchor/tsa.ts';
import type { Json } from '../../server/core/json.ts';
import { checkRekorAnchor } from '../../server/core/sigstore/rekor-anchor.ts';
import { readSigstoreBundle } from '../../server/core/sigstore/sigstore-bundle.ts';
import { authoritiesOf, timestampCheck } from '../../server/core/sigstore/timestamps.ts';
import { readTrustedRoot } from '../../server/core/sigstore/trusted-root.ts';
import { Outbound } from '../../server/outbound.ts';
import { opensslMissing } from '../certificates.ts';
import { temporaryFolder } from '../temporary.ts';
import { AnchorKey } from './heads.ts';
import { OpensslTsa, type Section } from './openssl-tsa.ts';
import { RekorDouble } from './rekor-double/double.ts';
import { sigstoreFlaw } from './sigstore-judge.ts';

const anchorKey = new AnchorKey();
const never = new AbortController().signal;

/** Whether a certificate has another between it and the root. */
const isBetween = (name: Section) => name === 'rsa' || name === 'chain';

describe.skipIf(opensslMissing !== undefined)('an entry with stamps', () => {
  let rekor: RekorDouble;
  let tsa: OpensslTsa;

  beforeAll(async () => {
    tsa = new OpensslTsa(temporaryFolder(afterAll));
    await tsa.listen();
    rekor = await RekorDouble.start();
    rekor.v1.shard.grow(5);
    rekor.v2.shard.grow(5);
    afterAll(async () => {
      tsa.close();
      await rekor.stop();
    });
  });

  function rawOf(name: Section | 'root' | 'between'): string {
    return tsa.pem(name).replace(/-----[A-Z ]+-----|\s/g, '');
  }

  /** The double's trusted root, with the authorities of these sections. */
  function trustedRoot(...sections: readonly Section[]) {
    return {
      ...rekor.trustedRoot(),
      timestampAuthorities: sections.map((name) => ({
        subject: { organization: 'Example', commonName: name },
        uri: tsa.url(name),
        certChain: {
          certificates: [
            name,
            ...(isBetween(name) ? ['between' as const] : []),
            'root' as const,
          ].map((one) => ({ rawBytes: rawOf(one) })),
        },
        validFor: { start: '2024-01-01T00:00:00Z' },
      })),
    };
  }

  /** Shows a head to a Rekor whose signature these authorities stamp. */
  async function anchored(version: 1 | 2, trusted: readonly Section[], asked: readonly Section[]) {
    const json = trustedRoot(...trusted);
    const trust = readTrustedRoot(JSON.parse(JSON.stringify(json)) as Json);
    const checkTimestamp = timestampCheck(authoritiesOf(trust));
    const outbound = new Outbound('0.0.0-test');
    const stampers = asked.map(
      (name) =>
        new TsaTarget({
          name,
          url: tsa.url(name),
          authorities: authoritiesOf(trust),
          outbound,
          now: Date.now,
          random: randomBytes,
        }),
    );
    const options = { name: 'own', url: rekor.url, outbound, trust, stampers, checkTimestamp };
    const to = version === 1 ? rekorV1(options) : rekorV2(options);
    const head = anchorKey.head(Math.floor(Math.random() * 2 ** 40));
    const request = await to.request(head);
    const answer = await to.ask(request, never);
    const checked = await to.check(head, request, answer, undefined, never);
    const { bundle } = checked.anchor as { readonly bundle: Json };
    const judge = (times: number) =>
      sigstoreFlaw({ bundle, text: head.text, key: anchorKey.pem, trustedRoot: json, times });
    const offline = checkRekorAnchor(readSigstoreBundle(bundle), head, [head.key], trust, {
      checkTimestamp,
    });
    return { timeMs: checked.timeMs, judge, offline };
  }

  test.each([1, 2] as const)(
    'of v%i has a time by them, for us and for Sigstore’s verifier',
    async (version) => {
      const before = Date.now() - 2_000;
      const { timeMs, judge, offline } = await anchored(
        version,
        ['p256', 'chain'],
        ['p256', 'chain'],
      );
      expect(offline.stamps.map(({ authority }) => authority)).toEqual([
        'CN=p256,O=Example',
        'CN=chain,O=Example',
      ]);
      expect(offline.timeMs).toBe(timeMs);
      expect(timeMs).toBeGreaterThan(before);
      // Rekor's own word is one more time in v1.
      expect(judge(version === 1 ? 3 : 2)).toBeUndefined();
      expect(judge(version === 1 ? 4 : 3)).toMatch(/expected . timestamps/);
    },
  );

  test('is made of those stamps that count, and of none it is not made', async () => {
    const { offline, judge } = await anchored(2, ['p256'], ['rsa', 'p256']);
    expect(offline.stamps).toHaveLength(1);
    expect(judge(1)).toBeUndefined();
    await expect(anchored(2, ['p256'], ['rsa'])).rejects.toBeInstanceOf(TargetError);
  });

  test('may have a time of microseconds, and be stamped with other keys', async () => {
    const { offline } = await anchored(2, ['p384', 'rsa'], ['p384', 'rsa']);
    expect(offline.stamps.map(({ authority }) => authority)).toEqual([
      'CN=p384,O=Example',
      'CN=rsa,O=Example',
    ]);
  });
});
