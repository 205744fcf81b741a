/**
 * A tiny log, made in memory with real keys: genesis, key records, entries, checkpoints, receipts.
 *
 * It shares nothing with the server's way of making one but the formats, and signs with node:crypto, so
 * that what it makes is a second opinion. Trees are computed as RFC 6962 defines them, by recursion.
 */
import { generateKeyPairSync, type KeyObject, sign as nodeSign, randomBytes } from 'node:crypto';
import { sha256, toBase64, toBase64url, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { type Entry, encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import type { Json } from '../../server/core/json.ts';
import {
  type Algorithm,
  type PublicKey,
  parsePublicKey,
  rawEd25519,
} from '../../server/core/keys.ts';
import { leafHash, nodeHash } from '../../server/core/merkle.ts';
import {
  formatNote,
  makeVerifierKey,
  NOTE_ECDSA,
  NOTE_ED25519,
  parseVerifierKey,
  type VerifierKey,
} from '../../server/core/note.ts';
import { pae } from '../../server/core/pae.ts';
import { formatReceipt, type Receipt, type ReceiptDisclosure } from '../../server/core/receipt.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import type { Trust } from '../../server/core/trust.ts';
import { type Hash, leafIndex, treeSize } from '../../server/core/units.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import { buildWindow, type Statement } from '../../server/core/window.ts';

export interface MadeKey {
  readonly publicKey: PublicKey;
  sign(message: Uint8Array): Uint8Array;
}

export function makeKey(alg: Algorithm = 'ed25519'): MadeKey {
  const { publicKey, privateKey } = makePair(alg);
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  return {
    publicKey: parsePublicKey(alg, spki),
    sign: (message) => new Uint8Array(signWith(alg, message, privateKey)),
  };
}

function makePair(alg: Algorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  switch (alg) {
    case 'ed25519':
      return generateKeyPairSync('ed25519');
    case 'ecdsa-p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ecdsa-p384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' });
    case 'rsa-pss':
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
  }
}

function signWith(alg: Algorithm, message: Uint8Array, key: KeyObject): Uint8Array {
  if (alg === 'ed25519') return nodeSign(null, message, key);
  if (alg !== 'rsa-pss') return nodeSign(alg === 'ecdsa-p384' ? 'sha384' : 'sha256', message, key);
  // RSA_PKCS1_PSS_PADDING is 6.
  return nodeSign('sha256', message, { key, padding: 6, saltLength: 32 });
}

/** RFC 6962 §2.1, transcribed. */
export function treeHash(leaves: readonly Hash[]): Hash {
  const [first] = leaves;
  if (first === undefined) return sha256(new Uint8Array(0));
  if (leaves.length === 1) return first;
  const k = splitOf(leaves.length);
  return nodeHash(treeHash(leaves.slice(0, k)), treeHash(leaves.slice(k)));
}

/** RFC 6962 §2.1.1, transcribed. */
export function pathOf(index: number, leaves: readonly Hash[]): Hash[] {
  if (leaves.length <= 1) return [];
  const k = splitOf(leaves.length);
  return index < k
    ? [...pathOf(index, leaves.slice(0, k)), treeHash(leaves.slice(k))]
    : [...pathOf(index - k, leaves.slice(k)), treeHash(leaves.slice(0, k))];
}

function splitOf(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

const NOW_MS = Date.UTC(2026, 8, 1, 10, 15, 30);
const RECEIVED = '2026-09-01T10:15:30.123456Z';

/** What every record has, for kind `K`; the caller adds the rest. */
export function commonMembers(
  log: string,
  source: { id: string; seq?: number; prev?: string | null },
) {
  return {
    schema: 'stele.record/1' as const,
    log,
    record_id: uuidv7(NOW_MS, randomBytes(10)),
    source: {
      id: source.id,
      instance: 'test',
      seq: source.seq ?? 0,
      prev: source.prev ?? null,
      provenance: 'observed' as const,
      completeness: 'full' as const,
      software: 'stele-test/1',
    },
    time: { received: RECEIVED },
  };
}

/** An inference record with the given commitments. */
export function inferenceRecord(
  log: string,
  fields: { readonly [name: string]: string } = {},
  source: { id: string; seq?: number; prev?: string | null } = { id: 'gateway-1' },
): Extract<AuditRecord, { kind: 'inference' }> {
  const common = commonMembers(log, source);
  return {
    ...common,
    kind: 'inference',
    time: {
      received: RECEIVED,
      completed: '2026-09-01T10:15:32.081020Z',
      clock: { source: 'ntp', max_error_us: 1500 },
    },
    ids: { gateway_request: 'req-1', attempt: 1 },
    auth: { tenant: 'default', method: 'none', principal_type: 'anonymous' },
    input: { format: 'openai.chat', context: 'complete', bytes_class: 8 },
    model: { provider: 'openai', operation: 'chat' },
    policy: { events: [] },
    metrics: { duration_us: 1_957_564, usage_source: 'none' },
    outcome: { status: 'transport-error' },
    commitments: { alg: 'sha-256', form: 'sd-disclosure/1', fields },
    retention: { class: 'default' },
  };
}

export function heartbeatRecord(log: string, seq = 0): Extract<AuditRecord, { kind: 'heartbeat' }> {
  return {
    ...commonMembers(log, { id: 'gateway-1', seq }),
    kind: 'heartbeat',
    heartbeat: { seq },
  };
}

export interface CheckpointOptions {
  readonly size?: number;
  readonly anchored?: boolean;
  readonly signers?: readonly MadeKey[];
}

/** The verifier key of an identity or an anchor key. */
export function verifierKeyOf(origin: string, { publicKey }: MadeKey): VerifierKey {
  return publicKey.alg === 'ed25519'
    ? makeVerifierKey(origin, NOTE_ED25519, rawEd25519(publicKey))
    : makeVerifierKey(origin, NOTE_ECDSA, publicKey.spki);
}

export interface MadeLogOptions {
  readonly origin?: string;
  /** Algorithms of the gateway keys that are registered from entry 1 on. */
  readonly gateways?: readonly Algorithm[];
  readonly operator?: Algorithm;
}

export class MadeLog {
  readonly origin: string;
  readonly operator: MadeKey;
  readonly identity = makeKey('ed25519');
  readonly anchor = makeKey('ecdsa-p256');
  readonly identityKey: VerifierKey;
  readonly anchorKey: VerifierKey;
  readonly gateways: readonly MadeKey[];
  /** Everything that is logged. Genesis is entry 0, gateway n is registered at entry n + 1. */
  readonly entries: Uint8Array[] = [];

  constructor(options: MadeLogOptions = {}) {
    this.origin = options.origin ?? 'example.org/logs/test';
    this.operator = makeKey(options.operator);
    this.identityKey = verifierKeyOf(this.origin, this.identity);
    this.anchorKey = verifierKeyOf(this.origin, this.anchor);
    this.appendSigned(formatRecord(this.genesisRecord()), [this.operator]);
    this.gateways = (options.gateways ?? ['ed25519']).map((alg) => makeKey(alg));
    for (const key of this.gateways) this.register(key);
  }

  genesisRecord(): Extract<AuditRecord, { kind: 'genesis' }> {
    const { alg, spki } = this.operator.publicKey;
    return {
      ...commonMembers(this.origin, { id: '_log' }),
      kind: 'genesis',
      genesis: {
        origin: this.origin,
        log_keys: [this.identityKey.text, this.anchorKey.text],
        operator: { alg, spki: toBase64(spki) },
        rules: { payload_types: [RECORD_TYPE, 'text/plain'], continuity: 'flag' },
      },
    };
  }

  keyRecord(key: PublicKey): Extract<AuditRecord, { kind: 'key' }> {
    const { alg, spki, keyid } = key;
    return {
      ...commonMembers(this.origin, { id: '_log', seq: this.entries.length }),
      kind: 'key',
      key: { action: 'register', purpose: 'gateway', alg, spki: toBase64(spki), keyid },
    };
  }

  /** Appends a record about a key of the log itself; its index is the answer. */
  logKey(
    action: 'rotate' | 'revoke',
    purpose: 'identity' | 'anchor',
    { publicKey: { alg, spki, keyid } }: MadeKey,
  ): number {
    const index = this.entries.length;
    const ends = action === 'revoke' ? { last_size: index + 1 } : {};
    const record: AuditRecord = {
      ...commonMembers(this.origin, { id: '_log', seq: index }),
      kind: 'key',
      key: { action, purpose, alg, spki: toBase64(spki), keyid, ...ends },
    };
    return this.appendSigned(formatRecord(record), [this.operator]);
  }

  /** Appends the operator's key record; its index is the answer. */
  register(key: MadeKey): number {
    return this.appendSigned(formatRecord(this.keyRecord(key.publicKey)), [this.operator]);
  }

  /** Appends an entry signed by these keys; its index is the answer. */
  appendSigned(
    payload: Uint8Array,
    keys: readonly MadeKey[] = [this.gateways[0] as MadeKey],
    payloadType = RECORD_TYPE,
  ): number {
    return this.append(signed(payload, keys, payloadType));
  }

  append(entry: Entry): number {
    return this.entries.push(encodeEntry(entry)) - 1;
  }

  /** Appends entries under one window signature by the first gateway; the first index is the answer. */
  appendWindow(statements: readonly Statement[]): number {
    const first = this.entries.length;
    const gateway = this.gateways[0] as MadeKey;
    const { message, windows } = buildWindow(this.origin, statements);
    const sig = gateway.sign(message);
    statements.forEach(({ payloadType, payload }, i) => {
      const window = windows[i] as (typeof windows)[number];
      const { keyid } = gateway.publicKey;
      this.append({ payloadType, payload, signatures: [{ keyid, sig, window }] });
    });
    return first;
  }

  leaves(size = this.entries.length): Hash[] {
    return this.entries.slice(0, size).map(leafHash);
  }

  /** A checkpoint with the identity line and, where `anchored`, the anchor line; or with lines of `signers`. */
  checkpoint({
    size = this.entries.length,
    anchored = false,
    signers = anchored ? [this.identity, this.anchor] : [this.identity],
  }: CheckpointOptions = {}): string {
    const root = treeHash(this.leaves(size));
    const text = formatCheckpoint({ origin: this.origin, size: treeSize(size), root });
    return formatNote({
      text,
      signatures: signers.map((signer) => {
        const { name, keyId } = verifierKeyOf(this.origin, signer);
        return { name, keyId, signature: signer.sign(utf8(text)) };
      }),
    });
  }

  included(index: number, size = this.entries.length) {
    const entry = this.entries[index] as Uint8Array;
    return { entry, index: leafIndex(index), proof: pathOf(index, this.leaves(size)) };
  }

  /** The parts of a receipt; `keys` are the indexes of its key records. */
  receiptParts(
    index: number,
    options: CheckpointOptions & {
      readonly keys?: readonly number[];
      readonly anchors?: readonly Json[];
      readonly disclosures?: readonly ReceiptDisclosure[];
    } = {},
  ): Receipt {
    const { keys = index === 0 ? [] : [0, 1], anchors = [], disclosures, ...head } = options;
    return {
      origin: this.origin,
      ...this.included(index, head.size),
      checkpoint: this.checkpoint(head),
      keys: keys.map((at) => this.included(at, head.size)),
      anchors,
      ...(disclosures === undefined ? {} : { disclosures }),
    };
  }

  receipt(index: number, options: Parameters<MadeLog['receiptParts']>[1] = {}): Uint8Array {
    return formatReceipt(this.receiptParts(index, options));
  }

  /** A trust file that pins the identity and anchor keys, and the gateways where `pinned`. */
  trust({ pinned = false } = {}): Trust {
    return {
      logs: [
        {
          origin: this.origin,
          keys: [this.identityKey, this.anchorKey].map(({ text }) => ({
            key: parseVerifierKey(text),
          })),
          gateways: pinned ? this.gateways.map(({ publicKey }) => publicKey) : [],
        },
      ],
    };
  }
}

/** An entry signed over its PAE by each of the keys. */
export function signed(
  payload: Uint8Array,
  keys: readonly MadeKey[],
  payloadType = RECORD_TYPE,
): Entry {
  const message = pae(payloadType, payload);
  return {
    payloadType,
    payload,
    signatures: keys.map((key) => ({ keyid: key.publicKey.keyid, sig: key.sign(message) })),
  };
}

/** The `prev` of the record that follows this payload. */
export function prevOf(payload: Uint8Array): string {
  return toBase64url(sha256(payload));
}
