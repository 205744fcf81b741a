/** A call is read back from the journal as it was written, also by readers that give the pieces away. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Journal } from '../../server/proxy/journal/journal.ts';
import { CallSpool, Linger } from '../../server/proxy/spool.ts';
import { Keyring } from '../../server/vault/keyring.ts';
import { FaultDisk } from './fault-disk.ts';

const random = (bytes: number) => new Uint8Array(randomBytes(bytes));

test('the beginning of an answer is no longer for a reader that gives each piece away', async () => {
  const journal = await Journal.open({
    disk: new FaultDisk(),
    segments: [],
    chain: () => new Uint8Array(0),
    segmentBytes: 10_000_000,
    queueBytes: 10_000_000,
    recentBytes: 0,
    floorBytes: 0,
    nowMs: () => 0,
    onFatal: (error) => {
      throw error;
    },
  });
  const keyring = new Keyring(random(32), random);
  const passed = () => {};
  const context = { journal, keyring, origin: 'log.example', random, linger: new Linger(), passed };
  const spool = new CallSpool(context, '0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f', {
    received_us: 0,
    upstream: 'any',
    endpoint: 'model.example',
    method: 'POST',
    target: '/x',
    headers: {},
  });
  const answer = random(700_000);
  for (let at = 0; at < answer.length; at += 50_000) {
    await spool.pushResponse(answer.subarray(at, at + 50_000));
  }
  await spool.commit();
  const pieces: Uint8Array[] = [];
  for await (const piece of spool.spooled.response(spool.responsePositions, 400_000)) {
    // As it goes to another thread: nothing of it is left here.
    pieces.push(structuredClone(piece, { transfer: [piece.buffer as ArrayBuffer] }));
  }
  expect(Buffer.concat(pieces).equals(answer.subarray(0, 400_000))).toBe(true);
  await journal.close();
});
