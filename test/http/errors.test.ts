/** The table of codes, the problem documents made from it, and the page that explains both. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EXIT } from '../../server/cli/exit.ts';
import { Bug, CODES, SteleError } from '../../server/core/errors.ts';
import { methodNotAllowed, STATUS, unauthenticated } from '../../server/http/errors.ts';
import { problemHeaders, problemOf } from '../../server/http/problem.ts';

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

describe('docs/errors.md', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+) \| (\d) \| (.+) \| (.+) \| (.+) \|$/gm)];

  test('has one row per code, in the order of the list, with its status', () => {
    expect(rows.map(([, code, status]) => [code, Number(status)])).toEqual(
      CODES.map((code) => [code, STATUS[code]]),
    );
  });

  test('gives each code the exit status that the command line has for it', () => {
    expect(rows.map(([, code, , exit]) => [code, Number(exit)])).toEqual(
      CODES.map((code) => [code, EXIT[code]]),
    );
  });
});

describe('problems', () => {
  test.each(CODES)('%s carries its code, status and message', (code) => {
    const problem = problemOf(new SteleError(code, 'leaf 9 is not in a tree of 9'), 'id');
    expect(problem).toMatchObject({
      type: `urn:stele:error:${code}`,
      status: STATUS[code],
      detail: 'leaf 9 is not in a tree of 9',
      code,
    });
  });

  test.each(['pushback', 'storage', 'not_yet'] as const)('%s says when to ask again', (code) => {
    const error = new SteleError(code, 'x');
    const problem = problemOf(error, 'id');
    expect(problem.retry_after).toBeGreaterThan(0);
    expect(problemHeaders(error, problem)['retry-after']).toBe(String(problem.retry_after));
    expect(problemOf(new SteleError(code, 'x', { retryAfterS: 77 }), 'id').retry_after).toBe(77);
  });

  test.each([
    new Error('secret path /data/x'),
    new Bug('a rule'),
    new TypeError('x is undefined'),
    'a string',
    undefined,
  ])('a fault of ours says the request id and nothing else (%s)', (error) => {
    const problem = problemOf(error, 'abc-1');
    expect(problem).toEqual({
      type: 'about:blank',
      title: 'Internal error',
      status: 500,
      request_id: 'abc-1',
    });
  });

  test('a long message is cut', () => {
    const problem = problemOf(new SteleError('malformed', 'x'.repeat(5000)), 'id');
    expect(problem.detail).toHaveLength(1000);
  });

  test('what HTTP defines comes with its headers, and nothing is cached', () => {
    const refusal = methodNotAllowed('PUT', 'GET, HEAD');
    expect(problemOf(refusal, 'id').status).toBe(405);
    expect(problemHeaders(refusal, problemOf(refusal, 'id'))).toEqual({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      allow: 'GET, HEAD',
    });
    const token = unauthenticated('token: none');
    expect(problemHeaders(token, problemOf(token, 'id'))['www-authenticate']).toBe(
      'Bearer realm="stele"',
    );
  });
});
