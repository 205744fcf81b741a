import { describe, expect, test } from 'vitest';
import {
  forwardedRequestHeaders,
  forwardedResponseHeaders,
  requestHeaderFacts,
  responseHeaderFacts,
  storedTarget,
} from '../../server/proxy/headers.ts';

const rewrite = { host: 'api.example:8443', bodyBytes: 7, identity: false };

describe('request headers', () => {
  test('keep their case, order and repetitions', () => {
    const raw = ['X-B', '1', 'Accept', '*/*', 'x-b', '2', 'OpenAI-Beta', 'v=2'];
    expect(forwardedRequestHeaders(raw, rewrite)).toEqual([
      'Host',
      'api.example:8443',
      ...raw,
      'Content-Length',
      '7',
    ]);
  });

  test.each([
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'Proxy-Anything',
    'TE',
    'Trailer',
    'Transfer-Encoding',
    'Upgrade',
    'Expect',
    'Host',
    'Content-Length',
    'X-Stele-Prompt-Name',
    'X-STELE-ANYTHING',
  ])('leave out %s', (name) => {
    const out = forwardedRequestHeaders([name, 'planted'], rewrite);
    expect(out).not.toContain('planted');
  });

  test('leave out what Connection names, in any of its spellings', () => {
    const raw = ['connection', 'close, X-One', 'X-ONE', 'a', 'Connection', ' x-two ', 'x-two', 'b'];
    expect(forwardedRequestHeaders(raw, { ...rewrite, bodyBytes: undefined })).toEqual([
      'Host',
      'api.example:8443',
    ]);
  });

  test('ask for an uncompressed stream, and otherwise for what the client asked for', () => {
    const raw = ['Accept-Encoding', 'gzip, br'];
    const plain = forwardedRequestHeaders(raw, rewrite);
    expect(plain).toContain('gzip, br');
    const stream = forwardedRequestHeaders(raw, { ...rewrite, identity: true });
    expect(stream).not.toContain('gzip, br');
    expect(stream.slice(2, 4)).toEqual(['Accept-Encoding', 'identity']);
  });

  test('pass credentials on, since they are the provider’s business', () => {
    const raw = ['Authorization', 'Bearer k', 'x-api-key', 'k', 'Cookie', 'c'];
    expect(forwardedRequestHeaders(raw, rewrite)).toEqual(expect.arrayContaining(raw));
  });
});

describe('what a signature covers', () => {
  const scope = 'AKID/20260101/us-east-1/bedrock/aws4_request';
  const signature = (names: string) =>
    `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=${names}, Signature=00`;

  test('arrives as it was signed', () => {
    const raw = [
      ...['Authorization', signature('accept-encoding;host;x-amz-date;x-stele-prompt-name')],
      ...['X-Amz-Date', '20260101T000000Z', 'Accept-Encoding', 'gzip', 'X-Stele-Prompt-Name', 'p'],
    ];
    const out = forwardedRequestHeaders(raw, { ...rewrite, identity: true });
    expect(out).toEqual(['Host', rewrite.host, ...raw, 'Content-Length', '7']);
  });

  test('is nothing else, and nothing of one hop', () => {
    const raw = [
      ...['Authorization', signature('connection;host;te')],
      ...['Connection', 'close', 'TE', 'trailers', 'Accept-Encoding', 'gzip', 'X-Stele-A', 'b'],
    ];
    const out = forwardedRequestHeaders(raw, { ...rewrite, identity: true });
    expect(out.filter((_, i) => i % 2 === 0)).toEqual([
      ...['Host', 'Authorization', 'Accept-Encoding', 'Content-Length'],
    ]);
    expect(out).toContain('identity');
  });

  test('is not what another scheme’s parameters say', () => {
    const raw = ['Authorization', 'Bearer SignedHeaders=x-stele-a', 'X-Stele-A', 'b'];
    expect(forwardedRequestHeaders(raw, rewrite)).not.toContain('X-Stele-A');
  });
});

describe('response headers', () => {
  test('keep what is end to end, and end with ours', () => {
    const raw = ['Set-Cookie', 'a', 'set-cookie', 'b', 'Connection', 'X-Hop', 'X-Hop', 'gone'];
    expect(forwardedResponseHeaders(raw, ['x-stele-record-id', 'id'])).toEqual([
      'Set-Cookie',
      'a',
      'set-cookie',
      'b',
      'x-stele-record-id',
      'id',
    ]);
  });

  test('never say ours for us, nor a length beside chunks', () => {
    const raw = [
      'X-Stele-Record-Id',
      'fake',
      'Content-Length',
      '5',
      'Transfer-Encoding',
      'chunked',
    ];
    expect(forwardedResponseHeaders(raw, [])).toEqual([]);
    expect(forwardedResponseHeaders(['Content-Length', '5'], [])).toEqual(['Content-Length', '5']);
  });
});

describe('what is written down', () => {
  test('is on a list, and no secret is', () => {
    const secrets = [
      'Authorization',
      'X-Api-Key',
      'api-key',
      'x-goog-api-key',
      'Cookie',
      'Set-Cookie',
      'Proxy-Authorization',
      'X-Amz-Security-Token',
      'X-Unheard-Of-Key',
    ];
    const raw = secrets.flatMap((name) => [name, 'planted']);
    expect(requestHeaderFacts(raw)).toEqual({});
    expect(responseHeaderFacts(raw)).toEqual({});
    expect(requestHeaderFacts(['User-Agent', 'a', 'user-agent', 'b', 'Accept', 'c'])).toEqual({
      'user-agent': 'a',
      accept: 'c',
    });
    expect(requestHeaderFacts(['User-Agent', 'x'.repeat(1_025)])).toEqual({});
  });

  test('of a target is the path, and of its query what is known to be harmless', () => {
    expect(storedTarget('/chat/completions')).toBe('/chat/completions');
    expect(storedTarget('/m:streamGenerateContent?key=planted&alt=sse')).toBe(
      '/m:streamGenerateContent?alt=sse',
    );
    expect(storedTarget('/x?key=planted')).toBe('/x');
    expect(storedTarget('/x?ALT=planted&altkey=planted&alt')).toBe('/x?alt');
  });
});
