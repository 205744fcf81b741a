/**
 * Checkpoints: three lines, one spelling, and the log's own key.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBase64, parseUtf8, sha256, toBase64, toHex, utf8 } from '../../server/core/bytes.ts';
import {
  checkOrigin,
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
} from '../../server/core/checkpoint.ts';
import { hasCode } from '../../server/core/errors.ts';
import { formatNote, parseVerifierKey } from '../../server/core/note.ts';
import { hash, treeSize } from '../../server/core/units.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { logKey, mldsaKey, type TestKey, witnessKey } from './note-keys.ts';

const origin = 'example.com/logs/audit';
const root = sha256(utf8('root'));
const text = formatCheckpoint({ origin, size: treeSize(7), root });

function noteOf(body: string, ...keys: readonly TestKey[]): Uint8Array {
  return utf8(formatNote({ text: body, signatures: keys.map((key) => key.line(body)) }));
}

describe('a checkpoint', () => {
  test('is printed as three lines and read back', () => {
    expect(text).toBe(`${origin}\n7\n${toBase64(root)}\n`);
    expect(parseCheckpoint(text)).toEqual({ origin, size: 7, root });
  });

  test('of any origin, size and root is read back', () => {
    const line = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
      .filter((s) => !/\p{Cc}/u.test(s) && s.isWellFormed());
    fc.assert(
      fc.property(
        line,
        fc.maxSafeNat(),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (o, n, r) => {
          const checkpoint = { origin: o, size: treeSize(n), root: hash(r) };
          expect(parseCheckpoint(formatCheckpoint(checkpoint))).toEqual(checkpoint);
        },
      ),
    );
  });

  const spoiled: Record<string, string> = {
    'an extension line': `${text}more\n`,
    'an empty line at the end': `${text}\n`,
    'no line feed at the end': text.slice(0, -1),
    'no origin': text.slice(origin.length),
    'no root': `${origin}\n7\n`,
    'a size with a zero before it': text.replace('\n7\n', '\n07\n'),
    'a size with a sign': text.replace('\n7\n', '\n+7\n'),
    'a size in hex': text.replace('\n7\n', '\n0x7\n'),
    'a size with a space': text.replace('\n7\n', '\n7 \n'),
    'a size in other digits': text.replace('\n7\n', '\n٧\n'),
    'a size above 2^53 - 1': text.replace('\n7\n', '\n9007199254740992\n'),
    'no size': text.replace('\n7\n', '\n\n'),
    'a root of 31 bytes': `${origin}\n7\n${toBase64(root.subarray(1))}\n`,
    'a root without padding': text.replace('=', ''),
    'a space after the root': text.replace('=\n', '= \n'),
    CRLF: text.replaceAll('\n', '\r\n'),
    'a tab in its origin': text.replace('example', 'exam\tple'),
    'half of a surrogate pair': text.replace('example', 'exam\ud800ple'),
    'nothing at all': '',
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, body) => {
    expect(() => parseCheckpoint(body)).toThrow(
      expect.objectContaining({ code: 'malformed' }) as Error,
    );
  });

  test('may have extension lines where the reader says so, but no empty ones', () => {
    expect(parseCheckpoint(`${text}one\ntwo\n`, { extensions: true }).size).toBe(7);
    for (const body of [`${text}\n`, `${text}one\n\n`, `${text}\none\n`, `${text}one`]) {
      expect(() => parseCheckpoint(body, { extensions: true })).toThrow('checkpoint: ');
    }
  });

  test('near a good one is malformed or prints back', () => {
    const alphabet = fc.constantFrom('', '0', '7', '\n', ' ', '=', 'A', '+', '\r', 'é');
    fc.assert(
      fc.property(fc.nat(text.length - 1), alphabet, (at, put) => {
        const near = text.slice(0, at) + put + text.slice(at + 1);
        try {
          expect(formatCheckpoint(parseCheckpoint(near))).toBe(near);
        } catch (error) {
          if (!hasCode(error, 'malformed')) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('opening', () => {
  const log = logKey(origin, 1);
  const witness = witnessKey('w.example', 2);

  test('gives the checkpoint, and who signed it', () => {
    const opened = openCheckpoint(noteOf(text, log, witness), origin, [witness.key, log.key]);
    expect(opened.checkpoint).toEqual({ origin, size: 7, root });
    expect(opened.verified).toEqual([log.key, witness.key]);
  });

  test('fails for another origin, however alike', () => {
    for (const other of [`${origin}/`, origin.toUpperCase(), ` ${origin}`, `${origin}\u200b`]) {
      expect(() => openCheckpoint(noteOf(text, log), other, [log.key])).toThrow(
        expect.objectContaining({ code: 'unverified' }) as Error,
      );
    }
  });

  test('fails where only witnesses signed', () => {
    const note = noteOf(text, witness, mldsaKey('m.example', 3));
    const keys = [witness.key, mldsaKey('m.example', 3).key, log.key];
    expect(() => openCheckpoint(note, origin, keys)).toThrow('no line is by a key of the log');
  });

  test("takes the log's own ML-DSA-44 line, which has the form of a cosignature", () => {
    const own = mldsaKey(origin, 4);
    expect(openCheckpoint(noteOf(text, own), origin, [own.key]).verified).toEqual([own.key]);
  });

  test('takes a log key whose name is not the origin, as Rekor has', () => {
    const named = logKey('rekor.example', 5);
    expect(openCheckpoint(noteOf(text, named), origin, [named.key]).checkpoint.size).toBe(7);
  });

  test('fails on extension lines unless they are allowed', () => {
    const note = noteOf(`${text}more\n`, log);
    expect(() => openCheckpoint(note, origin, [log.key])).toThrow('extension line "more"');
    expect(openCheckpoint(note, origin, [log.key], { extensions: true }).checkpoint.root).toEqual(
      root,
    );
  });

  test('asks the engine that it is given', () => {
    const asked: string[] = [];
    openCheckpoint(noteOf(text, log, witness), origin, [log.key, witness.key], {
      check: (key) => asked.push(key.keyid),
    });
    expect(asked).toEqual([log.key.publicKey?.keyid, witness.key.publicKey?.keyid]);
  });
});

describe('an origin of ours', () => {
  test('is a name without white space, plus or control character', () => {
    for (const good of ['a', origin, 'localhost/ab12/logs/default', 'münchen.example/l']) {
      expect(() => checkOrigin(good)).not.toThrow();
    }
    for (const bad of ['', 'a b', 'a+b', 'a\tb', 'a\nb', 'a\u3000b', 'a\0b', 'a\ud800']) {
      expect(() => checkOrigin(bad)).toThrow('origin: ');
    }
  });

  test('has at most 255 bytes, not characters', () => {
    expect(() => checkOrigin('x'.repeat(255))).not.toThrow();
    expect(() => checkOrigin('x'.repeat(256))).toThrow('origin: 256 bytes where at most 255');
    expect(() => checkOrigin('é'.repeat(128))).toThrow('origin: 256 bytes where at most 255');
  });
});

interface BodyVector {
  readonly name: string;
  readonly bodyB64: string;
  readonly strict: 'ok' | 'error';
  readonly origin?: string;
  readonly size?: string;
  readonly rootHash?: string;
  readonly extensionLines?: readonly string[];
}

interface CosignedVector {
  readonly name: string;
  readonly checkpoint: string;
  readonly vkeys: readonly string[];
  readonly origin: string;
  readonly size: string;
  readonly rootHash: string;
  readonly verified: readonly string[];
}

describe.skipIf(sharedMissing)('published checkpoints', () => {
  const casesOf = (file: string) =>
    sharedMissing ? [] : (sharedJson('vectors', 'tlog-notes', file) as { cases: unknown[] }).cases;
  const bodies = casesOf('checkpoint-bodies.json') as BodyVector[];

  test.each(bodies)('body: $name', (vector) => {
    const body = parseUtf8(parseBase64(vector.bodyB64, 'body'), 'body');
    // Legal in the format, and more leaves than this program can count.
    const countable = Number(vector.size ?? 0) <= Number.MAX_SAFE_INTEGER;
    if (vector.strict === 'error' || !countable) {
      expect(() => parseCheckpoint(body, { extensions: true })).toThrow('checkpoint');
      return;
    }
    const checkpoint = parseCheckpoint(body, { extensions: true });
    expect([checkpoint.origin, `${checkpoint.size}`, toBase64(checkpoint.root)]).toEqual([
      vector.origin,
      vector.size,
      vector.rootHash,
    ]);
    const plain = formatCheckpoint(checkpoint);
    expect(body.slice(plain.length).split('\n').slice(0, -1)).toEqual(vector.extensionLines);
  });

  test.each(casesOf('cosigned-checkpoints.json') as CosignedVector[])('$name', (vector) => {
    const keys = vector.vkeys.map(parseVerifierKey);
    const note = utf8(vector.checkpoint);
    const verifiable = keys.filter((key) => key.type !== 5);
    const expected = vector.verified.filter((name) =>
      verifiable.some((key) => `${key.name}+${key.keyId}` === name),
    );
    const signed = verifiable.some((key) => key.type === 1 || key.type === 2);
    if (!signed) {
      // The log itself signed with type 0x05 only, which is not verified here.
      expect(() => openCheckpoint(note, vector.origin, keys)).toThrow('no line is by a key of');
      return;
    }
    const opened = openCheckpoint(note, vector.origin, keys);
    expect(opened.verified.map((key) => `${key.name}+${key.keyId}`)).toEqual(expected);
    expect(`${opened.checkpoint.size}`).toBe(vector.size);
    expect(toBase64(opened.checkpoint.root)).toBe(vector.rootHash);
  });

  test('the identifiers of origins are hashes of their bytes', () => {
    const ids = casesOf('log-ids.json') as {
      origin: string;
      formatsLogId: string;
      originHash: string;
    }[];
    expect(ids.length).toBeGreaterThan(0);
    for (const id of ids) {
      expect(toHex(sha256(utf8(id.origin)))).toBe(id.originHash);
      expect(toHex(sha256(utf8(`o:${id.origin}`)))).toBe(id.formatsLogId);
    }
  });
});
