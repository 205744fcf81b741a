/**
 * May a witness cosign this checkpoint, after the one that it cosigned last?
 *
 *     old ≠ held size                    no: tell the size                       409
 *     size 0, and not the empty root     no: such a tree does not exist          422
 *     old = 0, and a proof               no: there is nothing to prove           422
 *     old = size, and another root       no: two trees of one size               422
 *     the proof does not hold            no                                      422
 *     all else                           yes
 *
 * The signatures of the log were verified before. A refusal is evidence where it shows something that the log
 * itself signed: two roots of one size, a root of no entries that is not that of the empty tree, or a tree that
 * by its own proof did not grow out of the one held. A proof that leads nowhere shows nothing, as anybody can
 * send one with a checkpoint that he has found; it is kept apart from the others, so that it takes up no room of theirs.
 *
 * [C2SP tlog-witness]
 */
import { equalBytes } from './bytes.ts';
import { SteleError } from './errors.ts';
import { EMPTY_ROOT } from './merkle.ts';
import { checkConsistency, rootsFromConsistency } from './proof.ts';
import type { Hash, TreeSize } from './units.ts';

export interface WitnessedHead {
  readonly size: TreeSize;
  readonly root: Hash;
}

/** A checkpoint with what was sent to prove it. */
export interface Shown extends WitnessedHead {
  readonly old: TreeSize;
  readonly proof: readonly Hash[];
}

export const EVIDENCE_KINDS = ['same_size', 'forked', 'empty_root', 'bad_proof'] as const;
export type EvidenceKind = (typeof EVIDENCE_KINDS)[number];

export type Judgement =
  | { readonly kind: 'cosign' }
  | { readonly kind: 'conflict'; readonly size: TreeSize; readonly evidence?: EvidenceKind }
  | { readonly kind: 'refuse'; readonly rule: string; readonly evidence?: EvidenceKind };

export function judgeShown(held: WitnessedHead | undefined, shown: Shown): Judgement {
  const { old, size, root, proof } = shown;
  const known = held?.size ?? 0;
  const differs = held !== undefined && held.size === size && !equalBytes(held.root, root);
  if (old !== known) {
    // Whoever asks with another size may show a second tree of the size that is held all the same.
    const evidence = differs ? ({ evidence: 'same_size' } as const) : {};
    return { kind: 'conflict', size: known as TreeSize, ...evidence };
  }
  if (size === 0 && !equalBytes(root, EMPTY_ROOT)) {
    return refuse('a tree of 0 entries has the root of the empty tree', 'empty_root');
  }
  if (held === undefined || old === 0) {
    // SPEC: the proof MUST be empty if the old size is zero.
    if (proof.length > 0)
      return refuse(`${proof.length} hashes after size 0, where nothing is proven`);
    return { kind: 'cosign' };
  }
  if (differs) return refuse(`another root of size ${size} was cosigned`, 'same_size');
  const claim = { from: old, to: size, fromRoot: held.root, toRoot: root, proof };
  try {
    checkConsistency(claim);
    return { kind: 'cosign' };
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    return refuse(error.message, leadsTo(claim) ? 'forked' : 'bad_proof');
  }
}

function refuse(rule: string, evidence?: EvidenceKind): Judgement {
  return { kind: 'refuse', rule, ...(evidence === undefined ? {} : { evidence }) };
}

/**
 * Whether a proof that does not hold leads to the root that the log signed: then it says truly how that tree
 * began, and that is not how the one held does. Where `from` is a power of two the proof says nothing of it.
 */
function leadsTo(claim: Parameters<typeof checkConsistency>[0]): boolean {
  try {
    return equalBytes(rootsFromConsistency(claim).to, claim.toRoot);
  } catch (error) {
    if (error instanceof SteleError) return false;
    throw error;
  }
}
