/**
 * What is a time-stamping authority asked?
 *
 *     TimeStampReq   1 · imprint { hash algorithm, digest } · policy? · nonce? · TRUE: with its certificate
 *
 * The authority sees a digest and nothing of what it is of. The nonce shows that the answer was made for
 * this query and not for an earlier one; it comes from the caller, as all randomness does.
 *
 * [RFC 3161 §2.4.1]
 */
import { equalBytes, parseHex } from '../bytes.ts';
import { DerReader, encodeDer, unsignedContent } from '../der.ts';
import { malformed } from '../errors.ts';
import { digestBytes, digestOf, type HashName, hashOf } from '../x509/algorithms.ts';

/** A hash of a message, and by which algorithm. */
export interface Imprint {
  readonly hash: HashName;
  readonly digest: Uint8Array;
}

export interface TimestampQuery {
  readonly imprint: Imprint;
  /** The content of its INTEGER, as `checkTimestamp` takes it. */
  readonly nonce?: Uint8Array;
}

const WHAT = 'time stamp query';

/** Bytes of a query: the ones made here have some seventy. */
const QUERY_BYTES_MAX = 256;

/** SHA-256 with NULL for parameters, which every authority takes. */
const SHA256 = parseHex('300d06096086480165030402010500', 'SHA-256');

/** What is asked for is always SHA-256, which every authority has and nothing breaks. */
export function imprintOf(message: Uint8Array, hash: HashName = 'sha256'): Imprint {
  return { hash, digest: digestOf(hash, message) };
}

/** The query for a message. Eight random bytes are a nonce that every authority can hold. */
export function makeTimestampQuery(message: Uint8Array, nonce?: Uint8Array): Uint8Array {
  return encodeQuery(imprintOf(message).digest, nonce && unsignedContent(nonce));
}

function encodeQuery(digest: Uint8Array, nonce: Uint8Array | undefined): Uint8Array {
  return encodeDer(
    'sequence',
    encodeDer('integer', Uint8Array.of(1)),
    encodeDer('sequence', SHA256, encodeDer('octetString', digest)),
    ...(nonce === undefined ? [] : [encodeDer('integer', nonce)]),
    encodeDer('boolean', Uint8Array.of(0xff)),
  );
}

/** Reads a query back that `makeTimestampQuery` made; throws `malformed` for every other. */
export function parseTimestampQuery(bytes: Uint8Array): TimestampQuery {
  if (bytes.length > QUERY_BYTES_MAX) {
    throw malformed(WHAT, `${bytes.length} bytes where at most ${QUERY_BYTES_MAX} are possible`);
  }
  const outer = new DerReader(bytes, WHAT);
  const query = outer.inside('sequence');
  outer.end();
  query.integer();
  const imprint = readImprint(query.inside('sequence'), WHAT);
  const nonce = query.isNext('integer') ? query.integer() : undefined;
  if (!equalBytes(encodeQuery(imprint.digest, nonce), bytes)) {
    throw malformed(WHAT, 'not as it is written here');
  }
  return { imprint, ...(nonce === undefined ? {} : { nonce }) };
}

/** A MessageImprint; throws `malformed`, or `unverified` for a hash that is too weak. */
export function readImprint(reader: DerReader, what: string): Imprint {
  const hash = hashOf(reader.element('sequence'), `${what}: imprint`);
  const digest = reader.content('octetString');
  reader.end();
  if (digest.length !== digestBytes(hash)) {
    throw malformed(what, `imprint: ${digest.length} bytes where ${hash} has ${digestBytes(hash)}`);
  }
  return { hash, digest };
}
