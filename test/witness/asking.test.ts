/** Heads are shown to witnesses, whatever happens on the way (P9), and nothing counts that was not verified (P6). */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { formatNote, parseNote } from '../../server/core/note.ts';
import { parsePolicy } from '../../server/core/policy.ts';
import { formatCosignatures, parseAddCheckpoint } from '../../server/core/tlog-witness.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import type { StagedContent } from '../../server/log/append.ts';
import { cosignaturesOn, type LogWitnesses } from '../../server/log/cosigned.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Log, type LogOptions } from '../../server/log/log.ts';
import { Memories } from '../../server/log/memories.ts';
import type { Asked } from '../../server/outbound.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { Asking, type AskingPorts } from '../../server/witness/asking.ts';
import { witnessesOf } from '../../server/witness/witness.ts';
import { witnessKey } from '../core/note-keys.ts';
import { append, type Gateway, logOptions, startLog, TestClock } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';
import { SILENCE, WitnessDouble } from './double.ts';

const NAME = 'test';
const DAY_MS = 86_400_000;

/** A real log, doubles for its witnesses, and an instance database that outlives a process. */
class World {
  readonly clock = new TestClock();
  readonly alarms: string[] = [];
  readonly folder = temporaryFolder();
  readonly #store = new MemoryStore();
  readonly doubles: readonly WitnessDouble[];
  witnesses!: LogWitnesses;
  instance: InstanceStore;
  log!: Log;
  gateway!: Gateway;
  /** Milliseconds between two questions. */
  interval = 900_000;
  /** Of single witnesses, where theirs are others. */
  readonly intervals = new Map<string, number>();
  shown = true;

  constructor(doubles: readonly WitnessDouble[]) {
    this.doubles = doubles;
    this.instance = new InstanceStore(join(this.folder, 'stele.db'));
  }

  static async start(names: readonly string[] = ['w.example']): Promise<World> {
    const clock = { now: () => 0 };
    const doubles = names.map(
      (name, i) => new WitnessDouble({ name, seed: i + 1, mldsa: i === 1, now: () => clock.now() }),
    );
    const world = new World(doubles);
    clock.now = () => world.clock.now();
    const lines = doubles.map((one) => one.policyLines()).join('');
    const policy = parsePolicy(utf8(`${lines}group all all ${names.join(' ')}\nquorum all\n`));
    world.witnesses = { fail: 'open', policy, grown: () => {} };
    const { log, gateway } = await startLog(world.#options());
    world.log = log;
    world.gateway = gateway;
    for (const one of doubles) one.knows(log.origin, world.ownKeys());
    onTestFinished(async () => {
      await world.log.close();
      world.instance.close();
      rmSync(world.folder, { recursive: true, force: true });
    });
    return world;
  }

  #options(): LogOptions<StagedContent> {
    return logOptions({
      store: this.#store,
      clock: this.clock,
      memories: new Memories([new HighWater(this.folder)]),
      stateFolder: this.folder,
      witnesses: () => this.witnesses,
      warn: () => {},
    });
  }

  get double(): WitnessDouble {
    const [first] = this.doubles;
    if (first === undefined) throw new Error('there is no double');
    return first;
  }

  ownKeys() {
    return this.log.ownKeys().map(({ key }) => key);
  }

  ports(more: Partial<AskingPorts> = {}): AskingPorts {
    return {
      rows: this.instance.witnesses,
      witnesses: witnessesOf(this.witnesses.policy, 'policy'),
      shownTo: () => new Set(this.shown ? this.doubles.map(({ name }) => name) : []),
      intervalMs: (witness) => this.intervals.get(witness) ?? this.interval,
      use: async (_, work) => work(this.log),
      outbound: { ask: (url, asked) => this.#ask(url, asked) },
      timeoutMs: 5_000,
      check: checkSignatureNative,
      now: () => this.clock.now(),
      random: () => 1 / 3,
      alarm: (message) => this.alarms.push(message),
      ...more,
    };
  }

  async #ask(url: string, asked: Asked) {
    const double = this.doubles.find(({ name }) => name === new URL(url).host);
    if (double === undefined) throw new Error(`nobody is at ${url}`);
    return double.ask(url, asked);
  }

  asking(more: Partial<AskingPorts> = {}): Asking {
    return new Asking(this.ports(more));
  }

  /** Plans and works, as a server does that has just been started. */
  async ask(asking = this.asking()): Promise<void> {
    await asking.plan(NAME);
    await asking.work();
  }

  async append(count = 1): Promise<void> {
    await append(this.log, ...(await this.gateway.many(count)));
  }

  /** As the next start of the process finds it. */
  async reopen(): Promise<void> {
    this.instance.close();
    this.instance = new InstanceStore(join(this.folder, 'stele.db'));
    await this.log.close();
    this.log = await Log.open(this.#options());
  }

  states(): string[] {
    return this.instance.witnesses
      .list(NAME, { limit: 100 })
      .map(({ witness, size, state }) => `${witness} ${size} ${state}`);
  }

  /** Whose lines the published head has. */
  cosigners(): string[] {
    return cosignaturesOn(this.log.published().checkpoint, this.ownKeys()).map(({ name }) => name);
  }

  progress() {
    const [first] = this.instance.witnesses.progress(NAME);
    return first;
  }

  /** What is due next. */
  dueMs(): number {
    return this.instance.witnesses.nextDueMs() ?? Number.NaN;
  }

  /** What the double was asked, as `old` and size. */
  questions(double = this.double): string[] {
    return double.asked.map((body) => {
      const { old, checkpoint } = parseAddCheckpoint(body);
      return `${old} → ${parseNote(checkpoint).text.split('\n')[1]}`;
    });
  }
}

/** Lets everything that is ready go on until it holds. */
async function goOnUntil(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 10_000 && !holds(); i++) await new Promise((next) => setImmediate(next));
}

let world: World;

beforeEach(async () => {
  world = await World.start();
});

describe('a head', () => {
  test('is shown once, and carries the line that came for it', async () => {
    await world.ask();
    expect(world.states()).toEqual(['w.example 2 cosigned']);
    expect(world.cosigners()).toEqual(['w.example']);
    expect(world.log.witnessed?.size).toBe(2);
    expect(world.progress()).toMatchObject({ size: 2, asked: 1, failed: 0, missed: 0 });
    await world.ask();
    expect(world.questions()).toEqual(['0 → 2']);
  });

  test('that is newer is shown with the proof that it continues the one before', async () => {
    const asking = world.asking();
    await world.ask(asking);
    await world.append(5);
    world.clock.ms += world.interval;
    await world.ask(asking);
    expect(world.questions()).toEqual(['0 → 2', '2 → 7']);
    expect(world.cosigners()).toEqual(['w.example']);
  });

  test('is shown no more often than was agreed', async () => {
    const asking = world.asking();
    await world.ask(asking);
    await world.append();
    world.clock.ms += world.interval - 1;
    const again = world.clock.ms + 1;
    expect(await asking.plan(NAME)).toEqual({ nextMs: again, leftMs: again });
    await asking.work();
    expect(world.questions()).toHaveLength(1);
    world.clock.ms += 1;
    await world.ask(asking);
    expect(world.questions()).toHaveLength(2);
  });

  test('is shown at once to all when somebody asks for it', async () => {
    const asking = world.asking();
    await world.ask(asking);
    await world.append();
    await asking.plan(NAME, { now: true });
    await asking.work();
    expect(world.questions()).toEqual(['0 → 2', '2 → 3']);
    // The same head again gets a newer time.
    world.clock.ms += 5_000;
    await asking.plan(NAME, { now: true });
    await asking.work();
    expect(world.questions().at(-1)).toBe('3 → 3');
    expect(world.progress()?.timeMs).toBe(world.clock.ms);
    expect(world.states()).toEqual(['w.example 3 cosigned', 'w.example 2 cosigned']);
  });

  test('of a log that does not grow is shown again after a day', async () => {
    const asking = world.asking();
    await world.ask(asking);
    world.clock.ms += DAY_MS - 1_000;
    await world.ask(asking);
    expect(world.questions()).toHaveLength(1);
    world.clock.ms += 1_000;
    await world.ask(asking);
    expect(world.questions()).toEqual(['0 → 2', '2 → 2']);
    expect(world.progress()?.timeMs).toBe(world.clock.ms);
  });

  test('has the log’s own lines alone when it is shown, also once it is cosigned', async () => {
    const asking = world.asking();
    await world.ask(asking);
    await asking.plan(NAME, { now: true });
    await asking.work();
    for (const body of world.double.asked) {
      const { signatures } = parseNote(parseAddCheckpoint(body).checkpoint);
      expect(signatures.map(({ name }) => name)).toEqual([world.log.origin, world.log.origin]);
    }
  });

  test('of a log that is stopped is shown to nobody', async () => {
    world.log.stop(new SteleError('split_view', 'two histories'));
    await world.ask();
    expect(world.states()).toEqual([]);
    expect(world.double.asked).toEqual([]);
  });

  test('of a log that is no longer shown is given up', async () => {
    const asking = world.asking();
    world.double.plan.push(() => SILENCE);
    await world.ask(asking);
    world.shown = false;
    world.clock.ms = world.dueMs();
    await asking.work();
    expect(world.states()).toEqual(['w.example 2 superseded']);
    expect(world.double.asked).toHaveLength(1);
  });
});

describe('several witnesses', () => {
  test('are asked at once, and one that is away keeps nobody waiting', async () => {
    world = await World.start(['a.example', 'b.example', 'c.example']);
    const [first, , third] = world.doubles;
    const gone = Promise.withResolvers<typeof SILENCE>();
    first?.plan.push(() => gone.promise);
    const asking = world.asking();
    await asking.plan(NAME);
    const working = asking.work();
    await goOnUntil(() => world.cosigners().length === 3);
    // One of them answers with both of its keys.
    expect(world.cosigners().toSorted()).toEqual(['b.example', 'b.example', 'c.example']);
    expect(world.log.isQuorumMet(world.log.published().checkpoint)).toBe(false);
    expect(third?.sizeOf(world.log.origin)).toBe(2);
    await world.append(40);
    expect(world.log.head().size).toBe(42);
    gone.resolve(SILENCE);
    await working;
    world.clock.ms = world.dueMs();
    await asking.work();
    expect(world.log.witnessed?.size).toBe(2);
  });
});

describe('witnesses that are asked at other times', () => {
  test('are shown the same head as the others, as soon as both may be asked', async () => {
    world = await World.start(['a.example', 'b.example']);
    const [often, seldom] = world.doubles;
    world.intervals.set('b.example', 2.5 * world.interval);
    const asking = world.asking();
    await world.ask(asking);
    for (let i = 0; i < 6; i++) {
      await world.append();
      world.clock.ms += world.interval / 2;
      await world.ask(asking);
    }
    expect(world.questions(often)).toEqual(['0 → 2', '2 → 4', '4 → 6', '6 → 8']);
    // Its time came between two of the others'.
    expect(world.questions(seldom)).toEqual(['0 → 2', '2 → 8']);
    expect(world.log.witnessed?.size).toBe(8);
  });

  test('are caught up with also where the log does not grow', async () => {
    world = await World.start(['a.example', 'b.example']);
    const [often, seldom] = world.doubles;
    world.intervals.set('b.example', 2.5 * world.interval);
    const asking = world.asking();
    await world.ask(asking);
    await world.append();
    const begunMs = world.clock.ms;
    world.clock.ms += world.interval;
    const { leftMs } = await asking.plan(NAME);
    await asking.work();
    expect((leftMs ?? 0) - begunMs).toBe(2.5 * world.interval);
    world.clock.ms = leftMs ?? 0;
    await world.ask(asking);
    expect(world.questions(often)).toEqual(['0 → 2', '2 → 3']);
    expect(world.questions(seldom)).toEqual(['0 → 2', '2 → 3']);
    expect(world.log.witnessed?.size).toBe(3);
  });
});

describe('an answer that does not come', () => {
  test('is asked for again after a wait that grows, and no other row is made', async () => {
    const asking = world.asking();
    world.double.plan.push(
      () => SILENCE,
      () => ({ status: 503 }),
      () => ({ status: 500 }),
    );
    await asking.plan(NAME);
    const waits: number[] = [];
    for (let i = 0; i < 3; i++) {
      await asking.work();
      waits.push(world.dueMs() - world.clock.ms);
      world.clock.ms = world.dueMs();
    }
    await asking.work();
    expect(waits).toEqual([6_667, 13_333, 26_667]);
    expect(world.states()).toEqual(['w.example 2 cosigned']);
    expect(world.progress()).toMatchObject({ asked: 4, failed: 3 });
  });

  test.each([
    ['429', 429],
    ['503', 503],
  ])('is waited for as long as it says: %s', async (_, status) => {
    world.double.plan.push(() => ({ status, headers: { 'retry-after': '600' } }));
    await world.ask();
    expect(world.dueMs() - world.clock.ms).toBe(600_000);
    expect(world.instance.witnesses.list(NAME, { limit: 1 })[0]?.reason).toContain(`${status}`);
  });

  test('was lost after it was given: the same size is told, and asked for again', async () => {
    const asking = world.asking();
    world.double.plan.push((honest) => {
      honest();
      return SILENCE;
    });
    await world.ask(asking);
    expect(world.double.sizeOf(world.log.origin)).toBe(2);
    world.clock.ms = world.dueMs();
    await asking.work();
    expect(world.questions()).toEqual(['0 → 2', '0 → 2', '2 → 2']);
    expect(world.cosigners()).toEqual(['w.example']);
  });

  test('stays away for long: the newest head alone is asked for, and the hole shows', async () => {
    const asking = world.asking();
    for (let i = 0; i < 5; i++) {
      world.double.plan.push(() => ({ status: 503 }));
      await asking.plan(NAME, { now: true });
      await asking.work();
      await world.append();
      world.clock.ms = Math.max(world.clock.ms, world.dueMs());
    }
    expect(world.progress()).toMatchObject({ size: null, pendingSize: 6, missed: 4, failed: 5 });
    await asking.plan(NAME, { now: true });
    await asking.work();
    expect(world.states()).toEqual([
      'w.example 7 cosigned',
      ...[6, 5, 4, 3, 2].map((size) => `w.example ${size} superseded`),
    ]);
    expect(world.progress()).toMatchObject({ size: 7, missed: 0 });
  });

  test('is not asked for more often because the log has grown', async () => {
    const asking = world.asking();
    world.double.plan.push(() => ({ status: 429, headers: { 'retry-after': '3600' } }));
    await world.ask(asking);
    const dueMs = world.dueMs();
    await world.append();
    world.clock.ms += world.interval;
    await world.ask(asking);
    expect(world.dueMs()).toBe(dueMs);
    expect(world.double.asked).toHaveLength(1);
  });

  test.each([
    [403, 1_800_000],
    [404, 1_800_000],
  ])('as the log is not known there: %i', async (status, atLeast) => {
    world.double.plan.push(() => ({ status, body: 'who are you?' }));
    await world.ask();
    expect(world.dueMs() - world.clock.ms).toBeGreaterThanOrEqual(atLeast);
    expect(world.alarms.join()).toContain('does not take heads of this log');
    expect(world.alarms.join()).toContain('who are you?');
  });

  test.each([400, 405, 301])('is refused for good: %i', async (status) => {
    const asking = world.asking();
    world.double.plan.push(() => ({ status }));
    await world.ask(asking);
    expect(world.states()).toEqual(['w.example 2 refused']);
    await world.append();
    world.clock.ms += world.interval;
    await world.ask(asking);
    expect(world.states()[0]).toBe('w.example 3 cosigned');
  });
});

describe('a witness with another size', () => {
  test('that is smaller is shown the proof from there', async () => {
    const asking = world.asking();
    await world.ask(asking);
    const early = world.double.kept.get(world.log.origin);
    await world.append(6);
    world.clock.ms += world.interval;
    await world.ask(asking);
    if (early !== undefined) world.double.kept.set(world.log.origin, early);
    await world.append(3);
    world.clock.ms += world.interval;
    await world.ask(asking);
    expect(world.questions().slice(2)).toEqual(['8 → 11', '2 → 11']);
    expect(world.cosigners()).toEqual(['w.example']);
  });

  test('that was shown the log by somebody else is shown the proof from there', async () => {
    await world.append(3);
    const published = await world.log.headToShow();
    world.double.keep(world.log.origin, published.checkpoint);
    await world.append(2);
    await world.ask();
    expect(world.questions()).toEqual(['0 → 7', '5 → 7']);
    expect(world.cosigners()).toEqual(['w.example']);
  });

  test.each<[string, string]>([
    ['no number', 'many\n'],
    ['no line feed', '1'],
    ['the size that it was told', '0\n'],
  ])('that says %s is asked again later', async (_, body) => {
    world.double.plan.push(() => ({ status: 409, type: 'text/x.tlog.size', body }));
    await world.ask();
    expect(world.states()).toEqual(['w.example 2 sent']);
    expect(world.log.stopped).toBeUndefined();
  });

  test('that changes it each time is asked again later', async () => {
    const asking = world.asking();
    await world.append(8);
    const says = (size: number) => () => ({
      status: 409,
      type: 'text/x.tlog.size; charset=utf-8',
      body: `${size}\n`,
    });
    world.double.plan.push(says(3), says(4), says(5));
    await world.ask(asking);
    expect(world.questions()).toEqual(['0 → 10', '3 → 10', '4 → 10']);
    expect(world.log.stopped).toBeUndefined();
    world.clock.ms = world.dueMs();
    await asking.work();
    expect(world.states()).toEqual(['w.example 10 cosigned']);
  });
});

describe('what comes is believed only as far as it verifies', () => {
  const other = witnessKey('other.example', 9);

  test.each<[string, (text: string) => string]>([
    ['nothing', () => ''],
    ['a page', () => '<html>'],
    ['a line by somebody else', (text) => formatCosignatures([other.line(text)])],
    [
      'its line under another text',
      () => formatCosignatures([world.double.keys()[0]!.line('log.example\n1\nAAAA\n')]),
    ],
    [
      'a time of the day after tomorrow',
      (text) => {
        const late = Math.floor(world.clock.ms / 1_000) + 2 * 86_400;
        return formatCosignatures([world.double.keys(late)[0]!.line(text)]);
      },
    ],
    [
      'a time of last week',
      (text) => {
        const early = Math.floor(world.clock.ms / 1_000) - 7 * 86_400;
        return formatCosignatures([world.double.keys(early)[0]!.line(text)]);
      },
    ],
    ['a time of 0', (text) => formatCosignatures([world.double.keys(0)[0]!.line(text)])],
    [
      'more than lines',
      (text) => `more\n\n${formatCosignatures([world.double.keys()[0]!.line(text)])}`,
    ],
  ])('%s', async (_, answer) => {
    const asking = world.asking();
    world.double.plan.push((_honest, body) => ({
      status: 200,
      body: answer(parseNote(parseAddCheckpoint(body).checkpoint).text),
    }));
    await world.ask(asking);
    expect(world.states()).toEqual(['w.example 2 sent']);
    expect(world.cosigners()).toEqual([]);
    expect(world.log.witnessed).toBeUndefined();
    expect(world.alarms.join()).toContain('what does not verify');
    // The next answer may be a good one.
    world.clock.ms = world.dueMs();
    await asking.work();
    expect(world.cosigners()).toEqual(['w.example']);
  });

  test('lines of others beside its own are left out', async () => {
    world.double.plan.push((honest, body) => {
      const { text } = parseNote(parseAddCheckpoint(body).checkpoint);
      const { body: lines = '' } = honest();
      return { status: 200, body: formatCosignatures([other.line(text)]) + String(lines) };
    });
    await world.ask();
    expect(world.cosigners()).toEqual(['w.example']);
  });
});

describe('a witness with another history', () => {
  /** The log as another copy of it went on: appended to apart, and shown to the double. */
  async function otherHistory(size: number, kept = true): Promise<string> {
    const text = `${world.log.origin}\n${size}\n${'B'.repeat(42)}A=\n`;
    const { identity } = world.log.verifierKeys();
    const { keys } = logOptions({ stateFolder: world.folder });
    const key = await keys.open('identity', 1, identity.publicKey!);
    const signature = await key.sign(utf8(text));
    const note = formatNote({
      text,
      signatures: [{ name: identity.name, keyId: identity.keyId, signature }],
    });
    if (kept) world.double.keep(world.log.origin, note);
    return note;
  }

  const evidence = () =>
    world.instance.witnesses
      .evidence(NAME)
      .map((one) => JSON.parse(one.evidence) as Record<string, unknown>);

  test('that is larger than the log ever was stops it, with the head that proves it', async () => {
    const note = await otherHistory(9);
    await world.ask();
    expect(world.log.stopped).toMatchObject({ code: 'split_view' });
    expect(world.log.stopped?.message).toContain('w.example has 9 entries of it');
    expect(world.states()).toEqual(['w.example 2 disputed']);
    const [found] = evidence();
    expect(found).toMatchObject({ witness: 'w.example', proven: true, asked: { size: 2 } });
    expect(String(found?.checkpoint)).toContain(parseNote(utf8(note)).text);
    expect(world.alarms.join()).toContain('the log is stopped');
    await expect(world.log.headToShow()).rejects.toMatchObject({ code: 'split_view' });
  });

  test('of the same length stops it', async () => {
    await otherHistory(2);
    await world.ask();
    expect(world.log.stopped?.message).toContain('has another root at size 2');
    expect(evidence()).toMatchObject([{ proven: true, answered: { status: 422 } }]);
  });

  test('that it had before it was shown this one stops it', async () => {
    await world.append(5);
    await otherHistory(3);
    await world.ask();
    expect(world.questions()).toEqual(['0 → 7', '3 → 7']);
    expect(world.log.stopped?.message).toContain('has another root at size 3');
    expect(evidence()).toMatchObject([{ proven: true }]);
  });

  test('stops it also where the witness serves nothing that proves it', async () => {
    world.double.serves = false;
    await otherHistory(9);
    await world.ask();
    expect(world.log.stopped).toMatchObject({ code: 'split_view' });
    expect(evidence()).toMatchObject([{ proven: false, answered: { status: 409 } }]);
    expect(evidence()[0]).not.toHaveProperty('checkpoint');
  });

  test('stops it where the answer is a 409 without a size, as some give for another root', async () => {
    await world.append(5);
    await otherHistory(7);
    world.double.serves = false;
    world.double.plan.push(
      (honest) => honest(),
      () => ({ status: 409 }),
    );
    await world.ask();
    expect(world.questions()).toEqual(['0 → 7', '7 → 7']);
    expect(world.log.stopped?.message).toContain('has another root at size 7');
  });

  test('is asked nothing more about the log', async () => {
    const asking = world.asking();
    await otherHistory(9);
    await world.ask(asking);
    const { length } = world.double.asked;
    world.clock.ms += DAY_MS;
    await world.ask(asking);
    await asking.plan(NAME, { now: true });
    await asking.work();
    expect(world.double.asked).toHaveLength(length);
  });

  test.each([422, 409])('stops nothing by a %i where it has cosigned this one', async (status) => {
    const asking = world.asking();
    await world.ask(asking);
    world.double.serves = false;
    await world.append(2);
    world.clock.ms += world.interval;
    world.double.plan.push(() => ({ status }));
    await world.ask(asking);
    expect(world.log.stopped).toBeUndefined();
    expect(world.states()[0]).toBe('w.example 4 refused');
    expect(world.alarms.join()).toContain('has cosigned as the log has it');
  });

  test('stops nothing by a 422 where what it serves is this one', async () => {
    await world.append(2);
    const { checkpoint } = await world.log.headToShow();
    world.double.keep(world.log.origin, checkpoint);
    await world.append(2);
    world.double.plan.push(
      (honest) => honest(),
      () => ({ status: 422 }),
    );
    await world.ask();
    expect(world.log.stopped).toBeUndefined();
    expect(world.states()).toEqual(['w.example 6 refused']);
  });

  test('proves nothing by a head that the log never signed', async () => {
    await world.append(5);
    const text = `${world.log.origin}\n3\n${'B'.repeat(42)}A=\n`;
    const stranger = witnessKey(world.log.origin, 77);
    world.double.kept.set(world.log.origin, {
      checkpoint: { origin: world.log.origin, size: 3, root: new Uint8Array(32) } as never,
      note: formatNote({
        text,
        signatures: [stranger.line(text), world.double.keys()[0]!.line(text)],
      }),
    });
    await world.ask();
    // It says so all the same, and where the log cannot know, it does not sign.
    expect(world.log.stopped).toMatchObject({ code: 'split_view' });
    expect(evidence()).toMatchObject([{ proven: false }]);
  });
});

describe('a process that dies', () => {
  /** Each write of the state machine, and each thing that it does outside: it dies before, or after. */
  const STEPS = ['plan', 'sent', 'attempt', 'ask', 'received', 'keep', 'cosigned'] as const;
  const MOMENTS = STEPS.flatMap((step) => [`before ${step}`, `after ${step}`]);

  class Death extends Error {}

  /** Runs until the moment comes; everything that is tried after it comes to nothing. */
  async function dieAt(moment: string): Promise<boolean> {
    let isDead = false;
    const at = (now: string) => {
      isDead ||= moment === now;
      if (isDead) throw new Death(moment);
    };
    const around = async <T>(step: string, work: () => Promise<T>): Promise<T> => {
      at(`before ${step}`);
      const done = await work();
      at(`after ${step}`);
      return done;
    };
    const { rows } = world.ports();
    const watched = new Proxy(rows, {
      get(of, name: keyof typeof rows) {
        const value = of[name] as unknown;
        if (typeof value !== 'function') return value;
        return (...given: unknown[]) => {
          const step = stepOf(name, given);
          at(`before ${step}`);
          const said = (value as (...all: unknown[]) => unknown).apply(of, given);
          at(`after ${step}`);
          return said;
        };
      },
    });
    const { outbound, use } = world.ports();
    const asking = world.asking({
      rows: watched,
      outbound: { ask: (url, asked) => around('ask', () => outbound.ask(url, asked)) },
      use: (name, work) =>
        use(name, (log) =>
          work(
            new Proxy(log, {
              get(of, member: keyof typeof log) {
                if (member === 'cosigned') {
                  return (...given: Parameters<typeof of.cosigned>) =>
                    around('keep', () => of.cosigned(...given));
                }
                const value = of[member] as unknown;
                return typeof value === 'function' ? value.bind(of) : value;
              },
            }),
          ),
        ),
    });
    try {
      await asking.plan(NAME);
      await asking.work();
    } catch (error) {
      if (!(error instanceof Death)) throw error;
    }
    return isDead;
  }

  function stepOf(name: string, given: readonly unknown[]): (typeof STEPS)[number] | undefined {
    if (name === 'plan') return 'plan';
    if (name === 'cosigned') return 'cosigned';
    if (name !== 'change') return undefined;
    const { state, attempts } = given[2] as { state?: string; attempts?: number };
    if (attempts !== undefined) return 'attempt';
    return state === 'sent' || state === 'received' ? state : undefined;
  }

  test.each(MOMENTS)('%s goes on, and has the head cosigned once', async (moment) => {
    expect(await dieAt(moment)).toBe(true);
    await world.reopen();
    await world.ask();
    expect(world.states()).toEqual(['w.example 2 cosigned']);
    expect(world.cosigners()).toEqual(['w.example']);
    expect(world.log.witnessed?.size).toBe(2);
    // It is never shown two heads of one size.
    const notes = new Set(
      world.double.asked.map((body) => parseNote(parseAddCheckpoint(body).checkpoint).text),
    );
    expect(notes.size).toBe(1);
    await world.append(3);
    world.clock.ms += world.interval;
    await world.ask();
    expect(world.questions().at(-1)).toBe('2 → 5');
    expect(world.log.witnessed?.size).toBe(5);
  });

  test('as evidence is written has it for the next start', async () => {
    const text = `${world.log.origin}\n9\n${'B'.repeat(42)}A=\n`;
    world.double.kept.set(world.log.origin, {
      checkpoint: { origin: world.log.origin, size: 9, root: new Uint8Array(32) } as never,
      note: formatNote({ text, signatures: [world.double.keys()[0]!.line(text)] }),
    });
    const asking = world.asking({
      use: async (_, work) =>
        work(
          new Proxy(world.log, {
            get(of, member: keyof Log) {
              if (member === 'stop') throw new Death('before it stops');
              const value = of[member] as unknown;
              return typeof value === 'function' ? value.bind(of) : value;
            },
          }),
        ),
    });
    await asking.plan(NAME);
    await expect(asking.work()).rejects.toThrow(Death);
    await world.reopen();
    expect(world.instance.witnesses.evidence(NAME)).toHaveLength(1);
  });
});

test('what is open of a witness that no policy names any more is given up', async () => {
  const rows = world.instance.witnesses;
  world.double.plan.push(() => SILENCE);
  await world.ask();
  rows.giveUp(['w.example'], world.clock.ms);
  expect(world.states()).toEqual(['w.example 2 sent']);
  rows.giveUp(['other.example'], world.clock.ms);
  expect(world.states()).toEqual(['w.example 2 superseded']);
  expect(rows.nextDueMs()).toBeUndefined();
});

test('what was asked is listed from the newest, and rows do not become more for ever', async () => {
  const rows = world.instance.witnesses;
  const head = await world.log.headToShow();
  for (let size = 1; size <= 1_005; size++) {
    rows.plan(NAME, 'w.example', { size, root: head.root, note: 'x', headMs: 0 }, size);
  }
  const [row] = rows.due('w.example', 2_000, 1);
  rows.change(row!.id, 'planned', { state: 'received', answer: utf8('x') }, 2_000);
  rows.cosigned({ ...row!, state: 'received' }, 2_000, 2_000);
  expect(rows.list(NAME, { limit: 2_000 })).toHaveLength(1_000);
  expect(rows.list(NAME, { before: 1_000, limit: 2 }).map(({ size }) => size)).toEqual([999, 998]);
  expect(rows.seen(NAME, 'w.example')).toMatchObject({ size: 1_005, note: 'x', timeMs: 2_000 });
});
