import { describe, expect, test } from 'vitest';
import { sha256, utf8 } from '../../server/core/bytes.ts';
import { type LeafIndex, leafIndex, treeSize } from '../../server/core/units.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import { hashPrefix, type Keys, Lookups, recordPrefix } from '../../server/log/lookups.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import type { Head } from '../../server/storage/store.ts';
import { batch, head } from '../contract/store.ts';

function keysOf(index: number): Keys {
  return {
    leafHash: sha256(utf8(`leaf ${index}`)),
    statement: sha256(utf8(`statement ${index}`)),
    // Half of the entries are records, half are opaque.
    recordId:
      index % 2 === 0
        ? uuidv7(1_700_000_000_000 + index, new Uint8Array(10).fill(index % 251))
        : undefined,
  };
}

/** A log of look-ups alone: each step commits an entry or more, and what the look-ups want written. */
class World {
  readonly store = new MemoryStore();
  lookups = new Lookups(this.store, treeSize(0));
  size = 0;
  #head: Head | undefined;

  async commit(outcome: 'ok' | 'failed' = 'ok', count = 1): Promise<void> {
    const slice = this.lookups.next(treeSize(this.size), count);
    if (outcome === 'failed') return;
    const next = head(this.size + count);
    const { lookups, indexed } = slice;
    const more = { lookups, indexed, head: next };
    await this.store.commit(batch(this.size, count, more, 1), this.#head);
    this.#head = next;
    this.lookups.wrote(slice);
    for (; this.size < next.size; this.size++) {
      this.lookups.add(keysOf(this.size), leafIndex(this.size));
    }
  }

  /** What a start does: the entries that are not indexed are added again. */
  async restart(): Promise<void> {
    const indexed = await this.store.readIndexed();
    this.lookups = new Lookups(this.store, indexed);
    for (let i: number = indexed; i < this.size; i++) this.lookups.add(keysOf(i), leafIndex(i));
  }

  async found(index: number): Promise<boolean> {
    const { leafHash, statement, recordId } = keysOf(index);
    const other: LeafIndex[][] =
      recordId === undefined
        ? await this.lookups.find('statement', [hashPrefix(statement)])
        : await this.lookups.find('record', [recordPrefix(recordId)]);
    const leaf = await this.lookups.find('leaf', [hashPrefix(leafHash)]);
    const at = leafIndex(index);
    return leaf[0]?.includes(at) === true && other[0]?.includes(at) === true;
  }

  async checkAll(step = 97): Promise<void> {
    for (let i = 0; i < this.size; i += step) {
      if (!(await this.found(i))) throw new Error(`entry ${i} of ${this.size} is not found`);
    }
  }
}

describe('look-ups', () => {
  test('are found at once, while they are written, and after', async () => {
    const world = new World();
    const written = new Set<number>();
    while (world.size < 40_000) {
      await world.commit(world.size % 1_000 === 7 ? 'failed' : 'ok');
      if (world.size % 1_000 === 7) await world.commit();
      const indexed = await world.store.readIndexed();
      if (!written.has(indexed)) {
        written.add(indexed);
        await world.checkAll();
      }
    }
    // They do reach the disk, in runs, and not all at once.
    expect([...written].length).toBeGreaterThanOrEqual(3);
    expect(await world.store.readIndexed()).toBeGreaterThan(30_000);
    await world.checkAll(31);
  });

  test('survive a crash at any slice of a run', async () => {
    const world = new World();
    while (world.size < 16_384) await world.commit();
    for (let crash = 0; crash < 24; crash++) {
      await world.commit();
      await world.restart();
      await world.checkAll(509);
    }
    // A start begins its run anew; it is finished as soon as enough commits follow without one.
    while ((await world.store.readIndexed()) === 0 && world.size < 60_000) await world.commit();
    await world.restart();
    await world.checkAll(61);
    expect(await world.store.readIndexed()).toBeGreaterThan(0);
  });

  test('keep up with the largest batches, so that what is in memory is bounded (P12)', async () => {
    const world = new World();
    let behindMax = 0;
    while (world.size < 300_000) {
      await world.commit('ok', 10_000);
      behindMax = Math.max(behindMax, world.size - (await world.store.readIndexed()));
    }
    expect(behindMax).toBeLessThan(60_000);
    await world.checkAll(4_999);
  });

  test('of records that were made together lie together, whatever their random bits', () => {
    const random = (fill: number) => new Uint8Array(10).fill(fill);
    const at = 1_700_000_000_000;
    const [a, b, later] = [
      recordPrefix(uuidv7(at, random(1))),
      recordPrefix(uuidv7(at + 1, random(200))),
      recordPrefix(uuidv7(at + 86_400_000, random(1))),
    ];
    expect(Math.floor(a / 2 ** 26)).toBe(Math.floor(b / 2 ** 26));
    expect(Math.floor(later / 2 ** 26)).toBeGreaterThan(Math.floor(a / 2 ** 26));
    expect(a).not.toBe(b);
    for (const prefix of [a, b, later]) expect(Number.isSafeInteger(prefix)).toBe(true);
  });
});
