/**
 * Records that the server itself makes: control records under the reserved source `_log`, signed by the
 * operator key, and access records in `NAME.access`, signed by the server's own gateway key.
 *
 * They pass the same pool and the same checks as everybody's; one at a time, since each names the hash
 * of the one before.
 */
import { toBase64 } from '../core/bytes.ts';
import { canonicalize } from '../core/canonical.ts';
import { decodeEntry, type Entry, encodeEntry, RECORD_TYPE } from '../core/entry.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { pae } from '../core/pae.ts';
import { type Record as AuditRecord, CONTROL_SOURCE, formatRecord } from '../core/record.ts';
import type { LeafIndex } from '../core/units.ts';
import { uuidv7 } from '../core/uuid.ts';
import type { Signer } from '../keys/signer.ts';
import { type Admitted, describeControl } from './admit.ts';
import type { Logged, MakeControl, Submitted } from './append.ts';
import { type Clock, timestamp } from './clock.ts';
import type { Period, Registry, Rules } from './registry.ts';

/** The members that differ between kinds: `kind`, and the member named after it. */
export type OwnBody = { readonly kind: AuditRecord['kind'] } & {
  readonly [member: string]: unknown;
};

/** What the registration of a gateway key says beside the key. */
export interface Registration extends Period {
  readonly source?: string | undefined;
}

export interface OwnPorts {
  readonly origin: string;
  /** Which process start this is: informational. */
  readonly instance: string;
  readonly software: string;
  readonly operator: Signer;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  readonly registry: Registry;
  /** Where a source's next record goes. */
  readonly tip: (source: string) => Promise<{ readonly seq: number; readonly prev: string | null }>;
  /** Throws if nothing can be accepted right now. */
  readonly checkRoom: () => void;
  readonly admit: (entry: Entry) => Promise<Admitted>;
  readonly submit: (admitted: Admitted) => Promise<Submitted>;
  /** Appends a control record that is made once its index is known. */
  readonly submitControl: (make: MakeControl) => Promise<Submitted>;
}

export class OwnRecords {
  readonly #ports: OwnPorts;
  #last: Promise<unknown> = Promise.resolve();

  constructor(ports: OwnPorts) {
    this.#ports = ports;
  }

  /** Appends a control record, signed by the operator. */
  control(body: OwnBody): Promise<Logged> {
    return this.#oneAtATime(() => this.#control(body));
  }

  /**
   * Does `work` in its turn: what it sees of the log's records stays so until it ends. What it appends are
   * control records, which may say where they stand.
   */
  inTurn<T>(
    work: (append: (body: (index: LeafIndex) => OwnBody) => Promise<Logged>) => Promise<T>,
  ): Promise<T> {
    return this.#oneAtATime(() => work((body) => this.#controlAt(body)));
  }

  /** Appends a record of the server's own, signed by a key of its own that has the source, or is given it now. */
  gateway(body: OwnBody, source: string, signer: Signer): Promise<Logged> {
    return this.#oneAtATime(async () => {
      await this.#give(source, signer.publicKey);
      return this.#append(await this.#ports.admit(await this.#make(body, source, signer)));
    });
  }

  /** Gives a source of the server's own to a key of its own, unless it has it. */
  give(source: string, key: PublicKey): Promise<void> {
    return this.#oneAtATime(() => this.#give(source, key));
  }

  async #give(source: string, key: PublicKey): Promise<void> {
    this.#checkPurpose(key);
    const { keyid } = key;
    const revoked = this.#ports.registry.find(keyid)?.revoked;
    if (revoked !== undefined) {
      throw new SteleError(
        'forbidden',
        `the server's own key ${keyid} was revoked at entry ${revoked}: give it another ("stele key rotate-own")`,
      );
    }
    await this.#register(key, { source });
  }

  /**
   * Registers a gateway key, or hands a source to one that is registered, or gives a registered one another
   * period. Done twice, it is done once.
   */
  async register(key: PublicKey, wanted: Registration): Promise<LeafIndex> {
    this.#checkPurpose(key);
    const { source } = wanted;
    // Given away, the log could never again say who may sign.
    if (source?.startsWith('_') === true) {
      throw new SteleError('forbidden', `source ${shown(source)} is the log's own`);
    }
    checkEnd(wanted, this.#ports.clock.now());
    return this.#oneAtATime(() => this.#register(key, wanted));
  }

  async #register(key: PublicKey, wanted: Registration): Promise<LeafIndex> {
    const done = this.registered(key, wanted);
    if (done !== undefined) return done;
    const known = this.#ports.registry.find(key.keyid);
    const isGood = known !== undefined && known.revoked === undefined;
    if (isGood && isPeriodOf(known, wanted)) {
      return this.#key('hand-over', key, { source: wanted.source });
    }
    return this.#key('register', key, wanted);
  }

  /** The entry that registered this key just so; nothing where something is left to be said. */
  registered({ keyid }: PublicKey, wanted: Registration): LeafIndex | undefined {
    const { registry } = this.#ports;
    const known = registry.find(keyid);
    if (known === undefined || known.revoked !== undefined) return undefined;
    const owned = wanted.source === undefined || registry.ownerOf(wanted.source) === keyid;
    return owned && isPeriodOf(known, wanted) ? known.registered : undefined;
  }

  /** Revokes a gateway key from here on; what it signed before stays good. */
  revoke(keyid: string): Promise<LeafIndex> {
    return this.#oneAtATime(async () => {
      const known = this.#ports.registry.find(keyid);
      if (known === undefined) throw new SteleError('not_found', `no key ${keyid} is registered`);
      return known.revoked ?? this.#key('revoke', known, {});
    });
  }

  /** Changes the rules, unless they are those already. */
  changeRules(rules: Rules): Promise<void> {
    return this.#oneAtATime(async () => {
      const known = this.#ports.registry.rules;
      if (canonicalize(rules) === canonicalize(known)) return;
      await this.#control({ kind: 'policy', policy: { rules } });
    });
  }

  /** Ends the log, unless it has ended. */
  end(end: { readonly next?: string; readonly reason?: string }): Promise<void> {
    return this.#oneAtATime(async () => {
      if (this.#ports.registry.end !== undefined) return;
      await this.#control({ kind: 'policy', policy: { end } });
    });
  }

  /** A verifier could not tell what the operator signs from what a gateway does. */
  #checkPurpose({ keyid }: PublicKey): void {
    const { registry } = this.#ports;
    const own = registry.history?.all().find(({ publicKey }) => publicKey.keyid === keyid);
    const purpose = keyid === registry.operator.keyid ? 'operator' : own?.purpose;
    if (purpose === undefined) return;
    throw new SteleError(
      'forbidden',
      `key ${keyid} is the log's ${purpose} key: each key has one purpose`,
    );
  }

  async #control(body: OwnBody): Promise<Logged> {
    const entry = await this.#make(body, CONTROL_SOURCE, this.#ports.operator);
    return this.#append(describeControl(entry, this.#ports.origin));
  }

  async #controlAt(body: (index: LeafIndex) => OwnBody): Promise<Logged> {
    const { operator, origin, submitControl } = this.#ports;
    const submitted = await submitControl(async (index) =>
      describeControl(await this.#make(body(index), CONTROL_SOURCE, operator), origin),
    );
    if (submitted instanceof SteleError) throw submitted;
    return submitted;
  }

  async #key(
    action: 'register' | 'revoke' | 'hand-over' | 'rotate',
    { alg, spki, keyid }: PublicKey,
    { source, notBeforeMs, notAfterMs }: Registration,
  ): Promise<LeafIndex> {
    const more = {
      ...(source === undefined ? {} : { source }),
      ...(notBeforeMs === undefined ? {} : { not_before: timestamp(notBeforeMs) }),
      ...(notAfterMs === undefined ? {} : { not_after: timestamp(notAfterMs) }),
    };
    const { index } = await this.#control({
      kind: 'key',
      key: { action, purpose: 'gateway', alg, spki: toBase64(spki), keyid, ...more },
    });
    return index;
  }

  async #append(admitted: Admitted): Promise<Logged> {
    const submitted = await this.#ports.submit(admitted);
    if (submitted instanceof SteleError) throw submitted;
    return submitted;
  }

  /** Builds and signs a record that continues its source's chain. */
  async #make(body: OwnBody, source: string, signer: Signer): Promise<Entry> {
    const { origin, instance, software, clock, random, tip, checkRoom } = this.#ports;
    checkRoom();
    const now = clock.now();
    const record = {
      schema: 'stele.record/1',
      log: origin,
      record_id: uuidv7(now, random(10)),
      source: {
        id: source,
        instance,
        ...(await tip(source)),
        provenance: 'observed',
        completeness: 'full',
        software,
      },
      time: { received: timestamp(now) },
      ...body,
    };
    // The cast says nothing: `formatRecord` holds it to the schema.
    const payload = formatRecord(record as unknown as AuditRecord);
    const sig = await signer.sign(pae(RECORD_TYPE, payload));
    const { keyid } = signer.publicKey;
    return decodeEntry(
      encodeEntry({ payloadType: RECORD_TYPE, payload, signatures: [{ keyid, sig }] }),
    );
  }

  /** The next in line waits for the end of this one, whatever it is; its caller gets the outcome. */
  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** Whether a key has the period that is asked for; where none is, any will do. */
function isPeriodOf(known: Period, { notBeforeMs, notAfterMs }: Period): boolean {
  if (notBeforeMs === undefined && notAfterMs === undefined) return true;
  return known.notBeforeMs === notBeforeMs && known.notAfterMs === notAfterMs;
}

/** A key that could never submit is registered by mistake: an expired certificate, a wrong year. */
function checkEnd({ notBeforeMs, notAfterMs }: Period, now: number): void {
  if (notAfterMs === undefined) return;
  if (notBeforeMs !== undefined && notAfterMs < notBeforeMs) {
    throw malformed('not_after', `${timestamp(notAfterMs)} is before ${timestamp(notBeforeMs)}`);
  }
  if (notAfterMs < now) {
    throw malformed('not_after', `${timestamp(notAfterMs)} is past: it is ${timestamp(now)}`);
  }
}
