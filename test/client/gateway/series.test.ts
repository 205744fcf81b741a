/** Gateways go on in the next log when theirs ends: nothing is lost, nothing twice, and nobody is led astray. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Logged } from '../../../server/client/gateway/gateway.ts';
import { Series } from '../../../server/client/series.ts';
import { parseBase64, utf8 } from '../../../server/core/bytes.ts';
import type { Trust } from '../../../server/core/trust.ts';
import { checkSignatureNative } from '../../../server/keys/engine.ts';
import { useNativePrimitives } from '../../../server/native.ts';
import { openSeam } from '../../../server/verify/seam.ts';
import { verifyReceipt } from '../../../server/verify/verify.ts';
import { makeSigner } from '../../log/make.ts';
import { busy, start, tokenOf } from '../served.ts';
import {
  annotation,
  checkChain,
  MemoryState,
  makeGateway,
  recordsIn,
  type Served,
  to,
} from './make.ts';

beforeAll(() => useNativePrimitives());

const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

/** Trust in a log, and in all that follow it by seams that hold. */
async function trustAlong(
  { server, token, trust }: Pick<Served, 'server' | 'token' | 'trust'>,
  name: string,
): Promise<Trust> {
  const answer = await fetch(`${server.url}/logs/${name}/v1/next`, {
    headers: { authorization: `Bearer ${token}` },
  });
  if (answer.status !== 200) return trust;
  const next = (await answer.json()) as { name: string; last: string; genesis: string };
  const seam = openSeam(
    parseBase64(next.last, 'last'),
    parseBase64(next.genesis, 'genesis'),
    trust,
  );
  const more = { ...trust, logs: [...trust.logs, seam.next] };
  return trustAlong({ server, token, trust: more }, next.name);
}

describe('a roll under load', () => {
  test('keeps every statement of several gateways once, in one chain, and proven', {
    timeout: 240_000,
  }, async () => {
    const served = await start();
    const { instance, log } = served;
    // A token for the first log, which may submit and nothing else.
    const token = tokenOf(instance, ['submit'], ['notes']);
    const gateways = await Promise.all(
      many(3, async (i) => {
        const signer = i === 0 ? served.gateway : makeSigner(i === 1 ? 'ecdsa-p256' : 'ed25519');
        await log.registerGateway(signer.publicKey);
        return makeGateway({ ...to(served), token, signer, source: `gw-${i}` });
      }),
    );
    const names = ['notes'];
    const logged: Logged[][] = gateways.map(() => []);
    let rolling = true;
    const load = gateways.map(async ({ gateway }, g) => {
      for (let i = 0; rolling || i < 20; i++) {
        const some = many(1 + (i % 7) * 5, (n) =>
          n % 4 === 3
            ? gateway.submit({ payloadType: 'text/plain', payload: utf8(`${g} ${i} ${n}`) })
            : gateway.submit(annotation()),
        );
        logged[g]?.push(...(await Promise.all(some)));
      }
    });
    for (const name of ['n-1', 'n-2', 'n-3']) {
      const size = Math.min(...logged.map(({ length }) => length));
      await expect
        .poll(() => Math.min(...logged.map((l) => l.length)), { timeout: 30_000 })
        .toBeGreaterThan(size + 50);
      await instance.logs.roll(names.at(-1) as string, name);
      names.push(name);
    }
    rolling = false;
    await Promise.all(load);
    const trust = await trustAlong(served, 'notes');
    expect(trust.logs).toHaveLength(4);
    const records = await recordsIn(instance.logs, ...names);
    for (const [g, { gateway, troubles }] of gateways.entries()) {
      await gateway.close();
      const own = records.filter(({ source }) => source.id === gateway.status.source);
      checkChain(own);
      expect(own.filter(({ kind }) => kind === 'gap')).toEqual([]);
      const answers = logged[g] as Logged[];
      // Each has a place of its own, and whatever is in the logs was answered for.
      const places = new Set(answers.map(({ origin, index }) => `${origin} ${index}`));
      expect(places.size).toBe(answers.length);
      expect(new Set(answers.map(({ origin }) => origin)).size).toBe(4);
      const isRecord = ({ entry }: Logged) => !Buffer.from(entry).includes('text/plain');
      expect(own).toHaveLength(answers.filter(isRecord).length);
      for (const { code } of troubles as { code?: string }[]) expect(code).toBe('not_yet');
      for (const [i, one] of answers.entries()) {
        if (i % 25 !== 0) continue;
        const verdict = verifyReceipt(await one.receipt(), trust, { check: checkSignatureNative });
        expect(verdict).toMatchObject({ holds: true, origin: one.origin, index: one.index });
      }
    }
    expect(records.length).toBeGreaterThan(300);
  });

  test('of what was kept out before gives it a new number, and a gap says why', async () => {
    const served = await start();
    const { instance } = served;
    let rolled: Promise<unknown> | undefined;
    const pushing = busy(1, []);
    const fetching: typeof fetch = async (input, init) => {
      const answer = await pushing(input, init);
      // Once some of a round are logged and others are not.
      if (String(input).endsWith('/batch')) rolled ??= instance.logs.roll('notes', 'next');
      await rolled;
      return answer;
    };
    const { gateway } = await makeGateway({ ...to(served), fetch: fetching });
    const logged = await Promise.all(many(8, () => gateway.submit(annotation())));
    await gateway.submit(annotation());
    const origins = logged.map(({ origin }) => origin.split('/').at(-1));
    expect(origins).toEqual(['next', 'notes', 'notes', 'next', 'notes', 'notes', 'next', 'notes']);
    const records = await recordsIn(instance.logs, 'notes', 'next');
    checkChain(records);
    expect(records.map(({ source }) => source.seq)).toEqual([
      1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14,
    ]);
    expect(records.filter(({ kind }) => kind === 'gap')).toMatchObject([
      { gap: { reason: 'rolled-over', seq_from: 0, seq_to: 0 } },
      { gap: { reason: 'rolled-over', seq_from: 3, seq_to: 3 } },
      { gap: { reason: 'rolled-over', seq_from: 6, seq_to: 6 } },
    ]);
  });
});

describe('a log that ended', () => {
  test('is passed over by a gateway that begins with it', async () => {
    const served = await start();
    await served.instance.logs.roll('notes', 'b');
    await served.instance.logs.roll('b', 'c');
    const { gateway, state } = await makeGateway(to(served));
    const logged = await Promise.all(many(3, () => gateway.submit(annotation())));
    expect(logged.map(({ origin }) => origin.endsWith('/c'))).toEqual([true, true, true]);
    checkChain(await recordsIn(served.instance.logs, 'notes', 'b', 'c'));
    // What the seams told is remembered: the next process needs neither of the old logs.
    expect(state.last.log.keys?.length).toBeGreaterThan(1);
    await gateway.close();
    for (const name of ['notes', 'b']) await served.instance.logs.retire(name, name);
    const again = await makeGateway({ ...to(served), state: state.copy() });
    expect((await again.gateway.submit(annotation())).origin).toMatch(/\/c$/);
  });

  test('for good refuses all, once it was asked what it has', async () => {
    const served = await start();
    const { gateway } = await makeGateway(to(served));
    await gateway.submit(annotation());
    await served.instance.logs.freeze('notes', { reason: 'done' });
    for (let i = 0; i < 2; i++) {
      await expect(gateway.submit(annotation())).rejects.toMatchObject({
        code: 'frozen',
        message: expect.stringContaining('(done)'),
      });
    }
    await gateway.close();
  });

  test('is waited for while the next one is made', async () => {
    const served = await start();
    const { instance } = served;
    const made = Promise.withResolvers<void>();
    const { gateway, troubles } = await makeGateway({
      ...to(served),
      onTrouble: (error) => {
        expect(error).toMatchObject({ code: 'not_yet' });
        made.resolve();
      },
    });
    expect(troubles).toEqual([]);
    // What a roll is between its first step and its last.
    const { origin } = instance.logs.listed('notes');
    instance.store.insertLog({
      ...instance.logs.listed('notes'),
      name: 'next',
      origin: origin.replace(/notes$/, 'next'),
      rules: JSON.stringify(served.log.rules),
      state: 'creating',
      previous: JSON.stringify({ origin }),
    });
    await instance.logs.freeze('notes', { next: origin.replace(/notes$/, 'next') });
    const logged = gateway.submit(annotation());
    await made.promise;
    await instance.logs.recover();
    expect((await logged).origin).toMatch(/\/next$/);
  });

  test('has the answer of what it logged, also where that answer was lost', async () => {
    const served = await start();
    const { instance } = served;
    let lost = 0;
    const losing: typeof fetch = async (input, init) => {
      const answer = await fetch(input, init);
      if (init?.method !== 'POST' || lost > 0) return answer;
      lost++;
      await instance.logs.roll('notes', 'next');
      throw new TypeError('the connection broke');
    };
    const { gateway } = await makeGateway({ ...to(served), fetch: losing });
    const logged = await Promise.all(many(5, () => gateway.submit(annotation())));
    for (const one of logged) expect(one).toMatchObject({ repeat: true });
    const next = await gateway.submit(annotation());
    expect([...logged, next].map(({ origin }) => origin.split('/').at(-1))).toEqual([
      ...many(5, () => 'notes'),
      'next',
    ]);
    checkChain(await recordsIn(instance.logs, 'notes', 'next'));
  });
});

type Told = Record<'name' | 'origin' | 'last' | 'genesis', string>;

describe('a server that would lead elsewhere', () => {
  /** Two operators on one server; the gateway trusts the log of the first. */
  let served: Served;
  let other: Served;
  let truth: Told;
  let elsewhere: Told;
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const begin = () => start(undefined, {}, (close) => closing.unshift(close));
    served = await begin();
    other = await begin();
    const told = async ({ instance, server }: Served) => {
      await instance.logs.roll('notes', 'next');
      return (await (await fetch(`${server.url}/logs/notes/v1/next`)).json()) as Told;
    };
    truth = await told(served);
    elsewhere = await told(other);
  });

  afterAll(async () => {
    for (const close of closing) await close();
  });

  test.each([
    ['another operator’s log', (_: Told, other: Told) => other],
    ['another log under the true receipts', (told: Told) => ({ ...told, origin: 'x.example/y' })],
    ['a genesis of another', (told: Told, { genesis }: Told) => ({ ...told, genesis })],
    ['an end of another', (told: Told, { last }: Told) => ({ ...told, last })],
    ['one receipt twice', (told: Told) => ({ ...told, last: told.genesis })],
    ['one without receipts', ({ name, origin }: Told) => ({ name, origin })],
    ['nothing', () => ({})],
    ['a name that is none', (told: Told) => ({ ...told, name: '../other' })],
  ])('as %s is not followed', async (_, lie) => {
    let lies = 3;
    const fetching: typeof fetch = async (input, init) => {
      if (!String(input).endsWith('/v1/next') || lies-- <= 0) return fetch(input, init);
      return Response.json(lie(truth, elsewhere));
    };
    const { gateway, troubles } = await makeGateway({ ...to(served), fetch: fetching });
    const logged = await gateway.submit(annotation());
    expect(troubles).toHaveLength(3);
    for (const trouble of troubles) expect(trouble).toMatchObject({ name: 'BadAnswer' });
    // The truth is followed as soon as it is told.
    expect(logged.origin).toBe(truth.origin);
  });

  test('gets nothing of a statement that is for another log', async () => {
    // The right log by name, and the wrong server behind it.
    const asked: string[] = [];
    let isLying = true;
    const fetching: typeof fetch = async (input, init) => {
      const url = String(input);
      if (!url.includes('/logs/next/') || !isLying) return fetch(input, init);
      asked.push(url);
      const headers = { ...(init?.headers as object), authorization: `Bearer ${other.token}` };
      return fetch(url.replace(served.server.url, other.server.url), { ...init, headers });
    };
    const { gateway, troubles } = await makeGateway({ ...to(served), fetch: fetching });
    const logged = gateway.submit({ payloadType: 'text/plain', payload: utf8('for one log') });
    await expect.poll(() => troubles.length, { timeout: 30_000 }).toBeGreaterThan(2);
    expect(asked.length).toBeGreaterThan(0);
    isLying = false;
    expect((await logged).origin).toBe(truth.origin);
  });

  test('is believed without a trust file, and only then', async () => {
    const series = new Series({ server: served.server.url, token: served.token });
    const origin = served.log.origin;
    expect(await series.next(origin)).toBe(truth.origin);
    const { origin: _, keys, gateways } = served.trust.logs[0]!;
    const stranger: Trust = { logs: [{ origin: 'other.example/logs/a', keys, gateways }] };
    const distrustful = new Series({
      server: served.server.url,
      token: served.token,
      trust: stranger,
    });
    await expect(distrustful.next(origin)).rejects.toMatchObject({ name: 'BadAnswer' });
    await expect(makeGateway({ ...to(served), trust: stranger })).rejects.toMatchObject({
      code: 'unverified',
    });
    await expect(series.log('nowhere.example/logs/a')).rejects.toMatchObject({ code: 'not_found' });
    expect(new MemoryState().written).toEqual([]);
  });
});
