/**
 * The same targets against Rekor itself, where one is running: docs/interop.md says how it was set up and what
 * was seen. Without an address these tests are skipped, and say so.
 *
 *     STELE_REKOR_V1_URL, STELE_REKOR_V1_TRUSTED_ROOT
 *     STELE_REKOR_V2_URL, STELE_REKOR_V2_TRUSTED_ROOT, perhaps STELE_REKOR_V2_READ_URL
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { rekorV1 } from '../../server/anchor/rekor-v1.ts';
import { rekorV2 } from '../../server/anchor/rekor-v2.ts';
import { type AnchoredHead, type Target, TargetError } from '../../server/anchor/target.ts';
import { parseUtf8 } from '../../server/core/bytes.ts';
import type { Json } from '../../server/core/json.ts';
import { checkRekorAnchor } from '../../server/core/sigstore/rekor-anchor.ts';
import {
  readSigstoreBundle,
  type SigstoreBundle,
} from '../../server/core/sigstore/sigstore-bundle.ts';
import { parseTrustedRoot } from '../../server/core/sigstore/trusted-root.ts';
import { Outbound } from '../../server/outbound.ts';
import { AnchorKey } from './heads.ts';
import { sigstoreFlaw } from './sigstore-judge.ts';

const { env } = process;
const never = new AbortController().signal;
const anchorKey = new AnchorKey();

/** Sizes that no run before had: a head that was logged already would not be new. */
let size = Date.now();

interface Real {
  readonly version: 1 | 2;
  readonly url: string;
  readonly readUrl: string | undefined;
  readonly trustedRoot: string;
}

function real(version: 1 | 2): Real | undefined {
  const url = env[`STELE_REKOR_V${version}_URL`];
  const trustedRoot = env[`STELE_REKOR_V${version}_TRUSTED_ROOT`];
  if (url === undefined || trustedRoot === undefined) return undefined;
  return { version, url, trustedRoot, readUrl: env[`STELE_REKOR_V${version}_READ_URL`] };
}

function targetOf({ version, url, readUrl, trustedRoot }: Real): Target {
  const options = {
    name: 'real',
    url,
    readUrl,
    outbound: new Outbound('0.0.0-test'),
    trust: parseTrustedRoot(new Uint8Array(readFileSync(trustedRoot))),
  };
  return version === 1 ? rekorV1(options) : rekorV2(options);
}

async function anchor(to: Target, head: AnchoredHead, last?: Uint8Array) {
  const request = await to.request(head);
  const answer = await to.ask(request, never);
  const checked = await to.check(head, request, answer, last, never);
  const { bundle } = checked.anchor as { readonly bundle: Json };
  return { ...checked, bundle, read: readSigstoreBundle(bundle), request, answer };
}

function isNew(answer: Uint8Array): boolean {
  return (JSON.parse(parseUtf8(answer, 'answer')) as { readonly is_new: boolean }).is_new;
}

describe.each([1, 2] as const)('a real rekor v%i', (version) => {
  const found = real(version);

  /** A test that runs where there is such a server. */
  function against(name: string, run: (server: Real, to: Target) => Promise<void>): void {
    test(name, async ({ skip }) => {
      if (found === undefined) {
        return skip(`STELE_REKOR_V${version}_URL and …_TRUSTED_ROOT do not name a running one`);
      }
      return await run(found, targetOf(found));
    });
  }

  /** Holds for us, offline, and for Sigstore's own verifier. */
  function expectHolds(server: Real, head: AnchoredHead, bundle: Json, read: SigstoreBundle): void {
    const root = readFileSync(server.trustedRoot);
    const trust = parseTrustedRoot(new Uint8Array(root));
    expect(checkRekorAnchor(read, head, [head.key], trust).api).toBe(version);
    expect(
      sigstoreFlaw({
        bundle,
        text: head.text,
        key: anchorKey.pem,
        trustedRoot: JSON.parse(root.toString()) as unknown,
        times: version === 1 ? 1 : 0,
      }),
    ).toBeUndefined();
  }

  against('takes up a head, and Sigstore’s own verifier takes the bundle', async (server, to) => {
    const head = anchorKey.head(size++);
    const { bundle, read, answer } = await anchor(to, head);
    expect(isNew(answer)).toBe(true);
    expectHolds(server, head, bundle, read);
  });

  against('has an entry once, however often it is sent', async (server, to) => {
    const head = anchorKey.head(size++);
    const first = await anchor(to, head);
    const again = await anchor(to, head, first.last);
    expect([isNew(first.answer), isNew(again.answer)]).toEqual([true, false]);
    expect(again.read.entry.index).toBe(first.read.entry.index);
    expect(again.timeMs).toBe(first.timeMs);
    expectHolds(server, head, again.bundle, again.read);
  });

  against('goes on from each head that was seen', async (server, to) => {
    let last: Uint8Array | undefined;
    for (let i = 0; i < 5; i++) {
      const head = anchorKey.head(size++);
      const { last: seen, bundle, read } = await anchor(to, head, last);
      expectHolds(server, head, bundle, read);
      last = seen;
    }
  });

  against('takes several at once', async (server, to) => {
    const heads = Array.from({ length: 8 }, () => anchorKey.head(size++));
    const anchored = await Promise.all(heads.map((head) => anchor(to, head)));
    for (const [i, { bundle, read }] of anchored.entries()) {
      expectHolds(server, heads[i]!, bundle, read);
    }
    expect(new Set(anchored.map(({ read }) => read.entry.index)).size).toBe(8);
  });

  against('is shown the newest head first and an older one after it', async (_, to) => {
    const [early, late] = [anchorKey.head(size++), anchorKey.head(size++)];
    const request = await to.request(early);
    const answer = await to.ask(request, never);
    const seen = await anchor(to, late);
    const checked = await to.check(early, request, answer, seen.last, never);
    expect(checked.last).toEqual(seen.last);
  });

  against('refuses for good what does not verify', async (_, to) => {
    const head = { ...anchorKey.head(size++), signature: anchorKey.sign(Uint8Array.of(1)) };
    const asked = to.ask(await to.request(head), never);
    await expect(asked).rejects.toBeInstanceOf(TargetError);
    await expect(asked).rejects.toMatchObject({ kind: 'refused' });
  });
});
