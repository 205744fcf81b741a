/** What must be in no file of the project: paths of one machine, things left for later, addresses of registries. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PAGES, page, ROOT } from './pages.ts';

const TEXT = /\.(ts|js|mjs|json|md|sql|proto|txt|yaml|yml)$/;
const SKIPPED = new Set(['node_modules', '.git', 'coverage', 'stele-data', 'gen', 'fixtures']);

/** Every text file that is written by hand. This one has the words itself. */
function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((item) => {
    const path = join(folder, item.name);
    if (item.isDirectory()) return SKIPPED.has(item.name) ? [] : files(path);
    const isOurs = TEXT.test(item.name) && path !== import.meta.filename;
    return isOurs && item.name !== 'package-lock.json' ? [relative(ROOT, path)] : [];
  });
}

const FILES = files(ROOT);

/** Each line that has what must not be there, as FILE:LINE: TEXT. */
function found(pattern: RegExp, paths: readonly string[] = FILES): string[] {
  return paths.flatMap((path) =>
    page(path)
      .split('\n')
      .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
  );
}

describe('no file', () => {
  test('is missed', () => {
    expect(FILES.length).toBeGreaterThan(200);
    expect(FILES).toContain('README.md');
    expect(FILES).toContain('migrations/sqlite/0001_log.sql');
  });

  test('leaves something for later without saying what would close it', () => {
    expect(found(/\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
  });

  test('has the marks of a merge that nobody finished', () => {
    expect(found(/^(<{7}|={7}|>{7})( |$)/)).toEqual([]);
  });

  test('names a folder of somebody’s machine', () => {
    expect(found(/(?<![\w.$}~])\/(work|root|home\/[a-z]+)(?=[/'"`\s)]|$)/)).toEqual([]);
  });

  test('cites a page that is not here', () => {
    const unknown = FILES.flatMap((path) =>
      [...page(path).matchAll(/\bdocs\/[A-Za-z0-9/_-]+\.md\b/g)]
        .filter(([name]) => !existsSync(join(ROOT, name)))
        .map(([name]) => `${path}: ${name}`),
    );
    expect(unknown).toEqual([]);
    expect(found(/\b(INGEST|SPECS|LIMITS|LESSONS|DESIGN|REKOR|STYLE)(\.md| [A-Z0-9])/)).toEqual([]);
  });

  test('is spelled in two ways', () => {
    const british =
      /\b(behaviour|colour|honour|neighbour|favour|catalogue|licence|centre|cancelled\b|labelled\b|modelling|signalling|serialise|normalise|canonicalise|initialise|recognise|organisation|authorise|artefact|analyse|whilst)/i;
    expect(found(british)).toEqual([]);
  });
});

test('no page names a folder for temporary files', () => {
  expect(found(/(?<![\w.])\/tmp\b/, PAGES)).toEqual([]);
});

test('the lock file has a hash for each package and no address', () => {
  const text = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  expect(text).not.toMatch(/"resolved"|https?:\/\/registry|npmjs/);
  const { packages } = JSON.parse(text) as {
    packages: Record<string, { integrity?: string; link?: boolean }>;
  };
  const without = Object.entries(packages)
    .filter(([name, { integrity }]) => name !== '' && integrity === undefined)
    .map(([name]) => name);
  expect(without).toEqual([]);
});

test('what a first run leaves in the folder stays out of the repository', () => {
  const ignored = readFileSync(join(ROOT, '.gitignore'), 'utf8').split('\n');
  expect(ignored).toEqual(expect.arrayContaining(['node_modules/', 'stele-data/']));
});
