/** `stele up` with a certificate of a private issuer: the commands beside it, the outside, and a new certificate. */
import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { readRunning } from '../../server/cli/running.ts';
import { pinnedFetch } from '../../server/client/pinned.ts';
import { Issuer, opensslMissing } from '../certificates.ts';
import { Place } from '../fault/process.ts';

const STELE = join(import.meta.dirname, '..', '..', 'server', 'cli', 'stele.js');
const root = mkdtempSync(join(tmpdir(), 'stele-e2e-tls-'));
afterAll(() => rmSync(root, { recursive: true }));

describe.skipIf(opensslMissing)('a server with TLS', () => {
  test('is reached by its own commands, by those who trust the issuer, and by nobody else', async () => {
    const issuer = new Issuer(join(root, 'issuer'));
    const pair = issuer.make({ names: ['log.example', '127.0.0.1'] });
    const place = new Place({ STELE_TLS_CERT: pair.cert, STELE_TLS_KEY: pair.key });
    onTestFinished(() => place.close());
    await place.start();
    const { server, proxy, certificate } = readRunning(place.data) ?? {};
    expect(server).toMatch(/^https:/);
    // The proxy is on loopback, and clients on this machine need no certificate for it.
    expect(proxy).toMatch(/^http:/);
    expect(certificate).toMatch(/^[0-9a-f]{64}$/);
    expect(statSync(join(place.data, 'running.json')).mode & 0o777).toBe(0o600);

    const own = await place.stele('token', 'list', '--data', place.data);
    expect(own, own.output).toMatchObject({ code: 0 });
    const got = await place.stele('get', '0', '--data', place.data);
    expect(got, got.output).toMatchObject({ code: 0 });
    const doctor = await place.stele('doctor', '--data', place.data);
    expect(doctor.output).toMatch(/^ok +tls +the certificate ends at .*, in 19 days/m);
    expect(doctor.output).toMatch(/^ok +server +https:.* is ready/m);

    // From elsewhere, with nothing but the address: the issuer has to be known.
    const elsewhere = { STELE_SERVER: server ?? '', STELE_TOKEN: place.token('read') };
    const ask = (env: Record<string, string>) =>
      stele({ ...env, ...elsewhere }, 'get', '0', '--data', join(root, 'none'));
    const stranger = await ask({});
    expect(stranger.code).toBe(2);
    expect(stranger.output).toMatch(/certificate/);
    expect(await ask({ NODE_EXTRA_CA_CERTS: issuer.file })).toMatchObject({ code: 0 });

    // A new certificate is taken up without a restart, and the commands follow it.
    const next = issuer.make({ names: ['log.example', '127.0.0.1'] });
    for (const part of ['cert', 'key'] as const) {
      copyFileSync(next[part], `${pair[part]}.new`);
      renameSync(`${pair[part]}.new`, pair[part]);
    }
    while (readRunning(place.data)?.certificate === certificate) {
      await new Promise((go) => setImmediate(go));
    }
    const after = await place.stele('get', '0', '--data', place.data);
    expect(after, after.output).toMatchObject({ code: 0 });
    const { output } = await place.stop();
    expect(output).not.toContain(readFileSync(pair.key, 'utf8').split('\n')[1]);
  });

  test('has a proxy with the same certificate, where that is bound beyond loopback', async () => {
    const pair = new Issuer(join(root, 'beyond')).make();
    const place = new Place({
      STELE_TLS_CERT: pair.cert,
      STELE_TLS_KEY: pair.key,
      STELE_PROXY_LISTEN: '0.0.0.0:0',
      STELE_PROXY_BEYOND_LOOPBACK: 'true',
    });
    onTestFinished(() => place.close());
    await place.start();
    const { proxy = '', certificate } = readRunning(place.data) ?? {};
    expect(proxy).toMatch(/^https:/);
    const url = `${proxy.replace('0.0.0.0', '127.0.0.1')}/healthz`;
    const answer = await pinnedFetch(() => certificate)(url);
    expect([answer.status, await answer.json()]).toEqual([200, { status: 'ok' }]);
    // Without TLS there is nothing: no provider's key goes by in the clear.
    await expect(fetch(url.replace('https:', 'http:'))).rejects.toThrow();
  });

  test('does not start with half a pair, or with a key that others can read', async () => {
    const issuer = new Issuer(join(root, 'other'));
    const pair = issuer.make();
    const half = new Place({ STELE_TLS_CERT: pair.cert });
    onTestFinished(() => half.close());
    const one = await half.stele('up', '--data', half.data);
    expect([one.code, one.output]).toEqual([1, expect.stringContaining('tls.key: is missing')]);
    const wrong = new Place({ STELE_TLS_CERT: pair.cert, STELE_TLS_KEY: issuer.make().key });
    onTestFinished(() => wrong.close());
    const two = await wrong.stele('up', '--data', wrong.data);
    expect([two.code, two.output]).toEqual([
      1,
      expect.stringContaining('not the key of the certificate'),
    ]);
  });
});

/** A command on no data folder of ours. */
function stele(env: Record<string, string>, ...argv: readonly string[]) {
  const child = spawn(process.execPath, [STELE, ...argv], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  return new Promise<{ code: number | null; output: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, output })),
  );
}
