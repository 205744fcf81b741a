/** Tokens: only their hash is kept, and what is expired, revoked or altered opens nothing. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mintToken, type TokenOptions } from '../../server/admin/tokens.ts';
import { hasCode } from '../../server/core/errors.ts';
import { Tokens } from '../../server/http/tokens.ts';
import { InstanceStore } from '../../server/storage/instance.ts';

let folder: string;
let store: InstanceStore;
let now: number;
let tokens: Tokens;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stele-tokens-'));
  store = new InstanceStore(join(folder, 'stele.db'));
  now = 1_800_000_000_000;
  tokens = new Tokens(store, { now: () => now });
});

afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

function make(options: Partial<TokenOptions> = {}) {
  const all = { holder: 'ci', roles: ['submit'] as const, logs: ['a'], ...options };
  const made = mintToken(all, now, randomBytes);
  tokens.add(made.row);
  return made;
}

function refusal(header: string): string {
  try {
    tokens.identify(header);
  } catch (error) {
    expect(hasCode(error, 'unauthenticated'), String(error)).toBe(true);
    return (error as Error).message;
  }
  throw new Error('was accepted');
}

describe('a token', () => {
  test('has 256 secret bits behind a public id', () => {
    const { token, row } = make();
    expect(token).toMatch(/^stele_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
    expect(token.split('_')[1]).toBe(row.id);
    expect(new Set(Array.from({ length: 50 }, () => make().token)).size).toBe(50);
  });

  test('is known again by its text, in any spelling of the scheme', () => {
    const { token, row } = make();
    for (const scheme of ['Bearer', 'bearer', 'BEARER ']) {
      expect(tokens.identify(`${scheme} ${token}`)).toMatchObject({ id: row.id, holder: 'ci' });
    }
    expect(tokens.identify(undefined)).toBeUndefined();
  });

  test('leaves nothing of its secret in the database', () => {
    const { token, row } = make();
    const secret = token.split('_').slice(2).join('_');
    expect(Buffer.from(row.hash)).toEqual(createHash('sha256').update(token).digest());
    store.close();
    const bytes = readFileSync(join(folder, 'stele.db')).toString('latin1');
    expect(bytes).toContain(row.id);
    expect(bytes).not.toContain(secret);
    store = new InstanceStore(join(folder, 'stele.db'));
  });
});

describe('what is refused', () => {
  test.each([
    ['no scheme', (t: string) => t],
    ['another scheme', (t: string) => `Basic ${t}`],
    ['no token', () => 'Bearer '],
    ['a character more', (t: string) => `Bearer ${t}A`],
    ['a character less', (t: string) => `Bearer ${t.slice(0, -1)}`],
    ['a space behind', (t: string) => `Bearer ${t} `],
    ['two tokens', (t: string) => `Bearer ${t}, ${t}`],
    ['another prefix', (t: string) => `Bearer ${t.replace('stele', 'stela')}`],
    [
      'its secret changed',
      (t: string) => `Bearer ${t.slice(0, -2)}${t.endsWith('AA') ? 'BB' : 'AA'}`,
    ],
    [
      'its id changed',
      (t: string) => `Bearer ${t.replace(/_[0-9a-f]/, (c) => (c === '_0' ? '_1' : '_0'))}`,
    ],
  ])('%s', (_, spoil) => {
    const { token } = make();
    const message = refusal(spoil(token));
    expect(message).not.toContain(token.slice(-20));
  });

  test('an expired token, from the millisecond on', () => {
    const { token, row } = make({ expiresMs: now + 1000 });
    now += 999;
    expect(tokens.identify(`Bearer ${token}`)).toMatchObject({ id: row.id });
    now += 1;
    expect(refusal(`Bearer ${token}`)).toContain('expired at');
  });

  test('a revoked token, at once, also where it was in use', () => {
    const { token, row } = make();
    tokens.identify(`Bearer ${token}`);
    tokens.revoke(row, now);
    expect(refusal(`Bearer ${token}`)).toContain('revoked');
    const restarted = new Tokens(store, { now: () => now });
    expect(() => restarted.identify(`Bearer ${token}`)).toThrow('revoked');
  });

  test('a token of another instance', () => {
    const { token } = mintToken({ holder: 'x', roles: ['admin'], logs: ['*'] }, now, randomBytes);
    expect(refusal(`Bearer ${token}`)).toContain('not known');
  });
});

test('a row is read from the database once', () => {
  const { token } = make();
  let reads = 0;
  const counting = new Proxy(store, {
    get(target, name) {
      if (name === 'findToken') reads += 1;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const cached = new Tokens(counting, { now: () => now });
  for (let i = 0; i < 5; i++) cached.identify(`Bearer ${token}`);
  expect(reads).toBe(1);
});
