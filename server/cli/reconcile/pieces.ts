/**
 * The text of somebody's list, in pieces: unpacked if it is packed, in UTF-8, without a byte order mark.
 *
 * What a list is, is seen by its first bytes and not by its name: files that are put together come on standard input.
 */
import { pipeline, Readable } from 'node:stream';
import { TextDecoder } from 'node:util';
import { createGunzip } from 'node:zlib';
import { Unusable } from '../exit.ts';

const GZIP = [0x1f, 0x8b];

/** What people take for text, by its first bytes. */
const OTHERS = [
  { first: [0x50, 0x4b, 0x03, 0x04], what: 'a ZIP archive or a spreadsheet' },
  { first: [0x28, 0xb5, 0x2f, 0xfd], what: 'packed with Zstandard' },
  { first: [0x50, 0x41, 0x52, 0x31], what: 'Parquet' },
  { first: [0xff, 0xfe], what: 'UTF-16' },
  { first: [0xfe, 0xff], what: 'UTF-16' },
];

const FIRST_BYTES = 4;

export async function* textOf(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const chunk of unpacked(chunks, name)) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    // Half of a list compared is worse than none.
    if (code.startsWith('Z_')) throw new Unusable(`${name}: its gzip cannot be read to the end`);
    if (!(error instanceof TypeError)) throw error;
    throw new Unusable(`${name}: it is not UTF-8`);
  }
}

async function* unpacked(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  const { held, all } = await begun(chunks, (pieces) => bytesOf(pieces) >= FIRST_BYTES);
  const first = Buffer.concat(held).subarray(0, FIRST_BYTES);
  const begins = (bytes: readonly number[]) => bytes.every((byte, i) => first[i] === byte);
  const other = OTHERS.find((one) => begins(one.first));
  if (other !== undefined) {
    throw new Unusable(
      `${name}: it is ${other.what}; CSV or JSON in UTF-8 is read, and gzip of it`,
    );
  }
  if (!begins(GZIP)) yield* all;
  // What goes wrong is told by what comes out of it.
  else yield* pipeline(Readable.from(all), createGunzip(), () => {});
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

/** The pieces until `isEnough`, or all there are; and all of them, those again. To be read once. */
export async function begun<T>(
  pieces: AsyncIterable<T>,
  isEnough: (held: readonly T[]) => boolean,
): Promise<{ readonly held: readonly T[]; readonly all: AsyncGenerator<T> }> {
  const rest = pieces[Symbol.asyncIterator]();
  const held: T[] = [];
  while (!isEnough(held)) {
    const { value, done } = await rest.next();
    if (done === true) break;
    held.push(value);
  }
  async function* all() {
    try {
      yield* held;
      for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
        yield next.value;
      }
    } finally {
      await rest.return?.();
    }
  }
  return { held, all: all() };
}
