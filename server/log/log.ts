/**
 * One open log: the parts of this folder put together, and nothing else.
 */
import { equalBytes, toBase64 } from '../core/bytes.ts';
import type { SignedTreeHead } from '../core/ct.ts';
import { decodeEntry, type Entry } from '../core/entry.ts';
import { hasCode, invariant, SteleError, shown, unverified } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { LOG_KEY_PURPOSES } from '../core/log-key.ts';
import type { VerifierKey } from '../core/note.ts';
import { type GenesisRecord, parseRecord } from '../core/record.ts';
import type { TilePath } from '../core/tile.ts';
import type { Cosignature } from '../core/tlog-witness.ts';
import { Tree } from '../core/tree.ts';
import { type Hash, type LeafIndex, leafIndex, type TreeSize, treeSize } from '../core/units.ts';
import type { GatewayKeys } from '../keys/gateway-keys.ts';
import type { HeadRoot } from '../keys/log-keys.ts';
import type { Visibility } from '../storage/instance.ts';
import {
  type Head,
  NO_USAGE,
  type StagedBatch,
  type UnsignedHead,
  type Usage,
} from '../storage/store.ts';
import type { LogKey } from '../verify/key-history.ts';
import { Admission, type Admitted } from './admit.ts';
import { Appender, type Item, type Logged, type StagedContent, type Submitted } from './append.ts';
import { isWitnessed } from './cosigned.ts';
import { openingError, readStored } from './damaged.ts';
import { Finder, type SourceInfo } from './find.ts';
import { Growth } from './growth.ts';
import { largestProven } from './last-head.ts';
import type { Lookups } from './lookups.ts';
import {
  contradiction,
  hasAnswered,
  type Known,
  largestKnown,
  type MemoryKind,
} from './memories.ts';
import type { LogOptions } from './options.ts';
import { orClosed } from './or-closed.ts';
import { OwnKeys } from './own-keys.ts';
import { type OwnBody, OwnRecords, type Registration } from './own-records.ts';
import { Publisher, type Restored } from './publish.ts';
import { Quota } from './quota.ts';
import { Reader } from './reader.ts';
import { type KeptAnchor, Receipts } from './receipts.ts';
import {
  checkHead,
  replayControl,
  restoreLookups,
  restorePublished,
  restoreTree,
} from './recover.ts';
import { type End, type RegisteredKey, Registry, type Rules } from './registry.ts';
import { rememberingOf } from './remembered.ts';
import {
  announce,
  type Retirement,
  type Rotated,
  type RotationPorts,
  retire,
  rotate,
} from './rotation.ts';
import { payloadDigest, Sources } from './sources.ts';
import { TreeHeads } from './tree-heads.ts';

export type { LogOptions } from './options.ts';

/** Sources on one page. */
const SOURCES_PAGE = 1_000;

/** A head as `tree-head` tells it: the checkpoint only where it was kept. */
export interface HeadInfo {
  readonly size: TreeSize;
  readonly root: Hash;
  readonly timeMs?: number;
  readonly checkpoint?: string;
}

/** A memory that was asked, and whether it said what it has to. */
export interface Asked {
  readonly kind: MemoryKind;
  readonly place: string;
  readonly answered: boolean;
}

/** What a log holds, in numbers. */
export interface LogStats extends Usage {
  readonly entries: number;
  /** Bytes of its database. */
  readonly stored: number;
  readonly sources: number;
  /** Gateway keys that are good now. */
  readonly gateways: number;
}

export class Log<C extends StagedContent = StagedContent> {
  readonly name: string;
  readonly origin: string;
  /** Its row's, as it is now. */
  visibility: Visibility;
  readonly #options: LogOptions<C>;
  readonly #ownKeys: OwnKeys;
  readonly #registry: Registry;
  readonly #admission: Admission;
  readonly #sources: Sources;
  readonly #quota: Quota;
  readonly #reader: Reader;
  readonly #receipts: Receipts;
  readonly #appender: Appender<C>;
  readonly #publisher: Publisher;
  #memory: readonly Asked[] = [];
  #ahead: Known | undefined;
  readonly #stopListening: (() => void) | undefined;
  readonly #finder: Finder;
  readonly #ownRecords: OwnRecords;
  readonly #treeHeads: TreeHeads;
  readonly #growth: Growth;
  /** Of the newest head that is witnessed. */
  readonly #witnessed: Growth;

  /**
   * Opens a log that exists. It is checked before anything is signed; where a memory knows a larger head
   * than the store, the log opens for reading only and says why (P2).
   */
  static async open<C extends StagedContent>(options: LogOptions<C>): Promise<Log<C>> {
    try {
      return await orClosed(options.store, () => Log.#open(options));
    } catch (error) {
      throw openingError(options.name, error);
    }
  }

  static async #open<C extends StagedContent>(options: LogOptions<C>): Promise<Log<C>> {
    const { store, origin } = options;
    const head = await store.readHead();
    if (head === undefined) {
      throw new SteleError(
        'split_view',
        `the database of log ${options.name} is empty, but the log was created before: its history ` +
          'is lost or elsewhere, so it signs nothing',
      );
    }
    const registry = new Registry(origin);
    const tree = await restoreTree(store, head);
    await replayControl(store, registry, tree);
    const { history } = registry;
    if (history === undefined) throw unverified('entry 0', 'it is no genesis record');
    checkHead(head, origin, history);
    const lookups = await restoreLookups(store, head.size);
    const { warn, witnesses } = options;
    const owner = { origin, history, policy: witnesses?.(options)?.policy, warn };
    const restored = await restorePublished(store, tree, owner);
    const usage = await store.readUsage();
    const log = new Log(options, { registry, tree, head, lookups, restored, usage });
    const staged = await log.#resume();
    await log.#checkMemories(head, staged?.head);
    if (options.stopped !== undefined) log.#appender.stop(options.stopped);
    await log.#openKeys();
    if (log.stopped !== undefined) return log;
    const reason = await log.#appender.settle();
    if (reason !== undefined) {
      options.warn(`log ${log.name}: a batch that was staged is not in the log yet`, reason);
    }
    log.#publisher.grown(log.head());
    await log.#announceSoon();
    return log;
  }

  /** Creates a log by writing its genesis. The store must be empty. */
  static async create<C extends StagedContent>(
    options: LogOptions<C>,
    { rules, previous }: Pick<GenesisRecord['genesis'], 'rules' | 'previous'>,
  ): Promise<Log<C>> {
    const { origin } = options;
    const { alg, spki } = options.operator.publicKey;
    const log = await orClosed(options.store, () => Log.#empty(options));
    await orClosed(log, async () => {
      // A genesis that was being signed when the process ended is the one that there will be.
      await log.#resume();
      const reason = log.stopped ?? (await log.#appender.settle());
      if (reason !== undefined) throw reason;
      if (log.#appender.head !== undefined) return;
      const genesis = {
        origin,
        log_keys: await log.#ownKeys.first(),
        operator: { alg, spki: toBase64(spki) },
        rules,
        ...(previous === undefined ? {} : { previous }),
      };
      await log.#ownRecords.control({ kind: 'genesis', genesis });
    });
    return log;
  }

  static async #empty<C extends StagedContent>(options: LogOptions<C>): Promise<Log<C>> {
    const { store, origin } = options;
    const remembered = largestKnown(await options.memories.ask(origin));
    const staged = (await store.readStaged())?.head;
    const isForeign =
      remembered !== undefined && (staged === undefined || !isSameHead(remembered, staged));
    if (isForeign || (await store.readHead()) !== undefined) {
      throw new SteleError('conflict', `a log of origin ${shown(origin)} was created before`);
    }
    return new Log(options, {
      registry: new Registry(origin),
      tree: Tree.empty(),
      head: undefined,
      lookups: await restoreLookups(store, 0 as TreeSize),
      restored: { published: undefined },
      usage: NO_USAGE,
    });
  }

  private constructor(
    options: LogOptions<C>,
    state: {
      readonly registry: Registry;
      readonly tree: Tree;
      readonly head: Head | undefined;
      readonly lookups: Lookups;
      readonly restored: Restored;
      readonly usage: Usage;
    },
  ) {
    const { origin, store, clock, signerMemory } = options;
    this.name = options.name;
    this.origin = origin;
    this.visibility = options.visibility;
    this.#options = options;
    this.#growth = new Growth(options.name);
    this.#witnessed = new Growth(options.name);
    this.#ownKeys = new OwnKeys({ origin, keys: options.keys, registry: state.registry });
    this.#registry = state.registry;
    this.#admission = new Admission(state.registry, options.checker, clock);
    this.#quota = new Quota(clock, state.usage);
    this.#reader = new Reader(store, () => this.#appender.tree, options.tiles);
    this.#receipts = new Receipts(origin, this.#reader, state.registry);
    this.#sources = new Sources(store, (index) => this.#readNeighbor(index));
    this.#publisher = new Publisher(
      {
        store,
        reader: this.#reader,
        clock,
        countersign: (head) => this.#ownKeys.countersign(head),
        ...(options.witnesses && { witnesses: () => options.witnesses?.(this) }),
        witnessed: ({ size }) => this.#witnessed.grown(size),
        failed: (error) => {
          // Whoever holds the keys is away, and that was said when it went.
          if (this.isSignerAway) return;
          options.warn(`log ${this.name}: a head was not published`, error);
          // A failed fsync, or a broken promise of our own: the process ends, as with an append (P9).
          if (!(error instanceof SteleError)) options.fatal(error as Error);
        },
      },
      state.restored,
    );
    this.#appender = new Appender<C>(
      {
        origin,
        store,
        clock,
        lookups: state.lookups,
        sources: this.#sources,
        registry: state.registry,
        quota: this.#quota,
        sign: (text, { size }, last) => this.#ownKeys.sign(text, size, last),
        memory: signerMemory && {
          checkThere: () => signerMemory.checkThere(),
          extend: ({ head, tree, tiles }) => {
            // The tree is not the log's yet, so its tiles are kept apart from those that are read.
            const grown = new Reader(store, () => tree);
            grown.remember(tiles);
            return signerMemory.extend(head, (from) => grown.consistency(from, head.size));
          },
        },
        commitContent: options.commitContent,
        remember: ({ size, root, checkpoint: note }) =>
          options.memories.remember({ origin, size, root, note }),
        checkSpace: options.checkSpace,
        fatal: options.fatal,
        meter: options.meter,
        committed: (head, tiles) => {
          this.#reader.remember(tiles);
          this.#publisher.grown(head);
          this.#growth.grown(head.size);
        },
      },
      state.tree,
      state.head,
      options.limits,
    );
    this.#stopListening = signerMemory?.onReturn(() => {
      // Whatever comes of it is in the appender's own state.
      void this.#appender.settle();
    });
    this.#finder = new Finder(store, state.lookups, this.#reader, state.registry);
    this.#ownRecords = new OwnRecords({
      ...options,
      registry: state.registry,
      tip: (source) => this.#sources.tip(source),
      checkRoom: () => this.#appender.checkRoom(),
      admit: (entry) => this.admit(entry),
      submit: async (admitted) => {
        const [submitted] = await this.submit([{ admitted }]);
        invariant(submitted !== undefined, 'every submission has its answer');
        return submitted;
      },
      submitControl: (make) => this.#appender.submitControl(make),
    });
    this.#treeHeads = new TreeHeads({
      store,
      signer: () => this.#ownKeys.treeHeadSigner(),
      clock,
      head: () => {
        this.#checkMaySign();
        return this.head();
      },
      rootOf: (size) => this.#reader.root(size),
      announce: () => this.#announce(),
      warn: (message, error) => options.warn(`log ${this.name}: ${message}`, error),
    });
  }

  get rules(): Rules {
    return this.#registry.rules;
  }

  /** Where this log ended, if it has. It is served as before; only repeats are answered. */
  get end(): End | undefined {
    return this.#registry.end;
  }

  /** The head of the log that this one follows, if it follows one. */
  get previous() {
    return this.#registry.previous;
  }

  /** Why this log accepts nothing, or nothing if it does. */
  get stopped(): SteleError | undefined {
    return this.#appender.stopped;
  }

  /** Bytes of entries that wait to be written. */
  get waitingBytes(): number {
    return this.#appender.waitingBytes;
  }

  /** Memories outside the data folder that were asked when this log was opened. */
  get memories(): readonly Asked[] {
    return this.#memory;
  }

  /** The head that a memory proves beyond this log's newest one: its data is older than what it signed. */
  get ahead(): Known | undefined {
    return this.#ahead;
  }

  /** The newest of the log's own keys, by their purposes. */
  verifierKeys(): {
    readonly identity: VerifierKey;
    readonly anchor: VerifierKey;
    readonly sth?: VerifierKey;
  } {
    const [identity, anchor, sth] = LOG_KEY_PURPOSES.map((one) => this.#ownKeys.newest(one));
    invariant(identity !== undefined && anchor !== undefined, 'keys sign the heads of a log');
    return { identity, anchor, ...(sth && { sth }) };
  }

  /** Every key that the log itself ever had, in the order in which they were announced. */
  ownKeys(): readonly LogKey[] {
    return this.#ownKeys.history.all();
  }

  /** Every key that was ever registered, with the entries that did and undid it. */
  keys(): readonly RegisteredKey[] {
    return this.#registry.keys();
  }

  async stats(): Promise<LogStats> {
    const { bytes: stored, sources } = await this.#options.store.readSize();
    const good = this.keys().filter(
      (key) => key.purpose === 'gateway' && key.revoked === undefined,
    );
    const { size: entries } = this.head();
    return { entries, stored, sources, gateways: good.length, ...this.#quota.usage };
  }

  /** Every source that was given to a key by name, with that key's ID. */
  owners(): readonly (readonly [source: string, keyid: string])[] {
    return this.#registry.owners();
  }

  // Reading.

  /** The newest signed head. */
  head(): Head {
    const { head } = this.#appender;
    invariant(head !== undefined, 'an open log has its genesis');
    return head;
  }

  /** The head that was published last, or the newest where none was. */
  published(): Head {
    return this.#publisher.published ?? this.head();
  }

  /** What `LOG/checkpoint` serves; `not_yet` where no head has met the quorum that is waited for. */
  checkpoint(): Head {
    if (this.isHeldBack) {
      throw new SteleError(
        'not_yet',
        `checkpoint: no head of log ${this.name} has the quorum of witnesses that it is published with`,
        { retryAfterS: 5 },
      );
    }
    return this.published();
  }

  /** Whether there is nothing to be served yet, since heads wait for their quorum. */
  get isHeldBack(): boolean {
    return this.#publisher.isClosed && this.#publisher.published === undefined;
  }

  /** Whether heads wait for a quorum of witnesses before they are published. */
  get waitsForQuorum(): boolean {
    return this.#publisher.isClosed;
  }

  /**
   * Whether a head of this log is witnessed as its policy asks today, by the verified lines that it has; nothing
   * where the log is shown to no witness.
   */
  isQuorumMet(checkpoint: string | undefined): boolean | undefined {
    const witnesses = this.#options.witnesses?.(this);
    if (witnesses === undefined) return undefined;
    return checkpoint !== undefined && isWitnessed(checkpoint, witnesses.policy);
  }

  /** The newest head that is witnessed as the policy asks; nothing where there is none. */
  get witnessed(): Head | undefined {
    return this.#publisher.witnessed;
  }

  /** Resolves once a head that covers entry `index` is witnessed; rejects when `signal` is aborted, or the log closed. */
  whenWitnessed(index: LeafIndex, signal: AbortSignal): Promise<void> {
    const size = () => this.witnessed?.size ?? treeSize(0);
    return this.#witnessed.wait(treeSize(index), size, signal);
  }

  /** The newest head as witnesses are shown it. Rejects with why the log is stopped, or with `storage`. */
  async headToShow(): Promise<Head> {
    this.#checkMaySign();
    return this.#publisher.toShow();
  }

  /** Keeps what witnesses said of a head that they were shown, for good, and serves it. */
  async cosigned(shown: Head, cosignatures: readonly Cosignature[]): Promise<void> {
    await this.#publisher.cosigned(shown, cosignatures);
  }

  /** The head of any integrated size: its checkpoint where one was kept, its root always. */
  async headAt(size: TreeSize): Promise<HeadInfo> {
    const newest = this.head();
    if (size === this.published().size) return this.published();
    if (size === newest.size) return newest;
    // It was signed, and a log that follows may name it: what was lost is not hidden.
    if (size === this.#ahead?.size) return headOf(this.#ahead);
    this.#reader.checkSize(size);
    const kept = await this.#options.store.readPublished(size);
    return kept ?? { size, root: await this.#reader.root(size) };
  }

  /**
   * The newest tree head for RFC 6962 clients, signed for whoever asks and at most once a second. Rejects
   * where the log may not sign, and while the clock is behind a time that was signed before.
   */
  async treeHead(): Promise<SignedTreeHead> {
    this.#checkMaySign();
    try {
      return await this.#treeHeads.newest();
    } catch (error) {
      // As with a head that is published (P9).
      if (!(error instanceof SteleError)) this.#options.fatal(error as Error);
      throw error;
    }
  }

  tile(path: TilePath): Promise<Uint8Array> {
    return this.#reader.tile(path);
  }

  entry(index: LeafIndex): Promise<Uint8Array> {
    return this.#reader.entry(index);
  }

  /** The entries [begin, end), at most `PAGE_ENTRIES_MAX` of them. */
  entries(begin: LeafIndex, end: TreeSize): Promise<Uint8Array[]> {
    return this.#reader.entries(begin, end);
  }

  inclusion(index: LeafIndex, size: TreeSize): Promise<Hash[]> {
    return this.#reader.inclusion(index, size);
  }

  consistency(from: TreeSize, to: TreeSize): Promise<Hash[]> {
    return this.#reader.consistency(from, to);
  }

  /** The index of the first entry with this leaf hash; `not_found` if there is none. */
  findLeaf(hash: Hash): Promise<LeafIndex> {
    return this.#finder.leaf(hash);
  }

  /** The index of a record. Without `source` an id that several sources used is a `conflict`. */
  findRecord(recordId: string, source?: string): Promise<LeafIndex> {
    return this.#finder.record(recordId, source);
  }

  /** A receipt under the best head there is, or under `head`, with what was kept of parties outside. */
  receipt(
    index: LeafIndex,
    { head, anchors = [] }: { head?: Head; anchors?: readonly KeptAnchor[] } = {},
  ): Promise<Uint8Array> {
    return this.#receipts.receipt(index, head ?? this.#bestHead(index), { anchors });
  }

  /**
   * The receipt of genesis under a head that the key signs which genesis lists, however often it was changed
   * since: the first one that was kept, or the last one before that key ended.
   */
  async genesisReceipt(): Promise<Uint8Array> {
    const { store } = this.#options;
    const first = await store.readFirstPublished();
    const lastSize = this.ownKeys().find(({ purpose }) => purpose === 'identity')?.ended?.lastSize;
    const isGood = lastSize === undefined || (first !== undefined && first.size <= lastSize);
    const last = isGood ? undefined : (await store.readKept(lastSize + 1, 1))[0];
    return this.receipt(leafIndex(0), { head: last ?? first ?? this.head() });
  }

  /** The receipt that answers a submission; of a repeat, that of the first entry. */
  receiptOf({ index, repeat }: Logged, admitted: Admitted): Promise<Uint8Array> {
    const known = repeat ? undefined : admitted;
    return this.#receipts.receipt(index, this.#bestHead(index), { known });
  }

  #bestHead(index: LeafIndex): Head {
    const { witnessed } = this;
    if (witnessed !== undefined && witnessed.size > index) return witnessed;
    const published = this.published();
    return published.size > index ? published : this.head();
  }

  /** A page of sources by name, after `after`. */
  sources(after?: string, limit = SOURCES_PAGE): Promise<SourceInfo[]> {
    return this.#finder.sources(after, limit);
  }

  /** Resolves once the log has more than `beyond` entries; rejects when `signal` is aborted, or the log closed. */
  grown(beyond: TreeSize, signal: AbortSignal): Promise<void> {
    return this.#growth.wait(beyond, () => this.head().size, signal);
  }

  // Writing.

  /**
   * Throws `pushback`, `storage` or why the log is stopped, if nothing can be accepted right now. A log that
   * has ended has room: whoever lost an answer may still ask for it.
   */
  checkRoom(): void {
    this.#appender.checkRoom();
    if (this.end === undefined) this.#quota.check(this.rules);
  }

  /** All that can be judged without knowing what comes before, of an entry or the bytes of one. */
  admit(sent: Entry | Uint8Array): Promise<Admitted> {
    return this.#admission.admit(sent);
  }

  /** One answer per item, in order, each after the durable commit of its batch. Never rejects. */
  submit(items: readonly Item<C>[]): Promise<Submitted[]> {
    return this.#appender.submit(items);
  }

  /** Publishes the newest head now, and returns the one that is served. */
  async publishNow(): Promise<Head> {
    await this.#publisher.now();
    return this.published();
  }

  /** Registers a gateway key, or hands a source to one that is registered. Done twice, it is done once. */
  registerGateway(key: PublicKey, options: Registration = {}): Promise<LeafIndex> {
    return this.#ownRecords.register(key, options);
  }

  /** The entry that says already what `registerGateway` would have to say; nothing if there is none. */
  registeredGateway(key: PublicKey, options: Registration = {}): LeafIndex | undefined {
    return this.#ownRecords.registered(key, options);
  }

  /** Revokes a gateway key from here on; what it signed before stays good. */
  revokeGateway(keyid: string): Promise<LeafIndex> {
    return this.#ownRecords.revoke(keyid);
  }

  /** Changes what the log admits, from the next entry on. Nothing is appended where nothing changes. */
  changeRules(rules: Rules): Promise<void> {
    return this.#ownRecords.changeRules(rules);
  }

  /**
   * Ends the log with an entry that says so, and publishes its last head. Ended twice, it has ended once: the
   * first end holds. A crash before the entry is on disk leaves the log as it was, and after it an ended log.
   */
  async finish(end: Omit<End, 'index'>): Promise<End> {
    await this.#ownRecords.end(end);
    await this.#publisher.now();
    invariant(this.end !== undefined, 'an ended log knows its end');
    return this.end;
  }

  /** Announces another key of the log itself, which signs beside the one before from then on. */
  rotateKey(
    purpose: Rotated,
    options: { readonly compromised?: boolean | undefined } = {},
  ): Promise<LogKey> {
    return rotate(this.#rotation, purpose, options);
  }

  /** Ends a key of the log itself that another follows. Done twice, it is done once. */
  retireKey(purpose: Rotated, retirement: Retirement): Promise<LogKey> {
    return retire(this.#rotation, purpose, retirement);
  }

  get #rotation(): RotationPorts {
    const { origin, clock } = this.#options;
    const keepHead = async () => this.#options.store.keep(await this.#publisher.toShow());
    return { origin, records: this.#ownRecords, keys: this.#ownKeys, clock, keepHead };
  }

  /** Appends a record of the server's own, signed by its newest key, which is given the source first. */
  appendOwn(body: OwnBody, source: string, keys: GatewayKeys): Promise<Logged> {
    return this.#ownRecords.gateway(body, source, keys.newest);
  }

  /** Gives a source of the server's own to its newest key, unless it has it. */
  async ownGateway(source: string, { newest }: GatewayKeys): Promise<void> {
    await this.#ownRecords.give(source, newest.publicKey);
  }

  /** The key that a source belongs to; nothing before its first record or hand-over. */
  async ownerOf(source: string): Promise<string | undefined> {
    const owner = this.#registry.ownerOf(source);
    return owner ?? (await this.#options.store.readSource(source))?.keyid;
  }

  /** Where a source's next record goes. */
  tip(source: string): Promise<{ readonly seq: number; readonly prev: string | null }> {
    return this.#sources.tip(source);
  }

  /** Whether a record that is not in the log is on its way into it, whatever happens. */
  isStaged(recordId: string, source: string): boolean {
    return this.#appender.isStaged(recordId, source);
  }

  /** Signs nothing from now on, not even a head that waits to be published. Reads go on. */
  stop(reason: SteleError): void {
    this.#appender.stop(reason);
    this.#publisher.stop();
  }

  /** Publishes what is newest and closes. Nothing may be submitted any more. */
  async close(): Promise<void> {
    await this.#appender.idle();
    this.#appender.stop(new SteleError('storage', `log ${this.name} is closed`));
    await this.#publisher.close();
    await this.#treeHeads.close();
    this.#options.memories.release(this.origin);
    await this.#options.store.close();
    this.#growth.close();
    this.#witnessed.close();
    this.#stopListening?.();
  }

  /** A log whose keys are not all there is read, and signs nothing. */
  async #openKeys(): Promise<void> {
    try {
      await this.#ownKeys.open();
    } catch (cause) {
      if (!(cause instanceof SteleError)) throw cause;
      const reason = `log ${this.name} signs nothing: ${cause.message}`;
      this.#appender.stop(new SteleError(cause.code, reason, { cause }));
    }
  }

  /** A log that has ended may still say what it is; one whose history is in doubt says nothing. */
  #checkMaySign(): void {
    const { stopped } = this;
    if (stopped !== undefined) throw stopped;
  }

  /** The key of tree heads is one that the log itself names: in its genesis, or by a record of its own. */
  async #announce(): Promise<void> {
    if (this.#ownKeys.history.live('sth').length > 0) return;
    const { publicKey } = await this.#ownKeys.treeHeadSigner();
    await announce(this.#rotation, 'sth', publicKey);
  }

  /** A log that cannot take the record now is open all the same: whoever asks for a tree head tries again. */
  async #announceSoon(): Promise<void> {
    // What has ended takes no record: it has no tree heads, or had its key before.
    if (this.#registry.end !== undefined) return;
    try {
      await this.#announce();
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.#options.warn(`log ${this.name}: its sth key is not announced yet`, error);
    }
  }

  async #readNeighbor(index: LeafIndex) {
    const bytes = await this.#reader.entry(index);
    return readStored(index, () => {
      const { payload } = decodeEntry(bytes);
      return { digest: payloadDigest(payload), prev: parseRecord(payload).source.prev };
    });
  }

  /** Milliseconds for which a head has waited to be published; 0 while none does. */
  get unpublishedMs(): number {
    return this.#publisher.waitingMs;
  }

  /** Whether whoever holds the keys is known to be away. */
  get isSignerAway(): boolean {
    try {
      this.#options.signerMemory?.checkThere();
      return false;
    } catch (error) {
      if (hasCode(error, 'storage')) return true;
      throw error;
    }
  }

  /** Takes up a batch that was being signed when the process ended; nothing where there is none, or it is damaged. */
  async #resume(): Promise<StagedBatch | undefined> {
    const staged = await this.#options.store.readStaged();
    if (staged === undefined) return undefined;
    try {
      await this.#appender.resume(staged);
      return staged;
    } catch (cause) {
      if (!(cause instanceof SteleError)) throw cause;
      const reason = `log ${this.name} accepts nothing: ${cause.message}`;
      this.#appender.stop(new SteleError('storage', reason, { cause }));
      return undefined;
    }
  }

  /**
   * Stops the log if a larger head, or another one of the same size, was ever answered with. Whoever signs
   * may already know the head that was being signed when the process ended, and then it is the log's.
   */
  async #checkMemories(head: Head, staged: UnsignedHead | undefined): Promise<void> {
    const answers = await this.#options.memories.ask(this.origin);
    this.#memory = answers.map((one) => ({
      kind: one.kind,
      place: one.place,
      answered: hasAnswered(one),
    }));
    const { size } = staged ?? head;
    const own = this.#registry.history?.all().map(({ key }) => key);
    this.#ahead = largestProven(answers, size, own ?? []);
    const remembering = rememberingOf(this.name, this.#reader, head, staged);
    const reason = await contradiction(remembering, answers);
    if (reason !== undefined) {
      this.#appender.stop(
        new SteleError('split_view', `log ${this.name} signs nothing more: it ${reason}`),
      );
      return;
    }
    const signer = answers.find(({ kind }) => kind === 'signer')?.known;
    if (signer === undefined || signer.size >= head.size) return;
    this.#options.warn(
      `log ${this.name}: the signer remembers ${signer.size} of ${head.size} entries, so its state folder is ` +
        'an old copy, or is not the one that it had; what it signs next makes up for that',
      undefined,
    );
  }
}

function headOf({ size, root, note }: Known): HeadInfo {
  return note === undefined ? { size, root } : { size, root, checkpoint: note };
}

function isSameHead(a: HeadRoot, b: HeadRoot): boolean {
  return a.size === b.size && equalBytes(a.root, b.root);
}
