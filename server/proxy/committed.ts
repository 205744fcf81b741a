/**
 * What does a record commit to, and what travels beside it?
 *
 * A small value has a disclosure. A body has one that names its length and hash, and its bytes come along.
 * A value too large for a disclosure becomes a body. What has no canonical form is left out: the raw
 * bodies are committed in any case.
 */
import { createHash } from 'node:crypto';
import { sha256, toBase64url, utf8 } from '../core/bytes.ts';
import { canonicalize } from '../core/canonical.ts';
import { makeDisclosure, SALT_BYTES } from '../core/disclosure.ts';
import { hasCode } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import type { BeginFacts, BodyFacts, EndFrame, JudgedFacts } from './facts.ts';
import type { HeaderFacts } from './headers.ts';
import type { RequestFacts, ResponseFacts } from './providers/provider.ts';
import type { BodyRef } from './record-frame.ts';
import type { SpooledCall } from './spooled.ts';

/** Gathers commitments, their disclosures, and what travels as a body. */
export class Committed {
  readonly fields: { [name: string]: string } = {};
  readonly disclosures: string[] = [];
  readonly bodies: BodyRef[] = [];
  readonly content: { field: string; bytes: Uint8Array }[] = [];
  readonly #random: (bytes: number) => Uint8Array;

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }

  /** Commits to a small value; returns the digest, or nothing if the value has no canonical form. */
  value(name: string, value: Json | undefined, isField = true): string | undefined {
    if (value === undefined) return undefined;
    try {
      const { disclosure, digest } = makeDisclosure(name, value, this.#random(SALT_BYTES));
      this.disclosures.push(disclosure);
      if (isField) this.fields[name] = digest;
      return digest;
    } catch (error) {
      if (hasCode(error, 'too_large')) return this.#large(name, value, isField);
      if (hasCode(error, 'malformed')) return undefined;
      throw error;
    }
  }

  body(name: string, of: 'request' | 'response', facts: BodyFacts, headers: HeaderFacts): void {
    const encoding = headers['content-encoding'];
    this.value(name, {
      bytes: facts.bytes,
      media_type: headers['content-type'] ?? 'application/octet-stream',
      sha256: facts.sha256,
      ...(encoding === undefined ? {} : { content_encoding: encoding }),
    });
    this.bodies.push({ field: name, of, bytes: facts.bytes });
  }

  /** What went on in place of the request's body: plain, whatever coding that had. */
  forwarded(facts: NonNullable<JudgedFacts['forwarded']>, headers: HeaderFacts): void {
    const field = 'request.forwarded';
    const { bytes, sha256, frames } = facts;
    const media_type = headers['content-type'] ?? 'application/octet-stream';
    this.value(field, { bytes, media_type, sha256 });
    this.bodies.push({ field, of: 'content', bytes, frames, sealed_as: field });
  }

  #large(name: string, value: Json, isField: boolean): string | undefined {
    const bytes = utf8(canonicalize(value));
    const digest = toBase64url(sha256(bytes));
    this.content.push({ field: name, bytes });
    const described = { bytes: bytes.length, media_type: 'application/json', sha256: digest };
    return this.value(name, described, isField);
  }
}

/** What came from the client, and who it was. */
export function commitRequest(
  committed: Committed,
  begin: BeginFacts,
  end: EndFrame,
  request: RequestFacts | undefined,
): void {
  const { headers, client_address, caller } = begin;
  if (end.received.bytes > 0) committed.body('request.body', 'request', end.received, headers);
  const forwarded = end.judged?.forwarded;
  if (forwarded !== undefined) committed.forwarded(forwarded, headers);
  committed.value('request.headers', headers);
  committed.value('request.messages', request?.normalized);
  committed.value('request.system', request?.system);
  committed.value('request.tools', request?.toolDefinitions);
  committed.value('request.stop', request?.stop);
  committed.value('principal.id', caller?.holder);
  committed.value('client.address', client_address);
  committed.value('user_agent', headers['user-agent']);
}

/** What came from the model; nothing where no byte of an answer did. */
export async function commitResponse(
  committed: Committed,
  spooled: SpooledCall,
  end: EndFrame,
  response: ResponseFacts | undefined,
): Promise<void> {
  if (end.head === undefined || end.response.bytes === 0) return;
  const { headers } = end.head;
  committed.body('response.body', 'response', end.response, headers);
  const delivered = Math.min(end.delivered, end.response.bytes);
  if (end.transport !== 'complete' && end.transport !== 'crash' && delivered < end.response.bytes) {
    const hash = createHash('sha256');
    for await (const piece of spooled.response(end.response_frames, delivered)) hash.update(piece);
    const facts = { bytes: delivered, sha256: toBase64url(new Uint8Array(hash.digest())) };
    committed.body('response.delivered', 'response', facts, headers);
  }
  committed.value('response.headers', headers);
  committed.value('response.messages', response?.normalized);
  committed.value('response.reasoning', response?.reasoning);
  committed.value('response.error', response?.error?.message);
}
