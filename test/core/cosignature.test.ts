/**
 * Cosignatures: the exact bytes that are signed, and what each kind covers.
 */
import { describe, expect, test } from 'vitest';
import { concat, parseBase64, sha256, toBase64, toHex, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import {
  checkCosignature,
  cosignatureMessage,
  cosignatureTime,
  encodeCosignature,
  subtreeMessage,
} from '../../server/core/cosignature.ts';
import { formatNote, openNote, parseVerifierKey } from '../../server/core/note.ts';
import { hash, treeSize } from '../../server/core/units.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { logKey, mldsaKey, witnessKey } from './note-keys.ts';

const origin = 'example.com/logs/audit';
const root = sha256(utf8('root'));
const text = formatCheckpoint({ origin, size: treeSize(7), root });

describe.each([
  ['Ed25519', witnessKey('w.example', 1), true],
  ['ML-DSA-44', mldsaKey('w.example', 1), false],
] as const)('a cosignature by %s', (_, witness, coversExtensions) => {
  const blob = witness.line(text).signature;
  const check = (body: string, bytes: Uint8Array): void =>
    checkCosignature(witness.key, body, bytes);

  test('holds, and tells its time', () => {
    expect(() => check(text, blob)).not.toThrow();
    expect(cosignatureTime(blob)).toBe(1_700_000_000);
  });

  const spoiled: Record<string, [string, Uint8Array]> = {
    'another time': [text, blob.with(7, (blob[7] ?? 0) ^ 1)],
    'another size': [text.replace('\n7\n', '\n8\n'), blob],
    'another origin': [text.replace('audit', 'budit'), blob],
    'another root': [formatCheckpoint({ origin, size: treeSize(7), root: sha256(root) }), blob],
    'one bit changed': [text, blob.with(50, (blob[50] ?? 0) ^ 1)],
    'one byte short': [text, blob.subarray(0, -1)],
    'one byte extra': [text, concat(blob, Uint8Array.of(0))],
    'no time': [text, blob.subarray(8)],
    'nothing at all': [text, new Uint8Array(0)],
  };

  test.each(Object.entries(spoiled))('does not hold with %s', (_name, [body, bytes]) => {
    expect(() => check(body, bytes)).toThrow(
      expect.objectContaining({ code: 'unverified' }) as Error,
    );
  });

  test('of a time beyond 2^53 - 1 is refused', () => {
    expect(() => check(text, blob.with(0, 1))).toThrow('above 2^53 - 1');
  });

  test('of a text that is no checkpoint is refused', () => {
    expect(() => check('just a text\n', blob)).toThrow('checkpoint');
  });

  test(`${coversExtensions ? 'covers' : 'does not cover'} extension lines`, () => {
    const outcome = expect(() => check(`${text}more\n`, blob));
    if (coversExtensions) outcome.toThrow('does not fit');
    else outcome.not.toThrow();
  });

  test('counts in a note beside the line of the log', () => {
    const log = logKey(origin, 9);
    const note = utf8(formatNote({ text, signatures: [log.line(text), witness.line(text)] }));
    expect(openNote(note, [log.key, witness.key]).verified).toEqual([log.key, witness.key]);
    const other = text.replace('\n7\n', '\n8\n');
    const moved = utf8(
      formatNote({ text: other, signatures: [log.line(other), witness.line(text)] }),
    );
    expect(() => openNote(moved, [log.key, witness.key])).toThrow(
      `note line of w.example+${witness.key.keyId}`,
    );
    // Whoever does not know the witness still sees what the log signed.
    expect(openNote(moved, [log.key]).verified).toEqual([log.key]);
  });
});

test('an ML-DSA-44 cosignature covers the name, an Ed25519 one does not', () => {
  const named = { ...mldsaKey('a', 1).key, name: 'b' };
  expect(() => checkCosignature(named, text, mldsaKey('a', 1).line(text).signature)).toThrow(
    'ml-dsa-44 does not fit',
  );
  const plain = { ...witnessKey('a', 1).key, name: 'b' };
  expect(() =>
    checkCosignature(plain, text, witnessKey('a', 1).line(text).signature),
  ).not.toThrow();
});

test("a cosignature is not a log's signature over the same text, nor the other way round", () => {
  const witness = witnessKey('x', 1);
  const log = logKey('x', 1);
  const blob = log.line(text).signature;
  expect(() => checkCosignature(witness.key, text, encodeCosignature(0, blob))).toThrow();
  const disguised = { ...log.line(text), signature: witness.line(text).signature };
  const note = utf8(formatNote({ text, signatures: [disguised] }));
  expect(() => openNote(note, [log.key])).toThrow('72 bytes where a signature has 64');
});

test('a statement has a name and an origin of 1 to 255 bytes, and a whole number of seconds', () => {
  const good = { cosigner: 'w', time: 5, origin, start: 0, end: 7, root };
  expect(subtreeMessage(good)).toHaveLength(12 + 2 + 8 + 1 + origin.length + 16 + 32);
  for (const bad of [
    { ...good, cosigner: '' },
    { ...good, cosigner: 'é'.repeat(128) },
    { ...good, origin: 'x'.repeat(256) },
    { ...good, time: -1 },
    { ...good, time: 1.5 },
  ]) {
    expect(() => subtreeMessage(bad)).toThrow(
      expect.objectContaining({ code: 'malformed' }) as Error,
    );
  }
  expect(() => subtreeMessage({ ...good, start: 4 })).toThrow('cosigned with time 0');
  expect(() => cosignatureMessage(0.5, text)).toThrow('whole number of seconds');
});

interface MessageVector {
  readonly cosignerName: string;
  readonly timestamp: string;
  readonly origin: string;
  readonly start: string;
  readonly end: string;
  readonly rootHash: string;
  readonly mldsa44MessageHex: string;
  readonly ed25519MessageB64?: string;
}

interface CosignedVector {
  readonly checkpoint: string;
  readonly vkeys: readonly string[];
  readonly cosignatureTimestamps: Readonly<Record<string, string>>;
}

describe.skipIf(sharedMissing)('published cosignatures', () => {
  const casesOf = (file: string) =>
    sharedMissing ? [] : (sharedJson('vectors', 'tlog-notes', file) as { cases: unknown[] }).cases;

  test.each(casesOf('cosignature-messages.json') as MessageVector[])('$origin', (vector) => {
    const statement = {
      cosigner: vector.cosignerName,
      time: Number(vector.timestamp),
      origin: vector.origin,
      start: Number(vector.start),
      end: Number(vector.end),
      root: hash(parseBase64(vector.rootHash, 'root')),
    };
    expect(toHex(subtreeMessage(statement))).toBe(vector.mldsa44MessageHex);
    if (vector.ed25519MessageB64 === undefined) return;
    const body = formatCheckpoint({ ...statement, size: treeSize(statement.end) });
    expect(toBase64(cosignatureMessage(statement.time, body))).toBe(vector.ed25519MessageB64);
  });

  test.each(casesOf('cosigned-checkpoints.json') as CosignedVector[])('$name', (vector) => {
    const witnesses = vector.vkeys
      .map(parseVerifierKey)
      .filter((key) => key.type === 4 || key.type === 6);
    const opened = openNote(utf8(vector.checkpoint), witnesses);
    const times = opened.verified.map((key, i) => [
      `${key.name}+${key.keyId}`,
      `${cosignatureTime(opened.signatures[i]?.signature ?? new Uint8Array(0))}`,
    ]);
    expect(Object.fromEntries(times)).toEqual(vector.cosignatureTimestamps);
  });
});
