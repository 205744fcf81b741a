/** An instance that is a witness by its settings: a name and its keys stay together, and lists only add. */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadConfig } from '../../server/config.ts';
import { toHex, utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { openWitness, type Witnessing } from '../../server/main/witnessing.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { idOfOrigin } from '../../server/storage/witnessed.ts';
import { logKey } from '../core/note-keys.ts';
import { temporaryFolder } from '../temporary.ts';
import { OtherLog } from '../witness/other-log.ts';

let folder: string;
let store: InstanceStore;
let open: Witnessing | undefined;
const lines: string[] = [];
const logger = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
const log = new OtherLog();

beforeEach(() => {
  folder = temporaryFolder();
  mkdirSync(join(folder, 'data'));
  store = new InstanceStore(join(folder, 'data', 'stele.db'));
  lines.length = 0;
});

afterEach(async () => {
  vi.useRealTimers();
  await open?.close();
  open = undefined;
  store.close();
});

/** Opened by these settings; the one before is closed first. */
async function start(env: Record<string, string> = {}) {
  await open?.close();
  open = undefined;
  const config = loadConfig({
    cwd: folder,
    data: join(folder, 'data'),
    env: {
      STELE_STATE: join(folder, 'state'),
      STELE_WITNESS_NAME: 'witness.example/w1',
      STELE_WITNESSED_OTHER: log.key.key.text,
      ...env,
    },
  });
  open = await openWitness(config, { store, logger });
  return open!.witness;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SteleError)) throw new Error(`no SteleError but ${String(error)}`);
  return error.code;
}

const keysFolder = () => join(folder, 'data', 'keys', 'witness');

describe('a name and its keys', () => {
  test('are made at the first start, and are the same ever after', async () => {
    const first = await start();
    expect(first.keys.map(({ type }) => type)).toEqual([4, 6]);
    expect((await start()).keys).toEqual(first.keys);
    expect(store.witnessed.witness()?.name).toBe('witness.example/w1');
  });

  test('without a name it is no witness, and nothing is made', async () => {
    const config = loadConfig({ cwd: folder, data: join(folder, 'data'), env: {} });
    expect(await openWitness(config, { store, logger })).toBeUndefined();
    expect(store.witnessed.witness()).toBeUndefined();
  });

  test('stay together: not another name with these keys', async () => {
    await start();
    const other = start({ STELE_WITNESS_NAME: 'another.example' });
    expect(await codeOf(other)).toBe('conflict');
    await start();
  });

  test('stay together: not other keys with this name', async () => {
    await start();
    renameSync(keysFolder(), `${keysFolder()}.away`);
    expect(await codeOf(start())).toBe('not_found');
    await start({ STELE_WITNESS_NAME: 'another.example' });
    await open?.close();
    expect(await codeOf(start())).toBe('conflict');
    rmSync(keysFolder(), { recursive: true });
    renameSync(`${keysFolder()}.away`, keysFolder());
    // The keys are those of the first name, and the instance is the second by now.
    expect(await codeOf(start({ STELE_WITNESS_NAME: 'another.example' }))).toBe('conflict');
  });

  test('an ML-DSA key that is lost is not made again; one that was never there is', async () => {
    const plain = await start({ STELE_WITNESS_MLDSA: 'false' });
    expect(plain.keys.map(({ type }) => type)).toEqual([4]);
    const both = await start();
    expect(both.keys[0]).toEqual(plain.keys[0]);
    rmSync(join(keysFolder(), 'mldsa44.pem'));
    expect(await codeOf(start())).toBe('not_found');
    await start({ STELE_WITNESS_MLDSA: 'false' });
  });

  test('with a passphrase are made and opened with it', async () => {
    const passphrase = join(folder, 'passphrase');
    writeFileSync(passphrase, 'open sesame\n', { mode: 0o600 });
    const env = { STELE_KEYS_PASSPHRASE_FILE: passphrase };
    const { keys } = await start(env);
    for (const name of ['ed25519.pem', 'mldsa44.pem']) {
      expect(readFileSync(join(keysFolder(), name), 'utf8')).toContain('ENCRYPTED');
    }
    expect((await start(env)).keys).toEqual(keys);
    expect(await codeOf(start())).toBe('malformed');
  });
});

describe('its memory', () => {
  test('a database that counts fewer transactions than are known outside cosigns nothing', async () => {
    await (await start()).add(utf8(log.ask(3)));
    const older = new InstanceStore(join(folder, 'older.db'));
    const { name, keys } = store.witnessed.witness()!;
    older.witnessed.setWitness({ name, keys });
    store.close();
    store = older;
    const witness = await start();
    expect(await codeOf(witness.add(utf8(log.ask(5))))).toBe('storage');
    expect(lines.join('')).toContain('the witness cosigns nothing');
    expect(witness.stopped?.message).toContain('has 0 transactions');
  });

  test('what it has and did not note outside is noted before it shows it, or it is not shown', async () => {
    await (await start()).add(utf8(log.ask(3)));
    const outside = join(folder, 'state', 'high-water');
    // As if the process had died between the two; and nothing can be written now.
    await open?.close();
    open = undefined;
    rmSync(outside, { recursive: true });
    const id = idOfOrigin(log.origin);
    const witness = await start();
    writeFileSync(outside, '');
    expect(await codeOf(witness.newest(id, toHex(id)))).toBe('storage');
    rmSync(outside);
    expect(await witness.newest(id, toHex(id))).toContain('witness.example/w1');
    const [mark = ''] = readdirSync(outside);
    expect(readFileSync(join(outside, mark), 'utf8').trim()).toBe('1');
  });

  test('another name with other keys begins anew, as it has said nothing yet', async () => {
    await (await start()).add(utf8(log.ask(3)));
    renameSync(keysFolder(), `${keysFolder()}.away`);
    const witness = await start({ STELE_WITNESS_NAME: 'another.example' });
    expect(witness.stopped).toBeUndefined();
    expect(await witness.add(utf8(log.ask(5, { old: 3 })))).toMatchObject({ kind: 'cosigned' });
  });
});

describe('lists', () => {
  const stanza = (origin: string, seed: number) =>
    `vkey ${logKey(origin, seed).key.text}\nqpd 96\ncontact nobody\n\n`;

  test('are read again when they change; what is wrong with one changes nothing', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const path = join(folder, 'logs.txt');
    let changes = 0;
    const write = (text: string) => {
      writeFileSync(path, text);
      // As if time had passed: some disks tell it in whole seconds.
      changes += 1;
      utimesSync(path, changes, changes);
      vi.advanceTimersByTime(60_000);
    };
    write(`logs/v0\n${stanza('a.example', 2)}`);
    const witness = await start({ STELE_WITNESS_LISTS: path });
    const known = () => witness.origins.map(({ origin }) => origin);
    expect(known()).toEqual([log.origin, 'a.example']);
    write(`logs/v0\n${stanza('a.example', 2)}${stanza('b.example', 3)}`);
    expect(known()).toEqual([log.origin, 'a.example', 'b.example']);
    write('logs/v1\n');
    rmSync(path);
    vi.advanceTimersByTime(60_000);
    expect(known()).toEqual([log.origin, 'a.example', 'b.example']);
    expect(lines.join('')).toContain('is not read again');
    write(`logs/v0\n${stanza('b.example', 4)}${stanza('witness.example/w1', 5)}`);
    expect(known()).toEqual([log.origin, 'a.example', 'b.example']);
    expect(witness.origins[2]?.keys).toHaveLength(2);
    expect(lines.join('')).toContain('is not witnessed');
  });

  test('that are not there, or are none, are told of at the start', async () => {
    const path = join(folder, 'logs.txt');
    expect(await codeOf(start({ STELE_WITNESS_LISTS: path }))).toBe('not_found');
    writeFileSync(path, 'a.example\n');
    expect(await codeOf(start({ STELE_WITNESS_LISTS: path }))).toBe('malformed');
  });
});

test('a log with the key of the witness itself is refused at the start', async () => {
  const { keys } = await start();
  const own = { STELE_WITNESSED_OTHER: keys[0]!.text };
  expect(await codeOf(start(own))).toBe('malformed');
});
