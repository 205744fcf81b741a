/**
 * Whole processes are killed at random moments under load and started again (P1, P2, P3, P7).
 *
 * `STELE_KILLS` says how often (50 unless given), `STELE_SEED` makes the moments come again: the choices
 * do, the machine's own timing does not.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Ledger } from './ledger.ts';
import { Gate, type Load } from './load.ts';
import { Place } from './process.ts';
import { startProvider, upstreams } from './provider.ts';
import { Random } from './random.ts';
import { underLoad } from './world.ts';

const KILLS = Number(process.env.STELE_KILLS ?? 50);
const APART = Math.ceil(KILLS / 4);

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
    const key = join(proxy.data, 'proxy.pub');
    const registered = await log.stele('gateway', 'register', key, '--data', log.data);
    expect(registered.code, registered.output).toBe(0);
    const own = { place: proxy, gate: new Gate() };
    const load = newLoad(random, log, new Gate(), own);
    await underLoad(load, provider, async () => {
      for (let kill = 0; kill < 2 * APART; kill++) {
        await pause(random.int(0, 500));
        const [killed, gate] = kill % 2 === 0 ? [log, load.gate] : [proxy, own.gate];
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

function newRandom(): Random {
  const random = new Random();
  console.log(`STELE_SEED=${random.seed} STELE_KILLS=${KILLS}`);
  return random;
}

function newPlace(env: Readonly<Record<string, string>>, command?: readonly string[]): Place {
  const place = new Place(env, command);
  onTestFinished(() => place.close());
  return place;
}

function newLoad(random: Random, place: Place, gate: Gate, proxy: Load['proxy']): Load {
  const ledger = new Ledger(place.trust());
  return { place, ledger, gate, proxy, random, ending: false, unanswered: 0 };
}

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

async function expectAudit(place: Place): Promise<void> {
  await place.stop();
  const audit = await place.stele('audit', '--files', '--data', place.data);
  expect(audit.output).toContain('HOLDS');
  expect(audit.code).toBe(0);
}

/** A port that nobody has now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
