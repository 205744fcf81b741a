import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { hasCode } from '../../server/core/errors.ts';
import { openDisk, type SpoolDisk } from '../../server/proxy/journal/disk.ts';
import {
  decodeFrameHeader,
  FRAME,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  frameBytes,
  isWhole,
  NO_CALL,
} from '../../server/proxy/journal/frame.ts';
import {
  Journal,
  type JournalOptions,
  type SyncFailed,
} from '../../server/proxy/journal/journal.ts';
import { type Damage, scanJournal } from '../../server/proxy/journal/scan.ts';
import { FaultDisk, ioError } from './fault-disk.ts';

const CALL = '0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f';
const text = (s: string) => new TextEncoder().encode(s);

function options(disk: SpoolDisk, more: Partial<JournalOptions> = {}): JournalOptions {
  return {
    disk,
    segments: [],
    chain: () => text('chain'),
    segmentBytes: 1_000_000,
    queueBytes: 1_000_000,
    recentBytes: 0,
    floorBytes: 1_000,
    nowMs: () => 0,
    onFatal: (error) => {
      throw error;
    },
    ...more,
  };
}

async function read(disk: SpoolDisk) {
  const frames: string[] = [];
  const positions: number[] = [];
  const damage: Damage[] = [];
  const result = await scanJournal(
    disk,
    (frame, position) => {
      if (frame.type === FRAME.chain) return;
      frames.push(Buffer.from(frame.payload).toString());
      positions.push(position);
    },
    (d) => damage.push(d),
  );
  return { frames, positions, damage, torn: result.torn, segments: result.segments };
}

describe('frame', () => {
  test('is whole only as it was written', () => {
    const bytes = frameBytes(FRAME.request, CALL, text('hello'));
    const header = decodeFrameHeader(bytes);
    const isWritten = (read: FrameHeader, all: Uint8Array) =>
      isWhole(read, all, all.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + read.length));
    expect(header).toMatchObject({ type: FRAME.request, call: CALL, length: 5 });
    for (let i = 0; i < bytes.length; i++) {
      const changed = bytes.slice();
      changed[i] = (changed[i] ?? 0) ^ 1;
      const read = decodeFrameHeader(changed);
      expect(read !== undefined && isWritten(read, changed), `byte ${i}`).toBe(false);
    }
    expect(header !== undefined && isWritten(header, bytes)).toBe(true);
    expect(header !== undefined && isWritten(header, bytes.subarray(0, -1))).toBe(false);
    expect(decodeFrameHeader(bytes.subarray(0, FRAME_HEADER_BYTES - 1))).toBeUndefined();
  });
});

describe('journal', () => {
  test('gives back what was committed, in order, over segments and reopening', async () => {
    const disk = new FaultDisk();
    const journal = await Journal.open(options(disk, { segmentBytes: 200 }));
    const positions = [];
    for (let i = 0; i < 20; i++) positions.push(journal.append(FRAME.request, CALL, text(`n${i}`)));
    await journal.commit();
    expect(Buffer.from((await journal.read(positions[7] ?? 0)).payload).toString()).toBe('n7');
    await journal.close();

    const found = await read(disk.reopened('power-cut'));
    expect(found.frames).toEqual(Array.from({ length: 20 }, (_, i) => `n${i}`));
    expect(found.positions).toEqual(positions);
    expect(found.damage).toEqual([]);
    expect(found.segments.length).toBeGreaterThan(3);

    const again = await Journal.open(
      options(disk, { segmentBytes: 200, segments: found.segments }),
    );
    again.append(FRAME.request, CALL, text('later'));
    await again.close();
    expect((await read(disk.reopened('power-cut'))).frames.at(-1)).toBe('later');
  });

  test('one sync covers all who wait', async () => {
    const disk = new FaultDisk();
    const journal = await Journal.open(options(disk));
    let open: () => void = () => {};
    const held = new Promise<void>((resolve) => (open = resolve));
    disk.gate = () => held;
    journal.append(FRAME.request, CALL, text('first'));
    const commits = [journal.commit()];
    await Promise.resolve();
    await Promise.resolve();
    for (let i = 0; i < 100; i++) {
      journal.append(FRAME.request, CALL, text(`${i}`));
      commits.push(journal.commit());
    }
    open();
    await Promise.all(commits);
    expect(disk.syncs).toBe(2);
    expect((await read(disk.reopened('power-cut'))).frames).toHaveLength(101);
    await journal.close();
  });

  test('a failed write loses what was not on disk and nothing else', async () => {
    const disk = new FaultDisk();
    const journal = await Journal.open(options(disk));
    journal.append(FRAME.request, CALL, text('kept'));
    await journal.commit();
    const generation = journal.generation;
    // Half the bytes arrive, then the disk is full.
    disk.after = (step) => {
      if (step === 'write') throw ioError('ENOSPC');
    };
    journal.append(FRAME.request, CALL, text('lost'));
    await expect(journal.commit()).rejects.toSatisfy((e) => hasCode(e, 'storage'));
    expect(journal.generation).toBe(generation + 1);
    expect(journal.lastFailure).toContain('ENOSPC');

    disk.after = () => {};
    const position = journal.append(FRAME.request, CALL, text('resumed'));
    await journal.commit();
    expect(journal.lastFailure).toBeUndefined();
    expect(Buffer.from((await journal.read(position)).payload).toString()).toBe('resumed');
    await journal.close();
    const found = await read(disk.reopened('power-cut'));
    expect(found).toMatchObject({ frames: ['kept', 'resumed'], damage: [] });
  });

  test('what was just written is read from memory, and nothing of what was lost is', async () => {
    const disk = new FaultDisk();
    const journal = await Journal.open(options(disk, { recentBytes: 1_000 }));
    const kept = journal.append(FRAME.request, CALL, text('kept'));
    await journal.commit();
    const [file] = [...disk.files.values()];
    file?.written.fill(0);
    expect(Buffer.from((await journal.read(kept)).payload).toString()).toBe('kept');
    disk.before = (step) => {
      if (step === 'write') throw ioError('ENOSPC');
    };
    const lost = journal.append(FRAME.request, CALL, text('lost'));
    await expect(journal.commit()).rejects.toMatchObject({ code: 'storage' });
    await expect(journal.read(lost)).rejects.toThrow();
    disk.before = () => {};
    // More than is kept: the first are on disk alone again, and there they are zeros.
    const last = journal.append(FRAME.request, CALL, new Uint8Array(998));
    await journal.commit();
    expect((await journal.read(last)).payload).toHaveLength(998);
    await expect(journal.read(kept)).rejects.toMatchObject({ code: 'storage' });
    await journal.close();
  });

  test.each(['create', 'write'] as const)(
    'a new segment that fails at %s is tried again',
    async (failing) => {
      for (const moment of ['before', 'after'] as const) {
        const disk = new FaultDisk();
        const journal = await Journal.open(options(disk));
        let armed = failing !== 'create' || moment === 'before';
        disk[moment] = (step) => {
          if (armed && step === failing) throw ioError('EIO');
        };
        journal.append(FRAME.request, CALL, text('lost'));
        if (armed) await expect(journal.commit()).rejects.toThrow('EIO');
        armed = false;
        journal.append(FRAME.request, CALL, text('kept'));
        await journal.close();
        expect((await read(disk.reopened('power-cut'))).frames.at(-1)).toBe('kept');
      }
    },
  );

  test.each(['sync', 'syncFolder'] as const)(
    'a failed %s is fatal: reported once, and nothing works afterwards',
    async (failing) => {
      const disk = new FaultDisk();
      const fatal: SyncFailed[] = [];
      const journal = await Journal.open(options(disk, { onFatal: (error) => fatal.push(error) }));
      disk.before = (step) => {
        if (step === failing) throw ioError('EIO');
      };
      journal.append(FRAME.request, CALL, text('unknown'));
      await expect(journal.commit()).rejects.toThrow('the process must end');
      expect(fatal).toHaveLength(1);
      disk.before = () => {};
      expect(() => journal.append(FRAME.request, CALL, text('more'))).toThrow('must end');
      await expect(journal.commit()).rejects.toThrow('must end');
      expect(() => journal.checkRoom()).toThrow('must end');
      expect(fatal).toHaveLength(1);
    },
  );

  test.each(['create', 'write'] as const)(
    'a batch that fails behind a segment border (%s) leaves nothing of itself, also before the border',
    async (step) => {
      const disk = new FaultDisk();
      const journal = await Journal.open(options(disk, { segmentBytes: 300 }));
      journal.append(FRAME.request, CALL, text('kept'));
      await journal.commit();
      const steps = disk.steps.filter((s) => s === step).length;
      disk.before = (s) => {
        // The first write of the batch goes to the old segment, and succeeds.
        const seen = disk.steps.filter((known) => known === step).length - steps;
        if (s === step && seen > (step === 'write' ? 1 : 0)) throw ioError('ENOSPC');
      };
      for (const word of ['lost 1', 'lost 2', 'lost 3', 'lost 4', 'lost 5', 'lost 6', 'lost 7']) {
        journal.append(FRAME.request, CALL, text(word));
      }
      await expect(journal.commit()).rejects.toMatchObject({ code: 'storage' });
      disk.before = () => {};
      const words = ['new 1', 'new 2', 'new 3', 'new 4', 'new 5', 'new 6', 'new 7', 'new 8'];
      const positions = words.map((word) => journal.append(FRAME.request, CALL, text(word)));
      await journal.commit();
      const payload = (await journal.read(positions[0] as number)).payload;
      expect(Buffer.from(payload).toString()).toBe('new 1');
      await journal.close();
      const { frames, damage, torn } = await read(disk);
      expect({ frames, damage, torn }).toEqual({ frames: ['kept', ...words], damage: [], torn: 0 });
    },
  );

  test('a failed sync of a segment that is full is as fatal', async () => {
    const disk = new FaultDisk();
    const fatal: SyncFailed[] = [];
    const journal = await Journal.open(
      options(disk, { segmentBytes: 120, onFatal: (error) => fatal.push(error) }),
    );
    disk.before = (step) => {
      if (step === 'sync') throw ioError('EIO');
    };
    for (let i = 0; i < 5; i++) journal.append(FRAME.request, CALL, text('0123456789'));
    await expect(journal.commit()).rejects.toThrow('must end');
    expect(fatal).toHaveLength(1);
  });

  test('takes no new call below the floor, and does again above it', async () => {
    const disk = new FaultDisk();
    let now = 0;
    disk.free = 999;
    const journal = await Journal.open(options(disk, { nowMs: () => now }));
    expect(() => journal.checkRoom()).toThrow('999 bytes are free on its disk, the floor is 1000');
    disk.free = 1_000;
    now = 1_000;
    expect(() => journal.checkRoom()).toThrow();
    await new Promise(setImmediate);
    journal.checkRoom();
    await journal.close();
    expect(() => journal.checkRoom()).toThrow('closed');
  });

  test('asks callers to wait while the queue is full', async () => {
    const disk = new FaultDisk();
    const journal = await Journal.open(options(disk, { queueBytes: 100 }));
    expect(journal.isFull).toBe(false);
    journal.append(FRAME.request, CALL, new Uint8Array(200));
    expect(journal.isFull).toBe(true);
    await journal.drained();
    expect(journal.isFull).toBe(false);
    disk.before = () => {
      throw ioError('ENOSPC');
    };
    journal.append(FRAME.request, CALL, new Uint8Array(200));
    await expect(journal.drained()).rejects.toThrow('ENOSPC');
    expect(journal.isFull).toBe(false);
  });

  test('drops whole segments from the front, never the last', async () => {
    const disk = new FaultDisk();
    const journal = await Journal.open(options(disk, { segmentBytes: 100 }));
    const positions: number[] = [];
    for (let i = 0; i < 6; i++) {
      positions.push(journal.append(FRAME.request, CALL, new Uint8Array(40)));
      await journal.commit();
    }
    expect(disk.files.size).toBe(6);
    await journal.release(positions[3] ?? 0);
    expect(disk.files.size).toBe(3);
    await journal.release(journal.tail);
    expect(disk.files.size).toBe(1);
    expect((await journal.read(positions[5] ?? 0)).length).toBe(40);
    await journal.close();
  });

  test('opens a fresh segment behind the old ones, so a file is never appended to twice', async () => {
    const disk = new FaultDisk();
    const first = await Journal.open(options(disk));
    first.append(FRAME.request, CALL, text('a'));
    await first.close();
    const second = await Journal.open(options(disk, { segments: (await read(disk)).segments }));
    second.append(FRAME.request, CALL, text('b'));
    await second.close();
    expect(disk.files.size).toBe(2);
    expect((await read(disk)).frames).toEqual(['a', 'b']);
  });
});

describe('scan', () => {
  async function journalOf(payloads: readonly string[], segmentBytes = 1_000_000) {
    const disk = new FaultDisk();
    const journal = await Journal.open(options(disk, { segmentBytes }));
    const positions = payloads.map((p) => journal.append(FRAME.request, CALL, text(p)));
    await journal.close();
    return { disk: disk.reopened('power-cut'), positions };
  }

  test('cuts a torn tail at every length, once', async () => {
    const { disk, positions } = await journalOf(['one', 'two']);
    const [name, content] = [...disk.files][0] ?? [];
    if (name === undefined || content === undefined) throw new Error('no segment');
    const second = positions[1] ?? 0;
    for (let length = second; length < content.written.length; length++) {
      const torn = disk.reopened('killed');
      const file = torn.files.get(name);
      if (file === undefined) throw new Error('no segment');
      file.written = Buffer.from(content.written.subarray(0, length));
      const found = await read(torn);
      expect(found, `cut at ${length}`).toMatchObject({ frames: ['one'], damage: [] });
      expect(found.torn).toBe(length - second);
      expect(file.written.length).toBe(second);
      expect((await read(torn)).torn).toBe(0);
    }
  });

  test('reports a changed byte before the end as damage and reads on behind it', async () => {
    const { disk, positions } = await journalOf(['one', 'two', 'three']);
    const [begin = 0, end = 0] = positions.slice(1);
    for (let i = begin; i < end; i++) {
      const rotten = disk.reopened('killed');
      const file = [...rotten.files.values()][0];
      if (file === undefined) throw new Error('no segment');
      file.written[i] = (file.written[i] ?? 0) ^ 0x40;
      const found = await read(rotten);
      expect(found, `byte ${i}`).toMatchObject({
        frames: ['one', 'three'],
        damage: [{ begin, end }],
        torn: 0,
      });
    }
  });

  test('reports a missing, a short and a rotten segment as damage', async () => {
    const { disk } = await journalOf(['a', 'b', 'c'], 70);
    const names = [...disk.files.keys()].sort();
    expect(names).toHaveLength(3);
    const spoil: Record<string, (d: FaultDisk) => void> = {
      missing: (d) => d.files.delete(names[1] ?? ''),
      short: (d) => {
        const file = d.files.get(names[1] ?? '');
        if (file !== undefined) file.written = Buffer.from(file.written.subarray(0, 40));
      },
      rotten: (d) => {
        d.files.get(names[1] ?? '')?.written.fill(0, 30);
      },
    };
    for (const [how, change] of Object.entries(spoil)) {
      const spoiled = disk.reopened('killed');
      change(spoiled);
      const found = await read(spoiled);
      expect(found.frames, how).toEqual(['a', 'c']);
      expect(found.damage.length, how).toBeGreaterThan(0);
    }
  });

  test('never throws and never invents a frame, whatever is in the file', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 8 }),
        fc.nat(220),
        async (changes, length) => {
          const { disk } = await journalOf(['one', 'two', 'three']);
          const file = [...disk.files.values()][0];
          if (file === undefined) throw new Error('no segment');
          for (const [at, value] of changes) {
            if (at < file.written.length) file.written[at] = value;
          }
          file.written = Buffer.from(file.written.subarray(0, length));
          for (const payload of (await read(disk)).frames) {
            expect(['one', 'two', 'three']).toContain(payload);
          }
        },
      ),
    );
  });
});

describe('on a real folder', () => {
  const folders: string[] = [];
  afterEach(async () => {
    for (const dir of folders.splice(0)) await rm(dir, { recursive: true, force: true });
  });

  test('writes 0600 files and reads them back', async () => {
    const dir = join(await mkdtemp(join(tmpdir(), 'stele-journal-')), 'spool');
    folders.push(dir);
    const disk = await openDisk(dir);
    const journal = await Journal.open(options(disk, { segmentBytes: 300_000 }));
    const payloads = Array.from({ length: 3_000 }, (_, i) => `payload ${i} ${'x'.repeat(i % 700)}`);
    for (const p of payloads) journal.append(FRAME.response, NO_CALL, text(p));
    await journal.commit();
    expect(await disk.freeBytes()).toBeGreaterThan(0);
    await journal.close();
    const found = await read(await openDisk(dir));
    expect(found.frames).toEqual(payloads);
    for (const { name } of await disk.list()) {
      expect((await stat(join(dir, name))).mode & 0o777).toBe(0o600);
    }
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
  });

  test('replaces a small file durably', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'stele-journal-'));
    folders.push(dir);
    const disk = await openDisk(dir);
    expect(await disk.readSmall('source')).toBeUndefined();
    await disk.replaceSmall('source', text('one'));
    await disk.replaceSmall('source', text('two'));
    expect(Buffer.from((await disk.readSmall('source')) ?? []).toString()).toBe('two');
  });
});
