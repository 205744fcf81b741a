/**
 * What do the bytes of a body say once its content coding is undone?
 *
 * Only the copy that is parsed is decoded; the client gets the bytes as they came. A coding that is not
 * known, or bytes that do not follow it, give nothing rather than an error: the body itself is recorded
 * in any case. The output is bounded, because a kilobyte of brotli can stand for a gigabyte (P8).
 *
 * [RFC 9110 §8.4] Codings are listed in the order in which they were applied.
 */
import {
  brotliDecompressSync,
  constants,
  gunzipSync,
  inflateRawSync,
  inflateSync,
  zstdDecompressSync,
} from 'node:zlib';

/** More than this is nobody's idea of a body; each one costs a pass. */
const CODINGS_MAX = 3;

/** The decoded bytes; what there is of them where the body was cut; nothing if it cannot be told. */
export function decodeContent(
  bytes: Uint8Array,
  contentEncoding: string | undefined,
  bytesMax: number,
): Uint8Array | undefined {
  const codings = codingsOf(contentEncoding);
  if (codings.length > CODINGS_MAX) return undefined;
  let content: Uint8Array | undefined = bytes;
  for (const coding of codings.reverse()) {
    if (content === undefined) return undefined;
    content = decodeOne(content, coding, bytesMax);
  }
  return content;
}

/** Whether the bytes on the wire are the content itself. */
export function isIdentity(contentEncoding: string | undefined): boolean {
  return codingsOf(contentEncoding).length === 0;
}

function codingsOf(contentEncoding: string | undefined): string[] {
  return (contentEncoding ?? '')
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');
}

function decodeOne(
  bytes: Uint8Array,
  coding: string,
  maxOutputLength: number,
): Uint8Array | undefined {
  // A body that was cut gives what could be decoded up to there.
  const zlib = { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH };
  try {
    switch (coding) {
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(bytes, zlib);
      case 'deflate':
        // [RFC 9110 §8.4.1.2] Some servers send the raw form without the zlib wrapper.
        return isZlib(bytes) ? inflateSync(bytes, zlib) : inflateRawSync(bytes, zlib);
      case 'br':
        return brotliDecompressSync(bytes, {
          maxOutputLength,
          finishFlush: constants.BROTLI_OPERATION_FLUSH,
        });
      case 'zstd':
        return zstdDecompressSync(bytes, { maxOutputLength, finishFlush: constants.ZSTD_e_flush });
      default:
        return undefined;
    }
  } catch {
    // Bytes from a stranger that do not follow their coding, or too many of them: the answer is "nothing".
    return undefined;
  }
}

/** [RFC 1950 §2.2] Method 8, and a header that is a multiple of 31. */
function isZlib(bytes: Uint8Array): boolean {
  const [method = 0, flags = 0] = bytes;
  return (method & 15) === 8 && (256 * method + flags) % 31 === 0;
}
