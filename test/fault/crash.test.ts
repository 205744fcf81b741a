/**
 * A whole instance is killed at random moments under load and started again (P1, P2, P3, P7).
 *
 * `STELE_KILLS` says how often (50 unless given), `STELE_SEED` makes the moments come again: the choices
 * do, the machine's own timing does not.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Gate } from './load.ts';
import type { Place } from './process.ts';
import { startProvider, upstreams } from './provider.ts';
import type { Random } from './random.ts';
import { expectAudit, KILLS, newLoad, newPlace, newRandom, underLoad } from './world.ts';

/** One kill in so many comes while the process starts. */
const EARLY = 0.3;

test(
  `log and proxy in one process, killed ${KILLS} times`,
  async () => {
    const random = newRandom();
    const provider = await startProvider(random);
    onTestFinished(() => provider.close());
    const place = newPlace(upstreams(provider));
    await firstRun(place, random);
    const gate = new Gate();
    const load = newLoad(random, place, gate, { place, gate });
    await underLoad(load, provider, async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await pause(gate.isOpen ? random.int(0, 600) : random.int(100, 1_500));
        gate.shut();
        await place.running?.kill();
        const next = place.spawn();
        if (random.chance(EARLY) && kill < KILLS - 1) continue;
        await next.ready;
        await load.ledger.checkNews(place.log('read'));
        gate.open();
      }
    });
    await expectAudit(place);
  },
  60_000 + KILLS * 10_000,
);

/** The first run itself is killed a few times before it may end. */
async function firstRun(place: Place, random: Random): Promise<void> {
  for (let i = 0; i < 4; i++) {
    const starting = place.spawn();
    await pause(random.int(150, 900));
    const { signal, output } = await starting.kill();
    expect(signal, output).toBe('SIGKILL');
  }
  await place.start();
}
