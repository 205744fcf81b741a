/** The proxy in a thread of its own: what crosses over to it and back arrives as it was. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { BadAnswer } from '../../server/client/problem.ts';
import { SteleError } from '../../server/core/errors.ts';
import type { Signer } from '../../server/keys/signer.ts';
import type { ProxySettings } from '../../server/proxy/proxy.ts';
import { arrived, crossing, owned } from '../../server/proxy/thread/calls.ts';
import { collector } from '../../server/proxy/thread/collector.ts';
import { startProxyThread, type ThreadPorts } from '../../server/proxy/thread/host.ts';
import {
  ask,
  ORIGIN,
  refusal,
  TestLog,
  TestSeries,
  temporaryFolder,
  testSigner,
} from './harness.ts';

/** An answer of so many bytes, which are not JSON. */
async function provider(bytes: Uint8Array): Promise<string> {
  const server = createServer((req, res) => {
    req.resume().on('end', () => res.end(bytes));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function settingsOf(base: string, others: Partial<ProxySettings> = {}): ProxySettings {
  return {
    listen: { host: '127.0.0.1', port: 0 },
    upstreams: [{ name: 'any', base, log: 'default' }],
    logs: new Map([['default', ORIGIN]]),
    dir: temporaryFolder(),
    kek: new Uint8Array(randomBytes(32)),
    sourceId: 'proxy-test',
    timeouts: { retryMs: 5, gatherMs: 0 },
    ...others,
  };
}

interface Running {
  readonly url: string;
  readonly log: TestLog;
  readonly lines: string[];
  readonly proxy: Awaited<ReturnType<typeof startProxyThread>>;
}

async function start(settings: ProxySettings, others: Partial<ThreadPorts> = {}): Promise<Running> {
  const signer = testSigner();
  const log = new TestLog(signer);
  const lines: string[] = [];
  const write = (facts: object, message: string) =>
    lines.push(JSON.stringify({ message, ...facts }));
  const proxy = await startProxyThread(settings, {
    signer,
    series: new TestSeries(log),
    logger: { info: write, warn: write, error: write },
    onFatal: (error) => lines.push(error.message),
    ...others,
  });
  onTestFinished(() => proxy.close().catch(() => {}));
  return { url: proxy.url, log, lines, proxy };
}

test.each([
  ['at once', 20_000],
  ['in pieces', 3_000_000],
])('bodies arrive %s, byte for byte', async (_, size) => {
  const [request, response] = [randomBytes(size), randomBytes(size + 1)];
  const { url, log } = await start(settingsOf(await provider(response)));
  const answer = await ask(`${url}/any/x`, { method: 'POST', body: request });
  expect(answer.body.equals(response)).toBe(true);
  await log.untilCalls(1);
  // The log of the test holds them to their commitments.
  const { bodies } = log.of(answer.recordId);
  expect(bodies.get('request.body')?.equals(request)).toBe(true);
  expect(bodies.get('response.body')?.equals(response)).toBe(true);
});

test('what a log refuses for now is sent again, and what it refuses for good is set aside', async () => {
  const { url, log, lines } = await start(settingsOf(await provider(randomBytes(10))));
  let asked = 0;
  log.refuse = ({ kind }) => {
    if (kind !== 'inference') return;
    asked++;
    if (asked === 1) throw refusal('pushback');
    if (asked === 2) throw new BadAnswer('not what was asked for');
    if (asked === 3) throw refusal('conflict');
  };
  await ask(`${url}/any/x`);
  await expect.poll(() => lines.join('\n')).toContain('set aside');
  await ask(`${url}/any/x`);
  await log.untilCalls(1);
  await log.until(() => log.gaps.length > 0);
  expect(asked).toBe(4);
  expect(log.gaps[0]).toMatchObject({ reason: 'refused', count: 1 });
});

test('a key that follows signs as soon as the source is handed over', async () => {
  const { url, log, proxy } = await start(settingsOf(await provider(randomBytes(10))));
  await ask(`${url}/any/x`);
  await log.untilCalls(1);
  const next = testSigner();
  const asked: string[] = [];
  await proxy.changeSigner(next, {
    handOver: async (origin) => {
      asked.push(origin);
      log.handOver(next);
    },
    failed: (name, error) => asked.push(`${name}: ${error.message}`),
  });
  expect(asked).toEqual([ORIGIN]);
  await ask(`${url}/any/x`);
  await log.untilCalls(2);
  log.checkChain();
});

test('why a key cannot follow is told by the name of the log', async () => {
  const { url, log, proxy } = await start(settingsOf(await provider(randomBytes(10))));
  await ask(`${url}/any/x`);
  await log.untilCalls(1);
  const failures: [string, SteleError][] = [];
  await proxy.changeSigner(testSigner(), {
    handOver: async () => {
      throw refusal('frozen');
    },
    failed: (name, error) => failures.push([name, error]),
  });
  expect(failures).toMatchObject([['default', { code: 'frozen' }]]);
});

test('a change of keys does not outlive the proxy', async () => {
  const timeouts = { retryMs: 600_000, gatherMs: 0 };
  const { proxy } = await start(settingsOf(await provider(randomBytes(10)), { timeouts }));
  const asked = Promise.withResolvers<void>();
  const failures: [string, SteleError][] = [];
  const changeTo = (next: Signer) =>
    proxy.changeSigner(next, {
      handOver: async () => {
        asked.resolve();
        // Whether it was done is not known, so it is tried again.
        throw refusal('storage');
      },
      failed: (name, error) => failures.push([name, error]),
    });
  const changed = changeTo(testSigner());
  await asked.promise;
  await proxy.close();
  await changed;
  await changeTo(testSigner());
  const failure = ['default', { name: 'SteleError', code: 'storage' }];
  expect(failures).toMatchObject([failure, failure]);
});

describe('what keeps it from starting is said as what it is', () => {
  test('settings that cannot be', async () => {
    const starting = start(settingsOf('ftp://model.example'));
    await expect(starting).rejects.toMatchObject({ name: 'SteleError', code: 'malformed' });
  });

  test('an address that is taken', async () => {
    const base = await provider(randomBytes(1));
    const listen = { host: '127.0.0.1', port: Number(new URL(base).port) };
    await expect(start(settingsOf(base, { listen }))).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

describe('a thread that ends by itself ends the program', () => {
  async function startThrowing() {
    const program = new URL('./thread-that-throws.ts', import.meta.url);
    const signer = testSigner();
    const lines: string[] = [];
    const write = (_: object, message: string) => lines.push(message);
    const fatal = Promise.withResolvers<Error>();
    const ports = {
      signer,
      series: new TestSeries(new TestLog(signer)),
      logger: { info: write, warn: write, error: write },
      onFatal: fatal.resolve,
    };
    const proxy = await startProxyThread(settingsOf('http://127.0.0.1:9'), ports, program);
    return { proxy, signer, lines, fatal: fatal.promise };
  }

  test('while it runs', async () => {
    const { proxy, signer, lines, fatal } = await startThrowing();
    await proxy.changeSigner(signer, { handOver: async () => {}, failed: () => {} });
    expect(await fatal).toMatchObject({ message: 'a bug in the thread' });
    expect(lines).toEqual(['the proxy’s thread ended by itself']);
  });

  test('while it is being closed', async () => {
    const { proxy, lines, fatal } = await startThrowing();
    await expect(proxy.close()).rejects.toThrow('a bug in the thread');
    expect(await fatal).toMatchObject({ message: 'a bug in the thread' });
    expect(lines).toEqual(['the proxy’s thread ended by itself']);
  });
});

describe('an error', () => {
  const over = (error: unknown) => arrived(structuredClone(crossing(error)));

  test('of ours keeps its code and when to try again', () => {
    const error = over(new SteleError('pushback', 'too much at once', { retryAfterS: 7 }));
    expect(error).toBeInstanceOf(SteleError);
    expect(error).toMatchObject({ code: 'pushback', message: 'too much at once', retryAfterS: 7 });
  });

  test('that doubts an answer is one that does', () => {
    const error = over(new BadAnswer('it has no receipt'));
    expect(error).toBeInstanceOf(BadAnswer);
    expect(error.message).toBe('answer: it has no receipt');
  });

  test('of the system keeps its code, and anything else its name', () => {
    const system = Object.assign(new Error('in use'), { code: 'EADDRINUSE' });
    expect(over(system)).toMatchObject({ message: 'in use', code: 'EADDRINUSE' });
    expect(over(new RangeError('no'))).toMatchObject({ name: 'RangeError', message: 'no' });
    expect(over('just text')).toMatchObject({ message: 'just text' });
  });
});

test('of a part of a buffer only the part crosses', () => {
  const whole = new Uint8Array(1_000).fill(7);
  expect(owned(whole)).toBe(whole);
  for (const part of [whole.subarray(10, 20), Buffer.from(whole.buffer, 10, 10)]) {
    expect(structuredClone(owned(part)).buffer.byteLength).toBe(10);
  }
});

test('memory behind bodies that went through is given back before there is much of it', async () => {
  const MIB = 1_048_576;
  const passed = collector(16 * MIB);
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 15; i++) passed(new Uint8Array(MIB).length);
  expect(process.memoryUsage().arrayBuffers).toBeGreaterThan(before + 8 * MIB);
  passed(MIB);
  await expect.poll(() => process.memoryUsage().arrayBuffers).toBeLessThan(before + 4 * MIB);
});
