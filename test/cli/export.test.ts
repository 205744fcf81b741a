/** `export --follow` outlives its server; a feed that lies is not written down. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExportFile, FEED_FORM } from '../../server/cli/export-file.ts';
import { runCli, type Starters } from '../../server/cli/program.ts';
import { LogClient } from '../../server/client/client.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { formatFeedLine, parseFeedLine } from '../../server/core/feed.ts';
import type { LeafIndex } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { type Gateway, World } from '../http/world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let folder: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'stele-export-'));
  world = await World.start();
  ({ log, gateway } = await world.log('a'));
});

afterEach(async () => {
  await world.stop();
  rmSync(folder, { recursive: true });
});

async function submit() {
  await log.submit([{ admitted: await log.admit(decodeEntry(await gateway.entry())) }]);
}

function run(token: string, stop: AbortSignal, seen: (line: string) => void) {
  const { port } = new URL(world.server.url);
  const argv = ['export', '--log', 'a', '--follow', '--server', `http://127.0.0.1:${port}`];
  return runCli(
    [...argv, '--token', token],
    {
      env: {},
      cwd: folder,
      isTerminal: false,
      now: () => Date.now(),
      interrupted: stop,
      stdin: async function* () {},
      out: (text) => seen(String(text)),
      err: (text) => seen(`stderr: ${text}`),
    },
    { version: '0.0.0' } as Starters,
  );
}

describe('an export that follows', () => {
  test('goes on where it was after its server has ended every feed', async () => {
    const token = world.token({ roles: ['read'] });
    const stop = new AbortController();
    const indexes: number[] = [];
    let look = (): void => undefined;
    const until = (count: number) =>
      new Promise<void>((resolve) => {
        look = () => {
          if (indexes.length >= count) resolve();
        };
        look();
      });
    const ended = run(token, stop.signal, (line) => {
      indexes.push(parseFeedLine(Buffer.from(line.trimEnd())).index);
      look();
    });
    await until(2);
    world.server.server.closeAllConnections();
    await submit();
    await until(3);
    stop.abort();
    expect(await ended).toBe(0);
    expect(indexes).toEqual([0, 1, 2]);
  });

  test('ends when its token is no longer good', async () => {
    const token = world.token({ roles: ['read'], expiresMs: world.now + 1_000 });
    const said: string[] = [];
    let begun = (): void => undefined;
    const isThere = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const ended = run(token, new AbortController().signal, (line) => {
      said.push(line);
      if (said.length === 2) begun();
    });
    await isThere;
    world.now += 1_000;
    await submit();
    expect(await ended).toBe(2);
    expect(said.slice(2).join('')).toContain('expired');
  });
});

describe('a feed', () => {
  const served = async (body: string) => {
    const answer = async () => new Response(body);
    const client = new LogClient({ base: 'http://log.example/logs/a', fetch: answer });
    const lines = [];
    for await (const { index } of client.feed(0)) lines.push(index);
    return lines;
  };

  test('is held to the order of its lines, and to whole ones', async () => {
    const [zero, one] = await Promise.all(
      [0, 1].map(async (i) => `${formatFeedLine(i, await log.entry(i as LeafIndex))}\n`),
    );
    expect(await served(`${zero}\n\n${one}`)).toEqual([0, 1]);
    await expect(served(`${one}`)).rejects.toThrow('entry 1 where 0 is due');
    await expect(served(`${zero}${zero}`)).rejects.toThrow('entry 0 where 1 is due');
    await expect(served(`${zero}${one?.slice(0, 50)}`)).rejects.toThrow('within a line');
    await expect(served('x'.repeat(200_000))).rejects.toMatchObject({ code: 'too_large' });
  });
});

describe('an export file', () => {
  test('cut at any byte goes on after its last whole line', async () => {
    const path = join(folder, 'log.jsonl');
    const lines = await Promise.all(
      [0, 1].map(async (i) => `${formatFeedLine(i, await log.entry(i as LeafIndex))}\n`),
    );
    const text = lines.join('');
    const first = lines[0]?.length ?? 0;
    for (let length = 0; length <= text.length; length += length < 40 ? 1 : 37) {
      writeFileSync(path, text.slice(0, length));
      const file = new ExportFile(path, FEED_FORM);
      const whole = length < first ? 0 : length < text.length ? 1 : 2;
      expect(file.last?.index, `cut at ${length}`).toBe(whole === 0 ? undefined : whole - 1);
      file.append(lines.slice(whole).join(''));
      file.close();
      expect(readFileSync(path, 'utf8')).toBe(text);
    }
  });
});
