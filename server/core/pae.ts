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
  const type = utf8(payloadType);
  return concat(utf8(`DSSEv1 ${type.length} `), type, utf8(` ${payload.length} `), payload);
}
