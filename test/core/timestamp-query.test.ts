/** What an authority is asked, byte by byte. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { imprintOf, makeTimestampQuery, parseTimestampQuery } from '../../server/core/rfc3161.ts';
import { opensslMissing } from '../certificates.ts';
import { opensslQuery } from '../openssl-ts.ts';
import { temporaryFolder } from '../temporary.ts';
import { boolean, digestId, element, integer, octets, sequence } from './made-tsa.ts';
import { nearMiss } from './near-miss.ts';

const message = utf8('example.org/logs/a\n7\nSuGRk59U\n');
const nonce = Uint8Array.of(0x00, 0xe3, 0xcc, 0xa6, 0x37, 0x9e, 0x1a, 0x98, 0xa0);

describe('a query', () => {
  test('is read back', () => {
    const query = makeTimestampQuery(message, nonce);
    expect(query.length).toBeLessThan(80);
    expect(parseTimestampQuery(query)).toEqual({ imprint: imprintOf(message), nonce });
    expect(parseTimestampQuery(makeTimestampQuery(message))).toEqual({
      imprint: imprintOf(message),
    });
  });

  test('has its nonce as a number: zeros before it are none of it', () => {
    for (const [given, content] of [
      [[0, 0, 5], [5]],
      [[0, 0], [0]],
      [[0x80], [0, 0x80]],
      [
        [0x7f, 0xff],
        [0x7f, 0xff],
      ],
    ] as const) {
      const { nonce: read } = parseTimestampQuery(
        makeTimestampQuery(message, Uint8Array.from(given)),
      );
      expect([...(read ?? [])]).toEqual(content);
    }
  });

  test('almost right is refused, or printed back', () => {
    const query = makeTimestampQuery(message, nonce);
    fc.assert(
      fc.property(nearMiss(query), (bytes) => {
        try {
          const read = parseTimestampQuery(bytes);
          const { digest } = read.imprint;
          const written = sequence(
            integer(1),
            sequence(digestId('sha256'), octets(digest)),
            ...(read.nonce === undefined ? [] : [element(0x02, read.nonce)]),
            boolean(true),
          );
          expect(Buffer.from(written)).toEqual(Buffer.from(bytes));
        } catch (error) {
          if (!(error instanceof SteleError)) throw error;
        }
      }),
      { numRuns: 2_000 },
    );
    // What asks for no certificate, or by another hash, is not of here.
    const other = [
      sequence(integer(1), sequence(digestId('sha256'), octets(imprintOf(message).digest))),
      sequence(
        integer(1),
        sequence(digestId('sha384'), octets(imprintOf(message, 'sha384').digest)),
        boolean(true),
      ),
    ];
    for (const bytes of other) {
      expect(() => parseTimestampQuery(bytes)).toThrow('not as it is written here');
    }
    expect(() => parseTimestampQuery(new Uint8Array(257))).toThrow('257 bytes where at most 256');
  });

  test.skipIf(opensslMissing)('is what OpenSSL writes', () => {
    const written = opensslQuery(temporaryFolder(), message);
    const { imprint, nonce: random } = parseTimestampQuery(written);
    expect(imprint).toEqual(imprintOf(message));
    expect(makeTimestampQuery(message, random)).toEqual(written);
  });
});
