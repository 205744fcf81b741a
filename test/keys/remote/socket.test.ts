/** The socket between a log and its signer: who may connect, what bounds a connection, and answers that never come. */
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { utf8 } from '../../../server/core/bytes.ts';
import { formatCheckpoint } from '../../../server/core/checkpoint.ts';
import { type Hash, treeSize } from '../../../server/core/units.ts';
import type { SignerConnection } from '../../../server/keys/remote/connection.ts';
import {
  type Answer,
  formatAnswer,
  formatHello,
  formatQuestion,
  LINE_BYTES_MAX,
  Lines,
  parseQuestion,
  type Question,
} from '../../../server/keys/remote/protocol.ts';
import {
  keysOf,
  newestOf,
  RemoteMemory,
  RemoteSigner,
} from '../../../server/keys/remote/remote-keys.ts';
import type { SignerService } from '../../../server/keys/remote/service.ts';
import { temporaryFolder } from '../../temporary.ts';
import { ORIGIN, signerPlace } from './signer-folder.ts';

const head = (size: number) => ({
  size: treeSize(size),
  root: new Uint8Array(32).fill(size) as Hash,
});

const noProof = () => Promise.reject(new Error('no proof is needed'));

/** The next line of a socket. */
function nextLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = new Lines();
    socket.on('data', (chunk: Buffer) => {
      const [line] = lines.feed(chunk);
      if (line !== undefined) resolve(Buffer.from(line).toString());
    });
    socket.once('close', () => reject(new Error('closed')));
  });
}

function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** A service that answers when it is told to. */
function slowService() {
  const asked: { readonly question: Question; readonly answer: (answer: Answer) => void }[] = [];
  let wake: (() => void) | undefined;
  const service = {
    answer: (question: Question) =>
      new Promise<Answer>((answer) => {
        asked.push({ question, answer });
        wake?.();
      }),
  } as unknown as SignerService;
  const until = async (count: number) => {
    while (asked.length < count) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { service, asked, until };
}

describe('over the socket', () => {
  test('a log gets its keys, has a head taken, and has it signed', async () => {
    const { start, connect: connectTo } = await signerPlace();
    await start();
    const connection = connectTo();
    const keys = await keysOf(connection, ORIGIN);
    expect(keys.map(({ purpose }) => purpose)).toEqual(['anchor', 'identity', 'sth', 'operator']);
    expect(await newestOf(connection, ORIGIN)).toBeUndefined();
    const memory = new RemoteMemory(connection, ORIGIN);
    await memory.extend(head(1), noProof);
    expect(await newestOf(connection, ORIGIN)).toEqual(head(1));
    const { publicKey } = keys.find(({ purpose }) => purpose === 'identity')!;
    const identity = new RemoteSigner(connection, ORIGIN, 'identity', publicKey);
    const text = utf8(formatCheckpoint({ origin: ORIGIN, ...head(1) }));
    expect(await identity.sign(text)).toHaveLength(64);
    await expect(identity.sign(utf8('anything'))).rejects.toMatchObject({
      code: 'storage',
      retryAfterS: 30,
      message: expect.stringContaining('the signer refuses'),
    });
    // A root that contradicts what was taken.
    const other = { size: treeSize(1), root: head(2).root };
    await expect(memory.extend(other, noProof)).rejects.toMatchObject({ code: 'split_view' });
  });

  test('what was taken is remembered by the next signer on the same state', async () => {
    const { start, connect: connectTo } = await signerPlace();
    const first = await start();
    await new RemoteMemory(connectTo(), ORIGIN).extend(head(1), noProof);
    await first.stop();
    await start();
    expect(await newestOf(connectTo(), ORIGIN)).toEqual(head(1));
  });

  test('answers that come in another order find who asked', async () => {
    const { service, asked, until } = slowService();
    const { start, connect: connectTo } = await signerPlace();
    await start({ service });
    const connection = connectTo();
    const sizes = [1, 2, 3, 4, 5];
    const answers = sizes.map(() => newestOf(connection, ORIGIN));
    await until(5);
    for (const [i, { answer }] of [...asked.entries()].reverse()) {
      answer({ kind: 'newest', newest: head(i + 1) });
    }
    expect((await Promise.all(answers)).map((newest) => newest?.size)).toEqual(sizes);
  });
});

describe('the socket', () => {
  test.each([
    [0o600, 'its owner alone'],
    [0o660, 'its group too'],
  ] as const)('is made with mode %o for %s, and is gone after a stop', async (mode, _) => {
    const { start, path } = await signerPlace();
    const running = await start({ mode });
    expect(statSync(path).mode & 0o777).toBe(mode);
    await running.stop();
    expect(existsSync(path)).toBe(false);
  });

  test.each([0o777, 0o770, 0o1777])('is not made in a folder of mode %o', async (mode) => {
    const { start, path } = await signerPlace();
    chmodSync(dirname(path), mode);
    await expect(start()).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('chmod go-w'),
    });
    chmodSync(dirname(path), 0o700);
  });

  test('is not made where there is no folder, or another signer, or a path is too long', async () => {
    const { start, path } = await signerPlace();
    await start();
    await expect(start()).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('another signer listens there'),
    });
    await expect(start({ path: join(path, 'x') })).rejects.toMatchObject({ code: 'storage' });
    const nowhere = join(temporaryFolder(), 'missing', 'socket');
    await expect(start({ path: nowhere })).rejects.toMatchObject({ code: 'storage' });
    await expect(start({ path: `/tmp/${'x'.repeat(110)}` })).rejects.toMatchObject({
      code: 'too_large',
    });
  });

  test('that a killed signer left behind is taken over, and a file that is none is left alone', async () => {
    const { start, path } = await signerPlace();
    const { execFileSync } = await import('node:child_process');
    const dies = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`;
    expect(() => execFileSync(process.execPath, ['-e', dies], { stdio: 'ignore' })).toThrow();
    expect(existsSync(path)).toBe(true);
    await (await start()).stop();
    writeFileSync(path, 'notes');
    await expect(start()).rejects.toMatchObject({ code: 'conflict' });
    expect(statSync(path).size).toBe(5);
  });
});

describe('a connection', () => {
  test.each<[string, string | Uint8Array]>([
    ['a line that is no request', 'GET / HTTP/1.1\n'],
    ['a request in another spelling', '{"op":"keys","id":1,"origin":"a"}\n'],
    ['an empty line', '\n'],
    ['a line that does not end', new Uint8Array(LINE_BYTES_MAX + 1).fill(0x20)],
    ['noise', new Uint8Array(1_000).map((_, i) => (i * 7919) % 256)],
  ])('is ended by %s, and the others go on', async (_, sent) => {
    const { start, connect: connectTo, path, warned } = await signerPlace();
    await start();
    const good = connectTo();
    expect(await newestOf(good, ORIGIN)).toBeUndefined();
    const bad = connect(path);
    bad.write(sent);
    await closed(bad);
    expect(warned).toEqual(['a connection that does not speak as a log does was ended']);
    expect(await newestOf(good, ORIGIN)).toBeUndefined();
  });

  test('is ended by a line that takes too long, however it trickles in', async () => {
    const { start, path } = await signerPlace();
    await start({ limits: { lineMs: 100 } });
    const slow = connect(path);
    const timer = setInterval(() => slow.write(' '), 20);
    await closed(slow);
    clearInterval(timer);
  });

  test('is not read while too many of its requests are under way, or their answers are not taken', async () => {
    const { service, asked, until } = slowService();
    const { start, path } = await signerPlace();
    await start({ service, limits: { requests: 4 } });
    const socket = connect(path);
    onTestFinished(() => void socket.destroy());
    await nextLine(socket);
    for (let id = 1; id <= 20; id++) {
      socket.write(formatQuestion({ id, content: { op: 'newest', origin: ORIGIN } }));
      await until(Math.min(id, 4));
    }
    // Each that ends lets others in; in the end all are answered.
    for (let i = 0; i < 20; i++) {
      await until(i + 1);
      asked[i]!.answer({ kind: 'newest', newest: undefined });
    }
    expect(asked).toHaveLength(20);
  });

  test('that is one too many is turned away, and one that ends makes room', async () => {
    const { start, path } = await signerPlace();
    await start({ limits: { connections: 2 } });
    const two = [connect(path), connect(path)];
    onTestFinished(() => {
      for (const socket of two) socket.destroy();
    });
    for (const socket of two) expect(await nextLine(socket)).toBe('{"stele_signer":1}');
    await closed(connect(path));
    two[0]!.destroy();
    await closed(two[0]!);
    const again = connect(path);
    onTestFinished(() => void again.destroy());
    expect(await nextLine(again)).toBe('{"stele_signer":1}');
  });

  test('is closed at a stop once what was asked is answered', async () => {
    const { service, asked, until } = slowService();
    const { start, connect: connectTo } = await signerPlace();
    const running = await start({ service });
    const connection = connectTo();
    const answer = newestOf(connection, ORIGIN);
    await until(1);
    const stopped = running.stop();
    asked[0]!.answer({ kind: 'newest', newest: head(3) });
    expect(await answer).toEqual(head(3));
    await stopped;
  });

  test('tells of what must end the process', async () => {
    const service = {
      answer: () => Promise.reject(new Error('fsync failed')),
    } as unknown as SignerService;
    const { start, connect: connectTo, fatal } = await signerPlace();
    await start({ service });
    const asked = newestOf(connectTo({ answerMs: 200 }), ORIGIN);
    await expect(asked).rejects.toMatchObject({ code: 'storage' });
    expect(fatal.map(({ message }) => message)).toEqual(['fsync failed']);
  });
});

/** A signer that does what the test says, one line of answer for each request. */
function actor(
  path: string,
  act: (line: Uint8Array, socket: Socket) => void,
  hello = formatHello(),
) {
  const server = createServer((socket) => {
    const lines = new Lines();
    socket.on('error', () => {});
    socket.write(hello);
    socket.on('data', (chunk: Buffer) => {
      for (const line of lines.feed(chunk)) act(line, socket);
    });
  });
  onTestFinished(() => void server.close());
  return new Promise<void>((resolve) => server.listen(path, resolve));
}

async function returned(connection: SignerConnection): Promise<void> {
  await new Promise<void>((resolve) => {
    const stop = connection.onReturn(() => {
      stop();
      resolve();
    });
  });
}

describe('a signer that is away', () => {
  test('is said once, refuses at once, and is found again by itself', async () => {
    const { start, connect: connectTo, path } = await signerPlace();
    const said: string[] = [];
    const connection = connectTo({ said });
    await expect(newestOf(connection, ORIGIN)).rejects.toMatchObject({
      code: 'storage',
      retryAfterS: 2,
      message: expect.stringContaining('there is no such socket'),
    });
    expect(() => connection.checkThere()).toThrow(expect.objectContaining({ code: 'storage' }));
    const back = returned(connection);
    const running = await start();
    await back;
    connection.checkThere();
    expect(await newestOf(connection, ORIGIN)).toBeUndefined();
    await running.stop();
    await expect(newestOf(connection, ORIGIN)).rejects.toMatchObject({ code: 'storage' });
    const again = returned(connection);
    await start();
    await again;
    expect(await newestOf(connection, ORIGIN)).toBeUndefined();
    expect(said).toEqual([
      `the signer at ${path} is away`,
      `the signer at ${path} is there again`,
      `the signer at ${path} is away`,
      `the signer at ${path} is there again`,
    ]);
  });

  test('after it took a head and before it said so: the same head is taken again', async () => {
    const { path, connect: connectTo, start } = await signerPlace();
    const running = await start();
    const memory = new RemoteMemory(connectTo(), ORIGIN);
    await memory.extend(head(1), noProof);
    await running.stop();
    const again = new RemoteMemory(connectTo(), ORIGIN);
    await expect(again.extend(head(1), noProof)).rejects.toMatchObject({ code: 'storage' });
    expect(existsSync(path)).toBe(false);
    await start();
    const third = connectTo();
    await new RemoteMemory(third, ORIGIN).extend(head(1), noProof);
    expect(await newestOf(third, ORIGIN)).toEqual(head(1));
  });

  test.each<[string, (line: Uint8Array, socket: Socket) => void, RegExp]>([
    ['breaks the connection', (_, socket) => socket.destroy(), /it closed the connection/],
    ['says nothing', () => {}, /no answer within 200 ms/],
    ['says noise', (_, socket) => socket.write('noise\n'), /signer answer/],
    [
      'answers what nobody asked',
      (_, socket) => socket.write(formatAnswer({ id: 99, content: { kind: 'taken' } })),
      /which nobody made/,
    ],
    [
      'answers something else',
      (line, socket) =>
        socket.write(formatAnswer({ id: parseQuestion(line).id, content: { kind: 'taken' } })),
      /what was not asked/,
    ],
  ])('is refused with storage when it %s', async (_, act, reason) => {
    const { path, connect: connectTo } = await signerPlace();
    await actor(path, act);
    const asked = newestOf(connectTo({ answerMs: 200 }), ORIGIN);
    await expect(asked).rejects.toMatchObject({ code: 'storage' });
    await expect(asked).rejects.toThrow(reason);
  });

  test.each([
    ['another version', utf8('{"stele_signer":2}\n'), /it speaks version 2/],
    ['no hello', utf8('220 mail.example ESMTP\n'), /signer hello/],
    ['nothing', new Uint8Array(), /no hello within 200 ms/],
  ])('is what a socket with %s is taken for', async (_, hello, reason) => {
    const { path, connect: connectTo } = await signerPlace();
    await actor(path, () => {}, hello);
    const asked = newestOf(connectTo({ helloMs: 200 }), ORIGIN);
    await expect(asked).rejects.toMatchObject({ code: 'storage' });
    await expect(asked).rejects.toThrow(reason);
  });

  test('a signature that does not hold is not passed on', async () => {
    const { path, start, connect: connectTo } = await signerPlace();
    const running = await start();
    const [key] = await keysOf(connectTo(), ORIGIN);
    await running.stop();
    await actor(path, (line, socket) => {
      const { id } = parseQuestion(line);
      const signature = new Uint8Array(64).fill(1);
      socket.write(formatAnswer({ id, content: { kind: 'signature', signature } }));
    });
    const signer = new RemoteSigner(connectTo(), ORIGIN, key!.purpose, key!.publicKey);
    await expect(signer.sign(utf8('text\n'))).rejects.toMatchObject({
      code: 'storage',
      message: expect.stringContaining('does not hold'),
    });
  });

  test('a signer that asks for one proof after the other is not followed for ever', async () => {
    const { path, connect: connectTo } = await signerPlace();
    let from = 1;
    await actor(path, (line, socket) => {
      const { id } = parseQuestion(line);
      socket.write(formatAnswer({ id, content: { kind: 'prove_from', from: treeSize(from++) } }));
    });
    const proved: number[] = [];
    const memory = new RemoteMemory(connectTo(), ORIGIN);
    const extended = memory.extend(head(9), async (size) => {
      proved.push(size);
      return [];
    });
    await expect(extended).rejects.toMatchObject({ code: 'storage' });
    expect(proved).toEqual([1, 2]);
  });
});

test('a path without a socket needs a folder of its own', async () => {
  const folder = join(temporaryFolder(), 'run');
  mkdirSync(folder, { mode: 0o700 });
  const { start } = await signerPlace();
  const running = await start({ path: join(folder, 'signer.sock') });
  await running.stop();
});
