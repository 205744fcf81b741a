/**
 * One log, over HTTP: submitting to it and reading it [docs/formats-http.md].
 *
 * The server is not believed where belief can be avoided: a receipt must be about the entry that was
 * sent, and its proof must lead to its checkpoint. Whose checkpoint that is, is for a trust file and
 * `verify` to say.
 */
import { randomBytes } from 'node:crypto';
import { equalBytes, parseBase64, parseUtf8, toHex, utf8 } from '../core/bytes.ts';
import { parseCheckpoint } from '../core/checkpoint.ts';
import { decodeEntry, gatewayKeyid, statementDigest } from '../core/entry.ts';
import { malformed, unverified } from '../core/errors.ts';
import type { FeedLine } from '../core/feed.ts';
import { type Json, parseJson } from '../core/json.ts';
import {
  DISCLOSURE_BYTES_MAX,
  ENTRY_BYTES_MAX,
  NOTE_BYTES_MAX,
  PROOF_HASHES_MAX,
  RECEIPT_BYTES_MAX,
} from '../core/limits.ts';
import { leafHash } from '../core/merkle.ts';
import { parseNote } from '../core/note.ts';
import { checkInclusion } from '../core/proof.ts';
import { parseReceipt } from '../core/receipt.ts';
import { formatTilePath, type TilePath } from '../core/tile.ts';
import {
  type Hash,
  hash,
  type LeafIndex,
  leafIndex,
  type TreeSize,
  treeSize,
} from '../core/units.ts';
import { type Outcome, submitMany } from './batches.ts';
import { feedLines, untilSilent } from './feed.ts';
import { type Content, encodeMultipart } from './multipart.ts';
import { believed } from './problem.ts';
import type { RetryOptions } from './retrying.ts';
import { type Question, Transport, type TransportOptions } from './transport.ts';

/** What a log's head says of itself. */
export interface ServedHead {
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
  readonly time: string | undefined;
  readonly checkpoint: string | undefined;
  /** The log has ended with this head, and goes on as the log of origin `next`, if it goes on. */
  readonly final: boolean;
  readonly next: string | undefined;
  /** How far each target outside has got with the log; of the newest head alone. */
  readonly anchoring: readonly JsonObject[];
  /** The same of each witness. */
  readonly witnessing: readonly JsonObject[];
}

export interface ServedSource {
  readonly id: string;
  readonly keyid: string;
  readonly next: number;
  readonly holes: readonly { readonly begin: number; readonly end: number }[];
  readonly forks: number;
}

export interface ReceiptOptions {
  /** Seconds to wait for the entry to be logged, at most 20. */
  readonly wait?: number | undefined;
  readonly source?: string | undefined;
  /** What the receipt has to carry; a quorum of witnesses is waited for as well. */
  readonly require?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FeedOptions {
  readonly follow?: boolean | undefined;
  /** Lines after which it ends. */
  readonly limit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds for a submission with content: the server gives up on a silent sender long before. */
const CONTENT_TIMEOUT_MS = 3_600_000;
/** Milliseconds without an end to them, as far as timers go: 24 days. A feed that breaks is asked for again. */
const FEED_TIMEOUT_MS = 2_147_483_647;
/** Bytes of what a log says of the next one: two receipts of the operator's own entries, in base64. */
const NEXT_BYTES_MAX = 2_097_152;
/** Bytes of a JSON answer with base64 entries in it: a page is cut at 4 MiB by the server. */
const JSON_BYTES_MAX = 8_388_608;

export class LogClient {
  readonly #http: Transport;

  /** `base` is the log's address, such as http://127.0.0.1:8080/logs/default. */
  constructor(options: TransportOptions) {
    this.#http = new Transport(options);
  }

  get base(): string {
    return this.#http.base;
  }

  /** Sends an entry, with its content where there is some. It is on disk when this resolves (P1). */
  async submit(
    entry: Uint8Array,
    content?: Content,
    signal?: AbortSignal,
  ): Promise<{ receipt: Uint8Array; repeat: boolean }> {
    const plain = content === undefined || content.disclosures.length + content.bodies.length === 0;
    const { status, bytes } = await this.#http.ask('/v1/entries', {
      method: 'POST',
      maxBytes: RECEIPT_BYTES_MAX,
      signal,
      ...(plain ? ofEntry(entry) : ofContent(entry, content)),
    });
    believed(() => checkReceiptOf(bytes, entry));
    return { receipt: bytes, repeat: status === 200 };
  }

  /**
   * Sends entries in as few requests as their number and bytes allow. Each has its result, in order: what
   * proves its place, checked, or the error that keeps it out. What may pass is sent again, alone, as often
   * as `retry` says; one whose request had no answer, or one that is not to be believed, may have been
   * logged all the same. Never rejects for what a server does.
   */
  submitBatch(entries: readonly Uint8Array[], retry: RetryOptions = {}): Promise<Outcome[]> {
    const submit = (entry: Uint8Array, signal: AbortSignal | undefined) =>
      this.submit(entry, undefined, signal);
    return submitMany({ http: this.#http, submit }, entries, retry);
  }

  async checkpoint(): Promise<Uint8Array> {
    return (await this.#http.ask('/checkpoint', { maxBytes: NOTE_BYTES_MAX })).bytes;
  }

  /** The checkpoint, unless it is still the one with this tag. */
  async checkpointSince(tag?: string): Promise<{ bytes?: Uint8Array; tag: string | undefined }> {
    const headers = tag === undefined ? {} : { 'if-none-match': tag };
    const { status, bytes, header } = await this.#http.ask('/checkpoint', {
      maxBytes: NOTE_BYTES_MAX,
      headers,
    });
    return status === 304 ? { tag } : { bytes, tag: header('etag') ?? undefined };
  }

  /** The newest head, or the one of a given size. */
  async head(size?: TreeSize): Promise<ServedHead> {
    return this.#head(size === undefined ? '/v1/tree-head' : `/v1/tree-head/${size}`);
  }

  /** The newest head as soon as it has more than `beyond` entries, or as it is after 20 seconds. */
  async headBeyond(beyond: TreeSize, signal?: AbortSignal): Promise<ServedHead> {
    return this.#head(`/v1/tree-head${query({ wait: '20', beyond: String(beyond) })}`, signal);
  }

  async #head(path: string, signal?: AbortSignal): Promise<ServedHead> {
    const head = await this.#json(path, signal);
    return {
      origin: text(head, 'origin'),
      size: treeSize(count(head, 'size')),
      root: hash(parseBase64(text(head, 'root'), 'root'), 'root'),
      time: typeof head.time === 'string' ? head.time : undefined,
      checkpoint: typeof head.checkpoint === 'string' ? head.checkpoint : undefined,
      final: head.final === true,
      next: typeof head.next === 'string' ? head.next : undefined,
      anchoring: head.anchoring === undefined ? [] : list(head.anchoring, 'anchoring'),
      witnessing: head.witnessing === undefined ? [] : list(head.witnessing, 'witnessing'),
    };
  }

  /** Where the log goes on that has ended, as JSON: `series.ts` says what it is worth. */
  async next(): Promise<Uint8Array> {
    return (await this.#http.ask('/v1/next', { maxBytes: NEXT_BYTES_MAX })).bytes;
  }

  async tile(path: TilePath): Promise<Uint8Array> {
    // A bundle has at most 256 entries of 65,535 bytes.
    const maxBytes = path.kind === 'hashes' ? 8_192 : 256 * (ENTRY_BYTES_MAX + 2);
    return (await this.#http.ask(`/${formatTilePath(path)}`, { maxBytes })).bytes;
  }

  async entry(index: LeafIndex): Promise<Uint8Array> {
    return (await this.#http.ask(`/v1/entries/${index}`, { maxBytes: ENTRY_BYTES_MAX })).bytes;
  }

  /**
   * The log's entries from `from` on, each with its line; with `follow`, those that come as well. May end,
   * or break, before all is there: who follows asks again from where it was.
   */
  feed(from: number, options: FeedOptions = {}): AsyncGenerator<FeedLine> {
    const { follow, limit, signal } = options;
    const asked = query({
      from: String(from),
      limit: limit?.toString(),
      follow: follow === true ? '1' : undefined,
    });
    const open = (over: AbortSignal) =>
      this.#http.stream(`/v1/feed${asked}`, { timeoutMs: FEED_TIMEOUT_MS, signal: over });
    return feedLines(untilSilent(open, signal), from);
  }

  /** Where the entry with this leaf hash is. */
  async findLeaf(leaf: Hash): Promise<LeafIndex> {
    return leafIndex(count(await this.#json(`/v1/leaves/${toHex(leaf)}`), 'index'));
  }

  /** Where the record with this id is; `conflict` where several sources have one. */
  async findRecord(recordId: string, source?: string): Promise<LeafIndex> {
    const path = `/v1/records/${segment(recordId)}${query({ source })}`;
    return leafIndex(count(await this.#json(path), 'index'));
  }

  async sources(): Promise<readonly ServedSource[]> {
    const { sources } = await this.#json('/v1/sources');
    return list(sources, 'sources').map((source) => ({
      id: text(source, 'id'),
      keyid: text(source, 'keyid'),
      next: count(source, 'next'),
      forks: count(source, 'forks'),
      holes: list(source.holes, 'holes').map((hole) => ({
        begin: count(hole, 'begin'),
        end: count(hole, 'end'),
      })),
    }));
  }

  /** What targets outside were shown, the newest first. */
  async anchors(page: { readonly before?: TreeSize } = {}): Promise<readonly JsonObject[]> {
    const before = page.before === undefined ? undefined : String(page.before);
    return list((await this.#json(`/v1/anchors${query({ before })}`)).anchors, 'anchors');
  }

  /** What a target said of the head of this size: a Sigstore bundle, or an RFC 3161 response. */
  async anchor(target: string, size: TreeSize): Promise<Uint8Array> {
    const path = `/v1/anchors/${segment(target)}/${size}`;
    return (await this.#http.ask(path, { maxBytes: RECEIPT_BYTES_MAX })).bytes;
  }

  /** How far each witness is with the log, what each was asked, and what is held against the log. */
  async witnesses(page: { readonly before?: TreeSize } = {}): Promise<JsonObject> {
    const before = page.before === undefined ? undefined : String(page.before);
    return this.#json(`/v1/witnesses${query({ before })}`);
  }

  async inclusion(index: LeafIndex, size: TreeSize): Promise<Hash[]> {
    return proofOf(await this.#json(`/v1/proofs/inclusion/${index}/${size}`));
  }

  async consistency(from: TreeSize, to: TreeSize): Promise<Hash[]> {
    return proofOf(await this.#json(`/v1/proofs/consistency/${from}/${to}`));
  }

  /** The receipt of an index, a leaf hash in hex, or a record id, under the best head there is. */
  async receipt(id: string, options: ReceiptOptions = {}): Promise<Uint8Array> {
    const { wait, source, require, signal } = options;
    const path = `/v1/receipts/${segment(id)}${query({ source, wait: wait?.toString(), require: require?.join(',') })}`;
    const timeoutMs = 30_000 + (wait ?? 0) * 1000;
    const { bytes } = await this.#http.ask(path, {
      maxBytes: RECEIPT_BYTES_MAX,
      timeoutMs,
      signal,
    });
    return bytes;
  }

  /** The disclosure of one field. The read, with its reason, becomes part of the access log (P11). */
  async disclosure(recordId: string, field: string, read: ContentRead): Promise<string> {
    const path = contentPath(recordId, field, '', read);
    // base64url of the largest disclosure, and its line end.
    const maxBytes = Math.ceil(DISCLOSURE_BYTES_MAX * 1.4) + 64;
    const { bytes } = await this.#http.ask(path, { maxBytes, headers: reasonHeader(read) });
    return parseUtf8(bytes, `content ${field}`).trimEnd();
  }

  /** The bytes of one field's body, as they come. */
  async *body(recordId: string, field: string, read: ContentRead): AsyncGenerator<Uint8Array> {
    yield* this.#http.stream(contentPath(recordId, field, '/body', read), {
      headers: reasonHeader(read),
      timeoutMs: CONTENT_TIMEOUT_MS,
    });
  }

  async #json(path: string, signal?: AbortSignal): Promise<JsonObject> {
    const { bytes } = await this.#http.ask(path, { maxBytes: JSON_BYTES_MAX, signal });
    return object(parseJson(bytes, 'answer'), 'answer');
  }
}

export interface ContentRead {
  readonly reason: string;
  readonly source?: string | undefined;
}

/** Throws `unverified` unless `bytes` are a receipt whose proof leads from `entry` to its checkpoint. */
export function checkReceiptOf(bytes: Uint8Array, entry: Uint8Array): void {
  const receipt = parseReceipt(bytes);
  if (!equalBytes(receipt.entry, entry) && !isSameStatement(receipt.entry, entry)) {
    throw unverified('receipt', 'it is about another entry than the one that was sent');
  }
  const { size, root } = parseCheckpoint(parseNote(utf8(receipt.checkpoint)).text);
  checkInclusion({
    index: leafIndex(receipt.index),
    size,
    leafHash: leafHash(receipt.entry),
    proof: receipt.proof,
    root,
  });
}

/** A repeat gets the first entry's receipt: the same statement and key, perhaps another signature. */
function isSameStatement(a: Uint8Array, b: Uint8Array): boolean {
  const [first, second] = [decodeEntry(a), decodeEntry(b)];
  return (
    gatewayKeyid(first) === gatewayKeyid(second) &&
    equalBytes(statementDigest(first), statementDigest(second))
  );
}

function ofEntry(entry: Uint8Array): Question {
  return { body: entry, headers: { 'content-type': 'application/protobuf' } };
}

function ofContent(entry: Uint8Array, content: Content): Question {
  const boundary = `stele-${randomBytes(24).toString('hex')}`;
  return {
    body: encodeMultipart(boundary, entry, content),
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    timeoutMs: CONTENT_TIMEOUT_MS,
  };
}

function contentPath(
  recordId: string,
  field: string,
  end: string,
  { source }: ContentRead,
): string {
  return `/v1/content/${segment(recordId)}/${segment(field)}${end}${query({ source })}`;
}

/** A header carries Latin-1, so UTF-8 goes as its bytes. */
function reasonHeader({ reason }: ContentRead): Record<string, string> {
  return { 'x-stele-reason': Buffer.from(reason, 'utf8').toString('latin1') };
}

/** A part of a path as it is: addresses here have one spelling, and no escapes. */
export function segment(text: string): string {
  if (!/^[A-Za-z0-9._~-]{1,255}$/.test(text) || /^\.+$/.test(text)) {
    throw malformed('id', `${JSON.stringify(text.slice(0, 80))} cannot stand in an address`);
  }
  return text;
}

function query(values: Readonly<Record<string, string | undefined>>): string {
  const pairs = Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

export type JsonObject = { readonly [name: string]: Json };

export function object(value: Json | undefined, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(what, 'the server did not answer with a JSON object');
  }
  return value as JsonObject;
}

export function list(value: Json | undefined, what: string): JsonObject[] {
  if (!Array.isArray(value)) throw malformed(what, 'the server did not answer with a list');
  return value.map((item: Json) => object(item, what));
}

export function text(from: JsonObject, name: string): string {
  const value = from[name];
  if (typeof value !== 'string') throw malformed(name, 'the server left out this text');
  return value;
}

export function count(from: JsonObject, name: string): number {
  const value = from[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw malformed(name, 'the server left out this number');
  }
  return value;
}

function proofOf(answer: JsonObject): Hash[] {
  const { proof } = answer;
  if (!Array.isArray(proof) || proof.length > 2 * PROOF_HASHES_MAX) {
    throw malformed('proof', `not a list of at most ${2 * PROOF_HASHES_MAX} hashes`);
  }
  return proof.map((item: Json) => {
    if (typeof item !== 'string') throw malformed('proof', 'a hash is not text');
    return hash(parseBase64(item, 'proof'), 'proof');
  });
}
