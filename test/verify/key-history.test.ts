/** Which keys sign which heads, as the log's own records say; and which records it may not have. */
import { describe, expect, it } from 'vitest';
import { toBase64 } from '../../server/core/bytes.ts';
import { logVerifierKey } from '../../server/core/log-key.ts';
import type { GenesisRecord, KeyRecord } from '../../server/core/record.ts';
import { KeyHistory } from '../../server/verify/key-history.ts';
import { commonMembers, type MadeKey, MadeLog, makeKey } from './make.ts';

const log = new MadeLog();
const { origin } = log;
const genesis = log.genesisRecord() as GenesisRecord;

interface Said {
  readonly action: 'register' | 'revoke' | 'rotate';
  readonly purpose?: KeyRecord['key']['purpose'];
  readonly last_size?: number;
}

function said(made: MadeKey, { purpose = 'identity', ...more }: Said): KeyRecord {
  const { alg, spki, keyid } = made.publicKey;
  return {
    ...commonMembers(origin, { id: '_log' }),
    kind: 'key',
    key: { purpose, alg, spki: toBase64(spki), keyid, ...more },
  };
}

/** The IDs of the keys that sign at a size. */
function signing(history: KeyHistory, size: number, purpose: 'identity' | 'anchor' = 'identity') {
  return history.signing(purpose, size).map(({ publicKey }) => publicKey.keyid);
}

const [first, second, third] = [log.identity, makeKey('ed25519'), makeKey('ed25519')];
const id = ({ publicKey }: MadeKey) => publicKey.keyid;

describe('a history', () => {
  it('begins with the keys of genesis, which sign from the first head on', () => {
    const history = KeyHistory.of(genesis);
    expect(signing(history, 0)).toEqual([]);
    for (const size of [1, 2, 1_000_000]) {
      expect(signing(history, size)).toEqual([id(first)]);
      expect(signing(history, size, 'anchor')).toEqual([id(log.anchor)]);
    }
  });

  it('has both keys sign from the announcing head to the ending one, both included', () => {
    const announced = KeyHistory.of(genesis).with(said(second, { action: 'rotate' }), 5);
    expect(signing(announced, 5)).toEqual([id(first)]);
    expect(signing(announced, 6)).toEqual([id(first), id(second)]);
    const ended = announced.with(said(first, { action: 'revoke', last_size: 10 }), 9);
    const sizes = [5, 6, 10, 11].map((size) => signing(ended, size));
    expect(sizes).toEqual([
      [id(first)],
      [id(first), id(second)],
      [id(first), id(second)],
      [id(second)],
    ]);
    // What the record would change was asked of another value.
    expect(signing(announced, 11)).toEqual([id(first), id(second)]);
    expect(ended.live('identity').map(({ publicKey }) => publicKey.keyid)).toEqual([id(second)]);
    expect(ended.all()).toHaveLength(3);
  });

  it('goes on over many changes, one purpose beside the other', () => {
    const anchor = makeKey('ecdsa-p256');
    const history = KeyHistory.of(genesis)
      .with(said(second, { action: 'rotate' }), 1)
      .with(said(anchor, { action: 'rotate', purpose: 'anchor' }), 2)
      .with(said(first, { action: 'revoke', last_size: 4 }), 3)
      .with(said(third, { action: 'rotate' }), 4)
      .with(said(log.anchor, { action: 'revoke', purpose: 'anchor', last_size: 6 }), 5)
      .with(said(second, { action: 'revoke', last_size: 7 }), 6);
    const identity = [1, 2, 4, 5, 7, 8].map((size) => signing(history, size).length);
    expect(identity).toEqual([1, 2, 2, 2, 2, 1]);
    expect(signing(history, 8)).toEqual([id(third)]);
    expect([2, 3, 6, 7].map((size) => signing(history, size, 'anchor').length)).toEqual([
      1, 2, 2, 1,
    ]);
  });

  it('is untouched by what gateways do', () => {
    const history = KeyHistory.of(genesis);
    expect(history.with(said(second, { action: 'register', purpose: 'gateway' }), 1)).toBe(history);
  });

  it('names a key under the verifier key that readers have', () => {
    expect(logVerifierKey('identity', origin, first.publicKey)).toEqual(log.identityKey);
    expect(logVerifierKey('anchor', origin, log.anchor.publicKey)).toEqual(log.anchorKey);
    expect(logVerifierKey('sth', origin, log.anchor.publicKey).type).toBe(5);
  });
});

describe('a record that may not be', () => {
  const begun = KeyHistory.of(genesis);
  const both = begun.with(said(second, { action: 'rotate' }), 5);

  it.each<[string, KeyHistory, MadeKey, Said, string]>([
    ['announces a key again', both, second, { action: 'rotate' }, 'a key is announced once'],
    ['announces the key of genesis', begun, first, { action: 'rotate' }, 'from entry 0 on'],
    [
      'announces an ended key again',
      both.with(said(first, { action: 'revoke', last_size: 7 }), 6),
      first,
      { action: 'rotate' },
      'a key is announced once',
    ],
    [
      'ends the only key',
      begun,
      first,
      { action: 'revoke', last_size: 10 },
      "is the log's only identity key",
    ],
    [
      'ends a stranger',
      both,
      third,
      { action: 'revoke', last_size: 10 },
      'is no identity key of the log that could end',
    ],
    [
      'ends a key of another purpose',
      both,
      log.anchor,
      { action: 'revoke', last_size: 10 },
      'is no identity key of the log',
    ],
    [
      'ends a key twice',
      both
        .with(said(first, { action: 'revoke', last_size: 7 }), 6)
        .with(said(third, { action: 'rotate' }), 7),
      first,
      { action: 'revoke', last_size: 10 },
      'is no identity key of the log that could end',
    ],
    [
      'ends a key too early',
      both,
      first,
      { action: 'revoke', last_size: 9 },
      'last_size is 9 where',
    ],
    ['ends a key too late', both, first, { action: 'revoke', last_size: 11 }, 'last_size is 11'],
    ['ends a key nowhere', both, first, { action: 'revoke' }, 'last_size is undefined'],
  ])('%s', (_, history, key, what, reason) => {
    expect(() => history.with(said(key, what), 9)).toThrow(
      expect.objectContaining({ code: 'unverified', message: expect.stringContaining(reason) }),
    );
  });

  it('announces a fourth key while three sign', () => {
    const three = both.with(said(third, { action: 'rotate' }), 6);
    expect(() => three.with(said(makeKey('ed25519'), { action: 'rotate' }), 7)).toThrow(
      '3 identity keys sign already',
    );
  });
});
