/**
 * Entry bundles: up to 256 entries, each behind its length in two bytes [C2SP tlog-tiles].
 *
 *     00 05 h e l l o   00 02 h i
 */
import { invariant, malformed } from './errors.ts';
import { ENTRY_BYTES_MAX, TILE_WIDTH } from './limits.ts';

export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  invariant(entries.length <= TILE_WIDTH, 'a bundle has at most 256 entries');
  const bytes = new Uint8Array(entries.reduce((sum, entry) => sum + 2 + entry.length, 0));
  let at = 0;
  for (const entry of entries) {
    invariant(entry.length <= ENTRY_BYTES_MAX, 'an entry has at most 65,535 bytes');
    bytes[at] = Math.floor(entry.length / 256);
    bytes[at + 1] = entry.length % 256;
    bytes.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return bytes;
}

/** The entries of a bundle, as views of it. Refuses one that ends inside an entry or has over 256. */
export function decodeBundle(bytes: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [high, low] = [bytes[at], bytes[at + 1]];
    const end = at + 2 + (high ?? 0) * 256 + (low ?? 0);
    if (low === undefined || end > bytes.length) {
      throw malformed('entry bundle', `it ends inside entry ${entries.length}`);
    }
    if (entries.length === TILE_WIDTH) throw malformed('entry bundle', 'over 256 entries');
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries;
}
