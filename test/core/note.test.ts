/**
 * Signed notes: one form, and who signed.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, parseBase64, toBase64, utf8 } from '../../server/core/bytes.ts';
import { type Code, hasCode, SteleError } from '../../server/core/errors.ts';
import {
  formatNote,
  type NoteSignature,
  openNote,
  parseNote,
  parseVerifierKey,
} from '../../server/core/note.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { logKey } from './note-keys.ts';

const alice = logKey('alice', 1);
const bob = logKey('bob', 2);
const text = 'first line\n\nafter an empty one\n';
const note = utf8(formatNote({ text, signatures: [alice.line(text), bob.line(text)] }));

function codeOf(action: () => unknown): Code | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof SteleError) return error.code;
    throw error;
  }
}

function noteOf(signatures: readonly NoteSignature[]): Uint8Array {
  return utf8(formatNote({ text, signatures }));
}

describe('a note', () => {
  test('is split at its last empty line and printed back', () => {
    const parsed = parseNote(note);
    expect(parsed.text).toBe(text);
    expect(parsed.signatures).toEqual([alice.line(text), bob.line(text)]);
    expect(utf8(formatNote(parsed))).toEqual(note);
  });

  test('may be nothing but a line feed', () => {
    const empty = utf8(formatNote({ text: '\n', signatures: [alice.line('\n')] }));
    expect(openNote(empty, [alice.key]).note.text).toBe('\n');
  });

  test('keeps a byte-order mark, which is part of what is signed', () => {
    const marked = '\ufefftext\n';
    const bytes = utf8(formatNote({ text: marked, signatures: [alice.line(marked)] }));
    expect(openNote(bytes, [alice.key]).note.text).toBe(marked);
    const unmarked = utf8(formatNote({ text: marked, signatures: [alice.line('text\n')] }));
    expect(codeOf(() => openNote(unmarked, [alice.key]))).toBe('unverified');
  });

  const line = `— alice ${toBase64(new Uint8Array(68).fill(9))}\n`;
  const spoiled: Record<string, string> = {
    'no empty line': `text\n${line}`,
    'no signature': 'text\n\n',
    'no line feed at the end': `text\n\n${line.slice(0, -1)}`,
    'an empty line at the end': `text\n\n${line}\n`,
    'a line that is no signature': `text\n\n${line}what is this\n`,
    'a hyphen for the dash': `text\n\n${line.replace('—', '-')}`,
    'two spaces': `text\n\n${line.replace(' ', '  ')}`,
    'a space at the end of a line': `text\n\n${line.replace('\n', ' \n')}`,
    'a plus in a name': `text\n\n${line.replace('alice', 'al+ce')}`,
    'no name': `text\n\n${line.replace('alice', '')}`,
    'a no-break space in a name': `text\n\n${line.replace('alice', 'al\u00a0ce')}`,
    CRLF: `text\n\n${line}`.replaceAll('\n', '\r\n'),
    'a tab in its text': `te\txt\n\n${line}`,
    'a NUL in its text': `te\0xt\n\n${line}`,
    'a signature of the key ID alone': `text\n\n— alice AAAAAA==\n`,
    'base64 without padding': `text\n\n${line.replace('=', '')}`,
    'base64 with set unused bits': `text\n\n${line.replace('CQk=', 'CQl=')}`,
    'url-safe base64': `text\n\n— alice AAAA-_-_\n`,
    '101 signature lines': `text\n\n${line.repeat(101)}`,
    'nothing at all': '',
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, spelling) => {
    expect(codeOf(() => parseNote(utf8(spelling)))).toBe('malformed');
  });

  test('with bytes that are not UTF-8 is malformed', () => {
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x80]]) {
      const odd = concat(Uint8Array.from(bytes), utf8(`text\n\n${line}`));
      expect(codeOf(() => parseNote(odd))).toBe('malformed');
    }
  });

  test('may have 100 lines, and no more bytes than the limit', () => {
    expect(parseNote(utf8(`text\n\n${line.repeat(100)}`)).signatures).toHaveLength(100);
    expect(codeOf(() => parseNote(utf8(`${'x'.repeat(131_072)}\n\n${line}`)))).toBe('malformed');
  });

  test('near a good one is malformed, unverified, or says the same to the byte', () => {
    const change = fc.tuple(
      fc.nat(note.length - 1),
      fc.constantFrom(0, 0x0a, 0x20, 0x2b, 0x3d, 0x41, 0xff),
    );
    fc.assert(
      fc.property(change, ([at, byte]) => {
        const near = note.with(at, byte);
        try {
          const opened = openNote(near, [alice.key, bob.key]);
          expect(utf8(formatNote(opened.note))).toEqual(near);
          // Only the name or ID of the other line may have changed, which then is unknown.
          expect(opened.note.text).toBe(text);
          expect(opened.verified.length + opened.unknown.length).toBe(2);
        } catch (error) {
          if (!hasCode(error, 'malformed') && !hasCode(error, 'unverified')) throw error;
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('opening', () => {
  test('tells who signed, and which lines may be kept', () => {
    const opened = openNote(note, [bob.key]);
    expect(opened.verified).toEqual([bob.key]);
    expect(opened.signatures).toEqual([bob.line(text)]);
    expect(opened.unknown).toEqual([alice.line(text)]);
  });

  test('fails where no line is by a trusted key', () => {
    expect(codeOf(() => openNote(note, []))).toBe('unverified');
    expect(codeOf(() => openNote(note, [logKey('alice', 3).key]))).toBe('unverified');
    expect(codeOf(() => openNote(note, [logKey('carol', 1).key]))).toBe('unverified');
  });

  test('fails where a trusted line does not hold, though another does', () => {
    const forged = { ...alice.line(text), signature: bob.line(text).signature };
    for (const lines of [
      [forged, bob.line(text)],
      [bob.line(text), forged],
    ]) {
      expect(codeOf(() => openNote(noteOf(lines), [alice.key, bob.key]))).toBe('unverified');
    }
  });

  test('ignores a bad line of a key that is not trusted', () => {
    const forged = { ...alice.line(text), signature: new Uint8Array(64) };
    const opened = openNote(noteOf([forged, bob.line(text)]), [bob.key]);
    expect(opened.signatures).toEqual([bob.line(text)]);
  });

  test('takes the first line of a key, and never passes the others on', () => {
    const forged = { ...alice.line(text), signature: new Uint8Array(64) };
    const opened = openNote(noteOf([alice.line(text), forged, alice.line(text)]), [alice.key]);
    expect(opened.signatures).toEqual([alice.line(text)]);
    expect(opened.unknown).toEqual([]);
    const first = noteOf([forged, alice.line(text)]);
    expect(codeOf(() => openNote(first, [alice.key]))).toBe('unverified');
  });

  test('names equal unknown lines once', () => {
    const opened = openNote(noteOf([alice.line(text), bob.line(text), bob.line(text)]), [
      alice.key,
    ]);
    expect(opened.unknown).toEqual([bob.line(text)]);
  });

  test('fails where two trusted keys have the name and ID of a line', () => {
    const twin = { ...alice.key, key: bob.key.key, text: `${alice.key.text} of another` };
    expect(() => openNote(note, [alice.key, twin])).toThrow(/alice\+[0-9a-f]{8} stands for two/);
    // The same key twice is one key.
    expect(openNote(note, [alice.key, alice.key]).verified).toEqual([alice.key]);
    // A pair that does not occur spoils nothing.
    const elsewhere = [bob.key, { ...alice.key, name: 'x' }, { ...twin, name: 'x' }];
    expect(openNote(note, elsewhere).verified).toEqual([bob.key]);
  });
});

interface Vector {
  readonly name: string;
  readonly noteB64: string;
  readonly trustedVkeys: readonly string[];
  readonly expect: 'ok' | 'malformed' | 'unverified' | 'invalid-signature' | 'error';
  readonly verified?: readonly string[];
  readonly unverified?: readonly string[];
}

describe.skipIf(sharedMissing)('published notes', () => {
  const { cases } = (
    sharedMissing ? { cases: [] } : sharedJson('vectors', 'tlog-notes', 'signed-notes.json')
  ) as { cases: Vector[] };
  const codes: Record<Vector['expect'], Code | undefined> = {
    ok: undefined,
    malformed: 'malformed',
    unverified: 'unverified',
    'invalid-signature': 'unverified',
    error: 'unverified',
  };

  test.each(cases)('$name', (vector) => {
    const bytes = parseBase64(vector.noteB64, 'note');
    const keys = vector.trustedVkeys.map(parseVerifierKey);
    // Type 0x05 does not cover the origin, and we verify no line of it: such a key trusts nothing.
    const unsupported = keys.some((key) => key.type === 5);
    const expected = unsupported ? 'unverified' : codes[vector.expect];
    expect(codeOf(() => openNote(bytes, keys))).toBe(expected);
    if (expected !== undefined) return;
    const opened = openNote(bytes, keys);
    const nameOf = (line: { name: string; keyId: string }): string => `${line.name}+${line.keyId}`;
    expect(opened.verified.map(nameOf)).toEqual(vector.verified);
    expect(opened.unknown.map(nameOf)).toEqual(vector.unverified);
    expect(utf8(formatNote(opened.note))).toEqual(bytes);
  });
});
