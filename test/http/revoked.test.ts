/** A token that is revoked or expires while its request goes on: nothing more is taken by it, and nothing given. */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { TokenOptions } from '../../server/admin/tokens.ts';
import { toBase64url } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import type { Log } from '../../server/log/log.ts';
import { head, talk, type Wire } from './wire.ts';
import { type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let admin: string;

beforeEach(async () => {
  world = await World.start();
  ({ log, gateway } = await world.log('a', 'private'));
  admin = world.token({ roles: ['admin'] });
});

afterEach(() => world.stop());

async function revoke(token: string): Promise<void> {
  const id = token.split('_')[1];
  const answer = await world.ask('DELETE', `/v1/admin/tokens/${id}`, { token: admin });
  expect(answer.status).toBe(200);
}

/** The two ways in which a token ends. */
const ends: readonly [string, (token: string) => Promise<void> | void, string][] = [
  ['is revoked', revoke, 'has been revoked'],
  ['expires', () => void (world.now += 60_000), 'expired at'],
];

const token = (roles: TokenOptions['roles']) =>
  world.token({ roles, expiresMs: world.now + 60_000 });

const ENTRIES = '/logs/a/v1/entries';
const PROTOBUF = { 'content-type': 'application/protobuf' };

/** Sends a head and part of its body; resolves when the server has begun to read it. */
async function begin(path: string, by: string, headers: object, begun: Uint8Array | string) {
  const wire = talk(world);
  await wire.send(
    head('POST', path, { authorization: `Bearer ${by}`, expect: '100-continue', ...headers }),
  );
  await wire.until('100 Continue');
  await wire.send(begun);
  return wire;
}

async function refused(wire: Wire, rule: string): Promise<void> {
  await wire.answers(2);
  await wire.until(rule);
  expect(wire.text()).toContain('"status":401');
  wire.socket.destroy();
}

describe.each(ends)('a token that %s', (_, end, rule) => {
  test('while an entry comes in: it is not logged', async () => {
    const by = token(['submit']);
    const entry = Buffer.from(await gateway.entry());
    const before = log.head();
    const headers = { ...PROTOBUF, 'content-length': String(entry.length) };
    const wire = await begin(ENTRIES, by, headers, entry.subarray(0, 20));
    await end(by);
    await wire.send(entry.subarray(20));
    await refused(wire, rule);
    expect(log.head()).toBe(before);
  });

  test('while the entries of a batch are judged: none is logged', async () => {
    const by = token(['submit']);
    const entry = Buffer.from(await gateway.entry());
    const before = log.head();
    const { admit } = log;
    log.admit = async (sent) => {
      const admitted = await admit.call(log, sent);
      await end(by);
      return admitted;
    };
    const body = Buffer.concat([
      Buffer.from([(entry.length & 127) | 128, entry.length >> 7]),
      entry,
    ]);
    const answer = await world.ask('POST', `${ENTRIES}/batch`, {
      token: by,
      body,
      type: 'application/protobuf',
    });
    expect([answer.status, answer.json().detail]).toEqual([401, expect.stringContaining(rule)]);
    expect(log.head()).toBe(before);
  });

  test('while its body comes in: nothing is administered', async () => {
    const by = token(['admin']);
    const body = '{"holder":"x","roles":["read"],"logs":["a"]}';
    const headers = { 'content-type': 'application/json', 'content-length': String(body.length) };
    const wire = await begin('/v1/admin/tokens', by, headers, body.slice(0, 10));
    await end(by);
    await wire.send(body.slice(10));
    await refused(wire, rule);
    expect(world.instance.listTokens().map(({ holder }) => holder)).not.toContain('x');
  });

  test('while content comes in: the upload is cut, and nothing of it is left', async () => {
    const by = token(['submit']);
    const { entry, disclosure } = await withBody(randomBytes(1_000_000));
    const before = log.head();
    const opening = Buffer.concat([
      part('name="entry"', entry),
      part('name="disclosure"', disclosure),
      Buffer.from(
        '--B\r\ncontent-disposition: form-data; name="body"; field="request.body"\r\n\r\n',
      ),
      randomBytes(100_000),
    ]);
    const wire = await begin(ENTRIES, by, MULTIPART, opening);
    while (vaultFiles().length === 0) await new Promise((resolve) => setImmediate(resolve));
    await end(by);
    // Whatever comes next is not taken, and what was taken goes.
    await wire.send(randomBytes(1_000));
    await refused(wire, rule);
    while (vaultFiles().length > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(log.head()).toBe(before);
  });

  test('while it waits for a receipt, or for a head of a private log: it gets none', async () => {
    for (const path of ['/logs/a/v1/receipts/9?wait=20', '/logs/a/v1/tree-head?wait=20&beyond=9']) {
      const size = log.head().size;
      const by = token(['read']);
      const grown = watchGrown();
      const answer = world.get(path.replace('9', String(size)).replace('=9', `=${size}`), {
        token: by,
      });
      await grown;
      await end(by);
      const entry = await gateway.entry();
      await log.submit([{ admitted: await log.admit(decodeEntry(entry)) }]);
      expect((await answer).json()).toMatchObject({
        status: 401,
        detail: expect.stringContaining(rule),
      });
    }
  });

  test('while content goes out: the answer is cut, and not whole', async () => {
    const bytes = randomBytes(24_000_000);
    const { entry, disclosure, recordId } = await withBody(bytes);
    const body = Buffer.concat([
      part('name="entry"', entry),
      part('name="disclosure"', disclosure),
      part('name="body"; field="request.body"', bytes),
      Buffer.from('--B--\r\n'),
    ]);
    const type = 'multipart/form-data; boundary=B';
    const made = await world.ask('POST', ENTRIES, {
      token: world.token({ roles: ['submit'] }),
      body,
      type,
    });
    expect(made.status).toBe(201);
    const by = token(['content']);
    const wire = talk(world);
    await wire.send(
      head('GET', `/logs/a/v1/content/${recordId}/request.body/body`, {
        authorization: `Bearer ${by}`,
        'x-stele-reason': 'ticket 7',
      }),
    );
    await wire.answers(1);
    wire.socket.pause();
    await end(by);
    wire.socket.resume();
    const text = await wire.end();
    expect(text.slice(0, 2_000).toLowerCase()).toContain('content-length: 24000000\r\n');
    expect(text.length).toBeLessThan(24_000_000);
  });
});

const MULTIPART = {
  'content-type': 'multipart/form-data; boundary=B',
  'content-length': '50000000',
};

function part(disposition: string, body: Uint8Array | string): Buffer {
  const opening = `--B\r\ncontent-disposition: form-data; ${disposition}\r\n\r\n`;
  return Buffer.concat([Buffer.from(opening), Buffer.from(body as string), Buffer.from('\r\n')]);
}

/** A record that commits to a body. */
async function withBody(bytes: Uint8Array) {
  const sha256 = toBase64url(createHash('sha256').update(bytes).digest());
  const value = { bytes: bytes.length, media_type: 'text/plain', sha256 };
  const { disclosure, digest } = makeDisclosure('request.body', value, randomBytes(16));
  const { bytes: entry, recordId } = await gateway.make({
    commitments: { 'request.body': digest },
  });
  return { entry, disclosure, recordId };
}

function vaultFiles(): string[] {
  const folder = join(world.folder, 'vault');
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => file.name);
  } catch {
    return [];
  }
}

/** Resolves when somebody waits for the log to grow. */
function watchGrown(): Promise<void> {
  const { grown } = log;
  return new Promise((resolve) => {
    log.grown = (beyond, signal) => {
      log.grown = grown;
      resolve();
      return grown.call(log, beyond, signal);
    };
  });
}
