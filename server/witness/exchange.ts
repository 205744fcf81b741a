/**
 * One head and one witness: asked until there are lines, or a reason why there are none.
 *
 * The first question begins at the size that the witness cosigned last. If it says that it has another one, it is
 * asked again from there, with the proof; whatever it says that does not go with the log's own history is looked
 * into before it counts (`evidence.ts`).
 */
import { equalBytes, utf8 } from '../core/bytes.ts';
import type { SteleError } from '../core/errors.ts';
import type { SignatureCheck } from '../core/signature.ts';
import { formatAddCheckpoint, formatTlogSize } from '../core/tlog-witness.ts';
import { type Hash, type TreeSize, treeSize } from '../core/units.ts';
import type { CosigningRow, WitnessRows } from '../storage/witnesses.ts';
import { askWitness, type Reach, type Said, WitnessError } from './ask.ts';
import { type Claim, Disputed, evidenceOf, type JudgedLog, standingOf } from './evidence.ts';
import { servedIfAny } from './served.ts';
import type { Witness } from './witness.ts';

/** A log as far as it is spoken of with a witness. */
export interface ExchangedLog extends JudgedLog {
  readonly stopped: SteleError | undefined;
  consistency(from: TreeSize, to: TreeSize): Promise<Hash[]>;
}

export interface ExchangePorts extends Reach {
  readonly rows: WitnessRows;
  readonly now: () => number;
  /** The engine; the portable one where none is given. */
  readonly check?: SignatureCheck;
}

/** Times that one witness is asked in a row, as its size turns out to be another. */
const ROUNDS = 3;

/**
 * The bytes of its answer, not verified yet. Rejects with `WitnessError`, with `Disputed` where it has another
 * history of the log, or with why there is no answer.
 */
export function exchange(
  log: ExchangedLog,
  witness: Witness,
  row: CosigningRow,
  ports: ExchangePorts,
): Promise<Uint8Array> {
  return new Exchange(log, witness, row, ports).run();
}

class Exchange {
  readonly #log: ExchangedLog;
  readonly #witness: Witness;
  readonly #row: CosigningRow;
  readonly #ports: ExchangePorts;

  constructor(log: ExchangedLog, witness: Witness, row: CosigningRow, ports: ExchangePorts) {
    this.#log = log;
    this.#witness = witness;
    this.#row = row;
    this.#ports = ports;
  }

  async run(): Promise<Uint8Array> {
    if (this.#log.stopped !== undefined) throw this.#log.stopped;
    const size = treeSize(this.#row.size);
    let old = treeSize(Math.min(this.#seen?.size ?? 0, size));
    for (let round = 0; round < ROUNDS; round++) {
      const said = await this.#ask(old, size);
      if (said.kind === 'lines') return said.bytes;
      if (said.kind === 'other root') throw await this.#otherRoot(old, said);
      if (said.size > this.#log.head().size) throw await this.#larger(old, said.size);
      if (said.size > size) {
        throw new WitnessError('retry', `it has seen ${said.size} entries, and is shown ${size}`);
      }
      if (said.size === old) {
        throw new WitnessError('retry', `it says that it has ${old} entries, as it was told`);
      }
      old = said.size;
    }
    throw new WitnessError('retry', `it had another size each of ${ROUNDS} times`);
  }

  get #seen() {
    return this.#ports.rows.seen(this.#row.log, this.#row.witness);
  }

  async #ask(old: TreeSize, size: TreeSize): Promise<Said> {
    const { log, witness, note } = this.#row;
    const proof = old === 0 || old === size ? [] : await this.#log.consistency(old, size);
    const request = formatAddCheckpoint({ old, proof, checkpoint: utf8(note) });
    this.#ports.rows.count(log, witness, 'asked');
    return askWitness(this.#witness, request, this.#ports);
  }

  /** It has more entries than the log ever had. */
  async #larger(old: TreeSize, told: TreeSize): Promise<Error> {
    const said = `has ${told} entries of it, and the log never had more than ${this.#log.head().size}`;
    const { proof } = await this.#lookInto();
    return this.#disputed(said, old, { status: 409, bytes: utf8(formatTlogSize(told)) }, proof);
  }

  /** It refuses a proof that begins with a size which it has. */
  async #otherRoot(
    old: TreeSize,
    answer: { readonly status: number; readonly bytes: Uint8Array },
  ): Promise<Error> {
    const what = `it answered ${answer.status} to a head of ${this.#row.size} entries after ${old}`;
    // Nothing is proven to who has nothing.
    if (old === 0) return new WitnessError('refused', what);
    const { proof, agreesAt } = await this.#lookInto();
    if (proof === undefined) {
      const own = (await this.#log.headAt(old)).root;
      const seen = this.#seen;
      const isSigned = seen?.size === old && seen.root !== null && equalBytes(seen.root, own);
      // Its own signature, or what it serves, says that it has the log's root: the fault is on its side.
      if (isSigned || (agreesAt !== undefined && agreesAt >= old)) {
        return new WitnessError('refused', `${what}, whose root it has cosigned as the log has it`);
      }
    }
    return this.#disputed(`has another root at size ${old}`, old, answer, proof);
  }

  /** What it serves, where that is signed by the log: a proof against it, or how far it agrees. */
  async #lookInto(): Promise<{ readonly proof?: string; readonly agreesAt?: TreeSize }> {
    const { check } = this.#ports;
    const served = await servedIfAny(this.#witness, this.#log.origin, this.#ports, check);
    if (served === undefined) return {};
    const standing = await standingOf(served, this.#log, check);
    if (standing === 'other') return { proof: served.note };
    return standing === 'agrees' ? { agreesAt: served.size } : {};
  }

  #disputed(
    said: string,
    old: TreeSize,
    { status, bytes }: { readonly status: number; readonly bytes: Uint8Array },
    proof: string | undefined,
  ): Disputed {
    const { witness, size, note } = this.#row;
    const atMs = this.#ports.now();
    const claim: Claim = { witness, said, atMs, old, size, note, status, answer: bytes };
    return new Disputed(said, evidenceOf(claim, proof));
  }
}
