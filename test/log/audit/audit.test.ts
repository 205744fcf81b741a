/** An audit finds whatever was changed, and names the first entry that is wrong. */

import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeAll, describe, expect, test } from 'vitest';
import { toBase64 } from '../../../server/core/bytes.ts';
import { decodeEntry, encodeEntry } from '../../../server/core/entry.ts';
import type { Hash, TreeSize } from '../../../server/core/units.ts';
import { type AuditReport, audit } from '../../../server/log/audit/audit.ts';
import type { KnownHead } from '../../../server/log/audit/reader.ts';
import { StoreReader } from '../../../server/log/audit/store-reader.ts';
import { MemoryStore } from '../../../server/storage/memory.ts';
import { SqliteStore } from '../../../server/storage/sqlite/log-store.ts';
import { WriterPool } from '../../../server/storage/sqlite/writer-pool.ts';
import type { Head, LogStore } from '../../../server/storage/store.ts';
import { temporaryFolder } from '../../temporary.ts';
import { checker } from '../make.ts';
import {
  Control,
  fill,
  Heart,
  headOf,
  IDENTITY,
  KEYS,
  ORIGIN,
  plainLog,
  record,
  signed,
} from './build.ts';

interface Options {
  readonly known?: readonly KnownHead[];
  readonly treeOnly?: boolean;
}

function auditOf(store: LogStore, head: Head | undefined, options: Options = {}) {
  const known = options.known ?? (head === undefined ? [] : [{ from: 'a friend', ...head }]);
  return audit({
    reader: new StoreReader(store),
    keys: [{ key: IDENTITY }],
    known,
    checker: options.treeOnly === true ? undefined : checker,
  });
}

/** The findings as one text, for a test to look into. */
function textOf({ findings }: AuditReport): string {
  return findings
    .map(({ severity, index, what }) => `${severity} ${index ?? '-'} ${what}`)
    .join('\n');
}

/** Two full tiles and 90 entries more. */
const SIZE = 602;

let entries: Uint8Array[];
beforeAll(async () => {
  entries = await plainLog(SIZE - 2);
});

describe('a log that is as it should be', () => {
  test('holds, and everything was looked at', async () => {
    const store = new MemoryStore();
    const head = await fill(store, entries);
    const report = await auditOf(store, head);
    expect(textOf(report)).toBe('');
    expect(report).toMatchObject({ holds: true, fails: false, origin: ORIGIN, size: SIZE });
    expect(report.counts).toMatchObject({ signatures: SIZE, records: SIZE, sources: 2 });
    expect(report.contained).toHaveLength(1);
  });

  test('of every size around a tile holds', async () => {
    for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 513]) {
      const store = new MemoryStore();
      const control = size === 1 ? [0] : [0, 1];
      const head = await fill(store, entries.slice(0, size), control);
      expect(await auditOf(store, head), `size ${size}`).toMatchObject({ holds: true, size });
    }
  });

  test('without any memory from outside it cannot be told whether its tail is there', async () => {
    const store = new MemoryStore();
    const head = await fill(store, entries.slice(0, 300));
    const report = await auditOf(store, head, { known: [] });
    expect(report).toMatchObject({ holds: false, fails: false });
    expect(textOf(report)).toContain('unknown - a tail that was cut off cannot be seen');
  });
});

describe('what was changed in the files is found', () => {
  /** Each opens the database of a log of 602 entries for writing, past its own triggers. */
  interface Spoiler {
    readonly spoil: (db: Database.Database) => void;
    readonly finds: RegExp;
    readonly firstBad?: number;
    /** Whether the tree alone shows it. */
    readonly inTree?: boolean;
  }

  const flip = (db: Database.Database, table: string, key: string, id: number, at: number) => {
    const data = db.prepare(`SELECT data FROM ${table} WHERE ${key} = ?`).pluck().get(id) as Buffer;
    data[at] = (data[at] ?? 0) ^ 1;
    db.prepare(`UPDATE ${table} SET data = ? WHERE ${key} = ?`).run(data, id);
  };
  const head = (db: Database.Database) =>
    db.prepare('SELECT size, root, time_ms, checkpoint FROM head').get() as { checkpoint: string };

  const spoilers: Record<string, Spoiler> = {
    'one bit of an entry under a full tile': {
      // The chunk at 192 begins with entry 192; its first byte after the length is the entry's.
      spoil: (db) => flip(db, 'chunk', 'begin', 192, 40),
      finds: /fail 192 entry 192 was changed: tile 0\/0 has the hash that was signed/,
      firstBad: 192,
    },
    'one bit of an entry in the right edge': {
      spoil: (db) => flip(db, 'chunk', 'begin', 576, 40),
      finds: /one of the entries 512 to 601 was changed/,
      firstBad: 576,
    },
    'one bit of an entry’s length': {
      spoil: (db) => flip(db, 'chunk', 'begin', 320, 0),
      finds: /fail 320 .*the chunk of entries at 320 is damaged/,
      firstBad: 320,
    },
    'one bit of a tile': {
      spoil: (db) => flip(db, 'tile', 'id', 1, 32 * 7 + 3),
      finds: /fail 263 tile 0\/1 was changed/,
      firstBad: 263,
    },
    'a tile taken away': {
      spoil: (db) => db.exec('DELETE FROM tile WHERE id = 1'),
      finds: /fail 256 tile 0\/1 is missing/,
      firstBad: 256,
    },
    'entries taken away': {
      spoil: (db) => db.exec('DELETE FROM chunk WHERE begin = 128'),
      finds: /fail 128 entry 128 is missing/,
      firstBad: 128,
    },
    'one bit of the root in the head': {
      spoil: (db) => {
        const { checkpoint } = head(db);
        const [first, size, root = '', ...rest] = checkpoint.split('\n');
        const changed = (root.startsWith('A') ? 'B' : 'A') + root.slice(1);
        const text = [first, size, changed, ...rest].join('\n');
        db.prepare('UPDATE head SET checkpoint = ?').run(text);
      },
      finds:
        /fail - the entries do not hash to the root that was signed.*\n(.*\n)*fail - the head: /,
    },
    'one bit of the head’s signature': {
      spoil: (db) => {
        const { checkpoint } = head(db);
        const at = checkpoint.length - 20;
        const changed = checkpoint[at] === 'A' ? 'B' : 'A';
        const text = checkpoint.slice(0, at) + changed + checkpoint.slice(at + 1);
        db.prepare('UPDATE head SET checkpoint = ?').run(text);
      },
      finds: /fail - the head: /,
    },
    'a control record left out of the list': {
      spoil: (db) => db.exec('DELETE FROM control WHERE idx = 1'),
      finds: /fail 1 a control record that the log’s own list lacks/,
      firstBad: 1,
      inTree: false,
    },
    'another record in the list of control records': {
      spoil: (db) => db.exec('INSERT INTO control (idx) VALUES (5)'),
      finds: /fail 5 the log’s list names it as a control record/,
      firstBad: 5,
      inTree: false,
    },
  };

  async function spoiled({ spoil }: Spoiler): Promise<{ store: SqliteStore; head: Head }> {
    const path = join(temporaryFolder(), 'log.db');
    const writers = new WriterPool();
    const written = await SqliteStore.open(path, writers);
    const signedHead = await fill(written, entries);
    await written.close();
    await writers.close();
    const db = new Database(path);
    const triggers = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").pluck();
    for (const name of triggers.all()) db.exec(`DROP TRIGGER ${String(name)}`);
    spoil(db);
    db.close();
    return { store: SqliteStore.openReadOnly(path), head: signedHead };
  }

  test.for(Object.entries(spoilers))('%s', async ([, spoiler]) => {
    const { store, head: signedHead } = await spoiled(spoiler);
    const report = await auditOf(store, signedHead);
    const tree = await auditOf(store, signedHead, { treeOnly: true });
    await store.close();
    expect(report).toMatchObject({ holds: false, fails: true });
    expect(textOf(report)).toMatch(spoiler.finds);
    expect(report.firstBad).toBe(spoiler.firstBad);
    expect(tree.fails).toBe(spoiler.inTree ?? true);
  });

  test('a tail that was cut off, head and all, is seen by whoever knows a later head', async () => {
    const store = new MemoryStore();
    const whole = new MemoryStore();
    const known = await fill(whole, entries);
    const head = await fill(store, entries.slice(0, 400));
    expect(await auditOf(store, head)).toMatchObject({ holds: true });
    const report = await auditOf(store, known);
    expect(textOf(report)).toBe(
      'fail - the log has 400 entries, and a friend knows 602: its tail was cut off',
    );
  });

  test('a history that was written again is seen by whoever knows an earlier head', async () => {
    const before = new MemoryStore();
    const known = await fill(before, entries.slice(0, 400));
    const others = [...entries.slice(0, 2), ...(await new Heart('other').beats(500))];
    const store = new MemoryStore();
    await fill(store, others);
    const report = await auditOf(store, known);
    expect(textOf(report)).toBe('fail - at size 400 the log has another root than a friend knows');
  });

  test('a head by another key is not the log’s', async () => {
    const store = new MemoryStore();
    const head = await fill(store, entries.slice(0, 10));
    const forged = { ...head, checkpoint: (await forge(head)).checkpoint };
    store.readHead = async () => forged;
    expect(textOf(await auditOf(store, head))).toMatch(/fail - the head: /);
  });
});

async function forge({ size, root }: Head): Promise<Head> {
  const tree = { size, root: () => root } as Parameters<typeof headOf>[0];
  return headOf(tree, KEYS.stranger);
}

describe('what should never have been admitted is found', () => {
  const opening = async () => {
    const control = new Control();
    return { control, first: [await control.genesis(), await control.key('register')] };
  };

  /** The entries of a log, and which of them are control records. */
  interface Wrong {
    readonly entries: () => Promise<readonly Uint8Array[]>;
    readonly control?: readonly number[];
    readonly finds: RegExp;
    readonly firstBad?: number;
  }

  const chain = { source: 'x', seq: 0, prev: null };
  const beat = { kind: 'heartbeat', heartbeat: { seq: 0 } };

  const wrongs: Record<string, Wrong> = {
    'a signature that does not verify': {
      entries: async () => {
        const good = decodeEntry(await new Heart().beat());
        const signatures = good.signatures.map(({ keyid, sig }) => ({
          keyid,
          sig: sig.with(10, (sig[10] ?? 0) ^ 1),
        }));
        return [...(await opening()).first, encodeEntry({ ...good, signatures })];
      },
      finds: /fail 2 signature of key [0-9a-f]{64}: /,
      firstBad: 2,
    },
    'a key that was never registered': {
      entries: async () => [...(await opening()).first, await new Heart('x', KEYS.stranger).beat()],
      finds: /fail 2 key [0-9a-f]{64} is not registered/,
      firstBad: 2,
    },
    'a key before its registration': {
      entries: async () => {
        const control = new Control();
        const early = await new Heart().beat();
        return [await control.genesis(), early, await control.key('register')];
      },
      control: [0, 2],
      finds: /fail 1 key [0-9a-f]{64} is not registered/,
      firstBad: 1,
    },
    'a key after its revocation': {
      entries: async () => {
        const { control, first } = await opening();
        const heart = new Heart();
        const good = await heart.beat();
        return [...first, good, await control.key('revoke'), await heart.beat()];
      },
      control: [0, 1, 3],
      finds: /fail 4 key [0-9a-f]{64} was revoked at entry 3/,
      firstBad: 4,
    },
    'a registration that the operator did not sign': {
      entries: async () => {
        const { alg, spki, keyid } = KEYS.stranger.publicKey;
        const key = { action: 'register', purpose: 'gateway', alg, spki: toBase64(spki), keyid };
        const link = { source: '_log', seq: 2, prev: null };
        const forged = await signed(record({ kind: 'key', key }, link), KEYS.gateway);
        return [...(await opening()).first, forged, await new Heart('x', KEYS.stranger).beat()];
      },
      control: [0, 1, 2],
      finds: /fail 2 .*\n(.*\n)*fail 3 key [0-9a-f]{64} is not registered/,
      firstBad: 2,
    },
    'a record made for another log': {
      entries: async () => {
        const foreign = await signed(record(beat, chain, 'log.example/logs/b'), KEYS.gateway);
        return [...(await opening()).first, foreign];
      },
      finds: /fail 2 record: it was made for log/,
      firstBad: 2,
    },
    'a payload type that the log does not take': {
      entries: async () => {
        const opaque = await signed(Uint8Array.of(1), KEYS.gateway, 'text/plain');
        return [...(await opening()).first, opaque];
      },
      finds: /fail 2 payloadType "text\/plain": the log admits/,
      firstBad: 2,
    },
    'a reserved source': {
      entries: async () => {
        const payload = record(beat, { ...chain, source: '_x' });
        return [...(await opening()).first, await signed(payload, KEYS.gateway)];
      },
      finds: /fail 2 source "_x": names that begin with _ are the log’s own/,
      firstBad: 2,
    },
    'a source that belongs to another key': {
      entries: async () => {
        const { control, first } = await opening();
        const second = await control.key('register', KEYS.stranger);
        const theirs = new Heart('heart', KEYS.stranger);
        await theirs.beat();
        return [...first, second, await new Heart().beat(), await theirs.beat()];
      },
      control: [0, 1, 2],
      finds: /fail 4 source "heart" belongs to key/,
      firstBad: 4,
    },
    'bytes that are no entry': {
      entries: async () => [...(await opening()).first, Uint8Array.of(10, 1, 2, 3)],
      finds: /fail 2 /,
      firstBad: 2,
    },
  };

  test.for(Object.entries(wrongs))('%s', async ([, wrong]) => {
    const store = new MemoryStore();
    const head = await fill(store, await wrong.entries(), wrong.control);
    const report = await auditOf(store, head);
    expect(textOf(report)).toMatch(wrong.finds);
    expect(report).toMatchObject({ holds: false, fails: true, firstBad: wrong.firstBad });
    // The tree itself is as it was signed.
    expect(await auditOf(store, head, { treeOnly: true })).toMatchObject({ fails: false });
  });

  test('a log that does not begin with genesis cannot be audited', async () => {
    const store = new MemoryStore();
    const head = await fill(store, [await new Heart().beat()], []);
    expect(await auditOf(store, head)).toMatchObject({ fails: true, firstBad: 0 });
  });
});

describe('chains', () => {
  /** The notes about a log of these heartbeats, given by their sequence numbers in the log's order. */
  async function notes(order: readonly number[]): Promise<string> {
    const beats = await new Heart().beats(Math.max(...order) + 1);
    const log = [...(await plainLog(0)), ...order.map((seq) => beats[seq] as Uint8Array)];
    const store = new MemoryStore();
    const report = await auditOf(store, await fill(store, log));
    expect(report.holds).toBe(true);
    return textOf(report);
  }

  test('late records fill holes, in whatever order they come', async () => {
    expect(await notes([0, 1, 2, 3, 4, 5])).toBe('');
    expect(await notes([5, 3, 4, 0, 2, 1])).toBe('');
    expect(await notes([1, 0, 3, 2, 5, 4])).toBe('');
  });

  test('holes that are left are named, and are no failure', async () => {
    expect(await notes([0, 1, 5, 6])).toBe('note - source "heart": seq 2 to 4 are not in the log');
    expect(await notes([2, 1, 4])).toBe(
      'note - source "heart": seq 0 is not in the log\n' +
        'note - source "heart": seq 3 is not in the log',
    );
  });

  test('a number given twice, and a record that names another before it, are named', async () => {
    const one = await new Heart().beats(3);
    const two = await new Heart().beats(3);
    const log = [...(await plainLog(0)), one[0], one[1], two[1], two[2]] as Uint8Array[];
    const store = new MemoryStore();
    const report = await auditOf(store, await fill(store, log));
    expect(textOf(report)).toBe(
      'note 4 source "heart", seq 1: another record has this number already\n' +
        'note 5 source "heart", seq 2: it does not name the record before it',
    );
  });
});

test('marks are looked at wherever they lie', async () => {
  const store = new MemoryStore();
  const head = await fill(store, entries);
  const known = await Promise.all(
    [1, 2, 255, 256, 257, 600, 601].map(async (size) => {
      const part = new MemoryStore();
      const { root } = await fill(part, entries.slice(0, size));
      return { from: `friend ${size}`, size: size as TreeSize, root };
    }),
  );
  const report = await auditOf(store, head, { known });
  expect(report.holds).toBe(true);
  expect(report.contained).toHaveLength(known.length);
  const wrong = [{ from: 'a foe', size: 600 as TreeSize, root: new Uint8Array(32) as Hash }];
  expect(textOf(await auditOf(store, head, { known: wrong }))).toContain('a foe');
});
