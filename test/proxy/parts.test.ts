import { describe, expect, test } from 'vitest';
import { systemClock, timestampUs } from '../../server/proxy/clock.ts';
import { FactsSeal, FieldOpener, FieldSealer } from '../../server/proxy/journal/seal.ts';
import { silentLogger } from '../../server/proxy/logger.ts';
import { decodeRecordFrame, encodeRecordFrame } from '../../server/proxy/record-frame.ts';
import { parseRoute } from '../../server/proxy/route.ts';
import { Upstream } from '../../server/proxy/upstream.ts';

describe('clock', () => {
  test('counts microseconds, never back, and says what it may be off', () => {
    let wall = 1_000_000;
    let monotonic = 5;
    const clock = systemClock(
      () => wall,
      () => monotonic,
    );
    expect(clock.nowUs()).toBe(1_000_000_000);
    monotonic += 0.25;
    expect(clock.nowUs()).toBe(1_000_000_250);
    expect(clock.maxErrorUs()).toBeGreaterThanOrEqual(1_000);
    // Somebody sets the clock forward: it follows.
    wall += 3_600_000;
    expect(clock.nowUs()).toBe(4_600_000_000);
    // And back: it stands still, and says how far it is off.
    wall -= 10_000;
    expect(clock.nowUs()).toBe(4_600_000_000);
    expect(clock.maxErrorUs()).toBeGreaterThanOrEqual(10_000_000);
  });

  test('writes six decimals', () => {
    expect(timestampUs(1_788_257_730_123_456)).toBe('2026-09-01T10:15:30.123456Z');
    expect(timestampUs(1_788_257_730_000_007)).toBe('2026-09-01T10:15:30.000007Z');
  });
});

describe('route', () => {
  const openai = new Upstream(
    { name: 'openai', base: 'http://api.example/base/v1', log: 'x' },
    silentLogger,
  );
  const ollama = new Upstream(
    { name: 'ollama', base: 'http://127.0.0.1:11434/', log: 'x' },
    silentLogger,
  );
  const gateway = new Upstream(
    { name: 'gateway', base: 'http://gw.example/v1beta', log: 'x' },
    silentLogger,
  );
  const bedrock = new Upstream(
    {
      name: 'bedrock',
      base: 'https://bedrock-runtime.us-east-1.amazonaws.com',
      log: 'x',
      byHost: true,
    },
    silentLogger,
  );
  const upstreams = new Map([openai, ollama, gateway, bedrock].map((one) => [one.name, one]));
  const SIGNED = 'bedrock-runtime.us-east-1.amazonaws.com';

  test.each([
    ['/openai/v1/chat/completions', '/chat/completions'],
    ['/openai/v1/a%20b/', '/a%20b/'],
    ['/openai/v1/x?a=/../b', '/x?a=/../b'],
    ['/openai/v1?x', '?x'],
    ['/openai/v1', ''],
    ['/openai/v1//evil.example/x', '//evil.example/x'],
    ['http://h/openai/v1/x', '/x'],
  ])('%s is forwarded as it is', (url, target) => {
    const route = { upstream: openai, target, host: 'api.example' };
    expect(parseRoute(url, 'proxy', upstreams)).toEqual(route);
  });

  test.each([
    ['/ollama/api/chat', '/api/chat', ollama],
    ['/ollama/v1/chat/completions', '/v1/chat/completions', ollama],
    ['/ollama', '', ollama],
    ['/gateway/models/m:generateContent?key=k', '/models/m:generateContent?key=k', gateway],
    ['/bedrock/model/a%3A0/converse', '/model/a%3A0/converse', bedrock],
  ])('%s goes to a base that does not end in /v1', (url, target, upstream) => {
    const route = { upstream, target, host: upstream.host };
    expect(parseRoute(url, 'proxy', upstreams)).toEqual(route);
  });

  test.each([
    ['/model/a%3A0/converse', SIGNED],
    ['/model/a%3A0/converse', `${SIGNED}:8443`],
    ['/openai/v1/x', SIGNED.toUpperCase()],
  ])('%s under the host %s goes there, path and host as they are', (url, host) => {
    const route = { upstream: bedrock, target: url, host };
    expect(parseRoute(url, host, upstreams)).toEqual(route);
    expect(parseRoute(`http://${host}${url}`, 'another', upstreams)).toEqual(route);
  });

  test.each([
    '',
    '/',
    '/openai',
    '/openai/',
    '/openai/v11/x',
    '/ollamas/x',
    '/other/v1/x',
    'http://h/other/v1/x',
    'http://',
    '*',
  ])('%j is not found', (url) => {
    const names = '/openai/v1/…, /ollama/…, /gateway/…, /bedrock/…';
    for (const host of ['proxy', undefined, 'api.example', '127.0.0.1:11434', `x.${SIGNED}`, '[']) {
      expect(() => parseRoute(url, host, upstreams)).toThrow(`where the proxy has ${names}`);
    }
  });

  test('what is wrong with a target is said without its query', () => {
    expect(() => parseRoute('/ollama/a?key=sk-mine-\u00e9', 'proxy', upstreams)).toThrow(
      /^path: "\/a" or its query has bytes/,
    );
  });

  test.each(['/ollama/\u00e9', '/ollama/a b'])('%j has to be percent-encoded', (url) => {
    expect(() => parseRoute(url, 'proxy', upstreams)).toThrow('percent-encoded');
  });

  test.each([
    ['a name of the proxy’s own', { name: 'healthz' }],
    ['a name with a slash', { name: 'a/b' }],
    ['no URL', { base: 'api.example' }],
    ['another scheme', { base: 'ftp://api.example/v1' }],
    ['a user', { base: 'https://user:pw@api.example/v1' }],
    ['a query', { base: 'https://api.example/v1?x' }],
    ['a path though it goes by its host', { byHost: true }],
  ])('an upstream with %s is refused', (_, wrong) => {
    const right = { name: 'openai', base: 'https://api.example/v1', log: 'default' };
    expect(() => new Upstream({ ...right, ...wrong }, silentLogger)).toThrow('upstream');
  });
});

describe('seal', () => {
  const key = new Uint8Array(32).fill(7);
  const place = { origin: 'log.example/logs/x', recordId: 'r', field: 'request' };
  const plain = new TextEncoder().encode('plain');

  test('opens in order, at its place, under its key, unchanged, and not otherwise', () => {
    const sealer = new FieldSealer(key, place);
    const [first, second] = [sealer.next(plain), sealer.next(plain)];
    expect(first).not.toEqual(second);
    const opener = new FieldOpener(key, place);
    expect(opener.next(first)).toEqual(plain);
    expect(opener.next(second)).toEqual(plain);
    const spoilers: Record<string, () => unknown> = {
      'out of order': () => new FieldOpener(key, place).next(second),
      'another field': () => new FieldOpener(key, { ...place, field: 'response' }).next(first),
      'another record': () => new FieldOpener(key, { ...place, recordId: 's' }).next(first),
      'another log': () => new FieldOpener(key, { ...place, origin: 'y' }).next(first),
      'another key': () => new FieldOpener(new Uint8Array(32), place).next(first),
      'cut short': () => new FieldOpener(key, place).next(first.subarray(1)),
      'nothing at all': () => new FieldOpener(key, place).next(new Uint8Array(0)),
      changed: () => new FieldOpener(key, place).next(first.with(0, (first[0] ?? 0) ^ 1)),
    };
    for (const [how, spoil] of Object.entries(spoilers))
      expect(spoil, how).toThrow(/does not open|too few/);
  });

  test('of facts has a nonce of its own', () => {
    let next = 0;
    const random = (n: number) => new Uint8Array(n).fill(next++);
    const { origin, recordId } = place;
    const seal = new FactsSeal(key, { origin, recordId });
    const [a, b] = [seal.seal('head', plain, random), seal.seal('head', plain, random)];
    expect(a).not.toEqual(b);
    expect(seal.open('head', a)).toEqual(plain);
    expect(seal.open('head', b)).toEqual(plain);
    expect(() => seal.open('end', a)).toThrow('does not open');
    const other = new FactsSeal(key, { origin, recordId: 's' });
    expect(() => other.open('head', a)).toThrow('does not open');
  });
});

describe('record frame', () => {
  const frame = {
    meta: {
      kind: 'heartbeat' as const,
      record_id: 'r',
      source: 's',
      log: 'l',
      seq: 1,
      digest: 'd',
    },
    entry: new Uint8Array([1, 2, 3]),
    disclosures: new Uint8Array([4, 5]),
  };

  test('gives back its parts, and refuses to be short', () => {
    const bytes = encodeRecordFrame(frame);
    expect(decodeRecordFrame(bytes)).toEqual(frame);
    const entryEnd = bytes.length - frame.disclosures.length;
    for (let length = 0; length < entryEnd; length++) {
      expect(() => decodeRecordFrame(bytes.subarray(0, length)), `${length}`).toThrow('cut short');
    }
  });
});
