/**
 * What is logged: a statement with its signatures, in one spelling.
 *
 *     0a len payload  12 len payloadType  { 1a len { 0a len sig  12 len keyid  82 01 len window? } }…
 *
 * A *statement* is what a gateway signs: (payloadType, payload), by DSSE's PAE. An *entry* is the
 * statement with its signatures in the canonical protobuf encoding of `stele.v1.Envelope`. Protobuf
 * allows many encodings of one message (other orders, overlong numbers, unknown fields), and each would
 * be another leaf, so an entry has to be what encoding its own decoding gives.
 *
 * JSON envelopes, which are transport only, are in `envelope.ts`.
 */
import protobuf from 'protobufjs/minimal.js';
import { stele } from '../gen/envelope.js';
import { equalBytes } from './bytes.ts';
import { checkShape } from './entry-shape.ts';
import { malformed, SteleError } from './errors.ts';
import { ENTRY_BYTES_MAX } from './limits.ts';
import { checkEntry, type Entry, type EntrySignature } from './statement.ts';
import { hash } from './units.ts';

export {
  DSSE_JSON_TYPE,
  ENVELOPE_JSON_TYPE,
  formatEnvelopeJson,
  parseEnvelopeJson,
} from './envelope.ts';
export {
  type Entry,
  type EntrySignature,
  gatewayKeyid,
  RECORD_TYPE,
  signedMessage,
  statementDigest,
} from './statement.ts';

const WHAT = 'entry';

/** Reads an entry from a stranger's bytes; throws `malformed`, or `too_large` past 65,535 bytes. */
export function decodeEntry(bytes: Uint8Array): Entry {
  checkLength(bytes.length);
  // Every canonical entry begins so; what begins with "D" is a PAE, which must never be taken for one.
  if (bytes[0] !== 0x0a) throw malformed(WHAT, 'it does not begin with 0x0a, the tag of a payload');
  checkShape(bytes);
  const message = decodeMessage(bytes);
  const entry: Entry = {
    payloadType: message.payloadType,
    payload: message.payload,
    signatures: message.signatures.map(signatureOf),
  };
  checkEntry(entry);
  if (!equalBytes(writeMessage(entry), bytes)) {
    throw malformed(
      WHAT,
      'not the canonical encoding: encoding what was decoded gives other bytes',
    );
  }
  return entry;
}

/** The canonical bytes of an entry; throws `malformed` or `too_large` if it breaks a rule. */
export function encodeEntry(entry: Entry): Uint8Array {
  checkEntry(entry);
  const bytes = Uint8Array.from(writeMessage(entry));
  checkLength(bytes.length);
  return bytes;
}

function checkLength(length: number): void {
  if (length > ENTRY_BYTES_MAX) {
    throw new SteleError(
      'too_large',
      `${WHAT}: ${length} bytes where at most ${ENTRY_BYTES_MAX} are allowed`,
    );
  }
}

const { Envelope } = stele.v1;
type Message = ReturnType<typeof Envelope.decode>;
type SignatureMessage = Message['signatures'][number];

function decodeMessage(bytes: Uint8Array): Message {
  // A plain view: of a Buffer the decoder would make Buffers.
  const reader = protobuf.Reader.create(
    new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length),
  );
  // Kept, unknown fields would be written again, and "decode then encode" would say nothing of them.
  reader.discardUnknown = true;
  try {
    return Envelope.decode(reader);
  } catch (cause) {
    throw malformed(WHAT, 'not a protobuf message stele.v1.Envelope', { cause });
  }
}

function writeMessage(entry: Entry): Uint8Array {
  const writer = new protobuf.Writer();
  return Envelope.encode(
    {
      payload: entry.payload,
      payloadType: entry.payloadType,
      // The generated types want a mutable list; nothing is written to it.
      signatures: entry.signatures as readonly object[] as SignatureMessage[],
    },
    writer,
  ).finish();
}

function signatureOf(message: SignatureMessage): EntrySignature {
  const { window } = message;
  return {
    keyid: message.keyid ?? '',
    sig: message.sig ?? new Uint8Array(0),
    ...(window === undefined || window === null
      ? {}
      : {
          window: {
            index: wholeNumber(window.index),
            size: wholeNumber(window.size),
            hashes: (window.hashes ?? []).map((bytes) => hash(bytes, 'window hash')),
          },
        }),
  };
}

/** A decoded uint64: a number, or, where the package `long` is installed, an object that prints one. */
function wholeNumber(value: unknown): number {
  return value === undefined || value === null ? 0 : Number(String(value));
}
