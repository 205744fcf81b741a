/**
 * A full disk (P9): nothing more is accepted, with a word when to come back; what is public is read as
 * before; and when there is room again, everything resumes by itself.
 *
 * The disks are small tmpfs mounts, filled to the last byte or to a floor.
 */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseReceipt } from '../../server/core/receipt.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { TreeHead } from '../http/ct-client.ts';
import type { Replay } from '../replay/replay.ts';
import { Author, type Draft } from './author.ts';
import { digest, drained, Evidence, recordsOf } from './evidence.ts';
import { Ledger } from './ledger.ts';
import { call, type ProxyCall, treeHeadClient } from './load.ts';
import { mountMissing, SmallDisk } from './mount.ts';
import { Place } from './process.ts';
import { KINDS, startProvider, upstreams } from './provider.ts';
import { Random } from './random.ts';

const title = `a full disk${mountMissing === undefined ? '' : ` (${mountMissing})`}`;

const FLOOR = 'STELE_LIMITS_DISK_FLOOR_BYTES';

describe.skipIf(mountMissing !== undefined)(title, () => {
  test('refuses and resumes, filled to the last byte', async () => {
    const { place, disk, provider } = await placeOnSmallDisk({ [FLOOR]: '0' });
    await place.start();
    const { pid } = place.running!;
    const world = await World.of(place);
    const before = world.author.next([{ field: 'request.body', bytes: Buffer.from('before') }]);
    await world.submit(before);
    const last = await world.treeHead();

    disk.fill();
    const refused = await world.untilRefused();
    await expectReadable(place);
    // Whether or not there is room to keep a new one.
    await world.treeHead();
    await expectContentRefused(place, before);
    await expectCallRefused(place, provider);
    await world.treeHead();

    disk.empty();
    while ((await world.treeHead()).timestamp === last.timestamp) await pause(100);
    await world.untilTaken(refused);
    await untilCallTaken(place);
    expect(place.running!.pid, 'it resumed by itself').toBe(pid);
    expect(place.running!.isRunning).toBe(true);
    await world.checkWhole(provider);
  }, 120_000);

  test('refuses and resumes, filled to the floor', async () => {
    const { place, disk, provider } = await placeOnSmallDisk({ [FLOOR]: '8000000' });
    await place.start();
    const world = await World.of(place);
    disk.fill(4_000_000);
    const refused = await world.untilRefused();
    const answer = await world.post(refused);
    expect(await answer.json()).toMatchObject({
      code: 'storage',
      detail: expect.stringContaining('limits.disk_floor_bytes'),
    });
    await expectReadable(place);
    await proxyNotices(place);
    await expectCallRefused(place, provider);
    disk.empty();
    await world.untilTaken(refused);
    await untilCallTaken(place);
    await world.checkWhole(provider);
  }, 120_000);

  test('of the log alone lets calls go on, and of the proxy alone lets the log go on', async () => {
    const { place, disk, provider } = await placeOnSmallDisk({ [FLOOR]: '0' });
    await place.start();
    await place.stop();
    const spool = moveToDisk(join(place.data, 'proxy'));
    await place.start();
    const world = await World.of(place);

    disk.fill();
    const refused = await world.untilRefused();
    const waiting = await callOnce(place);
    expect(waiting).toMatchObject({ status: 200, isComplete: true });
    disk.empty();
    await world.untilTaken(refused);
    await drained(place.addresses().proxy);
    expect(await place.log('read').findRecord(waiting.recordId ?? '')).toBeGreaterThan(0);

    spool.fill();
    await expectCallRefused(place, provider);
    await world.submit(world.author.next());
    spool.empty();
    await untilCallTaken(place);
    await world.checkWhole(provider);
  }, 120_000);

  test('ends a start with a word why, and the next one with room goes on from there', async () => {
    const { place, disk, provider } = await placeOnSmallDisk({ [FLOOR]: '0' });
    // A first run that has room for less and less of what it makes.
    for (const leave of [0, 8_192, 60_000, 130_000, 250_000]) {
      disk.fill(leave);
      const { code, output } = await place.spawn().ended;
      expect(code, output).toBe(2);
      expect(output).toMatch(/full|ENOSPC|disk I\/O error|cannot be locked/);
      disk.empty();
    }
    await place.start();
    const world = await World.of(place);
    await world.submit(world.author.next());
    await callOnce(place);
    await place.running!.kill();
    disk.fill();
    // A later start may find room enough to serve what is there, and ends or accepts nothing.
    const starting = place.spawn();
    const isUp = await starting.ready.then(
      () => true,
      () => false,
    );
    if (isUp) await world.untilRefused();
    else expect((await starting.ended).code).toBe(2);
    await starting.kill();
    disk.empty();
    await place.start();
    await world.checkWhole(provider);
  }, 120_000);
});

async function placeOnSmallDisk(env: Readonly<Record<string, string>>) {
  const provider = await startProvider(new Random(1));
  onTestFinished(() => provider.close());
  const place = new Place({ ...upstreams(provider), ...env });
  const disk = new SmallDisk(place.data, 24);
  onTestFinished(async () => {
    await place.end();
    disk.close();
    await place.close();
  });
  return { place, disk, provider };
}

/** Puts a folder that exists on a disk of its own. */
function moveToDisk(folder: string): SmallDisk {
  const aside = `${folder}.aside`;
  cpSync(folder, aside, { recursive: true });
  const disk = new SmallDisk(folder, 16);
  // Last in, first out: before the disk that it lies on.
  onTestFinished(() => disk.detach());
  cpSync(aside, folder, { recursive: true });
  rmSync(aside, { recursive: true });
  return disk;
}

class World {
  readonly #place: Place;
  readonly #ledger: Ledger;
  readonly author: Author;

  static async of(place: Place): Promise<World> {
    const { origin } = await place.log('read').head();
    const author = new Author(origin, 'gateway');
    await place.register(author.signer);
    return new World(place, new Ledger(place.trust()), author);
  }

  private constructor(place: Place, ledger: Ledger, author: Author) {
    this.#place = place;
    this.#ledger = ledger;
    this.author = author;
  }

  async submit(draft: Draft): Promise<void> {
    const { disclosures, bodies } = draft;
    const { receipt } = await this.#place.log('submit').submit(await this.author.sign(draft), {
      disclosures,
      bodies: bodies.map(({ field, bytes }) => ({
        field,
        bytes: bytes.length,
        open: async function* () {
          yield bytes;
        },
      })),
    });
    this.#ledger.receipt(receipt);
  }

  /** What a client of RFC 6962 gets: always a tree head, and never one that goes back. */
  async treeHead(): Promise<TreeHead> {
    const head = await treeHeadClient(this.#place).getSth();
    this.#ledger.treeHead(head);
    return head;
  }

  async post(draft: Draft): Promise<Response> {
    return fetch(`${this.#place.addresses().server}/logs/default/v1/entries`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#place.token('submit')}`,
        'content-type': 'application/protobuf',
      },
      body: Buffer.from(await this.author.sign(draft)),
    });
  }

  /** Submits until the disk is too full for one more, and returns that one. */
  async untilRefused(): Promise<Draft> {
    for (let i = 0; i < 200; i++) {
      const draft = this.author.next();
      const answer = await this.post(draft);
      if (answer.status === 201) {
        this.#ledger.receipt(new Uint8Array(await answer.arrayBuffer()));
        continue;
      }
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await answer.json()).toMatchObject({ code: 'storage', status: 503 });
      return draft;
    }
    throw new Error('200 entries fit on a full disk');
  }

  /** Submits what was refused, as often as a submitter would. */
  async untilTaken(draft: Draft): Promise<void> {
    for (let i = 0; i < 200; i++) {
      const answer = await this.post(draft);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      if (answer.ok) {
        this.#ledger.receipt(bytes);
        return;
      }
      expect(answer.status).toBe(503);
      await pause(50);
    }
    throw new Error('nothing is accepted although there is room');
  }

  /** Everything that was answered for is there, and nothing went to the model without a record. */
  async checkWhole(provider: Replay): Promise<void> {
    await drained(this.#place.addresses().proxy);
    const entries = await this.#ledger.checkAll(this.#place.log('read'));
    const evidence = new Evidence(this.#place.log('content'), recordsOf(entries));
    const recorded = await evidence.requests();
    for (const { body } of provider.requests) expect(recorded).toContain(digest(body));
    const sources = await this.#place.log('read').sources();
    for (const { id, holes, forks } of sources) {
      expect({ id, holes, forks }).toEqual({ id, holes: [], forks: 0 });
    }
    await this.#place.stop();
    const { code, output } = await this.#place.stele(
      'audit',
      '--files',
      '--data',
      this.#place.data,
    );
    expect(output).toContain('HOLDS');
    expect(code).toBe(0);
  }
}

/** What anyone could read before can be read. */
async function expectReadable(place: Place): Promise<void> {
  const log = place.log('read');
  const { size } = await log.head();
  expect((await log.checkpoint()).length).toBeGreaterThan(0);
  for (let index = 0; index < size; index++) {
    expect((await log.entry(leafIndex(index))).length).toBeGreaterThan(0);
  }
  expect(parseReceipt(await log.receipt(String(size - 1))).index).toBe(size - 1);
  expect(await log.inclusion(leafIndex(0), size)).not.toEqual([]);
  expect(await log.consistency(treeSize(1), size)).not.toEqual([]);
}

/** A read of content must leave a trace, and there is no room for one (P11). */
async function expectContentRefused(place: Place, { recordId }: Draft): Promise<void> {
  const { server } = place.addresses();
  for (let i = 0; i < 200; i++) {
    const answer = await fetch(`${server}/logs/default/v1/content/${recordId}/request.body/body`, {
      headers: {
        authorization: `Bearer ${place.token('content')}`,
        'x-stele-reason': 'to see what a full disk does',
      },
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    // Its trace still found room.
    if (answer.status === 200) continue;
    expect(answer.status).toBe(503);
    expect(JSON.parse(bytes.toString())).toMatchObject({ code: 'storage' });
    return;
  }
  throw new Error('content was read 200 times without room for a trace');
}

function callOnce(place: Place): Promise<ProxyCall> {
  const [kind] = KINDS;
  const body = Buffer.from(JSON.stringify(kind!.body('x'.repeat(5_000))));
  return call(place.addresses().proxy + kind!.path, body);
}

/** Waits until the proxy has looked at its disk: it does from time to time. */
async function proxyNotices(place: Place): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const { status } = await fetch(`${place.addresses().proxy}/readyz`);
    if (status === 503) return;
    await pause(50);
  }
  throw new Error('the proxy takes calls although its disk is full');
}

/** The proxy refuses, and the model hears nothing of it (P7). */
async function expectCallRefused(place: Place, provider: Replay): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const before = provider.requests.length;
    const answer = await callOnce(place);
    // Its frames still found room.
    if (answer.status === 200) continue;
    expect(answer.status, Buffer.from(answer.answer).toString()).toBe(503);
    expect(JSON.parse(Buffer.from(answer.answer).toString())).toMatchObject({ code: 'storage' });
    expect(provider.requests.length).toBe(before);
    expect(answer.recordId, 'what was not recorded names no record').toBeUndefined();
    return;
  }
  throw new Error('200 calls fit on a full disk');
}

async function untilCallTaken(place: Place): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const { status } = await callOnce(place);
    if (status === 200) return;
    expect(status).toBe(503);
    await pause(50);
  }
  throw new Error('no call is taken although there is room');
}
