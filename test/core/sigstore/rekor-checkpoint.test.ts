/** Checkpoints of Rekor: one line by the pinned instance, under the one name that it may have. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../server/core/bytes.ts';
import { SteleError } from '../../../server/core/errors.ts';
import { openRekorCheckpoint, treeIdOf } from '../../../server/core/sigstore/rekor-checkpoint.ts';
import { readTrustedRoot, type UsableLog } from '../../../server/core/sigstore/trusted-root.ts';
import { makeKey, Shard } from '../../anchor/rekor-double/shard.ts';
import { codeOf } from '../codes.ts';
import { nearMiss } from '../near-miss.ts';

const HOST = 'rekor.test.example';

function logOf(shard: Shard, baseUrl = `https://${HOST}`): UsableLog {
  const { logs } = readTrustedRoot(
    JSON.parse(
      JSON.stringify({
        mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
        tlogs: [shard.instance(baseUrl, '2024-01-01T00:00:00Z')],
      }),
    ),
  );
  const [log] = logs;
  if (!log?.usable) throw new Error('the log of the test cannot be used');
  return log;
}

function shardOf(type: 'ec' | 'ed25519', keyIdOf: 'key' | 'name-and-key', origin = HOST): Shard {
  const name = origin.split(' ')[0] ?? '';
  const shard = new Shard({ origin, name, key: makeKey(type), keyIdOf });
  shard.grow(22);
  return shard;
}

const v1 = shardOf('ec', 'key', `${HOST} - 1193050959916656506`);
const v2 = shardOf('ed25519', 'name-and-key');

describe('a checkpoint', () => {
  test('of v1 has host and tree ID in its origin, and the host in its line', () => {
    const opened = openRekorCheckpoint(v1.checkpoint(22), 1, logOf(v1));
    expect([opened.name, opened.size, treeIdOf(opened)]).toEqual([HOST, 22, '1193050959916656506']);
    expect(Buffer.from(opened.root)).toEqual(Buffer.from(v1.tree.root(22)));
  });

  test('of v2 has the same name in both', () => {
    const opened = openRekorCheckpoint(v2.checkpoint(7), 2, logOf(v2));
    expect([opened.name, opened.origin, opened.size]).toEqual([HOST, HOST, 7]);
    expect(() => treeIdOf(opened)).toThrow(/not a host and a tree ID/);
  });

  test('may be by an Ed25519 key in v1, whose key ID is of the key alone', () => {
    const shard = shardOf('ed25519', 'key', `${HOST} - 7`);
    expect(openRekorCheckpoint(shard.checkpoint(3), 1, logOf(shard)).size).toBe(3);
  });

  test('may be by an ECDSA key in v2', () => {
    const shard = shardOf('ec', 'key');
    expect(openRekorCheckpoint(shard.checkpoint(3), 2, logOf(shard)).size).toBe(3);
  });

  test('has the name that its Ed25519 key ID is made of, wherever it is reached', () => {
    expect(openRekorCheckpoint(v2.checkpoint(7), 2, logOf(v2, 'http://127.0.0.1:3003')).size).toBe(
      7,
    );
    const renamed = v2.checkpoint(7).replaceAll(HOST, 'other.example');
    expect(codeOf(() => openRekorCheckpoint(renamed, 2, logOf(v2, 'https://other.example')))).toBe(
      'unverified',
    );
  });

  test('by an ECDSA key has the name of the address, with port and path, where it is pinned', () => {
    const named = (origin: string, baseUrl: string) => {
      const shard = shardOf('ec', 'key', origin);
      return () => openRekorCheckpoint(shard.checkpoint(2), 2, logOf(shard, baseUrl));
    };
    expect(named('localhost:3000', 'http://localhost:3000')().size).toBe(2);
    expect(named('a.example/log', 'https://a.example/log/')().size).toBe(2);
    expect(named('a.example', 'https://a.example/log')().size).toBe(2);
    for (const [origin, url] of [
      ['a.example', 'https://b.example'],
      ['example', 'https://a.example'],
      ['a.example', 'https://a.example:8443'],
      ['A.example', 'https://a.example'],
      ['a.example/log', 'https://a.example'],
    ] as const) {
      expect(named(origin, url)).toThrow(/where the log at/);
    }
  });

  test('may have lines of others, which are not looked at', () => {
    const line = (name: string, id: Buffer, rest: Buffer) =>
      `— ${name} ${Buffer.concat([id, rest]).toString('base64')}\n`;
    const lines = [
      line('witness.example', Buffer.of(1, 2, 3, 4), Buffer.alloc(72, 9)),
      line(HOST, Buffer.of(9, 9, 9, 9), Buffer.alloc(64, 9)),
      line('other.example', v2.keyId.subarray(0, 4), Buffer.alloc(64, 9)),
    ];
    const [text = '', own = ''] = v2.checkpoint(7).split('\n\n');
    for (const note of [
      `${text}\n\n${own}${lines.join('')}`,
      `${text}\n\n${lines.join('')}${own}`,
    ]) {
      expect(openRekorCheckpoint(note, 2, logOf(v2)).size).toBe(7);
    }
  });

  test('of old v1 servers may have a line with a time', () => {
    const shard = shardOf('ec', 'key', `${HOST} - 5`);
    const [text = ''] = shard.checkpoint(4).split('\n\n');
    const timed = `${text}\nTimestamp: 1689177396617352539\n`;
    const blob = Buffer.concat([shard.keyId.subarray(0, 4), shard.sign(Buffer.from(timed))]);
    const note = `${timed}\n— ${HOST} ${blob.toString('base64')}\n`;
    expect(openRekorCheckpoint(note, 1, logOf(shard)).size).toBe(4);
    const moved = note.replace('1689177396', '1689177397');
    expect(codeOf(() => openRekorCheckpoint(moved, 1, logOf(shard)))).toBe('unverified');
  });

  const [text = '', own = ''] = v2.checkpoint(7).split('\n\n');
  const [origin = '', size = '', root = ''] = text.split('\n');
  const spoiled: Record<string, [note: string, code: string]> = {
    'no line': [`${text}\n\n`, 'malformed'],
    'no empty line': [`${text}\n${own}`, 'malformed'],
    'no origin': [`${size}\n${root}\n\n${own}`, 'malformed'],
    'no root': [`${origin}\n${size}\n\n${own}`, 'malformed'],
    'another root': [
      `${origin}\n${size}\n${Buffer.alloc(32).toString('base64')}\n\n${own}`,
      'unverified',
    ],
    'another size': [`${origin}\n8\n${root}\n\n${own}`, 'unverified'],
    'a size with a zero before it': [`${origin}\n07\n${root}\n\n${own}`, 'malformed'],
    'a size beyond 2^53 - 1': [`${origin}\n9007199254740992\n${root}\n\n${own}`, 'malformed'],
    CRLF: [v2.checkpoint(7).replaceAll('\n', '\r\n'), 'malformed'],
    'its own line twice': [`${text}\n\n${own}${own}`, 'unverified'],
    'another key ID': [
      `${text}\n\n${own.replace(/ [A-Za-z0-9+/]{4}/, (id) => (id === ' AAAA' ? ' BBBB' : ' AAAA'))}`,
      'unverified',
    ],
    'a hyphen for the dash': [`${text}\n\n${own.replace('—', '-')}`, 'malformed'],
  };

  test.each(Object.entries(spoiled))('with %s is refused', (_, [note, code]) => {
    expect(codeOf(() => openRekorCheckpoint(note, 2, logOf(v2)))).toBe(code);
  });

  test('near a good one is refused, or says the same', () => {
    const good = utf8(v2.checkpoint(7));
    let opened = 0;
    fc.assert(
      fc.property(nearMiss(good), (bytes) => {
        // Whoever carries a checkpoint has it as text.
        const text = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true }).decode(bytes);
        try {
          const { size, root } = openRekorCheckpoint(text, 2, logOf(v2));
          expect([size, Buffer.from(root)]).toEqual([7, Buffer.from(v2.tree.root(7))]);
          opened++;
        } catch (error) {
          if (!(error instanceof SteleError)) throw error;
          expect(['malformed', 'unverified']).toContain(error.code);
        }
      }),
      { numRuns: 500 },
    );
    expect(opened).toBeLessThan(500);
  });

  test('of one generation is none of the other', () => {
    expect(() => openRekorCheckpoint(v2.checkpoint(7), 1, logOf(v2))).toThrow(/tree ID/);
    expect(codeOf(() => openRekorCheckpoint(v1.checkpoint(7), 2, logOf(v1)))).toBe('unverified');
  });

  test.each([
    'rekor.test.example - ',
    'rekor.test.example - 07',
    'rekor.test.example - 0',
    'rekor.test.example - 1 - 2',
    'rekor.test.example-7',
    'rekor.test.example  - 7',
    'rekor.test.example - 123456789012345678901',
  ])('of v1 with the origin %j is refused', (odd) => {
    const shard = new Shard({ origin: odd, name: HOST, key: makeKey('ec'), keyIdOf: 'key' });
    shard.grow(1);
    expect(codeOf(() => openRekorCheckpoint(shard.checkpoint(1), 1, logOf(shard)))).toBe(
      'unverified',
    );
  });
});
