/** A signer signs what it understands and has taken, with the key that is for it, and nothing else. */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { toBase64, utf8 } from '../../../server/core/bytes.ts';
import { formatCheckpoint } from '../../../server/core/checkpoint.ts';
import { encodeTreeHead } from '../../../server/core/ct.ts';
import { EMPTY_ROOT } from '../../../server/core/merkle.ts';
import { pae } from '../../../server/core/pae.ts';
import {
  type Record as AuditRecord,
  formatRecord,
  RECORD_TYPE,
} from '../../../server/core/record.ts';
import { type Hash, treeSize } from '../../../server/core/units.ts';
import { checkSignatureNative } from '../../../server/keys/engine.ts';
import { createKeyFile, openKeyFile } from '../../../server/keys/file.ts';
import { addNext } from '../../../server/keys/remote/add-keys.ts';
import { HeadBook } from '../../../server/keys/remote/head-book.ts';
import { HeldKeys } from '../../../server/keys/remote/held-keys.ts';
import type { Purpose } from '../../../server/keys/remote/protocol.ts';
import { SignerService } from '../../../server/keys/remote/service.ts';
import { Gateway, makeSigner } from '../../log/make.ts';
import { MemoryHeads } from '../../log/test-signer.ts';
import { addLog, keysFolder, ORIGIN } from './signer-folder.ts';

const head = (size: number, fill = size) => ({
  size: treeSize(size),
  root: new Uint8Array(32).fill(fill) as Hash,
});

async function service(folder?: string) {
  const keys = await HeldKeys.open(folder ?? (await keysFolder()), openKeyFile);
  const book = new HeadBook(new MemoryHeads());
  await book.expect(ORIGIN, head(7));
  const signer = new SignerService({ keys, book });
  const held = await keys.keys(ORIGIN);
  const keyOf = (purpose: Purpose) => held.find((key) => key.purpose === purpose)!.signer.publicKey;
  const sign = (purpose: Purpose, message: Uint8Array, more = {}) => {
    const { keyid } = keyOf(purpose);
    return signer.answer({ op: 'sign', origin: ORIGIN, purpose, keyid, message, ...more });
  };
  return { signer, book, keyOf, sign };
}

const checkpoint = (size: number, more = {}) =>
  utf8(formatCheckpoint({ origin: ORIGIN, ...head(size), ...more }));

describe('keys of heads', () => {
  test.each(['identity', 'anchor'] as const)(
    'the %s key signs for a head that was taken',
    async (purpose) => {
      const { sign, keyOf } = await service();
      const answer = await sign(purpose, checkpoint(7));
      expect(answer.kind).toBe('signature');
      if (answer.kind !== 'signature') return;
      checkSignatureNative(keyOf(purpose), checkpoint(7), answer.signature);
    },
  );

  test.each([
    ['of another size', checkpoint(8)],
    ['of another root', checkpoint(7, { root: EMPTY_ROOT })],
    ['of another origin', checkpoint(7, { origin: 'log.example/logs/b' })],
    ['with a line more', utf8(`${formatCheckpoint({ origin: ORIGIN, ...head(7) })}more\n`)],
    ['without its end', checkpoint(7).subarray(0, -1)],
    [
      'in another spelling',
      utf8(formatCheckpoint({ origin: ORIGIN, ...head(7) }).replace('\n7\n', '\n07\n')),
    ],
    ['that is the PAE of something', pae(RECORD_TYPE, checkpoint(7))],
    ['that is noise', Uint8Array.of(0xff, 0xfe)],
  ])('none signs for a head %s', async (_, message) => {
    const { sign } = await service();
    for (const purpose of ['identity', 'anchor'] as const) {
      const answer = await sign(purpose, message);
      expect(answer).toMatchObject({
        kind: 'error',
        code: expect.stringMatching(/^(malformed|conflict)$/),
      });
    }
  });

  test('a key signs for its own purpose and origin alone', async () => {
    const { sign, keyOf, signer } = await service();
    const { keyid } = keyOf('anchor');
    expect(await sign('identity', checkpoint(7), { keyid })).toMatchObject({
      kind: 'error',
      code: 'not_found',
      message: expect.stringContaining(keyOf('identity').keyid),
    });
    const elsewhere = {
      op: 'sign',
      origin: 'log.example/logs/b',
      purpose: 'anchor',
      keyid,
    } as const;
    expect(await signer.answer({ ...elsewhere, message: checkpoint(7) })).toMatchObject({
      kind: 'error',
      code: 'not_found',
    });
  });
});

describe('the key of RFC 6962 tree heads', () => {
  const treeHead = (size: number, timeMs: number, more = {}) =>
    encodeTreeHead({ ...head(size), timeMs, ...more });

  test('signs for a head that was taken, and each time later than the last', async () => {
    const { sign, keyOf } = await service();
    for (const time of [5, 6, 1_000]) {
      const answer = await sign('sth', treeHead(7, time));
      expect(answer.kind).toBe('signature');
      if (answer.kind !== 'signature') return;
      checkSignatureNative(keyOf('sth'), treeHead(7, time), answer.signature);
    }
    for (const time of [1_000, 999, 0]) {
      expect(await sign('sth', treeHead(7, time))).toMatchObject({
        kind: 'error',
        code: 'conflict',
      });
    }
    expect((await sign('sth', treeHead(7, 1_001))).kind).toBe('signature');
  });

  test('signs nothing else, and a refusal takes no time', async () => {
    const { sign } = await service();
    const refused = [
      treeHead(8, 10),
      treeHead(7, 10, { root: EMPTY_ROOT }),
      treeHead(7, 10).subarray(0, -1),
      Buffer.concat([treeHead(7, 10), Uint8Array.of(0)]),
      Uint8Array.from(treeHead(7, 10), (byte, i) => (i === 1 ? 0 : byte)),
      checkpoint(7),
    ];
    for (const message of refused) {
      expect(await sign('sth', message)).toMatchObject({ kind: 'error' });
    }
    expect(await sign('identity', treeHead(7, 10))).toMatchObject({ code: 'malformed' });
    expect((await sign('sth', treeHead(7, 1))).kind).toBe('signature');
  });
});

describe('the operator key', () => {
  const control = (members: object = {}) => {
    const operator = makeSigner().publicKey;
    const record = {
      schema: 'stele.record/1',
      kind: 'key',
      log: ORIGIN,
      record_id: '01890a5d-ac96-774b-bcce-b302099a8057',
      source: {
        id: '_log',
        instance: 'i',
        seq: 1,
        prev: toBase64(new Uint8Array(32))
          .replaceAll('+', '-')
          .replaceAll('/', '_')
          .replace('=', ''),
        provenance: 'observed',
        completeness: 'full',
        software: 'stele/0',
      },
      time: { received: '2026-01-01T00:00:00.000000Z' },
      key: {
        action: 'register',
        purpose: 'gateway',
        alg: 'ed25519',
        spki: toBase64(operator.spki),
        keyid: operator.keyid,
      },
      ...members,
    };
    return formatRecord(record as unknown as AuditRecord);
  };

  test('signs a control record of a log that is known', async () => {
    const { sign, keyOf } = await service();
    const message = pae(RECORD_TYPE, control());
    const answer = await sign('operator', message);
    expect(answer.kind).toBe('signature');
    if (answer.kind !== 'signature') return;
    checkSignatureNative(keyOf('operator'), message, answer.signature);
  });

  test('signs nothing else', async () => {
    const { sign } = await service();
    const gateway = await new Gateway().next({}, ORIGIN);
    const good = pae(RECORD_TYPE, control());
    const text = Buffer.from(good).toString('latin1');
    const header = text.slice(0, text.indexOf('{'));
    const messages: Record<string, Uint8Array> = {
      "a gateway's record": pae(RECORD_TYPE, gateway.payload),
      'a record of another log': pae(RECORD_TYPE, control({ log: 'log.example/logs/b' })),
      'another payload type': pae('text/plain', control()),
      'a checkpoint': checkpoint(7),
      'a wrong length': Buffer.from(
        text.replace(header, header.replace(/[0-9]+ $/, '1 ')),
        'latin1',
      ),
      'a length in another spelling': Buffer.from(
        text.replace(header, header.replace(/([0-9]+) $/, '0$1 ')),
        'latin1',
      ),
      'a byte more': Buffer.concat([good, Uint8Array.of(0x20)]),
      'a byte less': good.subarray(0, -1),
      'nothing at all': new Uint8Array([0]),
      'a header without end': utf8(`DSSEv1 ${'9'.repeat(500)}`),
    };
    for (const [what, message] of Object.entries(messages)) {
      expect(await sign('operator', message), what).toMatchObject({
        kind: 'error',
        code: 'malformed',
      });
    }
  });
});

describe('the folder of keys', () => {
  const open = (folder: string) => HeldKeys.open(folder, openKeyFile);

  test('gives what it holds for an origin, each with its purpose', async () => {
    const { signer } = await service();
    const answer = await signer.answer({ op: 'keys', origin: ORIGIN });
    expect(
      answer.kind === 'keys' &&
        answer.keys.map(({ purpose, publicKey }) => [purpose, publicKey.alg]),
    ).toEqual([
      ['anchor', 'ecdsa-p256'],
      ['identity', 'ed25519'],
      ['sth', 'ecdsa-p256'],
      ['operator', 'ed25519'],
    ]);
  });

  test('is looked at again for an origin that was not there at the start', async () => {
    const folder = await keysFolder();
    const { signer } = await service(folder);
    const origin = 'log.example/logs/later';
    expect(await signer.answer({ op: 'keys', origin })).toMatchObject({
      kind: 'error',
      code: 'not_found',
      message: expect.stringContaining(`stele signer add ${origin} --keys ${folder}`),
    });
    await addLog(folder, 'later', origin);
    expect(await signer.answer({ op: 'keys', origin })).toMatchObject({ kind: 'keys' });
    expect(await signer.answer({ op: 'newest', origin })).toEqual({
      kind: 'newest',
      newest: undefined,
    });
  });

  test('has the keys that were put beside the others meanwhile, for a log that asks', async () => {
    const folder = await keysFolder();
    const { signer, keyOf, sign } = await service(folder);
    const own = join(folder, 'a');
    const asked = async () => {
      const answer = await signer.answer({ op: 'keys', origin: ORIGIN });
      return answer.kind === 'keys' ? answer.keys.map(({ publicKey }) => publicKey.keyid) : answer;
    };
    writeFileSync(join(own, 'identity-2.pem'), 'not yet a key', { mode: 0o600 });
    expect(await asked()).toMatchObject({ kind: 'error' });
    rmSync(join(own, 'identity-2.pem'));
    copy(join(own, 'anchor.pem'), join(own, 'anchor-2.pem'));
    expect(await asked()).toMatchObject({ kind: 'error', code: 'conflict' });
    rmSync(join(own, 'anchor-2.pem'));
    // What went wrong before took nothing away.
    expect(await sign('anchor', checkpoint(7))).toMatchObject({ kind: 'signature' });
    const next = await createKeyFile(join(own, 'identity-2.pem'), 'ed25519');
    const { keyid } = next.publicKey;
    expect(await sign('identity', checkpoint(7), { keyid })).toMatchObject({ code: 'not_found' });
    const both = await Promise.all([asked(), asked(), asked()]);
    for (const keys of both) expect(keys).toContain(keyid);
    expect(both[0]).toContain(keyOf('identity').keyid);
    expect(both[0]).toHaveLength(5);
    expect(await sign('identity', checkpoint(7), { keyid })).toMatchObject({ kind: 'signature' });
  });

  test('is given one more key of a purpose, made or brought along, which no other is', async () => {
    const folder = await keysFolder();
    const cwd = await keysFolder();
    const options = { cwd, secrets: {} };
    const made = await addNext(folder, ORIGIN, { purpose: 'identity' }, options);
    const brought = await createKeyFile(join(cwd, 'mine.pem'), 'ecdsa-p256');
    await addNext(folder, ORIGIN, { purpose: 'anchor', reference: 'mine.pem' }, options);
    const keys = await (await open(folder)).keys(ORIGIN);
    const keyids = keys.map(({ signer: { publicKey } }) => publicKey.keyid);
    expect(keyids).toContain(made.keyid);
    expect(keyids).toContain(brought.publicKey.keyid);
    await expect(
      addNext(folder, ORIGIN, { purpose: 'anchor', reference: 'mine.pem' }, options),
    ).rejects.toThrow(/anchor-2.pem too: each key has one purpose/);
    await expect(
      addNext(folder, ORIGIN, { purpose: 'identity', reference: 'mine.pem' }, options),
    ).rejects.toThrow(/each key has one purpose|ecdsa-p256 where a key for identity/);
    await expect(
      addNext(folder, 'log.example/none', { purpose: 'identity' }, options),
    ).rejects.toThrow(/no keys for "log.example\/none"/);
  });

  test('may have a successor for a key, and a folder that is being made', async () => {
    const folder = await keysFolder();
    await createKeyFile(join(folder, 'a', 'identity-2.pem'), 'ed25519');
    mkdirSync(join(folder, 'half'));
    writeFileSync(join(folder, '.hidden'), '');
    const keys = await (await open(folder)).keys(ORIGIN);
    expect(keys.filter(({ purpose }) => purpose === 'identity')).toHaveLength(2);
  });

  test.each<[string, (folder: string) => Promise<void> | void, RegExp]>([
    [
      'one key for two purposes',
      async (folder) => {
        const one = join(folder, 'a');
        rmSync(join(folder, 'operator.pem'));
        await createKeyFile(join(one, 'x'), 'ed25519');
        rmSync(join(one, 'identity.pem'));
        renameSync(join(one, 'x'), join(one, 'identity.pem'));
        copy(join(one, 'identity.pem'), join(folder, 'operator.pem'));
      },
      /each key has one purpose/,
    ],
    [
      'one key for two logs',
      async (folder) => {
        await addLog(folder, 'b', 'log.example/logs/b');
        rmSync(join(folder, 'b', 'anchor.pem'));
        copy(join(folder, 'a', 'anchor.pem'), join(folder, 'b', 'anchor.pem'));
      },
      /each key has one purpose, in one log/,
    ],
    ['one origin twice', (folder) => addLog(folder, 'b', ORIGIN), /has keys in another folder too/],
    [
      'an identity key of another algorithm',
      async (folder) => {
        rmSync(join(folder, 'a', 'identity.pem'));
        await createKeyFile(join(folder, 'a', 'identity.pem'), 'ecdsa-p256');
      },
      /ecdsa-p256 where a key for identity is ed25519/,
    ],
    ['no anchor key', (folder) => rmSync(join(folder, 'a', 'anchor.pem')), /it has no anchor key/],
    [
      'a file that is no key',
      (folder) => writeFileSync(join(folder, 'a', 'notes'), ''),
      /not the name of a key/,
    ],
    [
      'a file that is no folder',
      (folder) => writeFileSync(join(folder, 'notes'), ''),
      /neither the folder of a log/,
    ],
    [
      'an origin that is none',
      (folder) => writeFileSync(join(folder, 'a', 'origin'), 'with space\n'),
      /has white space/,
    ],
    [
      'a key that others can read',
      (folder) => chmodSync(join(folder, 'a', 'anchor.pem'), 0o644),
      /looser than 0600/,
    ],
  ])('is refused with %s', async (_, spoil, reason) => {
    const folder = await keysFolder();
    await spoil(folder);
    await expect(open(folder)).rejects.toThrow(reason);
  });
});

function copy(from: string, to: string): void {
  writeFileSync(to, readFileSync(from), { mode: 0o600 });
}
