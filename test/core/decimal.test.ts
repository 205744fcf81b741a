/**
 * Counts as text: one spelling of each.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseDecimal } from '../../server/core/decimal.ts';
import { codeOf } from './codes.ts';

test('prints back what it reads', () => {
  fc.assert(
    fc.property(fc.oneof(fc.nat(300), fc.maxSafeNat()), (n) => {
      expect(parseDecimal(String(n), 'test')).toBe(n);
    }),
  );
  expect(parseDecimal('9007199254740991', 'test')).toBe(Number.MAX_SAFE_INTEGER);
});

test.each([
  '',
  ' ',
  '00',
  '01',
  '007',
  '-0',
  '-1',
  '+1',
  ' 1',
  '1 ',
  '1\n',
  '\n1',
  '1.0',
  '1.',
  '.5',
  '1e3',
  '0x10',
  '0b1',
  '0o7',
  '1_000',
  '1,000',
  '1n',
  'NaN',
  'Infinity',
  '٣',
  '１',
  '1\u0000',
  '\ufeff1',
  '9007199254740992',
  '9007199254740993',
  '9999999999999999',
  '10000000000000000',
  '18446744073709551615',
  '9'.repeat(100_000),
])('%j is malformed', (text) => {
  expect(codeOf(() => parseDecimal(text, 'test'))).toBe('malformed');
});

test('a text near a count is read only if it is printed back', () => {
  const outcomes = new Set<boolean>();
  const digits = fc
    .array(fc.constantFrom(...'0019+-. e_x\n'), { maxLength: 18 })
    .map((c) => c.join(''));
  fc.assert(
    fc.property(digits, (text) => {
      let n: number | undefined;
      const code = codeOf(() => (n = parseDecimal(text, 'test')));
      expect(code === undefined || code === 'malformed').toBe(true);
      if (n !== undefined) expect(String(n)).toBe(text);
      outcomes.add(n !== undefined);
    }),
    { numRuns: 2000 },
  );
  expect(outcomes.size).toBe(2);
});
