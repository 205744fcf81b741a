/**
 * A log's database is copied and both are added to: two servers, each a process of its own, with one origin
 * and the same keys. The monitor, a process too, tells it: by what it saw before, by comparing the two, and by
 * a checkpoint that somebody kept.
 */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { claimOf } from '../../server/monitor/heads.ts';
import { Author } from '../fault/author.ts';
import { Place } from '../fault/process.ts';

/** Two servers that were one until a moment ago. */
async function forkedPlaces() {
  const honest = new Place({}, ['serve']);
  onTestFinished(() => honest.close());
  await honest.start();
  const { origin } = await honest.log('read').head();
  const authors = [new Author(origin, 'gateway'), new Author(origin, 'another')] as const;
  for (const author of authors) await honest.register(author.signer);
  // Each history has a gateway of its own, so that no chain gives it away.
  const submit = async (place: Place) => {
    const author = authors[place === honest ? 0 : 1];
    return place.log('submit').submit(await author.sign(author.next()));
  };
  for (let i = 0; i < 3; i++) await submit(honest);
  return { honest, submit };
}

async function fork(honest: Place): Promise<Place> {
  await honest.stop();
  const forked = new Place({}, ['serve']);
  onTestFinished(() => forked.close());
  cpSync(honest.data, forked.data, { recursive: true });
  // The copy is told that it is alone; its memory outside its folder is empty.
  expect((await forked.stele('restore', '--accept', '--data', forked.data)).code).toBe(0);
  await Promise.all([honest.start(), forked.start()]);
  return forked;
}

function addressOf(place: Place): string {
  return `${place.addresses().server}/logs/default`;
}

test('a fork of a log’s database, both added to, is told by the monitor', async () => {
  const { honest, submit } = await forkedPlaces();
  const looking = (memory: string, ...places: readonly Place[]) =>
    honest.stele(
      ...['monitor', '--once', '--json', '--state', join(honest.folder, memory)],
      ...['--trust', join(honest.data, 'trust.json')],
      ...places.flatMap((place) => ['--token', `${addressOf(place)}=${place.token('read')}`]),
      ...places.map(addressOf),
    );
  expect(await looking('a', honest)).toMatchObject({ code: 0 });
  const forked = await fork(honest);
  await submit(honest);
  await submit(forked);
  await submit(forked);

  const well = await looking('a', honest);
  expect(well.output).toContain('"event":"ok"');
  expect(well.code).toBe(0);

  const remembered = await looking('a', forked);
  expect(remembered.code).toBe(1);
  const [alarm] = remembered.output.split('\n').map((line) => JSON.parse(line || '{}'));
  expect(alarm).toMatchObject({ event: 'alarm', kind: 'split_view' });
  const sizes = alarm.heads.map((head: string) => claimOf(Buffer.from(head)).size);
  expect(sizes).toEqual([7, 8]);
  const kept = readdirSync(join(honest.folder, 'a', 'evidence')).filter((f) =>
    f.endsWith('.checkpoint'),
  );
  expect(
    kept.map((f) => readFileSync(join(honest.folder, 'a', 'evidence', f), 'utf8')).sort(),
  ).toEqual([...alarm.heads].sort());

  const compared = await looking('b', honest, forked);
  expect(compared.output).toContain('"kind":"split_view"');
  expect(compared.code).toBe(1);

  // Who sees the fork alone for the first time cannot know; with a checkpoint from a friend he can.
  expect((await looking('c', forked)).code).toBe(0);
  const friend = join(honest.folder, 'friend');
  writeFileSync(friend, await honest.log('read').checkpoint());
  const warned = await forked.stele(
    ...['monitor', addressOf(forked), '--once', '--known', friend, '--depth', 'heads'],
    ...['--trust', join(forked.data, 'trust.json'), '--state', join(honest.folder, 'd')],
  );
  expect(warned.output).toContain('split_view');
  expect(warned.code).toBe(1);
}, 300_000);

test('a monitor that keeps looking tells a fork that takes the log’s place', async () => {
  const { honest, submit } = await forkedPlaces();
  const forked = await fork(honest);
  await submit(honest);
  // One address, behind which now the one and now the other is.
  let behind = honest;
  const front = createServer((req, res) => {
    fetch(`${behind.addresses().server}${req.url}`)
      .then(async (answer) => {
        res.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
        res.end(Buffer.from(await answer.arrayBuffer()));
      })
      .catch(() => res.destroy());
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void front.close());
  const posted: string[] = [];
  const told = Promise.withResolvers<void>();
  const hook = createServer((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => (body += chunk.toString()));
    req.on('end', () => {
      posted.push(body);
      res.end();
      if (body.includes('split_view')) told.resolve();
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void hook.close());
  const portOf = (server: Server) => (server.address() as AddressInfo).port;
  const running = honest.begin(
    ...['monitor', `http://127.0.0.1:${portOf(front)}/logs/default`, '--json', '--interval', '1'],
    ...['--trust', join(honest.data, 'trust.json'), '--state', join(honest.folder, 'kept')],
    ...['--webhook', `http://127.0.0.1:${portOf(hook)}/secret`],
  );
  await running.says('"event":"ok"');
  behind = forked;
  await submit(forked);
  await submit(forked);
  await told.promise;
  await running.says('split_view');
  const ended = await running.kill('SIGTERM');
  expect(ended.code).toBe(1);
  expect(posted.map((body) => JSON.parse(body).kind)).toContain('split_view');
}, 300_000);
