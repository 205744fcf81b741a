import { describe, expect, it } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { formatReceipt, parseReceipt, type Receipt } from '../../server/core/receipt.ts';
import { hash, leafIndex } from '../../server/core/units.ts';
import { codeOf } from './codes.ts';
import { expectOneSpelling } from './near-miss.ts';

const h = (n: number) => hash(new Uint8Array(32).fill(n));

const receipt: Receipt = {
  origin: 'example.org/logs/a',
  index: leafIndex(5),
  entry: Uint8Array.of(0x0a, 1, 2),
  proof: [h(1), h(2)],
  checkpoint: 'text\n\n— example.org/logs/a AAAA\n',
  keys: [{ entry: Uint8Array.of(0x0a), index: leafIndex(0), proof: [h(3)] }],
  anchors: [{ kind: 'other', list: [1, 0.5] }],
  disclosures: [
    { disclosure: 'AAAA', body: new Uint8Array(0) },
    { disclosure: 'BBBB', body: Uint8Array.of(1) },
    { disclosure: 'CCCC', body_file: 'request.body-1' },
    { disclosure: 'DDDD' },
  ],
};

describe('a receipt', () => {
  const bytes = formatReceipt(receipt);
  const text = Buffer.from(bytes).toString();

  it('reads back what it prints, and nothing else', () => {
    expect(parseReceipt(bytes)).toEqual(receipt);
    const { disclosures, ...bare } = receipt;
    expect(parseReceipt(formatReceipt(bare))).toEqual(bare);
    expectOneSpelling([bytes, formatReceipt(bare)], (b) => formatReceipt(parseReceipt(b)), {
      runs: 8_000,
    });
  });

  it('ends with one line feed', () => {
    expect(text.endsWith('}\n')).toBe(true);
    expect(codeOf(() => parseReceipt(utf8(text.trimEnd())))).toBe('malformed');
    expect(codeOf(() => parseReceipt(utf8(`${text}\n`)))).toBe('malformed');
    expect(codeOf(() => parseReceipt(utf8(text.replace('\n', '\r\n'))))).toBe('malformed');
  });

  it.each<[string, Partial<Receipt>]>([
    ['a path as body_file', { disclosures: [{ disclosure: 'A', body_file: '../etc/passwd' }] }],
    ['a hidden body_file', { disclosures: [{ disclosure: 'A', body_file: '.ssh' }] }],
    ['a body twice', { disclosures: [{ disclosure: 'A', body: h(1), body_file: 'b' }] }],
    ['an empty list of disclosures', { disclosures: [] }],
    ['an empty entry', { entry: new Uint8Array(0) }],
    ['64 hashes', { proof: new Array(64).fill(h(1)) }],
    ['ten key records', { keys: new Array(10).fill(receipt.keys[0]) }],
    ['an anchor that is no object', { anchors: ['x'] }],
    ['no origin', { origin: '' }],
    ['a body over 1 MiB', { disclosures: [{ disclosure: 'A', body: new Uint8Array(1_048_577) }] }],
  ])('is malformed with %s', (_, change) => {
    expect(codeOf(() => formatReceipt({ ...receipt, ...change }))).toBe('malformed');
  });

  it('has an upper bound', () => {
    expect(codeOf(() => parseReceipt(new Uint8Array(268_435_457)))).toBe('too_large');
  });
});
