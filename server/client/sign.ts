/**
 * From a statement to an entry: signed alone, or under one window signature for many.
 */
import { type Entry, encodeEntry } from '../core/entry.ts';
import { pae } from '../core/pae.ts';
import { buildWindow } from '../core/window.ts';
import type { Signer } from '../keys/signer.ts';

export interface Statement {
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

/** The canonical entry of a statement with this signer's signature. */
export async function signEntry(
  signer: Signer,
  payloadType: string,
  payload: Uint8Array,
): Promise<Uint8Array> {
  const { keyid } = signer.publicKey;
  const sig = await signer.sign(pae(payloadType, payload));
  return encodeEntry({ payloadType, payload, signatures: [{ keyid, sig }] });
}

/**
 * Entries for a log of this `origin`, all under one signature; each carries its path to the window's
 * root and still verifies alone. For audit records only: their random ids and salts keep a neighbor's
 * hash from telling anything.
 */
export async function signWindow(
  signer: Signer,
  origin: string,
  statements: readonly Statement[],
): Promise<Uint8Array[]> {
  const { message, windows } = buildWindow(origin, statements);
  const { keyid } = signer.publicKey;
  const sig = await signer.sign(message);
  return statements.map(({ payloadType, payload }, i) => {
    const window = windows[i];
    const signature = window === undefined ? { keyid, sig } : { keyid, sig, window };
    const entry: Entry = { payloadType, payload, signatures: [signature] };
    return encodeEntry(entry);
  });
}
