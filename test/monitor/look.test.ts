/** What one look finds, of each kind, and what it leaves on disk. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { decodeBundle, encodeBundle } from '../../server/core/bundle.ts';
import { sha256, toBase64, toHex, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { decodeEntry, type Entry, encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { hash, treeSize } from '../../server/core/units.ts';
import { identityVerifierKey } from '../../server/keys/log-keys.ts';
import { parseState, type State } from '../../server/monitor/state.ts';
import {
  Control,
  Heart,
  headOf,
  IDENTITY,
  KEYS,
  ORIGIN,
  plainLog,
  signed,
} from '../log/audit/build.ts';
import { makeSigner, TestClock } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';
import { type Change, lookedAt, NOW, Site, said, watching } from './site.ts';

function stateIn(folder: string): State {
  const path = join(folder, `${toHex(sha256(utf8(ORIGIN)))}.json`);
  return parseState(new Uint8Array(readFileSync(path)), ORIGIN);
}

/** Size of the newest head of which every check has passed, by the file. */
function passed(folder: string): number {
  const head = stateIn(folder).head?.split('\n')[1];
  return head === undefined ? 0 : Number(head);
}

const flip = (place: number) => (bytes: Uint8Array) => bytes.with(place, (bytes[place] ?? 0) ^ 1);

let entries: readonly Uint8Array[];
beforeAll(async () => {
  entries = await plainLog(298);
});

async function site(count = 40): Promise<Site> {
  return Site.of(entries.slice(0, count + 2));
}

/** A log of 42 that was looked at, then grown to 300. */
async function grown() {
  const folder = temporaryFolder();
  const log = await Site.of(entries.slice(0, 42));
  expect(said(await lookedAt({ places: [log.place()], folder }))).toBe('');
  await log.show(entries);
  log.asked.length = 0;
  return { log, folder };
}

describe('a log that is as it should be', () => {
  test('holds, and what was looked at is said', async () => {
    const folder = temporaryFolder();
    const log = await site();
    const look = await lookedAt({ places: [log.place()], folder });
    expect(look.words).toEqual([expect.objectContaining({ kind: 'first_seen' })]);
    expect(look).toMatchObject({
      depth: 'records',
      head: { size: 42 },
      checked: { entries: 42, sources: 2, control: 2 },
      fresh: { by: 'the log itself', ms: NOW },
    });
    expect(passed(folder)).toBe(42);
  });

  test('is read on from where the last look ended, also by the next process', async () => {
    const { log, folder } = await grown();
    const look = await lookedAt({ places: [log.place()], folder });
    expect(look.words).toEqual([]);
    expect(look.checked).toEqual({ entries: 300, sources: 2, control: 2 });
    const bundles = log.asked.filter((path) => path.startsWith('tile/entries/'));
    expect(bundles).toEqual(['tile/entries/000 200', 'tile/entries/001.p/44 200']);
    expect(passed(folder)).toBe(300);
  });

  test('that did not grow is asked for its head alone, and not sent the same checkpoint again', async () => {
    const log = await site();
    const watch = watching({ places: [log.place()], folder: temporaryFolder() });
    await watch.look();
    log.asked.length = 0;
    expect((await watch.look()).words).toEqual([]);
    expect(log.asked.filter((path) => path.startsWith('tile/entries/'))).toEqual([]);
    expect(log.asked).toContain('checkpoint 304');
    watch.close();
  });

  test('says what its control records changed', async () => {
    const folder = temporaryFolder();
    const control = new Control();
    const opening = [await control.genesis(), await control.key('register')];
    const log = await Site.of(opening);
    await lookedAt({ places: [log.place()], folder });
    log.control = [0, 1, 2];
    await log.grow(await control.key('register', KEYS.stranger));
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toBe(
      `control 2 a key record: register gateway key ${KEYS.stranger.publicKey.keyid}`,
    );
  });

  test('without a token is read as far as strangers may, and that is said', async () => {
    const folder = temporaryFolder();
    const log = await site();
    log.isClosed = true;
    const look = await lookedAt({ places: [log.place()], folder });
    expect(look.depth).toBe('tiles');
    expect(look.words.map(({ kind, detail }) => `${kind}: ${detail}`)).toContain(
      'left_out: what the entries say: that needs a token which may read them',
    );
    // With one it is read from the beginning, and then it has to be readable.
    const again = await lookedAt({ places: [log.place('stele_token')], folder });
    expect(again).toMatchObject({ depth: 'records', checked: { entries: 42, sources: 2 } });
    expect(said(await lookedAt({ places: [log.place()], folder }))).toMatch(
      /^unreachable - .*its entries cannot be read/,
    );
  });
});

describe('what keeps the state where it is', () => {
  const stranger = makeSigner();
  const spoiled: Record<string, readonly [change: Readonly<Record<string, Change>>, says: RegExp]> =
    {
      'one bit of the head’s signature': [
        {
          checkpoint: (b) =>
            utf8(
              Buffer.from(b)
                .toString()
                .replace(/(— \S+ ....)../, '$1AA'),
            ),
        },
        /^signature - /m,
      ],
      'another size in the head': [
        { checkpoint: (b) => utf8(Buffer.from(b).toString().replace('\n300\n', '\n301\n')) },
        /^signature - /m,
      ],
      'no checkpoint but a page': [{ checkpoint: () => utf8('<html>') }, /^signature - /m],
      'one bit of an entry': [
        { 'tile/entries/001.p/44': flip(300) },
        /^entries 256 entry 256 was changed/m,
      ],
      'an entry that is left out': [
        { 'tile/entries/000': (b) => encodeBundle(decodeBundle(b).toSpliced(50, 1)) },
        /^entries 42 bundle 0: 255 entries where it has 256/m,
      ],
      'one bit of a full tile': [{ 'tile/0/000': flip(9) }, /^(tiles|entries) /m],
      'one bit of a partial tile': [{ 'tile/0/001.p/44': flip(9) }, /^(tiles|entries) /m],
      'a tile that is missing': [{ 'tile/0/000': () => undefined }, /^(tiles|entries) /m],
      'a tile cut short': [{ 'tile/0/000': (b) => b.slice(32) }, /^(tiles|entries) /m],
      'a damaged answer of one of ours': [{ 'v1/tree-head': () => utf8('{}') }, /^signature - /m],
      'a list of anchors that is none': [
        { 'v1/anchors': () => utf8('{"anchors":5}') },
        /^anchor - /m,
      ],
    };

  test.for(Object.entries(spoiled))('%s', async ([, [changes, says]]) => {
    const { log, folder } = await grown();
    log.changes = changes;
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toMatch(says);
    expect(passed(folder)).toBe(42);
    // What was wrong is looked at again, and passes once it is right.
    log.changes = {};
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe('');
    expect(passed(folder)).toBe(300);
  });

  test('what cannot be had is not told for wrong', async () => {
    for (const path of ['checkpoint', 'v1/tree-head', 'tile/entries/000', 'v1/anchors']) {
      const { log, folder } = await grown();
      log.changes = { [path]: () => 503 };
      expect(said(await lookedAt({ places: [log.place()], folder })), path).toMatch(
        /^unreachable - [^\n]*$/,
      );
      expect(passed(folder), path).toBe(42);
    }
  }, 30_000);

  test('a head by a key that is not known', async () => {
    const { log, folder } = await grown();
    const other = identityVerifierKey(ORIGIN, stranger);
    const look = await lookedAt({ places: [log.place()], folder, keys: [{ key: other }] });
    expect(said(look)).toMatch(/^signature - .*no line is by a key that is trusted here/);
    expect(passed(folder)).toBe(42);
  });

  test('a head by a key that is good for smaller heads alone', async () => {
    const { log, folder } = await grown();
    const keys = [{ key: IDENTITY, untilSize: 42 }];
    const look = await lookedAt({ places: [log.place()], folder, keys });
    expect(said(look)).toMatch(/^signature - .*no key that is known is good for size 300/);
  });

  test('a line by a key that no control record announced', async () => {
    const { log, folder } = await grown();
    await log.show(entries);
    const tree = { size: log.head.size, root: () => log.head.root };
    log.published = await headOf(tree, KEYS.identity, KEYS.anchor, stranger);
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toMatch(/^keys - .*signs, and no control record announced it/);
    expect(passed(folder)).toBe(42);
  });

  test('an entry by a key that the log never registered, however well it is in the tree', async () => {
    const { log, folder } = await grown();
    await log.show([...entries, await new Heart('other', KEYS.stranger).beat()]);
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toMatch(/^entries 300 key [0-9a-f]+ is not registered/);
    expect(stateIn(folder).contents?.size).toBe(42);
  });

  test('an entry whose signature is another’s', async () => {
    const { log, folder } = await grown();
    const [last, other] = [-1, -2].map((i) => decodeEntry(entries.at(i) as Uint8Array));
    const forged = encodeEntry({ ...(last as Entry), signatures: (other as Entry).signatures });
    await log.show([...entries.slice(0, -1), forged]);
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toMatch(/^entries 299 signature of key /);
  });

  test('an entry of a type that the log does not admit', async () => {
    const { log, folder } = await grown();
    await log.grow(await signed(utf8('text'), KEYS.gateway, 'text/plain'));
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toBe(`entries 300 payloadType "text/plain": the log admits ${RECORD_TYPE}`);
  });

  test('a log that shows less than it had signed', async () => {
    const { log, folder } = await grown();
    await lookedAt({ places: [log.place()], folder });
    await log.show(entries.slice(0, 100));
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toMatch(/^shrunk - .*a head of 300 entries, and .* shows one of 100/);
    expect(look.words[0]?.heads).toHaveLength(2);
    expect(passed(folder)).toBe(300);
  });
});

describe('two histories', () => {
  async function forked() {
    const { log, folder } = await grown();
    const other = [...entries.slice(0, 200), ...(await new Heart('fork').beats(110))];
    return { log, folder, other };
  }

  test('are told by whoever saw one before, with both heads, for good', async () => {
    const { log, folder, other } = await forked();
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe('');
    const first = log.published.checkpoint;
    await log.show(other);
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toMatch(/^split_view - the head of 300 .* no part of the tree of 310/);
    const [word] = look.words;
    expect(word?.heads).toHaveLength(2);
    expect(word?.heads?.[0]).toBe(first);
    expect(word?.heads?.[1]?.split('\n')[1]).toBe('310');
    const [a = '', b = '', proof = ''] = word?.files ?? [];
    expect([readFileSync(a, 'utf8'), readFileSync(b, 'utf8')]).toEqual(word?.heads);
    expect(JSON.parse(readFileSync(proof, 'utf8'))).toMatchObject({ from: 300, to: 310 });
    expect(passed(folder)).toBe(300);
    // Going back to the first one does not undo it.
    await log.show(entries);
    expect(said(await lookedAt({ places: [log.place()], folder }))).toMatch(/^split_view/);
  });

  test('of one size are told without a proof', async () => {
    const { log, folder, other } = await forked();
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe('');
    await log.show(other.slice(0, 300));
    const look = await lookedAt({ places: [log.place()], folder });
    expect(said(look)).toMatch(/^split_view - two roots of size 300 are signed/);
  });

  test('are told where the first head is of a power of two', async () => {
    const folder = temporaryFolder();
    const log = await Site.of(entries.slice(0, 64));
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe('');
    await log.show([...entries.slice(0, 60), ...(await new Heart('fork').beats(20))]);
    expect(said(await lookedAt({ places: [log.place()], folder }))).toMatch(/^split_view/);
  });

  test('are told by whoever is shown both at once', async () => {
    const { log, other } = await forked();
    const mirror = await Site.of(other, 'http://mirror.example/built');
    const look = await lookedAt({
      places: [log.place(), mirror.place()],
      folder: temporaryFolder(),
    });
    expect(said(look)).toMatch(/^split_view - .*log\.example.*mirror\.example/);
  });

  test('are told by a head that somebody kept', async () => {
    const { log, other } = await forked();
    const kept = await Site.of(other.slice(0, 250));
    const bytes = utf8(kept.head.checkpoint);
    const look = await lookedAt({
      places: [log.place()],
      folder: temporaryFolder(),
      known: [{ from: 'a friend', bytes }],
    });
    expect(said(look)).toMatch(/^split_view - the head of 250 from a friend/);
  });

  test('are not told where a mirror is only behind', async () => {
    const { log } = await forked();
    const mirror = await Site.of(entries.slice(0, 77), 'http://mirror.example/built');
    mirror.isStele = false;
    const look = await lookedAt({
      places: [log.place(), mirror.place()],
      folder: temporaryFolder(),
    });
    expect(said(look)).toBe('');
  });

  test('are not told where the log cannot prove anything: that is another alarm', async () => {
    const { log, folder } = await grown();
    log.changes = { 'tile/0/000': flip(1), 'tile/1/000.p/1': flip(1) };
    expect(said(await lookedAt({ places: [log.place()], folder }))).toMatch(
      /^tiles - .*that its head of 300 continues the one of 42 is not shown/,
    );
  });
});

describe('what is wrong for good, and does not keep the state', () => {
  async function holed() {
    const folder = temporaryFolder();
    const [genesis, key, ...beats] = entries.slice(0, 12);
    const log = await Site.of([genesis, key, ...beats.toSpliced(4, 2)] as Uint8Array[]);
    return { log, folder, beats };
  }

  test('a hole in a source is told in each look, until it is filled', async () => {
    const { log, folder, beats } = await holed();
    const says = 'hole - source "heart": seq 4 to 5 are not in the log';
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe(says);
    expect(passed(folder)).toBe(10);
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe(says);
    await log.grow(...beats.slice(4, 6));
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe('');
  });

  test('a hole that was acknowledged is a notice, and a larger one an alarm again', async () => {
    const { log, folder } = await holed();
    const watch = watching({ places: [log.place()], folder });
    await watch.look();
    expect(watch.acknowledge()).toBe(1);
    expect(said(await watch.look())).toMatch(/^acknowledged - source "heart"/);
    watch.close();
    await log.grow(await new Heart('late').beat());
    expect(said(await lookedAt({ places: [log.place()], folder }))).toMatch(/^acknowledged/);
  });

  test('a source that goes two ways is told in each look', async () => {
    const folder = temporaryFolder();
    const log = await site(3);
    await log.grow(...(await new Heart().beats(2)));
    const first = said(await lookedAt({ places: [log.place()], folder }));
    expect(first).toMatch(
      /^chain 5 source "heart", seq 0: another record has this number already$/m,
    );
    expect(said(await lookedAt({ places: [log.place()], folder }))).toBe(first);
    expect(passed(folder)).toBe(7);
  });
});

describe('a log that follows another', () => {
  const before = 'log.example/logs/before';

  /** It says that it follows a head of 9; of that log this monitor saw what is given. */
  async function following(size: number, root: Uint8Array): Promise<string> {
    const folder = temporaryFolder();
    const previous = { origin: before, size: 9, root: toBase64(new Uint8Array(32).fill(9)) };
    const control = new Control();
    const log = await Site.of([await control.genesis({ previous }), await control.key('register')]);
    const text = formatCheckpoint({ origin: before, size: treeSize(size), root: hash(root) });
    const note = `${text}\n— ${before} ${toBase64(new Uint8Array(68))}\n`;
    const state = { format: 'stele.monitor/1', origin: before, seen: { note, first_ms: NOW } };
    writeFileSync(join(folder, `${toHex(sha256(utf8(before)))}.json`), JSON.stringify(state));
    return said(await lookedAt({ places: [log.place()], folder }));
  }

  test('goes on where that one ended', async () => {
    expect(await following(9, new Uint8Array(32).fill(9))).toBe('');
    expect(await following(5, new Uint8Array(32))).toBe('');
  });

  test('and leaves a part of it behind, is told', async () => {
    expect(await following(12, new Uint8Array(32))).toMatch(
      /^shrunk - its genesis follows the head of 9 of .*, and a head of 12 was signed there$/,
    );
    expect(await following(9, new Uint8Array(32).fill(8))).toMatch(
      /^split_view - its genesis follows the head of 9 of .* another root of that size/,
    );
  });
});

describe('freshness', () => {
  test('a log that nobody saw alive for too long is told, also where it does not answer', async () => {
    const folder = temporaryFolder();
    const clock = new TestClock(NOW);
    const log = await site();
    expect(said(await lookedAt({ places: [log.place()], folder, clock }))).toBe('');
    clock.ms = NOW + 86_400_001;
    const stale = /^stale - no newer word of this log than of .* by the log itself$/m;
    expect(said(await lookedAt({ places: [log.place()], folder, clock }))).toMatch(stale);
    log.changes = { checkpoint: () => 404, 'v1/tree-head': () => 404 };
    const look = said(await lookedAt({ places: [log.place()], folder, clock }));
    expect(look).toMatch(/^unreachable/m);
    expect(look).toMatch(/^stale/m);
    expect(passed(folder)).toBe(42);
  });

  test('a log that says nothing of time is fresh while it changes', async () => {
    const folder = temporaryFolder();
    const clock = new TestClock(NOW);
    const log = await site();
    log.isStele = false;
    const look = await lookedAt({ places: [log.place()], folder, clock });
    expect(look.fresh?.by).toBe('this monitor, which saw it first');
    clock.ms += 90_000_000;
    expect(said(await lookedAt({ places: [log.place()], folder, clock }))).toMatch(/^stale/);
    await log.grow(await new Heart('more').beat());
    expect(said(await lookedAt({ places: [log.place()], folder, clock }))).toBe('');
  });

  test('a clock that is ahead is told', async () => {
    const log = await site();
    log.time = new Date(NOW + 3_600_000).toISOString();
    expect(said(await lookedAt({ places: [log.place()], folder: temporaryFolder() }))).toMatch(
      /^clock - the log itself: .* is still to come$/,
    );
  });
});

describe('the state on disk', () => {
  test('is one monitor’s at a time', async () => {
    const folder = temporaryFolder();
    const places = [(await site()).place()] as const;
    const first = watching({ places, folder });
    expect(() => watching({ places, folder })).toThrow(/another monitor of this log uses it/);
    first.close();
    watching({ places, folder }).close();
  });

  test('of another log, or damaged, is refused with what to do', async () => {
    const folder = temporaryFolder();
    const log = await site();
    await lookedAt({ places: [log.place()], folder });
    const path = join(folder, `${toHex(sha256(utf8(ORIGIN)))}.json`);
    const text = readFileSync(path, 'utf8');
    for (const bad of ['', text.slice(0, -20), text.replace(ORIGIN, 'another'), '{}']) {
      writeFileSync(path, bad);
      expect(() => watching({ places: [log.place()], folder })).toThrow(/move it away/);
    }
  });
});
