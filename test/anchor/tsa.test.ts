/** A time-stamping authority as a target, with a real one, and with everything that may go wrong on the way. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type AnchoredHead, TargetError } from '../../server/anchor/target.ts';
import { TsaTarget } from '../../server/anchor/tsa.ts';
import { parseBase64, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { NoTrust, SteleError } from '../../server/core/errors.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import {
  checkTimestamp,
  describeTimestamp,
  imprintOf,
  parseTimestampQuery,
  parseTsaRoots,
} from '../../server/core/rfc3161.ts';
import { hash, treeSize } from '../../server/core/units.ts';
import { Outbound } from '../../server/outbound.ts';
import { opensslMissing } from '../certificates.ts';
import { opensslHolds } from '../openssl-ts.ts';
import { temporaryFolder } from '../temporary.ts';
import { OpensslTsa, type Section } from './openssl-tsa.ts';

const never = new AbortController().signal;

function headOf(size: number): AnchoredHead {
  const head = {
    origin: 'example.org/logs/a',
    size: treeSize(size),
    root: hash(new Uint8Array(32).fill(size)),
  };
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  return {
    ...head,
    text: utf8(formatCheckpoint(head)),
    signature: Uint8Array.of(1, 2, 3),
    key: parsePublicKey('ecdsa-p256', spki),
  };
}

const head = headOf(7);

describe.skipIf(opensslMissing)('a time-stamping authority', () => {
  let tsa: OpensslTsa;
  let folder: string;

  beforeAll(async () => {
    folder = temporaryFolder(afterAll);
    tsa = new OpensslTsa(folder);
    await tsa.listen();
    afterAll(() => tsa.close());
  });

  afterEach(() => {
    tsa.instead = undefined;
    tsa.seen.length = 0;
  });

  interface Wanted {
    readonly section?: Section;
    readonly pinned?: Section | 'root' | 'between';
    readonly apartMs?: number;
    readonly timeoutMs?: number;
    readonly url?: string;
  }

  function target({ section = 'p256', pinned = 'root', apartMs = 0, ...wanted }: Wanted = {}) {
    return new TsaTarget({
      name: 'tsa',
      url: tsa.url(section),
      authorities: [parseTsaRoots(tsa.pem(pinned), 'roots')],
      outbound: new Outbound('1.2.3', 'ops@example.com'),
      now: () => Date.now() + apartMs,
      random: randomBytes,
      ...wanted,
    });
  }

  /** The whole way of one head. */
  async function shown(one: TsaTarget) {
    const request = await one.request(head);
    const answer = await one.ask(request, never);
    return { request, answer, checked: await one.check(head, request, answer) };
  }

  const SECTIONS: readonly Section[] = ['p256', 'p384', 'rsa', 'chain'];

  test.each(SECTIONS)('stamps a head: %s', async (section) => {
    const before = Date.now();
    const { answer, checked } = await shown(target({ section }));
    expect(checked.anchor).toEqual({
      type: 'rfc3161',
      v: 1,
      imprint: 'note-text',
      response: Buffer.from(answer).toString('base64'),
      hint: `CN=${section},O=Example`,
    });
    const { timeMs = 0 } = checked;
    expect(timeMs).toBeGreaterThan(before - 2_000);
    expect(timeMs).toBeLessThan(Date.now() + 2_000);
    // What a reader does with what a receipt carries.
    const stamp = checkTimestamp({
      response: parseBase64(String(checked.anchor.response), 'response'),
      message: head.text,
      authorities: [parseTsaRoots(tsa.pem('root'), 'roots')],
    });
    expect(stamp).toMatchObject({ timeMs, accuracyMs: 1_500, latestMs: timeMs + 1_500 });
    expect(describeTimestamp(stamp)).toBe(
      `${new Date(timeMs).toISOString()} (± 1.5 s) by CN=${section},O=Example`,
    );
    const judged = { response: answer, message: head.text, pinned: tsa.pem('root'), atMs: timeMs };
    expect(opensslHolds(folder, judged)).toBe(true);
    expect(opensslHolds(folder, { ...judged, message: headOf(8).text })).toBe(false);
  });

  test('is asked with a digest, a nonce of its own each time, and our name', async () => {
    const one = target();
    const first = await one.request(head);
    const second = await one.request(head);
    expect(parseTimestampQuery(first).imprint).toEqual(imprintOf(head.text));
    expect(parseTimestampQuery(first).nonce).not.toEqual(parseTimestampQuery(second).nonce);
    await one.ask(first, never);
    await one.ask(first, never);
    expect(tsa.seen.map(({ body }) => body)).toEqual([first, first]);
    expect(tsa.seen[0]?.headers).toMatchObject({
      'content-type': 'application/timestamp-query',
      accept: 'application/timestamp-reply',
      'user-agent': 'stele/1.2.3 (ops@example.com)',
    });
  });

  test('may say 201 as well', async () => {
    tsa.instead = async (res, reply) => res.writeHead(201).end(await reply());
    expect((await shown(target())).checked.timeMs).toBeGreaterThan(0);
  });

  test('stamps any bytes, many at once', async () => {
    const one = target();
    const messages = Array.from({ length: 6 }, (_, i) => Uint8Array.of(i));
    const stamps = await Promise.all(messages.map((message) => one.stamp(message, never)));
    const authorities = [parseTsaRoots(tsa.pem('root'), 'roots')];
    for (const [i, response] of stamps.entries()) {
      const message = messages[i] as Uint8Array;
      expect(checkTimestamp({ response, message, authorities }).authority).toBe(
        'CN=p256,O=Example',
      );
    }
  });

  describe('is not believed', () => {
    async function refusal(one: TsaTarget): Promise<SteleError> {
      const request = await one.request(head);
      const answer = await one.ask(request, never);
      const error = await one.check(head, request, answer).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(SteleError);
      // The stamp of any bytes is held to the same.
      await expect(one.stamp(head.text, never)).rejects.toThrow((error as SteleError).message);
      return error as SteleError;
    }

    test('where nobody pinned it', async () => {
      expect(await refusal(target({ pinned: 'p384' }))).toBeInstanceOf(NoTrust);
    });

    test('where its certificate has ended', async () => {
      const { code, message } = await refusal(target({ section: 'expired' }));
      expect([code, message]).toEqual(['unverified', expect.stringContaining('valid until')]);
    });

    test('where it names its certificate by SHA-1 alone', async () => {
      const { message } = await refusal(target({ section: 'sha1' }));
      expect(message).toContain('named by SHA-1 alone');
    });

    test('where it may be off by more than a minute', async () => {
      const { message } = await refusal(target({ section: 'vague' }));
      expect(message).toContain('it may be off by 3600000 ms where at most 60000 are allowed');
    });

    test('where it stamped something else, or answers an earlier query', async () => {
      const one = target();
      const { request, answer } = await shown(one);
      const check = (...given: Parameters<TsaTarget['check']>) => one.check(...given);
      await expect(check(headOf(8), request, answer)).rejects.toThrow('the imprint differs');
      const later = await one.request(head);
      await expect(check(head, later, answer)).rejects.toThrow('the nonce differs');
      const spoiled = answer.with(-1, (answer.at(-1) ?? 0) ^ 1);
      await expect(check(head, request, spoiled)).rejects.toMatchObject({ code: 'unverified' });
    });

    test('where its time is still to come', async () => {
      const { request, answer } = await shown(target());
      const behind = target({ apartMs: -301_000 });
      await expect(behind.check(head, request, answer)).rejects.toThrow('is not from ever to');
    });
  });

  test('is believed however long the answer lay here', async () => {
    const { request, answer } = await shown(target());
    const later = target({ apartMs: 400 * 86_400_000 });
    expect((await later.check(head, request, answer)).timeMs).toBeGreaterThan(0);
  });

  describe('that gives no stamp', () => {
    async function failure(wanted: Wanted = {}, signal = never): Promise<TargetError> {
      const one = target(wanted);
      const error = await one
        .ask(await one.request(head), signal)
        .catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(TargetError);
      return error as TargetError;
    }

    const answers = (status: number, headers = {}) => {
      tsa.instead = (res) => res.writeHead(status, headers).end('no');
    };

    test('since it does not take the query, is not asked again', async () => {
      const { kind, message } = await failure({ section: 'picky' });
      expect([kind, message]).toEqual([
        'refused',
        expect.stringMatching(
          /^127\.0\.0\.1:\d+ says rejection: badAlg, "Message digest algorithm/,
        ),
      ]);
    });

    test.each([
      ['waiting', '30053003020103', 'retry', 'says waiting'],
      ['no time', '300a30080201020303010002', 'retry', 'says rejection: timeNotAvailable'],
      ['a plain rejection', '30053003020102', 'retry', 'says rejection'],
    ] as const)('for now (%s), is asked again', async (_, hex, kind, says) => {
      tsa.instead = (res) => res.writeHead(200).end(Buffer.from(hex, 'hex'));
      const error = await failure();
      expect([error.kind, error.message]).toEqual([kind, expect.stringContaining(says)]);
    });

    test.each([
      [400, 'refused'],
      [401, 'refused'],
      [403, 'refused'],
      [404, 'refused'],
      [405, 'refused'],
      [413, 'refused'],
      [415, 'refused'],
      [501, 'refused'],
      [408, 'retry'],
      [429, 'retry'],
      [500, 'retry'],
      [502, 'retry'],
      [503, 'retry'],
    ] as const)('but %i is one to try again or not: %s', async (status, kind) => {
      answers(status, { 'retry-after': '17' });
      const error = await failure();
      expect(error.kind).toBe(kind);
      expect(error.afterS).toBe(kind === 'retry' ? 17 : undefined);
      expect(error.message).toMatch(new RegExp(`^127\\.0\\.0\\.1:\\d+ answered ${status}$`));
    });

    test('but sends elsewhere, is not followed', async () => {
      answers(302, { location: tsa.url('p384') });
      const { kind, message } = await failure();
      expect([kind, message]).toEqual([
        'refused',
        expect.stringContaining('redirects are not followed'),
      ]);
      expect(tsa.seen).toHaveLength(1);
    });

    test.each([
      ['a page', Buffer.from('<!doctype html><title>Log in</title>'), 'tag 0x3c where a sequence'],
      ['nothing', Buffer.alloc(0), 'nothing where a sequence'],
      ['too much', Buffer.alloc(65_537), 'the answer has more than 65536 bytes'],
    ])('but %s, is asked again', async (_, body, says) => {
      tsa.instead = (res) => res.writeHead(200).end(body);
      const { kind, message } = await failure();
      expect([kind, message]).toEqual(['retry', expect.stringContaining(says)]);
    });

    test('in time, or breaks off, is asked again', async () => {
      tsa.instead = () => undefined;
      expect(await failure({ timeoutMs: 50 })).toMatchObject({
        kind: 'retry',
        message: expect.stringContaining('no answer within 50 ms'),
      });
      tsa.instead = (res: ServerResponse) => res.destroy();
      expect((await failure()).kind).toBe('retry');
      expect((await failure({ url: 'http://127.0.0.1:1/' })).kind).toBe('retry');
    });

    test('before we give up, is left alone', async () => {
      const over = new AbortController();
      tsa.instead = () => over.abort();
      expect((await failure({}, over.signal)).kind).toBe('retry');
    });

    test.each([301_000, -302_000])(
      'that is near our clock (%i ms), is asked again',
      async (apart) => {
        const { kind, message } = await failure({ apartMs: apart });
        expect([kind, message]).toEqual([
          'retry',
          expect.stringContaining('more than 5 minutes apart'),
        ]);
      },
    );
  });
});
