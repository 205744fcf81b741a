/**
 * Arrows point down. Each folder of `server/` may import from the folders on its line and from itself;
 * a new arrow is drawn here first, where it can be questioned.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const server = fileURLToPath(new URL('../../server/', import.meta.url));

const ARROWS: Readonly<Record<string, readonly string[]>> = {
  gen: [],
  core: ['gen'],
  verify: ['core'],
  native: ['core'],
  outbound: ['core'],
  linger: [],
  keys: ['core', 'native'],
  storage: ['core'],
  callers: ['core', 'storage'],
  vault: ['core', 'storage'],
  log: ['core', 'verify', 'keys', 'storage'],
  admin: ['core', 'log', 'storage'],
  anchor: ['core', 'storage', 'outbound'],
  witness: ['core', 'keys', 'native', 'outbound', 'storage'],
  client: ['core', 'verify', 'keys', 'storage', 'outbound'],
  http: ['core', 'verify', 'keys', 'storage', 'log', 'vault', 'admin', 'linger', 'witness'],
  proxy: ['core', 'keys', 'native', 'storage', 'vault', 'client', 'callers', 'linger'],
  // It reads providers' formats and makes commitments as the proxy does, and nothing else of it.
  ingest: ['core', 'keys', 'storage', 'log', 'vault', 'proxy'],
  backup: ['core', 'storage', 'log', 'vault'],
  monitor: ['anchor', 'core', 'verify', 'storage', 'log', 'client', 'outbound'],
  cli: [
    'core',
    'verify',
    'keys',
    'storage',
    'log',
    'client',
    'config',
    'anchor',
    'backup',
    'callers',
    'monitor',
    'outbound',
  ],
  config: ['core'],
  main: [
    'backup',
    'core',
    'verify',
    'keys',
    'storage',
    'log',
    'vault',
    'admin',
    'client',
    'http',
    'proxy',
    'ingest',
    'cli',
    'config',
    'native',
    'outbound',
    'anchor',
    'callers',
    'witness',
  ],
};

/** Single files are of the room that they are named after: `main.ts` of `main`. */
/** The command's first file, plain JavaScript: it hands over to `main` once Node is new enough. */
const ENTRY = 'cli/stele.js';

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && /\.[jt]s$/.test(file.name) && !file.name.endsWith('.d.ts'))
    .map((file) => join(file.parentPath, file.name));
}

function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/(?:from|import|URL)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)].map((match) =>
    join(dirname(path), match[1] ?? ''),
  );
}

/** The first folder below `server/`, or the file without its ending. */
function roomOf(path: string): string {
  return (relative(server, path).split(sep)[0] ?? '').replace(/\.ts$/, '');
}

describe('imports', () => {
  const files = sources(server);

  test('are found at all', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap(importsOf).length).toBeGreaterThan(200);
  });

  test.each(files.map((path) => relative(server, path)))('of %s point down', (name) => {
    const path = join(server, name);
    const room = roomOf(path);
    const allowed = name === ENTRY ? ['main'] : ARROWS[room];
    expect(allowed, `server/${room} is not on the map`).toBeDefined();
    const wrong = importsOf(path)
      .filter((target) => !relative(server, target).startsWith('..'))
      .map(roomOf)
      .filter((to) => to !== room && !allowed?.includes(to));
    expect(wrong).toEqual([]);
  });
});
