/** When witnesses are asked: as soon as a log has grown, as often as was agreed, and nobody has to ask for it. */
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Config } from '../../server/config.ts';
import type { StagedContent } from '../../server/log/append.ts';
import { HighWater } from '../../server/log/high-water.ts';
import type { Log, LogOptions } from '../../server/log/log.ts';
import { Memories } from '../../server/log/memories.ts';
import { ShownTo } from '../../server/main/shown.ts';
import { Witnesses } from '../../server/main/witnesses.ts';
import type { Asked } from '../../server/outbound.ts';
import { InstanceStore, type Visibility } from '../../server/storage/instance.ts';
import { append, type Gateway, logOptions, startLog } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';
import { SILENCE, WitnessDouble } from '../witness/double.ts';
import { policyFile } from '../witness/place.ts';

/** Work that comes round by a schedule; its turns are the tests' to give. */
const turns: (() => Promise<void>)[] = [];

vi.mock('../../server/main/scheduled.ts', () => ({
  scheduled: (_cron: string, _what: string, work: () => Promise<void>) => {
    turns.push(work);
    return async () => {};
  },
}));

const QUARTER_MS = 900_000;
const HOUR_MS = 3_600_000;

class World {
  readonly double = new WitnessDouble();
  readonly errors: Error[] = [];
  readonly store: InstanceStore;
  readonly shown: ShownTo;
  log!: Log;
  gateway!: Gateway;
  visibility: Visibility = 'proofs';
  witnesses: Witnesses | undefined;
  readonly #config: Config;

  constructor() {
    const folder = temporaryFolder();
    const witnesses: Config['witnesses'] = {
      policy: policyFile(folder, [this.double]),
      logs: ['*'],
      fail: 'open',
      perDay: 96,
      rates: new Map(),
      timeoutMs: 1_000,
      of: [],
    };
    this.#config = { witnesses, anchor: {} } as unknown as Config;
    this.store = new InstanceStore(join(folder, 'stele.db'));
    this.shown = new ShownTo(witnesses);
  }

  static async start(): Promise<World> {
    const world = new World();
    const stateFolder = temporaryFolder();
    const options: LogOptions<StagedContent> = logOptions({
      stateFolder,
      memories: new Memories([new HighWater(stateFolder)]),
      clock: { now: Date.now },
      witnesses: (log) => world.shown.of(log),
    });
    const { log, gateway } = await startLog(options);
    Object.assign(world, { log, gateway });
    const keys = log.ownKeys().map(({ key }) => key);
    world.double.knows(log.origin, keys);
    onTestFinished(async () => {
      await world.witnesses?.close();
      await log.close();
      world.store.close();
    });
    return world;
  }

  run(): void {
    const row = { name: 'test', origin: this.log.origin, visibility: this.visibility };
    this.witnesses = new Witnesses({
      config: this.#config,
      version: 'test',
      shown: this.shown,
      store: this.store,
      logs: {
        use: async (_, work) => work(this.log),
        list: () => [row as never],
        listAll: () => [row as never],
        visibilityOf: (name) => (name === 'test' ? this.visibility : undefined),
      },
      outbound: { ask: (url: string, asked: Asked) => this.double.ask(url, asked) },
      logger: pino({ level: 'silent' }),
      fatal: (error) => this.errors.push(error),
    });
  }

  async append(): Promise<void> {
    await append(this.log, ...(await this.gateway.many(1)));
  }

  get asked(): number {
    return this.double.asked.length;
  }

  /** Lets so much time go by, and everything happen that happens in it. */
  async wait(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
    // Files and signatures are not part of the time that is made up.
    for (let i = 0; i < 100; i++) await new Promise((next) => setImmediate(next));
  }

  async waitFor(asked: number, withinMs: number): Promise<number> {
    const step = 1_000;
    let waited = 0;
    while (this.asked < asked && waited < withinMs) {
      await this.wait(step);
      waited += step;
    }
    expect(this.asked).toBe(asked);
    return waited;
  }
}

let world: World;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  world = await World.start();
});

afterEach(() => {
  vi.useRealTimers();
  expect(world.errors).toEqual([]);
});

describe('a log that is shown', () => {
  test('is asked about at the start', async () => {
    world.run();
    await world.waitFor(1, 60_000);
    expect(world.log.witnessed?.size).toBe(2);
  });

  test('and that grows is asked about again a quarter of an hour later, and once', async () => {
    world.run();
    await world.waitFor(1, 60_000);
    for (let i = 0; i < 5; i++) {
      await world.append();
      await world.wait(2_000);
    }
    expect(world.asked).toBe(1);
    const waited = await world.waitFor(2, 2 * QUARTER_MS);
    expect(waited).toBeGreaterThan(QUARTER_MS - 30_000);
    expect(waited).toBeLessThan(QUARTER_MS * 1.5);
    expect(world.log.witnessed?.size).toBe(7);
    await world.wait(4 * QUARTER_MS);
    expect(world.asked).toBe(2);
  });

  test('and grows after a while is asked about at once', async () => {
    world.run();
    await world.waitFor(1, 60_000);
    await world.wait(2 * QUARTER_MS);
    await world.append();
    await world.waitFor(2, 300_000);
    expect(world.log.witnessed?.size).toBe(3);
  });

  test('and does not grow is asked about once a day', async () => {
    world.run();
    await world.waitFor(1, 60_000);
    for (const asked of [1, 2, 3]) {
      for (let hours = 0; hours < 24; hours++) {
        await world.wait(HOUR_MS);
        await turns.at(-1)?.();
      }
      expect(world.asked).toBe(asked);
      await world.wait(60_000);
    }
  });

  test('is asked about again by itself where there was no answer', async () => {
    world.double.plan.push(
      () => SILENCE,
      () => ({ status: 503 }),
    );
    world.run();
    await world.waitFor(3, 600_000);
    expect(world.log.witnessed?.size).toBe(2);
  });

  test('goes on after a restart with what was on its way', async () => {
    world.double.plan.push(() => ({ status: 503, headers: { 'retry-after': '600' } }));
    world.run();
    await world.waitFor(1, 60_000);
    await world.witnesses?.close();
    world.run();
    expect(await world.waitFor(2, HOUR_MS)).toBeGreaterThan(400_000);
    expect(world.log.witnessed?.size).toBe(2);
  });

  test('is asked about when somebody says so, whenever that is', async () => {
    world.run();
    await world.waitFor(1, 60_000);
    await world.append();
    await world.witnesses?.now('test');
    expect(world.asked).toBe(2);
    expect(world.log.witnessed?.size).toBe(3);
  });
});

describe('nobody is asked', () => {
  test('about a log that is private, and whoever asks for it is told', async () => {
    world.visibility = 'private';
    world.run();
    await world.wait(QUARTER_MS);
    await world.append();
    await world.wait(QUARTER_MS);
    expect(world.asked).toBe(0);
    await expect(world.witnesses?.now('test')).rejects.toThrow('is shown to no witness');
  });

  test('after the end', async () => {
    world.run();
    await world.waitFor(1, 60_000);
    await world.witnesses?.close();
    await world.append();
    await world.wait(2 * QUARTER_MS);
    expect(world.asked).toBe(1);
  });
});
