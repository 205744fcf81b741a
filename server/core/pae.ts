/**
 * What is signed: DSSE's pre-authentication encoding of a payload with its type.
 *
 *     "DSSEv1" SP len(type) SP type SP len(payload) SP payload        lengths in decimal, of bytes
 *
 * The lengths make it one-to-one, so no other pair gives the same bytes. It begins with "D", which no
 * entry does. [DSSE 1.0.2 protocol.md]
 */
import { concat, utf8 } from './bytes.ts';

export function pae(payloadType: string, payload: Uint8Array): Uint8Array {
  // A type that an entry may have is ASCII, whose bytes need no counting.
  const length = /^[\x20-\x7e]*$/.test(payloadType) ? payloadType.length : utf8(payloadType).length;
  return concat(utf8(`DSSEv1 ${length} ${payloadType} ${payload.length} `), payload);
}
