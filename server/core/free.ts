/**
 * Gives memory back at once that nobody will look at again.
 *
 * A collector that goes by the size of objects sees a few bytes where a quarter of a MiB lies behind them, and lets
 * many of those pile up before it runs. Only whole buffers of some size are worth it, and small ones may be
 * parts of a pool that others have parts of.
 */
const WORTH_BYTES = 65_536;

/** `bytes` must not be used afterwards; they are empty then. */
export function free(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (bytes.length < WORTH_BYTES || buffer.byteLength !== bytes.length) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
