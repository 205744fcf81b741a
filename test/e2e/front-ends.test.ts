/**
 * nginx and Caddy, set up as `docs/deploying.md` shows, in front of a server with TLS towards the outside: what a
 * client gets through them is what the server said, and who it was is known. Skipped where a program is missing.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { networks } from '../../server/config/kinds.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { Issuer, opensslMissing, type Pair } from '../certificates.ts';
import { type Gateway, World } from '../http/world.ts';
import { blocksOf, page } from '../repo/pages.ts';

const root = mkdtempSync(join(tmpdir(), 'stele-front-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The program, where it is installed: daemons are often not on the path of those who are not root. */
function find(name: string, version: string): string | undefined {
  return [name, `/usr/sbin/${name}`].find((path) => spawnSync(path, [version]).status === 0);
}

interface FrontEnd {
  readonly name: string;
  readonly program: string | undefined;
  /** What ends it at once, whoever is still connected: one would wait for them, one would leave its workers. */
  readonly end: NodeJS.Signals;
  /** Writes its settings; returns how it is started. */
  prepare(at: At): readonly string[];
}

interface At {
  readonly folder: string;
  readonly port: number;
  readonly upstream: string;
  readonly pair: Pair;
}

function shown(file: string): string {
  const block = blocksOf(page('docs/deploying.md')).find(({ info }) =>
    info.endsWith(`file=${file}`),
  );
  if (block === undefined) throw new Error(`the page shows no ${file}`);
  return block.text;
}

/** Exactly one place is replaced: what is shown is what is run. */
function replaced(text: string, from: string, to: string): string {
  expect(text.split(from), from).toHaveLength(2);
  return text.replace(from, to);
}

const nginx: FrontEnd = {
  name: 'nginx',
  program: find('nginx', '-v'),
  end: 'SIGTERM',
  prepare({ folder, port, upstream, pair }) {
    let text = shown('nginx.conf');
    text = replaced(text, 'listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`);
    text = replaced(text, '/etc/stele/tls/fullchain.pem', pair.cert);
    text = replaced(text, '/etc/stele/tls/privkey.pem', pair.key);
    text = replaced(text, '127.0.0.1:8080', upstream);
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${folder}/${name};`)
      .join('\n');
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr warn;
events { worker_connections 256; }
http { access_log off; ${paths}
${text}}
`,
    );
    return ['-p', folder, '-c', join(folder, 'nginx.conf')];
  },
};

const caddy: FrontEnd = {
  name: 'Caddy',
  program: find('caddy', 'version'),
  end: 'SIGKILL',
  prepare({ folder, port, upstream, pair }) {
    let text = shown('Caddyfile');
    text = replaced(
      text,
      'log.example.com {',
      `https://log.example.com:${port} {\n\ttls ${pair.cert} ${pair.key}`,
    );
    text = replaced(text, '127.0.0.1:8080', upstream);
    const global = '{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n';
    writeFileSync(join(folder, 'Caddyfile'), global + text);
    return ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')];
  },
};

describe.each([nginx, caddy])('behind $name', (front) => {
  describe.skipIf(front.program === undefined || opensslMissing)(
    `(skipped where ${front.name} is missing)`,
    () => {
      let issuer: Issuer;
      let world: World;
      let gateway: Gateway;
      let child: ChildProcess;
      let said: string;
      let port: number;

      beforeAll(() => {
        issuer = new Issuer(join(root, `issuer-${front.name}`));
      });

      beforeEach(async () => {
        world = await World.start({
          settings: {
            rates: {
              token: { perSecond: 0, burst: 1 },
              address: { perSecond: 1, burst: 20 },
              trustedProxies: networks('127.0.0.1'),
            },
          },
        });
        ({ gateway } = await world.log('a'));
        port = await freePort();
        const folder = mkdtempSync(join(root, 'run-'));
        mkdirSync(join(folder, 'logs'));
        const pair = issuer.make({ names: ['log.example.com'] });
        const upstream = new URL(world.server.url).host;
        const argv = front.prepare({ folder, port, upstream, pair });
        said = '';
        child = spawn(front.program ?? '', argv, {
          env: {
            PATH: process.env.PATH ?? '',
            HOME: folder,
            XDG_DATA_HOME: folder,
            XDG_CONFIG_HOME: folder,
          },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        for (const stream of [child.stdout, child.stderr]) {
          stream?.on('data', (chunk: Buffer) => {
            said += chunk.toString();
          });
        }
        await serving();
      });

      afterEach(async () => {
        if (child.exitCode === null && child.signalCode === null) {
          const ended = new Promise((resolve) => child.once('exit', resolve));
          child.kill(front.end);
          await ended;
        }
        await world.stop();
      });

      /** Asks until it answers: neither says when it does. */
      async function serving(): Promise<void> {
        for (;;) {
          if (child.exitCode !== null) throw new Error(`${front.name} ended: ${said}`);
          try {
            expect((await ask('/healthz')).status).toBe(200);
            return;
          } catch (error) {
            if ((error as { code?: string }).code !== 'ECONNREFUSED') throw error;
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
      }

      interface Asked {
        readonly method?: string;
        readonly headers?: Readonly<Record<string, string>>;
        readonly body?: Uint8Array;
        /** Called with the answer as it begins. */
        readonly begun?: (res: IncomingMessage) => void;
      }

      function ask(path: string, { method = 'GET', headers = {}, body, begun }: Asked = {}) {
        return new Promise<{ status: number; headers: IncomingMessage['headers']; text: string }>(
          (resolve, reject) => {
            const req = request({
              ...{ host: '127.0.0.1', port, path, method, agent: false, ca: issuer.pem },
              servername: 'log.example.com',
              headers: { host: 'log.example.com', ...headers },
            });
            req.on('error', reject);
            req.on('response', (res) => {
              const chunks: Buffer[] = [];
              begun?.(res);
              res.on('data', (chunk: Buffer) => chunks.push(chunk));
              res.on('error', reject);
              res.on('end', () => {
                const text = Buffer.concat(chunks).toString();
                resolve({ status: res.statusCode ?? 0, headers: res.headers, text });
              });
            });
            req.end(body);
          },
        );
      }

      const token = () => world.token({ roles: ['submit', 'read'] });
      const bearer = (text: string) => ({ authorization: `Bearer ${text}` });

      async function figures(): Promise<string> {
        const headers = bearer(world.token({ roles: ['metrics'] }));
        return (await ask('/metrics', { headers })).text;
      }

      async function append(): Promise<void> {
        await world.logs.use('a', async (log) => {
          const entry = await gateway.entry();
          await log.submit([{ admitted: await log.admit(decodeEntry(entry)) }]);
        });
      }

      test('answers, problems and headers come through as they were said', async () => {
        const by = bearer(token());
        const head = await ask('/logs/a/v1/tree-head', { headers: by });
        expect([head.status, JSON.parse(head.text).size]).toEqual([200, 2]);
        expect(head.headers).toMatchObject({
          'strict-transport-security': 'max-age=31536000',
          'x-content-type-options': 'nosniff',
          'cache-control': 'no-cache',
        });
        const { etag = '' } = (await ask('/logs/a/checkpoint')).headers;
        const again = await ask('/logs/a/checkpoint', { headers: { 'if-none-match': etag } });
        expect(again.status).toBe(304);
        const entry = await gateway.entry();
        const posted = await ask('/logs/a/v1/entries', {
          method: 'POST',
          headers: { ...by, 'content-type': 'application/protobuf' },
          body: entry,
        });
        expect(posted.status, posted.text).toBe(201);
        const refused = await ask('/logs/none/checkpoint', { headers: by });
        expect(JSON.parse(refused.text)).toMatchObject({ status: 404, code: 'not_found' });
      });

      test('paths come through as they were sent, and are refused where they are not plain', async () => {
        const headers = bearer(token());
        for (const path of [
          '//logs/a/checkpoint',
          '/logs//a/checkpoint',
          '/logs/a/%63heckpoint',
          '/logs/a/checkpoint/',
        ]) {
          const { status, text } = await ask(path, { headers });
          expect([path, status, text.includes('"code":"malformed"')]).toEqual([path, 400, true]);
        }
      });

      test('strangers are told apart by the address that the front end saw, whatever they write', async () => {
        const statuses: number[] = [];
        for (let i = 0; i < 30; i++) {
          const headers = {
            'x-forwarded-for': `198.51.100.${i}`,
            forwarded: `for=198.51.100.${i}`,
          };
          const { status, headers: answered } = await ask('/logs/a/v1/tree-head', { headers });
          statuses.push(status);
          if (status === 429) expect(Number(answered['retry-after'])).toBeGreaterThan(0);
        }
        expect(statuses.filter((status) => status === 200)).toHaveLength(20);
        // With a token it is the token that counts.
        expect((await ask('/logs/a/v1/tree-head', { headers: bearer(token()) })).status).toBe(200);
      });

      test('a request that waits is held, and answered when the log grows', async () => {
        const path = '/logs/a/v1/tree-head?wait=20&beyond=2';
        const waiting = ask(path, { headers: bearer(token()) });
        while (!(await figures()).includes('\nstele_head_waiters 1\n'));
        await append();
        const answer = await waiting;
        expect([answer.status, JSON.parse(answer.text).size]).toEqual([200, 3]);
      });

      test('a feed comes line by line, and is not collected', async () => {
        let stop = () => {};
        let text = '';
        const first = new Promise<string>((resolve, reject) => {
          ask('/logs/a/v1/feed?from=2&follow=1', {
            headers: bearer(token()),
            begun: (res) => {
              stop = () => res.destroy();
              // A line may come in any number of pieces.
              res.on('data', (chunk: Buffer) => {
                text += chunk.toString();
                const [line, rest] = text.split('\n');
                if (rest !== undefined) resolve(line ?? '');
              });
            },
          }).catch(reject);
        });
        await append();
        expect(JSON.parse(await first)).toMatchObject({ index: 2 });
        stop();
        // The server hears that the reader is gone, and its place is free.
        while (!(await figures()).includes('\nstele_feeds 0\n'));
      });

      test('an upload of some megabytes is refused by the server, and the refusal comes through', async () => {
        const answer = await ask('/logs/a/v1/entries', {
          method: 'POST',
          headers: { ...bearer(token()), 'content-type': 'multipart/form-data; boundary=B' },
          body: Buffer.concat([
            Buffer.from('--B\r\ncontent-disposition: form-data; name="entry"\r\n\r\n'),
            randomBytes(3_000_000),
          ]),
        });
        expect([answer.status, answer.text]).toEqual([413, expect.stringContaining('65535')]);
      });
    },
  );
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
