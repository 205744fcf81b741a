import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256, toBase64url, utf8 } from '../../server/core/bytes.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { holesOf, type Link, type Neighbor, Sources } from '../../server/log/sources.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import type { Head } from '../../server/storage/store.ts';
import { batch, head } from '../contract/store.ts';

/** The honest record of a sequence number, or another one that claims it. */
function link(seq: number, variant = 0): Link {
  const digestOf = (s: number, v: number) => sha256(utf8(`record ${s} ${v}`));
  return {
    source: 's',
    seq,
    prev: seq === 0 ? null : toBase64url(digestOf(seq - 1, 0)),
    digest: digestOf(seq, variant),
    keyid: 'k',
    lost: undefined,
  };
}

class World {
  readonly store = new MemoryStore();
  readonly logged: Neighbor[] = [];
  readonly sources = new Sources(this.store, async (index) => this.logged[index]!);
  #head: Head | undefined;

  async commit(links: readonly Link[], outcome: 'ok' | 'failed' = 'ok'): Promise<void> {
    const draft = this.sources.draft();
    const begin = this.logged.length;
    for (const [i, one] of links.entries()) await draft.add(one, leafIndex(begin + i));
    if (outcome === 'failed') return;
    const next = head(begin + links.length);
    const more = { sources: draft.changes(), head: next, indexed: treeSize(0) };
    await this.store.commit(batch(begin, links.length, more, 1), this.#head);
    this.#head = next;
    this.sources.apply(draft);
    this.logged.push(...links);
  }
}

const chain = (owner?: string) => ({ owner, follows: false });

describe('a chain', () => {
  test('in any order, over any batches and restarts, has the holes of a plain set and no fork', async () => {
    const order = fc.uniqueArray(fc.nat(40), { minLength: 1, maxLength: 30 });
    const cuts = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(order, cuts, fc.array(fc.boolean()), async (seqs, sizes, clears) => {
        const world = new World();
        for (let at = 0, i = 0; at < seqs.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          const part = seqs.slice(at, at + size).map((seq) => link(seq));
          await world.commit(part, 'failed');
          await world.commit(part);
          at += size;
          if (clears[i] === true) world.sources.clear();
        }
        const stored = await world.store.readSource('s');
        const seen = new Set(seqs);
        const missing = holesOf(await world.store.readRanges('s', 100)).flatMap((hole) =>
          Array.from({ length: hole.end - hole.begin }, (_, k) => hole.begin + k),
        );
        const top = Math.max(...seqs);
        expect(missing).toEqual(
          Array.from({ length: top }, (_, k) => k).filter((k) => !seen.has(k)),
        );
        expect(stored?.forks).toBe(0);
        expect(await world.sources.tip('s')).toEqual({
          seq: top + 1,
          prev: toBase64url(link(top).digest),
        });
      }),
      { numRuns: 150 },
    );
  });

  test('with one false record has one fork, wherever it stands and in which order it came', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 9 }), fc.boolean(), async (at, late) => {
        const world = new World();
        const honest = Array.from({ length: 10 }, (_, seq) => link(seq));
        const lie = link(at, 1);
        if (late) {
          for (const one of [...honest, lie]) await world.commit([one]);
        } else {
          const rest = honest.filter(({ seq }) => seq !== at);
          for (const one of [...rest, lie]) await world.commit([one]);
        }
        const forks = (await world.store.readSource('s'))?.forks;
        // The last record has no successor that could contradict it.
        expect(forks).toBe(!late && at === 9 ? 0 : 1);
      }),
    );
  });

  test('of another key is refused, and a hand-over changes whose it is', async () => {
    const world = new World();
    await world.commit([link(0)]);
    const stranger = { ...link(1), keyid: 'other' };
    await expect(world.sources.draft().check(stranger, 'flag', chain())).rejects.toMatchObject({
      code: 'forbidden',
    });
    await world.sources.draft().check(stranger, 'flag', chain('other'));
    await expect(
      world.sources.draft().check(link(1), 'flag', chain('other')),
    ).rejects.toMatchObject({
      code: 'forbidden',
    });
  });
});
