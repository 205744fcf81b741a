/**
 * The client against a real log behind the real routes: what it submits is what is logged, and an answer
 * about something else is refused.
 */
import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkReceiptOf, LogClient } from '../../server/client/client.ts';
import { InstanceClient } from '../../server/client/instance.ts';
import { proofFor } from '../../server/client/possession.ts';
import { BadAnswer } from '../../server/client/problem.ts';
import { signEntry, signWindow } from '../../server/client/sign.ts';
import { sha256, toBase64, toBase64url } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkConsistency, checkInclusion } from '../../server/core/proof.ts';
import { formatReceipt, parseReceipt } from '../../server/core/receipt.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Signer } from '../../server/keys/signer.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { makeSigner } from '../log/make.ts';
import { common, heartbeat, lying, note, start } from './served.ts';

beforeAll(() => useNativePrimitives());

describe('one entry', () => {
  test('is submitted, found, read and proven', async () => {
    const { client, gateway, trust } = await start();
    const entry = await note('one', gateway);
    const { receipt, repeat } = await client.submit(entry);
    expect(repeat).toBe(false);
    expect(verifyReceipt(receipt, trust).holds).toBe(true);
    const index = leafIndex(2);
    expect(await client.entry(index)).toEqual(entry);
    expect(await client.findLeaf(leafHash(entry))).toBe(index);
    const head = await client.head();
    const proof = await client.inclusion(index, head.size);
    checkInclusion({ index, size: head.size, leafHash: leafHash(entry), proof, root: head.root });
    const before = await client.head(treeSize(2));
    checkConsistency({
      from: before.size,
      to: head.size,
      fromRoot: before.root,
      toRoot: head.root,
      proof: await client.consistency(before.size, head.size),
    });
    expect(parseReceipt(await client.receipt('2')).entry).toEqual(entry);
  });

  test('submitted again is the same entry, also with another signature', async () => {
    const { client, log } = await start();
    const gateway = makeSigner('ecdsa-p256');
    await log.registerGateway(gateway.publicKey);
    const first = await note('one', gateway);
    const again = await note('one', gateway);
    expect(again).not.toEqual(first);
    await client.submit(first);
    const { receipt, repeat } = await client.submit(again);
    expect(repeat).toBe(true);
    expect(parseReceipt(receipt).entry).toEqual(first);
  });

  test('that is refused comes back with the code', async () => {
    const { client, gateway } = await start();
    const stranger = await note('one', makeSigner());
    await expect(client.submit(stranger)).rejects.toMatchObject({ code: 'forbidden' });
    const entry = await note('one', gateway);
    await expect(client.submit(entry.with(30, 0))).rejects.toMatchObject({
      code: expect.stringMatching(/malformed|unverified|forbidden/),
    });
    const blind = new LogClient({ base: client.base });
    await expect(blind.submit(entry)).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(client.entry(leafIndex(99))).rejects.toMatchObject({ code: 'not_found' });
  });
});

test('records under one window are all logged, and each verifies alone', async () => {
  const { client, gateway, log, trust } = await start();
  let prev: string | null = null;
  const statements = Array.from({ length: 5 }, (_, seq) => {
    const payload = heartbeat(log.origin, seq, prev);
    prev = toBase64url(sha256(payload));
    return { payloadType: RECORD_TYPE, payload };
  });
  const entries = await signWindow(gateway, log.origin, statements);
  for (const [i, entry] of entries.entries()) {
    const { receipt } = await client.submit(entry);
    expect(verifyReceipt(receipt, trust).holds, `record ${i}`).toBe(true);
  }
  expect(await client.sources()).toContainEqual(
    expect.objectContaining({ id: 'heart', next: 5, holes: [], forks: 0 }),
  );
});

describe('content', () => {
  /** An annotation that commits to its reason, with the disclosure of it. */
  async function annotated(gateway: Signer, log: string, reason: string) {
    const salt = new Uint8Array(randomBytes(16));
    const { disclosure, digest } = makeDisclosure('annotation.reason', reason, salt);
    const base = common(log, 0, null);
    const annotation = {
      records: [base.record_id],
      type: 'human-review',
      role: 'reviewer',
      reason_commit: digest,
    };
    const record = { ...base, kind: 'annotation', annotation } as unknown as AuditRecord;
    const entry = await signEntry(gateway, RECORD_TYPE, formatRecord(record));
    return { entry, disclosure, id: base.record_id };
  }

  test('travels with its entry and is read back, with a reason', async () => {
    const { client, gateway, log } = await start();
    const { entry, disclosure, id } = await annotated(gateway, log.origin, 'it was wrong');
    await client.submit(entry, { disclosures: [disclosure], bodies: [] });
    expect(await client.findRecord(id)).toBe(2);
    const read = { reason: 'a test: ünïcode' };
    expect(await client.disclosure(id, 'annotation.reason', read)).toBe(disclosure);
    await expect(client.disclosure(id, 'annotation.target', read)).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(client.disclosure(id, 'annotation.reason', { reason: '' })).rejects.toMatchObject({
      code: 'malformed',
    });
  });

  test('that does not fit is refused, and nothing is logged', async () => {
    const { client, gateway, log } = await start();
    const { entry } = await annotated(gateway, log.origin, 'it was wrong');
    const { disclosure } = await annotated(gateway, log.origin, 'it was right');
    await expect(
      client.submit(entry, { disclosures: [disclosure], bodies: [] }),
    ).rejects.toMatchObject({ code: 'unverified' });
    expect((await client.head()).size).toBe(2);
  });

  test('of a field whose name could break out of its header is not sent', async () => {
    const { client, gateway, log } = await start();
    const entry = await signEntry(gateway, RECORD_TYPE, heartbeat(log.origin, 0, null));
    const body = { field: 'x"\r\nname="entry', bytes: 0, open: async function* () {} };
    await expect(client.submit(entry, { disclosures: [], bodies: [body] })).rejects.toThrow();
    expect((await client.head()).size).toBe(2);
  });
});

describe('a receipt is believed only if it fits', () => {
  test('to the entry that was sent, and to its own checkpoint', async () => {
    const { client, gateway, token } = await start();
    const one = await note('one', gateway);
    const two = await note('two', gateway);
    const { receipt } = await client.submit(one);
    await client.submit(two);
    expect(() => checkReceiptOf(receipt, one)).not.toThrow();
    expect(() => checkReceiptOf(receipt, two)).toThrow(/another entry than the one that was sent/);
    const parsed = parseReceipt(receipt);
    const spoiled = [
      { ...parsed, index: leafIndex(1) },
      { ...parsed, proof: parsed.proof.slice(1) },
      { ...parsed, entry: two },
      { ...parsed, checkpoint: parseReceipt(await client.receipt('0')).checkpoint },
    ];
    for (const [i, wrong] of spoiled.entries()) {
      expect(() => checkReceiptOf(formatReceipt(wrong), one), `spoiled ${i}`).toThrow();
      const fetch = lying(() => formatReceipt(wrong));
      const liar = new LogClient({ base: client.base, token, fetch });
      await expect(liar.submit(one), `spoiled ${i}`).rejects.toBeInstanceOf(BadAnswer);
    }
  });

  test('a server that answers with another receipt is not believed', async () => {
    const { client, gateway, server, token } = await start();
    const one = await note('one', gateway);
    const { receipt } = await client.submit(one);
    const liar = new LogClient({
      base: `${server.url}/logs/notes`,
      token,
      fetch: async () => new Response(Buffer.from(receipt), { status: 201 }),
    });
    await expect(liar.submit(await note('two', gateway))).rejects.toMatchObject({
      code: 'unverified',
    });
  });
});

test('the instance is administered: logs, gateways, tokens, keys', async () => {
  const { server, token } = await start();
  const admin = new InstanceClient({ base: server.url, token });
  expect(await admin.createLog({ name: 'b', visibility: 'private' })).toMatchObject({ size: 1 });
  expect((await admin.listLogs()).map((log) => log.name)).toEqual([
    '_admin',
    'b',
    'default',
    'notes',
  ]);
  const signer = makeSigner();
  const { spki, keyid } = signer.publicKey;
  const proof = await proofFor(admin, 'b', signer);
  const gateway = { key: toBase64(spki), source: 'x', ...proof };
  expect(await admin.registerGateway('b', gateway)).toMatchObject({ keyid, index: 1 });
  expect(await admin.revokeGateway('b', keyid)).toMatchObject({ keyid, index: 2 });
  expect(await admin.listGateways('b')).toMatchObject([{ keyid, registered: 1, revoked: 2 }]);
  const made = await admin.createToken({ holder: 'x', roles: ['read'], logs: ['b'] });
  expect(await admin.revokeToken(String(made.id))).toMatchObject({ id: made.id });
  expect((await admin.listTokens()).find(({ id }) => id === made.id)).toHaveProperty('revoked');
  const ofLog = (await admin.listKeys()).filter(({ log }) => log === 'b');
  const purposes = ofLog.map(({ purpose }) => purpose);
  expect(purposes).toEqual(['identity', 'anchor', 'sth', 'gateway']);
  expect(await admin.ready()).toMatchObject({ status: 'ready' });
  await expect(admin.showLog('..')).rejects.toMatchObject({ code: 'malformed' });
  expect(
    decodeEntry(await new LogClient({ base: `${server.url}/logs/b`, token }).entry(leafIndex(0)))
      .payloadType,
  ).toBe(RECORD_TYPE);
});
