/**
 * Rekor v1's interface over shards: each has a tree ID; what is new goes to the last. Entries are promised,
 * with their index over all shards; proofs are given on request.
 */
import { createHash } from 'node:crypto';
import { acceptV1, jsonReply, type Reply } from './accept.ts';
import { type KeyPair, makeKey, Shard } from './shard.ts';

const ENTRIES = '/api/v1/log/entries';

interface TreeShard {
  readonly treeId: string;
  readonly shard: Shard;
  /** Entries in all shards before it. */
  readonly before: number;
}

export class RekorV1 {
  readonly host: string;
  readonly #key: KeyPair;
  readonly #now: () => number;
  readonly #shards: TreeShard[] = [];
  readonly #integrated = new Map<string, number>();

  /** `before` entries were logged in shards that nobody asks for any more. */
  constructor(host: string, now: () => number, { before = 0, key = makeKey('ec') } = {}) {
    this.host = host;
    this.#key = key;
    this.#now = now;
    this.#open('1193050959916656506', before);
  }

  get shard(): Shard {
    return this.#active.shard;
  }

  get treeId(): string {
    return this.#active.treeId;
  }

  get #active(): TreeShard {
    return this.#shards.at(-1) as TreeShard;
  }

  /** Freezes the active shard and begins another. */
  reshard(): void {
    const { treeId, before, shard } = this.#active;
    this.#open(String(BigInt(treeId) + 1n), before + shard.tree.size);
  }

  post(contentType: string | undefined, body: Uint8Array): Reply {
    const entry = acceptV1(contentType, body);
    const { shard } = this.#active;
    const known = shard.tree.indexOf(entry);
    const id = this.#idOf(this.#active, entry);
    const location = `${ENTRIES}/${id}`;
    if (known >= 0) {
      const message = `an equivalent entry already exists in the transparency log with UUID ${id}`;
      return jsonReply(409, { code: 409, message }, { location });
    }
    const index = shard.tree.append(entry);
    this.#integrated.set(id, Math.floor(this.#now() / 1_000));
    return jsonReply(201, this.#entry(this.#active, index, shard.tree.size), {
      location,
      etag: id,
    });
  }

  get(path: string, query: URLSearchParams): Reply {
    if (path.startsWith(`${ENTRIES}/`)) return this.#byId(path.slice(ENTRIES.length + 1));
    if (path === ENTRIES) return this.#byIndex(Number(query.get('logIndex')));
    if (path === '/api/v1/log') return this.#info();
    if (path === '/api/v1/log/proof') return this.#proof(query);
    return jsonReply(404, { code: 404, message: `path ${path} was not found` });
  }

  #open(treeId: string, before: number): void {
    const origin = `${this.host} - ${treeId}`;
    const shard = new Shard({ origin, name: this.host, key: this.#key, keyIdOf: 'key' });
    this.#shards.push({ treeId, shard, before });
  }

  #idOf({ treeId }: TreeShard, entry: Uint8Array): string {
    const leaf = createHash('sha256').update(Buffer.of(0)).update(entry).digest('hex');
    return BigInt(treeId).toString(16).padStart(16, '0') + leaf;
  }

  #entry(of: TreeShard, index: number, size: number): Record<string, unknown> {
    const { shard, before } = of;
    const leaf = shard.tree.leaf(index);
    const id = this.#idOf(of, leaf);
    const body = Buffer.from(leaf).toString('base64');
    const integratedTime = this.#integrated.get(id) ?? 1_700_000_000;
    const logID = shard.keyId.toString('hex');
    const logIndex = before + index;
    const promised = `{"body":"${body}","integratedTime":${integratedTime},"logID":"${logID}","logIndex":${logIndex}}`;
    return {
      [id]: {
        body,
        integratedTime,
        logID,
        logIndex,
        verification: {
          inclusionProof: {
            checkpoint: shard.checkpoint(size),
            hashes: shard.tree.inclusion(index, size).map(hex),
            logIndex: index,
            rootHash: hex(shard.tree.root(size)),
            treeSize: size,
          },
          signedEntryTimestamp: shard.sign(Buffer.from(promised)).toString('base64'),
        },
      },
    };
  }

  #byId(id: string): Reply {
    if (!/^([0-9a-f]{16})?[0-9a-f]{64}$/.test(id)) {
      return jsonReply(400, { code: 400, message: `entryUUID in path should match ${id}` });
    }
    for (const of of this.#shards) {
      const { shard, treeId } = of;
      const isOther = id.length === 80 && BigInt(`0x${id.slice(0, 16)}`) !== BigInt(treeId);
      for (let i = 0; i < shard.shownSize && !isOther; i++) {
        if (hex(shard.tree.leafHash(i)) === id.slice(-64)) {
          return jsonReply(200, this.#entry(of, i, shard.shownSize));
        }
      }
    }
    return jsonReply(404, { code: 404, message: `error retrieving entry: ${id}` });
  }

  #byIndex(logIndex: number): Reply {
    for (const of of this.#shards) {
      const index = logIndex - of.before;
      if (index >= 0 && index < of.shard.shownSize) {
        return jsonReply(200, this.#entry(of, index, of.shard.shownSize));
      }
    }
    return jsonReply(404, { code: 404, message: `no entry ${logIndex}` });
  }

  #info(): Reply {
    const infoOf = ({ shard, treeId }: TreeShard) => ({
      rootHash: hex(shard.tree.root(shard.shownSize)),
      treeSize: shard.shownSize,
      signedTreeHead: shard.checkpoint(shard.shownSize),
      treeID: treeId,
    });
    const inactiveShards = this.#shards.slice(0, -1).map(infoOf);
    return jsonReply(200, { ...infoOf(this.#active), inactiveShards });
  }

  #proof(query: URLSearchParams): Reply {
    const first = Number(query.get('firstSize') ?? 1);
    const last = Number(query.get('lastSize'));
    const treeId = query.get('treeID') ?? this.treeId;
    const of = this.#shards.find((one) => one.treeId === treeId);
    const wrong = (message: string) => jsonReply(400, { code: 400, message });
    if (of === undefined) return wrong(`${treeId} is not a valid tree ID`);
    if (first > last) return wrong(`firstSize(${first}) must be less than lastSize(${last})`);
    if (last > of.shard.shownSize) {
      return wrong(
        `the tree size requested(${last}) was greater than what is currently observable(${of.shard.shownSize})`,
      );
    }
    return jsonReply(200, {
      rootHash: hex(of.shard.tree.root(last)),
      hashes: of.shard.tree.consistency(first, last).map(hex),
    });
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
