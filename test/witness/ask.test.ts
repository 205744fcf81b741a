/** What a witness answers over HTTP is bounded, followed nowhere, and means one of a few things (P8). */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { formatAddCheckpoint, parseAddCheckpoint } from '../../server/core/tlog-witness.ts';
import { treeSize } from '../../server/core/units.ts';
import { type Answered, Outbound } from '../../server/outbound.ts';
import { askWitness, type Reach, WitnessError } from '../../server/witness/ask.ts';
import type { Witness } from '../../server/witness/witness.ts';
import { SILENCE, WitnessDouble } from './double.ts';
import { OtherLog } from './other-log.ts';

const log = new OtherLog();
const stop = new AbortController();
const outbound = new Outbound('0.0.0-test', 'ops@example.com');

function reach(more: Partial<Reach> = {}): Reach {
  return { outbound, timeoutMs: 60_000, signal: stop.signal, ...more };
}

/** The body that shows a head of this size. */
function shown(size = 5, old = 0): Uint8Array {
  const checkpoint = utf8(log.note(size));
  return formatAddCheckpoint({ old: treeSize(old), proof: log.proof(old, size), checkpoint });
}

/** Somebody at an address who answers as a test wants. */
async function serve(listener: RequestListener): Promise<Witness> {
  const server = createServer(listener);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { name: 'w.example', url: `http://127.0.0.1:${port}/some/prefix`, keys: [] };
}

const answering = (status: number, headers = {}, body: string | Uint8Array = '') =>
  serve((_, res) => res.writeHead(status, headers).end(body));

describe('a witness is asked', () => {
  let double: WitnessDouble | undefined;
  afterEach(() => double?.close());

  test('by one POST below its address, and says lines', async () => {
    double = new WitnessDouble();
    double.knows(log.origin, [log.key.key]);
    await double.listen();
    const witness = { name: double.name, url: double.url, keys: [] };
    const said = await askWitness(witness, shown(), reach());
    expect(said.kind).toBe('lines');
    expect(await askWitness(witness, shown(9), reach())).toEqual({ kind: 'size', size: 5 });
    expect((await askWitness(witness, shown(9, 5), reach())).kind).toBe('lines');
    expect(double.asked.map((body) => parseAddCheckpoint(body).old)).toEqual([0, 0, 5]);
  });

  test('with what says who asks, and nothing else of ours', async () => {
    const seen: [string, string, object][] = [];
    const witness = await serve((req, res) => {
      seen.push([req.method ?? '', req.url ?? '', req.headers]);
      res.writeHead(200).end('x');
    });
    await askWitness(witness, shown(), reach());
    expect(seen).toMatchObject([
      [
        'POST',
        '/some/prefix/add-checkpoint',
        { 'user-agent': 'stele/0.0.0-test (ops@example.com)' },
      ],
    ]);
    expect(seen[0]?.[2]).not.toHaveProperty('authorization');
    expect(seen[0]?.[2]).not.toHaveProperty('cookie');
  });

  test('and a connection that breaks after it has cosigned is no answer', async () => {
    double = new WitnessDouble();
    double.knows(log.origin, [log.key.key]);
    await double.listen();
    double.plan.push((honest) => {
      honest();
      return SILENCE;
    });
    const witness = { name: double.name, url: double.url, keys: [] };
    await expect(askWitness(witness, shown(), reach())).rejects.toMatchObject({ code: 'storage' });
    expect(double.sizeOf(log.origin)).toBe(5);
  });
});

describe('an answer means', () => {
  const SIZE = { 'content-type': 'text/x.tlog.size' };
  test.each<[string, number, object, string, object]>([
    ['its size', 409, SIZE, '7\n', { kind: 'size', size: 7 }],
    [
      'its size, with a charset',
      409,
      { 'content-type': 'Text/X.tlog.size; charset=utf-8' },
      '0\n',
      { kind: 'size', size: 0 },
    ],
    ['another root', 422, {}, 'bad proof', { kind: 'other root', status: 422 }],
    ['another root, where no size is told', 409, {}, '', { kind: 'other root', status: 409 }],
    [
      'another root, where the size has no type',
      409,
      { 'content-type': 'text/plain' },
      '7\n',
      { kind: 'other root', status: 409 },
    ],
  ])('%s', async (_, status, headers, body, said) => {
    expect(
      await askWitness(await answering(status, headers, body), shown(), reach()),
    ).toMatchObject(said);
  });

  test.each<[number, WitnessError['kind']]>([
    [403, 'stranger'],
    [404, 'stranger'],
    [408, 'retry'],
    [429, 'retry'],
    [500, 'retry'],
    [503, 'retry'],
    [400, 'refused'],
    [405, 'refused'],
    [413, 'refused'],
    [201, 'refused'],
    [204, 'refused'],
  ])('for %i: %s', async (status, kind) => {
    const asked = askWitness(await answering(status, { 'retry-after': '90' }), shown(), reach());
    await expect(asked).rejects.toMatchObject({ name: 'WitnessError', kind, afterS: 90 });
  });

  test.each(['', '07\n', '-1\n', '7', '7\n\n', '9007199254740993\n', '1'.repeat(500)])(
    'nothing where its size is %j',
    async (body) => {
      const asked = askWitness(await answering(409, SIZE, body), shown(), reach());
      await expect(asked).rejects.toMatchObject({ name: 'WitnessError', kind: 'retry' });
    },
  );

  test('what it says, on one line and cut, where that is text', async () => {
    const words = `no\r\n\u001b[31msuch log ${'x'.repeat(5_000)}`;
    const asked = askWitness(await answering(404, {}, words), shown(), reach());
    const error = await asked.then(
      () => undefined,
      (thrown: unknown) => thrown as Error,
    );
    expect(error?.message).toContain('no [31msuch log xxx');
    expect(error?.message.length).toBeLessThan(300);
    const bytes = askWitness(await answering(404, {}, Uint8Array.of(0xff, 0xfe)), shown(), reach());
    await expect(bytes).rejects.toThrow(/it answered 404$/);
  });
});

describe('nothing is', () => {
  test.each([301, 302, 307, 308])('followed: %i', async (status) => {
    let asked = 0;
    const witness = await serve((_, res) => {
      asked++;
      res.writeHead(status, { location: '/elsewhere' }).end();
    });
    const answer = askWitness(witness, shown(), reach());
    await expect(answer).rejects.toMatchObject({ kind: 'refused' });
    expect(asked).toBe(1);
  });

  test('read beyond what lines can be', async () => {
    const witness = await serve((_, res) => {
      res.writeHead(200);
      const more = (): void => {
        while (res.write('x'.repeat(65_536))) if (res.destroyed) return;
      };
      res.on('drain', more);
      more();
    });
    const asked = askWitness(witness, shown(), reach());
    await expect(asked).rejects.toMatchObject({ code: 'too_large' });
  });

  test('waited for beyond the deadline, with an answer that never ends', async () => {
    const witness = await serve((_, res) => void res.writeHead(200).write('x'));
    const asked = askWitness(witness, shown(), reach({ timeoutMs: 100 }));
    await expect(asked).rejects.toThrow('no answer within 100 ms');
  });

  test('waited for once the server stops', async () => {
    const own = new AbortController();
    const witness = await serve(() => own.abort());
    await expect(askWitness(witness, shown(), reach({ signal: own.signal }))).rejects.toMatchObject(
      {
        code: 'storage',
      },
    );
  });
});

test('whatever comes is one of these, and never an error of our own', async () => {
  const headers = fc.dictionary(
    fc.constantFrom('content-type', 'retry-after'),
    fc.oneof(fc.string(), fc.constantFrom('text/x.tlog.size', '120', 'text/plain')),
  );
  const answer = fc.record({
    status: fc.oneof(
      fc.constantFrom(200, 409, 422, 404, 429, 503),
      fc.integer({ min: 200, max: 599 }),
    ),
    bytes: fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.string().map(utf8),
      fc.nat().map((n) => utf8(`${n}\n`)),
    ),
    headers,
  });
  await fc.assert(
    fc.asyncProperty(answer, async ({ status, bytes, headers: given }) => {
      const ask = async (): Promise<Answered> => ({
        status,
        bytes,
        header: (name) => given[name] ?? null,
        retryAfterS: undefined,
      });
      try {
        const said = await askWitness(
          { name: 'w', url: 'https://w', keys: [] },
          shown(),
          reach({ outbound: { ask } }),
        );
        expect(['lines', 'size', 'other root']).toContain(said.kind);
        expect([200, 409, 422]).toContain(status);
      } catch (error) {
        expect(error instanceof WitnessError || error instanceof SteleError).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});
