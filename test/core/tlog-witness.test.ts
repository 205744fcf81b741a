/** What logs and witnesses say to each other: the form of requests and answers. */
import { describe, expect, test } from 'vitest';
import { sha256, toBase64, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { formatNote } from '../../server/core/note.ts';
import {
  ADD_CHECKPOINT_BYTES_MAX,
  checkpointPathOf,
  formatAddCheckpoint,
  formatCosignatures,
  formatTlogSize,
  openCosignatures,
  parseAddCheckpoint,
  parseTlogSize,
} from '../../server/core/tlog-witness.ts';
import { treeSize } from '../../server/core/units.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { codeOf } from './codes.ts';
import { expectOneSpelling } from './near-miss.ts';
import { logKey, mldsaKey, witnessKey } from './note-keys.ts';

const origin = 'example.com/logs/audit';
const text = formatCheckpoint({ origin, size: treeSize(7), root: sha256(utf8('root')) });
const log = logKey(origin, 1);
const checkpoint = utf8(formatNote({ text, signatures: [log.line(text)] }));
const hashes = (count: number) => Array.from({ length: count }, (_, i) => sha256(Uint8Array.of(i)));

describe('a request', () => {
  const request = (old: number, count: number) =>
    formatAddCheckpoint({ old: treeSize(old), proof: hashes(count), checkpoint });

  test('is read as it was written', () => {
    const written = request(5, 3);
    expect(Buffer.from(written).toString()).toBe(
      `old 5\n${hashes(3).map(toBase64).join('\n')}\n\n${Buffer.from(checkpoint).toString()}`,
    );
    expect(parseAddCheckpoint(written)).toEqual({ old: 5, proof: hashes(3), checkpoint });
    expect(parseAddCheckpoint(request(0, 0))).toEqual({ old: 0, proof: [], checkpoint });
    expect(parseAddCheckpoint(request(2 ** 53 - 1, 63)).proof).toHaveLength(63);
  });

  test('has one spelling', () => {
    const samples = [request(0, 0), request(123, 2)];
    expectOneSpelling(samples, (bytes) => formatAddCheckpoint(parseAddCheckpoint(bytes)));
  });

  const body = Buffer.from(request(5, 1)).toString();
  const hash = toBase64(hashes(1)[0] ?? sha256(utf8('')));
  const spoiled: Record<string, string> = {
    'nothing at all': '',
    'no old line': body.replace('old 5\n', ''),
    'another word for old': body.replace('old', 'Old'),
    'two spaces': body.replace('old 5', 'old  5'),
    'a size with a zero before it': body.replace('old 5', 'old 05'),
    'a size with a plus': body.replace('old 5', 'old +5'),
    'no size': body.replace('old 5', 'old '),
    'a size beyond 2^53 - 1': body.replace('old 5', 'old 9007199254740992'),
    'a space behind the size': body.replace('old 5', 'old 5 '),
    'line ends of another system': body.replaceAll('\n', '\r\n'),
    'no empty line': body.replace('\n\n', '\n'),
    'a hash of 31 bytes': body.replace(hash, toBase64(new Uint8Array(31))),
    'a hash of 33 bytes': body.replace(hash, toBase64(new Uint8Array(33))),
    'a hash in hex': body.replace(hash, 'ab'.repeat(22)),
    'a hash whose unused bits are set': body.replace(hash, hash.replace(/.=$/, 'x=')),
    'a hash in the alphabet of URLs': body.replace(hash, `-${hash.slice(1)}`),
    'a space behind a hash': body.replace(hash, `${hash} `),
    '64 hashes': Buffer.from(request(5, 64)).toString(),
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, bad) => {
    expect(bad).not.toBe(body);
    expect(codeOf(() => parseAddCheckpoint(utf8(bad)))).toBe('malformed');
  });

  test('is bounded, and its head is not looked for beyond what a head may be', () => {
    const long = new Uint8Array(ADD_CHECKPOINT_BYTES_MAX + 1).fill(0x41);
    expect(codeOf(() => parseAddCheckpoint(long))).toBe('malformed');
    const late = utf8(`old 5\n${`${hash}\n`.repeat(100)}\n`);
    expect(() => parseAddCheckpoint(late)).toThrow('no empty line before the checkpoint');
  });
});

describe('the size of a witness', () => {
  test('is read as it was written', () => {
    for (const size of [0, 1, 20_852_014, 2 ** 53 - 1]) {
      expect(parseTlogSize(utf8(formatTlogSize(treeSize(size))))).toBe(size);
    }
  });

  test.each(['', '5', '05\n', ' 5\n', '5\n\n', '5\r\n', '-1\n', '1e3\n', '9007199254740992\n'])(
    '%j is malformed',
    (bad) => {
      expect(codeOf(() => parseTlogSize(utf8(bad)))).toBe('malformed');
    },
  );
});

describe('cosignatures in an answer', () => {
  const time = 1_700_000_000;
  const one = witnessKey('w.example', 2, time);
  const post = mldsaKey('w.example', 3, time);
  const other = witnessKey('x.example', 4, time);
  const keys = [one.key, post.key];
  const open = (answer: string, latest = time) =>
    openCosignatures(utf8(answer), text, keys, { latest });
  const answerOf = (...signers: readonly { line: typeof one.line }[]) =>
    formatCosignatures(signers.map((signer) => signer.line(text)));

  test('are those of the keys that were asked for, in their order', () => {
    const found = open(answerOf(other, post, one));
    expect(found.map(({ key, time: at }) => [key.text, at])).toEqual(
      keys.map((key) => [key.text, time]),
    );
    expect(open(answerOf(other))).toEqual([]);
    expect(open(answerOf(one)).map(({ line }) => line)).toEqual([one.line(text)]);
  });

  test('are one for each key, the first', () => {
    expect(open(answerOf(one, one))).toHaveLength(1);
    const bad = { ...one.line(text), signature: one.line(text).signature.with(20, 0) };
    const answer = formatCosignatures([bad, one.line(text)]);
    expect(codeOf(() => open(answer))).toBe('unverified');
  });

  const spoiled: Record<string, [string, string]> = {
    'of another text': [
      formatCosignatures([one.line(text.replace('\n7\n', '\n8\n'))]),
      'unverified',
    ],
    'without a time': [
      formatCosignatures([witnessKey('w.example', 2, 0).line(text)]),
      'unverified',
    ],
    'of a time to come': [
      formatCosignatures([witnessKey('w.example', 2, time + 1).line(text)]),
      'unverified',
    ],
    'by the key under another key’s ID': [
      formatCosignatures([{ ...one.line(text), keyId: post.key.keyId }]),
      'unverified',
    ],
    'as a whole note': [formatNote({ text, signatures: [one.line(text)] }), 'malformed'],
    'behind an empty line': [`\n${answerOf(one)}`, 'malformed'],
    'behind another text': [`other\n\n${answerOf(one)}`, 'malformed'],
    'without a line feed': [answerOf(one).slice(0, -1), 'malformed'],
    'that are prose': ['<html>busy</html>\n', 'malformed'],
    'that are none': ['', 'malformed'],
    'with a hundred others': [answerOf(...new Array<typeof one>(101).fill(other)), 'malformed'],
  };

  test.each(Object.entries(spoiled))('%s are refused', (_, [answer, code]) => {
    expect(codeOf(() => open(answer))).toBe(code);
  });
});

describe.skipIf(sharedMissing)('the published requests', () => {
  const { steps } = sharedMissing
    ? { steps: [] }
    : (sharedJson('vectors', 'tlog-notes', 'witness-add-checkpoint.json') as {
        readonly steps: readonly { readonly name: string; readonly body: string }[];
      });

  test.each(steps)('$name: is read, and written as it was', ({ body }) => {
    expect(Buffer.from(formatAddCheckpoint(parseAddCheckpoint(utf8(body)))).toString()).toBe(body);
  });

  test.each(
    sharedMissing
      ? []
      : (
          sharedJson('vectors', 'tlog-notes', 'log-ids.json') as {
            readonly cases: readonly { readonly origin: string; readonly originHash: string }[];
          }
        ).cases,
  )('the place of $origin', ({ origin: named, originHash }) => {
    expect(checkpointPathOf(named)).toBe(`${originHash}/checkpoint`);
  });
});
