/**
 * Rekor v2: one request that writes, and files of tiles for everything else.
 *
 *     POST URL/api/v2/log/entries     201  the entry with its proof, once a checkpoint covers it
 *                                     409  it is there: `x-log-index` says where, and no more
 *     GET  READ/checkpoint            READ is URL/api/v2 unless it is said otherwise
 *     GET  READ/tile/L/N[.p/W]        READ/tile/entries/N[.p/W] for what was logged
 *
 * After a 409 the entry is put together from the files: the leaf is known, since it is what was sent, and
 * its proof follows from the tiles. What a tile says is only believed once it leads to a signed root.
 */
import { decodeBundle } from '../core/bundle.ts';
import { equalBytes, parseUtf8, toHex, utf8 } from '../core/bytes.ts';
import { parseDecimal } from '../core/decimal.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { TILE_WIDTH } from '../core/limits.ts';
import { leafHash } from '../core/merkle.ts';
import { parseNote } from '../core/note.ts';
import { planConsistency, planInclusion, planRoot, prove } from '../core/proof.ts';
import type { SignatureCheck } from '../core/signature.ts';
import {
  ENTRY_KIND,
  ENTRY_VERSIONS,
  hashedRekord,
  readHashedRekordRequest,
} from '../core/sigstore/hashedrekord.ts';
import { openRekorCheckpoint, type RekorCheckpoint } from '../core/sigstore/rekor-checkpoint.ts';
import type { TlogEntry } from '../core/sigstore/tlog-entry.ts';
import type { TrustedRoot, UsableLog } from '../core/sigstore/trusted-root.ts';
import { formatTilePath } from '../core/tile.ts';
import { type LeafIndex, leafIndex, type TreeSize } from '../core/units.ts';
import type { Outbound } from '../outbound.ts';
import { type RekorApi, type RekorOptions, RekorTarget } from './rekor.ts';
import type { Got } from './rekor-answer.ts';
import { askRekor, notRead, refusal } from './rekor-http.ts';
import { REKOR_BUNDLE_BYTES_MAX, type Searched, searchRekor } from './rekor-search.ts';
import type { Continuation } from './rekor-seen.ts';
import { RekorTiles } from './rekor-tiles.ts';
import { type Target, TargetError } from './target.ts';

export interface RekorV2Options extends RekorOptions {
  /** Base URL of checkpoint and tiles, where it is not the usual one. */
  readonly readUrl?: string | undefined;
}

export function rekorV2(options: RekorV2Options): Target {
  return new RekorTarget(new RekorV2(options), options);
}

class RekorV2 implements RekorApi {
  readonly version = 2;
  readonly #entries: string;
  readonly #read: string;
  readonly #outbound: Outbound;
  readonly #trust: TrustedRoot;
  readonly #check: SignatureCheck | undefined;

  constructor({ url, readUrl, outbound, trust, check }: RekorV2Options) {
    const base = `${url.replace(/\/+$/, '')}/api/v2`;
    this.#entries = `${base}/log/entries`;
    this.#read = (readUrl ?? base).replace(/\/+$/, '');
    this.#outbound = outbound;
    this.#trust = trust;
    this.#check = check;
  }

  async submit(request: Uint8Array, signal: AbortSignal): Promise<Got> {
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const post = { method: 'POST', body: request, headers } as const;
    const answered = await askRekor(this.#outbound, this.#entries, post, signal);
    if (answered.status === 201) return { isNew: true, found: { raw: answered.bytes } };
    if (answered.status !== 409) throw refusal(this.#entries, answered);
    const entry = await later(() => this.#rebuild(request, answered.header('x-log-index'), signal));
    return { isNew: false, found: { entry } };
  }

  async continuation(
    from: RekorCheckpoint,
    to: RekorCheckpoint,
    signal: AbortSignal,
  ): Promise<Continuation> {
    const [begin, end] = [from.size as TreeSize, to.size as TreeSize];
    const tiles = this.#tiles(end, signal);
    const consistency = planConsistency(begin, end);
    const root = planRoot(begin);
    const hashes = await later(() => tiles.hashes([...consistency.nodes, ...root.nodes]));
    const own = hashes.slice(consistency.nodes.length);
    const [fromRoot] = prove(root, own);
    return {
      proof: prove(consistency, hashes.slice(0, consistency.nodes.length)),
      ...(fromRoot === undefined ? {} : { fromRoot }),
    };
  }

  /** Heads by these keys that it took up since `mark`, or since now where there is none. */
  async search(
    keys: readonly PublicKey[],
    mark: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<Searched> {
    return later(async () => {
      const { log, head } = this.#open(await this.#checkpoint(signal));
      const { size } = head;
      const bundle = (index: number, width: number) => this.#bundle(index, width, signal);
      return searchRekor({ log, size, keys, mark, begin: size, bundle });
    });
  }

  async #bundle(index: number, width: number, signal: AbortSignal): Promise<Uint8Array[]> {
    for (const asked of width === TILE_WIDTH ? [width] : [width, TILE_WIDTH]) {
      const path = formatTilePath({ kind: 'entries', level: 0, index, width: asked });
      const url = `${this.#read}/${path}`;
      const maxBytes = REKOR_BUNDLE_BYTES_MAX;
      const answered = await askRekor(this.#outbound, url, { maxBytes }, signal);
      if (answered.status === 404 && asked !== TILE_WIDTH) continue;
      if (answered.status !== 200) throw notRead(url, answered);
      const entries = decodeBundle(answered.bytes);
      if (entries.length < width) {
        throw malformed(path, `${entries.length} entries where ${width} are needed`);
      }
      return entries;
    }
    throw soon(`file ${index} of the entries of ${this.#read} is neither partial nor full`);
  }

  /** The entry that is said to be at an index, from the newest checkpoint and the tiles. */
  async #rebuild(
    request: Uint8Array,
    header: string | null,
    signal: AbortSignal,
  ): Promise<TlogEntry> {
    const index = leafIndex(parseDecimal(header ?? '', 'x-log-index'));
    const body = hashedRekord(2, readHashedRekordRequest(2, request));
    const envelope = await this.#checkpoint(signal);
    const { log, head } = this.#open(envelope);
    const size = head.size as TreeSize;
    if (index >= size)
      throw soon(`entry ${index} is not yet in ${head.origin}, which shows ${size}`);
    const proof = await this.#inclusion(index, size, body, signal);
    return {
      index,
      keyId: log.keyId,
      kind: ENTRY_KIND,
      version: ENTRY_VERSIONS[2],
      integratedTime: 0,
      proof: { index, hashes: proof, checkpoint: envelope, treeSize: size, rootHash: head.root },
      body,
    };
  }

  async #inclusion(index: LeafIndex, size: TreeSize, body: Uint8Array, signal: AbortSignal) {
    const plan = planInclusion(index, size);
    const nodes = [{ level: 0, index }, ...plan.nodes];
    const [leaf, ...hashes] = await this.#tiles(size, signal).hashes(nodes);
    const wanted = leafHash(body);
    if (leaf === undefined || !equalBytes(leaf, wanted)) {
      throw soon(`entry ${index} of ${this.#read} is not the one that was sent, ${toHex(wanted)}`);
    }
    return prove(plan, hashes);
  }

  async #checkpoint(signal: AbortSignal): Promise<string> {
    const url = `${this.#read}/checkpoint`;
    const answered = await askRekor(this.#outbound, url, {}, signal);
    if (answered.status !== 200) throw notRead(url, answered);
    return parseUtf8(answered.bytes, 'checkpoint of rekor');
  }

  /** The checkpoint, by the pinned log that one of its lines may be of. */
  #open(envelope: string): { readonly log: UsableLog; readonly head: RekorCheckpoint } {
    const { signatures } = parseNote(utf8(envelope));
    const ids = new Set(signatures.map((line) => line.keyId));
    const log = this.#trust.logs
      .filter((one) => one.usable)
      .find((one) => ids.has(toHex(one.keyId.subarray(0, 4))));
    if (log === undefined) {
      throw soon(
        `the checkpoint of ${this.#read} is by no log of the trusted root: ${shown(envelope)}`,
      );
    }
    return { log, head: openRekorCheckpoint(envelope, 2, log, this.#check) };
  }

  #tiles(size: TreeSize, signal: AbortSignal): RekorTiles {
    return new RekorTiles(this.#outbound, this.#read, size, signal);
  }
}

/** What a stranger's files break is worth another try: they are copies, and copies are late or cut. */
async function later<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw new TargetError('retry', cause.message, { cause });
  }
}

/** Seconds in which a log has its next checkpoint, by its defaults. */
const NEXT_CHECKPOINT_S = 10;

function soon(message: string): TargetError {
  return new TargetError('retry', message, { afterS: NEXT_CHECKPOINT_S });
}
