/**
 * What does a witness remember of a log?
 *
 * Its newest checkpoint, where it serves one. One that serves none is shown again what it cosigned last: that is
 * signed and public already, so nothing is risked, and a witness that knows more answers with its size.
 *
 * [C2SP tlog-witness]
 */
import { parseUtf8, utf8 } from '../core/bytes.ts';
import { hasCode, SteleError, unverified } from '../core/errors.ts';
import { NOTE_BYTES_MAX } from '../core/limits.ts';
import { openNote, parseNote } from '../core/note.ts';
import type { SignatureCheck } from '../core/signature.ts';
import { checkpointPathOf, formatAddCheckpoint, openCosignatures } from '../core/tlog-witness.ts';
import { parseCheckpoint } from '../core/tree-head.ts';
import { type Hash, type TreeSize, treeSize } from '../core/units.ts';
import { askWitness, type Reach, WitnessError } from './ask.ts';
import type { Witness } from './witness.ts';

/** A head that a witness cosigned; whether the log ever signed it is not looked at here. */
export interface ServedHead {
  readonly size: TreeSize;
  readonly root: Hash;
  /** With its cosignature. */
  readonly note: string;
}

/**
 * The newest head of a log that a witness serves; nothing where it serves none. Rejects with `storage` where it
 * cannot be asked, and with `malformed` or `unverified` where what it serves is not what it signed.
 */
export async function servedHead(
  { url, keys, name }: Witness,
  origin: string,
  { outbound, timeoutMs, signal }: Reach,
  check?: SignatureCheck,
): Promise<ServedHead | undefined> {
  const address = `${url}/${checkpointPathOf(origin)}`;
  const { status, bytes } = await outbound.ask(address, {
    maxBytes: NOTE_BYTES_MAX,
    timeoutMs,
    signal,
  });
  if (status === 429 || status >= 500) {
    throw new SteleError('storage', `witness ${name}: it answered ${status}`);
  }
  if (status !== 200) return undefined;
  const { note, verified } = openNote(bytes, keys, check === undefined ? {} : { check });
  const { origin: of, size, root } = parseCheckpoint(note.text, { extensions: true });
  if (verified.length === 0 || of !== origin) {
    throw unverified(`witness ${name}`, 'it serves the head of another log');
  }
  return { size, root, note: parseUtf8(bytes, 'checkpoint') };
}

/** What it cosigned last, as it is known here. */
export interface LastCosigned {
  readonly size: number;
  readonly root: Hash;
  /** Without its cosignature. */
  readonly note: string;
}

/** The head that it knows, or only its size where it says no more. */
export type Recalled = ServedHead | { readonly size: TreeSize; readonly root?: undefined };

/** As `servedHead`; and where it serves none, what it says when it is shown `last` again. */
export async function recall(
  witness: Witness,
  origin: string,
  last: LastCosigned | undefined,
  reach: Reach,
  { check, now }: { readonly check?: SignatureCheck; readonly now: number },
): Promise<Recalled | undefined> {
  let served: ServedHead | undefined;
  try {
    served = await servedHead(witness, origin, reach, check);
  } catch (error) {
    // A page that is shown for every address is no checkpoint; what it says of the last one tells more.
    const isOther = hasCode(error, 'malformed') || hasCode(error, 'unverified');
    if (!isOther || last === undefined) throw error;
  }
  if (served !== undefined || last === undefined) return served;
  const size = treeSize(last.size);
  const request = formatAddCheckpoint({ old: size, proof: [], checkpoint: utf8(last.note) });
  try {
    const said = await askWitness(witness, request, reach);
    if (said.kind === 'size') return { size: said.size };
    if (said.kind === 'other root') {
      throw new SteleError(
        'split_view',
        `witness ${witness.name}: it has another root at size ${size} than the one that it cosigned`,
      );
    }
    const latest = Math.ceil(now / 1_000) + CLOCK_S;
    const { text } = parseNote(utf8(last.note));
    const lines = openCosignatures(said.bytes, text, witness.keys, {
      latest,
      ...(check === undefined ? {} : { check }),
    });
    return lines.length === 0 ? undefined : { size, root: last.root, note: last.note };
  } catch (error) {
    if (!(error instanceof WitnessError)) throw error;
    throw new SteleError('storage', `witness ${witness.name}: ${error.message}`, { cause: error });
  }
}

/** Seconds by which the clock of a witness may be ahead of ours. */
export const CLOCK_S = 300;

/** Nothing where what it says cannot be had or read: a judgment then goes without it. */
export async function servedIfAny(
  ...asked: Parameters<typeof servedHead>
): Promise<ServedHead | undefined> {
  try {
    return await servedHead(...asked);
  } catch (error) {
    const isTheirs =
      hasCode(error, 'storage') ||
      hasCode(error, 'malformed') ||
      hasCode(error, 'unverified') ||
      hasCode(error, 'too_large');
    if (isTheirs) return undefined;
    throw error;
  }
}
