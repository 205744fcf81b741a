/** What a key record may say depends on what the key is for, and on what is done with it. */
import { describe, expect, test } from 'vitest';
import { sha256, toBase64 } from '../../server/core/bytes.ts';
import type { Json } from '../../server/core/json.ts';
import { type Record as AuditRecord, formatRecord, parseRecord } from '../../server/core/record.ts';
import { commonMembers, makeKey } from '../verify/make.ts';

const LOG = 'example.org/logs/a';
const ed25519 = makeKey('ed25519').publicKey;
const p256 = makeKey('ecdsa-p256').publicKey;
const TIME = '2026-09-01T10:15:30.123456Z';

function made(key: { readonly [member: string]: Json }): AuditRecord {
  const { alg, spki } = key.alg === 'ed25519' ? ed25519 : p256;
  const keyid = Buffer.from(sha256(spki)).toString('hex');
  return {
    ...commonMembers(LOG, { id: '_log' }),
    kind: 'key',
    key: { spki: toBase64(spki), keyid, ...key, alg: key.alg ?? alg },
  } as unknown as AuditRecord;
}

const gateway = { purpose: 'gateway', alg: 'ecdsa-p256' };
const identity = { purpose: 'identity', alg: 'ed25519' };
const anchor = { purpose: 'anchor', alg: 'ecdsa-p256' };
const sth = { purpose: 'sth', alg: 'ecdsa-p256' };

describe('a key record', () => {
  test.each<[string, { readonly [member: string]: Json }]>([
    ['registers a gateway', { ...gateway, action: 'register' }],
    [
      'registers one for a time and a source',
      { ...gateway, action: 'register', source: 's', not_before: TIME, not_after: TIME },
    ],
    ['revokes a gateway', { ...gateway, action: 'revoke' }],
    ['hands a source over', { ...gateway, action: 'hand-over', source: 's' }],
    ['announces an identity key', { ...identity, action: 'rotate' }],
    ['ends an identity key', { ...identity, action: 'revoke', last_size: 0 }],
    ['announces an anchor key', { ...anchor, action: 'rotate' }],
    ['ends an anchor key', { ...anchor, action: 'revoke', last_size: 9 }],
    ['announces a key for tree heads', { ...sth, action: 'rotate' }],
    ['ends a key for tree heads', { ...sth, action: 'revoke', last_size: 9 }],
  ])('%s', (_, key) => {
    const record = made(key);
    expect(parseRecord(formatRecord(record))).toEqual(record);
  });

  test.each<[string, { readonly [member: string]: Json }, string]>([
    ['rotates a gateway', { ...gateway, action: 'rotate' }, 'key.action: a gateway key is not'],
    ['hands nothing over', { ...gateway, action: 'hand-over' }, 'key.source: a hand-over names'],
    [
      'ends a gateway at a size',
      { ...gateway, action: 'revoke', last_size: 9 },
      'key.last_size: only keys of the log itself',
    ],
    [
      'gives a revoked gateway a period',
      { ...gateway, action: 'revoke', not_after: TIME },
      'key.not_before: only a registration has a period',
    ],
    ['registers an identity key', { ...identity, action: 'register' }, 'is rotated or revoked'],
    [
      'hands an anchor key over',
      { ...anchor, action: 'hand-over', source: 's' },
      'key.source: a key for anchor has no source',
    ],
    [
      'announces a key for a time',
      { ...identity, action: 'rotate', not_after: TIME },
      'key.not_before: only gateway keys have a period',
    ],
    [
      'announces an end',
      { ...identity, action: 'rotate', last_size: 9 },
      'key.last_size: a key ends',
    ],
    [
      'ends a key nowhere',
      { ...identity, action: 'revoke' },
      'key.last_size: a key ends at a size',
    ],
    [
      'announces an identity key of P-256',
      { ...identity, alg: 'ecdsa-p256', action: 'rotate' },
      'key.alg: a key for identity is ed25519',
    ],
    [
      'announces an anchor key of Ed25519',
      { ...anchor, alg: 'ed25519', action: 'rotate' },
      'key.alg: a key for anchor is ecdsa-p256',
    ],
    [
      'announces a tree head key of Ed25519',
      { ...sth, alg: 'ed25519', action: 'rotate' },
      'key.alg',
    ],
  ])('that %s is malformed', (_, key, reason) => {
    expect(() => formatRecord(made(key))).toThrow(
      expect.objectContaining({ code: 'malformed', message: expect.stringContaining(reason) }),
    );
  });
});
