/** Small disks of a test's own: tmpfs, which takes root. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why nothing can be mounted here; nothing where it can. */
export const mountMissing: string | undefined = whyMissing();

function whyMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'mounting takes root';
  const folder = mkdtempSync(join(tmpdir(), 'stele-mount-'));
  try {
    const tried = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
    if (tried.status !== 0) return 'tmpfs cannot be mounted here';
    execFileSync('umount', [folder]);
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const PIECE = Buffer.alloc(65_536, 1);

export class SmallDisk {
  readonly folder: string;
  readonly #ballast: string;

  /** Mounts over `folder`, which is made where it is missing. */
  constructor(folder: string, mib: number) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=700`, 'tmpfs', folder]);
    this.folder = folder;
    this.#ballast = join(folder, '.ballast');
  }

  /** Fills the disk until `leave` bytes are free. */
  fill(leave = 0): void {
    const file = openSync(this.#ballast, 'a');
    try {
      // Pages of a file that grows by itself meanwhile are few; the bound is the disk's own.
      for (let free = this.free(); free > leave; free = this.free()) {
        writeSync(file, PIECE, 0, Math.min(PIECE.length, free - leave));
      }
    } finally {
      closeSync(file);
    }
  }

  free(): number {
    const { bavail, bsize } = statfsSync(this.folder);
    return bavail * bsize;
  }

  /** Takes the ballast away. */
  empty(): void {
    rmSync(this.#ballast);
  }

  close(): void {
    execFileSync('umount', [this.folder]);
  }

  /** Lets go of it once nobody uses it any more. */
  detach(): void {
    execFileSync('umount', ['--lazy', this.folder]);
  }
}
