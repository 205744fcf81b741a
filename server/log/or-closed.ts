/** A log that does not come to be leaves nothing open, however often somebody asks for it. */
export async function orClosed<T>(
  closing: { close(): Promise<void> },
  make: () => Promise<T>,
): Promise<T> {
  try {
    return await make();
  } catch (error) {
    // What went wrong first is what to tell.
    await closing.close().catch(() => undefined);
    throw error;
  }
}
