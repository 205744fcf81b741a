/** Heads are shown to targets outside, whatever happens on the way (P9), and nothing counts that was not verified (P6). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Anchoring, type AnchoringPorts } from '../../server/anchor/anchoring.ts';
import { type AnchoredHead, Equivocation, TargetError } from '../../server/anchor/target.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { SteleError } from '../../server/core/errors.ts';
import { hash, treeSize } from '../../server/core/units.ts';
import { PROGRESS } from '../../server/storage/anchors.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { makeSigner } from '../log/make.ts';
import { TestTarget } from './test-target.ts';

const signer = makeSigner('ecdsa-p256');

/** A head of the log `log` of this size; its root is made up of both. */
function headOf(log: string, size: number): AnchoredHead {
  const origin = `log.example/logs/${log}`;
  const root = hash(new Uint8Array(32).fill(size % 251));
  const text = utf8(formatCheckpoint({ origin, size: treeSize(size), root }));
  return {
    origin,
    size: treeSize(size),
    root,
    text,
    signature: utf8('sig'),
    key: signer.publicKey,
  };
}

class World {
  readonly path: string;
  readonly sizes = new Map<string, number>();
  readonly alarms: string[] = [];
  now = 1_800_000_000_000;
  store: InstanceStore;

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'stele-anchor-'));
    this.path = join(folder, 'stele.db');
    this.store = new InstanceStore(this.path);
    onTestFinished(() => {
      this.store.close();
      rmSync(folder, { recursive: true, force: true });
    });
  }

  ports(targets: AnchoringPorts['targets'], rows = this.store.anchors): AnchoringPorts {
    return {
      rows,
      targets,
      head: async (log) => {
        const size = this.sizes.get(log);
        return size === undefined ? undefined : headOf(log, size);
      },
      now: () => this.now,
      random: () => 1 / 3,
      alarm: (message) => this.alarms.push(message),
    };
  }

  /** As the next start of the process finds it. */
  reopen(): void {
    this.store.close();
    this.store = new InstanceStore(this.path);
  }

  states(log = 'team') {
    return this.store.anchors
      .list(log, { limit: 100 })
      .map(({ target, size, state }) => `${target} ${size} ${state}`);
  }
}

let world: World;
let target: TestTarget;

beforeEach(() => {
  world = new World();
  target = new TestTarget();
});

const anchoring = (...targets: TestTarget[]) =>
  new Anchoring(world.ports(targets.length === 0 ? [target] : targets));

const retry = (afterS?: number) => () => {
  throw new TargetError('retry', 'busy', { afterS });
};

describe('a head', () => {
  test('is shown once, verified and kept, with what it proves', async () => {
    world.sizes.set('team', 5);
    const own = anchoring();
    expect(await own.plan('team')).toBe(true);
    await own.work();
    expect(world.states()).toEqual(['double 5 published']);
    expect(world.store.anchors.published('team', 'double', 5)).toMatchObject({
      anchor: '{"type":"rekor","size":5}',
      timeMs: 1_005,
      attempts: 1,
    });
    expect(await own.plan('team')).toBe(false);
    await own.work();
    expect(target.asked).toHaveLength(1);
  });

  test('that is newer is shown after it, held to what was remembered', async () => {
    const own = anchoring();
    for (const size of [5, 9]) {
      world.sizes.set('team', size);
      await own.plan('team');
      await own.work();
    }
    expect(target.checked).toEqual([
      [5, undefined],
      [9, '5'],
    ]);
  });

  test('that there is not is not shown', async () => {
    expect(await anchoring().plan('nothing')).toBe(false);
    expect(world.states('nothing')).toEqual([]);
  });

  test('of a log that has grown enough is shown before its time', async () => {
    const own = anchoring();
    world.sizes.set('a', 100).set('b', 99);
    await own.planGrown(world.sizes, 100);
    expect([world.states('a'), world.states('b')]).toEqual([['double 100 planned'], []]);
  });
});

describe('a lost answer', () => {
  test('is asked for again with the same bytes, after a wait that grows', async () => {
    world.sizes.set('team', 5);
    target.plan.push(retry(), retry(), retry());
    const own = anchoring();
    await own.plan('team');
    const waits: number[] = [];
    for (let i = 0; i < 3; i++) {
      await own.work();
      const { dueMs } = world.store.anchors.list('team', { limit: 1 })[0]!;
      waits.push(dueMs - world.now);
      world.now = dueMs;
    }
    await own.work();
    expect(waits).toEqual([20_000, 40_000, 80_000]);
    expect(target.asked).toHaveLength(4);
    expect(target.entries.size).toBe(1);
    expect(world.states()).toEqual(['double 5 published']);
    expect([...own.tallies]).toEqual([['double', { attempts: 4, failures: 3, published: 1 }]]);
  });

  test('is not asked for before the target said', async () => {
    world.sizes.set('team', 5);
    target.plan.push(retry(3_600));
    const own = anchoring();
    await own.plan('team');
    await own.work();
    world.now += 3_599_000;
    await own.work();
    expect(target.asked).toHaveLength(1);
    world.now += 1_000;
    await own.work();
    expect(world.states()).toEqual(['double 5 published']);
  });
});

describe('an outage', () => {
  test('ends with the newest head, and what was given up stays to be seen', async () => {
    const own = anchoring();
    for (const size of [5, 6, 7]) {
      target.plan.push(retry());
      world.sizes.set('team', size);
      await own.plan('team');
      await own.work();
      world.now += 60_000;
    }
    world.sizes.set('team', 8);
    await own.plan('team');
    await own.work();
    expect(world.states()).toEqual([
      'double 8 published',
      'double 7 superseded',
      'double 6 superseded',
      'double 5 superseded',
    ]);
    const [, given] = world.store.anchors.list('team', { limit: 2 });
    expect(given).toMatchObject({ attempts: 1, reason: 'busy' });
  });

  test('shows in how far each target has got, which is found without reading what is behind', async () => {
    const other = new TestTarget('other');
    const own = anchoring(target, other);
    const { anchors } = world.store;
    expect(anchors.progress('team')).toEqual([]);
    for (const size of [5, 6, 7]) {
      if (size > 5) target.plan.push(retry());
      world.sizes.set('team', size);
      world.sizes.set('a-team', size);
      await own.plan('team');
      await own.work();
      world.now += 1_000;
    }
    await own.plan('a-team');
    expect(anchors.progress('team')).toMatchObject([
      { target: 'double', kind: target.kind, size: 5, pendingSize: 7, attempts: 1, missed: 1 },
      { target: 'other', kind: other.kind, size: 7, pendingSize: null, missed: 0 },
    ]);
    expect(anchors.progress('a-team')).toMatchObject([
      { target: 'double', size: null, timeMs: null, pendingSize: 7, missed: 0 },
      { target: 'other', size: null, pendingSize: 7, missed: 0 },
    ]);
    expect(anchors.progress('nobody')).toEqual([]);
    const db = new Database(world.path, { readonly: true });
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${PROGRESS}`).all({ log: 'team' });
    db.close();
    const steps = plan.map((step) => (step as { detail: string }).detail);
    const reads = steps.filter((detail) => /^(SCAN|SEARCH) (?!named)/.test(detail));
    const ofOne = reads.filter((detail) => /rowid=|\(log=\? AND target/.test(detail));
    // The first name is the least of an index.
    expect(reads.length - ofOne.length).toBe(1);
    expect(ofOne.length).toBeGreaterThan(5);
  });

  test('of one target is no matter to another', async () => {
    const other = new TestTarget('other');
    world.sizes.set('team', 5);
    target.plan.push(retry());
    const own = anchoring(target, other);
    await own.plan('team');
    await own.work();
    expect(world.states()).toEqual(['double 5 sent', 'other 5 published']);
    world.sizes.set('team', 6);
    await own.plan('team');
    await own.work();
    expect(world.states()).toEqual([
      'double 6 published',
      'other 6 published',
      'double 5 superseded',
      'other 5 published',
    ]);
  });

  test('does not overtake what is on its way', async () => {
    world.sizes.set('team', 5);
    const asked = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    target.plan.push(async (request) => {
      asked.resolve();
      await answered.promise;
      return target.answer(request);
    });
    const own = anchoring();
    await own.plan('team');
    const working = own.work();
    await asked.promise;
    world.sizes.set('team', 6);
    expect(await own.plan('team')).toBe(false);
    answered.resolve();
    await working;
    expect(world.states()).toEqual(['double 5 published']);
    expect(await own.plan('team')).toBe(true);
  });
});

describe('a target', () => {
  test('that refuses for good is not asked again for that head', async () => {
    world.sizes.set('team', 5);
    target.plan.push(() => {
      throw new TargetError('refused', '400: bad request');
    });
    const own = anchoring();
    await own.plan('team');
    await own.work();
    world.now += 86_400_000;
    await own.work();
    expect(world.states()).toEqual(['double 5 dead']);
    expect(target.asked).toHaveLength(1);
    expect(world.alarms).toEqual([expect.stringContaining('refuses a head for good: 400')]);
  });

  test('that is frozen is asked again after an hour, and somebody hears of it', async () => {
    world.sizes.set('team', 5);
    target.plan.push(() => {
      throw new TargetError('frozen', 'the log is frozen');
    });
    const own = anchoring();
    await own.plan('team');
    await own.work();
    expect(world.alarms).toEqual([expect.stringContaining('takes nothing more')]);
    world.now += 3_600_000;
    await own.work();
    expect(world.states()).toEqual(['double 5 published']);
  });

  test('that answers what does not verify is asked again, and nothing of it counts', async () => {
    world.sizes.set('team', 5);
    target.plan.push(() => utf8('yes to something else'));
    const own = anchoring();
    await own.plan('team');
    await own.work();
    expect(world.states()).toEqual(['double 5 sent']);
    expect(world.store.anchors.list('team', { limit: 1 })[0]?.reason).toContain('not mine');
    expect(world.alarms).toHaveLength(1);
    world.now += 60_000;
    await own.work();
    expect(world.states()).toEqual(['double 5 published']);
  });

  test('that cannot be asked for what a check needs keeps its answer until it can', async () => {
    world.sizes.set('team', 5);
    const check = target.check.bind(target);
    let isAway = true;
    target.check = (...args) => {
      if (isAway) throw new TargetError('retry', 'no proof now');
      return check(...args);
    };
    const own = anchoring();
    await own.plan('team');
    await own.work();
    expect(world.states()).toEqual(['double 5 received']);
    isAway = false;
    world.now += 60_000;
    await own.work();
    expect(target.asked).toHaveLength(1);
    expect(world.states()).toEqual(['double 5 published']);
  });

  test('that has two histories counts no more, and the evidence is kept', async () => {
    world.sizes.set('team', 5);
    target.check = () => {
      throw new Equivocation('sizes 7 and 9 do not fit', ['one note', 'another note'], {
        proof: [],
      });
    };
    const own = anchoring();
    await own.plan('team');
    await own.work();
    expect(world.states()).toEqual(['double 5 suspect']);
    expect(JSON.parse(world.store.anchors.target('double')?.evidence ?? '')).toEqual({
      notes: ['one note', 'another note'],
      proof: [],
    });
    world.sizes.set('team', 6);
    expect(await own.plan('team')).toBe(false);
    await own.work();
    expect(target.asked).toHaveLength(1);
    expect(world.alarms).toEqual([expect.stringContaining('two histories')]);
  });

  test('is shown many logs, each with its own row, and checked one after the other', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `team-${i}`);
    const own = anchoring();
    for (const [i, name] of names.entries()) {
      world.sizes.set(name, i + 1);
      await own.plan(name);
    }
    await own.work();
    for (const name of names)
      expect(world.states(name)).toEqual([expect.stringMatching(/published$/)]);
    // Each check began from what the one before remembered.
    const lasts = target.checked.map(([, last]) => last);
    expect(lasts.slice(1)).toEqual(target.checked.slice(0, -1).map(([size]) => String(size)));
  });
});

class Death extends Error {}

/** Ends the process before or after the `nth` call of any of these. */
function dyingAt<T extends object>(nth: number, when: 'before' | 'after', calls: { n: number }) {
  const wrap = (object: T, names: readonly (keyof T)[]): T =>
    new Proxy(object, {
      get(of, name) {
        const method = Reflect.get(of, name) as unknown;
        if (typeof method !== 'function') return method;
        if (!(names as readonly PropertyKey[]).includes(name)) return method.bind(of);
        return (...args: unknown[]) => {
          const isNow = ++calls.n === nth;
          if (isNow && when === 'before') throw new Death();
          const result = method.apply(of, args) as unknown;
          if (!isNow) return result;
          if (result instanceof Promise) {
            return result.then(() => {
              throw new Death();
            });
          }
          throw new Death();
        };
      },
    });
  return wrap;
}

describe('a process that dies', () => {
  test.each(['before', 'after'] as const)(
    '%s any step goes on with the same bytes, and ends with one entry',
    async (when) => {
      let deaths = 0;
      for (let nth = 1; nth < 40; nth++) {
        const own = new World();
        const double = new TestTarget();
        own.sizes.set('team', 5);
        const calls = { n: 0 };
        const wrapTarget = dyingAt<TestTarget>(nth, when, calls);
        const wrapRows = dyingAt<InstanceStore['anchors']>(nth, when, calls);
        const dying = new Anchoring(
          own.ports(
            [wrapTarget(double, ['request', 'ask', 'check'])],
            wrapRows(own.store.anchors, ['plan', 'change', 'publish']),
          ),
        );
        const died = await dying
          .plan('team')
          .then(() => dying.work())
          .then(
            () => false,
            (error: unknown) => {
              if (error instanceof Death) return true;
              throw error;
            },
          );
        own.reopen();
        const again = new Anchoring(own.ports([double]));
        await again.plan('team');
        await again.work();
        expect(own.states(), `step ${nth}`).toEqual(['double 5 published']);
        // A request that was made and not written down was never sent either.
        expect(double.entries.size, `step ${nth}`).toBe(1);
        if (!died) break;
        deaths++;
      }
      expect(deaths).toBeGreaterThanOrEqual(8);
    },
  );

  test('by its own wish breaks off what is on its way, and counts it as no failure', async () => {
    world.sizes.set('team', 5);
    const asked = Promise.withResolvers<void>();
    const own = new Anchoring(
      world.ports([
        Object.assign(target, {
          ask: (_: Uint8Array, signal: AbortSignal) =>
            new Promise<Uint8Array>((_resolve, reject) => {
              asked.resolve();
              signal.addEventListener('abort', () => reject(new TargetError('retry', 'aborted')));
            }),
        }),
      ]),
    );
    await own.plan('team');
    const working = own.work();
    await asked.promise;
    await own.close();
    await working;
    expect(world.states()).toEqual(['double 5 sent']);
    const [row] = world.store.anchors.due('double', world.now, 1);
    expect(row).toMatchObject({ reason: null });
  });
});

test('a fault of our own is nobody’s retry', async () => {
  world.sizes.set('team', 5);
  target.request = () => {
    throw new TypeError('a bug');
  };
  const own = anchoring();
  await own.plan('team');
  await expect(own.work()).rejects.toThrow('a bug');
});

test('a full disk keeps a row where it is', async () => {
  world.sizes.set('team', 5);
  const own = anchoring();
  await own.plan('team');
  const { anchors } = world.store;
  const publish = anchors.publish.bind(anchors);
  anchors.publish = () => {
    throw new SteleError('storage', 'the disk is full', { retryAfterS: 30 });
  };
  await own.work();
  expect(world.states()).toEqual(['double 5 received']);
  anchors.publish = publish;
  world.now += 60_000;
  await own.work();
  expect(world.states()).toEqual(['double 5 published']);
});
