/**
 * An entry with its content: parts in the order entry, disclosures, bodies, each checked as it comes.
 *
 * The entry is admitted before a byte of content is taken. Content goes to the vault's staging place as
 * it streams by; nothing of it counts until the entry is logged, and on any refusal it is deleted.
 */
import { parseUtf8 } from '../../core/bytes.ts';
import { malformed, SteleError, shown } from '../../core/errors.ts';
import { DISCLOSURE_BYTES_MAX, DISCLOSURES_MAX } from '../../core/limits.ts';
import { commitmentsOf } from '../../core/record.ts';
import type { Admitted } from '../../log/admit.ts';
import type { Staging } from '../../vault/vault.ts';
import type { Parts } from '../app.ts';
import { askForBody, mediaType } from '../body.ts';
import type { Call, Log } from '../call.ts';
import { unsupportedType } from '../errors.ts';
import { MultipartReader, type Part, parseBoundary } from '../multipart.ts';
import { RequestBytes } from '../upload.ts';
import { answerSubmitted, ENTRY_TYPES, entryBytesMax, parseEntryBody } from './entry-body.ts';

/** Content fields are named like a record's commitments. */
export const FIELD = /^[a-z0-9_.]{1,100}$/;

export async function submitWithContent(parts: Parts, call: Call, log: Log): Promise<void> {
  const { req, res } = call.ctx;
  const boundary = parseBoundary(req.headers['content-type'] ?? '');
  const holder = call.token?.id ?? '';
  log.checkRoom();
  parts.uploads.begin(holder);
  try {
    askForBody(req, res);
    const checkSender = () => parts.tokens.checkStill(call.token);
    const bytes = new RequestBytes(req, parts.settings.idleTimeoutMs, checkSender);
    await submitParts(parts, call, log, new MultipartReader(bytes, boundary));
  } finally {
    parts.uploads.end(holder);
  }
}

async function submitParts(
  parts: Parts,
  call: Call,
  log: Log,
  reader: MultipartReader,
): Promise<void> {
  const admitted = await log.admit(await readEntry(await reader.next()));
  const content = new Content(parts, log, admitted);
  try {
    for (let part = await reader.next(); part !== undefined; part = await reader.next()) {
      await content.add(part);
    }
    const { staging } = content;
    // Its fsync happens here, and not while the log's next batch waits for it.
    await staging?.seal();
    parts.tokens.checkStill(call.token);
    const [submitted] = await log.submit([
      staging === undefined ? { admitted } : { admitted, content: staging },
    ]);
    await answerSubmitted(call, log, admitted, submitted);
  } catch (error) {
    await content.staging?.discard();
    throw error;
  }
}

async function readEntry(part: Part | undefined) {
  if (part?.name !== 'entry') {
    throw malformed('multipart', `begins with ${shownPart(part)} where the entry must come first`);
  }
  const type =
    part.contentType === undefined ? 'application/protobuf' : mediaType(part.contentType);
  if (!ENTRY_TYPES.includes(type)) {
    throw unsupportedType("the entry's content-type", type, ENTRY_TYPES.join(', '));
  }
  return parseEntryBody(await readPart(part, entryBytesMax(type), 'entry'), type);
}

/** The content of one submission, on its way to the vault. */
class Content {
  staging: Staging | undefined;
  readonly #parts: Parts;
  readonly #log: Log;
  readonly #admitted: Admitted;
  #disclosures = 0;
  readonly #bodies = new Set<string>();

  constructor(parts: Parts, log: Log, admitted: Admitted) {
    this.#parts = parts;
    this.#log = log;
    this.#admitted = admitted;
  }

  async add(part: Part): Promise<void> {
    if (part.name === 'disclosure') await this.#addDisclosure(part);
    else if (part.name === 'body') await this.#addBody(part);
    else throw malformed('multipart', `${shownPart(part)} is none of entry, disclosure, body`);
  }

  async #addDisclosure(part: Part): Promise<void> {
    if (this.#bodies.size > 0) {
      throw malformed('multipart', 'a disclosure comes after a body: all disclosures come first');
    }
    this.#disclosures += 1;
    if (this.#disclosures > DISCLOSURES_MAX) {
      throw new SteleError('too_large', `multipart: more than ${DISCLOSURES_MAX} disclosures`);
    }
    const staging = await this.#begin();
    const text = parseUtf8(await readPart(part, DISCLOSURE_BYTES_MAX, 'disclosure'), 'disclosure');
    await staging.addDisclosure(text);
  }

  async #addBody(part: Part): Promise<void> {
    const { field } = part;
    if (field === undefined || !FIELD.test(field)) {
      throw malformed(
        'multipart',
        `a body's field is ${shown(field ?? '')}, not a commitment's name`,
      );
    }
    if (this.#bodies.has(field)) throw malformed('multipart', `two bodies for field ${field}`);
    this.#bodies.add(field);
    const staging = await this.#begin();
    const { bodyBytesMax } = this.#parts.settings;
    await staging.addBody(field, bounded(part.chunks, bodyBytesMax, field), {
      bytesMax: bodyBytesMax,
    });
  }

  async #begin(): Promise<Staging> {
    if (this.staging !== undefined) return this.staging;
    const { record } = this.#admitted;
    const commitments = record && commitmentsOf(record);
    if (record === undefined || commitments === undefined || commitments.size === 0) {
      throw malformed('multipart', 'content came with an entry that has no commitments');
    }
    const vault = await this.#parts.vaults(this.#log.name);
    const key = { source: record.source.id, recordId: record.record_id };
    this.staging = await vault.begin(key, commitments);
    return this.staging;
  }
}

/** The whole part, which may have at most `max` bytes. */
async function readPart(part: Part, max: number, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bounded(part.chunks, max, what)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* bounded(chunks: AsyncIterable<Uint8Array>, max: number, what: string) {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > max) throw new SteleError('too_large', `${what}: more than ${max} bytes`);
    yield chunk;
  }
}

function shownPart(part: Part | undefined): string {
  return part === undefined ? 'nothing' : `a part named ${shown(part.name)}`;
}
