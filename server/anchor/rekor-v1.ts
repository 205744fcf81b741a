/**
 * Rekor v1: entries are promised at once, and proofs are asked for.
 *
 *     POST /api/v1/log/entries              201  the entry under its ID
 *                                           409  it is there: `location` has its ID
 *     GET  /api/v1/log/entries/{ID}         the same entry, with a proof of now
 *     GET  /api/v1/log/proof?firstSize=&lastSize=&treeID=
 *
 * Of a `location` nothing is used but the ID, and only if it ends in the hash of the leaf that was sent.
 */
import { parseHex, toHex } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import { PROOF_HASHES_MAX } from '../core/limits.ts';
import { leafHash } from '../core/merkle.ts';
import { list, object, pattern, read } from '../core/schema.ts';
import { hashedRekord, readHashedRekordRequest } from '../core/sigstore/hashedrekord.ts';
import { known } from '../core/sigstore/json.ts';
import { type RekorCheckpoint, treeIdOf } from '../core/sigstore/rekor-checkpoint.ts';
import { hash } from '../core/units.ts';
import type { Outbound } from '../outbound.ts';
import { type RekorApi, type RekorOptions, RekorTarget } from './rekor.ts';
import type { Got } from './rekor-answer.ts';
import { askRekor, notRead, refusal } from './rekor-http.ts';
import type { Continuation } from './rekor-seen.ts';
import { type Target, TargetError } from './target.ts';

export function rekorV1(options: RekorOptions): Target {
  return new RekorTarget(new RekorV1(options.url, options.outbound), options);
}

const PROOF = object(
  { hashes: list(pattern(/^[0-9a-f]{64}$/, 'a hash in hex', 64), PROOF_HASHES_MAX) },
  {},
);

class RekorV1 implements RekorApi {
  readonly version = 1;
  readonly #log: string;
  readonly #outbound: Outbound;

  constructor(url: string, outbound: Outbound) {
    this.#log = `${url.replace(/\/+$/, '')}/api/v1/log`;
    this.#outbound = outbound;
  }

  async submit(request: Uint8Array, signal: AbortSignal): Promise<Got> {
    const url = `${this.#log}/entries`;
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const post = { method: 'POST', body: request, headers } as const;
    const answered = await askRekor(this.#outbound, url, post, signal);
    if (answered.status === 201) return { isNew: true, found: { raw: answered.bytes } };
    if (answered.status !== 409) throw refusal(url, answered);
    const id = idOf(request, answered.header('location'));
    return { isNew: false, found: { raw: await this.#get(`/entries/${id}`, signal) } };
  }

  async continuation(
    from: RekorCheckpoint,
    to: RekorCheckpoint,
    signal: AbortSignal,
  ): Promise<Continuation> {
    const query = `firstSize=${from.size}&lastSize=${to.size}&treeID=${treeIdOf(to)}`;
    const bytes = await this.#get(`/proof?${query}`, signal);
    try {
      const what = 'consistency proof of rekor v1';
      const { hashes } = read(PROOF, known(parseJson(bytes, what), { hashes: true }), what);
      return { proof: hashes.map((item) => hash(parseHex(item, what))) };
    } catch (cause) {
      if (!(cause instanceof SteleError)) throw cause;
      throw new TargetError('retry', cause.message, { cause });
    }
  }

  async #get(path: string, signal: AbortSignal): Promise<Uint8Array> {
    const url = `${this.#log}${path}`;
    const headers = { accept: 'application/json' };
    const answered = await askRekor(this.#outbound, url, { headers }, signal);
    if (answered.status === 200) return answered.bytes;
    throw notRead(url, answered);
  }
}

/** The ID of the entry that a request asks for: with its tree's where the answer has it, else of the leaf alone. */
function idOf(request: Uint8Array, location: string | null): string {
  const leaf = toHex(leafHash(hashedRekord(1, readHashedRekordRequest(1, request))));
  const [, id] = /\/([0-9a-f]{80})$/.exec(location ?? '') ?? [];
  return id?.endsWith(leaf) ? id : leaf;
}
