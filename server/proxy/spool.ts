/**
 * One call on its way into the journal: what must be on disk, and in which frames?
 *
 *     begin  request… requested │ commit, then forward │ head  response…  end │ commit, then release
 *
 * Every byte is sealed before it is queued. Small pieces are gathered for a moment (`Linger`) so that a
 * stream of tokens does not become a frame each; what a crash can lose of an answer is that moment, and
 * the record then says that it was truncated.
 *
 * A spool whose frames were lost by a failed write is dead: every later step rejects with `storage`, so
 * no later frame can make a call with a hole look whole.
 */
import { createHash, type Hash } from 'node:crypto';
import { concat, toBase64url, utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { free } from '../core/free.ts';
import { associatedData, KEY_BYTES } from '../vault/chunks.ts';
import type { Keyring } from '../vault/keyring.ts';
import type {
  BeginFacts,
  EndFacts,
  EndFrame,
  HeadFacts,
  JudgedFacts,
  RequestedFacts,
} from './facts.ts';
import { FRAME } from './journal/frame.ts';
import type { Journal } from './journal/journal.ts';
import { FactsSeal, FieldSealer } from './journal/seal.ts';
import { SpooledCall } from './spooled.ts';

/** What every call of one source shares. */
export interface SpoolContext {
  readonly journal: Journal;
  readonly keyring: Keyring;
  /**
   * The origin of the log that the configuration names: sealed content opens for no other. It stays the same
   * when the log ends and its records go to the next one of the series.
   */
  readonly origin: string;
  readonly random: (bytes: number) => Uint8Array;
  readonly linger: Linger;
  /** Told of bytes of bodies that went through. */
  readonly passed: (bytes: number) => void;
}

/** Plain bytes of one frame of a body, at most. */
const PIECE_BYTES = 262_144;

/** How long small pieces may wait in memory for company. */
const LINGER_MS = 25;

/** One timer for all calls: flushes every spool that holds bytes. */
export class Linger {
  readonly #waiting = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  add(flush: () => void): void {
    this.#waiting.add(flush);
    this.#timer ??= setTimeout(() => this.flush(), LINGER_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const flush of this.#waiting) flush();
    this.#waiting.clear();
  }
}

/** The bytes of one body: gathered, hashed, sealed, queued. */
class BodySpool {
  readonly positions: number[] = [];
  readonly #hash: Hash = createHash('sha256');
  readonly #write: (sealed: Uint8Array) => number;
  readonly #sealer: FieldSealer;
  readonly #passed: (bytes: number) => void;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #bytes = 0;

  constructor(
    sealer: FieldSealer,
    passed: (bytes: number) => void,
    write: (sealed: Uint8Array) => number,
  ) {
    this.#sealer = sealer;
    this.#passed = passed;
    this.#write = write;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The digest of what was pushed so far. */
  digest(): string {
    return toBase64url(new Uint8Array(this.#hash.copy().digest()));
  }

  /** Returns whether bytes are left waiting. */
  push(chunk: Uint8Array): boolean {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes >= PIECE_BYTES) this.flush();
    return this.#heldBytes > 0;
  }

  flush(): void {
    if (this.#heldBytes === 0) return;
    const [only] = this.#held;
    const whole = this.#held.length === 1 ? undefined : concat(...this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    const plain = whole ?? (only as Uint8Array);
    this.positions.push(this.#write(this.#sealer.next(plain)));
    const { length } = plain;
    if (whole !== undefined) free(whole);
    this.#passed(length);
  }
}

/** Where the sealed facts are, as far as they were written. */
interface FactPositions {
  requested?: number;
  judged?: number;
  head?: number;
}

export class CallSpool {
  readonly recordId: string;
  readonly begin: BeginFacts;
  /** Position of the first frame. */
  readonly position: number;
  readonly #context: SpoolContext;
  readonly #generation: number;
  readonly #dataKey: Uint8Array;
  readonly #facts: FactsSeal;
  readonly #request: BodySpool;
  readonly #response: BodySpool;
  readonly #flush = () => this.#flushQuietly();
  #head: HeadFacts | undefined;
  #judged: JudgedFacts | undefined;
  #requested: RequestedFacts | undefined;
  #isRequestCommitted = false;
  readonly #factPositions: FactPositions = {};
  #dead: SteleError | undefined;

  /** Queues the begin frame. Throws `storage` when the journal takes no call. */
  constructor(context: SpoolContext, recordId: string, begin: BeginFacts) {
    this.recordId = recordId;
    this.begin = begin;
    this.#context = context;
    this.#generation = context.journal.generation;
    this.#dataKey = context.random(KEY_BYTES);
    this.#facts = new FactsSeal(this.#dataKey, { origin: context.origin, recordId });
    this.#request = this.#body('request', FRAME.request);
    this.#response = this.#body('response', FRAME.response);
    const owner = associatedData(this.#place('key'));
    const wrapped = context.keyring.wrap(this.#dataKey, owner);
    this.position = context.journal.append(
      FRAME.begin,
      recordId,
      concat(wrapped, this.#sealed('begin', begin)),
    );
  }

  get requestBytes(): number {
    return this.#request.bytes;
  }

  get responseBytes(): number {
    return this.#response.bytes;
  }

  get requested(): RequestedFacts | undefined {
    return this.#requested;
  }

  get headFacts(): HeadFacts | undefined {
    return this.#head;
  }

  get journal(): Journal {
    return this.#context.journal;
  }

  /** Resolves when more of the request may be pushed. */
  pushRequest(chunk: Uint8Array): Promise<void> | undefined {
    return this.#push(this.#request, chunk);
  }

  /** Resolves when the whole request is on disk. A crash before is a call that never went out. */
  async commitRequest(): Promise<void> {
    this.#check();
    this.#request.flush();
    this.#requested = { bytes: this.#request.bytes, sha256: this.#request.digest() };
    const sealed = this.#sealed('requested', this.#requested);
    this.#factPositions.requested = this.#append(FRAME.requested, sealed);
    await this.#commit();
    this.#isRequestCommitted = true;
  }

  /**
   * What the rules said of the request, and what goes on in its place. On disk with the next commit: `commitRequest`
   * where that is still to come.
   */
  pushJudged(facts: Omit<JudgedFacts, 'forwarded'>, forwarded: Uint8Array | undefined): void {
    this.#check();
    const body = forwarded && this.#forwarded(forwarded);
    this.#judged = { ...facts, ...(body === undefined ? {} : { forwarded: body }) };
    this.#factPositions.judged = this.#append(FRAME.judged, this.#sealed('judged', this.#judged));
  }

  #forwarded(bytes: Uint8Array): JudgedFacts['forwarded'] {
    const body = this.#body('request.forwarded', FRAME.content);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      body.push(bytes.subarray(at, at + PIECE_BYTES));
    }
    body.flush();
    return { bytes: body.bytes, sha256: body.digest(), frames: [...body.positions] };
  }

  /** Resolves when what was pushed is on disk. */
  async commit(): Promise<void> {
    this.#check();
    this.#response.flush();
    await this.#commit();
  }

  get judged(): JudgedFacts | undefined {
    return this.#judged;
  }

  /** Whether the call's begin and its whole request are on disk. */
  get isRequestCommitted(): boolean {
    return this.#isRequestCommitted;
  }

  get requestPositions(): readonly number[] {
    return this.#request.positions;
  }

  get responsePositions(): readonly number[] {
    return this.#response.positions;
  }

  /** Where the sealed facts are, as far as they were written. */
  get factPositions(): FactPositions {
    return this.#factPositions;
  }

  /** The call as it lies in the journal, for reading it back without opening it anew. */
  get spooled(): SpooledCall {
    return SpooledCall.of(this.#context, this.recordId, this.begin, this.#dataKey, this.#facts);
  }

  pushHead(head: HeadFacts): void {
    this.#check();
    this.#head = head;
    this.#factPositions.head = this.#append(FRAME.head, this.#sealed('head', head));
  }

  /** Returns a promise when the caller should wait before it pushes more. */
  pushResponse(chunk: Uint8Array): Promise<void> | undefined {
    return this.#push(this.#response, chunk);
  }

  /**
   * Resolves with the end frame's position when everything up to it is on disk. `final` is false for
   * an answer that is complete to the client while the connection is still open.
   */
  async commitEnd(facts: EndFacts, final: boolean): Promise<{ position: number; end: EndFrame }> {
    this.#check();
    this.#request.flush();
    this.#response.flush();
    const end: EndFrame = {
      ...facts,
      final,
      ...(this.#requested === undefined ? {} : { requested: this.#requested }),
      ...(this.#judged === undefined ? {} : { judged: this.#judged }),
      ...(this.#head === undefined ? {} : { head: this.#head }),
      received: { bytes: this.#request.bytes, sha256: this.#request.digest() },
      response: { bytes: this.#response.bytes, sha256: this.#response.digest() },
      request_frames: [...this.#request.positions],
      response_frames: [...this.#response.positions],
    };
    const position = this.#append(FRAME.end, this.#sealed('end', end));
    await this.#commit();
    return { position, end };
  }

  #push(body: BodySpool, chunk: Uint8Array): Promise<void> | undefined {
    this.#check();
    if (body.push(chunk)) this.#context.linger.add(this.#flush);
    return this.#context.journal.isFull ? this.#context.journal.drained() : undefined;
  }

  #body(
    field: string,
    type: typeof FRAME.request | typeof FRAME.response | typeof FRAME.content,
  ): BodySpool {
    const sealer = new FieldSealer(this.#dataKey, this.#place(field));
    return new BodySpool(sealer, this.#context.passed, (sealed) => this.#append(type, sealed));
  }

  #append(type: (typeof FRAME)[keyof typeof FRAME], payload: Uint8Array): number {
    this.#check();
    return this.#context.journal.append(type, this.recordId, payload);
  }

  async #commit(): Promise<void> {
    await this.#context.journal.commit();
    // Frames queued before this commit may have been lost by an earlier write.
    this.#check();
  }

  #check(): void {
    if (this.#dead === undefined && this.#context.journal.generation !== this.#generation) {
      this.#dead = new SteleError('storage', `journal: frames of call ${this.recordId} were lost`, {
        retryAfterS: 5,
      });
    }
    if (this.#dead !== undefined) throw this.#dead;
  }

  /** From the timer: nobody is there to hear of a failure; the next step of the call will be. */
  #flushQuietly(): void {
    if (this.#context.journal.generation !== this.#generation) return;
    try {
      this.#request.flush();
      this.#response.flush();
    } catch (error) {
      this.#dead = new SteleError('storage', `journal: call ${this.recordId} cannot go on`, {
        cause: error,
      });
    }
  }

  #sealed(field: string, facts: object): Uint8Array {
    return this.#facts.seal(field, utf8(JSON.stringify(facts)), this.#context.random);
  }

  #place(field: string) {
    return { origin: this.#context.origin, recordId: this.recordId, field };
  }
}
