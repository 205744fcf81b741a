/** The programs that docs/gateways.md shows, taken from the page and run: each where its language is there. */
import { execFile, execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from '../http/world.ts';
import { blocksOf, page } from '../repo/pages.ts';
import { temporaryFolder } from '../temporary.ts';

const run = promisify(execFile);
/** A compiler that was never run here takes its time. */
const PATIENCE_MS = 300_000;

let world: World;
let log: Log;
let token: string;

beforeAll(async () => {
  world = await World.start();
  ({ log } = await world.log('default'));
  token = world.token({ roles: ['submit'], logs: ['default'] });
});
afterAll(() => world.stop());

function isThere(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const PROGRAMS = [
  {
    info: 'ts file=sign.ts',
    source: 'gateway-ts',
    needs: [process.execPath, '--version'],
    by: [process.execPath, 'sign.ts'],
  },
  {
    info: 'python file=sign.py',
    source: 'gateway-py',
    needs: ['python3', '-c', 'import cryptography'],
    by: ['python3', 'sign.py'],
  },
  {
    info: 'go file=sign.go',
    source: 'gateway-go',
    needs: ['go', 'version'],
    by: ['go', 'run', 'sign.go'],
  },
  {
    info: 'sh file=sign.sh',
    source: 'gateway-sh',
    needs: ['sh', '-c', 'curl --version && openssl version | grep "OpenSSL 3"'],
    by: ['sh', 'sign.sh'],
  },
] as const;

const there = PROGRAMS.filter(({ needs: [command, ...args] }) => isThere(command, args));
for (const { info } of PROGRAMS.filter((one) => !there.includes(one))) {
  console.log(`skipped: nothing here runs "${info}" of docs/gateways.md`);
}

async function ofSource(id: string) {
  const entries = await log.entries(leafIndex(0), treeSize(log.head().size));
  const all = entries.map((entry) => parseRecord(decodeEntry(entry).payload));
  return all.filter(({ source }) => source.id === id);
}

describe.each(there)('$info', ({ info, source, by: [command, ...args] }) => {
  test('writes records in one chain, and sends again what had no answer', {
    timeout: PATIENCE_MS,
  }, async () => {
    const folder = temporaryFolder();
    const [, file = ''] = info.split('file=');
    const block = blocksOf(page('docs/gateways.md')).find((one) => one.info === info);
    writeFileSync(join(folder, file), block?.text ?? '');
    execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', 'gateway.pem'], {
      cwd: folder,
    });
    const pem = readFileSync(join(folder, 'gateway.pem'));
    const spki = createPublicKey(pem).export({ type: 'spki', format: 'der' });
    await log.registerGateway(parsePublicKey('ed25519', new Uint8Array(spki)));
    const env = {
      ...process.env,
      STELE_LOG: `${world.server.url}/logs/default`,
      STELE_ORIGIN: log.origin,
      STELE_TOKEN: token,
    };
    for (let i = 0; i < 2; i++) await run(command, args, { cwd: folder, env });
    const records = await ofSource(source);
    expect(records.map(({ kind, source: { seq } }) => [kind, seq])).toEqual([
      ['inference', 0],
      ['inference', 1],
    ]);
    const { index } = parseReceipt(readFileSync(join(folder, 'receipt.json')));
    expect(index).toBe(log.head().size - 1);
    // A log that cannot be reached: what was signed stays, and goes first when it can.
    const away = { ...env, STELE_LOG: 'http://127.0.0.1:9/logs/default' };
    await expect(run(command, args, { cwd: folder, env: away })).rejects.toThrow();
    await run(command, args, { cwd: folder, env });
    expect((await ofSource(source)).map(({ source: { seq } }) => seq)).toEqual([0, 1, 2, 3]);
    const known = (await log.sources()).find(({ id }) => id === source);
    expect(known).toMatchObject({ next: 4, holes: [], forks: 0 });
  });
});
