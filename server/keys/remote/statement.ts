/**
 * What would a key say if it signed these bytes?
 *
 * A signer never signs what it does not understand. Each purpose has one form of message, and the forms
 * cannot be taken for one another, since no key has two purposes:
 *
 *     identity, anchor   the text of a checkpoint of this origin           a head
 *     sth                an RFC 6962 TreeHeadSignature                     a head and a time
 *     operator           the PAE of a control record of this origin        who may say what
 *
 * Whether a head may be signed is judged by `head-book.ts`.
 */
import { equalBytes, parseUtf8 } from '../../core/bytes.ts';
import { decodeTreeHead } from '../../core/ct.ts';
import { malformed, shown } from '../../core/errors.ts';
import { pae } from '../../core/pae.ts';
import { CONTROL_SOURCE, isControlKind, parseRecord, RECORD_TYPE } from '../../core/record.ts';
import { parseCheckpoint } from '../../core/tree-head.ts';
import type { HeadRoot } from '../log-keys.ts';
import type { Purpose } from './protocol.ts';

export type Statement =
  | { readonly kind: 'head'; readonly head: HeadRoot }
  | { readonly kind: 'treeHead'; readonly head: HeadRoot; readonly timeMs: number }
  | { readonly kind: 'control' };

/** Reads the message that a key of `purpose` is to sign for `origin`; throws `malformed`. */
export function parseStatement(purpose: Purpose, origin: string, message: Uint8Array): Statement {
  switch (purpose) {
    case 'identity':
    case 'anchor': {
      const { origin: named, size, root } = parseCheckpoint(parseUtf8(message, 'checkpoint'));
      if (named !== origin) {
        throw malformed('checkpoint', `it is of ${shown(named)} and not of ${shown(origin)}`);
      }
      return { kind: 'head', head: { size, root } };
    }
    case 'sth': {
      const { size, root, timeMs } = decodeTreeHead(message);
      return { kind: 'treeHead', head: { size, root }, timeMs };
    }
    case 'operator':
      checkControl(payloadOf(message), origin);
      return { kind: 'control' };
  }
}

const HEADER = /^DSSEv1 [0-9]+ [!-~]+ [0-9]+ /;

/** Longer than any header before a record. */
const HEADER_BYTES_MAX = 128;

/** The payload of a statement whose type is that of records. */
function payloadOf(message: Uint8Array): Uint8Array {
  const start = String.fromCharCode(...message.subarray(0, HEADER_BYTES_MAX));
  const payload = message.subarray(HEADER.exec(start)?.[0].length ?? message.length);
  // Made again and compared: what a second reader would find in it is what was found here.
  if (!equalBytes(pae(RECORD_TYPE, payload), message)) {
    throw malformed('control record', `not the PAE of a payload of type ${RECORD_TYPE}`);
  }
  return payload;
}

function checkControl(payload: Uint8Array, origin: string): void {
  const { kind, source } = parseRecord(payload, origin);
  if (isControlKind(kind) && source.id === CONTROL_SOURCE) return;
  throw malformed(
    'control record',
    `a record of kind ${kind} and source ${shown(source.id)} is none of the operator's`,
  );
}
