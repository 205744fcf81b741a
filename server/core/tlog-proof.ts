/**
 * An inclusion proof with its checkpoint, in the form that other logs' tools read.
 *
 *     c2sp.org/tlog-proof@v1
 *     extra <base64>                    optional; nobody signed it
 *     index 7
 *     <base64 of 32 bytes>              from the leaf's sibling upwards, perhaps none
 *                                       an empty line
 *     <the checkpoint, verbatim>
 *
 * The leaf is not in it; ours put the entry's bytes into `extra`, where a reader hashes what it finds.
 *
 * [C2SP tlog-proof]
 */
import { parseBase64, parseUtf8, toBase64 } from './bytes.ts';
import { parseDecimal } from './decimal.ts';
import { malformed } from './errors.ts';
import { ENTRY_BYTES_MAX, NOTE_BYTES_MAX, PROOF_HASHES_MAX } from './limits.ts';
import { type Hash, hash, type LeafIndex, leafIndex } from './units.ts';

const HEADER = 'c2sp.org/tlog-proof@v1';

/** Header, extra, index, 63 hashes and a checkpoint at their longest. */
const BYTES_MAX = 4_096 + Math.ceil(ENTRY_BYTES_MAX / 3) * 4 + NOTE_BYTES_MAX;

export interface TlogProof {
  readonly index: LeafIndex;
  readonly proof: readonly Hash[];
  /** A signed note, verbatim. */
  readonly checkpoint: string;
  readonly extra?: Uint8Array;
}

export function formatTlogProof({ index, proof, checkpoint, extra }: TlogProof): string {
  const lines = [
    HEADER,
    ...(extra === undefined ? [] : [`extra ${toBase64(extra)}`]),
    `index ${index}`,
    ...proof.map((item) => toBase64(item)),
    '',
    checkpoint,
  ];
  return lines.join('\n');
}

/** Reads a proof from a stranger's bytes; throws `malformed`. The checkpoint is not read. */
export function parseTlogProof(bytes: Uint8Array): TlogProof {
  const what = 'tlog-proof';
  if (bytes.length > BYTES_MAX) {
    throw malformed(what, `${bytes.length} bytes where at most ${BYTES_MAX} are allowed`);
  }
  const text = parseUtf8(bytes, what);
  const end = text.indexOf('\n\n');
  if (end < 0) throw malformed(what, 'no empty line before the checkpoint');
  const [header, ...lines] = text.slice(0, end).split('\n');
  if (header !== HEADER) throw malformed(what, `the first line is not ${HEADER}`);
  const extra = lines[0]?.startsWith('extra ') === true ? lines.shift()?.slice(6) : undefined;
  const index = lines.shift() ?? '';
  if (!index.startsWith('index ')) throw malformed(what, 'no index line after the header');
  if (lines.length > PROOF_HASHES_MAX) {
    throw malformed(what, `${lines.length} hashes where at most ${PROOF_HASHES_MAX} are allowed`);
  }
  return {
    index: leafIndex(parseDecimal(index.slice(6), `${what}: index`)),
    proof: lines.map((line) => hash(parseBase64(line, `${what}: hash`), `${what}: hash`)),
    checkpoint: text.slice(end + 2),
    ...(extra === undefined ? {} : { extra: parseBase64(extra, `${what}: extra`) }),
  };
}
