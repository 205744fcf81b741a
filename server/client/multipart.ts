/**
 * An entry with its content, as `multipart/form-data` [RFC 7578]: entry, disclosures, bodies, in this
 * order [docs/formats-http.md]. Bodies are streamed: they may be longer than memory.
 */
import { utf8 } from '../core/bytes.ts';
import { malformed, shown, unverified } from '../core/errors.ts';

export interface ContentBody {
  readonly field: string;
  /** Bytes from the start; called once for each attempt. */
  readonly open: () => AsyncIterable<Uint8Array>;
  readonly bytes: number;
  /** Nobody else has the pieces, so whoever takes them may give their memory back (`core/free.ts`). */
  readonly isGiven?: boolean;
}

/** What travels beside an entry. */
export interface Content {
  readonly disclosures: readonly string[];
  readonly bodies: readonly ContentBody[];
}

/** `boundary` is random, so that no body can contain it by design. */
export async function* encodeMultipart(
  boundary: string,
  entry: Uint8Array,
  { disclosures, bodies }: Content,
): AsyncGenerator<Uint8Array> {
  yield head(boundary, 'name="entry"', 'application/protobuf', '');
  yield entry;
  for (const disclosure of disclosures) {
    yield head(boundary, 'name="disclosure"', 'text/plain', '\r\n');
    yield utf8(disclosure);
  }
  for (const { field, open, bytes } of bodies) {
    if (!/^[a-z0-9_.]{1,128}$/.test(field)) {
      throw malformed('body', `${shown(field)} is not the name of a field`);
    }
    yield head(boundary, `name="body"; field="${field}"`, 'application/octet-stream', '\r\n');
    let sent = 0;
    for await (const chunk of open()) {
      sent += chunk.length;
      yield chunk;
    }
    if (sent !== bytes) throw unverified(`body ${field}`, `${sent} bytes where it has ${bytes}`);
  }
  yield utf8(`\r\n--${boundary}--\r\n`);
}

function head(boundary: string, disposition: string, type: string, before: string): Uint8Array {
  return utf8(
    `${before}--${boundary}\r\ncontent-disposition: form-data; ${disposition}\r\ncontent-type: ${type}\r\n\r\n`,
  );
}
