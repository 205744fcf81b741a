/** A monitor that is killed at any moment leaves a state that the next one goes on from, and forgets nothing. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { sha256, toHex, utf8 } from '../../server/core/bytes.ts';
import { parseState, type State } from '../../server/monitor/state.ts';
import { STELE } from '../fault/process.ts';
import { Heart, IDENTITY, ORIGIN, plainLog } from '../log/audit/build.ts';
import { temporaryFolder } from '../temporary.ts';
import { Site } from './site.ts';

/** A site on a port, and a hook before each answer. */
async function serve(site: Site, before: (path: string) => void): Promise<string> {
  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    before(req.url ?? '');
    const { authorization = '' } = req.headers;
    const headers = authorization === '' ? {} : { authorization };
    const response = await site.fetch(`http://log.example${req.url}`, { headers });
    res.writeHead(response.status);
    res.end(Buffer.from(await response.arrayBuffer()));
  };
  const server = createServer((req, res) => void answer(req, res).catch(() => res.destroy()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/logs/built`;
}

function stateIn(folder: string): State | undefined {
  const path = join(folder, `${toHex(sha256(utf8(ORIGIN)))}.json`);
  return existsSync(path) ? parseState(new Uint8Array(readFileSync(path)), ORIGIN) : undefined;
}

test('killed before any of its requests is answered, it goes on, and what it saw stays seen', async () => {
  const entries = await plainLog(298);
  const site = await Site.of(entries.slice(0, 100));
  let kill: (() => void) | undefined;
  let left = Number.POSITIVE_INFINITY;
  const url = await serve(site, () => {
    left--;
    if (left < 0) kill?.();
  });
  const folder = temporaryFolder();
  const run = (requests: number) =>
    new Promise<{ code: number | null; output: string }>((resolve) => {
      left = requests;
      const argv = ['monitor', url, '--once', '--json', '--vkey', IDENTITY.text, '--stale', '0'];
      const env = { PATH: process.env.PATH ?? '', STELE_STATE: folder };
      const child = spawn(process.execPath, [STELE, ...argv, '--state', folder], { env });
      kill = () => child.kill('SIGKILL');
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
      child.on('close', (code) => resolve({ code, output }));
    });

  expect((await run(Number.POSITIVE_INFINITY)).code).toBe(0);
  await site.show(entries);
  let killed = 0;
  let seen = 100;
  // The number of requests is what it is: the first run that is not killed has made all of them.
  for (let requests = 0; ; requests++) {
    const { code, output } = await run(requests);
    const state = stateIn(folder);
    const size = Number(state?.seen?.note.split('\n')[1]);
    expect(size, 'what was seen is never forgotten').toBeGreaterThanOrEqual(seen);
    seen = size;
    if (code !== null) {
      expect({ code, output }).toMatchObject({ code: 0 });
      break;
    }
    killed++;
    const passed = Number(state?.head?.split('\n')[1]);
    expect([100, 300], 'nothing passes but as a whole').toContain(passed);
    expect([100, 300]).toContain(state?.contents?.size);
  }
  expect(killed).toBeGreaterThan(3);
  expect(stateIn(folder)).toMatchObject({ contents: { size: 300 } });
  expect(stateIn(folder)?.head?.split('\n')[1]).toBe('300');
  // And what it saw still tells a second history.
  await site.show([...entries.slice(0, 290), ...(await new Heart('fork').beats(30))]);
  const forked = await run(Number.POSITIVE_INFINITY);
  expect(forked).toMatchObject({ code: 1, output: expect.stringContaining('split_view') });
}, 300_000);
