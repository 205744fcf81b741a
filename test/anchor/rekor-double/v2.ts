/**
 * Rekor v2's interface: one request that writes, answered with the whole proof; all else is files.
 */
import { formatTilePath, parseTilePath } from '../../../server/core/tile.ts';
import { acceptV2, jsonReply, type Reply } from './accept.ts';
import { type KeyPair, makeKey, Shard } from './shard.ts';

export class RekorV2 {
  readonly shard: Shard;
  /** It takes nothing more. */
  frozen = false;
  /** Whether a partial tile is still there once the full one is. */
  keepsPartials = true;

  constructor(host: string, { key = makeKey('ed25519') }: { key?: KeyPair } = {}) {
    this.shard = new Shard({ origin: host, name: host, key, keyIdOf: 'name-and-key' });
  }

  post(body: Uint8Array): Reply {
    if (this.frozen) {
      const body = 'This log has been frozen, please switch to the latest log.\n';
      return { status: 405, headers: { 'content-type': 'text/plain; charset=utf-8' }, body };
    }
    const entry = acceptV2(body);
    const { tree } = this.shard;
    const known = tree.indexOf(entry);
    if (known >= 0) {
      const message = `an equivalent entry already exists in the transparency log with index ${known}`;
      return jsonReply(409, { code: 6, message, details: [] }, { 'x-log-index': String(known) });
    }
    const index = tree.append(entry);
    const size = tree.size;
    return jsonReply(201, {
      logIndex: String(index),
      logId: { keyId: this.shard.keyId.toString('base64') },
      kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
      integratedTime: '0',
      inclusionPromise: null,
      inclusionProof: {
        logIndex: String(index),
        rootHash: base64(tree.root(size)),
        treeSize: String(size),
        hashes: tree.inclusion(index, size).map(base64),
        checkpoint: { envelope: this.shard.checkpoint(size) },
      },
      canonicalizedBody: base64(entry),
    });
  }

  /** A file, by its path below `/api/v2`. */
  get(path: string): Reply {
    const size = this.shard.shownSize;
    if (path === '/checkpoint') return file(this.shard.checkpoint(size), 'text/plain');
    const tile = tileOf(path.slice(1));
    if (tile === undefined) return { status: 404, body: 'not a file of this log' };
    const { kind, level, index, width } = tile;
    const hashes = this.shard.tree.tile(level, index, size);
    const isGone = !this.keepsPartials && width < 256 && hashes.length === 256;
    // Of a partial tile a server has the widths that a checkpoint was made of; this one has them all.
    if (hashes.length < width || isGone) return { status: 404, body: 'no such file' };
    if (kind === 'hashes') return file(Buffer.concat(hashes.slice(0, width)));
    const entries = Array.from({ length: width }, (_, i) => this.shard.tree.leaf(256 * index + i));
    return file(Buffer.concat(entries.flatMap((one) => [lengthOf(one), one])));
  }
}

function tileOf(path: string) {
  try {
    const tile = parseTilePath(path);
    return formatTilePath(tile) === path ? tile : undefined;
  } catch {
    return undefined;
  }
}

function file(body: string | Uint8Array, type = 'application/octet-stream'): Reply {
  return { status: 200, headers: { 'content-type': type }, body };
}

function lengthOf(entry: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(entry.length);
  return length;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
