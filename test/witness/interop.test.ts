/**
 * The same asking against real witnesses, where some are running: docs/interop.md says how they were set up and
 * what was seen. Without them these tests are skipped, and say so.
 *
 *     STELE_WITNESSES_INTEROP   a policy file with their keys and addresses; each has to know the log
 *                               `stele.example/interop`, whose key the tests print
 *
 * The log is made up, and always the same one: a witness that has seen more of it in an earlier run is asked to go
 * on from there.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import type { SteleError } from '../../server/core/errors.ts';
import { parsePolicy } from '../../server/core/policy.ts';
import type { Cosignature } from '../../server/core/tlog-witness.ts';
import { type TreeSize, treeSize } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { Outbound } from '../../server/outbound.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import type { Head } from '../../server/storage/store.ts';
import { Asking, type WitnessedLog } from '../../server/witness/asking.ts';
import { recall } from '../../server/witness/served.ts';
import { type Witness, witnessesOf } from '../../server/witness/witness.ts';
import { temporaryFolder } from '../temporary.ts';
import { OtherLog } from './other-log.ts';

const ORIGIN = 'stele.example/interop';
const LEAVES = 8_192;
const leaves = Array.from({ length: LEAVES }, (_, i) => `leaf ${i}`);
const whole = new OtherLog(ORIGIN, 7, leaves);

const { STELE_WITNESSES_INTEROP: file } = process.env;
const real = file === undefined ? [] : witnessesOf(parsePolicy(readFileSync(file)), 'policy');

/** A log of the first so many leaves, and what witnesses said of it. */
class Shown implements WitnessedLog {
  readonly origin = ORIGIN;
  readonly cosignatures: Cosignature[] = [];
  stopped: SteleError | undefined;
  size: TreeSize;
  readonly #log: OtherLog;

  constructor(size: number, log = whole) {
    this.size = treeSize(size);
    this.#log = log;
  }

  head(): Head {
    const { size } = this;
    return { size, root: this.#log.root(size), timeMs: 0, checkpoint: this.#log.note(size) };
  }

  async headToShow(): Promise<Head> {
    return this.head();
  }

  async headAt(size: TreeSize) {
    return { root: this.#log.root(size) };
  }

  async consistency(from: TreeSize, to: TreeSize) {
    return this.#log.proof(from, to);
  }

  ownKeys() {
    return [this.#log.key];
  }

  async cosigned(_: Head, cosignatures: readonly Cosignature[]): Promise<void> {
    this.cosignatures.push(...cosignatures);
  }

  stop(reason: SteleError): void {
    this.stopped = reason;
  }
}

class Asked {
  readonly store = new InstanceStore(join(temporaryFolder(), 'stele.db'));
  readonly log: Shown;
  readonly #asking: Asking;

  constructor(witness: Witness, log: Shown) {
    this.log = log;
    onTestFinished(() => this.store.close());
    this.#asking = new Asking({
      rows: this.store.witnesses,
      witnesses: [witness],
      shownTo: () => new Set([witness.name]),
      intervalMs: () => 0,
      use: async (_, work) => work(log),
      outbound: new Outbound('0.0.0-test'),
      timeoutMs: 30_000,
      check: checkSignatureNative,
      now: Date.now,
      random: () => 1,
      alarm: () => {},
    });
  }

  /** Shows the log, and gives what became of that. */
  async show(): Promise<{ readonly state: string; readonly reason: string | null }> {
    await this.#asking.plan('interop', { now: true });
    await this.#asking.work();
    const [row] = this.store.witnesses.list('interop', { limit: 1 });
    return { state: String(row?.state), reason: row?.reason ?? null };
  }
}

/** The size that it has: what it tells whoever begins at another one. */
async function sizeOf(witness: Witness): Promise<number> {
  const reach = {
    outbound: new Outbound('0.0.0-test'),
    timeoutMs: 30_000,
    signal: new AbortController().signal,
  };
  const last = { size: 1, root: whole.root(1), note: whole.note(1) };
  const known = await recall(witness, ORIGIN, last, reach, { now: Date.now() });
  return known?.size ?? 0;
}

const against = real.length > 0 ? real : [undefined];

describe.each(against)('a real witness', (witness) => {
  function told(name: string, run: (witness: Witness) => Promise<void>): void {
    test(`${witness?.name ?? 'none'}: ${name}`, async ({ skip }) => {
      if (witness !== undefined) return await run(witness);
      return skip(
        `STELE_WITNESSES_INTEROP names no policy; the log's key is ${whole.key.key.text}`,
      );
    });
  }

  told('cosigns a head, whatever it has seen of the log before', async (one) => {
    const before = await sizeOf(one);
    const asked = new Asked(one, new Shown(before + 3));
    expect(await asked.show()).toEqual({ state: 'cosigned', reason: null });
    expect(asked.log.cosignatures.map(({ key }) => key.text)).toEqual(
      one.keys.map(({ text }) => text),
    );
    for (const { time } of asked.log.cosignatures) {
      expect(Math.abs(time - Date.now() / 1_000)).toBeLessThan(60);
    }
    expect(await sizeOf(one)).toBe(before + 3);
  });

  told(
    'goes on with each head that comes after, and gives the same one a newer time',
    async (one) => {
      const asked = new Asked(one, new Shown((await sizeOf(one)) + 1));
      for (const more of [0, 1, 2, 5, 64, 0]) {
        asked.log.size = treeSize(asked.log.size + more);
        expect((await asked.show()).state).toBe('cosigned');
      }
      expect(asked.store.witnesses.progress('interop')).toMatchObject([{ failed: 0, missed: 0 }]);
    },
  );

  told('says how large the log was, whether it serves checkpoints or not', async (one) => {
    const asked = new Asked(one, new Shown((await sizeOf(one)) + 2));
    await asked.show();
    expect(await sizeOf(one)).toBe(asked.log.size);
  });

  told('has a log of another history stopped', async (one) => {
    const before = await sizeOf(one);
    for (const size of [before + 4, before]) {
      const fork = new Asked(one, new Shown(size, whole.forkedAt(before - 1)));
      expect((await fork.show()).state).toBe('disputed');
      expect(fork.log.stopped).toMatchObject({ code: 'split_view' });
    }
    expect(await sizeOf(one)).toBe(before);
  });

  told('has a log stopped whose data is older than what was shown', async (one) => {
    const before = await sizeOf(one);
    const old = new Asked(one, new Shown(before - 1));
    expect((await old.show()).state).toBe('disputed');
    expect(old.log.stopped?.message).toContain(`has ${before} entries`);
  });

  told('does not take a log that it does not know', async (one) => {
    const stranger = new OtherLog('stranger.example/log', 9);
    const log = new Shown(3, stranger);
    Object.assign(log, { origin: stranger.origin });
    const { state, reason } = await new Asked(one, log).show();
    expect(state).toBe('sent');
    // Omniwitness answers 500 where it keeps its state in a database.
    expect(reason).toMatch(/does not take heads of this log|it answered 500/);
  });
});

test('the policy of these tests would be one', () => {
  const policy = parsePolicy(utf8(`log ${whole.key.key.text}\nquorum none\n`));
  expect(policy.logs).toHaveLength(1);
});
