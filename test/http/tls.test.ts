/** HTTPS with real clients: what they get, what they are refused, and a certificate that is replaced under them. */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { pinnedFetch } from '../../server/client/pinned.ts';
import { TlsFiles } from '../../server/keys/tls-pair.ts';
import { Issuer, opensslMissing, type Pair } from '../certificates.ts';
import { World } from './world.ts';

const root = mkdtempSync(join(tmpdir(), 'stele-https-'));
afterAll(() => rmSync(root, { recursive: true }));

describe.skipIf(opensslMissing)('over TLS', () => {
  let issuer: Issuer;
  let place: Pair;
  let tls: TlsFiles;
  let world: World;
  let refused: string[];

  beforeAll(() => {
    issuer = new Issuer(join(root, 'issuer'));
  });

  afterEach(async () => {
    tls.close();
    await world.stop();
  });

  async function start(listen = {}): Promise<void> {
    place = issuer.make({ names: ['log.example', '127.0.0.1'] });
    refused = [];
    tls = await TlsFiles.open(place, {
      now: Date.now,
      changed: () => undefined,
      failed: (error) => refused.push(String(error)),
      lookMs: 5,
    });
    world = await World.start({ listen: { tls, ...listen } });
    await world.log('a');
  }

  const port = () => Number(new URL(world.server.url).port);

  /** A client that trusts the issuer. */
  function get(path: string, options: object = {}): Promise<{ status: number; headers: object }> {
    return new Promise((resolve, reject) => {
      const req = request({ host: '127.0.0.1', port: port(), path, ca: issuer.pem, ...options });
      req.on('error', reject);
      req.on('response', (res) => {
        res.resume();
        res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers }));
      });
      req.end();
    });
  }

  function shake(options: ConnectionOptions = {}): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: port(), ca: issuer.pem, ...options });
      socket.once('error', reject);
      socket.once('secureConnect', () => resolve(socket));
    });
  }

  /** Puts another pair in the place of the one that is served, and waits until it is. */
  async function replace(): Promise<string> {
    const before = tls.pair.fingerprint;
    const next = issuer.make({ names: ['log.example', '127.0.0.1'] });
    for (const part of ['cert', 'key'] as const) {
      copyFileSync(next[part], `${place[part]}.new`);
      renameSync(`${place[part]}.new`, place[part]);
    }
    while (tls.pair.fingerprint === before) await new Promise((go) => setImmediate(go));
    return tls.pair.fingerprint;
  }

  function shownBy(socket: TLSSocket): string | undefined {
    return socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '').toLowerCase();
  }

  test('a client that trusts the issuer is served, and told to stay with TLS', async () => {
    await start();
    expect(world.server.url).toMatch(/^https:/);
    const answer = await get('/logs/a/v1/tree-head');
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({ 'strict-transport-security': 'max-age=31536000' });
    expect((await get('/nothing')).headers).toMatchObject({
      'strict-transport-security': 'max-age=31536000',
    });
  });

  test('one that does not trust the issuer, or wants another name, is not', async () => {
    await start();
    await expect(get('/healthz', { ca: [] })).rejects.toThrow(/certificate/);
    const other = { servername: 'other.example' };
    await expect(get('/healthz', other)).rejects.toThrow(/altnames/);
  });

  test('curl and openssl agree that it is well made', async () => {
    await start();
    const curl = await output('curl', [
      ...['-sS', '--cacert', issuer.file, '--resolve', `log.example:${port()}:127.0.0.1`],
      `https://log.example:${port()}/healthz`,
    ]);
    if (curl !== undefined) expect(curl).toBe('{"status":"ok"}');
    const shown = await output('openssl', [
      ...['s_client', '-connect', `127.0.0.1:${port()}`, '-CAfile', issuer.file],
      ...['-verify_return_error', '-verify_hostname', 'log.example', '-brief'],
    ]);
    expect(shown).toContain('Verification: OK');
    expect(shown).toContain('Protocol version: TLSv1.3');
  });

  /** What a program says; nothing where it is not installed. */
  function output(command: string, argv: readonly string[]): Promise<string | undefined> {
    if (spawnSync(command, ['--version']).error !== undefined) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
      let text = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
      }
      child.once('error', reject);
      child.once('close', () => resolve(text));
    });
  }

  test('TLS 1.2 is spoken with forward secrecy and authenticated encryption, and nothing older', async () => {
    await start();
    const socket = await shake({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
    expect([socket.getProtocol(), socket.getCipher().name]).toEqual([
      'TLSv1.2',
      expect.stringMatching(/^ECDHE-ECDSA-.*(GCM|POLY1305)/),
    ]);
    socket.destroy();
    const legacy = { ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
    await expect(
      shake({ ...legacy, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' }),
    ).rejects.toThrow();
    for (const ciphers of ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES256-SHA384', 'AES128-SHA']) {
      await expect(shake({ ciphers, maxVersion: 'TLSv1.2' }), ciphers).rejects.toThrow();
    }
  });

  test('what is not TLS is cut, and the next client is served', async () => {
    await start();
    const socket = connectPlain(port(), '127.0.0.1');
    const got: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => got.push(chunk));
    socket.on('error', () => undefined);
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(Buffer.concat(got).toString()).not.toContain('HTTP/1.1 200');
    expect((await get('/healthz')).status).toBe(200);
  });

  test('a handshake that does not go on is cut', async () => {
    await start({ headersTimeoutMs: 100 });
    const socket = connectPlain(port(), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
    await new Promise((resolve) => socket.once('close', resolve));
    expect((await get('/healthz')).status).toBe(200);
  });

  test('a certificate that is replaced is shown to the next, and cuts no connection', async () => {
    await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const before = tls.pair.fingerprint;
    let first: TLSSocket | undefined;
    agent.on('keylog', (_, socket: TLSSocket) => {
      first ??= socket;
    });
    expect((await get('/healthz', { agent })).status).toBe(200);
    const after = await replace();
    expect(after).not.toBe(before);
    // The kept connection goes on under the certificate that it began with.
    expect((await get('/healthz', { agent })).status).toBe(200);
    expect(first && shownBy(first)).toBe(before);
    agent.destroy();
    const next = await shake();
    expect(shownBy(next)).toBe(after);
    next.destroy();
    expect(refused).toEqual([]);
  });

  describe('a client that knows the certificate alone', () => {
    const pinned = (fingerprint: () => string | undefined) => pinnedFetch(fingerprint);

    test('needs no name and no issuer', async () => {
      await start();
      const fetch = pinned(() => tls.pair.fingerprint);
      const answer = await fetch(`${world.server.url}/logs/a/v1/tree-head`);
      expect([answer.status, answer.headers.get('content-type')]).toEqual([
        200,
        'application/json',
      ]);
      const { etag } = Object.fromEntries(answer.headers);
      expect(await answer.json()).toMatchObject({ size: 2 });
      const again = await fetch(`${world.server.url}/logs/a/v1/tree-head`, {
        headers: { 'if-none-match': etag ?? '' },
      });
      expect([again.status, await again.text()]).toEqual([304, '']);
    });

    test('sends bodies of both kinds', async () => {
      await start();
      const fetch = pinned(() => tls.pair.fingerprint);
      const token = world.token({ roles: ['submit'] });
      const { gateway } = await world.log('b');
      for (const body of [await gateway.entry(), pieces(await gateway.entry())]) {
        const answer = await fetch(`${world.server.url}/logs/b/v1/entries`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/protobuf' },
          body: body as Uint8Array<ArrayBuffer>,
        });
        expect(answer.status).toBe(201);
        await answer.text();
      }
    });

    function pieces(bytes: Uint8Array): ReadableStream {
      return ReadableStream.from([bytes.subarray(0, 9), bytes.subarray(9)]);
    }

    test('says nothing to another, not even its token', async () => {
      await start();
      let asked = 0;
      world.server.server.on('request', () => {
        asked += 1;
      });
      for (const other of ['0'.repeat(64), '', undefined]) {
        const fetch = pinned(() => other);
        const headers = { authorization: 'Bearer secret' };
        await expect(fetch(`${world.server.url}/healthz`, { headers })).rejects.toThrow(
          'another certificate than the data folder knows',
        );
      }
      expect(asked).toBe(0);
    });

    test('goes on after it was replaced, and can be called off', async () => {
      await start();
      const fetch = pinned(() => tls.pair.fingerprint);
      await (await fetch(`${world.server.url}/healthz`)).text();
      await replace();
      expect((await fetch(`${world.server.url}/healthz`)).status).toBe(200);
      const stop = new AbortController();
      const waiting = fetch(`${world.server.url}/logs/a/v1/tree-head?wait=20&beyond=99`, {
        signal: stop.signal,
      });
      stop.abort();
      await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    });
  });
});
