/**
 * A client of RFC 6962, from the RFC and nothing else: its messages [§4], its signature [§3.5], its hashes and
 * proofs as `test/reference/rfc6962.ts` has them. It shares no code with the server.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { type Bytes, holdsConsistency, holdsInclusion, leaf } from '../reference/rfc6962.ts';

export interface TreeHead {
  readonly tree_size: number;
  readonly timestamp: number;
  readonly root: Bytes;
}

export interface CtAnswer {
  readonly status: number;
  readonly text: string;
}

type Json = Record<string, unknown>;

export class CtClient {
  readonly #get: (path: string) => Promise<CtAnswer>;
  readonly #spki: Bytes;

  /** `get` asks below the log's base URL. */
  constructor(get: (path: string) => Promise<CtAnswer>, spki: Bytes) {
    this.#get = get;
    this.#spki = spki;
  }

  get logId(): string {
    return createHash('sha256').update(this.#spki).digest('base64');
  }

  async getSth(): Promise<TreeHead> {
    const sth = await this.#ask('get-sth', {});
    members(sth, ['tree_size', 'timestamp', 'sha256_root_hash', 'tree_head_signature']);
    const head = {
      tree_size: count(sth.tree_size),
      timestamp: count(sth.timestamp),
      root: bytes(sth.sha256_root_hash, 32),
    };
    this.#checkSignature(head, bytes(sth.tree_head_signature));
    return head;
  }

  async checkConsistency(first: TreeHead, second: TreeHead): Promise<void> {
    const answer = await this.#ask('get-sth-consistency', {
      first: String(first.tree_size),
      second: String(second.tree_size),
    });
    members(answer, ['consistency']);
    const path = hashes(answer.consistency);
    const sizes = [BigInt(first.tree_size), BigInt(second.tree_size)] as const;
    if (!holdsConsistency(...sizes, first.root, second.root, path)) {
      throw new Error(`no consistency from ${first.tree_size} to ${second.tree_size}`);
    }
  }

  /** Where the leaf is that has this input; its proof holds under `head`. */
  async findLeaf(input: Bytes, head: TreeHead): Promise<number> {
    const answer = await this.#ask('get-proof-by-hash', {
      hash: Buffer.from(leaf(input)).toString('base64'),
      tree_size: String(head.tree_size),
    });
    members(answer, ['leaf_index', 'audit_path']);
    const index = count(answer.leaf_index);
    checkInclusion(index, input, hashes(answer.audit_path), head);
    return index;
  }

  /** As many as the log gives of [start, end], both included. */
  async getEntries(start: number, end: number): Promise<Bytes[]> {
    const answer = await this.#ask('get-entries', { start: String(start), end: String(end) });
    members(answer, ['entries']);
    const entries = (answer.entries as Json[]).map((entry) => {
      members(entry, ['leaf_input', 'extra_data']);
      if (entry.extra_data !== '') throw new Error('extra data of what is no certificate');
      return bytes(entry.leaf_input);
    });
    if (entries.length === 0) throw new Error('an answer without an entry');
    return entries;
  }

  async getEntryAndProof(index: number, head: TreeHead): Promise<Bytes> {
    const answer = await this.#ask('get-entry-and-proof', {
      leaf_index: String(index),
      tree_size: String(head.tree_size),
    });
    members(answer, ['leaf_input', 'extra_data', 'audit_path']);
    const input = bytes(answer.leaf_input);
    checkInclusion(index, input, hashes(answer.audit_path), head);
    return input;
  }

  async #ask(what: string, parameters: Record<string, string>): Promise<Json> {
    // As HTML forms are encoded: "+" becomes %2B, "/" %2F and "=" %3D.
    const query = new URLSearchParams(parameters).toString();
    const path = `/ct/v1/${what}${query === '' ? '' : `?${query}`}`;
    const { status, text } = await this.#get(path);
    const json = JSON.parse(text) as Json;
    if (status === 200) return json;
    throw new Error(`${what}: ${status} ${String(json.error_message)}`);
  }

  /** digitally-signed struct TreeHeadSignature [§3.5], DigitallySigned [RFC 5246 §4.7]. */
  #checkSignature({ tree_size, timestamp, root }: TreeHead, signed: Bytes): void {
    const message = Buffer.alloc(1 + 1 + 8 + 8 + 32);
    message.writeUInt8(0, 0); // v1
    message.writeUInt8(1, 1); // tree_hash
    message.writeBigUInt64BE(BigInt(timestamp), 2);
    message.writeBigUInt64BE(BigInt(tree_size), 10);
    message.set(root, 18);
    const view = Buffer.from(signed);
    if (view.readUInt8(0) !== 4 || view.readUInt8(1) !== 3) throw new Error('not SHA-256, ECDSA');
    if (view.readUInt16BE(2) !== view.length - 4) throw new Error('not the length of the rest');
    const key = createPublicKey({ key: Buffer.from(this.#spki), format: 'der', type: 'spki' });
    if (!verify('sha256', message, key, view.subarray(4))) throw new Error('not signed by the log');
  }
}

function checkInclusion(index: number, input: Bytes, path: readonly Bytes[], head: TreeHead): void {
  if (!holdsInclusion(BigInt(index), BigInt(head.tree_size), leaf(input), path, head.root)) {
    throw new Error(`leaf ${index} is not under the head of ${head.tree_size}`);
  }
}

function members(value: Json, names: readonly string[]): void {
  const found = Object.keys(value).join();
  if (found !== names.join()) throw new Error(`members ${found} where there are ${names.join()}`);
}

function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new Error(`count ${value}`);
  return value as number;
}

function bytes(value: unknown, length?: number): Bytes {
  const decoded = Buffer.from(String(value), 'base64');
  if (typeof value !== 'string' || decoded.toString('base64') !== value) {
    throw new Error(`base64 ${String(value)}`);
  }
  if (length !== undefined && decoded.length !== length) throw new Error(`${decoded.length} bytes`);
  return new Uint8Array(decoded);
}

function hashes(value: unknown): Bytes[] {
  if (!Array.isArray(value)) throw new Error(`no list: ${String(value)}`);
  return value.map((one) => bytes(one, 32));
}
