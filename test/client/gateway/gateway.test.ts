/** A gateway against a real log over HTTP: every statement is on record once, in one chain, and proven. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Logged } from '../../../server/client/gateway/gateway.ts';
import { StateFile } from '../../../server/client/gateway/state-file.ts';
import { sha256, toBase64url, utf8 } from '../../../server/core/bytes.ts';
import { makeDisclosure } from '../../../server/core/disclosure.ts';
import { decodeEntry, RECORD_TYPE } from '../../../server/core/entry.ts';
import { SteleError } from '../../../server/core/errors.ts';
import { uuidv7 } from '../../../server/core/uuid.ts';
import { useNativePrimitives } from '../../../server/native.ts';
import { verifyReceipt } from '../../../server/verify/verify.ts';
import { makeSigner } from '../../log/make.ts';
import { temporaryFolder } from '../../temporary.ts';
import { start, tokenOf } from '../served.ts';
import { annotation, MemoryState, makeGateway, recordsIn, type Served, to } from './make.ts';

beforeAll(() => useNativePrimitives());

const recordsOf = ({ instance }: Served) => recordsIn(instance.logs, 'notes');

const newId = () => uuidv7(Date.now(), new Uint8Array(randomBytes(10)));
const windowOf = (entry: Uint8Array) => decodeEntry(entry).signatures[0]?.window;
const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

describe('statements', () => {
  test('that come alone are signed alone; what comes meanwhile shares a round and a window', async () => {
    const served = await start();
    const asked: string[] = [];
    const counting: typeof fetch = (input, init) => {
      if (init?.method === 'POST') asked.push(new URL(String(input)).pathname.split('/').at(-1)!);
      return fetch(input, init);
    };
    const { gateway, state } = await makeGateway({ ...to(served), fetch: counting });
    const alone = await gateway.submit(annotation());
    expect(asked).toEqual(['entries']);
    expect(windowOf(alone.entry)).toBeUndefined();
    const writes = state.written.length;
    const logged = await Promise.all(many(200, () => gateway.submit(annotation())));
    // However many there are, they go in the few requests that fit between two answers.
    expect(asked.length).toBeLessThan(8);
    expect(state.written.length - writes).toBe(asked.length - 1);
    const windows = logged.map(({ entry }) => windowOf(entry)?.size);
    expect(Math.max(...windows.map((size) => size ?? 1))).toBeGreaterThan(50);
    expect(logged.map(({ index }) => index)).toEqual(many(200, (i) => i + 3));
    const records = await recordsOf(served);
    expect(records.map(({ source }) => source.seq)).toEqual(many(201, (i) => i));
    expect(await served.client.sources()).toContainEqual(
      expect.objectContaining({ id: gateway.status.source, next: 201, holes: [], forks: 0 }),
    );
  });

  test('have receipts that hold, of single ones and of batches, also where a batch came first', async () => {
    const served = await start();
    const asked: string[] = [];
    const counting: typeof fetch = (input, init) => {
      asked.push(new URL(String(input)).pathname);
      return fetch(input, init);
    };
    const { gateway } = await makeGateway({ ...to(served), fetch: counting });
    const check = async (logged: readonly Logged[]) => {
      for (const one of logged) {
        const receipt = await one.receipt();
        const verdict = verifyReceipt(receipt, served.trust);
        expect(verdict).toMatchObject({ holds: true, index: one.index });
      }
    };
    const batch = await Promise.all(many(10, () => gateway.submit(annotation())));
    const before = asked.length;
    await check([...batch, ...batch.slice(0, 3)]);
    // The first is asked for, and then the proofs of its two keys serve the whole batch.
    expect(asked.length - before).toBe(3);
    await check([await gateway.submit(annotation()), await gateway.heartbeat()]);
  });

  test('of another type are signed each alone, beside records', async () => {
    const served = await start();
    const { gateway } = await makeGateway(to(served));
    const logged = await Promise.all(
      many(10, (i) =>
        i % 2 === 0
          ? gateway.submit(annotation())
          : gateway.submit({ payloadType: 'text/plain', payload: utf8(`note ${i}`) }),
      ),
    );
    for (const [i, { entry, receipt }] of logged.entries()) {
      expect(windowOf(entry) === undefined, `${i}`).toBe(i % 2 === 1);
      expect(verifyReceipt(await receipt(), served.trust).holds).toBe(true);
    }
    expect((await recordsOf(served)).map(({ source }) => source.seq)).toEqual([0, 1, 2, 3, 4]);
  });

  test('that no log could take are refused before they get a number', async () => {
    const served = await start();
    const { gateway } = await makeGateway(to(served));
    const wrong = [
      { ...annotation(), kind: 'nonsense' },
      { ...annotation(), more: 1 },
      { ...annotation(), record_id: 'x' },
      { kind: 'genesis', time: { received: '2026-11-01T00:00:00.000000Z' } },
      { payloadType: RECORD_TYPE, payload: utf8('{}') },
      { payloadType: 'text/plain', payload: new Uint8Array(0) },
      { payloadType: 'té', payload: utf8('x') },
    ];
    for (const one of wrong) {
      await expect(gateway.submit(one as never)).rejects.toMatchObject({ code: 'malformed' });
    }
    const large = { payloadType: 'text/plain', payload: new Uint8Array(60_001) };
    await expect(gateway.submit(large)).rejects.toMatchObject({ code: 'too_large' });
    const beside = { content: { disclosures: ['x'], bodies: [] } };
    await expect(
      gateway.submit({ payloadType: 'text/plain', payload: utf8('x') }, beside),
    ).rejects.toMatchObject({ code: 'malformed' });
    expect(gateway.status.next).toBe(0);
  });

  test('that the log refuses leave a gap record, and nobody else behind', async () => {
    const served = await start();
    const { gateway } = await makeGateway(to(served));
    const id = newId();
    await gateway.submit(annotation(id));
    const results = await Promise.allSettled([
      gateway.submit(annotation()),
      gateway.submit(annotation(id)),
      gateway.submit({ payloadType: 'application/pdf', payload: utf8('x') }),
      gateway.submit(annotation(id)),
      gateway.submit(annotation()),
    ]);
    expect(results.map((one) => (one.status === 'fulfilled' ? 'logged' : one.reason.code))).toEqual(
      ['logged', 'conflict', 'forbidden', 'conflict', 'logged'],
    );
    await gateway.close();
    const records = await recordsOf(served);
    const gaps = records.flatMap((r) => (r.kind === 'gap' ? [r.gap] : []));
    expect(gaps).toMatchObject([{ reason: 'refused', seq_from: 2, seq_to: 3, count: 2 }]);
    expect(records.map(({ source }) => source.seq)).toEqual([0, 1, 4, 5]);
  });

  test('behind one that a strict log refuses get new numbers behind the gap', async () => {
    const served = await start(undefined, { continuity: 'require' });
    const { gateway, troubles } = await makeGateway(to(served));
    const id = newId();
    await gateway.submit(annotation(id));
    const ids = many(6, newId);
    const results = await Promise.allSettled(
      ids.map((one, i) => gateway.submit(annotation(i === 2 ? id : one))),
    );
    expect(results.map(({ status }) => status)).toEqual(
      many(6, (i) => (i === 2 ? 'rejected' : 'fulfilled')),
    );
    expect(troubles).toEqual([]);
    const records = await recordsOf(served);
    expect(records.filter(({ kind }) => kind === 'gap')).toMatchObject([
      { gap: { reason: 'refused', seq_from: 3, seq_to: 6 } },
    ]);
    const kept = records.filter(({ kind }) => kind !== 'gap').map(({ record_id }) => record_id);
    expect(kept).toEqual([id, ...ids.filter((_, i) => i !== 2)]);
    expect(await served.client.sources()).toContainEqual(
      expect.objectContaining({ id: gateway.status.source, forks: 0 }),
    );
  });
});

describe('content', () => {
  function withContent(text: string) {
    const body = utf8(text);
    const digest = toBase64url(sha256(body));
    const described = { bytes: body.length, media_type: 'text/plain', sha256: digest };
    const salt = new Uint8Array(randomBytes(16));
    const { disclosure, digest: commitment } = makeDisclosure('annotation.target', described, salt);
    const record = annotation() as { annotation: object };
    const open = async function* () {
      yield body;
    };
    const bodies = [{ field: 'annotation.target', bytes: body.length, open }];
    return {
      statement: {
        ...record,
        record_id: newId(),
        annotation: { ...record.annotation, target_commit: commitment },
      } as never as ReturnType<typeof annotation> & { record_id: string },
      content: { disclosures: [disclosure], bodies },
    };
  }

  test.each(['flag', 'require'] as const)(
    'goes along with its record, a few at once (%s)',
    async (continuity) => {
      const served = await start(undefined, { continuity });
      const { gateway } = await makeGateway(to(served));
      const given = many(20, (i) => withContent(`text ${i}`));
      const logged = await Promise.all(
        given.flatMap(({ statement, content }, i) => [
          gateway.submit(statement, { content }),
          ...(i % 5 === 0 ? [gateway.submit(annotation())] : []),
        ]),
      );
      expect(new Set(logged.map(({ index }) => index)).size).toBe(24);
      for (const [i, { statement }] of given.entries()) {
        const chunks: Uint8Array[] = [];
        const read = { reason: 'a test' };
        for await (const chunk of served.client.body(
          statement.record_id,
          'annotation.target',
          read,
        )) {
          chunks.push(chunk);
        }
        expect(Buffer.concat(chunks).toString()).toBe(`text ${i}`);
      }
      expect(await served.client.sources()).toContainEqual(
        expect.objectContaining({ id: gateway.status.source, next: 24, holes: [], forks: 0 }),
      );
    },
  );

  test('that does not fit its record is refused, and no other', async () => {
    const served = await start();
    const { gateway } = await makeGateway(to(served));
    const [one, two] = [withContent('one'), withContent('two')];
    const results = await Promise.allSettled([
      gateway.submit(one.statement, { content: two.content }),
      gateway.submit(two.statement, { content: two.content }),
    ]);
    expect(results).toMatchObject([
      { status: 'rejected', reason: { code: 'unverified' } },
      { status: 'fulfilled' },
    ]);
  });
});

describe('the line', () => {
  test('is bounded, and says when there is room', async () => {
    const served = await start();
    const { gateway } = await makeGateway({ ...to(served), limits: { waiting: 5, round: 2 } });
    const first = many(5, () => gateway.submit(annotation()));
    await expect(gateway.submit(annotation())).rejects.toMatchObject({ code: 'pushback' });
    let logged = 0;
    for (let i = 0; i < 20; i++) {
      await gateway.whenRoom();
      first.push(gateway.submit(annotation()));
    }
    for (const one of await Promise.all(first)) logged += one.repeat ? 0 : 1;
    expect(logged).toBe(25);
    expect((await recordsOf(served)).map(({ source }) => source.seq)).toEqual(many(25, (i) => i));
  });

  test('is left by who gives up; what has a number is logged all the same', async () => {
    const served = await start();
    const sent = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    const holding: typeof fetch = async (input, init) => {
      if (init?.method === 'POST') {
        sent.resolve();
        await answer.promise;
      }
      return fetch(input, init);
    };
    const { gateway } = await makeGateway({ ...to(served), fetch: holding });
    const [early, late] = [new AbortController(), new AbortController()];
    const signed = gateway.submit(annotation(), { signal: late.signal });
    await sent.promise;
    const unsigned = gateway.submit(annotation(), { signal: early.signal });
    early.abort();
    await expect(unsigned).rejects.toThrow('it was not signed yet');
    late.abort();
    await expect(signed).rejects.toThrow('it is signed, and will be logged');
    await expect(gateway.submit(annotation(), { signal: early.signal })).rejects.toMatchObject({
      code: 'not_yet',
    });
    answer.resolve();
    await gateway.close();
    expect((await recordsOf(served)).map(({ source }) => source.seq)).toEqual([0]);
  });
});

describe('a gateway that is closed', () => {
  test('logs what waits first, and takes nothing more', async () => {
    const served = await start();
    const { gateway, state } = await makeGateway(to(served));
    const all = many(50, () => gateway.submit(annotation()));
    await gateway.close();
    expect(new Set((await Promise.all(all)).map(({ index }) => index)).size).toBe(50);
    await expect(gateway.submit(annotation())).rejects.toMatchObject({ code: 'not_yet' });
    expect(state.last).toMatchObject({ pending: [], lost: [], next: 50 });
  });

  test('while the log is away leaves to the next one what is signed', async () => {
    const served = await start();
    let isAway = true;
    const away: typeof fetch = async (input, init) => {
      if (isAway && init?.method === 'POST') throw new TypeError('away');
      return fetch(input, init);
    };
    const { gateway, state, troubles } = await makeGateway({ ...to(served), fetch: away });
    const results = many(3, () => gateway.submit(annotation()).catch((error: Error) => error));
    await expect.poll(() => troubles.length, { timeout: 30_000 }).toBeGreaterThan(2);
    const later = gateway.submit(annotation()).catch((error: Error) => error);
    await gateway.close({ ms: 0 });
    for (const one of await Promise.all(results)) expect(String(one)).toContain('it is signed');
    expect(String(await later)).toContain('it was not signed');
    isAway = false;
    const recovered: number[] = [];
    const next = await makeGateway({
      ...to(served),
      state: state.copy(),
      onRecovered: (_, outcome) => {
        if (!(outcome instanceof SteleError)) recovered.push(outcome.index);
      },
    });
    expect((await next.gateway.submit(annotation())).index).toBe(5);
    expect(recovered).toEqual([2, 3, 4]);
    const records = await recordsOf(served);
    expect(records.map(({ source }) => source.seq)).toEqual([0, 1, 2, 3]);
    expect(new Set(records.map(({ source }) => source.id)).size).toBe(1);
    expect(new Set(records.map(({ source }) => source.instance)).size).toBe(2);
  });
});

describe('a state', () => {
  test('in a file has one process, and lives on', async () => {
    const served = await start();
    const path = join(temporaryFolder(), 'gateway.state');
    const first = await makeGateway({ ...to(served), state: StateFile.open(path) });
    expect(() => StateFile.open(path)).toThrow('another process uses it');
    await first.gateway.submit(annotation());
    await first.gateway.close();
    const second = await makeGateway({ ...to(served), state: StateFile.open(path) });
    await second.gateway.submit(annotation());
    expect(second.gateway.status.source).toBe(first.gateway.status.source);
    await second.gateway.close();
    const other = makeGateway({ ...to(served), log: 'default', state: StateFile.open(path) });
    await expect(other).rejects.toMatchObject({ code: 'conflict' });
    await StateFile.open(path).close();
  });

  test('that was lost is replaced by a source that names it', async () => {
    const served = await start();
    const first = await makeGateway(to(served));
    await first.gateway.submit(annotation());
    await first.gateway.close();
    const { source } = first.gateway.status;
    const second = await makeGateway({ ...to(served), replaces: source });
    await second.gateway.submit(annotation());
    const [, gap, next] = await recordsOf(served);
    expect(gap).toMatchObject({
      source: { id: second.gateway.status.source, seq: 0 },
      gap: { reason: 'state-lost', source, seq_from: 1, seq_to: 1 },
    });
    expect(next).toMatchObject({ source: { id: second.gateway.status.source, seq: 1 } });
    // A token that may only submit is not told how far it had got.
    const token = tokenOf(served.instance, ['submit'], ['notes']);
    const third = await makeGateway({ ...to(served), token, replaces: source });
    await third.gateway.submit(annotation());
    expect((await recordsOf(served)).at(-2)).toMatchObject({ gap: { seq_from: 0, seq_to: 0 } });
  });

  test('that cannot be written holds everything up, and no number is seen before it is', async () => {
    const served = await start();
    const state = new MemoryState();
    const { gateway, troubles } = await makeGateway({ ...to(served), state });
    let failures = 3;
    state.before = () => {
      if (failures-- > 0) throw new SteleError('storage', 'ENOSPC');
    };
    await gateway.submit(annotation());
    expect(troubles.map(({ message }) => message)).toEqual(['ENOSPC', 'ENOSPC', 'ENOSPC']);
    state.before = () => {
      throw new Error('a sync failed');
    };
    await expect(gateway.submit(annotation())).rejects.toThrow('a sync failed');
    await expect(gateway.submit(annotation())).rejects.toThrow('a sync failed');
    expect((await recordsOf(served)).length).toBe(1);
    expect(gateway.status.error).toBe('a sync failed');
    await gateway.close();
  });

  test('of a source whose name would be the log’s own is not begun', async () => {
    const served = await start();
    for (const source of ['_gw', '', 'a b', 'x'.repeat(120)]) {
      await expect(makeGateway({ ...to(served), source })).rejects.toMatchObject({
        code: 'malformed',
      });
    }
  });
});

describe('what an operator has to mend', () => {
  test('is waited out for a while: a key that is not registered yet', async () => {
    const served = await start();
    const signer = makeSigner();
    const { gateway, troubles } = await makeGateway({ ...to(served), signer });
    const one = gateway.submit(annotation());
    await expect.poll(() => troubles.length, { timeout: 30_000 }).toBeGreaterThan(3);
    expect(troubles[0]).toMatchObject({ code: 'forbidden' });
    await served.log.registerGateway(signer.publicKey);
    expect((await one).index).toBe(3);
  });

  test('and is then refused, with the error; what comes later begins with the gap', async () => {
    const served = await start();
    const signer = makeSigner();
    let now = Date.now();
    const { gateway, troubles } = await makeGateway({
      ...to(served),
      signer,
      patienceMs: 1_000,
      now: () => now,
      onTrouble: () => {
        now += 400;
      },
    });
    expect(troubles).toEqual([]);
    for (let i = 0; i < 2; i++) {
      await expect(gateway.submit(annotation())).rejects.toMatchObject({ code: 'forbidden' });
    }
    await served.log.registerGateway(signer.publicKey);
    await gateway.submit(annotation());
    expect(await recordsOf(served)).toMatchObject([
      { kind: 'gap', gap: { reason: 'refused', seq_from: 0, seq_to: 2 }, source: { seq: 3 } },
      { kind: 'annotation', source: { seq: 4 } },
    ]);
  });

  test('a key that was revoked is refused at once', async () => {
    const served = await start();
    const { gateway } = await makeGateway(to(served));
    await gateway.submit(annotation());
    await served.log.revokeGateway(served.gateway.publicKey.keyid);
    await expect(gateway.submit(annotation())).rejects.toMatchObject({ code: 'forbidden' });
  });
});
