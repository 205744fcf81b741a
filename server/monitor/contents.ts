/**
 * What is in the tree: read from where the last look ended, and derived again.
 *
 *     tiles      leaf hashes ─────────────────────────▶ tree ──▶ the root that was signed?
 *     entries    bundles ──▶ leaf hashes ─────────────▶ tree     every tile as it is served?
 *     records    bundles ──▶ leaf hashes ─────────────▶ tree
 *                   └──────▶ keys, signatures, records, chains   the log's own rules (log/audit)
 *
 * A long way is gone in steps. After each the tree so far is held to the head, so that what is written down is
 * part of the signed tree; whoever dies in between goes on from the last step. Where a step fails nothing of
 * it is kept: the caller goes back to what is on disk.
 */
import { equalBytes, parseBase64, toBase64 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { TILE_WIDTH } from '../core/limits.ts';
import { tileWidth } from '../core/tile.ts';
import { edgeTiles, Tree } from '../core/tree.ts';
import { HASH_BYTES, type Hash, hash, leafIndex, type TreeSize, treeSize } from '../core/units.ts';
import type { SignatureChecker } from '../log/admit.ts';
import { Chains, type Hole } from '../log/audit/chains.ts';
import { EntryCheck } from '../log/audit/entries.ts';
import { Findings } from '../log/audit/findings.ts';
import type { AuditReader, TileReader, TileWanted } from '../log/audit/reader.ts';
import { TreeCheck } from '../log/audit/tree.ts';
import { Registry } from '../log/registry.ts';
import type { KeyHistory } from '../verify/key-history.ts';
import type { SeenHead } from './heads.ts';
import { prefixOf } from './prefix.ts';
import { type Depth, FLAWS_MAX, type StoredContents } from './state.ts';

/** Entries between two times that progress is written down: a whole number of tiles, some seconds of work. */
export const STEP = 16_384;

export interface Flaw {
  readonly detail: string;
  readonly index?: number;
}

interface ControlEntry {
  readonly index: number;
  readonly entry: string;
}

/** What is read of a log: the part of an audit's reader that needs no head. */
export type ContentReader = TileReader & Pick<AuditReader, 'entries'>;

export interface AdvanceOptions {
  readonly reader: ContentReader;
  readonly head: SeenHead;
  readonly checker: SignatureChecker;
  /** Called after each step, with what is proven by then. */
  readonly save: (contents: StoredContents) => void;
  readonly progress?: (done: number, size: number) => void;
  readonly signal: AbortSignal;
}

export class Contents {
  readonly depth: Depth;
  readonly #registry: Registry;
  readonly #chains: Chains;
  readonly #chainFindings: Findings;
  readonly #control: ControlEntry[];
  readonly #flaws: Flaw[];
  #moreFlaws: number;
  #tree: Tree;

  /** From the beginning, or from what was written down. Throws `malformed` where that cannot be right. */
  constructor(origin: string, depth: Depth, stored?: StoredContents) {
    this.depth = depth;
    this.#registry = new Registry(origin);
    this.#chainFindings = new Findings();
    this.#chains = new Chains(
      this.#chainFindings,
      stored?.sources.map(({ lost, ...source }) => ({
        ...source,
        lost: lost.map(({ begin, end }) => [begin, end] as const),
      })),
    );
    this.#control = [...(stored?.control ?? [])];
    for (const { index, entry } of this.#control) {
      this.#registry.replay(parseBase64(entry, 'monitor state'), leafIndex(index));
    }
    this.#flaws = [...(stored?.flaws ?? [])];
    this.#moreFlaws = stored?.more_flaws ?? 0;
    this.#tree =
      stored === undefined
        ? Tree.empty()
        : Tree.restore(
            treeSize(stored.size),
            stored.edge.map((level) => level.map((text) => hash(parseBase64(text, 'edge')))),
          );
  }

  get size(): TreeSize {
    return this.#tree.size;
  }

  /** What the log says of its own keys, where its records are read. */
  get history(): KeyHistory | undefined {
    return this.#registry.history;
  }

  get registry(): Registry {
    return this.#registry;
  }

  /** Chains that were broken by records that are in the log for good. */
  get flaws(): readonly Flaw[] {
    return this.#flaws;
  }

  get moreFlaws(): number {
    return this.#moreFlaws;
  }

  holes(): Generator<Hole> {
    return this.#chains.holes(this.#registry.previous !== undefined);
  }

  get sources(): number {
    return this.#chains.count;
  }

  /** Control records from this index on. */
  controlFrom(index: number): readonly { readonly index: number; readonly entry: Uint8Array }[] {
    return this.#control
      .filter((one) => one.index >= index)
      .map((one) => ({ index: one.index, entry: parseBase64(one.entry, 'control record') }));
  }

  stored(): StoredContents {
    return {
      depth: this.depth,
      size: this.size,
      edge: edgeTiles(this.size).map(({ level, count }) => {
        if (count === 0) return [];
        const bytes = this.#tree.partialTile(level, count);
        return hashesOf(bytes).map(toBase64);
      }),
      control: this.#control,
      sources: this.#chains.stored().map(({ lost, ...source }) => ({
        ...source,
        lost: lost.map(([begin, end]) => ({ begin, end })),
      })),
      flaws: this.#flaws,
      more_flaws: this.#moreFlaws,
    };
  }

  /** Reads on up to `head`. What it found; where there is a failure among it, this is good for nothing more. */
  async advance(options: AdvanceOptions): Promise<Findings> {
    const { head, save, progress, signal } = options;
    const findings = new Findings();
    if (this.size === head.size && !equalBytes(this.#tree.root(), head.root)) {
      findings.add('fail', `the entries do not hash to the root that was signed for ${head.size}`);
    }
    while (this.size < head.size) {
      signal.throwIfAborted();
      const begin = this.size;
      const next = (Math.floor(begin / STEP) + 1) * STEP;
      const end = treeSize(Math.min(head.size, next));
      await this.#step(options, begin, end, findings);
      if (findings.count('fail') > 0) return findings;
      save(this.stored());
      progress?.(this.size, head.size);
    }
    return findings;
  }

  async #step(
    { reader, head, checker }: AdvanceOptions,
    begin: TreeSize,
    end: TreeSize,
    findings: Findings,
  ): Promise<void> {
    const leaves = new LeafTiles(reader, head.size);
    const tree = new TreeCheck(leaves, findings, this.#tree);
    try {
      if (this.depth === 'tiles') await readLeaves(leaves, tree, end);
      else await this.#readEntries(reader, { begin, end, tree, checker, findings });
      if (tree.size < end) {
        findings.add('fail', `reading ended at entry ${tree.size} of ${end}`, tree.size);
      } else if (end === head.size) await tree.finish(head.root);
      else if (!equalBytes(tree.root(), (await prefixOf(leaves, end, head)).root)) {
        findings.add(
          'fail',
          `entries ${begin} to ${end - 1} do not hash to what was signed`,
          begin,
        );
      }
    } catch (error) {
      if (!isFlaw(error)) throw error;
      findings.add('fail', error.message, tree.size);
    }
    this.#tree = tree.tree;
  }

  async #readEntries(
    reader: ContentReader,
    step: {
      readonly begin: TreeSize;
      readonly end: TreeSize;
      readonly tree: TreeCheck;
      readonly checker: SignatureChecker;
      readonly findings: Findings;
    },
  ): Promise<void> {
    const { begin, end, tree, checker, findings } = step;
    const check =
      this.depth === 'records'
        ? new EntryCheck(this.#registry.origin, checker, findings, {
            registry: this.#registry,
            chains: this.#chains,
          })
        : undefined;
    for await (const piece of reader.entries(leafIndex(begin), end)) {
      const at = tree.size;
      await tree.add(piece);
      if (check === undefined) continue;
      const known = check.control.length;
      await check.add(at, piece);
      for (const index of check.control.slice(known)) {
        const bytes = piece[index - at];
        if (bytes !== undefined) this.#control.push({ index, entry: toBase64(bytes) });
      }
    }
    await check?.settle();
    this.#keepFlaws(findings);
  }

  /**
   * What is wrong in chains: a rule of the log's is broken, or a source's own numbers do not fit, which no later
   * entry mends. Nobody reads these entries again, so that is kept.
   */
  #keepFlaws(findings: Findings): void {
    const { found, more } = this.#chainFindings.take();
    this.#moreFlaws += more;
    for (const { severity, what, index } of found) {
      if (severity !== 'note') findings.add(severity, what, index);
      else if (this.#flaws.length >= FLAWS_MAX) this.#moreFlaws++;
      else this.#flaws.push(index === undefined ? { detail: what } : { detail: what, index });
    }
  }
}

async function readLeaves(leaves: LeafTiles, tree: TreeCheck, end: TreeSize): Promise<void> {
  while (tree.size < end) {
    const index = Math.floor(tree.size / TILE_WIDTH);
    const bytes = await leaves.leafTile(index);
    const first = tree.size - index * TILE_WIDTH;
    await tree.addLeaves(hashesOf(bytes).slice(first, end - index * TILE_WIDTH));
  }
}

/** Tiles of one head. The newest tile of leaves is kept: whoever read it is about to be asked for it again. */
class LeafTiles implements TileReader {
  readonly hasPartialTiles: boolean;
  readonly #reader: TileReader;
  readonly #size: TreeSize;
  #newest: { readonly index: number; readonly bytes: Uint8Array } | undefined;

  constructor(reader: TileReader, size: TreeSize) {
    this.hasPartialTiles = reader.hasPartialTiles;
    this.#reader = reader;
    this.#size = size;
  }

  /** Throws `unverified` where it is missing, or not as long as the head says. */
  async leafTile(index: number): Promise<Uint8Array> {
    const width = tileWidth(0, index, this.#size);
    const [bytes] = await this.#reader.tiles([{ level: 0, index, width }]);
    if (bytes?.length !== width * HASH_BYTES) {
      const what = bytes === undefined ? 'is missing' : `has ${bytes.length} bytes`;
      throw new SteleError('unverified', `tile 0/${index} of ${width} hashes ${what}`);
    }
    this.#newest = { index, bytes };
    return bytes;
  }

  async tiles(wanted: readonly TileWanted[]): Promise<readonly (Uint8Array | undefined)[]> {
    const own = (tile: TileWanted) =>
      tile.level === 0 && tile.index === this.#newest?.index
        ? this.#newest.bytes.subarray(0, tile.width * HASH_BYTES)
        : undefined;
    const missing = wanted.filter((tile) => own(tile) === undefined);
    const read = missing.length === 0 ? [] : await this.#reader.tiles(missing);
    return wanted.map((tile) => own(tile) ?? read[missing.indexOf(tile)]);
  }
}

function hashesOf(tile: Uint8Array): Hash[] {
  return Array.from(
    { length: tile.length / HASH_BYTES },
    (_, i) => tile.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES) as Hash,
  );
}

/** What the log served cannot be right, as against: it could not be had. */
export function isFlaw(error: unknown): error is SteleError {
  return (
    error instanceof SteleError &&
    ['malformed', 'unverified', 'conflict', 'too_large', 'not_found'].includes(error.code)
  );
}
