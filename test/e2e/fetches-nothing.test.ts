/**
 * Nothing that a request names is fetched (P8), as the system sees it: strace watches every connection that a
 * real `stele up` makes, in every thread, while all that looks like an address is put wherever there is room.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Process, Place as Stele } from '../fault/process.ts';
import { straceMissing } from '../fault/strace.ts';
import { type Place, placesOf } from '../http/api.ts';
import { type Asker, addressesOf, askEverything } from '../http/url-shaped.ts';
import type { Answer, Ask } from '../http/world.ts';
import { ownExchange } from '../replay/exchanges.ts';
import { startReplay } from '../replay/replay.ts';

test.skipIf(straceMissing)(
  'the server connects to nobody, and the proxy to its upstream alone',
  async () => {
    const provider = await startReplay({ exchanges: [ownExchange('openai-chat.json')] });
    onTestFinished(() => provider.close());
    const trap = createServer((socket) => socket.destroy());
    let trapped = 0;
    trap.on('connection', () => {
      trapped += 1;
    });
    trap.listen(0, '127.0.0.1');
    await once(trap, 'listening');
    onTestFinished(() => void trap.close());
    const stele = new Stele({
      STELE_UPSTREAM_OPENAI: `${provider.url}/v1`,
      STELE_LIMITS_TOKEN_RATE: '0',
      STELE_LIMITS_ADDRESS_RATE: '0',
    });
    onTestFinished(() => stele.close());
    const { pid } = await stele.start();
    const { server, proxy } = stele.addresses();
    const asker = askerOf(server);
    const places = placesOf((await asker.ask('GET', '/openapi.json')).json());

    const trace = await watch(pid, stele.folder);
    const addresses = addressesOf((trap.address() as AddressInfo).port, 'planted').slice(0, 3);
    const answers = await askEverything(asker, places, tokenFrom(stele), addresses);
    expect(answers.length).toBeGreaterThan(500);
    for (const address of addresses) await callThrough(proxy, address);
    await stele.log('read').head();
    const seen = await trace.end();

    expect(trapped).toBe(0);
    // Nothing but the provider, which the settings name: no other address, no name server, no socket of the system.
    const { port } = new URL(provider.url);
    expect(seen.filter((line) => !line.includes(`sin_port=htons(${port})`))).toEqual([]);
    expect(seen.length, 'what was watched is seen').toBeGreaterThan(0);
  },
  120_000,
);

/** Every connection and every message to an address, of all threads. */
async function watch(pid: number, folder: string) {
  const file = join(folder, 'connections');
  const what = 'trace=connect,sendto,sendmsg,sendmmsg';
  const argv = ['-f', '-o', file, '-e', what, '-p', String(pid)];
  const strace = new Process('strace', argv, { PATH: process.env.PATH ?? '' }, folder);
  for (let i = 0; !strace.output.includes('attached'); i++) {
    if (!strace.isRunning || i === 1_000) throw new Error(`strace: ${strace.output}`);
    await pause(10);
  }
  return {
    async end(): Promise<readonly string[]> {
      await strace.kill('SIGINT');
      const lines = readFileSync(file, 'utf8').split('\n');
      return lines.filter((line) => /sa_family=/.test(line));
    },
  };
}

/** A call through the proxy that names other hosts in every way it can. */
async function callThrough(proxy: string, address: string): Promise<void> {
  const body = JSON.stringify({
    model: address,
    messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: address } }] }],
    webhook: address,
  });
  const headers = { 'content-type': 'application/json', origin: address, host: 'planted.invalid' };
  for (const path of ['/openai/v1/chat/completions', `/openai/v1/${encodeURIComponent(address)}`]) {
    await exchange(proxy, 'POST', path, { body, headers });
  }
  await exchange(proxy, 'POST', address, { body, headers });
  await exchange(proxy, 'GET', `/planted/${address}`, { headers });
}

function tokenFrom(stele: Stele) {
  return ({ operation }: Place): string | undefined => {
    const roles = operation.security.flatMap(({ bearer = [] }) => bearer);
    const role = (['admin', 'read', 'submit', 'content'] as const).find((r) => roles.includes(r));
    return role && stele.token(role);
  };
}

function askerOf(server: string): Asker {
  return {
    ask: (method, path, ask) => exchange(server, method, path.replace('team-a', 'default'), ask),
  };
}

function exchange(base: string, method: string, path: string, ask: Ask = {}): Promise<Answer> {
  const { hostname, port } = new URL(base);
  const { token, headers, body, type } = ask;
  return new Promise((resolve, reject) => {
    const req = request({
      host: hostname,
      port,
      method,
      path,
      agent: false,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(type === undefined ? {} : { 'content-type': type }),
        ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }),
        ...headers,
      },
    });
    req.on('error', reject);
    req.on('response', (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const text = bytes.toString();
        const json = () => JSON.parse(text);
        resolve({ status: res.statusCode ?? 0, headers: res.headers, bytes, text, json });
      });
    });
    req.end(body);
  });
}
