/**
 * What is a record before it is signed? A call, a gap or a sign of life, at its place in the chain.
 *
 * A call is built from memory or read back from the journal; one that cannot be read back becomes a gap. A
 * record of a log that ended is made from itself (`client/remake.ts`).
 */
import { remade } from '../client/remake.ts';
import { sha256, toBase64url, toHex } from '../core/bytes.ts';
import { decodeEntry } from '../core/entry.ts';
import { invariant } from '../core/errors.ts';
import { type Record as AuditRecord, formatRecord, parseRecord } from '../core/record.ts';
import { uuidv7 } from '../core/uuid.ts';
import { type Clock, timestampUs } from './clock.ts';
import { buildIntent, type IntendedCall } from './intent.ts';
import { type EndedCall, type Job, type PlainJob, unreadable } from './jobs.ts';
import { errorCode } from './journal/disk.ts';
import { FRAME } from './journal/frame.ts';
import { FieldSealer } from './journal/seal.ts';
import type { ProxyLogger } from './logger.ts';
import { type BuiltCall, buildCall, buildMinimal } from './record.ts';
import { type BodyRef, decodeRecordFrame, type RecordMeta } from './record-frame.ts';
import type { Chain } from './recover.ts';
import type { SpoolContext } from './spool.ts';
import { SpooledCall } from './spooled.ts';

export interface DrafterOptions {
  readonly context: SpoolContext;
  readonly clock: Clock;
  /** Names this start of the process. */
  readonly instance: string;
  readonly software: string;
  readonly retentionClass: string;
  readonly logger: ProxyLogger;
}

/** A record on its way. */
export interface Draft {
  readonly payload: Uint8Array;
  readonly meta: RecordMeta;
  readonly disclosures: Uint8Array;
  /** The call that this gap stands for. */
  readonly drops?: string;
  readonly spooled?: SpooledCall;
}

/** Plain bytes of a content frame. */
const PIECE_BYTES = 262_144;

/** The payload's share of an entry of 65,535 bytes; signatures and framing take less than the rest. */
const PAYLOAD_BYTES_MAX = 60_000;

export class Drafter {
  readonly #options: DrafterOptions;

  constructor(options: DrafterOptions) {
    this.#options = options;
  }

  /** The record of a job, at the end of the chain. */
  async draft(job: Job, chain: Chain): Promise<Draft> {
    if (job.kind === 'intent') return this.#intentOrGap(job.intent, chain);
    if (job.kind !== 'call') return this.#plainDraft(job, chain);
    try {
      return await this.#callDraft(job.call, chain);
    } catch (error) {
      // A disk that fails now may not fail later; a frame that does not open never will.
      if (errorCode(error) !== undefined) throw error;
      const { recordId } = job.call;
      const rule = error instanceof Error ? error.message : String(error);
      this.#options.logger.error(
        { record_id: recordId, error: rule },
        'a call cannot be read back',
      );
      const gap = unreadable(recordId, 'unreadable-call');
      return { ...this.#plainDraft(gap, chain), drops: recordId };
    }
  }

  /** The record at this position, for the chain's log: under its own number, unless the chain is past that. */
  async again(position: number, chain: Chain): Promise<Draft> {
    const { journal } = this.#options.context;
    const { meta, entry, disclosures } = decodeRecordFrame((await journal.read(position)).payload);
    const old = decodeEntry(entry).payload;
    const seq = Math.max(meta.seq, chain.next);
    const prev = seq === chain.next ? chain.prev : parseRecord(old).source.prev;
    const payload = formatRecord(remade(old, { log: chain.log, seq, prev }));
    const digest = toBase64url(sha256(payload));
    return {
      payload,
      meta: { ...meta, log: chain.log, seq, digest, instead_of: position },
      disclosures,
    };
  }

  #plainDraft(job: PlainJob, chain: Chain): Draft {
    const { clock, random } = { ...this.#options, ...this.#options.context };
    const nowUs = clock.nowUs();
    const record_id = uuidv7(Math.floor(nowUs / 1_000), random(10));
    const common = {
      schema: 'stele.record/1',
      log: chain.log,
      record_id,
      source: this.#source(chain, []),
      time: {
        received: timestampUs(nowUs),
        clock: { source: 'system', max_error_us: clock.maxErrorUs() },
      },
    } as const;
    const seq = chain.next;
    let record: AuditRecord;
    const { source: id, log } = chain;
    let meta: Omit<RecordMeta, 'digest'> = { kind: job.kind, record_id, source: id, log, seq };
    if (job.kind === 'heartbeat') {
      record = { ...common, kind: 'heartbeat', heartbeat: { seq } };
    } else {
      const {
        reason,
        source = chain.source,
        seqs,
        time,
        count,
        damage,
        replaces,
        missed,
      } = job.gap;
      const gap = {
        reason,
        source,
        seq_from: seqs?.from ?? seq,
        seq_to: seqs?.to ?? seq,
        ...(time === undefined
          ? {}
          : { time_from: timestampUs(time.fromUs), time_to: timestampUs(time.toUs) }),
        ...(count === undefined ? {} : { count }),
      };
      record = { ...common, kind: 'gap', gap };
      const own = source === chain.source ? seqs : undefined;
      meta = {
        ...meta,
        ...(damage === undefined ? {} : { damage }),
        ...(replaces === undefined ? {} : { replaces }),
        ...(missed === undefined ? {} : { missed }),
        ...(own === undefined ? {} : { explains: { from: own.from, to: own.to + 1 } }),
      };
    }
    const payload = formatRecord(record);
    const digest = toBase64url(sha256(payload));
    return { payload, meta: { ...meta, digest }, disclosures: new Uint8Array(0) };
  }

  async #callDraft(call: EndedCall, chain: Chain): Promise<Draft> {
    const { context, logger } = this.#options;
    const { recordId, beginPosition } = call;
    const spooled =
      call.live?.spooled ?? (await SpooledCall.open(context, recordId, beginPosition));
    const end = call.live?.end ?? (await spooled.end(call.endPosition));
    const from = {
      spooled,
      end,
      live: call.live,
      ...this.#common(chain, end.truncated ?? [], end.unseen === true),
    };
    let built: BuiltCall;
    let payload: Uint8Array;
    try {
      built = await buildCall(from);
      payload = formatRecord(built.record);
      invariant(payload.length <= PAYLOAD_BYTES_MAX, 'a record fits an entry');
    } catch (error) {
      if (errorCode(error) !== undefined) throw error;
      // What was read out of the bodies does not fit a record. The bodies themselves always do.
      const reason = error instanceof Error ? error.message : String(error);
      logger.error(
        { record_id: call.recordId, error: reason },
        'a record is made without its details',
      );
      built = await buildMinimal(from);
      payload = formatRecord(built.record);
    }
    const bodies = [...built.bodies, ...this.#contentFrames(spooled, built)];
    const text = new TextEncoder().encode(built.disclosures.join('\n'));
    const meta: RecordMeta = {
      kind: 'inference',
      record_id: call.recordId,
      source: chain.source,
      log: chain.log,
      seq: chain.next,
      digest: toBase64url(sha256(payload)),
      begin: call.beginPosition,
      end: call.endPosition,
      bodies,
    };
    const disclosures = spooled.seal.seal('disclosures', text, context.random);
    return { payload, meta, disclosures, spooled };
  }

  async #intentOrGap(intent: IntendedCall, chain: Chain): Promise<Draft> {
    try {
      return await this.#intentDraft(intent, chain);
    } catch (error) {
      if (errorCode(error) !== undefined) throw error;
      const facts = { call: intent.call, error: error instanceof Error ? error.message : '' };
      this.#options.logger.error(facts, 'the intent to make a call cannot be read back');
      return this.#plainDraft(unreadable(intent.recordId, 'unreadable-intent'), chain);
    }
  }

  async #intentDraft(intent: IntendedCall, chain: Chain): Promise<Draft> {
    const { clock, context } = this.#options;
    const { recordId, call, beginPosition, live } = intent;
    const spooled = live?.spooled ?? (await SpooledCall.open(context, call, beginPosition));
    const clockErrorUs = clock.maxErrorUs();
    const from = { intent, spooled, live, clockErrorUs, ...this.#common(chain, []) };
    let built = await buildIntent(from);
    let payload = formatRecord(built.record);
    if (payload.length > PAYLOAD_BYTES_MAX) {
      built = await buildIntent(from, false);
      payload = formatRecord(built.record);
    }
    const text = new TextEncoder().encode(built.disclosures.join('\n'));
    const meta: RecordMeta = {
      kind: 'intent',
      record_id: recordId,
      source: chain.source,
      log: chain.log,
      seq: chain.next,
      digest: toBase64url(sha256(payload)),
      call,
      begin: beginPosition,
    };
    const disclosures = spooled.seal.seal('disclosures', text, context.random);
    return { payload, meta, disclosures, spooled };
  }

  #common(chain: Chain, truncated: readonly string[], isUnseen = false) {
    const { context, retentionClass } = this.#options;
    const source = this.#source(chain, truncated, isUnseen);
    return { log: chain.log, source, retentionClass, random: context.random };
  }

  /** Values too large for a disclosure go into frames of their own, like bodies. */
  #contentFrames(spooled: SpooledCall, built: BuiltCall): BodyRef[] {
    const { journal, random, origin } = this.#options.context;
    return built.content.map(({ field, bytes }) => {
      const sealed_as = `${field} ${toHex(random(8))}`;
      const sealer = new FieldSealer(spooled.dataKey, {
        origin,
        recordId: spooled.recordId,
        field: sealed_as,
      });
      const frames: number[] = [];
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const sealed = sealer.next(bytes.subarray(at, at + PIECE_BYTES));
        frames.push(journal.append(FRAME.content, spooled.recordId, sealed));
      }
      return { field, of: 'content' as const, bytes: bytes.length, frames, sealed_as };
    });
  }

  #source(chain: Chain, truncated: readonly string[], isUnseen = false) {
    const whole = isUnseen ? ('metadata-only' as const) : ('full' as const);
    return {
      id: chain.source,
      instance: this.#options.instance,
      seq: chain.next,
      prev: chain.prev,
      provenance: 'observed' as const,
      completeness: truncated.length === 0 ? whole : ('truncated' as const),
      software: this.#options.software,
      ...(truncated.length === 0 ? {} : { truncated_fields: truncated }),
    };
  }
}
