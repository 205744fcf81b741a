/**
 * How is a `multipart/form-data` body read [RFC 7578, RFC 2046 §5.1]? Part by part, as it is asked for.
 *
 * The reader pulls: bytes are taken from the socket only when someone wants them, so a slow vault slows
 * the sender and nothing piles up. It has one spelling: nothing before the first boundary, nothing after
 * the last but one line end, no folded headers, no transfer encodings, no padding behind a boundary.
 *
 *     --B CRLF headers CRLF CRLF bytes CRLF --B CRLF headers … CRLF --B-- [CRLF]
 *
 * Why not a library: `docs/decisions/0020-multipart.md`.
 */
import { invariant, malformed, SteleError, shown } from '../core/errors.ts';
import { PART_HEADER_BYTES_MAX } from './settings.ts';

/** Where bytes come from: the next ones, or nothing at the end. Rejects when they break off. */
export interface ByteSource {
  next(): Promise<Uint8Array | undefined>;
}

export interface Part {
  readonly name: string;
  /** The parameter `field`, of a part named `body`. */
  readonly field: string | undefined;
  /** As the sender wrote it. */
  readonly contentType: string | undefined;
  /** To be read to its end before the next part is asked for. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

const BOUNDARY = /^[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]$/;
const BOUNDARY_PARAMETER = /;\s*boundary=(?:"([^"\\]*)"|([^\s;"]+))\s*(?:;|$)/i;

/** The boundary of a content type, or `malformed`. */
export function parseBoundary(contentType: string): string {
  const match = BOUNDARY_PARAMETER.exec(contentType);
  const boundary = match?.[1] ?? match?.[2] ?? '';
  if (!BOUNDARY.test(boundary)) {
    throw malformed('content-type', `${shown(contentType)} has no boundary of 1 to 70 characters`);
  }
  return boundary;
}

const CRLF = Buffer.from('\r\n');
const HEADERS_END = Buffer.from('\r\n\r\n');

export class MultipartReader {
  readonly #source: ByteSource;
  /** What ends a part: CRLF, two dashes, the boundary. */
  readonly #delimiter: Buffer;
  #buffer: Buffer = CRLF; // The first delimiter then looks like every other.
  #ended = false;
  #state: 'start' | 'between' | 'in part' | 'done' = 'start';

  constructor(source: ByteSource, boundary: string) {
    this.#source = source;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  /** The next part, or nothing after the last. */
  async next(): Promise<Part | undefined> {
    invariant(this.#state !== 'in part', 'a part is read to its end before the next is asked for');
    if (this.#state === 'done') return undefined;
    if (this.#state === 'start') {
      await this.#expect(this.#delimiter, 'the first boundary');
    }
    if (await this.#isNext('--')) {
      await this.#end();
      return undefined;
    }
    await this.#expect(CRLF, 'a line end after the boundary');
    const headers = parseHeaders(await this.#headerBlock());
    this.#state = 'in part';
    return { ...headers, chunks: this.#chunks() };
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    const keep = this.#delimiter.length - 1;
    for (;;) {
      const at = this.#buffer.indexOf(this.#delimiter);
      if (at >= 0) {
        const last = this.#buffer.subarray(0, at);
        this.#buffer = this.#buffer.subarray(at + this.#delimiter.length);
        this.#state = 'between';
        if (last.length > 0) yield last;
        return;
      }
      // The delimiter may have begun in the bytes that are kept.
      const ready = this.#buffer.length - keep;
      if (ready > 0) {
        const chunk = this.#buffer.subarray(0, ready);
        this.#buffer = this.#buffer.subarray(ready);
        yield chunk;
      }
      if (!(await this.#fill())) throw malformed('multipart', 'ends inside a part');
    }
  }

  async #headerBlock(): Promise<string> {
    // An empty block would begin with the blank line itself; a part without a name is refused anyway.
    for (;;) {
      const at = this.#buffer.indexOf(HEADERS_END);
      if (at > PART_HEADER_BYTES_MAX || (at < 0 && this.#buffer.length > PART_HEADER_BYTES_MAX)) {
        throw new SteleError(
          'too_large',
          `multipart: a part's headers have more than ${PART_HEADER_BYTES_MAX} bytes`,
        );
      }
      if (at >= 0) {
        const block = this.#buffer.toString('latin1', 0, at);
        this.#buffer = this.#buffer.subarray(at + HEADERS_END.length);
        return block;
      }
      if (!(await this.#fill())) throw malformed('multipart', "ends inside a part's headers");
    }
  }

  async #end(): Promise<void> {
    await this.#expect(Buffer.from('--'), 'the last boundary');
    if (await this.#isNext('\r\n')) await this.#expect(CRLF, 'a line end');
    if (this.#buffer.length > 0 || (await this.#fill())) {
      throw malformed('multipart', 'has bytes after the last boundary');
    }
    this.#state = 'done';
  }

  async #isNext(text: string): Promise<boolean> {
    while (this.#buffer.length < text.length && (await this.#fill()));
    return this.#buffer.toString('latin1', 0, text.length) === text;
  }

  async #expect(bytes: Buffer, what: string): Promise<void> {
    while (this.#buffer.length < bytes.length && (await this.#fill()));
    if (!this.#buffer.subarray(0, bytes.length).equals(bytes)) {
      throw malformed('multipart', `${what} is missing`);
    }
    this.#buffer = this.#buffer.subarray(bytes.length);
  }

  /** Adds bytes to the buffer; false at the end of the source. */
  async #fill(): Promise<boolean> {
    if (this.#ended) return false;
    const chunk = await this.#source.next();
    if (chunk === undefined) {
      this.#ended = true;
      return false;
    }
    this.#buffer = this.#buffer.length === 0 ? view(chunk) : Buffer.concat([this.#buffer, chunk]);
    return true;
  }
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const HEADER_LINE = /^([A-Za-z0-9-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;
const PARAMETER = /^;[ \t]*([a-z*]+)=(?:"([^"\\]*)"|([A-Za-z0-9._-]+))[ \t]*/i;

/** Bytes from strangers: the header block of one part, as latin1. */
function parseHeaders(block: string): Omit<Part, 'chunks'> {
  const headers = new Map<string, string>();
  for (const line of block.split('\r\n')) {
    const match = HEADER_LINE.exec(line);
    const name = match?.[1]?.toLowerCase();
    if (name === undefined) throw malformed('multipart', `${shown(line)} is not a header line`);
    if (headers.has(name)) throw malformed('multipart', `header ${name} is given twice`);
    headers.set(name, (match?.[2] ?? '').trim());
  }
  if (headers.has('content-transfer-encoding')) {
    throw malformed('multipart', 'content-transfer-encoding is not taken: send bytes as they are');
  }
  const { name, field } = parseDisposition(headers.get('content-disposition') ?? '');
  return { name, field, contentType: headers.get('content-type') };
}

function parseDisposition(text: string): { name: string; field: string | undefined } {
  const bad = (rule: string) => malformed('content-disposition', `${shown(text)} ${rule}`);
  if (!/^form-data[ \t]*(?:;|$)/i.test(text)) throw bad('is not form-data');
  const parameters = new Map<string, string>();
  let rest = text.slice('form-data'.length).trimStart();
  while (rest !== '') {
    const match = PARAMETER.exec(rest);
    const name = match?.[1]?.toLowerCase();
    if (match === null || name === undefined) throw bad('has a parameter that is not name="value"');
    if (parameters.has(name)) throw bad(`has ${name} twice`);
    parameters.set(name, match[2] ?? match[3] ?? '');
    rest = rest.slice(match[0].length);
  }
  const name = parameters.get('name');
  if (name === undefined) throw bad('has no name');
  return splitName(name, parameters.get('field'));
}

/** `body; field=NAME` as a name says the same as the parameter, for clients that cannot add one. */
function splitName(name: string, field: string | undefined) {
  const match = /^body; ?field=([^;]*)$/.exec(name);
  return match === null || field !== undefined
    ? { name, field }
    : { name: 'body', field: match[1] };
}
