/**
 * A log and a proxy on a machine of its own, which die one after the other (P1, P2, P3, P7): whichever is
 * left goes on alone, and what it did meanwhile is there when the other is back.
 *
 * `STELE_KILLS` and `STELE_SEED` as in `crash.test.ts`; each is killed an eighth as often.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Gate } from './load.ts';
import { freePort } from './ports.ts';
import { startProvider, upstreams } from './provider.ts';
import { expectAudit, KILLS, newLoad, newPlace, newRandom, underLoad } from './world.ts';

const APART = Math.ceil(KILLS / 8);

test(
  `a log and a proxy of its own, killed ${APART} times each`,
  async () => {
    const random = newRandom();
    const provider = await startProvider(random);
    onTestFinished(() => provider.close());
    // The proxy knows one address, so the log comes back where it was.
    const listen = `127.0.0.1:${await freePort()}`;
    const log = newPlace({ STELE_LISTEN: listen }, ['serve']);
    await log.start();
    const token = join(log.data, 'tokens', 'submit');
    const proxy = newPlace({ ...upstreams(provider), STELE_TOKEN: token }, [
      'proxy',
      '--server',
      `http://${listen}`,
    ]);
    await proxy.start();
    const own = join(proxy.data, 'keys', 'proxy.pem');
    const argv = [join(proxy.data, 'proxy.pub'), '--key', own, '--data', log.data];
    const registered = await log.stele('gateway', 'register', ...argv);
    expect(registered.code, registered.output).toBe(0);
    const apart = { place: proxy, gate: new Gate() };
    const load = newLoad(random, log, new Gate(), apart);
    await underLoad(load, provider, async () => {
      for (let kill = 0; kill < 2 * APART; kill++) {
        await pause(random.int(0, 500));
        const [killed, gate] = kill % 2 === 0 ? [log, load.gate] : [proxy, apart.gate];
        gate.shut();
        await killed.running?.kill();
        // Meanwhile the other goes on alone.
        await pause(random.int(0, 300));
        await killed.start();
        if (killed === log) await load.ledger.checkNews(log.log('read'));
        gate.open();
      }
    });
    await proxy.stop();
    await expectAudit(log);
  },
  60_000 + APART * 20_000,
);
