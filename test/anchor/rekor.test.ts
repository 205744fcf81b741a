/** Rekor as a target, both generations, against a double that is as strict as they are. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RekorOptions, Stamper } from '../../server/anchor/rekor.ts';
import { rekorV1 } from '../../server/anchor/rekor-v1.ts';
import { rekorV2 } from '../../server/anchor/rekor-v2.ts';
import {
  type AnchoredHead,
  Equivocation,
  type Target,
  TargetError,
} from '../../server/anchor/target.ts';
import { parseUtf8, toHex, utf8 } from '../../server/core/bytes.ts';
import { hasCode, NoTrust, SteleError, unverified } from '../../server/core/errors.ts';
import type { Json } from '../../server/core/json.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkConsistency } from '../../server/core/proof.ts';
import { checkRekorAnchor, type TimestampCheck } from '../../server/core/sigstore/rekor-anchor.ts';
import { readSigstoreBundle } from '../../server/core/sigstore/sigstore-bundle.ts';
import { readTrustedRoot, type TrustedRoot } from '../../server/core/sigstore/trusted-root.ts';
import { parseCheckpoint } from '../../server/core/tree-head.ts';
import { hash } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { Outbound } from '../../server/outbound.ts';
import { witnessKey } from '../core/note-keys.ts';
import { AnchorKey } from './heads.ts';
import { RekorDouble } from './rekor-double/double.ts';
import { makeKey } from './rekor-double/shard.ts';
import { sigstoreFlaw } from './sigstore-judge.ts';

const NOW_MS = Date.UTC(2026, 10, 29, 10, 0, 0);
const anchorKey = new AnchorKey();
const never = new AbortController().signal;

let rekor: RekorDouble;
let nowMs: number;

beforeEach(async () => {
  nowMs = NOW_MS;
  rekor = await RekorDouble.start({ now: () => nowMs });
  rekor.v1.shard.grow(21);
  rekor.v2.shard.grow(300);
});

afterEach(() => rekor.stop());

function trust(given?: Parameters<RekorDouble['trustedRoot']>[0]): TrustedRoot {
  return readTrustedRoot(JSON.parse(JSON.stringify(rekor.trustedRoot(given))) as Json);
}

function target(version: 1 | 2, given: Partial<RekorOptions> = {}): Target {
  const options = {
    name: 'own',
    url: rekor.url,
    outbound: new Outbound('0.0.0-test', 'https://stele.test.example'),
    trust: trust(),
    check: checkSignatureNative,
    now: () => nowMs,
    ...given,
  };
  return version === 1 ? rekorV1(options) : rekorV2(options);
}

/** A head from its request to what is known of it, as the state machine does it. */
async function anchor(to: Target, head: AnchoredHead, last?: Uint8Array) {
  const request = await to.request(head);
  const answer = await to.ask(request, never);
  return { ...(await to.check(head, request, answer, last, never)), request, answer };
}

/** What a promise rejects with. */
async function failure(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('it did not fail');
}

/** How a `TargetError` reads. */
async function targetError(work: Promise<unknown>): Promise<TargetError> {
  const error = await failure(work);
  expect(error).toBeInstanceOf(TargetError);
  return error as TargetError;
}

interface AnchorJson {
  readonly instance: { readonly base_url: string; readonly key_id: string; readonly api: number };
  readonly bundle: Json;
}

function bundleOf(anchored: { readonly anchor: unknown }): Json {
  return (anchored.anchor as AnchorJson).bundle;
}

function noteOf(anchored: { readonly anchor: unknown }): string {
  return readSigstoreBundle(bundleOf(anchored)).entry.proof.checkpoint;
}

describe.each([1, 2] as const)('rekor v%i', (version) => {
  const shard = () => rekor[`v${version}`].shard;
  const path = `/api/v${version}/log/entries`;

  test('takes up a head, and what comes back is a bundle that others verify', async () => {
    const head = anchorKey.head(4242);
    const anchored = await anchor(target(version), head);
    const bundle = bundleOf(anchored);
    const checked = checkRekorAnchor(readSigstoreBundle(bundle), head, [head.key], trust());
    expect(checked.index).toBe(version === 1 ? 121_904_283 : 300);
    expect(anchored.anchor).toMatchObject({
      type: 'rekor',
      v: 1,
      instance: {
        base_url: 'https://rekor.test.example',
        key_id: shard().keyId.toString('base64'),
        api: version,
      },
    });
    expect(anchored.timeMs).toBe(version === 1 ? NOW_MS : undefined);
    expect(
      sigstoreFlaw({
        bundle,
        text: head.text,
        key: anchorKey.pem,
        trustedRoot: rekor.trustedRoot(),
        times: version === 1 ? 1 : 0,
      }),
    ).toBeUndefined();
  });

  test('is asked in one way, with an address for its operators', async () => {
    const request = await target(version).request(anchorKey.head(1));
    await target(version).ask(request, never);
    const [asked] = rekor.requests;
    expect(asked).toMatchObject({ method: 'POST', path });
    expect(new Uint8Array(asked!.body)).toEqual(request);
    expect(asked!.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'stele/0.0.0-test (https://stele.test.example)',
    });
  });

  test('may have a path before its own', async () => {
    const slash = target(version, { url: `${rekor.url}/` });
    await anchor(slash, anchorKey.head(1));
    expect(rekor.requests[0]?.path).toBe(path);
  });

  test('is asked again with the same bytes when its answer was lost, and has the entry once', async () => {
    const to = target(version);
    const head = anchorKey.head(7);
    const request = await to.request(head);
    const before = shard().tree.size;
    rekor.next({ drop: 'after' });
    expect((await targetError(to.ask(request, never))).kind).toBe('retry');
    expect(shard().tree.size).toBe(before + 1);
    // Others go on meanwhile, so that the proof is of a later tree.
    shard().grow(5);
    nowMs += 3_600_000;
    const answer = await to.ask(request, never);
    expect(shard().tree.size).toBe(before + 6);
    const { anchor: found, timeMs } = await to.check(head, request, answer, undefined, never);
    expect(parseCheckpoint(`${noteOf({ anchor: found }).split('\n\n')[0]}\n`).size).toBe(
      before + 6,
    );
    // The time is that of the first time.
    expect(timeMs).toBe(version === 1 ? NOW_MS : undefined);
    expect(
      sigstoreFlaw({
        bundle: bundleOf({ anchor: found }),
        text: head.text,
        key: anchorKey.pem,
        trustedRoot: rekor.trustedRoot(),
        times: version === 1 ? 1 : 0,
      }),
    ).toBeUndefined();
  });

  test('that cut the connection before it took anything up is asked again', async () => {
    const to = target(version);
    const request = await to.request(anchorKey.head(7));
    const before = shard().tree.size;
    rekor.next({ drop: 'before' });
    expect((await targetError(to.ask(request, never))).kind).toBe('retry');
    await to.ask(request, never);
    expect(shard().tree.size).toBe(before + 1);
  });

  test.each([
    [429, 'retry'],
    [408, 'retry'],
    [500, 'retry'],
    [502, 'retry'],
    [503, 'retry'],
    [504, 'retry'],
    [499, 'retry'],
    [405, 'frozen'],
    [400, 'refused'],
    [401, 'refused'],
    [403, 'refused'],
    [404, 'refused'],
    [413, 'refused'],
    [415, 'refused'],
    [501, 'refused'],
    [302, 'refused'],
    [200, 'refused'],
  ] as const)('answers %i: %s', async (status, kind) => {
    const to = target(version);
    const request = await to.request(anchorKey.head(7));
    rekor.next({ status });
    const error = await targetError(to.ask(request, never));
    expect(error.kind).toBe(kind);
    expect(error.message).toContain(`answered ${status}`);
    expect(error.message).toContain('as the test wants it');
  });

  test('says when to come back', async () => {
    const to = target(version);
    const request = await to.request(anchorKey.head(7));
    const cases = [
      ['7', 7],
      ['99999', 3_600],
      [undefined, undefined],
      ['soon', undefined],
    ] as const;
    for (const [retryAfter, afterS] of cases) {
      rekor.next({ status: 429, ...(retryAfter === undefined ? {} : { retryAfter }) });
      expect((await targetError(to.ask(request, never))).afterS).toBe(afterS);
    }
  });

  test('that does not answer is given up when the asker stops, and no entry is lost by it', async () => {
    const to = target(version);
    const request = await to.request(anchorKey.head(7));
    const stop = new AbortController();
    const answer = Promise.withResolvers<void>();
    rekor.next({ until: answer.promise });
    const asked = to.ask(request, stop.signal);
    stop.abort();
    expect((await targetError(asked)).kind).toBe('retry');
    answer.resolve();
    expect(JSON.parse(parseUtf8(await to.ask(request, never), 'answer'))).toHaveProperty('v', 1);
  });

  test('that is not there is tried again', async () => {
    const gone = target(version, { url: 'http://127.0.0.1:9' });
    const error = await targetError(gone.ask(await gone.request(anchorKey.head(7)), never));
    expect(error).toMatchObject({ kind: 'retry' });
  });

  test('that answers more than any entry has is not read to the end', async () => {
    const to = target(version);
    const request = await to.request(anchorKey.head(7));
    rekor.next({ change: (reply) => ({ ...reply, body: ' '.repeat(300_000) }) });
    const error = await targetError(to.ask(request, never));
    expect(error.kind).toBe('retry');
    expect(error.message).toMatch(/more than 262144 bytes/);
  });

  test('that answers nonsense is kept as it came, and refused when it is checked', async () => {
    const to = target(version);
    const head = anchorKey.head(7);
    const request = await to.request(head);
    for (const body of ['', 'null', '{}', '<html>', Buffer.of(0xff), '[1]']) {
      rekor.next({ change: (reply) => ({ ...reply, status: 201, body }) });
      const answer = await to.ask(request, never);
      const error = await failure(to.check(head, request, answer, undefined, never));
      expect(hasCode(error, 'malformed'), error.message).toBe(true);
    }
  });

  test('that answers with somebody else’s entry is refused', async () => {
    const to = target(version);
    const [head, other] = [anchorKey.head(7), anchorKey.head(8)];
    const [request, another] = [await to.request(head), await to.request(other)];
    const answer = await to.ask(another, never);
    const error = await failure(to.check(head, request, answer, undefined, never));
    expect(hasCode(error, 'unverified')).toBe(true);
    expect(error.message).toMatch(/rekor entry: .*(digest|value)/);
  });

  test('that is not in the trusted root gives no anchor', async () => {
    const none = target(version, { trust: { logs: [], authorities: [] } });
    expect(await failure(anchor(none, anchorKey.head(7)))).toBeInstanceOf(NoTrust);
  });

  test('whose time is over gives no anchor', async () => {
    const ended = target(version, { trust: trust({ end: '2026-11-01T00:00:00Z' }) });
    expect((await failure(anchor(ended, anchorKey.head(7)))).message).toMatch(
      version === 1 ? /not in the time of the log/ : /nothing says when/,
    );
    const begins = target(version, { trust: trust({ start: '2027-01-01T00:00:00Z' }) });
    expect((await failure(anchor(begins, anchorKey.head(7)))).message).toMatch(
      /not in the time of the log|is good from/,
    );
  });

  test('gives what was asked, whatever else was anchored by the same key', async () => {
    const to = target(version);
    let last: Uint8Array | undefined;
    for (const size of [1, 2, 3, 5, 8]) {
      const anchored = await anchor(to, anchorKey.head(size), last);
      last = anchored.last;
    }
    // One proof between each head and the one before, and nothing else is read.
    const reads = rekor.requests.filter(({ method }) => method === 'GET');
    if (version === 1) expect(reads).toHaveLength(4);
    else expect(reads.every(({ path: read }) => read.startsWith('/api/v2/tile/'))).toBe(true);
  });

  test('is refused what was kept by another program', async () => {
    const to = target(version);
    const head = anchorKey.head(7);
    const { request, answer } = await anchor(to, head);
    const kept = JSON.parse(parseUtf8(answer, 'answer')) as Record<string, unknown>;
    for (const odd of [
      { ...kept, v: 2 },
      { ...kept, raw: undefined },
      { ...kept, entry: {} },
      { ...kept, timestamps: 'AAAA' },
      { ...kept, more: true },
    ]) {
      const bytes = utf8(JSON.stringify(odd));
      const error = await failure(to.check(head, request, bytes, undefined, never));
      expect(hasCode(error, 'malformed')).toBe(true);
    }
  });

  describe('with stamps', () => {
    const stampAt = (
      name: string,
      ms: () => number,
    ): Stamper & { readonly asked: Uint8Array[] } => {
      const asked: Uint8Array[] = [];
      return {
        name,
        asked,
        stamp: (data) => {
          asked.push(data);
          return Promise.resolve(utf8(`${name} ${ms()}`));
        },
      };
    };
    const failing = (error: Error): Stamper => ({
      name: 'failing',
      stamp: () => Promise.reject(error),
    });
    const checkTimestamp: TimestampCheck = (response) => {
      const [authority = '', ms] = parseUtf8(response, 'stamp').split(' ');
      if (authority === 'stranger') throw new NoTrust('time stamp', 'it is by nobody');
      if (authority === 'broken') throw unverified('time stamp', 'it does not hold');
      return { authority, timeMs: Number(ms), latestMs: Number(ms) };
    };

    test('has them over the signature, and proves their time', async () => {
      const one = stampAt('one', () => NOW_MS + 2_000);
      const two = stampAt('two', () => NOW_MS + 1_000);
      const head = anchorKey.head(7);
      const to = target(version, { stampers: [one, two], checkTimestamp });
      const anchored = await anchor(to, head);
      expect([...one.asked, ...two.asked]).toEqual([head.signature, head.signature]);
      const { timestamps } = readSigstoreBundle(bundleOf(anchored));
      expect(timestamps.map((item) => parseUtf8(item, 'stamp').split(' ')[0])).toEqual([
        'one',
        'two',
      ]);
      expect(anchored.timeMs).toBe(version === 1 ? NOW_MS : NOW_MS + 1_000);
    });

    test('is satisfied by one of several, and by none is asked again', async () => {
      const gone = failing(new TargetError('retry', 'tsa: gone', { afterS: 9 }));
      const good = stampAt('one', () => NOW_MS);
      const head = anchorKey.head(7);
      const some = target(version, { stampers: [gone, good], checkTimestamp });
      expect(readSigstoreBundle(bundleOf(await anchor(some, head))).timestamps).toHaveLength(1);
      const none = target(version, { stampers: [gone], checkTimestamp });
      const error = await targetError(none.ask(await none.request(head), never));
      expect(error).toMatchObject({ kind: 'retry', afterS: 9 });
      expect(error.message).toMatch(/no time stamp: .*tsa: gone/);
      // The entry is there already; the next try has both.
      const anchored = await anchor(some, head);
      expect(readSigstoreBundle(bundleOf(anchored)).timestamps).toHaveLength(1);
    });

    test('takes none that does not hold', async () => {
      for (const name of ['broken', 'stranger']) {
        const to = target(version, { stampers: [stampAt(name, () => NOW_MS)], checkTimestamp });
        const error = await targetError(to.ask(await to.request(anchorKey.head(7)), never));
        expect(error.kind).toBe('retry');
      }
    });

    test('takes none whose clock is not near ours', async () => {
      const late = stampAt('one', () => NOW_MS - 601_000);
      const to = target(version, { stampers: [late], checkTimestamp });
      expect((await failure(anchor(to, anchorKey.head(7)))).message).toMatch(
        version === 1 ? /after the time stamp/ : /it says .* where it is/,
      );
    });

    test('fails aloud where a stamper is broken', async () => {
      const to = target(version, { stampers: [failing(new TypeError('a bug'))], checkTimestamp });
      expect(await failure(to.ask(await to.request(anchorKey.head(7)), never))).toBeInstanceOf(
        TypeError,
      );
    });
  });

  describe('that was seen before', () => {
    test('has to go on from the head that was seen, at every size', async () => {
      // A small tree of its own, so that sizes are powers of two and one more.
      const own = await RekorDouble.start({ now: () => nowMs });
      try {
        const options = {
          url: own.url,
          trust: readTrustedRoot(JSON.parse(JSON.stringify(own.trustedRoot())) as Json),
        };
        const to = target(version, options);
        let last: Uint8Array | undefined;
        for (let size = 1; size <= 20; size++) {
          last = (await anchor(to, anchorKey.head(size), last)).last;
          own[`v${version}`].shard.grow(size % 3);
        }
      } finally {
        await own.stop();
      }
    });

    test('shows a smaller tree: that is a replica behind, and what was seen stays', async () => {
      const to = target(version);
      const early = anchorKey.head(1);
      const request = await to.request(early);
      const answer = await to.ask(request, never);
      shard().grow(50);
      const late = await anchor(to, anchorKey.head(2));
      const checked = await to.check(early, request, answer, late.last, never);
      expect(parseUtf8(checked.last!, 'last')).toBe(parseUtf8(late.last!, 'last'));
      expect(noteOf(checked)).not.toBe(noteOf(late));
    });

    test('shows the same head again', async () => {
      const to = target(version);
      const head = anchorKey.head(1);
      const { request, answer, last } = await anchor(to, head);
      const before = rekor.requests.length;
      const again = await to.check(head, request, answer, last, never);
      expect(again.last).toEqual(last);
      expect(rekor.requests).toHaveLength(before);
    });

    test('has two roots of one size: both notes are proof', async () => {
      const to = target(version);
      const first = await anchor(to, anchorKey.head(1));
      const { size } = shard().tree;
      shard().fork(3, size - 1);
      const error = await failure(anchor(to, anchorKey.head(2), first.last));
      expect(error).toBeInstanceOf(Equivocation);
      const { notes, message } = error as Equivocation;
      expect(message).toMatch(new RegExp(`two roots of size ${size}`));
      expect(notes[0]).toBe(noteOf(first));
      expect(notes[0]).not.toBe(notes[1]);
    });

    test('has another history in a larger tree: what it proves is kept', async () => {
      const to = target(version);
      const first = await anchor(to, anchorKey.head(1));
      shard().fork(3);
      shard().grow(5);
      const error = await failure(anchor(to, anchorKey.head(2), first.last));
      expect(error, error.message).toBeInstanceOf(Equivocation);
      const { notes, evidence } = error as Equivocation;
      const {
        from,
        to: until,
        from_root_in_to,
        consistency,
      } = evidence as {
        from: number;
        to: number;
        from_root_in_to: string;
        consistency: string[];
      };
      // Whoever judges it: the larger tree begins with another root than the smaller note says.
      const [small, large] = notes.map((note) => parseCheckpoint(`${note.split('\n\n')[0]}\n`)) as [
        ReturnType<typeof parseCheckpoint>,
        ReturnType<typeof parseCheckpoint>,
      ];
      expect([small.size, large.size]).toEqual([from, until]);
      const fromRoot = hash(new Uint8Array(Buffer.from(from_root_in_to, 'base64')));
      const proof = consistency.map((one) => hash(new Uint8Array(Buffer.from(one, 'base64'))));
      checkConsistency({ from: small.size, to: large.size, fromRoot, toRoot: large.root, proof });
      expect(toHex(fromRoot)).not.toBe(toHex(small.root));
    });

    test('that lost its newest entries proves nothing, until it has grown beyond what was seen', async () => {
      const to = target(version);
      shard().grow(20);
      const first = await anchor(to, anchorKey.head(1));
      const { size } = shard().tree;
      shard().fork(3, size - 5);
      const head = anchorKey.head(2);
      const { kind } = await targetError(anchor(to, head, first.last));
      expect(kind).toBe('retry');
      shard().grow(9);
      expect(await failure(anchor(to, anchorKey.head(3), first.last))).toBeInstanceOf(Equivocation);
    });

    test('proves nothing where its proof is wrong, missing, or of another length', async () => {
      const to = target(version);
      const first = await anchor(to, anchorKey.head(1));
      const head = anchorKey.head(2);
      const request = await to.request(head);
      const answer = await to.ask(request, never);
      for (const fault of [
        { status: 500 },
        { status: 404 },
        { status: 400 },
        { status: 503, retryAfter: '5' },
        { drop: 'before' as const },
        {
          change: (reply: object) => ({
            ...reply,
            status: 200,
            headers: {},
            body: '{"hashes":[]}',
          }),
        },
        { change: (reply: object) => ({ ...reply, status: 200, headers: {}, body: 'nonsense' }) },
        {
          change: (reply: object) => ({
            ...reply,
            status: 200,
            headers: {},
            body:
              version === 1
                ? JSON.stringify({ hashes: Array.from({ length: 5 }, () => 'ab'.repeat(32)) })
                : Buffer.alloc(8_192, 7),
          }),
        },
      ]) {
        // Where a partial tile is not there, the full one is asked for.
        rekor.nextRead(fault, fault);
        const error = await targetError(to.check(head, request, answer, first.last, never));
        expect(error.kind).toBe('retry');
        rekor.asUsual();
      }
      await to.check(head, request, answer, first.last, never);
    });

    test('is remembered for each log that it was, and one that comes back is held to what was seen', async () => {
      const to = target(version);
      const first = await anchor(to, anchorKey.head(1));
      const old = rekor;
      rekor = await RekorDouble.start({ now: () => nowMs, host: 'next.test.example' });
      const both: TrustedRoot = {
        logs: [
          ...trust().logs,
          ...readTrustedRoot(JSON.parse(JSON.stringify(old.trustedRoot())) as Json).logs,
        ],
        authorities: [],
      };
      try {
        const next = await anchor(target(version, { trust: both }), anchorKey.head(2), first.last);
        expect(JSON.parse(parseUtf8(next.last!, 'last')).seen).toHaveLength(2);
        old[`v${version}`].shard.fork(3);
        const back = target(version, { trust: both, url: old.url });
        expect(await failure(anchor(back, anchorKey.head(3), next.last))).toBeInstanceOf(
          Equivocation,
        );
      } finally {
        await old.stop();
      }
    });

    test('was remembered by nobody where what is remembered is not that', async () => {
      const to = target(version);
      for (const odd of ['', '{}', '{"seen":[],"v":2}', '{"seen":[{}],"v":1}']) {
        const error = await failure(anchor(to, anchorKey.head(1), utf8(odd)));
        expect(error).toBeInstanceOf(SteleError);
      }
    });
  });
});

describe('of rekor v1', () => {
  const entries = '/api/v1/log/entries';

  test('a location is not followed: its ID alone is used, and only if it is of the leaf that was sent', async () => {
    const to = target(1);
    const head = anchorKey.head(7);
    const { request } = await anchor(to, head);
    const leaf = toHex(leafHash(request));
    const stranger = await RekorDouble.start();
    try {
      for (const location of [
        `${stranger.url}${entries}/108e9186e8c5677a${leaf}`,
        `${entries}/${'ab'.repeat(40)}`,
        `//${new URL(stranger.url).host}/x`,
        'nonsense',
        `${entries}/../../x`,
        undefined,
      ]) {
        rekor.requests.length = 0;
        rekor.next({
          change: (reply) => ({ ...reply, headers: location === undefined ? {} : { location } }),
        });
        const answer = await to.ask(request, never);
        await to.check(head, request, answer, undefined, never);
        const [, read] = rekor.requests;
        expect(read?.path).toMatch(new RegExp(`^${entries}/([0-9a-f]{16})?${leaf}$`));
      }
      expect(stranger.requests).toEqual([]);
    } finally {
      await stranger.stop();
    }
  });

  test('an entry that is said to be there and is not found is asked for again', async () => {
    const to = target(1);
    const request = await to.request(anchorKey.head(7));
    await to.ask(request, never);
    rekor.v1.shard.lag(3);
    const error = await targetError(to.ask(request, never));
    expect(error).toMatchObject({ kind: 'retry' });
    expect(error.message).toContain('answered 404');
    rekor.v1.shard.lag(undefined);
    await to.ask(request, never);
  });

  test('a new shard goes on under its own tree, and the one before is still held to what was seen', async () => {
    const to = target(1);
    const first = await anchor(to, anchorKey.head(1));
    rekor.v1.reshard();
    const second = await anchor(to, anchorKey.head(2), first.last);
    const { entry } = readSigstoreBundle(bundleOf(second));
    expect([entry.index, entry.proof.index]).toEqual([121_904_284, 0]);
    expect(JSON.parse(parseUtf8(second.last!, 'last')).seen).toHaveLength(2);
    // The same head again is a new entry in the new shard.
    const again = await anchor(to, anchorKey.head(1), second.last);
    expect(readSigstoreBundle(bundleOf(again)).entry.proof.index).toBe(1);
    const proofs = rekor.requests.filter(({ path }) => path.includes('/proof?'));
    expect(proofs.map(({ path }) => path)).toEqual([
      '/api/v1/log/proof?firstSize=1&lastSize=2&treeID=1193050959916656507',
    ]);
  });

  test('a time that is not near ours is refused when the entry is new, and good when it is found', async () => {
    const to = target(1);
    const head = anchorKey.head(7);
    nowMs = NOW_MS - 3_600_000;
    const request = await to.request(head);
    rekor.next({
      change: (reply) => {
        nowMs = NOW_MS;
        return reply;
      },
    });
    const late = await to.ask(request, never);
    expect((await failure(to.check(head, request, late, undefined, never))).message).toMatch(
      /it says 2026-11-29T09:00:00Z where it is 2026-11-29T10:00:00Z/,
    );
    const found = await to.ask(request, never);
    const { timeMs } = await to.check(head, request, found, undefined, never);
    expect(timeMs).toBe(NOW_MS - 3_600_000);
  });

  test('a proof of a power of two that leads nowhere is asked for again: it may be the proof that is wrong', async () => {
    const to = target(1);
    rekor.v1.shard.grow(10);
    const first = await anchor(to, anchorKey.head(1));
    expect(parseCheckpoint(`${noteOf(first).split('\n\n')[0]}\n`).size).toBe(32);
    rekor.v1.shard.fork(3);
    const second = anchor(to, anchorKey.head(2), first.last);
    expect((await targetError(second)).message).toMatch(/does not lead to the larger/);
  });
});

describe('of rekor v2', () => {
  async function lost(to: Target, head: AnchoredHead): Promise<Uint8Array> {
    const request = await to.request(head);
    rekor.next({ drop: 'after' });
    await targetError(to.ask(request, never));
    return request;
  }

  test('files may be elsewhere', async () => {
    const files = await RekorDouble.start({ now: () => nowMs });
    try {
      // The same log behind another address, whose own interface is not asked.
      const to = rekorV2({
        name: 'own',
        url: rekor.url,
        readUrl: `${files.url}/mirror/`,
        outbound: new Outbound('0.0.0-test'),
        trust: trust(),
        now: () => nowMs,
      });
      const request = await lost(to, anchorKey.head(7));
      const error = await targetError(to.ask(request, never));
      expect(error.message).toContain('answered 404');
      expect(files.requests.map(({ path }) => path)).toEqual(['/mirror/checkpoint']);
    } finally {
      await files.stop();
    }
  });

  test.each([1, 2, 255, 256, 257, 511, 513])(
    'an entry that is there already is put together in a tree of %i others',
    async (others) => {
      rekor.v2.shard.fork(0, 1);
      rekor.v2.shard.grow(others - 1);
      const to = target(2);
      const head = anchorKey.head(7);
      const request = await lost(to, head);
      for (const more of [0, 1, 255]) {
        rekor.v2.shard.grow(more);
        const answer = await to.ask(request, never);
        const { anchor: found } = await to.check(head, request, answer, undefined, never);
        const { entry } = readSigstoreBundle(bundleOf({ anchor: found }));
        expect([entry.index, entry.proof.treeSize]).toEqual([others, rekor.v2.shard.tree.size]);
      }
    },
  );

  test('a partial tile that is gone is cut from the full one', async () => {
    const to = target(2);
    const head = anchorKey.head(7);
    const request = await lost(to, head);
    const first = await to.ask(request, never);
    const { last } = await to.check(head, request, first, undefined, never);
    rekor.v2.keepsPartials = false;
    const checkpoint = rekor.v2.shard.checkpoint(rekor.v2.shard.tree.size);
    rekor.v2.shard.grow(400);
    rekor.nextRead({ change: (reply) => ({ ...reply, body: checkpoint }) });
    const answer = await to.ask(request, never);
    await to.check(head, request, answer, last, never);
    const read = rekor.requests.map(({ path }) => path);
    expect(read).toContain('/api/v2/tile/0/001.p/45');
    expect(read).toContain('/api/v2/tile/0/001');
  });

  test('an entry that is not in the newest checkpoint yet is waited for', async () => {
    const to = target(2);
    const request = await lost(to, anchorKey.head(7));
    rekor.v2.shard.lag(300);
    const error = await targetError(to.ask(request, never));
    expect(error).toMatchObject({ kind: 'retry', afterS: 10 });
    expect(error.message).toMatch(/entry 300 is not yet in rekor\.test\.example, which shows 300/);
    rekor.v2.shard.lag(301);
    await to.ask(request, never);
  });

  test.each([
    ['none', undefined],
    ['no number', 'soon'],
    ['below zero', '-1'],
    ['beyond the tree', '999'],
    ['that of another entry', '7'],
    ['not of this world', '9007199254740993'],
  ])('an index of a repeat that is %s gives no entry, and is asked for again', async (_, index) => {
    const to = target(2);
    const request = await lost(to, anchorKey.head(7));
    rekor.next({
      change: (reply) => ({
        ...reply,
        headers: index === undefined ? {} : { 'x-log-index': index },
      }),
    });
    expect(await targetError(to.ask(request, never))).toMatchObject({ kind: 'retry' });
  });

  test('a checkpoint that is wrong, or of a log that is not pinned, gives no entry', async () => {
    const to = target(2);
    const request = await lost(to, anchorKey.head(7));
    const { size } = rekor.v2.shard.tree;
    const good = rekor.v2.shard.checkpoint(size);
    for (const body of [
      '',
      'nonsense',
      Buffer.of(0xff, 0x0a, 0x0a),
      good.replace(`\n${size}\n`, `\n${size + 1}\n`),
      good.replace(/ (\S+)\n$/, ` ${Buffer.alloc(68, 3).toString('base64')}\n`),
    ]) {
      rekor.nextRead({ change: (reply) => ({ ...reply, body }) });
      expect(await targetError(to.ask(request, never))).toMatchObject({ kind: 'retry' });
    }
    await to.ask(request, never);
  });

  test('a frozen shard is said to be frozen, and still shows what it has', async () => {
    const to = target(2);
    const first = await anchor(to, anchorKey.head(1));
    rekor.v2.frozen = true;
    const error = await targetError(anchor(to, anchorKey.head(2), first.last));
    expect(error.kind).toBe('frozen');
    expect(error.message).toMatch(/frozen, please switch/);
  });

  test('witnesses may have cosigned its checkpoints', async () => {
    const witness = witnessKey('witness.example', 9);
    rekor.v2.shard.cosign = (text) =>
      Array.from({ length: 16 }, () => {
        const { name, keyId, signature } = witness.line(text);
        const blob = Buffer.concat([Buffer.from(keyId, 'hex'), signature]);
        return `— ${name} ${blob.toString('base64')}\n`;
      });
    const to = target(2);
    const first = await anchor(to, anchorKey.head(1));
    expect(
      noteOf(first)
        .split('\n')
        .filter((line) => line.startsWith('— ')),
    ).toHaveLength(17);
    const second = await anchor(to, anchorKey.head(2), first.last);
    expect(second.timeMs).toBeUndefined();
  });

  test('may have an ECDSA key', async () => {
    const own = await RekorDouble.start({ now: () => nowMs, v2Key: makeKey('ec') });
    try {
      own.v2.shard.grow(3);
      const root = readTrustedRoot(JSON.parse(JSON.stringify(own.trustedRoot())) as Json);
      const to = target(2, { url: own.url, trust: root });
      const first = await anchor(to, anchorKey.head(1));
      await anchor(to, anchorKey.head(2), first.last);
    } finally {
      await own.stop();
    }
  });
});
