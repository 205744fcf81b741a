/** A manifest has one spelling, and no path in it leads anywhere but into its folder. */
import { describe, expect, test } from 'vitest';
import {
  formatListed,
  formatManifest,
  type Manifest,
  parseListed,
  parseManifest,
} from '../../server/backup/manifest.ts';
import { toBase64, utf8 } from '../../server/core/bytes.ts';

const sha256 = 'ab'.repeat(32);
const file = (path: string) => ({ path, bytes: 7, sha256 });
const log = (name: string) => ({
  name,
  origin: `log.example/logs/${name}`,
  size: 3,
  root: toBase64(new Uint8Array(32)),
  checkpoint: 'a note\n',
});
const manifest: Manifest = {
  format: 'stele.backup/1',
  version: '0.1.0',
  time: '2026-11-29T07:14:00.000000Z',
  id: '0123456789abcdef',
  part: 'data',
  except: ['other'],
  files: [file('logs/a.access.db'), file('logs/a.db'), file('stele.db')],
  logs: [log('a'), log('a.access')],
};

test('what is formatted is parsed, and nothing else', () => {
  const text = formatManifest(manifest);
  expect(parseManifest(utf8(text))).toEqual(manifest);
  for (const other of [
    text.trimEnd(),
    `${text}\n`,
    ` ${text}`,
    text.replace('{"except"', '{ "except"'),
    `${JSON.stringify(manifest)}\n`,
    text.replace('"bytes":7', '"bytes":7.0'),
    text.slice(0, -3),
    '',
  ]) {
    expect(() => parseManifest(utf8(other))).toThrow();
  }
});

describe('a manifest is refused', () => {
  const wrong: Record<string, Partial<Record<keyof Manifest, unknown>>> = {
    'of another format': { format: 'stele.backup/2' },
    'of another part': { part: 'all' },
    'with a time in another form': { time: '2026-11-29T07:14:00Z' },
    'with a file twice': { files: [file('stele.db'), file('stele.db')] },
    'with files out of order': { files: [file('stele.db'), file('a')] },
    'with a log twice': { logs: [log('a'), log('a')] },
    'with a log of no name': { logs: [log('A')] },
    'with an empty log': { logs: [{ ...log('a'), size: 0 }] },
    'with logs among keys': { part: 'keys' },
    'with a hash that is none': { files: [{ ...file('stele.db'), sha256: 'AB'.repeat(32) }] },
    'with bytes that cannot be': { files: [{ ...file('stele.db'), bytes: -1 }] },
    'with a member more': { note: 'x' } as object,
  };
  test.each(Object.entries(wrong))('%s', (_what, members) => {
    const text = formatManifest({ ...manifest, ...members } as Manifest);
    expect(() => parseManifest(utf8(text))).toThrow(
      expect.objectContaining({ code: 'malformed' }) as Error,
    );
  });

  test.each([
    ...['/etc/passwd', '../x', 'a/../b', 'a/..', './a', 'a/./b', 'a//b', 'a/', '', '.hidden'],
    ...['a/.hidden', 'a\\b', 'a b', 'a\nb', 'ä', 'a/b/c/d/e/f/g/h/i', '-a'],
  ])('with the path %j', (path) => {
    const text = formatManifest({ ...manifest, files: [file(path)] });
    expect(() => parseManifest(utf8(text))).toThrow(/files\[0\]\.path/);
  });
});

test('a line of a listing has one spelling, and comes after the one before', () => {
  const path = `000/001/${sha256}`;
  const line = formatListed({ ...file(path), path }).trimEnd();
  expect(parseListed(line, '')).toEqual(file(path));
  expect(parseListed(line, `000/000/${'f'.repeat(64)}.1`)).toEqual(file(path));
  for (const last of [path, `000/001/${'ac'.repeat(32)}`, '001']) {
    expect(parseListed(line, last)).toBeUndefined();
  }
  for (const near of [
    line.toUpperCase(),
    ` ${line}`,
    `${line} `,
    line.replace(' 7 ', ' 07 '),
    line.replace(' 7 ', '  7 '),
    line.replace('000/001/', '../001/'),
    line.replace('000/001/', '000/001/x'),
    line.replace('000/001/', '000/'),
    `${line}.`,
    `${line}.x`,
    '',
  ]) {
    expect(parseListed(near, '')).toBeUndefined();
  }
  expect(parseListed(`${line}.12`, '')).toMatchObject({ path: `${path}.12` });
});
