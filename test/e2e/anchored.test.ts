/**
 * From an entry to a receipt that says when it existed, by the word of somebody outside: a real server, a real
 * time-stamping authority, and the command that verifies it alone.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseReceipt } from '../../server/core/receipt.ts';
import { OpensslTsa } from '../anchor/openssl-tsa.ts';
import { opensslMissing } from '../certificates.ts';
import { Author } from '../fault/author.ts';
import { Place } from '../fault/process.ts';
import { temporaryFolder } from '../temporary.ts';

describe.skipIf(opensslMissing)('heads shown to a time-stamping authority', () => {
  let tsa: OpensslTsa;
  let place: Place;
  let author: Author;

  beforeAll(async () => {
    tsa = new OpensslTsa(temporaryFolder(afterAll));
    await tsa.listen();
    const roots = join(temporaryFolder(afterAll), 'roots.pem');
    writeFileSync(roots, tsa.pem('root'));
    place = new Place({ STELE_TSA_OWN: tsa.url('p256'), STELE_TSA_OWN_ROOTS: roots }, ['serve']);
    await place.start();
    author = new Author((await place.log('read').head()).origin, 'gateway');
    await place.register(author.signer);
  }, 120_000);

  afterAll(async () => {
    tsa.close();
    await place.close();
  });

  /** Submits one entry; its receipt's file, once it carries a stamp. */
  async function stamped(name: string): Promise<string> {
    const { receipt } = await place.log('submit').submit(await author.sign(author.next()));
    const { index } = parseReceipt(receipt);
    const done = await place.admin().anchorLog('default');
    expect(done).toMatchObject({ anchoring: [{ target: 'own', type: 'rfc3161', missed: 0 }] });
    const file = join(place.folder, name);
    const { server } = place.addresses();
    const answer = await fetch(`${server}/logs/default/v1/receipts/${index}?require=rfc3161`, {
      headers: { authorization: `Bearer ${place.token('read')}` },
    });
    expect(answer.status).toBe(200);
    writeFileSync(file, Buffer.from(await answer.arrayBuffer()));
    return file;
  }

  function trust(name: string, more: object): string {
    const file = join(place.folder, name);
    const known = JSON.parse(readFileSync(join(place.data, 'trust.json'), 'utf8')) as object;
    writeFileSync(file, JSON.stringify({ ...known, ...more }));
    return file;
  }

  test('a receipt carries the stamp, and it is verified without anybody', async () => {
    const before = Date.now() - 2_000;
    const file = await stamped('receipt.json');
    const known = trust('known.json', { tsa_roots: [tsa.pem('root')] });
    const held = await place.stele('verify', file, '--trust', known, '--require', 'rfc3161');
    expect(held.output).toContain('HOLDS');
    expect(held.code).toBe(0);
    const [, time = ''] = /EXISTED: (\S+) at the latest, by CN=p256/.exec(held.output) ?? [];
    expect(Date.parse(time)).toBeGreaterThan(before);
    expect(Date.parse(time)).toBeLessThan(Date.now() + 2_000);

    // Who does not know the authority is told so, and no time; asked for, it has to be known.
    const stranger = trust('stranger.json', {});
    const open = await place.stele('verify', file, '--trust', stranger);
    expect(open.output).toMatch(/no-trust +rfc3161/);
    expect(open.output).not.toContain('EXISTED');
    expect(open.code).toBe(0);
    const asked = await place.stele('verify', file, '--trust', stranger, '--require', 'rfc3161');
    expect(asked.code).toBe(1);
  });

  test('other tools read what the authority said', async () => {
    await stamped('another.json');
    const log = place.log('read');
    const [newest] = await log.anchors();
    expect(newest).toMatchObject({ target: 'own', state: 'published', attempts: 1 });
    const bytes = await log.anchor('own', (await log.head()).size);
    expect(bytes[0]).toBe(0x30);
    const listed = await place.stele('anchor', 'list', '--data', place.data);
    expect(listed.output).toMatch(/own +rfc3161 +published/);
  });

  test('a time that was stamped for another head proves nothing of this one', async () => {
    const file = await stamped('moved.json');
    const receipt = JSON.parse(readFileSync(file, 'utf8')) as {
      anchors: { of: { size: number; root: string } }[];
    };
    const [anchor] = receipt.anchors;
    const { of } = anchor!;
    const root = Buffer.from(of.root, 'base64');
    root[0]! ^= 1;
    of.root = root.toString('base64');
    writeFileSync(file, `${JSON.stringify(receipt)}\n`);
    const known = trust('known.json', { tsa_roots: [tsa.pem('root')] });
    const verified = await place.stele('verify', file, '--trust', known);
    expect(verified.output).toMatch(/invalid +rfc3161/);
    expect(verified.code).toBe(1);
  });

  test('a time that was stamped for a head is not that of an entry which is not in it', async () => {
    const file = await stamped('outside.json');
    const receipt = JSON.parse(readFileSync(file, 'utf8')) as { proof: string[] };
    const [first = ''] = receipt.proof;
    const spoiled = Buffer.from(first, 'base64');
    spoiled[0]! ^= 1;
    receipt.proof[0] = spoiled.toString('base64');
    writeFileSync(file, `${JSON.stringify(receipt)}\n`);
    const known = trust('known.json', { tsa_roots: [tsa.pem('root')] });
    const verified = await place.stele('verify', file, '--trust', known, '--json');
    expect(verified.output).toMatch(/"existed":\s*\[\]/);
    expect(verified.code).toBe(1);
  });

  test('an authority that is away slows nothing, and is caught up with by the newest head alone', async () => {
    tsa.instead = (res) => res.writeHead(503, { 'retry-after': '0' }).end();
    for (let i = 0; i < 3; i++) {
      await place.log('submit').submit(await author.sign(author.next()));
      await place.admin().anchorLog('default');
    }
    const away = await place.log('read').anchors();
    const states = away.slice(0, 3).map(({ state }) => state);
    expect(states).toEqual(['sent', 'superseded', 'superseded']);
    expect(away[0]?.reason).toContain('503');
    tsa.instead = undefined;
    const { size } = await place.log('read').head();
    await place.log('submit').submit(await author.sign(author.next()));
    const done = await place.admin().anchorLog('default');
    expect(done).toMatchObject({ anchoring: [{ target: 'own', size: size + 1, missed: 0 }] });
  });

  test('a server that is killed while it asks goes on with the same query', async () => {
    const asked = Promise.withResolvers<void>();
    tsa.instead = () => asked.resolve();
    await place.log('submit').submit(await author.sign(author.next()));
    const asking = place
      .admin()
      .anchorLog('default')
      .catch(() => undefined);
    await asked.promise;
    const first = tsa.seen.at(-1)!.body;
    await place.running!.kill();
    await asking;
    tsa.instead = undefined;
    await place.start();
    await place.admin().anchorLog('default');
    expect(Buffer.from(tsa.seen.at(-1)!.body).equals(first)).toBe(true);
    const [newest] = await place.log('read').anchors();
    expect(newest).toMatchObject({ state: 'published' });
  });
});
