/**
 * What do a log and the signer that holds its keys say to each other?
 *
 * Lines of JSON, each in its one spelling (JCS) and at most 128 KiB, over a stream that both ends trust to
 * be private. The signer speaks first and says its version; after that each request has a number that its
 * answer repeats, so any number may be under way and end in any order.
 *
 *     signer   {"stele_signer":1}
 *     log      {"id":1,"op":"keys","origin":"log.example/logs/a"}
 *     signer   {"id":1,"keys":[{"alg":"ed25519","purpose":"identity","spki":"MCowBQ…"}, …]}
 *                                                 "create" asks the same and has them made, where it may
 *     log      {"id":2,"op":"newest","origin":"…"}
 *     signer   {"id":2,"newest":{"root":"…","size":7}}                       null where none is known
 *     log      {"from":7,"id":3,"op":"extend","origin":"…","proof":["…"],"root":"…","size":9}
 *     signer   {"id":3,"taken":true}       or {"id":3,"prove_from":8}, and nothing was taken
 *     log      {"id":4,"keyid":"…","message":"…","op":"sign","origin":"…","purpose":"identity"}
 *     signer   {"id":4,"signature":"…"}
 *     signer   {"error":{"code":"split_view","message":"…"},"id":3}          in place of any answer
 *
 * The message of `sign` is what a key of that purpose signs, whole: the signer reads it and signs nothing
 * that it does not understand (`statement.ts`). Nothing here reads a socket or judges what is asked.
 */
import { concat, parseBase64, toBase64, utf8 } from '../../core/bytes.ts';
import { canonicalize, parseCanonical } from '../../core/canonical.ts';
import { CODES, type Code, malformed, SteleError } from '../../core/errors.ts';
import type { Json } from '../../core/json.ts';
import { ALGORITHMS, type PublicKey, parsePublicKey } from '../../core/keys.ts';
import { ENTRY_BYTES_MAX, PROOF_HASHES_MAX } from '../../core/limits.ts';
import { keyid, origin } from '../../core/record/fields.ts';
import {
  base64,
  constant,
  int,
  list,
  nullable,
  object,
  oneOf,
  read,
  type Shape,
  test,
  text,
} from '../../core/schema.ts';
import { HASH_BYTES, type Hash, hash, type TreeSize, treeSize } from '../../core/units.ts';
import type { HeadRoot } from '../log-keys.ts';

export const SIGNER_VERSION = 1;

/** Bytes of a line without its line feed. The longest has a control record in base64: about 90 KiB. */
export const LINE_BYTES_MAX = 131_072;

/** Characters of an error's message that are passed on. */
const MESSAGE_MAX = 2_000;

/** Keys of one origin: each purpose with its successors. */
export const KEYS_MAX = 16;

/** What a key signs, and nothing else: the heads of a log, its published heads, tree heads, control records. */
export const PURPOSES = ['identity', 'anchor', 'sth', 'operator'] as const;
export type Purpose = (typeof PURPOSES)[number];

export type Question =
  | { readonly op: 'keys'; readonly origin: string }
  | { readonly op: 'create'; readonly origin: string }
  | { readonly op: 'newest'; readonly origin: string }
  | {
      readonly op: 'extend';
      readonly origin: string;
      readonly head: HeadRoot;
      readonly from: TreeSize;
      readonly proof: readonly Hash[];
    }
  | {
      readonly op: 'sign';
      readonly origin: string;
      readonly purpose: Purpose;
      readonly keyid: string;
      readonly message: Uint8Array;
    };

export interface PurposeKey {
  readonly purpose: Purpose;
  readonly publicKey: PublicKey;
}

export type Answer =
  | { readonly kind: 'keys'; readonly keys: readonly PurposeKey[] }
  | { readonly kind: 'newest'; readonly newest: HeadRoot | undefined }
  | { readonly kind: 'taken' }
  | { readonly kind: 'prove_from'; readonly from: TreeSize }
  | { readonly kind: 'signature'; readonly signature: Uint8Array }
  | { readonly kind: 'error'; readonly code: Code; readonly message: string };

export interface Numbered<T> {
  readonly id: number;
  readonly content: T;
}

const id = int(1);
const root = base64(HASH_BYTES, true);

const HELLO = object({ stele_signer: int(1) }, {});

const QUESTIONS = {
  keys: object({ id, op: constant('keys'), origin }, {}),
  create: object({ id, op: constant('create'), origin }, {}),
  newest: object({ id, op: constant('newest'), origin }, {}),
  extend: object(
    {
      id,
      op: constant('extend'),
      origin,
      size: int(1),
      root,
      from: int(),
      proof: list(root, PROOF_HASHES_MAX),
    },
    {},
  ),
  sign: object(
    {
      id,
      op: constant('sign'),
      origin,
      purpose: oneOf(PURPOSES),
      keyid,
      message: base64(ENTRY_BYTES_MAX),
    },
    {},
  ),
} satisfies { readonly [op in Question['op']]: Shape<unknown> };

const OP = object({ op: oneOf(['keys', 'create', 'newest', 'extend', 'sign']) }, {});

const ANSWERS = {
  keys: object(
    {
      id,
      keys: list(
        object({ purpose: oneOf(PURPOSES), alg: oneOf(ALGORITHMS), spki: base64(1_024) }, {}),
        KEYS_MAX,
      ),
    },
    {},
  ),
  newest: object({ id, newest: nullable(object({ size: int(1), root }, {})) }, {}),
  taken: object({ id, taken: test((v): v is true => v === true, 'true') }, {}),
  prove_from: object({ id, prove_from: int(1) }, {}),
  signature: object({ id, signature: base64(1_024) }, {}),
  error: object({ id, error: object({ code: oneOf(CODES), message: text(MESSAGE_MAX) }, {}) }, {}),
} satisfies { readonly [kind in Answer['kind']]: Shape<unknown> };

const QUESTION = 'signer request';
const ANSWER = 'signer answer';

export function formatHello(): Uint8Array {
  return line({ stele_signer: SIGNER_VERSION });
}

/** The version that the signer speaks; throws `malformed` if this is no hello. */
export function parseHello(bytes: Uint8Array): number {
  return read(HELLO, parseCanonical(bytes, 'signer hello'), 'signer hello').stele_signer;
}

export function formatQuestion({ id: number, content }: Numbered<Question>): Uint8Array {
  const { op, origin: name } = content;
  const common = { id: number, op, origin: name };
  switch (content.op) {
    case 'keys':
    case 'create':
    case 'newest':
      return line(common);
    case 'extend': {
      const { head, from, proof } = content;
      return line({ ...common, ...headJson(head), from, proof: proof.map(toBase64) });
    }
    case 'sign': {
      const { purpose, keyid: key, message } = content;
      return line({ ...common, purpose, keyid: key, message: toBase64(message) });
    }
  }
}

/** Reads one line of the log's; throws `malformed`. */
export function parseQuestion(bytes: Uint8Array): Numbered<Question> {
  const json = parseCanonical(bytes, QUESTION, { integersOnly: true });
  switch (opOf(json)) {
    case 'keys': {
      const { id: number, origin: name } = read(QUESTIONS.keys, json, QUESTION);
      return { id: number, content: { op: 'keys', origin: name } };
    }
    case 'create': {
      const { id: number, origin: name } = read(QUESTIONS.create, json, QUESTION);
      return { id: number, content: { op: 'create', origin: name } };
    }
    case 'newest': {
      const { id: number, origin: name } = read(QUESTIONS.newest, json, QUESTION);
      return { id: number, content: { op: 'newest', origin: name } };
    }
    case 'extend': {
      const asked = read(QUESTIONS.extend, json, QUESTION);
      const proof = asked.proof.map(hashOf);
      const from = treeSize(asked.from);
      const content = {
        op: 'extend',
        origin: asked.origin,
        head: headOf(asked),
        from,
        proof,
      } as const;
      return { id: asked.id, content };
    }
    case 'sign': {
      const { id: number, message, ...content } = read(QUESTIONS.sign, json, QUESTION);
      return { id: number, content: { ...content, message: parseBase64(message, QUESTION) } };
    }
  }
}

export function formatAnswer({ id: number, content }: Numbered<Answer>): Uint8Array {
  switch (content.kind) {
    case 'keys': {
      const keys = content.keys.map(({ purpose, publicKey: { alg, spki } }) => ({
        purpose,
        alg,
        spki: toBase64(spki),
      }));
      return line({ id: number, keys });
    }
    case 'newest': {
      const { newest } = content;
      return line({ id: number, newest: newest === undefined ? null : headJson(newest) });
    }
    case 'taken':
      return line({ id: number, taken: true });
    case 'prove_from':
      return line({ id: number, prove_from: content.from });
    case 'signature':
      return line({ id: number, signature: toBase64(content.signature) });
    case 'error': {
      const { code } = content;
      const message = content.message.toWellFormed().slice(0, MESSAGE_MAX).toWellFormed();
      return line({ id: number, error: { code, message: message === '' ? code : message } });
    }
  }
}

/** Reads one line of the signer's after its hello; throws `malformed`. */
export function parseAnswer(bytes: Uint8Array): Numbered<Answer> {
  const json = parseCanonical(bytes, ANSWER, { integersOnly: true });
  const known = Object.keys(ANSWERS) as (keyof typeof ANSWERS)[];
  const kind = known.find((name) => typeof json === 'object' && json !== null && name in json);
  switch (kind) {
    case 'keys': {
      const { id: number, keys } = read(ANSWERS.keys, json, ANSWER);
      const content = keys.map(({ purpose, alg, spki }) => ({
        purpose,
        publicKey: parsePublicKey(alg, parseBase64(spki, ANSWER)),
      }));
      return { id: number, content: { kind, keys: content } };
    }
    case 'newest': {
      const { id: number, newest } = read(ANSWERS.newest, json, ANSWER);
      const head = newest === null ? undefined : headOf(newest);
      return { id: number, content: { kind, newest: head } };
    }
    case 'taken':
      return { id: read(ANSWERS.taken, json, ANSWER).id, content: { kind } };
    case 'prove_from': {
      const { id: number, prove_from } = read(ANSWERS.prove_from, json, ANSWER);
      return { id: number, content: { kind, from: treeSize(prove_from) } };
    }
    case 'signature': {
      const { id: number, signature } = read(ANSWERS.signature, json, ANSWER);
      return { id: number, content: { kind, signature: parseBase64(signature, ANSWER) } };
    }
    case 'error': {
      const { id: number, error } = read(ANSWERS.error, json, ANSWER);
      return { id: number, content: { kind, ...error } };
    }
    case undefined:
      throw malformed(ANSWER, `it has none of ${known.join(', ')}`);
  }
}

/** Cuts a stream into lines, whatever the pieces that it comes in. */
export class Lines {
  #parts: Uint8Array[] = [];
  #bytes = 0;

  /** Whether a line has begun and not ended. */
  get isOpen(): boolean {
    return this.#bytes > 0;
  }

  /** The lines that `chunk` ends, without their line feeds; throws `too_large` where one is too long. */
  feed(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = [];
    for (let at = 0; at < chunk.length; ) {
      const found = chunk.indexOf(0x0a, at);
      const end = found < 0 ? chunk.length : found;
      this.#bytes += end - at;
      if (this.#bytes > LINE_BYTES_MAX) {
        throw new SteleError('too_large', `a line is over ${LINE_BYTES_MAX} bytes`);
      }
      if (end > at) this.#parts.push(chunk.slice(at, end));
      if (found < 0) break;
      lines.push(concat(...this.#parts));
      this.#parts = [];
      this.#bytes = 0;
      at = found + 1;
    }
    return lines;
  }
}

function opOf(json: Json): Question['op'] {
  const known =
    typeof json === 'object' && json !== null && 'op' in json ? { op: json.op as Json } : {};
  return read(OP, known, QUESTION).op;
}

function headJson({ size, root: bytes }: HeadRoot): { readonly [name: string]: Json } {
  return { size, root: toBase64(bytes) };
}

function headOf(json: { readonly size: number; readonly root: string }): HeadRoot {
  return { size: treeSize(json.size), root: hashOf(json.root) };
}

function hashOf(base64Text: string): Hash {
  return hash(parseBase64(base64Text, 'hash'));
}

function line(json: Json): Uint8Array {
  return utf8(`${canonicalize(json)}\n`);
}
