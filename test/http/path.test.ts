/** Targets: one spelling for each path, and queries that say what the route knows. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hasCode } from '../../server/core/errors.ts';
import { parseQuery, parseTarget } from '../../server/http/path.ts';

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(hasCode(error, 'malformed'), String(error)).toBe(true);
    return (error as Error).message;
  }
  throw new Error('was accepted');
}

describe('paths', () => {
  test.each([
    ['/', []],
    ['/healthz', ['healthz']],
    ['/logs/a/tile/0/x001/234.p/5', ['logs', 'a', 'tile', '0', 'x001', '234.p', '5']],
    ['/logs/team-a.access/checkpoint', ['logs', 'team-a.access', 'checkpoint']],
    ['/logs/a/v1/content/0/principal.id', ['logs', 'a', 'v1', 'content', '0', 'principal.id']],
    ['/a/...', ['a', '...']],
  ])('takes %s', (path, segments) => {
    expect(parseTarget(path)).toEqual({ path, segments, query: '' });
  });

  test('keeps the query apart', () => {
    expect(parseTarget('/a/b?x=1/../2&y')).toEqual({
      path: '/a/b',
      segments: ['a', 'b'],
      query: 'x=1/../2&y',
    });
  });

  test.each([
    ['', 'does not begin with "/"'],
    ['*', 'does not begin with "/"'],
    ['http://host/logs/a', 'does not begin with "/"'],
    ['logs/a', 'does not begin with "/"'],
    ['//logs/a', 'empty segment'],
    ['/logs//a', 'empty segment'],
    ['/logs/a/', 'ends with "/"'],
    ['/logs/./a', 'segment "." or ".."'],
    ['/logs/../a', 'segment "." or ".."'],
    ['/..', 'segment "." or ".."'],
    ['/logs/a/.', 'segment "." or ".."'],
    ['/logs/%61', 'has "%"'],
    ['/logs/a%2fb', 'has "%"'],
    ['/logs/%2e%2e/a', 'has "%"'],
    ['/logs/a\\b', 'has a character outside'],
    ['/logs/a;b', 'has a character outside'],
    ['/logs/a b', 'has a character outside'],
    ['/logs/a#b', 'has a character outside'],
    ['/logs/é', 'has a character outside'],
    ['/logs/a:80', 'has a character outside'],
  ])('refuses %j: %s', (path, rule) => {
    expect(refusal(() => parseTarget(path))).toContain(rule);
  });

  test('whatever is taken is exactly its segments joined again', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'/a.b%-_~?é ') }), (text) => {
        try {
          const { path, segments, query } = parseTarget(text);
          expect(`/${segments.join('/')}`).toBe(path);
          expect(segments.every((s) => s !== '' && s !== '.' && s !== '..')).toBe(true);
          expect(text === path || text === `${path}?${query}`).toBe(true);
        } catch (error) {
          expect(hasCode(error, 'malformed'), String(error)).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('queries', () => {
  test('decodes the values of known parameters', () => {
    expect([...parseQuery('start=3&source=a%2Fb%20c', ['start', 'source'])]).toEqual([
      ['start', '3'],
      ['source', 'a/b c'],
    ]);
    expect(parseQuery('', ['start']).size).toBe(0);
    expect(parseQuery('start', ['start']).get('start')).toBe('');
  });

  test.each([
    ['unknown', 'begin=3', 'where the route knows start'],
    ['empty name', '=3', 'where the route knows start'],
    ['encoded name', 'st%61rt=3', 'where the route knows start'],
    ['given twice', 'start=3&start=3', 'is given twice'],
    ['trailing ampersand', 'start=3&', 'where the route knows start'],
    ['half an escape', 'start=%4', 'is not percent-encoded UTF-8'],
    ['not UTF-8', 'start=%ff', 'is not percent-encoded UTF-8'],
  ])('refuses what is %s', (_, text, rule) => {
    expect(refusal(() => parseQuery(text, ['start']))).toContain(rule);
  });

  test('a route without parameters takes none', () => {
    expect(refusal(() => parseQuery('x=1', []))).toContain('knows none');
  });
});
