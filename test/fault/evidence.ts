/**
 * Does the log hold what the callers of the proxy got (P7)?
 *
 * A call whose answer named a record has that record, or a gap says that it is missing. An answer that
 * ended cleanly has a full record, with the very bytes that were sent and received.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { LogClient } from '../../server/client/client.ts';
import { equalBytes, sha256, toBase64url } from '../../server/core/bytes.ts';
import { type BodyValue, bodyValueOf, parseDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { type Record as AuditRecord, parseRecord } from '../../server/core/record.ts';
import type { Draft } from './author.ts';
import type { ProxyCall } from './load.ts';

const REASON = { reason: 'to see that it is there' };

/** What ends a stream for its reader, though the connection may go on. */
const TERMINAL = /data: (?:\[DONE\]|\{"type":"message_stop"\})\r?\n/;

/** Every record of a log, by its id. */
export function recordsOf(entries: readonly Uint8Array[]): Map<string, AuditRecord> {
  const records = new Map<string, AuditRecord>();
  for (const bytes of entries) {
    const { payloadType, payload } = decodeEntry(bytes);
    if (payloadType !== RECORD_TYPE) continue;
    const record = parseRecord(payload);
    records.set(record.record_id, record);
  }
  return records;
}

/** Waits until the proxy has nothing more to hand to the log. */
export async function drained(proxy: string, deadlineMs = 60_000): Promise<void> {
  const until = Date.now() + deadlineMs;
  for (;;) {
    const state = (await (await fetch(`${proxy}/readyz`)).json()) as {
      readonly logs: Readonly<Record<string, Waiting>>;
    };
    const waiting = Object.values(state.logs);
    if (waiting.every((log) => log.backlog + log.unrecorded + log.open_calls === 0)) return;
    if (Date.now() > until) throw new Error(`the proxy is stuck: ${JSON.stringify(state)}`);
    await pause(50);
  }
}

interface Waiting {
  readonly backlog: number;
  readonly unrecorded: number;
  readonly open_calls: number;
}

export class Evidence {
  readonly #log: LogClient;
  readonly #records: ReadonlyMap<string, AuditRecord>;

  /** `log` is asked with a token that may read content. */
  constructor(log: LogClient, records: ReadonlyMap<string, AuditRecord>) {
    this.#log = log;
    this.#records = records;
  }

  /** Throws unless the log has what this caller got. Returns whether the answer was complete. */
  async checkCall(call: ProxyCall): Promise<boolean> {
    const { recordId, status, isComplete } = call;
    if (recordId === undefined) {
      if (isComplete) throw new Error(`an answer with status ${status} names no record`);
      return false;
    }
    const record = this.#records.get(recordId);
    if (record === undefined) {
      // A killed process loses nothing that was written, so no gap may stand for it either.
      throw new Error(
        `call ${recordId} is not in the log: status ${status}, ${call.answer.length} bytes came, complete: ${isComplete}`,
      );
    }
    if (record.kind !== 'inference') throw new Error(`call ${recordId} is a ${record.kind}`);
    await this.#checkRequest(recordId, call.request);
    const text = Buffer.from(call.answer).toString();
    const terminal = TERMINAL.exec(text);
    if (!isComplete && terminal === null) return false;
    if (isComplete && record.source.completeness !== 'full') {
      throw new Error(`call ${recordId} ended cleanly, and its record is not full`);
    }
    const least = isComplete ? call.answer.length : (terminal?.index ?? 0) + 1;
    await this.#checkAnswer(recordId, call.answer, least);
    return true;
  }

  /** Throws unless the content that was answered for is there, byte for byte. */
  async checkContent({ recordId, bodies }: Draft): Promise<void> {
    for (const { field, bytes } of bodies) {
      const parts: Uint8Array[] = [];
      for await (const part of this.#log.body(recordId, field, REASON)) parts.push(part);
      if (!equalBytes(new Uint8Array(Buffer.concat(parts)), bytes)) {
        throw new Error(`${field} of ${recordId} is not what was sent`);
      }
    }
  }

  /** The SHA-256 of every request that a record commits to; what it commits to can be read. */
  async requests(): Promise<Set<string>> {
    const found = new Set<string>();
    for (const [id, record] of this.#records) {
      if (record.kind !== 'inference') continue;
      // Killed before a byte of it was written, a call has a record without a request.
      if (!Object.hasOwn(record.commitments.fields, 'request.body')) continue;
      found.add((await this.#bodyValue(id, 'request.body')).sha256);
    }
    return found;
  }

  async #checkRequest(recordId: string, request: Uint8Array): Promise<void> {
    const value = await this.#bodyValue(recordId, 'request.body');
    if (value.bytes !== request.length || value.sha256 !== digest(request)) {
      throw new Error(`the request of ${recordId} is not what was sent`);
    }
  }

  /** The record's answer is what came, or as much of it, or of what was still on its way. */
  async #checkAnswer(recordId: string, answer: Uint8Array, least: number): Promise<void> {
    const value = await this.#bodyValue(recordId, 'response.body');
    if (value.bytes < least) {
      throw new Error(`the answer of ${recordId}: ${value.bytes} bytes on record, ${least} came`);
    }
    if (value.bytes > answer.length) return;
    if (value.sha256 !== digest(answer.subarray(0, value.bytes))) {
      throw new Error(`the answer of ${recordId} is not what came`);
    }
  }

  async #bodyValue(recordId: string, field: string): Promise<BodyValue> {
    const { value } = parseDisclosure(await this.#log.disclosure(recordId, field, REASON));
    const body = bodyValueOf(value);
    if (body === undefined) throw new Error(`${field} of ${recordId} is no body`);
    return body;
  }
}

export function digest(bytes: Uint8Array): string {
  return toBase64url(sha256(bytes));
}
