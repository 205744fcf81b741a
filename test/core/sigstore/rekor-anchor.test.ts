/** Is this head in Rekor: every rule, by an anchor that holds and by each way of spoiling it. */
import { describe, expect, test } from 'vitest';
import type { AnchoredHead } from '../../../server/anchor/target.ts';
import { parseUtf8, sha256, utf8 } from '../../../server/core/bytes.ts';
import { NoTrust, SteleError, unverified } from '../../../server/core/errors.ts';
import type { RekorVersion } from '../../../server/core/sigstore/hashedrekord.ts';
import { hashedRekord } from '../../../server/core/sigstore/hashedrekord.ts';
import {
  CLOCKS_APART_MS,
  checkRekorAnchor,
  type RekorCheckOptions,
} from '../../../server/core/sigstore/rekor-anchor.ts';
import {
  formatSigstoreBundle,
  parseSigstoreBundle,
  type SigstoreBundle,
} from '../../../server/core/sigstore/sigstore-bundle.ts';
import type { TlogEntry } from '../../../server/core/sigstore/tlog-entry.ts';
import { type Hash, leafIndex } from '../../../server/core/units.ts';
import { checkSignatureNative } from '../../../server/keys/engine.ts';
import { AnchorKey } from '../../anchor/heads.ts';
import { sigstoreFlaw } from '../../anchor/sigstore-judge.ts';
import { codeOf } from '../codes.ts';
import { HOST, LOGGED_MS, Made } from './made.ts';

const made = new Made();
const head = made.anchorKey.head(4242);
const bundles = { 1: made.bundle(1, head), 2: made.bundle(2, head) };

interface Given extends RekorCheckOptions {
  readonly of?: AnchoredHead;
  readonly keys?: readonly AnchorKey[];
  readonly trust?: ReturnType<Made['trust']>;
}

function check(bundle: SigstoreBundle, given: Given = {}) {
  const { of = head, keys = [made.anchorKey], trust = made.trust(), ...options } = given;
  return checkRekorAnchor(
    bundle,
    of,
    keys.map(({ key }) => key),
    trust,
    options,
  );
}

/** What the check throws, as "CODE message"; NoTrust is said as such. */
function refusalOf(bundle: SigstoreBundle, given: Given = {}): string {
  try {
    const { detail } = check(bundle, given);
    return `holds: ${detail}`;
  } catch (error) {
    if (error instanceof NoTrust) return `no-trust ${error.message}`;
    if (error instanceof SteleError) return `${error.code} ${error.message}`;
    throw error;
  }
}

function flipped(bytes: Uint8Array, at = bytes.length - 1): Uint8Array {
  return bytes.with(at, (bytes[at] ?? 0) ^ 1);
}

describe('a head in rekor v1', () => {
  test('is anchored, by the word of the log at its own time', () => {
    const anchored = check(bundles[1], { nowMs: LOGGED_MS });
    expect(anchored).toMatchObject({
      api: 1,
      index: 921,
      integratedMs: LOGGED_MS,
      timeMs: LOGGED_MS,
      log: { baseUrl: `https://${HOST}` },
      checkpoint: { size: 22, origin: `${HOST} - 1193050959916656506` },
    });
    expect(anchored.detail).toBe(
      `entry 921 of https://${HOST} (rekor v1), in its tree of 22; taken up 2026-11-21T03:25:20Z by its own word`,
    );
  });
});

describe('a head in rekor v2', () => {
  test('is anchored, at no time', () => {
    const anchored = check(bundles[2]);
    expect(anchored).toMatchObject({ api: 2, index: 130, checkpoint: { size: 131, origin: HOST } });
    expect(anchored.timeMs).toBeUndefined();
    expect(anchored.detail).toMatch(/nothing says when/);
  });

  test('has the time of a stamp over its signature', () => {
    const stamped = { ...bundles[2], timestamps: [Uint8Array.of(1), Uint8Array.of(2)] };
    const asked: (readonly [Uint8Array, Uint8Array])[] = [];
    const anchored = check(stamped, {
      checkTimestamp: (response, data) => {
        asked.push([response, data]);
        const timeMs = LOGGED_MS + (response[0] ?? 0) * 1_000;
        return { timeMs, latestMs: timeMs + 500, authority: 'TSA' };
      },
    });
    expect(asked).toEqual(stamped.timestamps.map((one) => [one, head.signature]));
    expect(anchored.timeMs).toBe(LOGGED_MS + 1_000);
    expect(anchored.detail).toMatch(/stamped 2026-11-21T03:25:21Z by TSA; stamped/);
  });

  test('is not held to a time that nobody promised', () => {
    const entry = { ...bundles[2].entry, integratedTime: 1 };
    expect(check({ ...bundles[2], entry }).timeMs).toBeUndefined();
  });
});

describe.each([1, 2] as const)('an anchor of v%i', (version) => {
  const bundle = bundles[version];
  const withEntry = (change: Partial<TlogEntry>) => ({
    ...bundle,
    entry: { ...bundle.entry, ...change },
  });
  const withProof = (change: Partial<TlogEntry['proof']>) =>
    withEntry({ proof: { ...bundle.entry.proof, ...change } });

  test('is one that Sigstore’s own verifier takes as it is', () => {
    const judged = {
      bundle: JSON.parse(parseUtf8(formatSigstoreBundle(bundle), 'bundle')) as unknown,
      text: head.text,
      key: made.anchorKey.pem,
      trustedRoot: made.trustedRootJson(),
      times: version === 1 ? 1 : 0,
    };
    expect(sigstoreFlaw(judged)).toBeUndefined();
    expect(sigstoreFlaw({ ...judged, text: utf8('another text') })).toBeDefined();
  });

  test('is of one head and no other', () => {
    const other = made.anchorKey.head(4243);
    expect(refusalOf(bundle, { of: other })).toMatch(/^unverified rekor anchor: digest/);
  });

  test('is of the anchor key that it names, and a key that is not known is not judged', () => {
    const other = new AnchorKey();
    expect(check(bundle, { keys: [other, made.anchorKey] }).api).toBe(version);
    expect(refusalOf(bundle, { keys: [other] })).toMatch(/^no-trust .*anchor key/);
    expect(refusalOf(bundle, { keys: [] })).toMatch(/^no-trust /);
  });

  const spoiled: Record<string, [bundle: SigstoreBundle, refusal: RegExp]> = {
    'the signature of another text': [
      { ...bundle, signature: made.anchorKey.sign(utf8('another text')) },
      /^unverified rekor anchor: signature: ecdsa-p256/,
    ],
    'another signature of the same text': [
      { ...bundle, signature: made.anchorKey.sign(head.text) },
      /^unverified rekor anchor: body: .*signature\.content/,
    ],
    'another digest': [
      { ...bundle, digest: sha256(utf8('another text')) },
      /^unverified rekor anchor: digest/,
    ],
    'an entry of another digest': [
      withEntry({
        body: hashedRekord(version, {
          digest: sha256(utf8('another text')),
          signature: head.signature,
          key: head.key,
        }),
      }),
      /^unverified rekor anchor: body: .*(value|digest)/,
    ],
    'an entry of another key': [
      withEntry({
        body: hashedRekord(version, {
          digest: sha256(head.text),
          signature: head.signature,
          key: new AnchorKey().key,
        }),
      }),
      /^unverified rekor anchor: body: .*publicKey/,
    ],
    'an entry in another spelling': [
      withEntry({
        body: utf8(JSON.stringify(JSON.parse(parseUtf8(bundle.entry.body, 'body')), null, 1)),
      }),
      /^unverified rekor anchor: body: .*canonical spelling/,
    ],
    'another kind': [withEntry({ kind: 'dsse' }), /^unverified rekor anchor: entry: kind "dsse"/],
    'another version': [
      withEntry({ version: '0.0.3' }),
      /^unverified rekor anchor: entry: .*"0\.0\.3"/,
    ],
    'the version of the other generation': [
      withEntry({ version: version === 1 ? '0.0.2' : '0.0.1' }),
      /^unverified rekor anchor: body: rekor entry: apiVersion/,
    ],
    'a log that is not pinned': [
      withEntry({ keyId: flipped(bundle.entry.keyId) as Hash }),
      /^no-trust rekor anchor: no log with the key ID/,
    ],
    'the log of the other generation': [
      withEntry({ keyId: bundles[version === 1 ? 2 : 1].entry.keyId }),
      /^unverified rekor anchor: checkpoint/,
    ],
    'another root beside the checkpoint': [
      withProof({ rootHash: flipped(bundle.entry.proof.rootHash) as Hash }),
      /^unverified rekor anchor: rootHash/,
    ],
    'another size beside the checkpoint': [
      withProof({ treeSize: bundle.entry.proof.treeSize + 1 }),
      /^unverified rekor anchor: treeSize/,
    ],
    'another index in the proof': [
      withProof({ index: leafIndex(bundle.entry.proof.index - 1) }),
      /^unverified rekor anchor: (inclusion|logIndex)/,
    ],
    'an index beyond the tree': [
      withEntry({
        index: leafIndex(bundle.entry.proof.treeSize),
        proof: { ...bundle.entry.proof, index: leafIndex(bundle.entry.proof.treeSize) },
      }),
      /^unverified rekor anchor: inclusion: .*is not in a tree/,
    ],
    'one hash short': [
      withProof({ hashes: bundle.entry.proof.hashes.slice(1) }),
      /^unverified rekor anchor: inclusion/,
    ],
    'one hash extra': [
      withProof({ hashes: [...bundle.entry.proof.hashes, bundle.entry.proof.rootHash] }),
      /^unverified rekor anchor: inclusion/,
    ],
    'its hashes in another order': [
      withProof({ hashes: bundle.entry.proof.hashes.toReversed() }),
      /^unverified rekor anchor: inclusion/,
    ],
    'no hashes': [withProof({ hashes: [] }), /^unverified rekor anchor: inclusion/],
    'another index on top': [
      withEntry({ index: leafIndex(bundle.entry.index - 1) }),
      version === 1 ? /^unverified rekor anchor: promise/ : /^unverified rekor anchor: logIndex/,
    ],
    'a checkpoint of an earlier size': [
      withProof({ checkpoint: made[`v${version}`].shard.checkpoint(20) }),
      /^unverified rekor anchor: treeSize/,
    ],
    'a checkpoint without its line': [
      withProof({ checkpoint: bundle.entry.proof.checkpoint.replace(/\n— .*\n$/, '\n') }),
      /^malformed rekor anchor: checkpoint/,
    ],
  };

  test.each(Object.entries(spoiled))('with %s is refused', (_, [changed, refusal]) => {
    expect(refusalOf(changed)).toMatch(refusal);
  });

  test('does not hold with any byte of it changed', () => {
    const bytes = formatSigstoreBundle(bundle);
    const seed = Math.floor(Math.random() * 2 ** 32);
    for (const [at, byte] of bytes.entries()) {
      // Another printable byte, so that it is not only the form that refuses.
      const other = 0x20 + ((byte - 0x20 + 1 + ((seed + at * 31) % 93)) % 94);
      const refusal = codeOf(() =>
        check(parseSigstoreBundle(bytes.with(at, other)), { check: checkSignatureNative }),
      );
      expect(['malformed', 'unverified'], `seed ${seed}: byte ${at}`).toContain(refusal);
    }
  });

  test('of a log that does not say from when it is good is refused, which Sigstore’s verifier takes', () => {
    const without = (log: object) => {
      const json = JSON.parse(JSON.stringify(log)) as { publicKey: { validFor: object } };
      json.publicKey.validFor = {};
      return json;
    };
    expect(refusalOf(bundle, { trust: made.trust(without) })).toMatch(
      /^no-trust .*does not say from when/,
    );
    const lax = sigstoreFlaw({
      bundle: JSON.parse(parseUtf8(formatSigstoreBundle(bundle), 'bundle')) as unknown,
      text: head.text,
      key: made.anchorKey.pem,
      trustedRoot: made.trustedRootJson(without),
      times: version === 1 ? 1 : 0,
    });
    expect(lax).toBeUndefined();
  });

  test('with a time stamp by nobody that is known holds without it', () => {
    const stamped = { ...bundle, timestamps: [Uint8Array.of(1)] };
    const unknown: RekorCheckOptions = {
      checkTimestamp: () => {
        throw new NoTrust('time stamp', 'it is by nobody');
      },
    };
    for (const options of [unknown, {}]) {
      expect(check(stamped, options)).toMatchObject({ stamps: [], unknownStamps: 1 });
      expect(check(stamped, options).timeMs).toBe(check(bundle).timeMs);
    }
  });

  test('with a time stamp that does not hold is refused with its place', () => {
    const checkTimestamp = (response: Uint8Array) => {
      if (response[0] === 2) throw unverified('time stamp', 'it is of something else');
      return { timeMs: LOGGED_MS, latestMs: LOGGED_MS, authority: 'TSA' };
    };
    const stamped = { ...bundle, timestamps: [Uint8Array.of(1), Uint8Array.of(2)] };
    expect(refusalOf(stamped, { checkTimestamp })).toMatch(
      /^unverified rekor anchor: time stamp 1: .*something else/,
    );
  });
});

describe('a promise of v1', () => {
  const { entry } = bundles[1];
  const spoil = (change: Partial<TlogEntry>) =>
    refusalOf({ ...bundles[1], entry: { ...entry, ...change } });

  test('covers index and time, and holds for nothing else', () => {
    expect(spoil({ integratedTime: entry.integratedTime + 1 })).toMatch(/^unverified .*promise/);
    expect(spoil({ index: leafIndex(entry.index + 1) })).toMatch(/^unverified .*promise/);
    // The two indexes of v1 taken for each other.
    expect(spoil({ index: entry.proof.index })).toMatch(/^unverified .*promise/);
    expect(spoil({ promise: flipped(entry.promise ?? Uint8Array.of()) })).toMatch(
      /^unverified .*promise/,
    );
  });

  test('has to be there in v1, and cannot be there in v2', () => {
    const { promise, ...rest } = entry;
    expect(refusalOf({ ...bundles[1], entry: rest })).toMatch(/^unverified .*v1 needs it/);
    const more = { ...bundles[2].entry, promise: promise ?? Uint8Array.of() };
    expect(refusalOf({ ...bundles[2], entry: more })).toMatch(/^unverified .*v2 has none/);
  });
});

describe('time', () => {
  const stampAt = (timeMs: number): RekorCheckOptions => ({
    checkTimestamp: () => ({ timeMs, latestMs: timeMs, authority: 'TSA' }),
  });
  const stamped = (version: RekorVersion) => ({
    ...bundles[version],
    timestamps: [Uint8Array.of(1)],
  });
  const trustedFor = (start: string, end?: string) =>
    made.trust((log) => ({
      ...log,
      publicKey: { ...log.publicKey, validFor: end === undefined ? { start } : { start, end } },
    }));
  const at = (ms: number) => new Date(ms).toISOString();

  test('that is still to come is refused, but for the difference of clocks', () => {
    const nowMs = LOGGED_MS - CLOCKS_APART_MS;
    expect(check(bundles[1], { nowMs }).timeMs).toBe(LOGGED_MS);
    expect(refusalOf(bundles[1], { nowMs: nowMs - 1 })).toMatch(/^unverified .*still to come/);
    expect(refusalOf(stamped(2), { ...stampAt(LOGGED_MS), nowMs: nowMs - 1 })).toMatch(
      /^unverified .*still to come/,
    );
  });

  test('of Rekor may not be after a stamp, but for the difference of clocks', () => {
    const early = LOGGED_MS - CLOCKS_APART_MS;
    expect(check(stamped(1), stampAt(early)).timeMs).toBe(early);
    expect(refusalOf(stamped(1), stampAt(early - 1))).toMatch(/^unverified .*after the time stamp/);
    // A stamp may be as late as it likes: the entry was found there when it was asked for again.
    expect(check(stamped(1), stampAt(LOGGED_MS + 86_400_000)).timeMs).toBe(LOGGED_MS);
  });

  test('has to be that of the instance, both ends included', () => {
    for (const [start, end] of [
      [at(LOGGED_MS), undefined],
      ['2024-01-01T00:00:00Z', at(LOGGED_MS)],
      [at(LOGGED_MS), at(LOGGED_MS)],
    ] as const) {
      const trust = trustedFor(start, end);
      expect(check(bundles[1], { trust }).timeMs).toBe(LOGGED_MS);
      expect(check(stamped(2), { trust, ...stampAt(LOGGED_MS) }).timeMs).toBe(LOGGED_MS);
    }
    for (const trust of [
      trustedFor(at(LOGGED_MS + 1)),
      trustedFor('2024-01-01T00:00:00Z', at(LOGGED_MS - 1)),
    ]) {
      expect(refusalOf(bundles[1], { trust })).toMatch(
        /^unverified .*is not in the time of the log/,
      );
      expect(refusalOf(stamped(2), { trust, ...stampAt(LOGGED_MS) })).toMatch(
        /^unverified .*is not in the time of the log/,
      );
    }
  });

  test('that nobody says is enough for an instance that is still good, and not for one that has ended', () => {
    expect(check(bundles[2], { trust: trustedFor('2024-01-01T00:00:00Z') }).api).toBe(2);
    const ended = trustedFor('2024-01-01T00:00:00Z', '2030-01-01T00:00:00Z');
    expect(refusalOf(bundles[2], { trust: ended })).toMatch(/^no-trust .*nothing says when/);
  });
});

test('the first entry of a log is proven by no hash', () => {
  const alone = new Made({ v1: 0, v2: 0 });
  for (const version of [1, 2] as const) {
    const first = alone.anchorKey.head(version);
    const bundle = parseSigstoreBundle(formatSigstoreBundle(alone.bundle(version, first)));
    expect(bundle.entry.proof).toMatchObject({ index: 0, hashes: [], treeSize: 1 });
    const { index } = checkRekorAnchor(bundle, first, [alone.anchorKey.key], alone.trust());
    expect(index).toBe(version === 1 ? 900 : 0);
  }
});
