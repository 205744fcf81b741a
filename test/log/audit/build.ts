/**
 * Logs made by hand, so that they can be wrong: whatever entries a test wants, in a tree that is right,
 * under a head that is signed.
 */
import { toBase64, toBase64url } from '../../../server/core/bytes.ts';
import { formatCheckpoint } from '../../../server/core/checkpoint.ts';
import { encodeEntry, RECORD_TYPE } from '../../../server/core/entry.ts';
import { leafHash } from '../../../server/core/merkle.ts';
import { formatNote } from '../../../server/core/note.ts';
import { pae } from '../../../server/core/pae.ts';
import { type Record as AuditRecord, formatRecord } from '../../../server/core/record.ts';
import { Tree } from '../../../server/core/tree.ts';
import { leafIndex } from '../../../server/core/units.ts';
import { anchorVerifierKey, identityVerifierKey, signNote } from '../../../server/keys/log-keys.ts';
import type { Signer } from '../../../server/keys/signer.ts';
import { payloadDigest } from '../../../server/log/sources.ts';
import { type Head, type LogStore, NO_USAGE } from '../../../server/storage/store.ts';
import { makeSigner } from '../make.ts';

export const ORIGIN = 'log.example/logs/built';

/** The keys of a built log. */
export const KEYS = {
  identity: makeSigner(),
  anchor: makeSigner('ecdsa-p256'),
  operator: makeSigner(),
  gateway: makeSigner(),
  stranger: makeSigner(),
};

export const IDENTITY = identityVerifierKey(ORIGIN, KEYS.identity);

interface Chain {
  readonly source: string;
  readonly seq: number;
  readonly prev: string | null;
}

let made = 0;

/** A record of any kind, in its place in a chain. */
export function record(body: object, chain: Chain, log = ORIGIN): Uint8Array {
  const { source, seq, prev } = chain;
  const serial = (made++).toString(16).padStart(12, '0');
  return formatRecord({
    schema: 'stele.record/1',
    log,
    record_id: `0197f1c2-5a3b-7c4d-8e5f-${serial}`,
    source: {
      id: source,
      instance: 'test',
      seq,
      prev,
      provenance: 'observed',
      completeness: 'full',
      software: 'test/1',
    },
    time: { received: '2026-11-01T00:00:00.000000Z' },
    ...body,
  } as unknown as AuditRecord);
}

export async function signed(
  payload: Uint8Array,
  signer: Signer,
  payloadType = RECORD_TYPE,
): Promise<Uint8Array> {
  const sig = await signer.sign(pae(payloadType, payload));
  const { keyid } = signer.publicKey;
  return encodeEntry({ payloadType, payload, signatures: [{ keyid, sig }] });
}

/** A source that writes heartbeats, one after the other. */
export class Heart {
  readonly #source: string;
  readonly #signer: Signer;
  #seq = 0;
  #prev: string | null = null;

  constructor(source = 'heart', signer: Signer = KEYS.gateway) {
    this.#source = source;
    this.#signer = signer;
  }

  /** The next entry; with `lost` it is made and counted but forgotten by whoever asked. */
  async beat(): Promise<Uint8Array> {
    const chain = { source: this.#source, seq: this.#seq, prev: this.#prev };
    const payload = record({ kind: 'heartbeat', heartbeat: { seq: this.#seq } }, chain);
    this.#seq++;
    this.#prev = toBase64url(payloadDigest(payload));
    return signed(payload, this.#signer);
  }

  async beats(count: number): Promise<Uint8Array[]> {
    const entries: Uint8Array[] = [];
    for (let i = 0; i < count; i++) entries.push(await this.beat());
    return entries;
  }
}

/** The operator's own chain. */
export class Control {
  #seq = 0;
  #prev: string | null = null;

  async genesis(more: object = {}): Promise<Uint8Array> {
    const { alg, spki } = KEYS.operator.publicKey;
    const log_keys = [IDENTITY.text, anchorVerifierKey(ORIGIN, KEYS.anchor).text];
    return this.#next({
      kind: 'genesis',
      genesis: {
        origin: ORIGIN,
        log_keys,
        operator: { alg, spki: toBase64(spki) },
        rules: { payload_types: [RECORD_TYPE], continuity: 'flag' },
        ...more,
      },
    });
  }

  async key(
    action: 'register' | 'revoke' | 'rotate',
    signer: Signer = KEYS.gateway,
    more: { readonly purpose?: string; readonly last_size?: number } = {},
  ): Promise<Uint8Array> {
    const { alg, spki, keyid } = signer.publicKey;
    const key = { action, purpose: 'gateway', alg, spki: toBase64(spki), keyid, ...more };
    return this.#next({ kind: 'key', key });
  }

  async #next(body: object): Promise<Uint8Array> {
    const chain = { source: '_log', seq: this.#seq, prev: this.#prev };
    const payload = record(body, chain);
    this.#seq++;
    this.#prev = toBase64url(payloadDigest(payload));
    return signed(payload, KEYS.operator);
  }
}

/** Genesis, the gateway's registration, and `count` heartbeats. */
export async function plainLog(count: number): Promise<Uint8Array[]> {
  const control = new Control();
  const opening = [await control.genesis(), await control.key('register')];
  return [...opening, ...(await new Heart().beats(count))];
}

export async function headOf(
  tree: Pick<Tree, 'size' | 'root'>,
  ...signers: readonly Signer[]
): Promise<Head> {
  const { size } = tree;
  const root = tree.root();
  const text = formatCheckpoint({ origin: ORIGIN, size, root });
  const lines = (signers.length === 0 ? [KEYS.identity] : signers).map((signer) => ({
    key:
      signer.publicKey.alg === 'ed25519'
        ? identityVerifierKey(ORIGIN, signer)
        : anchorVerifierKey(ORIGIN, signer),
    signer,
  }));
  return {
    size,
    root,
    timeMs: 1_790_000_000_000,
    checkpoint: formatNote(await signNote(text, lines)),
  };
}

/** The same head as `LOG/checkpoint` serves it. */
export function publishedOf({ size, root }: Pick<Head, 'size' | 'root'>): Promise<Head> {
  return headOf({ size, root: () => root }, KEYS.identity, KEYS.anchor);
}

/** Writes entries into an empty store, as one batch. `control` are the indexes of control records. */
export async function fill(
  store: LogStore,
  entries: readonly Uint8Array[],
  control: readonly number[] = [0, 1],
  ...signers: readonly Signer[]
): Promise<Head> {
  const { tree, tiles } = Tree.empty().append(entries.map((entry) => leafHash(entry)));
  const head = await headOf(tree, ...signers);
  await store.commit(
    {
      begin: leafIndex(0),
      entries,
      tiles,
      lookups: [],
      indexed: tree.size,
      control: control.map((index) => leafIndex(index)),
      sources: [],
      head,
      usage: NO_USAGE,
    },
    undefined,
  );
  return head;
}
