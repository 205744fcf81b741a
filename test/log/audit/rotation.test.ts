/** An audit of a log that changed its keys: who had to sign which head, and who may not have. */
import { describe, expect, test } from 'vitest';
import { logVerifierKey } from '../../../server/core/log-key.ts';
import { leafHash } from '../../../server/core/merkle.ts';
import { Tree } from '../../../server/core/tree.ts';
import type { TrustedKey } from '../../../server/core/trust.ts';
import type { Signer } from '../../../server/keys/signer.ts';
import { type AuditReport, audit } from '../../../server/log/audit/audit.ts';
import type { AuditReader } from '../../../server/log/audit/reader.ts';
import { StoreReader } from '../../../server/log/audit/store-reader.ts';
import { MemoryStore } from '../../../server/storage/memory.ts';
import { checker, makeSigner } from '../make.ts';
import { Control, fill, Heart, headOf, KEYS, ORIGIN } from './build.ts';

const next = makeSigner();
const nextAnchor = makeSigner('ecdsa-p256');
const identity = { purpose: 'identity' };
const anchor = { purpose: 'anchor' };

/** Entries of a log whose identity key is followed at 3 and ends at 5, and whose anchor key at 6 and 7. */
async function rotated(upTo: number, spoil: (control: Control) => Promise<Uint8Array[]> = noMore) {
  const control = new Control();
  const heart = new Heart();
  const entries = [
    await control.genesis(),
    await control.key('register'),
    await heart.beat(),
    await control.key('rotate', next, identity),
    await heart.beat(),
    await control.key('revoke', KEYS.identity, { ...identity, last_size: 6 }),
    await control.key('rotate', nextAnchor, anchor),
    await control.key('revoke', KEYS.anchor, { ...anchor, last_size: 8 }),
    await heart.beat(),
  ].slice(0, upTo);
  return [...entries, ...(await spoil(control))];
}

async function noMore(): Promise<Uint8Array[]> {
  return [];
}

const CONTROL = [0, 1, 3, 5, 6, 7];

interface Signed {
  readonly entries: readonly Uint8Array[];
  readonly control?: readonly number[];
  readonly signers: readonly Signer[];
  /** Lines of a published head of this size. */
  readonly published?: { readonly size: number; readonly signers: readonly Signer[] };
  readonly keys?: readonly TrustedKey[];
  readonly treeOnly?: boolean;
  /** The reader has no list of control records, as over HTTP. */
  readonly listless?: boolean;
}

async function audited(signed: Signed) {
  const { entries, control, signers, published, keys, treeOnly, listless } = signed;
  const store = new MemoryStore();
  const controls = control ?? CONTROL.filter((index) => index < entries.length);
  const head = await fill(store, entries, controls, ...signers);
  if (published !== undefined) {
    const leaves = entries.slice(0, published.size).map((entry) => leafHash(entry));
    await store.publish(await headOf(Tree.empty().append(leaves).tree, ...published.signers));
  }
  return audit({
    reader: listless === true ? listlessReader(store) : new StoreReader(store),
    keys,
    known: [{ from: 'a friend', ...head }],
    checker: treeOnly === true ? undefined : checker,
  });
}

/** Reads as over HTTP, where nobody says which records are control records. */
function listlessReader(store: MemoryStore): AuditReader {
  const reader = new StoreReader(store);
  return {
    hasPartialTiles: reader.hasPartialTiles,
    checkpoint: () => reader.checkpoint(),
    otherHeads: () => reader.otherHeads(),
    entries: (begin, end) => reader.entries(begin, end),
    tiles: (wanted) => reader.tiles(wanted),
    control: async () => undefined,
  };
}

function failuresOf({ findings }: AuditReport): string[] {
  return findings.filter(({ severity }) => severity === 'fail').map(({ what }) => what);
}

const [old, oldAnchor] = [KEYS.identity, KEYS.anchor];
const trusted = (signer: Signer, untilSize?: number): TrustedKey => {
  const key = logVerifierKey('identity', ORIGIN, signer.publicKey);
  return untilSize === undefined ? { key } : { key, untilSize };
};

describe('a log that changed its keys', () => {
  test.each<[string, number, readonly Signer[], readonly Signer[]]>([
    ['before', 3, [old], [old, oldAnchor]],
    ['at the head that announces', 4, [old, next], [old, next, oldAnchor]],
    ['during', 5, [old, next], [old, next, oldAnchor]],
    ['at the last head of the old key', 6, [old, next], [old, next, oldAnchor]],
    ['after', 7, [next], [next, oldAnchor, nextAnchor]],
    ['at the last head of the old anchor key', 8, [next], [next, oldAnchor, nextAnchor]],
    ['at the end', 9, [next], [next, nextAnchor]],
  ])('holds %s, by its own word and by trust files', async (_, size, signers, lines) => {
    const entries = await rotated(size);
    const published = { size, signers: lines };
    const both = [trusted(old, 6), trusted(next)];
    for (const keys of [undefined, both]) {
      const report = await audited({ entries, signers, published, ...(keys && { keys }) });
      expect(failuresOf(report)).toEqual([]);
      expect(report.holds).toBe(true);
    }
  });

  const lacks = /key log\.example\/logs\/built\+[0-9a-f]{8}, which entry \d announced, has no line/;
  const ended = /signs, and is for heads of size 1 to 6, not of 7/;
  const early = /signs, and is for heads of size 4, not of 3|no control record announced it/;

  test.each<[string, number, readonly Signer[], RegExp]>([
    ['a line of the new key is missing at the head that announces it', 4, [old], lacks],
    ['a line of the old key is missing while both sign', 5, [next], lacks],
    ['a line of the old key is missing at its last head', 6, [next], lacks],
    ['the old key signs on', 7, [old, next], ended],
    ['the old key signs on, and the new one does not', 7, [old], lacks],
    ['the new key signs before it was announced', 3, [old, next], early],
    [
      'a key signs that no record announced',
      9,
      [next, makeSigner()],
      /no control record announced/,
    ],
  ])('fails where %s', async (_, size, signers, finds) => {
    const report = await audited({ entries: await rotated(size), signers });
    expect(failuresOf(report).join('\n')).toMatch(finds);
    expect(report.fails).toBe(true);
  });

  test.each<[string, number, readonly Signer[], RegExp]>([
    ['without its anchor line', 9, [next], /anchor key .* has no line on it/],
    ['with the line of an anchor key that ended', 9, [next, oldAnchor, nextAnchor], /size 1 to 8/],
    ['by the identity key of before', 9, [old, nextAnchor], /identity key .* has no line on it/],
  ])('fails where a published head is %s', async (_, size, lines, finds) => {
    const report = await audited({
      entries: await rotated(size),
      signers: [next],
      published: { size, signers: lines },
    });
    expect(failuresOf(report).join('\n')).toMatch(finds);
    expect(failuresOf(report).every((what) => what.startsWith('a published head: '))).toBe(true);
  });

  test('does not hold for a reader who has only the key of before, or only that of after', async () => {
    const entries = await rotated(9);
    const report = await audited({ entries, signers: [next], keys: [trusted(old)] });
    expect(failuresOf(report)).toEqual([
      'the head: no line is by a key that is trusted here for size 9',
    ]);
    const early = await audited({
      entries: entries.slice(0, 3),
      signers: [old],
      keys: [trusted(next)],
    });
    expect(early.fails).toBe(true);
    const ended = await audited({
      entries,
      signers: [old, next],
      keys: [trusted(old, 6)],
    });
    expect(failuresOf(ended)).toContain(
      'the head: no line is by a key that is trusted here for size 9',
    );
  });

  test('cannot be told by its tree alone where nothing says which its control records are', async () => {
    const entries = await rotated(9);
    const alone = await audited({ entries, signers: [next], treeOnly: true, listless: true });
    expect(alone).toMatchObject({ fails: false, holds: false });
    expect(alone.findings.map(({ what }) => what).join('\n')).toMatch(/shows only in the records/);
    const keys = [trusted(old, 6), trusted(next)];
    const told = await audited({ entries, signers: [next], keys, treeOnly: true, listless: true });
    expect(told.holds).toBe(true);
  });

  test('can be told by its tree and the control records that its files list', async () => {
    const entries = await rotated(9);
    const told = await audited({ entries, signers: [next], treeOnly: true });
    expect(failuresOf(told)).toEqual([]);
    expect(told.holds).toBe(true);
    const ended = await audited({ entries, signers: [old], treeOnly: true });
    expect(failuresOf(ended).join()).toContain('has no line on it, and had to sign size 9');
    // A list that lacks a record makes a good head seem strange, and never a strange one good.
    const control = [0, 1, 5, 6, 7];
    const lacking = await audited({ entries, control, signers: [next], treeOnly: true });
    expect(lacking.fails).toBe(true);
  });
});

describe('records about the log’s own keys', () => {
  test.each<[string, (control: Control) => Promise<Uint8Array>, RegExp]>([
    [
      'that end a key at another size',
      (control) => control.key('revoke', old, { ...identity, last_size: 9 }),
      /last_size is 9 where the head that integrates this very record has 6 entries/,
    ],
    [
      'that end a key nobody knows',
      (control) => control.key('revoke', makeSigner(), { ...identity, last_size: 6 }),
      /is no identity key of the log that could end/,
    ],
    [
      'that announce a gateway’s key',
      (control) => control.key('rotate', KEYS.gateway, identity),
      /is the log's gateway key, and each key has one purpose/,
    ],
    [
      'that announce the operator’s key',
      (control) => control.key('rotate', KEYS.operator, identity),
      /is the log's operator key, and each key has one purpose/,
    ],
    [
      'that register a key of the log as a gateway',
      (control) => control.key('register', next),
      /is the log's identity key, and each key has one purpose/,
    ],
    [
      'that announce a key twice',
      (control) => control.key('rotate', next, identity),
      /a key is announced once/,
    ],
  ])('%s are found, at their entry', async (_, wrong, finds) => {
    const entries = await rotated(5, async (control) => [await wrong(control)]);
    const report = await audited({ entries, control: [0, 1, 3, 5], signers: [old, next] });
    expect(failuresOf(report).join('\n')).toMatch(finds);
    expect(report.firstBad).toBe(5);
  });

  test('that end the only key are found', async () => {
    const entries = await rotated(3, async (control) => [
      await control.key('revoke', old, { ...identity, last_size: 4 }),
    ]);
    const report = await audited({ entries, control: [0, 1, 3], signers: [old] });
    expect(failuresOf(report).join('\n')).toMatch(/is the log's only identity key/);
  });
});
