/**
 * Records that the server itself makes: control records under the reserved source `_log`, signed by the
 * operator key, and access records in `NAME.access`, signed by the server's own gateway key.
 *
 * They pass the same pool and the same checks as everybody's; one at a time, since each names the hash
 * of the one before.
 */
import { decodeEntry, type Entry, encodeEntry, RECORD_TYPE } from '../core/entry.ts';
import { SteleError } from '../core/errors.ts';
import { pae } from '../core/pae.ts';
import { type Record as AuditRecord, formatRecord } from '../core/record.ts';
import { uuidv7 } from '../core/uuid.ts';
import type { Signer } from '../keys/signer.ts';
import { type Clock, timestamp } from './clock.ts';

/** The source of control records; no gateway may use a name that begins with an underscore. */
export const CONTROL_SOURCE = '_log';

export interface OwnPorts {
  readonly origin: string;
  readonly source: string;
  /** Which process start this is: informational. */
  readonly instance: string;
  readonly software: string;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  /** Where the source's next record goes. */
  readonly tip: () => Promise<{ readonly seq: number; readonly prev: string | null }>;
}

/** The members that differ between kinds: `kind`, and the member named after it. */
export type OwnBody = { readonly kind: AuditRecord['kind'] } & {
  readonly [member: string]: unknown;
};

/** Builds and signs a record that continues its source's chain. */
export async function makeOwnEntry(body: OwnBody, ports: OwnPorts): Promise<Entry> {
  const now = ports.clock.now();
  const { seq, prev } = await ports.tip();
  const record = {
    schema: 'stele.record/1',
    log: ports.origin,
    record_id: uuidv7(now, ports.random(10)),
    source: {
      id: ports.source,
      instance: ports.instance,
      seq,
      prev,
      provenance: 'observed',
      completeness: 'full',
      software: ports.software,
    },
    time: { received: timestamp(now) },
    ...body,
  };
  // The schema is checked by `formatRecord`: what it takes is a record.
  const payload = formatRecord(record as unknown as AuditRecord);
  const sig = await ports.signer.sign(pae(RECORD_TYPE, payload));
  const { keyid } = ports.signer.publicKey;
  return decodeEntry(
    encodeEntry({ payloadType: RECORD_TYPE, payload, signatures: [{ keyid, sig }] }),
  );
}

/** Runs one piece of work at a time, in the order asked. */
export class OneAtATime {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    // The next in line waits for the end of this one, whatever it is; its caller gets the outcome.
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** The outcome of one submission, or its refusal thrown. */
export function orThrow<T>(submitted: T | SteleError | undefined): T {
  if (submitted instanceof SteleError) throw submitted;
  if (submitted === undefined) throw new SteleError('storage', 'a submission got no answer');
  return submitted;
}
