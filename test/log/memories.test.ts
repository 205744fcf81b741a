/** What is remembered outside a data folder decides whether a log signs (P2). */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint, openCheckpoint } from '../../server/core/checkpoint.ts';
import { SteleError } from '../../server/core/errors.ts';
import { formatNote } from '../../server/core/note.ts';
import { type Hash, hash, treeSize } from '../../server/core/units.ts';
import { identityVerifierKey, signNote } from '../../server/keys/log-keys.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Log } from '../../server/log/log.ts';
import {
  contradiction,
  hasAnswered,
  type Known,
  KnowsSize,
  largestKnown,
  Memories,
  type Memory,
} from '../../server/log/memories.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, logOptions, makeSigner, ORIGIN, startLog, submit, TestKeys } from './make.ts';

const rootAt = (size: number): Hash => hash(new Uint8Array(32).fill(size));
const known = (size: number, root = rootAt(size)): Known => ({
  origin: ORIGIN,
  size: treeSize(size),
  root,
});

/** A memory elsewhere that answers with `answer`. */
function memory(answer: Known | undefined | SteleError, isLocal = false): Memory {
  return {
    kind: 'high-water',
    isLocal,
    placeOf: () => 'elsewhere',
    recall: async () => {
      if (answer instanceof SteleError) throw answer;
      return answer;
    },
  };
}

const unreachable = new SteleError('storage', 'nobody answers');

describe('the high-water file', () => {
  test('remembers the newest head, and the note that proves it to others', async () => {
    const stateFolder = temporaryFolder();
    const options = logOptions({ stateFolder });
    const { log, gateway } = await startLog(options);
    await append(log, await gateway.next());
    const remembered = await new HighWater(stateFolder).recall(ORIGIN);
    expect(remembered).toMatchObject({ origin: ORIGIN, size: 3, root: log.head().root });
    const { identity } = log.verifierKeys();
    const opened = openCheckpoint(utf8(remembered?.note ?? ''), ORIGIN, [identity]);
    expect(opened.checkpoint.size).toBe(3);
    await log.close();
  });

  test('has the whole head in one sector of a disk, with the longest origin', async () => {
    const origin = `h/logs/${'n'.repeat(248)}`;
    const folder = temporaryFolder();
    const file = new HighWater(folder);
    file.remember({ ...known(Number.MAX_SAFE_INTEGER, rootAt(7)), origin });
    file.release(origin);
    const bytes = readFileSync(file.placeOf(origin));
    expect(bytes.subarray(0, 512).toString()).toMatch(/^h\/logs\/n+\n9007199254740991\n.{44}\n+$/);
    expect(await file.recall(origin)).toMatchObject({ size: Number.MAX_SAFE_INTEGER });
  });

  const file = () => {
    const made = new HighWater(temporaryFolder());
    made.remember(known(5));
    return { made, path: made.placeOf(ORIGIN) };
  };

  test('that was made and never written remembers nothing', async () => {
    for (const text of ['', '\0'.repeat(512), '\n']) {
      const { made, path } = file();
      writeFileSync(path, text);
      expect(await made.recall(ORIGIN)).toBeUndefined();
    }
  });

  test.each([
    ['something else', 'x'],
    ['half of a head', `${ORIGIN}\n5\n`],
    ['a head of another log', `other/logs/a\n5\n${'A'.repeat(43)}=\n`],
    ['bytes that are no text', '\xff\xfe'],
  ])('with %s in it is damaged, and does not pass for empty', async (_what, text) => {
    const { made, path } = file();
    writeFileSync(path, text, 'latin1');
    await expect(made.recall(ORIGIN)).rejects.toMatchObject({ code: 'storage' });
  });

  test('is named by the hash of the origin', () => {
    expect(new HighWater('/state').placeOf('a')).toBe(
      `/state/${toHex(new Uint8Array(Buffer.from('ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=', 'base64')))}`,
    );
  });
});

describe('what memories say', () => {
  const judge = async (memories: Memories) =>
    contradiction(
      { name: 'a', size: treeSize(5), rootOf: async (size) => rootAt(size) },
      await memories.ask(ORIGIN),
    );

  test.each<[string, Memory[], RegExp | undefined]>([
    ['none is asked', [], undefined],
    ['one knows nothing', [memory(undefined)], undefined],
    ['one knows this very head', [memory(known(5))], undefined],
    ['one knows an older head', [memory(known(3))], undefined],
    ['one knows a newer head', [memory(known(6))], /has 5 entries, but a head of 6 was signed/],
    ['one knows another root', [memory(known(5, rootAt(9)))], /another root at size 5/],
    ['one knows another older root', [memory(known(3, rootAt(9)))], /another root at size 3/],
    ['the second knows better', [memory(known(4)), memory(known(6))], /a head of 6 was signed/],
    ['one cannot be asked', [memory(unreachable)], undefined],
    ['a local one cannot be read', [memory(unreachable, true)], /cannot ask .*nobody answers/],
    ['one cannot be asked, one knows better', [memory(unreachable), memory(known(6))], /of 6/],
  ])('%s', async (_what, all, reason) => {
    const said = await judge(new Memories(all));
    if (reason === undefined) expect(said).toBeUndefined();
    else expect(said).toMatch(reason);
  });

  test('a memory that is required must answer, and know the log', async () => {
    const required = (answer: Parameters<typeof memory>[0]) =>
      judge(new Memories([memory(answer)], ['high-water']));
    expect(await required(known(5))).toBeUndefined();
    expect(await required(undefined)).toMatch(/guard\.require asks for it/);
    expect(await required(unreachable)).toMatch(/nobody answers/);
  });

  describe('of witnesses', () => {
    const witness = (answer: Known | undefined | Error, last?: Known): Memory => ({
      kind: 'witness',
      isLocal: false,
      placeOf: () => 'w.example',
      last: () => last,
      recall: async () => {
        if (answer instanceof Error) throw answer;
        return answer;
      },
    });
    const other = new SteleError('split_view', 'it has another root at size 3');

    test.each<[string, Memory[], RegExp | undefined]>([
      ['one knows how large it was, and it is as large', [witness(new KnowsSize(5))], undefined],
      ['one knows that it was larger', [witness(new KnowsSize(6))], /but a head of 6 was signed/],
      ['one has another history', [witness(other)], /is not what was signed before .*another root/],
      ['one is away, and had cosigned this', [witness(unreachable, known(5))], undefined],
      ['one is away, and had cosigned more', [witness(unreachable, known(7))], /a head of 7/],
      ['one shows less than it had cosigned', [witness(known(3), known(6))], /a head of 6/],
      ['one shows more than it had cosigned', [witness(known(6), known(3))], /a head of 6/],
      ['one knows nothing of it yet', [witness(undefined)], undefined],
    ])('%s', async (_what, all, reason) => {
      const said = await judge(new Memories(all));
      if (reason === undefined) expect(said).toBeUndefined();
      else expect(said).toMatch(reason);
    });

    test('one that is required has to answer, whatever it knows', async () => {
      const required = (...all: Memory[]) => judge(new Memories(all, ['witness']));
      expect(await required(witness(unreachable), witness(undefined))).toBeUndefined();
      expect(await required(witness(new KnowsSize(4)), witness(unreachable))).toBeUndefined();
      expect(await required(witness(unreachable), witness(unreachable))).toMatch(/nobody answers/);
      expect(await required(witness(unreachable), witness(known(8)))).toMatch(/a head of 8/);
    });

    test('only those that are shown the log are asked', async () => {
      const stranger: Memory = { ...witness(known(9)), concerns: (origin) => origin !== ORIGIN };
      expect(await new Memories([stranger]).ask(ORIGIN)).toEqual([]);
      expect(await new Memories([stranger]).ask('another')).toHaveLength(1);
    });

    test('who has answered is counted', async () => {
      const all = [witness(undefined), witness(new KnowsSize(1)), witness(unreachable, known(1))];
      const answers = await new Memories([...all, memory(undefined)]).ask(ORIGIN);
      expect(answers.map(hasAnswered)).toEqual([true, true, false, false]);
    });
  });

  test('the largest head counts, whoever knows it', async () => {
    const answers = await new Memories([
      memory(known(4)),
      memory(unreachable),
      memory(known(6)),
      memory(undefined),
    ]).ask(ORIGIN);
    expect(largestKnown(answers)?.size).toBe(6);
    expect(largestKnown([])).toBeUndefined();
  });
});

test('a log whose high-water file is damaged is read, and signs nothing', async () => {
  const stateFolder = temporaryFolder();
  const options = logOptions({ stateFolder });
  const { log, gateway } = await startLog(options);
  await log.close();
  writeFileSync(new HighWater(stateFolder).placeOf(ORIGIN), 'x');
  const opened = await Log.open(options);
  expect(opened.head().size).toBe(2);
  expect(await submit(opened, await gateway.next())).toMatchObject([
    { code: 'split_view', message: expect.stringContaining('is damaged') },
  ]);
  await opened.close();
});

test('a log serves the head that a memory proves beyond its own, and not what one claims', async () => {
  const keys = new TestKeys();
  const options = logOptions({ stateFolder: temporaryFolder(), keys });
  const { log } = await startLog(options);
  await log.close();
  const noteOf = async (size: number, signer = keys.key('identity')) => {
    const text = formatCheckpoint(known(size));
    const key = identityVerifierKey(ORIGIN, signer);
    return formatNote(await signNote(text, [{ key, signer }]));
  };
  const signed = { ...known(9), note: await noteOf(9) };
  const open = (...answers: Known[]) =>
    Log.open({ ...options, memories: new Memories(answers.map((answer) => memory(answer))) });
  const behind = await open(known(12), signed, { ...known(5), note: await noteOf(5) });
  expect(behind.ahead).toBe(signed);
  expect(behind.stopped).toMatchObject({ code: 'split_view' });
  expect(await behind.headAt(treeSize(9))).toMatchObject({ size: 9, checkpoint: signed.note });
  await expect(behind.headAt(treeSize(12))).rejects.toMatchObject({ code: 'not_found' });
  await behind.close();
  for (const claimed of [
    known(9),
    { ...known(9), note: 'x' },
    { ...known(9), note: await noteOf(8) },
    { ...known(9), note: await noteOf(9, makeSigner()) },
    { ...known(9, rootAt(1)), note: await noteOf(9) },
  ]) {
    const claiming = await open(claimed);
    expect(claiming.ahead).toBeUndefined();
    expect(claiming.stopped).toMatchObject({ code: 'split_view' });
    await claiming.close();
  }
  const fine = await Log.open(options);
  expect(fine.ahead).toBeUndefined();
  await fine.close();
});
