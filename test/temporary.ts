/** Folders that a test may fill, removed after it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Removed at the end of its test, or when `atEnd` says. */
export function temporaryFolder(atEnd: (remove: () => void) => void = onTestFinished): string {
  const folder = mkdtempSync(join(tmpdir(), 'stele-test-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
