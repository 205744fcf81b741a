/** A log to test with: real keys, a store in memory or on disk, time and folders of the test's own. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { toBase64url } from '../../server/core/bytes.ts';
import { decodeEntry, type Entry, encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { type PublicKey, parsePublicKey } from '../../server/core/keys.ts';
import { LOG_KEY_ALG, type LogKeyPurpose } from '../../server/core/log-key.ts';
import { pae } from '../../server/core/pae.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import type { LeafIndex, TreeSize } from '../../server/core/units.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { KeyObjectSigner } from '../../server/keys/key-object.ts';
import type { LogKeyring } from '../../server/keys/log-keyring.ts';
import type { Signer } from '../../server/keys/signer.ts';
import type { SignatureChecker } from '../../server/log/admit.ts';
import {
  DEFAULT_APPEND_LIMITS,
  type StagedContent,
  type Submitted,
} from '../../server/log/append.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Log, type LogOptions } from '../../server/log/log.ts';
import { DEFAULT_RULES } from '../../server/log/logs.ts';
import { Memories } from '../../server/log/memories.ts';
import { payloadDigest } from '../../server/log/sources.ts';
import { MemoryStore } from '../../server/storage/memory.ts';

export const ORIGIN = 'log.example/logs/test';

export function makeSigner(alg: 'ed25519' | 'ecdsa-p256' = 'ed25519'): Signer {
  const { privateKey, publicKey } =
    alg === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  return new KeyObjectSigner(privateKey, parsePublicKey(alg, spki));
}

/** Checks on this thread: what a pool does, without its threads. */
export const checker: SignatureChecker = {
  check: async (jobs) =>
    jobs.map(({ key, message, signature }) => {
      try {
        checkSignatureNative(key, message, signature);
        return undefined;
      } catch (error) {
        if (error instanceof SteleError) return error;
        throw error;
      }
    }),
};

/** A clock that a test moves. */
export class TestClock {
  ms: number;

  constructor(ms = Date.UTC(2026, 0, 1)) {
    this.ms = ms;
  }

  now(): number {
    return this.ms;
  }
}

/** The keys of one log, made when they are asked for; they stay the same when it is opened again. */
export class TestKeys implements LogKeyring {
  readonly made = new Map<string, Signer>();

  async open(purpose: LogKeyPurpose, number: number, { keyid }: PublicKey): Promise<Signer> {
    const signer = this.made.get(`${purpose} ${number}`);
    if (signer?.publicKey.keyid === keyid) return signer;
    throw new SteleError('not_found', `${purpose} key ${number} is not ${keyid}`);
  }

  async next(purpose: LogKeyPurpose, announced: readonly PublicKey[]): Promise<Signer> {
    return this.key(purpose, announced.length + 1);
  }

  key(purpose: LogKeyPurpose, number = 1): Signer {
    const name = `${purpose} ${number}`;
    const known = this.made.get(name);
    if (known !== undefined) return known;
    const signer = makeSigner(LOG_KEY_ALG[purpose]);
    this.made.set(name, signer);
    return signer;
  }
}

/** Keys that sign through `wrap`. */
export function wrappedKeys(
  keys: LogKeyring,
  wrap: (signer: Signer, purpose: LogKeyPurpose) => Signer,
): LogKeyring {
  return {
    open: async (purpose, number, key) => wrap(await keys.open(purpose, number, key), purpose),
    next: async (purpose, announced) => wrap(await keys.next(purpose, announced), purpose),
  };
}

const shared = { keys: new TestKeys(), operator: makeSigner() };

export function logOptions({
  stateFolder,
  ...more
}: Partial<LogOptions<StagedContent>> & {
  readonly stateFolder: string;
}): LogOptions<StagedContent> {
  return {
    name: 'test',
    origin: ORIGIN,
    visibility: 'proofs',
    memories: new Memories([new HighWater(stateFolder)]),
    store: new MemoryStore(),
    ...shared,
    checker,
    clock: new TestClock(),
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    instance: 'test',
    software: 'stele-test/0',
    limits: DEFAULT_APPEND_LIMITS,
    commitContent: async () => {},
    checkSpace: () => {},
    fatal: (error) => {
      throw error;
    },
    warn: (message, error) => {
      throw new Error(message, { cause: error });
    },
    ...more,
  };
}

export async function createLog(
  options: LogOptions<StagedContent>,
  rules: object = {},
): Promise<Log> {
  return Log.create(options, { rules: { ...DEFAULT_RULES, ...rules } });
}

/** A gateway that makes records which continue its source's chain. */
export class Gateway {
  readonly signer: Signer;
  readonly source: string;
  seq = 0;
  prev: string | null = null;

  constructor(source = 'gateway-1', signer: Signer = makeSigner()) {
    this.signer = signer;
    this.source = source;
    this.signer = signer;
  }

  /** The next record of this source. Members given replace those of the plain one. */
  async next(members: Readonly<Record<string, unknown>> = {}, origin = ORIGIN): Promise<Entry> {
    const entry = await this.make({ seq: this.seq, prev: this.prev }, members, origin);
    this.seq++;
    this.prev = toBase64url(payloadDigest(entry.payload));
    return entry;
  }

  async many(count: number): Promise<Entry[]> {
    const entries: Entry[] = [];
    while (entries.length < count) entries.push(await this.next());
    return entries;
  }

  async make(
    chain: { readonly seq: number; readonly prev: string | null },
    members: Readonly<Record<string, unknown>> = {},
    origin = ORIGIN,
  ): Promise<Entry> {
    const record = {
      schema: 'stele.record/1',
      kind: 'heartbeat',
      log: origin,
      record_id: uuidv7(Date.UTC(2026, 0, 1), new Uint8Array(randomBytes(10))),
      source: {
        id: this.source,
        instance: 'a',
        ...chain,
        provenance: 'observed',
        completeness: 'full',
        software: 'test/0',
      },
      time: { received: '2026-01-01T00:00:00.000000Z' },
      heartbeat: { seq: chain.seq },
      ...members,
    };
    // A member given as undefined is absent.
    const plain = JSON.parse(JSON.stringify(record)) as AuditRecord;
    return this.sign(RECORD_TYPE, formatRecord(plain));
  }

  async sign(payloadType: string, payload: Uint8Array): Promise<Entry> {
    const sig = await this.signer.sign(pae(payloadType, payload));
    const { keyid } = this.signer.publicKey;
    return decodeEntry(encodeEntry({ payloadType, payload, signatures: [{ keyid, sig }] }));
  }
}

/** Admits and submits entries, in one go. */
export async function submit(log: Log, ...entries: readonly Entry[]): Promise<Submitted[]> {
  return log.submit(
    await Promise.all(entries.map(async (entry) => ({ admitted: await log.admit(entry) }))),
  );
}

/** The index of each, or a failure of the test. */
export async function append(log: Log, ...entries: readonly Entry[]): Promise<LeafIndex[]> {
  return (await submit(log, ...entries)).map((submitted) => {
    if (submitted instanceof SteleError) throw submitted;
    return submitted.index;
  });
}

/** A log with one registered gateway: entries 0 and 1. */
export async function startLog(
  options: LogOptions<StagedContent>,
  rules: object = {},
): Promise<{ log: Log; gateway: Gateway }> {
  const log = await createLog(options, rules);
  const gateway = new Gateway();
  await log.registerGateway(gateway.signer.publicKey);
  return { log, gateway };
}

/** Re-derives the whole log from its entries and compares every root and checkpoint it gives out. */
export async function checkWhole(log: Log): Promise<void> {
  const { Tree } = await import('../../server/core/tree.ts');
  const { leafHash } = await import('../../server/core/merkle.ts');
  const { openCheckpoint } = await import('../../server/core/checkpoint.ts');
  const { equalBytes, utf8 } = await import('../../server/core/bytes.ts');
  const head = log.head();
  let tree = Tree.empty();
  for (let begin = 0; begin < head.size; begin += 1_000) {
    const end = Math.min(head.size, begin + 1_000) as TreeSize;
    const entries = await log.entries(begin as LeafIndex, end);
    tree = tree.append(entries.map(leafHash)).tree;
  }
  if (!equalBytes(tree.root(), head.root)) throw new Error('the entries do not hash to the root');
  const keys = [log.verifierKeys().identity];
  const { checkpoint } = openCheckpoint(utf8(head.checkpoint), log.origin, keys);
  if (checkpoint.size !== head.size || !equalBytes(checkpoint.root, head.root)) {
    throw new Error('the checkpoint is not the head');
  }
}
