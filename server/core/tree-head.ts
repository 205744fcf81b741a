/**
 * What does a checkpoint say, apart from who signed it?
 *
 *     example.com/logs/audit                             origin
 *     20852163                                           size
 *     CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=       root
 *
 * and perhaps extension lines, which ours never have. The origin is compared byte for byte and never
 * normalized; its form is our own rule (`checkOrigin`), on which a reader of other people's
 * checkpoints does not rely. A size above 2^53 − 1 is legal in the format and refused here: no index
 * in this program could follow it.
 *
 * [C2SP tlog-checkpoint]
 */
import { parseBase64, toBase64, utf8 } from './bytes.ts';
import { parseDecimal } from './decimal.ts';
import { malformed, shown } from './errors.ts';
import { ORIGIN_BYTES_MAX } from './limits.ts';
import { type Hash, hash, type TreeSize, treeSize } from './units.ts';
import { controlCharacterAt, isKeyName } from './verifier-key.ts';

export interface Checkpoint {
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
}

export interface CheckpointOptions {
  /** Whether lines after the root are allowed; they are then part of what was signed, and skipped. */
  readonly extensions?: boolean;
}

/** The note text of a checkpoint. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  return `${checkpoint.origin}\n${checkpoint.size}\n${toBase64(checkpoint.root)}\n`;
}

/** Reads a note text as a checkpoint; throws `malformed`. */
export function parseCheckpoint(text: string, options: CheckpointOptions = {}): Checkpoint {
  const what = 'checkpoint';
  const [origin = '', size = '', root = '', ...rest] = text.split('\n');
  if (origin === '') throw malformed(what, 'no origin in the first line');
  if (!text.isWellFormed() || controlCharacterAt(text) >= 0) {
    throw malformed(what, 'a control character, or half of a surrogate pair');
  }
  const checkpoint = {
    origin,
    size: treeSize(parseDecimal(size, 'checkpoint size')),
    root: hash(parseBase64(root, 'checkpoint root'), 'checkpoint root'),
  };
  // What is left after a final line feed is one empty piece.
  const extensions = rest.slice(0, -1);
  if (rest.length === 0 || rest.at(-1) !== '') throw malformed(what, 'no line feed at the end');
  if (extensions.length > 0 && options.extensions !== true) {
    throw malformed(what, `extension line ${shown(extensions[0] ?? '')} where none is allowed`);
  }
  if (extensions.includes('')) throw malformed(what, 'an empty extension line');
  if (formatCheckpoint(checkpoint) + extensions.map((line) => `${line}\n`).join('') !== text) {
    throw malformed(what, 'not in its one spelling');
  }
  return checkpoint;
}

/** Checks that a log of ours may have this origin: it is also the name of the log's keys. */
export function checkOrigin(origin: string): void {
  if (!isKeyName(origin)) {
    throw malformed(
      'origin',
      `${shown(origin)} is empty or has white space, a plus or a control character`,
    );
  }
  const bytes = utf8(origin).length;
  if (bytes > ORIGIN_BYTES_MAX) {
    throw malformed('origin', `${bytes} bytes where at most ${ORIGIN_BYTES_MAX} are allowed`);
  }
}
