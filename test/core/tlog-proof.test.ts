import { describe, expect, it } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { formatTlogProof, parseTlogProof } from '../../server/core/tlog-proof.ts';
import { MadeLog } from '../verify/make.ts';
import { codeOf } from './codes.ts';
import { expectOneSpelling } from './near-miss.ts';

const log = new MadeLog({ gateways: ['ed25519', 'ed25519', 'ed25519'] });
const { index, proof, entry } = log.included(2);
const checkpoint = log.checkpoint();
const text = formatTlogProof({ index, proof, checkpoint, extra: entry });

describe('a tlog-proof', () => {
  it('has the lines of the specification', () => {
    const lines = text.split('\n');
    expect(lines[0]).toBe('c2sp.org/tlog-proof@v1');
    expect(lines[1]).toBe(`extra ${Buffer.from(entry).toString('base64')}`);
    expect(lines.slice(2, 6)).toEqual([
      'index 2',
      ...proof.map((h) => Buffer.from(h).toString('base64')),
      '',
    ]);
    expect(text.endsWith(checkpoint)).toBe(true);
  });

  it('reads back what it prints, and nothing else', () => {
    expect(parseTlogProof(utf8(text))).toEqual({ index, proof, checkpoint, extra: entry });
    const bare = formatTlogProof({ index, proof: [], checkpoint });
    expectOneSpelling([utf8(text), utf8(bare)], (bytes) =>
      utf8(formatTlogProof(parseTlogProof(bytes))),
    );
  });

  it.each([
    ['another header', text.replace('@v1', '@v2')],
    ['no index', text.replace(/index 2\n/, '')],
    ['the index before extra', text.replace(/(extra \S+\n)(index 2\n)/, '$2$1')],
    ['a leading zero', text.replace('index 2', 'index 02')],
    ['a short hash', text.replace(/\n\S{43}=\n/, '\nAAAA\n')],
    ['64 hashes', text.replace('index 2\n', `index 2\n${`${'A'.repeat(43)}=\n`.repeat(64)}`)],
    ['no empty line', text.replaceAll('\n\n', '\n')],
    ['too many bytes', text.padEnd(300_000)],
  ])('is malformed with %s', (_, spoiled) => {
    expect(spoiled).not.toBe(text);
    expect(codeOf(() => parseTlogProof(utf8(spoiled)))).toBe('malformed');
  });
});
