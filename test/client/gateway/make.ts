/** A gateway of a test: its state in memory or in a file, its troubles kept, its waiting cut short. */
import { expect, onTestFinished } from 'vitest';
import { Gateway, type GatewayOptions } from '../../../server/client/gateway/gateway.ts';
import {
  formatState,
  parseState,
  type State,
  type StateStore,
} from '../../../server/client/gateway/state.ts';
import { sha256, toBase64url } from '../../../server/core/bytes.ts';
import { decodeEntry, RECORD_TYPE } from '../../../server/core/entry.ts';
import { formatRecord, parseRecord, type Record } from '../../../server/core/record.ts';
import { leafIndex } from '../../../server/core/units.ts';
import type { Logs } from '../../../server/log/logs.ts';
import type { start } from '../served.ts';

export { annotation } from './annotation.ts';

/** Keeps a state as its bytes, as a file does. */
export class MemoryState implements StateStore {
  readonly written: Uint8Array[] = [];
  /** Throws, before the write counts, where a test wants it. */
  before: (state: State) => void = () => {};

  constructor(bytes?: Uint8Array) {
    if (bytes !== undefined) this.written.push(bytes);
  }

  async read(): Promise<State | undefined> {
    const last = this.written.at(-1);
    return last && parseState(last);
  }

  async write(state: State): Promise<void> {
    this.before(state);
    this.written.push(formatState(state));
  }

  async close(): Promise<void> {}

  get last(): State {
    return parseState(this.written.at(-1) as Uint8Array);
  }

  /** What another process would find now. */
  copy(): MemoryState {
    return new MemoryState(this.written.at(-1));
  }
}

export type Made = Omit<GatewayOptions, 'state' | 'source' | 'software' | 'log'> &
  Partial<GatewayOptions>;

/** Closed at the end of its test, unless that lets it die. */
export async function makeGateway(options: Made, { dies = false } = {}) {
  const troubles: Error[] = [];
  const state = options.state ?? new MemoryState();
  const gateway = await Gateway.open({
    log: 'notes',
    source: 'gw',
    software: 'test/1',
    onTrouble: (error) => troubles.push(error),
    // A pause is a turn of the event loop, so that nothing depends on time.
    wait: () => new Promise((resolve) => setImmediate(resolve)),
    ...options,
    state,
  });
  if (!dies) onTestFinished(() => gateway.close({ ms: 0 }).catch(() => {}));
  return { gateway, troubles, state: state as MemoryState };
}

export type Served = Awaited<ReturnType<typeof start>>;

/** The options that every gateway of a served log needs. */
export function to({ gateway: signer, server, token, trust }: Served) {
  return { server: server.url, signer, token, trust };
}

/** Every record of gateways in these logs, in order. */
export async function recordsIn(logs: Logs, ...names: readonly string[]): Promise<Record[]> {
  const records: Record[] = [];
  for (const name of names) {
    await logs.use(name, async (log) => {
      const { size } = log.head();
      for (let at = 0; at < size; at++) {
        const { payloadType, payload } = decodeEntry(await log.entry(leafIndex(at)));
        if (payloadType !== RECORD_TYPE) continue;
        const record = parseRecord(payload, log.origin);
        if (!record.source.id.startsWith('_')) records.push(record);
      }
    });
  }
  return records;
}

/**
 * Holds the records of one source, over all logs of a series, to its promises: every number from 0 on is one
 * record's or is named by a gap record, none is two records', and each record names the one before.
 */
export function checkChain(records: readonly Record[]): void {
  const bySeq = new Map(records.map((record) => [record.source.seq, record]));
  expect(bySeq.size, 'no number is used twice').toBe(records.length);
  const named = new Set(
    records.flatMap((record) => {
      if (record.kind !== 'gap' || record.gap.source !== record.source.id) return [];
      const { seq_from, seq_to } = record.gap;
      return Array.from({ length: seq_to - seq_from + 1 }, (_, i) => seq_from + i);
    }),
  );
  const last = Math.max(...bySeq.keys());
  for (let seq = 0; seq <= last; seq++) {
    const record = bySeq.get(seq);
    expect(record === undefined ? named.has(seq) : !named.has(seq) || record.kind === 'gap').toBe(
      true,
    );
    const before = bySeq.get(seq - 1);
    if (record === undefined || before === undefined) continue;
    expect(record.source.prev, `record ${seq}`).toBe(toBase64url(sha256(formatRecord(before))));
  }
}
