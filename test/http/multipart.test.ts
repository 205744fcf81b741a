/** The multipart reader: one spelling, whatever the sizes of the pieces in which it arrives. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { type ByteSource, MultipartReader, parseBoundary } from '../../server/http/multipart.ts';

const B = 'sep';

interface Got {
  readonly name: string;
  readonly field: string | undefined;
  readonly contentType: string | undefined;
  readonly text: string;
}

/** `text` (latin1) in pieces of these sizes, the last size repeating. */
function source(text: string, sizes: readonly number[]): ByteSource {
  const bytes = Buffer.from(text, 'latin1');
  let at = 0;
  let turn = 0;
  return {
    async next() {
      if (at >= bytes.length) return undefined;
      const size = sizes[Math.min(turn++, sizes.length - 1)] ?? 1;
      const piece = bytes.subarray(at, at + size);
      at += size;
      return piece;
    },
  };
}

async function readAll(text: string, sizes: readonly number[] = [1e9], boundary = B) {
  const reader = new MultipartReader(source(text, sizes), boundary);
  const got: Got[] = [];
  for (let part = await reader.next(); part !== undefined; part = await reader.next()) {
    const pieces: Uint8Array[] = [];
    for await (const piece of part.chunks) pieces.push(piece);
    const { name, field, contentType } = part;
    got.push({ name, field, contentType, text: Buffer.concat(pieces).toString('latin1') });
  }
  return got;
}

function part(disposition: string, body: string, ...headers: string[]): string {
  const lines = [`Content-Disposition: form-data; ${disposition}`, ...headers];
  return `--${B}\r\n${lines.join('\r\n')}\r\n\r\n${body}\r\n`;
}

const GOOD =
  part('name="entry"', '\nabc', 'Content-Type: application/protobuf') +
  part('name=disclosure', '') +
  part('name="body"; field="input.body"; filename="x;y.bin"', 'one\r\n--se\r\n--\r\n') +
  part('name="body; field=output.body"', '--sep', 'content-type: text/html', 'X-Other: 1') +
  `--${B}--\r\n`;

const EXPECTED: Got[] = [
  { name: 'entry', field: undefined, contentType: 'application/protobuf', text: '\nabc' },
  { name: 'disclosure', field: undefined, contentType: undefined, text: '' },
  { name: 'body', field: 'input.body', contentType: undefined, text: 'one\r\n--se\r\n--\r\n' },
  { name: 'body', field: 'output.body', contentType: 'text/html', text: '--sep' },
];

describe('what it takes', () => {
  test('parts in order, with their bytes untouched', async () => {
    expect(await readAll(GOOD)).toEqual(EXPECTED);
  });

  test('in pieces of any size', async () => {
    for (let size = 1; size < 80; size++) expect(await readAll(GOOD, [size])).toEqual(EXPECTED);
  });

  test('in pieces of mixed sizes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }),
        async (sizes) => {
          expect(await readAll(GOOD, sizes)).toEqual(EXPECTED);
        },
      ),
    );
  });

  test('without the line end after the last boundary', async () => {
    expect(await readAll(GOOD.slice(0, -2))).toEqual(EXPECTED);
  });

  test('any bytes that do not contain the delimiter', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: fc.constantFrom('\r', '\n', '-', 's', 'e', 'p', '\xff'), maxLength: 60 }),
        fc.integer({ min: 1, max: 9 }),
        async (body, size) => {
          fc.pre(
            !`\r\n${body}\r\n`.slice(0, -2).includes('\r\n--sep') && !body.startsWith('--sep'),
          );
          const got = await readAll(`${part('name=a', body)}--sep--\r\n`, [size]);
          expect(got.map((one) => one.text)).toEqual([body]);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('hands on long bodies piece by piece', async () => {
    const body = 'x'.repeat(300_000);
    const reader = new MultipartReader(source(`${part('name=a', body)}--sep--`, [1000]), B);
    const first = await reader.next();
    let most = 0;
    let all = 0;
    for await (const piece of first?.chunks ?? []) {
      most = Math.max(most, piece.length);
      all += piece.length;
    }
    expect(all).toBe(300_000);
    expect(most).toBeLessThan(2_200);
  });
});

const spoilers: Record<string, readonly [string, string]> = {
  empty: ['', 'the first boundary is missing'],
  'bytes before the first boundary': [`x${GOOD}`, 'the first boundary is missing'],
  'a line end before the first boundary': [`\r\n${GOOD}`, 'the first boundary is missing'],
  'another boundary': [GOOD.replaceAll('sep', 'sop'), 'the first boundary is missing'],
  'padding after a boundary': [GOOD.replace('--sep\r\n', '--sep \r\n'), 'a line end after'],
  'one dash after the boundary': [`${GOOD.slice(0, -4)}-`, 'a line end after'],
  'no last boundary': [GOOD.slice(0, GOOD.lastIndexOf('\r\n--sep--')), 'ends inside a part'],
  'nothing after a boundary': ['--sep', 'a line end after'],
  'bytes after the last boundary': [`${GOOD}x`, 'bytes after the last'],
  'two line ends after the last boundary': [`${GOOD}\r\n`, 'bytes after the last'],
  'headers that break off': [
    '--sep\r\nContent-Disposition: form-data',
    "ends inside a part's headers",
  ],
  'no headers': ['--sep\r\n\r\nabc\r\n\r\n\r\n--sep--', 'is not a header line'],
  'a header that is no header': [part('name=a', '', 'hello'), 'is not a header line'],
  'a folded header': [part('name=a', '', 'x: 1', ' 2'), 'is not a header line'],
  'a bare line feed in a header': [part('name=a', '', 'x: 1\ny: 2'), 'is not a header line'],
  'a header twice': [part('name=a', '', 'x: 1', 'X: 2'), 'header x is given twice'],
  'a transfer encoding': [
    part('name=a', '', 'Content-Transfer-Encoding: base64'),
    'content-transfer-encoding is not taken',
  ],
  'no disposition': ['--sep\r\ncontent-type: text/plain\r\n\r\n\r\n--sep--', 'is not form-data'],
  'another disposition': [GOOD.replace('form-data', 'attachment'), 'is not form-data'],
  'no name': [part('filename="a"', ''), 'has no name'],
  'a name twice': [part('name="a"; name="b"', ''), 'has name twice'],
  'an unclosed quote': [part('name="a', ''), 'is not name="value"'],
  'an escape in a quote': [part('name="a\\"b"', ''), 'is not name="value"'],
  'too long headers': [part('name=a', '', `x: ${'y'.repeat(2048)}`), 'more than 2048 bytes'],
};

describe('what it refuses', () => {
  test.each(Object.entries(spoilers))('%s', async (_, [text, rule]) => {
    for (const sizes of [[1e9], [1], [7]]) {
      const error = await readAll(text, sizes).then(
        () => undefined,
        (e: unknown) => e,
      );
      expect(error).toBeInstanceOf(SteleError);
      expect((error as SteleError).code).toMatch(/^(malformed|too_large)$/);
      expect((error as SteleError).message).toContain(rule);
    }
  });

  test('every proper beginning of a good body', async () => {
    for (let end = 0; end < GOOD.length - 2; end++) {
      await expect(readAll(GOOD.slice(0, end)), String(end)).rejects.toMatchObject({
        code: 'malformed',
      });
    }
  });
});

describe('boundaries', () => {
  test.each([
    ['multipart/form-data; boundary=sep', 'sep'],
    ['multipart/form-data; boundary="a b"', 'a b'],
    ['multipart/form-data; charset=utf-8; Boundary=x-1', 'x-1'],
    [`multipart/form-data;boundary=${'x'.repeat(70)}`, 'x'.repeat(70)],
  ])('%s', (header, boundary) => {
    expect(parseBoundary(header)).toBe(boundary);
  });

  test.each([
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'multipart/form-data; boundary=""',
    'multipart/form-data; boundary="a "',
    'multipart/form-data; boundary="a\r\nb"',
    'multipart/form-data; boundary=é',
    `multipart/form-data; boundary=${'x'.repeat(71)}`,
  ])('refuses %j', (header) => {
    expect(() => parseBoundary(header)).toThrow('has no boundary');
  });
});
