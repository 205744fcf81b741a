/**
 * From what was reported to entries of one log, signed by the server's own gateway key for it.
 *
 *     line ─▶ known? ─▶ build, number ─▶ note ─▶ sign ─▶ vault ─▶ log ─▶ answers
 *             known     one chain        fsync                    fsync
 *
 * One round at a time, so the chain has no holes and nothing is written twice at once; all that waits shares the
 * round's two commits. The note goes first: it says which record a report is in before that record is there. A
 * crash after it leaves notes of records that the log does not have, and whoever reports again has them made under
 * the same ids; a crash after the log's commit loses only answers, and whoever reports again hears that it is
 * there. Nothing is answered before it is in the log (P1).
 */
import { setImmediate as othersFirst } from 'node:timers/promises';
import { sha256, toBase64url, toHex, utf8 } from '../core/bytes.ts';
import { encodeEntry, RECORD_TYPE } from '../core/entry.ts';
import { hasCode, invariant, malformed, SteleError } from '../core/errors.ts';
import { pae } from '../core/pae.ts';
import { type Record as AuditRecord, formatRecord } from '../core/record.ts';
import { uuidv7 } from '../core/uuid.ts';
import type { NumberedKeys } from '../keys/gateway-keys.ts';
import type { Clock } from '../log/clock.ts';
import type { Log } from '../log/log.ts';
import type { Logs } from '../log/logs.ts';
import type { Ingested, IngestedRow } from '../storage/ingested.ts';
import type { Vaults } from '../vault/vaults.ts';
import type { FingerprintOf } from './fingerprint.ts';
import { type Built, buildGap, buildLate, buildReported, type Standing } from './record.ts';
import type { Piece, Reported } from './reported.ts';
import { ownSourceOf } from './source.ts';
import { stageAll } from './stage.ts';

/** Something to be put on record: a call, with everything that was reported of it at once. */
export interface CallReport {
  /** What names the call in the reporter's own words, the same in all that is reported of it. */
  readonly call: string | undefined;
  readonly pieces: readonly Piece[];
  readonly reported: Reported;
  /** `reported` where nothing is said. */
  readonly provenance?: 'reported' | 'imported';
}

export interface WriterPorts {
  readonly logs: Logs;
  readonly vaults: Pick<Vaults, 'get'>;
  readonly ingested: Ingested;
  readonly keys: () => Promise<NumberedKeys>;
  readonly fingerprintOf: FingerprintOf;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  readonly software: string;
  readonly instance: string;
  /** A key signs in this log from here on. */
  readonly registered: (log: Log, keys: NumberedKeys) => void;
  /** The same for the log that goes on where this one ended. */
  readonly goOn: (name: string, callReport: CallReport) => Promise<Became>;
}

/** What became of a callReport: a record, a later word about one, or it was there before. */
export type Became = 'recorded' | 'annotated' | 'repeated';

/** One round: as much as a moment's work, and one commit. */
const ROUND_CALLS = 512;
const BUILT_AT_ONCE = 16;

/** Content of one round, which is held until it is on disk; the last call may go beyond it. */
const ROUND_BYTES = 67_108_864;

/** For how long a report is known again. Who got no answer asks sooner. */
const KEPT_MS = 7 * 86_400_000;

interface Waiting {
  readonly callReport: CallReport;
  readonly done: (outcome: Became) => void;
  readonly failed: (error: unknown) => void;
}

/** Where a record stands in the chain. */
interface Place {
  readonly seq: number;
  readonly prev: string | null;
}

/** What is on record of a callReport already. */
interface Known {
  /** Its pieces that are not, and what stands for those. */
  readonly fresh: readonly Piece[];
  readonly freshFingerprints: readonly Uint8Array[];
  /** What stands for its call and all of its pieces. */
  readonly fingerprints: readonly Uint8Array[];
  /** The record that its other pieces, or its call, are in. */
  readonly logged: string | undefined;
  /** The record that it was to be in, which the log need not have. */
  readonly noted: string | undefined;
}

/** A callReport that becomes a record now. */
interface Made {
  /** Nothing of what the writer itself has to say. */
  readonly waiting: Waiting | undefined;
  /** The lost number that it explains. */
  readonly explains?: number;
  readonly outcome: Became;
  readonly rows: readonly IngestedRow[];
  readonly seq: number;
  readonly payload: Uint8Array;
  readonly built: Built<AuditRecord>;
}

export class Writer {
  readonly #name: string;
  readonly #ports: WriterPorts;
  readonly #line: Waiting[] = [];
  /** Numbers of this source that the log refused while it took later ones. */
  #lost: number[] = [];
  #running: Promise<void> | undefined;

  constructor(name: string, ports: WriterPorts) {
    this.#name = name;
    this.#ports = ports;
  }

  /** Resolves when it is in the log. Rejects with `malformed` if it never can be, else with what may pass. */
  take(callReport: CallReport): Promise<Became> {
    return new Promise((done, failed) => {
      this.#line.push({ callReport, done, failed });
      // In a turn of its own: what comes in one request shares a round.
      this.#running ??= othersFirst().then(() => this.#run());
    });
  }

  /** Tellings that wait. */
  get waiting(): number {
    return this.#line.length;
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#line.length > 0) {
      const some = this.#line.splice(0, ROUND_CALLS);
      try {
        await this.#ports.logs.use(this.#name, (log) => this.#round(log, some));
      } catch (error) {
        const passing = passingError(error);
        for (const { failed } of some) failed(passing);
      }
    }
    this.#running = undefined;
  }

  async #round(log: Log, some: readonly Waiting[]): Promise<void> {
    log.checkRoom();
    const keys = await this.#ports.keys();
    const source = await ownSourceOf(log, keys);
    if (log.end !== undefined) {
      await this.#beyond(log, source, some);
      return;
    }
    const before = log.keys().length;
    await log.ownGateway(source, keys);
    if (log.keys().length !== before) this.#ports.registered(log, keys);
    const made = await this.#make(log, source, some);
    if (made.some(({ waiting }) => waiting !== undefined)) await this.#log(log, source, keys, made);
  }

  /** The log has ended: what it has is there, the rest goes to the next one. */
  async #beyond(log: Log, source: string, some: readonly Waiting[]): Promise<void> {
    for (const { callReport, done, failed } of some) {
      const known = await this.#known(log, source, callReport);
      if (known.fresh.length === 0) done('repeated');
      else this.#ports.goOn(this.#name, callReport).then(done, failed);
    }
  }

  async #known(log: Log, source: string, { call, pieces }: CallReport): Promise<Known> {
    const { ingested, fingerprintOf } = this.#ports;
    const find = async (text: string) => {
      const fingerprint = fingerprintOf(log.origin, text);
      const record = ingested.find(fingerprint);
      const isLogged = record !== undefined && (await isThere(log, record, source));
      return { fingerprint, record, isLogged };
    };
    const found = await Promise.all(pieces.map(({ identity }) => find(identity)));
    const whole = call === undefined ? undefined : await find(`call ${call}`);
    const fresh = pieces.filter((_, i) => found[i]?.isLogged !== true);
    const all = whole === undefined ? found : [whole, ...found];
    return {
      fresh,
      logged: all.find(({ isLogged }) => isLogged)?.record,
      noted: all.find(({ record }) => record !== undefined)?.record,
      fingerprints: all.map(({ fingerprint }) => fingerprint),
      freshFingerprints: found
        .filter(({ isLogged }) => !isLogged)
        .map(({ fingerprint }) => fingerprint),
    };
  }

  async #make(log: Log, source: string, some: readonly Waiting[]): Promise<Made[]> {
    const busy = new Set<string>();
    let bytes = 0;
    let { seq, prev } = await log.tip(source);
    const made: Made[] = this.#explain(log, source, { seq, prev });
    for (const { payload } of made) {
      prev = toBase64url(sha256(payload));
      seq++;
    }
    for (const [i, waiting] of some.entries()) {
      if (i % BUILT_AT_ONCE === 0) await othersFirst();
      if (bytes > ROUND_BYTES) {
        this.#line.unshift(...some.slice(i));
        break;
      }
      const { callReport } = waiting;
      const known = await this.#known(log, source, callReport);
      const names = known.fingerprints.map(toHex);
      if (known.fresh.length === 0) waiting.done('repeated');
      // The same comes twice at once: the second one waits for what becomes of the first.
      else if (names.some((name) => busy.has(name))) this.#line.push(waiting);
      else {
        for (const name of names) busy.add(name);
        const one = this.#build(log, source, callReport, known, { seq, prev });
        if (one instanceof SteleError) waiting.failed(one);
        else {
          made.push({ ...one, waiting, seq });
          for (const { bytes: more } of one.built.content) bytes += more.length;
          prev = toBase64url(sha256(one.payload));
          seq++;
        }
      }
    }
    return made;
  }

  /** A record that says which number of this source will never come; the next round says the next. */
  #explain(log: Log, source: string, place: Place): Made[] {
    const [lost] = this.#lost;
    if (lost === undefined) return [];
    const record = buildGap(lost, this.#standing(log, source, place));
    const built = { record, disclosures: [], content: [] };
    return [
      {
        waiting: undefined,
        explains: lost,
        outcome: 'recorded',
        rows: [],
        seq: place.seq,
        payload: formatRecord(record),
        built,
      },
    ];
  }

  #build(
    log: Log,
    source: string,
    { reported, provenance = 'reported' }: CallReport,
    known: Known,
    place: Place,
  ): Omit<Made, 'waiting' | 'seq'> | SteleError {
    const isLate = known.logged !== undefined;
    const beginMs = Math.floor(reported.beginUs / 1_000);
    const noted = isLate ? undefined : known.noted;
    const standing = { ...this.#standing(log, source, place, beginMs, noted), provenance };
    const { recordId } = standing;
    const report = reportOf(known.fresh);
    try {
      const { payload, built } = fitting((isShort) =>
        known.logged === undefined
          ? buildReported(reported, report, standing, isShort)
          : buildLate(known.logged, reported.reporter, report, standing),
      );
      const fingerprints = isLate ? known.freshFingerprints : known.fingerprints;
      const rows = fingerprints.map((fingerprint) => ({ fingerprint, record: recordId }));
      return { outcome: isLate ? 'annotated' : 'recorded', rows, payload, built };
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      return malformed('report', `it makes no record: ${error.message}`);
    }
  }

  #standing(log: Log, source: string, place: Place, beginMs = 0, recordId?: string): Standing {
    const { clock, random, software, instance } = this.#ports;
    const now = clock.now();
    const idMs = beginMs > 0 && beginMs < 2 ** 48 ? beginMs : now;
    return {
      log: log.origin,
      recordId: recordId ?? uuidv7(idMs, random(10)),
      source,
      instance,
      ...place,
      software,
      retentionClass: 'default',
      receivedUs: now * 1_000,
      provenance: 'reported',
      random,
    };
  }

  async #log(
    log: Log,
    source: string,
    { newest: signer }: NumberedKeys,
    made: readonly Made[],
  ): Promise<void> {
    const { ingested, clock } = this.#ports;
    const now = clock.now();
    ingested.note(
      made.flatMap(({ rows }) => rows),
      now,
      now - KEPT_MS,
    );
    const { keyid } = signer.publicKey;
    const admitted = await Promise.all(
      made.map(async ({ payload }) => {
        const sig = await signer.sign(pae(RECORD_TYPE, payload));
        const signatures = [{ keyid, sig }];
        return log.admit(encodeEntry({ payloadType: RECORD_TYPE, payload, signatures }));
      }),
    );
    const vault = await this.#ports.vaults.get(this.#name);
    const staged = await stageAll(
      vault,
      source,
      made.map(({ built }) => built),
    );
    const items = admitted.map((one, i) => {
      const content = staged[i];
      return content === undefined ? { admitted: one } : { admitted: one, content };
    });
    const outcomes = await log.submit(items);
    for (const [i, outcome] of outcomes.entries()) {
      const one = made[i];
      invariant(one !== undefined, 'each submission has one outcome');
      if (!(outcome instanceof SteleError)) one.waiting?.done(one.outcome);
      else {
        await staged[i]?.discard();
        one.waiting?.failed(passingError(outcome));
      }
    }
    this.#lose(
      made,
      outcomes.map((outcome) => outcome instanceof SteleError),
    );
  }

  /** A number that was refused before one that was taken is a hole for good. */
  #lose(made: readonly Made[], refused: readonly boolean[]): void {
    const last = refused.lastIndexOf(false);
    const holes = made.filter((_, i) => refused[i] === true && i < last).map(({ seq }) => seq);
    const explained = made.flatMap(({ explains }, i) =>
      refused[i] === true ? [] : (explains ?? []),
    );
    this.#lost = [...this.#lost.filter((seq) => !explained.includes(seq)), ...holes];
  }
}

/** A record that fits an entry: without its longest lists where it would not. */
function fitting(build: (isShort: boolean) => Built<AuditRecord>) {
  const built = build(false);
  const payload = formatRecord(built.record);
  if (payload.length <= PAYLOAD_BYTES_MAX) return { payload, built };
  const short = build(true);
  return { payload: formatRecord(short.record), built: short };
}

/** An entry's bytes less a signature, a key ID and their frames. */
const PAYLOAD_BYTES_MAX = 64_000;

function reportOf(pieces: readonly Piece[]): Uint8Array {
  const [first, ...more] = pieces;
  if (first?.bytes !== undefined && more.length === 0) return first.bytes;
  const reports = pieces.map(({ report }) => report ?? null);
  return utf8(JSON.stringify(reports.length === 1 ? reports[0] : reports));
}

async function isThere(log: Log, record: string, source: string): Promise<boolean> {
  if (log.isStaged(record, source)) {
    throw new SteleError('pushback', `record ${record} is on its way into the log`);
  }
  try {
    await log.findRecord(record, source);
    return true;
  } catch (error) {
    if (hasCode(error, 'not_found')) return false;
    throw error;
  }
}

const PASSING: readonly string[] = ['pushback', 'storage', 'split_view'];

/** Whoever reported it did nothing wrong, and is to send it again: nothing that the log says of us is final. */
function passingError(error: unknown): unknown {
  if (!(error instanceof SteleError) || PASSING.includes(error.code)) return error;
  return new SteleError('storage', `the log does not take it now: ${error.message}`, {
    cause: error,
    retryAfterS: 5,
  });
}
