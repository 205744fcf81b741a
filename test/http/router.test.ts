/** The router: literals before parameters, every pattern once, and nothing else matches. */
import { describe, expect, test } from 'vitest';
import { Router } from '../../server/http/router.ts';

const route = (method: string, pattern: string) => ({ method, pattern });
const router = new Router([
  route('GET', '/'),
  route('GET', '/logs/{log}/tile/{path*}'),
  route('GET', '/logs/{log}/tile/entries/{path*}'),
  route('GET', '/logs/{log}/v1/entries'),
  route('POST', '/logs/{log}/v1/entries'),
  route('GET', '/logs/{log}/v1/entries/{index}'),
  route('POST', '/logs/{log}/v1/entries/batch'),
  route('GET', '/logs/{log}/v1/content/{id}/{field}'),
  route('GET', '/logs/{log}/v1/content/{id}/{field}/body'),
]);

function found(path: string) {
  const match = router.match(path === '/' ? [] : path.slice(1).split('/'));
  return match && { methods: [...match.methods.keys()], params: match.params };
}

describe('matches', () => {
  test.each([
    ['/', ['GET'], []],
    ['/logs/a/v1/entries', ['GET', 'POST'], ['a']],
    ['/logs/a/v1/entries/7', ['GET'], ['a', '7']],
    ['/logs/a/v1/entries/batch', ['POST'], ['a']],
    ['/logs/a/tile/0/x001/234.p/5', ['GET'], ['a', '0/x001/234.p/5']],
    ['/logs/a/tile/entries/000', ['GET'], ['a', '000']],
    ['/logs/a/v1/content/r/f/body', ['GET'], ['a', 'r', 'f']],
    ['/logs/logs/v1/entries', ['GET', 'POST'], ['logs']],
  ])('%s', (path, methods, params) => {
    expect(found(path)).toEqual({ methods, params });
  });

  test.each([
    '/logs',
    '/logs/a',
    '/logs/a/tile',
    '/logs/a/tile/entries',
    '/logs/a/v1',
    '/logs/a/v1/entries/7/8',
    '/logs/a/v1/content/r/f/body/x',
    '/Logs/a/v1/entries',
    '/constructor',
    '/__proto__',
  ])('nothing for %s', (path) => {
    expect(found(path)).toBeUndefined();
  });

  test('two routes of one method and pattern are a bug', () => {
    expect(() => new Router([route('GET', '/a/{x}'), route('GET', '/a/{y}')])).toThrow('one route');
  });
});
