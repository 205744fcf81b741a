/** A gateway of a test: makes records that continue its source's chain, and signs them as often as asked. */
import { createHash, randomBytes } from 'node:crypto';
import { signEntry } from '../../server/client/sign.ts';
import { toBase64url } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { RECORD_TYPE } from '../../server/core/entry.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import type { Signer } from '../../server/keys/signer.ts';
import { timestamp } from '../../server/log/clock.ts';
import { payloadDigest } from '../../server/log/sources.ts';
import { makeSigner } from '../log/make.ts';

/** A body that travels beside a record. */
export interface Body {
  readonly field: string;
  readonly bytes: Uint8Array;
}

export interface Draft {
  readonly recordId: string;
  readonly payload: Uint8Array;
  readonly disclosures: readonly string[];
  readonly bodies: readonly Body[];
}

export class Author {
  readonly signer: Signer;
  readonly source: string;
  readonly origin: string;
  #seq = 0;
  #prev: string | null = null;

  constructor(origin: string, source: string, alg: 'ed25519' | 'ecdsa-p256' = 'ed25519') {
    this.origin = origin;
    this.source = source;
    this.signer = makeSigner(alg);
  }

  /** The next record: a heartbeat, or with bodies an intent. */
  next(bodies: readonly Body[] = []): Draft {
    const recordId = uuidv7(Date.now(), new Uint8Array(randomBytes(10)));
    const made = bodies.map(({ field, bytes }) => ({ field, ...describe(field, bytes) }));
    const fields = Object.fromEntries(made.map(({ field, digest }) => [field, digest]));
    const seq = this.#seq++;
    const payload = formatRecord({
      schema: 'stele.record/1',
      log: this.origin,
      record_id: recordId,
      source: {
        id: this.source,
        instance: 'a',
        seq,
        prev: this.#prev,
        provenance: 'observed',
        completeness: 'full',
        software: 'test/0',
      },
      ...(bodies.length === 0 ? heartbeat(seq) : intent(fields)),
      // The members above are those of either kind.
    } as unknown as AuditRecord);
    this.#prev = toBase64url(payloadDigest(payload));
    return { recordId, payload, disclosures: made.map((one) => one.disclosure), bodies };
  }

  /** The entry. With ECDSA each call makes other bytes of the same statement. */
  sign({ payload }: Draft): Promise<Uint8Array> {
    return signEntry(this.signer, RECORD_TYPE, payload);
  }
}

function describe(field: string, bytes: Uint8Array) {
  const sha256 = createHash('sha256').update(bytes).digest('base64url');
  const value = { bytes: bytes.length, media_type: 'application/octet-stream', sha256 };
  return makeDisclosure(field, value, new Uint8Array(randomBytes(16)));
}

function heartbeat(seq: number) {
  return { kind: 'heartbeat', time: { received: timestamp(Date.now()) }, heartbeat: { seq } };
}

function intent(fields: Readonly<Record<string, string>>) {
  return {
    kind: 'intent',
    time: { received: timestamp(Date.now()), clock: { source: 'ntp' } },
    ids: { gateway_request: 'r', attempt: 1 },
    auth: { tenant: 'default', method: 'none', principal_type: 'user' },
    input: { format: 'openai.chat', context: 'complete', bytes_class: 8 },
    commitments: { alg: 'sha-256', form: 'sd-disclosure/1', fields },
  };
}
