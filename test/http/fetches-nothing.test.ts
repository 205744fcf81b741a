/**
 * Nothing that a request names is fetched (P8): whatever looks like an address is put wherever a request has room,
 * and no connection is made, and no name is looked up.
 */
import dgram from 'node:dgram';
import dns from 'node:dns';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import net, { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeApi } from '../../server/http/openapi/document.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import { call, placesOf } from './api.ts';
import { roleToken, setUp } from './replay.ts';
import { addressesOf, askEverything } from './url-shaped.ts';
import { World } from './world.ts';

const places = placesOf(JSON.parse(JSON.stringify(describeApi(allRoutes({} as never), '0.0.0'))));

let world: World;
let trap: Server;
/** Where anything in this process has connected to, and what it has looked up. */
const reached = new Set<string>();
let restore: () => void;

beforeAll(async () => {
  trap = createServer((socket) => {
    reached.add('the trap');
    socket.destroy();
  });
  trap.listen(0, '127.0.0.1');
  await once(trap, 'listening');
  restore = watch();
  world = await World.start();
  await setUp(world, places, async (place, wanted) => {
    const answer = await call(world, place, { token: roleToken(world, place), ...wanted });
    expect(answer.status, answer.text).toBeLessThan(300);
  });
});

afterAll(async () => {
  restore();
  trap.close();
  await world.stop();
});

/** Sees every connection and every look-up that JavaScript can make: `fetch` and `http` go through these too. */
function watch(): () => void {
  const { connect } = net.Socket.prototype;
  net.Socket.prototype.connect = function (this: net.Socket, ...args: never[]) {
    const [first] = (args as unknown[]).flat() as [{ host?: string; port?: number } | undefined];
    reached.add(`${first?.host ?? ''}:${first?.port ?? ''}`);
    return connect.apply(this, args as unknown as [string]);
  } as typeof connect;
  const { lookup, resolve, resolve4, resolve6 } = dns;
  const { lookup: promised } = dns.promises;
  const { createSocket } = dgram;
  const seeing = <F extends (...args: never[]) => unknown>(name: string, original: F): F =>
    ((...args: never[]) => {
      reached.add(`${name} ${String(args[0])}`);
      return original(...args);
    }) as F;
  dns.lookup = Object.assign(seeing('lookup', lookup), lookup);
  dns.resolve = Object.assign(seeing('resolve', resolve), resolve);
  dns.resolve4 = Object.assign(seeing('resolve4', resolve4), resolve4);
  dns.resolve6 = Object.assign(seeing('resolve6', resolve6), resolve6);
  dns.promises.lookup = seeing('lookup', promised as never);
  dgram.createSocket = seeing('datagrams', createSocket as never);
  syncBuiltinESMExports();
  return () => {
    net.Socket.prototype.connect = connect;
    Object.assign(dns, { lookup, resolve, resolve4, resolve6 });
    dns.promises.lookup = promised;
    dgram.createSocket = createSocket;
    syncBuiltinESMExports();
  };
}

test('the watch sees a fetch, a look-up and a connection', async () => {
  const { port } = trap.address() as AddressInfo;
  await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
  await fetch(`http://seen-${port}.invalid/`).catch(() => undefined);
  expect([...reached]).toEqual(
    expect.arrayContaining(['the trap', `127.0.0.1:${port}`, `lookup seen-${port}.invalid`]),
  );
});

test('whatever is put wherever there is room, nothing is reached', async () => {
  reached.clear();
  const { port } = trap.address() as AddressInfo;
  const tokens = new Map(places.map((place) => [place.id, roleToken(world, place)]));
  const answers = await askEverything(
    world,
    places.filter(({ id }) => !['revokeGateway'].includes(id)),
    ({ id }) => tokens.get(id),
    addressesOf(port, 'planted'),
  );
  expect(answers.length).toBeGreaterThan(1_000);
  expect(answers.filter(({ status }) => status >= 500).map(({ text }) => text)).toEqual([]);
  // Some of it is taken as what it is, a text.
  expect(answers.filter(({ status }) => status < 300).length).toBeGreaterThan(300);
  // The test's own requests are all that there was.
  expect([...reached]).toEqual([`127.0.0.1:${new URL(world.server.url).port}`]);
});
