/** A line of the feed says what its entry says, or it is none. */
import { describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../server/core/bytes.ts';
import { encodeEntry } from '../../server/core/entry.ts';
import { FEED_LINE_BYTES_MAX, formatFeedLine, parseFeedLine } from '../../server/core/feed.ts';
import { leafHash } from '../../server/core/merkle.ts';

const entryOf = (payloadType: string, payload: string) =>
  encodeEntry({
    payloadType,
    payload: utf8(payload),
    signatures: [{ keyid: 'ab'.repeat(32), sig: new Uint8Array(64).fill(7) }],
  });

const note = entryOf('text/plain', 'The bridge was opened.');
const record = entryOf('application/vnd.stele.record.v1+json', '{"kind":"heartbeat","n":"ü"}');

describe('a line', () => {
  test.each([
    [0, note],
    [9_007_199_254_740_991, note],
    [3, record],
  ])('of entry %d is read as it is written', (index, entry) => {
    const text = formatFeedLine(index, entry);
    expect(JSON.parse(text)).toMatchObject({ index, leaf_hash: toHex(leafHash(entry)) });
    expect(parseFeedLine(utf8(text))).toEqual({ index, entry, text });
  });

  test('has the record of an audit record, and nothing of any other payload', () => {
    expect(JSON.parse(formatFeedLine(3, record)).record).toEqual({ kind: 'heartbeat', n: 'ü' });
    expect(JSON.parse(formatFeedLine(3, note))).not.toHaveProperty('record');
  });

  test('of the largest entry is within its bound', () => {
    const head = '{"a":"';
    let length = 65_535 - 300;
    let largest = entryOf('application/vnd.stele.record.v1+json', '{}');
    for (; length < 65_535; length++) {
      try {
        const payload = `${head}${'x'.repeat(length - head.length - 2)}"}`;
        largest = entryOf('application/vnd.stele.record.v1+json', payload);
      } catch {
        break;
      }
    }
    expect(largest.length).toBeGreaterThan(65_500);
    const line = utf8(formatFeedLine(9_007_199_254_740_991, largest));
    expect(line.length).toBeLessThanOrEqual(FEED_LINE_BYTES_MAX);
    expect(parseFeedLine(line).entry).toEqual(largest);
  });

  const text = formatFeedLine(3, record);
  const other = toHex(leafHash(note));
  test.each<[string, string]>([
    ['another index spelling', text.replace('"index":3', '"index":03')],
    ['another leaf hash', text.replace(/[0-9a-f]{64}/, other)],
    ['another record', text.replace('heartbeat', 'heartbeet')],
    ['no record', text.replace(/,"record".*$/, '}')],
    ['a member more', text.replace(/\}$/, ',"x":1}')],
    ['a space', text.replace(',"entry"', ', "entry"')],
    ['its end missing', text.slice(0, -1)],
    ['something after it', `${text} `],
    ['other entry bytes', text.replace('"entry":"C', '"entry":"D')],
    ['nothing in it', ''],
    ['another form', '[]'],
  ])('with %s is refused', (_, spoiled) => {
    expect(() => parseFeedLine(utf8(spoiled))).toThrow(
      expect.objectContaining({ code: 'malformed' }),
    );
  });
});
