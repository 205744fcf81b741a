/**
 * The primitives that Node does faster than plain JavaScript: SHA-256, hex and base64.
 *
 * The main program and every worker thread call `useNativePrimitives` before they hash anything. The
 * offline verifier never does, so that it runs the same code in Node as in a browser.
 */
import { hash } from 'node:crypto';
import { usePrimitives } from './core/primitives.ts';

/** Installs Node's primitives for this thread. */
export function useNativePrimitives(): void {
  usePrimitives({ sha256, toHex, toBase64 });
}

/**
 * Writing the digest as a string into 32 bytes of our own is half as much work again as taking Node's
 * buffer, and leaves no slice of a shared pool behind.
 */
function sha256(bytes: Uint8Array): Uint8Array {
  const digest = new Uint8Array(32);
  Buffer.prototype.latin1Write.call(digest, hash('sha256', bytes, 'binary'), 0, 32);
  return digest;
}

function toHex(bytes: Uint8Array): string {
  return view(bytes).toString('hex');
}

function toBase64(bytes: Uint8Array): string {
  return view(bytes).toString('base64');
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
