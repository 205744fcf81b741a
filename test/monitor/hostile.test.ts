/** Logs, mirrors and lists that mean ill: a look ends, says so, and what is on disk can be read again. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import type { JsonObject } from '../../server/core/json.ts';
import { LogPlace } from '../../server/monitor/places.ts';
import { Heart, plainLog } from '../log/audit/build.ts';
import { temporaryFolder } from '../temporary.ts';
import { lookedAt, NOW, Site, said } from './site.ts';

let entries: readonly Uint8Array[];
beforeAll(async () => {
  entries = await plainLog(60);
});

let log: Site;
let folder: string;
beforeEach(async () => {
  log = await Site.of(entries.slice(0, 42));
  folder = temporaryFolder();
});

const look = () => lookedAt({ places: [log.place()], folder });

const row = (more: JsonObject): JsonObject => ({
  ...{ target: 'own', type: 'rekor', size: 30, state: 'superseded' },
  ...more,
});

describe('a list of anchors', () => {
  const lists: Record<string, readonly [readonly JsonObject[], RegExp]> = {
    'with a name that is empty': [[row({ target: '' })], /^anchor - .*target: "" has not 1 to 64/],
    'with a name that is long': [[row({ target: 'x'.repeat(65) })], /^anchor - .*target: /],
    'with a type that is long': [[row({ type: 'x'.repeat(999) })], /^anchor - .*type: /],
    'without sizes': [[row({ size: 'all' })], /^anchor - .*without the size/],
    'with sizes below nothing': [[row({ size: -1 })], /^anchor - .*without the size/],
    'of times before there were any': [[row({ time: '0001-01-01T00:00:00Z' })], /^$/],
    'of no times': [[row({ time: 'yesterday' })], /^$/],
    'of heads that are still to come': [[row({ size: 9_000_000_000, state: 'published' })], /^$/],
    'of very many targets': [
      Array.from({ length: 99 }, (_, i) => row({ target: `t${i}`, size: 42 - (i % 3) })),
      /^state - over 64 targets are listed/,
    ],
    'that does not end': [Array.from({ length: 100 }, () => row({})), /^$/],
    'of something that nobody knows': [[row({ type: 'moon', state: 'published' })], /^$/],
  };
  test.for(Object.entries(lists))('%s', async ([, [anchors, says]]) => {
    log.anchors = anchors;
    const first = await look();
    expect(said(first).split('\n')[0]).toMatch(says);
    // Read again by another process, and no worse.
    expect(said(await look()).split('\n')[0]).toMatch(says);
    log.anchors = [];
    expect(said(await look())).toBe('');
  });

  test.for([
    [{}],
    [{ target: '', type: 'rekor', missed: 0 }],
    [{ target: 'a', type: 'b', missed: -1 }],
  ])('beside the head that is none: %j', async ([claim]) => {
    log.anchoring = [claim as JsonObject];
    expect(said(await look())).toMatch(/^anchor - beside the head: /);
  });

  test('beside the head with very many targets', async () => {
    log.anchoring = Array.from({ length: 500 }, (_, i) => ({
      ...{ target: `t${i}`, type: 'rekor', missed: 0 },
    }));
    expect(said(await look())).toBe('');
    expect(said(await look())).toBe('');
  });
});

describe('an answer', () => {
  test('that does not come ends the look all the same', async () => {
    expect(said(await look())).toBe('');
    const fetch: typeof globalThis.fetch = (_, init) =>
      new Promise((_resolve, reject) => {
        const { signal } = init ?? {};
        signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
      });
    const still = new LogPlace({ url: log.url, fetch, timeoutMs: 60 });
    const stalled = await lookedAt({ places: [still], folder });
    expect(said(stalled)).toMatch(/^unreachable - .*no answer within 0\.06 s$/);
  });

  test('that asks to be waited for for an hour is not waited for', async () => {
    log.retryAfter = '3600';
    for (const path of ['checkpoint', 'tile/entries/000.p/42', 'tile/0/000.p/42', 'v1/anchors']) {
      log.changes = { [path]: () => 429 };
      const told = said(await lookedAt({ places: [log.place()], folder: temporaryFolder() }));
      expect(told, path).toMatch(/^unreachable - /);
    }
  });

  test('that is too long is not read to its end', async () => {
    const long = () => new Uint8Array(33_554_432);
    for (const path of ['checkpoint', 'v1/anchors', 'tile/0/000.p/42']) {
      log.changes = { [path]: long };
      const told = said(await lookedAt({ places: [log.place()], folder: temporaryFolder() }));
      expect(told, path).toMatch(/more than \d+ bytes/);
    }
  });

  test('that leads elsewhere is not followed', async () => {
    log.changes = { checkpoint: () => 302 };
    const told = said(await look());
    expect(told).toMatch(/^signature - .*the server answered 302/);
  });
});

describe('a mirror', () => {
  test('takes nothing back that was read of the log itself', async () => {
    const mirror = await Site.of(entries.slice(0, 50), 'http://mirror.example/built');
    mirror.isStele = false;
    const places = [log.place(), mirror.place()] as const;
    const first = await lookedAt({ places, folder });
    // The mirror is further; what is read is the log's own.
    expect(first).toMatchObject({ depth: 'records', head: { size: 42 } });
    expect(said(first)).toBe('');
    log.changes = { checkpoint: () => 503, 'v1/tree-head': () => 503 };
    const without = await lookedAt({ places: [log.place(), mirror.place()], folder });
    expect(said(without)).toMatch(
      /it was read as records before, and shows no more than tiles now/,
    );
    log.changes = {};
    await log.show(entries.slice(0, 55));
    log.asked.length = 0;
    const again = await lookedAt({ places: [log.place(), mirror.place()], folder });
    expect(again).toMatchObject({ depth: 'records', checked: { entries: 55, sources: 2 } });
    expect(said(again)).toBe('');
    expect(log.asked).not.toContain('tile/entries/000.p/42 200');
  });

  test('that forked is told once, with one proof, however it goes on', async () => {
    const mirror = await Site.of(entries.slice(0, 30), 'http://mirror.example/built');
    const heart = new Heart('fork');
    for (let i = 0; i < 3; i++) {
      await mirror.grow(...(await heart.beats(20)));
      const found = await lookedAt({ places: [log.place(), mirror.place()], folder });
      expect(found.words.filter(({ kind }) => kind === 'split_view')).toHaveLength(1);
      expect(found.words[0]?.heads).toHaveLength(2);
    }
  });
});

test('a page in the place of a log is told before anything is known of it', async () => {
  log.files = { checkpoint: utf8('<html>sign in</html>\n') };
  expect(said(await look())).toMatch(/^signature - http:\/\/log\.example\/logs\/built: note: /);
});

test('that a log’s clock goes on is no proof that it lives, where its head is old', async () => {
  log.time = new Date(NOW - 90_000_000).toISOString();
  // Seen for the first time, it is fresh by that alone, and it is said by whom.
  expect((await look()).fresh?.by).toBe('this monitor, which saw it first');
});
