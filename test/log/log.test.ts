import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { encodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkConsistency, checkInclusion } from '../../server/core/proof.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseTilePath } from '../../server/core/tile.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Log } from '../../server/log/log.ts';
import { Memories } from '../../server/log/memories.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { NO_USAGE } from '../../server/storage/store.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, checkWhole, Gateway, logOptions, startLog, submit, TestClock } from './make.ts';

const fresh = (more = {}) => logOptions({ stateFolder: temporaryFolder(), ...more });

describe('an entry', () => {
  test('is integrated under the signed head that comes with its answer (P1)', async () => {
    const { log, gateway } = await startLog(fresh());
    for (let i = 0; i < 20; i++) {
      const entry = await gateway.next();
      const [submitted] = await submit(log, entry);
      if (submitted === undefined || submitted instanceof SteleError) throw submitted;
      expect(submitted).toMatchObject({ index: i + 2, repeat: false });
      const { size, root } = submitted.head;
      const proof = await log.inclusion(submitted.index, size);
      checkInclusion({
        index: submitted.index,
        size,
        root,
        proof,
        leafHash: leafHash(encodeEntry(entry)),
      });
    }
    await checkWhole(log);
  });

  test('keeps its bytes', async () => {
    const { log, gateway } = await startLog(fresh());
    const entries = await gateway.many(5);
    await append(log, ...entries);
    const read = await log.entries(leafIndex(2), treeSize(7));
    expect(read.map((e) => Buffer.from(e))).toEqual(
      entries.map((e) => Buffer.from(encodeEntry(e))),
    );
    expect(Buffer.from(await log.entry(leafIndex(4)))).toEqual(
      Buffer.from(encodeEntry(entries[2]!)),
    );
  });

  test('is found by its leaf hash and its record id', async () => {
    const { log, gateway } = await startLog(fresh());
    const entries = await gateway.many(3);
    await append(log, ...entries);
    for (const [i, entry] of entries.entries()) {
      const { record } = await log.admit(entry);
      expect(await log.findLeaf(leafHash(encodeEntry(entry)))).toBe(i + 2);
      expect(await log.findRecord(record?.record_id ?? '')).toBe(i + 2);
      expect(await log.findRecord(record?.record_id ?? '', 'gateway-1')).toBe(i + 2);
    }
    await expect(log.findLeaf(leafHash(utf8('none')))).rejects.toMatchObject({ code: 'not_found' });
    const { record } = await log.admit(entries[0]!);
    await expect(log.findRecord(record?.record_id ?? '', 'other')).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  test('submitted again gets the first index, in the same batch and later (P3)', async () => {
    const { log, gateway } = await startLog(fresh());
    const entry = await gateway.next();
    const first = await submit(log, entry, entry);
    expect(first).toMatchObject([
      { index: 2, repeat: false },
      { index: 2, repeat: true },
    ]);
    await append(log, await gateway.next());
    expect(await submit(log, entry)).toMatchObject([{ index: 2, repeat: true, head: { size: 4 } }]);
    expect(log.head().size).toBe(4);
  });

  test('of an opaque type is taken if the rules list it, and repeats by its statement', async () => {
    const rules = { payload_types: ['text/plain'] };
    const { log, gateway } = await startLog(fresh(), rules);
    const entry = await gateway.sign('text/plain', utf8('hello'));
    expect(await append(log, entry)).toEqual([2]);
    expect(await submit(log, entry)).toMatchObject([{ index: 2, repeat: true }]);
    const other = new Gateway();
    await log.registerGateway(other.signer.publicKey);
    expect(await append(log, await other.sign('text/plain', utf8('hello')))).toEqual([4]);
    await expect(log.admit(await gateway.next())).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('text/plain'),
    });
  });
});

describe('refused, with nothing changed', () => {
  async function refusal(
    make: (log: Log, gateway: Gateway) => Promise<Parameters<typeof submit>[1]>,
    rules: object = {},
  ): Promise<{ code: string; message: string }> {
    const { log, gateway } = await startLog(fresh(), rules);
    await append(log, ...(await gateway.many(3)));
    const before = log.head();
    const entry = await make(log, gateway);
    const head = log.head().size > before.size ? log.head() : before;
    let refused: unknown;
    try {
      [refused] = await submit(log, entry);
    } catch (error) {
      refused = error;
    }
    if (!(refused instanceof SteleError)) throw new Error('it was accepted');
    expect(log.head()).toBe(head);
    await checkWhole(log);
    return refused;
  }

  test('an unknown key', async () => {
    expect(await refusal(async () => new Gateway('other').next())).toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('is not registered'),
    });
  });

  test('a revoked key', async () => {
    const error = await refusal(async (log, gateway) => {
      await log.revokeGateway(gateway.signer.publicKey.keyid);
      return gateway.next();
    });
    expect(error).toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('was revoked at entry 5'),
    });
  });

  test('a signature that does not verify', async () => {
    const error = await refusal(async (_, gateway) => {
      const entry = await gateway.next();
      const [signature] = entry.signatures;
      if (signature === undefined) throw new Error('no signature');
      return { ...entry, signatures: [{ ...signature, sig: signature.sig.with(40, 1) }] };
    });
    expect(error.code).toBe('unverified');
  });

  test('a record made for another log', async () => {
    const error = await refusal((_, gateway) => gateway.next({}, 'log.example/logs/other'));
    expect(error.message).toContain('log.example/logs/other');
  });

  test('a control record', async () => {
    const error = await refusal((_, gateway) =>
      gateway.next({
        kind: 'policy',
        heartbeat: undefined,
        policy: { reviewed: '2026-01-01T00:00:00.000000Z' },
      }),
    );
    expect(error.code).toBe('forbidden');
  });

  test('a source of another gateway', async () => {
    const error = await refusal(async (log) => {
      const other = new Gateway('gateway-1');
      await log.registerGateway(other.signer.publicKey);
      return other.next();
    });
    expect(error).toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('belongs to key'),
    });
  });

  test('the same record id with another statement', async () => {
    const error = await refusal(async (log, gateway) => {
      const one = await gateway.next();
      await append(log, one);
      const { record } = await log.admit(one);
      return gateway.next({ record_id: record?.record_id });
    });
    expect(error.code).toBe('conflict');
  });

  test.each([
    ['a hole', { seq: 5, prev: 'A'.repeat(43) }, 'requires 3'],
    ['a wrong prev', { seq: 3, prev: 'A'.repeat(43) }, 'the record before has'],
    ['a number that is taken', { seq: 1, prev: 'A'.repeat(43) }, 'already taken'],
  ])('%s, where continuity is required', async (_, chain, words) => {
    const error = await refusal((_log, gateway) => gateway.make(chain), { continuity: 'require' });
    expect(error).toMatchObject({ code: 'conflict', message: expect.stringContaining(words) });
  });
});

describe('a source', () => {
  test('shows its holes, and late records fill them', async () => {
    const { log, gateway } = await startLog(fresh());
    const entries = await gateway.many(6);
    await append(log, ...[0, 1, 4, 5].map((i) => entries[i]!));
    expect(await log.sources()).toMatchObject([
      {},
      { id: 'gateway-1', next: 6, holes: [{ begin: 2, end: 4 }], forks: 0 },
    ]);
    await append(log, entries[3]!, entries[2]!);
    expect(await log.sources()).toMatchObject([{}, { holes: [], forks: 0, next: 6 }]);
  });

  test.each([
    ['a prev that is not the hash of the record before', { seq: 2, prev: 'A'.repeat(43) }],
    ['a number that is taken', { seq: 1, prev: 'A'.repeat(43) }],
    ['a first record with a prev', { seq: 0, prev: 'A'.repeat(43) }],
  ])('flags %s as a fork and keeps the evidence', async (_, chain) => {
    const { log, gateway } = await startLog(fresh());
    await append(log, ...(await gateway.many(2)));
    expect(await append(log, await gateway.make(chain))).toEqual([4]);
    expect(await log.sources()).toMatchObject([{}, { forks: 1 }]);
  });

  test('flags a record whose successor names another', async () => {
    const { log, gateway } = await startLog(fresh());
    const entries = await gateway.many(3);
    await append(log, entries[0]!, entries[2]!);
    const { record } = await log.admit(entries[1]!);
    const prev = record?.source.prev ?? null;
    await append(log, await gateway.make({ seq: 1, prev }));
    expect(await log.sources()).toMatchObject([{}, { forks: 1 }]);
  });

  test('closes a hole with a gap record, where continuity is required', async () => {
    const { log, gateway } = await startLog(fresh(), { continuity: 'require' });
    await append(log, ...(await gateway.many(2)));
    gateway.seq = 5;
    gateway.prev = 'A'.repeat(43);
    const gap = await gateway.next({
      kind: 'gap',
      heartbeat: undefined,
      gap: { reason: 'spool-lost', source: 'gateway-1', seq_from: 2, seq_to: 4 },
    });
    expect(await append(log, gap, await gateway.next())).toEqual([4, 5]);
  });
});

describe('a record id that two sources use', () => {
  test('is a conflict unless the source is named', async () => {
    const { log, gateway } = await startLog(fresh());
    const other = new Gateway('gateway-2');
    await log.registerGateway(other.signer.publicKey);
    const one = await gateway.next();
    const { record } = await log.admit(one);
    const id = record?.record_id ?? '';
    await append(log, one, await other.next({ record_id: id }));
    await expect(log.findRecord(id)).rejects.toMatchObject({ code: 'conflict' });
    expect(await log.findRecord(id, 'gateway-2')).toBe(4);
  });
});

describe('proofs', () => {
  test('hold for every size and index over several batches', async () => {
    const { log, gateway } = await startLog(fresh());
    for (const count of [1, 3, 40, 7]) await append(log, ...(await gateway.many(count)));
    const { size } = log.head();
    const entries = await log.entries(leafIndex(0), size);
    for (let to = 1; to <= size; to++) {
      const root = (await log.headAt(treeSize(to))).root;
      for (let index = 0; index < to; index += 5) {
        const claim = { index: leafIndex(index), size: treeSize(to), root };
        const proof = await log.inclusion(claim.index, claim.size);
        checkInclusion({ ...claim, proof, leafHash: leafHash(entries[index]!) });
      }
      for (let from = 1; from <= to; from += 7) {
        checkConsistency({
          from: treeSize(from),
          to: treeSize(to),
          fromRoot: (await log.headAt(treeSize(from))).root,
          toRoot: root,
          proof: await log.consistency(treeSize(from), treeSize(to)),
        });
      }
    }
  });

  test.each([
    [
      'a size beyond the head',
      (log: Log) => log.inclusion(leafIndex(0), treeSize(99)),
      'not_found',
    ],
    [
      'an index beyond the size',
      (log: Log) => log.inclusion(leafIndex(2), treeSize(2)),
      'not_found',
    ],
    ['from > to', (log: Log) => log.consistency(treeSize(2), treeSize(1)), 'malformed'],
    ['from 0', (log: Log) => log.consistency(treeSize(0), treeSize(1)), 'malformed'],
    ['a head beyond', (log: Log) => log.headAt(treeSize(99)), 'not_found'],
    ['an entry beyond', (log: Log) => log.entry(leafIndex(99)), 'not_found'],
    ['a tile beyond', (log: Log) => log.tile(parseTilePath('tile/0/000.p/99')), 'not_found'],
    ['a full tile too soon', (log: Log) => log.tile(parseTilePath('tile/0/000')), 'not_found'],
  ])('refuse %s', async (_, ask, code) => {
    const { log } = await startLog(fresh());
    await expect(ask(log)).rejects.toMatchObject({ code });
  });
});

describe('the published head', () => {
  test('carries both keys’ lines, follows at most once a second, and is kept', async () => {
    const clock = new TestClock();
    const store = new MemoryStore();
    const options = fresh({ clock, store });
    const { log, gateway } = await startLog(options);
    await append(log, await gateway.next());
    await log.close();
    const published = await store.readPublished();
    expect(published?.size).toBe(3);
    expect(published?.checkpoint.match(/^— /gm)).toHaveLength(2);
  });
});

describe('a receipt', () => {
  test('has genesis and the signer’s key record under the same head', async () => {
    const { log, gateway } = await startLog(fresh());
    await append(log, await gateway.next());
    const receipt = parseReceipt(await log.receipt(leafIndex(2), { head: log.head() }));
    expect(receipt).toMatchObject({
      origin: log.origin,
      index: 2,
      checkpoint: log.head().checkpoint,
    });
    expect(receipt.keys.map((key) => key.index)).toEqual([0, 1]);
    expect(parseReceipt(await log.receipt(leafIndex(1), { head: log.head() })).keys).toHaveLength(
      1,
    );
    expect(parseReceipt(await log.receipt(leafIndex(0), { head: log.head() })).keys).toHaveLength(
      0,
    );
  });
});

describe('a key that was revoked and registered again', () => {
  test('is good for what it signed in both periods, each by its own key record', async () => {
    const { log, gateway } = await startLog(fresh());
    const { publicKey } = gateway.signer;
    await append(log, await gateway.next());
    expect(await log.revokeGateway(publicKey.keyid)).toBe(3);
    await expect(log.admit(await gateway.next())).rejects.toMatchObject({ code: 'forbidden' });
    expect(await log.registerGateway(publicKey)).toBe(4);
    await append(log, await gateway.next());
    const keysOf = async (index: number) =>
      parseReceipt(await log.receipt(leafIndex(index), { head: log.head() })).keys.map(
        (key) => key.index,
      );
    expect(await keysOf(2)).toEqual([0, 1]);
    expect(await keysOf(5)).toEqual([0, 4]);
  });
});

describe('opening', () => {
  test('goes on where it was, again and again, over tile borders', async () => {
    const options = fresh();
    let { log, gateway } = await startLog(options);
    for (const count of [1, 250, 3, 1, 300, 513]) {
      await append(log, ...(await gateway.many(count)));
      const head = log.head();
      await log.close();
      log = await Log.open(options);
      expect(log.head()).toEqual(head);
      await checkWhole(log);
    }
    const last = await gateway.next();
    await append(log, last);
    expect(await submit(log, last)).toMatchObject([{ repeat: true }]);
  });

  test('finds repeats of entries from before', async () => {
    const options = fresh();
    const { log, gateway } = await startLog(options);
    const entries = await gateway.many(5);
    await append(log, ...entries);
    await log.close();
    const again = await Log.open(options);
    expect(await submit(again, entries[3]!)).toMatchObject([{ index: 5, repeat: true }]);
    expect(await again.sources()).toMatchObject([{}, { id: 'gateway-1', next: 5, holes: [] }]);
  });

  test('of an empty store is refused: its history is elsewhere', async () => {
    await expect(Log.open(fresh())).rejects.toMatchObject({ code: 'split_view' });
  });

  test('an older state than the high-water file knows reads but does not sign (P2)', async () => {
    const stateFolder = temporaryFolder();
    const old = new MemoryStore();
    const { log, gateway } = await startLog(logOptions({ stateFolder, store: old }));
    const yesterday = structuredClone(await old.readHead());
    await append(log, await gateway.next());
    // The store as it was: everything up to yesterday's head, and nothing after it.
    const restored = new MemoryStore();
    const entries = await old.readEntries(leafIndex(0), treeSize(2));
    await restored.commit(
      {
        begin: leafIndex(0),
        entries,
        tiles: [],
        lookups: [],
        indexed: treeSize(0),
        control: [leafIndex(0), leafIndex(1)],
        sources: [],
        head: yesterday!,
        usage: NO_USAGE,
      },
      undefined,
    );
    const reopened = await Log.open(logOptions({ stateFolder, store: restored }));
    expect(reopened.head().size).toBe(2);
    expect(await submit(reopened, await gateway.next())).toMatchObject([
      { code: 'split_view', message: expect.stringContaining('a head of 3 was signed before') },
    ]);
    expect(reopened.head().size).toBe(2);
  });

  test('without a high-water file signs, unless that memory is required', async () => {
    const stateFolder = temporaryFolder();
    const options = logOptions({ stateFolder, store: new MemoryStore() });
    const { log, gateway } = await startLog(options);
    await log.close();
    expect((await Log.open(options)).memories).toMatchObject([
      { kind: 'high-water', answered: true },
    ]);
    const nothing = [new HighWater(temporaryFolder())];
    const elsewhere = { ...options, memories: new Memories(nothing) };
    const required = new Memories(nothing, ['high-water']);
    const forgotten = await Log.open({ ...options, memories: required });
    expect(forgotten.memories).toMatchObject([{ answered: false }]);
    expect(await submit(forgotten, await gateway.next())).toMatchObject([
      { code: 'split_view', message: expect.stringContaining('guard.require') },
    ]);
    expect(await append(await Log.open(elsewhere), await gateway.next())).toEqual([2]);
  });

  test('a key record that does not hash to the signed root says nothing', async () => {
    const options = fresh();
    const { log, gateway } = await startLog(options);
    // The key record ends up in a full tile, which no start re-hashes as a whole.
    await append(log, ...(await gateway.many(300)));
    await log.close();
    const { store } = options;
    const spoiled: typeof store = new Proxy(store, {
      get(target, name: keyof typeof store) {
        const method = target[name] as (...args: unknown[]) => Promise<unknown>;
        if (name !== 'readEntries') return method.bind(target);
        return async (begin: number, end: number) => {
          const entries = await target.readEntries(leafIndex(begin), treeSize(end));
          return begin > 1 ? entries : entries.map((e, i) => (begin + i === 1 ? e.with(-1, 1) : e));
        };
      },
    });
    await expect(Log.open({ ...options, store: spoiled })).rejects.toMatchObject({
      code: 'storage',
    });
  });

  test('what does not hash to the signed root is refused', async () => {
    const options = fresh();
    const { log, gateway } = await startLog(options);
    await append(log, ...(await gateway.many(3)));
    await log.close();
    const { store } = options;
    const spoiled: typeof store = Object.create(store, {
      readEntries: {
        value: async (...range: Parameters<typeof store.readEntries>) => {
          const entries = await store.readEntries(...range);
          return entries.map((e) => (entries.length > 1 ? e.with(-1, 255 - (e.at(-1) ?? 0)) : e));
        },
      },
      readHead: { value: () => store.readHead() },
      readControl: { value: () => store.readControl() },
    });
    await expect(Log.open({ ...options, store: spoiled })).rejects.toMatchObject({
      code: 'storage',
      message: expect.stringContaining('does not hash to the signed root'),
    });
  });
});
