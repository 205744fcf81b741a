/** The parts of a witness that gives: which logs it has, their shares, what many requests share, its mark outside. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { parseLogList } from '../../server/core/log-list.ts';
import type { VerifierKey } from '../../server/core/note.ts';
import { makeVerifierKey, NOTE_TREE_HEAD } from '../../server/core/note.ts';
import { treeSize } from '../../server/core/units.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { FsyncFailed } from '../../server/storage/sqlite/database.ts';
import type { Asked } from '../../server/storage/witnessed.ts';
import { WitnessMark } from '../../server/witness/giving-mark.ts';
import { ORIGIN_KEYS_MAX, Origins } from '../../server/witness/giving-origins.ts';
import { JudgeQueue, type QueueOptions } from '../../server/witness/giving-queue.ts';
import { logKey, mldsaKey, witnessKey } from '../core/note-keys.ts';
import { temporaryFolder } from '../temporary.ts';
import { makeCosigner, WITNESS } from './make.ts';
import { OtherLog } from './other-log.ts';

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof SteleError) return error.code;
    throw error;
  }
}

/** Of no key: tree heads are not verified here. */
const SPKI = new Uint8Array(91).fill(1);

describe('logs', () => {
  const cosigner = makeCosigner();
  const origins = () => new Origins(cosigner.keys, () => 0);
  const add = (key: VerifierKey, origin = 'log.example', perDay = 96) => {
    const all = origins();
    all.add({ origin, key, perDay });
    return all;
  };

  const refused: Record<string, () => unknown> = {
    'a key of a witness': () => add(witnessKey('w.example', 3).key),
    'an ML-DSA key of another name': () => add(mldsaKey('w.example', 3).key),
    'the name of this witness': () => add(logKey('log.example', 3).key, WITNESS),
    'a key with the name of this witness': () => add(logKey(WITNESS, 3).key),
    'the key of this witness': () => add(logKey('log.example', 1).key),
    'no origin': () => add(logKey('log.example', 3).key, ''),
    'an origin of two lines': () => add(logKey('log.example', 3).key, 'a\nb'),
    'an origin of 256 bytes': () => add(logKey('log.example', 3).key, 'é'.repeat(128)),
    'a key of tree heads': () => add(makeVerifierKey('log.example', NOTE_TREE_HEAD, SPKI)),
  };

  test.each(Object.entries(refused))('%s is none', (_, work) => {
    expect(codeOf(work)).toBe('malformed');
  });

  test('an ML-DSA key of the log itself is one, and any form of origin', () => {
    expect(add(mldsaKey('log.example', 3).key).get('log.example')?.keys).toHaveLength(1);
    const rekor = 'rekor.sigstore.dev - 2605736670972794746';
    expect(add(logKey('rekor.sigstore.dev', 3).key, rekor).get(rekor)).toBeDefined();
  });

  test('what several places say of one is taken together, and the largest rate counts', () => {
    const all = add(logKey('log.example', 3).key);
    all.add({ origin: 'log.example', key: logKey('log.example', 3).key, perDay: 10 });
    all.add({ origin: 'log.example', key: logKey('log.example', 4).key, perDay: 200 });
    const log = all.get('log.example');
    expect([log?.keys.length, log?.perDay, all.size]).toEqual([2, 200, 1]);
  });

  test('one has only so many keys', () => {
    const all = origins();
    const key = (i: number) => logKey('log.example', 10 + i).key;
    for (let i = 0; i < ORIGIN_KEYS_MAX; i++)
      all.add({ origin: 'log.example', key: key(i), perDay: 1 });
    expect(
      codeOf(() => all.add({ origin: 'log.example', key: key(ORIGIN_KEYS_MAX), perDay: 1 })),
    ).toBe('malformed');
  });

  test('of a list those that cannot be witnessed keep nobody else out', () => {
    const all = origins();
    const told: string[] = [];
    const stanzas = [logKey('a.example', 3), logKey(WITNESS, 4), logKey('b.example', 5)].map(
      ({ key }) => `vkey ${key.text}\nqpd 96\ncontact nobody\n`,
    );
    const list = parseLogList(Buffer.from(['logs/v0\n', ...stanzas].join('\n')));
    all.addAll(list, ({ message }) => told.push(message));
    expect(all.all().map(({ origin }) => origin)).toEqual(['a.example', 'b.example']);
    expect(told).toHaveLength(1);
  });

  test('a share fills with time, never beyond its bound, and not when the clock goes back', () => {
    const [log] = add(logKey('log.example', 3).key, 'log.example', 960).all();
    const taken = (nowMs: number) => {
      let count = 0;
      while (log!.take(nowMs, 'growth') === undefined) count++;
      return count;
    };
    expect(taken(0)).toBe(10);
    expect(taken(90_000)).toBe(1);
    expect(taken(0)).toBe(0);
    expect(taken(10 * 86_400_000)).toBe(10);
    log!.giveBack('growth');
    expect(taken(10 * 86_400_000)).toBe(1);
  });
});

describe('the queue', () => {
  const log = new OtherLog();
  const asked = (size: number, old: number, of = log): Asked => ({
    origin: of.origin,
    size: treeSize(size),
    root: of.root(size),
    old: treeSize(old),
    proof: of.proof(old, size),
    note: of.note(size),
  });

  function open(options: Partial<QueueOptions> = {}) {
    const path = join(temporaryFolder(), 'stele.db');
    const store = new InstanceStore(path);
    store.witnessed.setWitness({ name: WITNESS, keys: '[]' });
    const queue = new JudgeQueue({ path, nowS: () => 1_000, written: () => {}, ...options });
    return { store, queue };
  }

  test('judges in order, each by what those before it left', async () => {
    const { store, queue } = open();
    const verdicts = await Promise.all([
      queue.judge(asked(3, 0)),
      queue.judge(asked(5, 0)),
      queue.judge(asked(5, 3)),
      queue.judge(asked(7, 3, log.forkedAt(1))),
      queue.judge(asked(7, 5)),
    ]);
    expect(verdicts.map(({ kind }) => kind)).toEqual([
      'cosign',
      'conflict',
      'cosign',
      'conflict',
      'cosign',
    ]);
    await queue.close();
    expect(store.witnessed.list(5)).toMatchObject([{ size: 7, times: 3, timeS: 1_000 }]);
    store.close();
  });

  test('what waits when it is closed is still judged, and nothing after it', async () => {
    const { store, queue } = open();
    const first = queue.judge(asked(3, 0));
    await queue.close();
    expect(await first).toEqual({ kind: 'cosign', timeS: 1_000 });
    await expect(queue.judge(asked(5, 3))).rejects.toMatchObject({ code: 'storage' });
    store.close();
  });

  test('nobody is told where the mark cannot be written; asked again, they are told the size', async () => {
    let isBroken = true;
    const { store, queue } = open({
      written: () => {
        if (isBroken) throw new SteleError('storage', 'no room');
      },
    });
    await expect(queue.judge(asked(3, 0))).rejects.toMatchObject({ code: 'storage' });
    isBroken = false;
    expect(await queue.judge(asked(3, 0))).toEqual({ kind: 'conflict', size: 3 });
    expect(await queue.judge(asked(3, 3))).toMatchObject({ kind: 'cosign' });
    await queue.close();
    store.close();
  });

  test('a writer that dies leaves everybody without an answer, and another takes its place', async () => {
    const program = new URL('./dying-writer.ts', import.meta.url);
    const { store, queue } = open({ program });
    const all = [queue.judge(asked(3, 0)), queue.judge(asked(5, 0))];
    for (const one of all) await expect(one).rejects.toMatchObject({ code: 'storage' });
    await expect(queue.judge(asked(3, 0))).rejects.toMatchObject({ code: 'storage' });
    await queue.close();
    expect(store.witnessed.count()).toBe(0);
    store.close();
  });

  test('a failed fsync is told as one: the process has to end', async () => {
    const { store, queue } = open({ program: new URL('./failing-writer.ts', import.meta.url) });
    await expect(queue.judge(asked(3, 0))).rejects.toBeInstanceOf(FsyncFailed);
    await queue.close();
    store.close();
  });

  test('a database that is gone is told as storage, and is not made anew', async () => {
    const path = join(temporaryFolder(), 'none', 'stele.db');
    const queue = new JudgeQueue({ path, nowS: () => 1, written: () => {} });
    await expect(queue.judge(asked(3, 0))).rejects.toMatchObject({ code: 'storage' });
    await queue.close();
  });

  test('has room for so many', async () => {
    const { store, queue } = open();
    const one = asked(3, 0);
    const all = Array.from({ length: 4_096 }, () => queue.judge(one));
    await expect(queue.judge(one)).rejects.toMatchObject({ code: 'pushback' });
    const kinds = (await Promise.all(all)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'cosign')).toHaveLength(1);
    const long = { ...one, note: 'x'.repeat(16_777_217) };
    await expect(queue.judge(long)).rejects.toMatchObject({ code: 'pushback' });
    await queue.close();
    store.close();
  }, 60_000);
});

describe('the mark', () => {
  const [key] = makeCosigner().keys;

  test('remembers the largest number, for each key apart', () => {
    const folder = join(temporaryFolder(), 'state');
    const mark = new WitnessMark(folder, key!);
    expect(mark.commits).toBe(0);
    for (const commits of [1, 9, 10, 3]) mark.remember(commits);
    mark.close();
    expect(new WitnessMark(folder, key!).commits).toBe(10);
    expect(new WitnessMark(folder, makeCosigner({ seed: 2 }).keys[0]!).commits).toBe(0);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  test('that was made and not written is none; one that is damaged is told of', () => {
    const folder = join(temporaryFolder(), 'state');
    mkdirSync(folder);
    const { path } = new WitnessMark(folder, key!);
    writeFileSync(path, Buffer.alloc(512));
    expect(new WitnessMark(folder, key!).commits).toBe(0);
    for (const text of ['-1', '1.5', 'x', '1 2', '9007199254740993']) {
      writeFileSync(path, text);
      expect(
        codeOf(() => new WitnessMark(folder, key!)),
        text,
      ).toBe('storage');
    }
  });
});
