/**
 * Chunks: how consecutive entries lie in a row. A chunk has the entry bundle's bytes, so a bundle is
 * cut from chunks without re-encoding, and at most 64 entries, so that one entry is read without
 * reading a megabyte.
 */
import { SteleError } from '../../core/errors.ts';

export const CHUNK_ENTRIES_MAX = 64;

export interface Chunk {
  readonly begin: number;
  readonly count: number;
  readonly data: Uint8Array;
}

/** Packs entries from index `begin` on, each chunk in an allocation of its own (so it can be moved). */
export function packChunks(begin: number, entries: readonly Uint8Array[]): Chunk[] {
  const chunks: Chunk[] = [];
  for (let at = 0; at < entries.length; at += CHUNK_ENTRIES_MAX) {
    const part = entries.slice(at, at + CHUNK_ENTRIES_MAX);
    chunks.push({ begin: begin + at, count: part.length, data: packEntries(part) });
  }
  return chunks;
}

/** Any number of entries in the form of a chunk. */
export function packEntries(entries: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(entries.reduce((sum, entry) => sum + 2 + entry.length, 0));
  let to = 0;
  for (const entry of entries) {
    data[to] = entry.length >> 8;
    data[to + 1] = entry.length & 0xff;
    data.set(entry, to + 2);
    to += 2 + entry.length;
  }
  return data;
}

/** The entries of a chunk, as views of it. Throws `storage` if the row is damaged. */
export function unpackChunk(chunk: Chunk): Uint8Array[] {
  const { data } = chunk;
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at + 2 <= data.length) {
    const end = at + 2 + (((data[at] ?? 0) << 8) | (data[at + 1] ?? 0));
    if (end > data.length) break;
    entries.push(data.subarray(at + 2, end));
    at = end;
  }
  if (at !== data.length || entries.length !== chunk.count) {
    throw new SteleError('storage', `the chunk of entries at ${chunk.begin} is damaged`);
  }
  return entries;
}
