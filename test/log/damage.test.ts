/** A stored entry that is damaged: the disk is at fault, and never whoever asks or submits (P9). */
import { describe, expect, test } from 'vitest';
import { hash, leafIndex, treeSize } from '../../server/core/units.ts';
import { Log } from '../../server/log/log.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, Gateway, logOptions, startLog, submit } from './make.ts';

const ID = '019b7676-4c00-7abc-8abc-0123456789ab';

/** A log of 600 entries of which entry 5, in a full tile, is damaged after it was opened. */
async function damaged() {
  const store = new MemoryStore();
  const options = logOptions({ stateFolder: temporaryFolder(), store });
  const { log, gateway } = await startLog(options);
  const entries = await gateway.many(3);
  const last = await gateway.next({ record_id: ID });
  await append(log, ...entries, last);
  const next = await gateway.next();
  const other = new Gateway('gateway-2');
  await log.registerGateway(other.signer.publicKey);
  await append(log, ...(await other.many(593)));
  await log.close();
  const opened = await Log.open(options);
  const readEntries = store.readEntries.bind(store);
  store.readEntries = async (begin, end) =>
    (await readEntries(begin, end)).map((bytes, i) =>
      begin + i === 5 ? bytes.map((byte, at) => (at < 200 ? byte ^ 1 : byte)) : bytes,
    );
  return { log: opened, last, next, honest: await other.next() };
}

describe('an entry that is damaged on disk', () => {
  const refusal = { code: 'storage', message: expect.stringContaining('entry 5 is damaged') };

  test('refuses for now what has to be compared with it, and nothing else', async () => {
    const { log, last, next, honest } = await damaged();
    // One repeats it, one follows it in its chain, one has nothing to do with it.
    expect(await submit(log, last, next, honest)).toMatchObject([
      refusal,
      refusal,
      { index: 600, repeat: false },
    ]);
  });

  test('is not found, and has no receipt', async () => {
    const { log } = await damaged();
    await expect(log.findRecord(ID)).rejects.toMatchObject(refusal);
    await expect(log.receipt(leafIndex(5))).rejects.toMatchObject(refusal);
  });
});

describe('a log whose files are damaged', () => {
  test.each(['a control record', 'a new entry', 'the head'])(
    'is not opened, for a reason that is the disk’s: %s',
    async (what) => {
      const store = new MemoryStore();
      const options = logOptions({ stateFolder: temporaryFolder(), store });
      const { log, gateway } = await startLog(options);
      await append(log, await gateway.next());
      await log.close();
      const spoiled = { 'a control record': 1, 'a new entry': 2 }[what];
      const readEntries = store.readEntries.bind(store);
      store.readEntries = async (begin, end) =>
        (await readEntries(begin, end)).map((bytes, i) =>
          begin + i === spoiled ? bytes.map((byte) => byte ^ 1) : bytes,
        );
      const head = await store.readHead();
      if (what === 'the head' && head !== undefined) {
        store.readHead = async () => ({ ...head, checkpoint: `x${head.checkpoint}` });
      }
      await expect(Log.open(options)).rejects.toMatchObject({ code: 'storage' });
    },
  );
});

describe('a published head that is damaged', () => {
  test.each(['its root', 'its note', 'its size'])(
    'is not served: the newest head is (P2), %s',
    async (what) => {
      const store = new MemoryStore();
      const warnings: string[] = [];
      const stateFolder = temporaryFolder();
      const options = logOptions({ stateFolder, store, warn: (message) => warnings.push(message) });
      const { log, gateway } = await startLog(options);
      await append(log, await gateway.next());
      await log.close();
      const kept = await store.readPublished();
      if (kept === undefined) throw new Error('a closed log has published its head');
      const spoiled = {
        'its root': { ...kept, root: hash(new Uint8Array(32)) },
        'its note': { ...kept, checkpoint: kept.checkpoint.replace('\n3\n', '\n4\n') },
        'its size': { ...kept, size: treeSize(4) },
      }[what];
      store.readPublished = async () => spoiled;
      const opened = await Log.open(options);
      expect(opened.published()).toEqual(opened.head());
      expect(opened.published().size).toBe(3);
      expect(warnings).toEqual([expect.stringContaining('published head')]);
      await opened.close();
    },
  );
});
