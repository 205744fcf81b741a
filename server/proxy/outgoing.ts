/**
 * What leaves the journal: a record with its content for the log, or everything about a refused one for
 * a file of its own.
 */

import type { Content, ContentBody } from '../client/multipart.ts';
import { parseUtf8, utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import type { EndFrame } from './facts.ts';
import { errorCode, type SpoolDisk } from './journal/disk.ts';
import { encodeFrame, FRAME, type Frame, NO_CALL } from './journal/frame.ts';
import type { ProxyLogger } from './logger.ts';
import { type BodyRef, decodeRecordFrame, type RecordMeta } from './record-frame.ts';
import type { SpoolContext } from './spool.ts';
import { SpooledCall } from './spooled.ts';

export interface Submission {
  readonly entry: Uint8Array;
  readonly content: Content | undefined;
  /** Why a body could not be read while it was sent; nothing if none failed. */
  readonly unreadable: () => SteleError | undefined;
}

/**
 * Reads the record at `position` for submission. Where its content does not open the entry goes alone, so
 * that rotten content never holds up the evidence; a body shows that only while it is sent. `recent` spares
 * opening a call of this process again.
 */
export async function readSubmission(
  context: SpoolContext,
  position: number,
  logger: ProxyLogger,
  recent: SpooledCall | undefined,
): Promise<Submission> {
  const frame = await context.journal.read(position);
  const { meta, entry, disclosures } = decodeRecordFrame(frame.payload);
  const alone = { entry, content: undefined, unreadable: () => undefined };
  if (meta.begin === undefined) return alone;
  try {
    const call =
      recent ?? (await SpooledCall.open(context, meta.call ?? meta.record_id, meta.begin));
    const end = meta.end === undefined ? undefined : await call.end(meta.end);
    const text = parseUtf8(call.seal.open('disclosures', disclosures), 'disclosures');
    let failure: SteleError | undefined;
    const bodies = (meta.bodies ?? []).map((ref) =>
      watched(contentBody(call, end, ref), (error) => {
        failure = error;
      }),
    );
    const content = { disclosures: text === '' ? [] : text.split('\n'), bodies };
    return { entry, content, unreadable: () => failure };
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    const facts = { record_id: meta.record_id, error: error.message };
    logger.error(facts, 'content cannot be read back; the record is submitted without it');
    return alone;
  }
}

/** The body, telling why it could not be read. */
function watched(body: ContentBody, onFailure: (error: SteleError) => void): ContentBody {
  return {
    ...body,
    async *open() {
      let bytes = 0;
      try {
        for await (const piece of body.open()) {
          bytes += piece.length;
          yield piece;
        }
        if (bytes !== body.bytes) {
          throw new SteleError('storage', `body ${body.field}: ${bytes} of ${body.bytes} bytes`);
        }
      } catch (error) {
        if (error instanceof SteleError) onFailure(error);
        throw error;
      }
    },
  };
}

function contentBody(call: SpooledCall, end: EndFrame | undefined, ref: BodyRef): ContentBody {
  const { field, bytes } = ref;
  switch (ref.of) {
    case 'request':
      return { field, bytes, open: () => call.request(end?.request_frames ?? []) };
    case 'response':
      return { field, bytes, open: () => call.response(end?.response_frames ?? [], bytes) };
    case 'content': {
      const frames = ref.frames ?? [];
      const open = () => call.bytes(FRAME.content, ref.sealed_as ?? field, frames);
      return { field, bytes, open };
    }
  }
}

/**
 * Copies a refused record, and every frame that its content needs, into a file in the journal's own form. When this
 * resolves the file is on disk and the segments may go. Doing it twice is harmless.
 */
export async function setAside(
  context: SpoolContext,
  disk: SpoolDisk,
  position: number,
  error: SteleError,
): Promise<RecordMeta> {
  const { journal } = context;
  const record = await journal.read(position);
  const { meta } = decodeRecordFrame(record.payload);
  const name = `refused-${String(meta.seq).padStart(12, '0')}-${meta.record_id}.journal`;
  const existing = (await disk.list()).some((file) => file.name === name);
  if (existing) await disk.remove(name);
  const file = await disk.create(name);
  try {
    let at = 0;
    const write = async (frame: Frame) => {
      const buffers = encodeFrame(frame.type, frame.call, frame.payload);
      await file.write(buffers, at);
      for (const buffer of buffers) at += buffer.length;
    };
    for (const needed of await framesOf(context, meta)) await write(await journal.read(needed));
    await write(record);
    const reason = utf8(JSON.stringify({ seq: meta.seq, code: error.code, error: error.message }));
    const refused = { type: FRAME.refused, call: NO_CALL, length: reason.length, crc: 0 };
    await write({ ...refused, payload: reason });
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.syncFolder();
  return meta;
}

/** Positions of the frames of a call that its record's content lies in. */
async function framesOf(context: SpoolContext, meta: RecordMeta): Promise<number[]> {
  if (meta.begin === undefined) return [];
  // What an intent discloses opens with the key that is in its call's first frame.
  if (meta.end === undefined) return [meta.begin];
  const content = (meta.bodies ?? []).flatMap(({ frames }) => frames ?? []);
  try {
    const call = await SpooledCall.open(context, meta.record_id, meta.begin);
    const end = await call.end(meta.end);
    return [meta.begin, ...end.request_frames, ...end.response_frames, meta.end, ...content];
  } catch (error) {
    if (errorCode(error) !== undefined) throw error;
    // It does not open, so there is nothing to keep but the entry.
    return [];
  }
}
