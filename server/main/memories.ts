/** The memories of one installation: all that it can ask how far its logs had got. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { AskOnce } from '../keys/remote/ask-once.ts';
import type { Asking } from '../keys/remote/remote-keys.ts';
import { HighWater } from '../log/high-water.ts';
import { Memories, type Memory } from '../log/memories.ts';
import { ACCESS_SUFFIX } from '../log/names.ts';
import { SignerHeads } from '../log/signer-heads.ts';
import { Outbound } from '../outbound.ts';
import { type InstanceStore, witnessedIn } from '../storage/instance.ts';
import type { SeenRow } from '../storage/witnesses.ts';
import { type ShownLog, ShownTo } from './shown.ts';
import { WitnessMemory } from './witness-memory.ts';

/** What an instance database says of the logs, and of how far each witness is with them. */
export interface Witnessed {
  logOf(origin: string): ShownLog | undefined;
  seen(log: string, witness: string): SeenRow | undefined;
}

export interface MemoriesOptions {
  readonly version: string;
  /** A connection to the signer that is there already. */
  readonly signer?: Asking | undefined;
  /** Absent where no process has the instance database open: then its file is read. */
  readonly witnessed?: Witnessed;
  readonly shown?: ShownTo;
}

export function memoriesOf(config: Config, options: MemoriesOptions): Memories {
  const { version, signer, shown = new ShownTo(config.witnesses) } = options;
  const memories: Memory[] = [new HighWater(highWaterFolder(config))];
  const asking = signer ?? (config.signerSocket && new AskOnce(config.signerSocket));
  if (asking) memories.push(new SignerHeads(asking));
  if (shown.witnesses.length === 0) return new Memories(memories, config.guardRequire);
  const witnessed = options.witnessed ?? fileOf(config);
  const outbound = new Outbound(version, config.anchor.contact);
  for (const witness of shown.witnesses) {
    const seen = (origin: string) => {
      const log = witnessed.logOf(origin);
      if (log === undefined || !shown.namesOf(log).has(witness.name)) return undefined;
      return witnessed.seen(log.name, witness.name) ?? {};
    };
    const { timeoutMs } = config.witnesses;
    memories.push(new WitnessMemory({ witness, outbound, timeoutMs, seen, now: Date.now }));
  }
  return new Memories(memories, config.guardRequire);
}

export function highWaterFolder({ state }: Config): string {
  return join(state, 'high-water');
}

export function witnessedOf(store: InstanceStore): Witnessed {
  return {
    logOf: (origin) => logIn(store.logs(), origin),
    seen: (log, witness) => store.witnesses.seen(log, witness),
  };
}

function fileOf({ data }: Config): Witnessed {
  const path = join(data, 'stele.db');
  const { logs, seen } = existsSync(path) ? witnessedIn(path) : { logs: [], seen: [] };
  return {
    logOf: (origin) => logIn(logs, origin),
    seen: (log, witness) => seen.find((one) => one.log === log && one.witness === witness),
  };
}

/** The log of an origin, or the access log beside it. */
function logIn(
  rows: readonly (ShownLog & { readonly origin: string })[],
  origin: string,
): ShownLog | undefined {
  const row = rows.find((one) => one.origin === origin);
  if (row !== undefined) return row;
  const bound = rows.find((one) => one.origin + ACCESS_SUFFIX === origin);
  return bound && { name: bound.name + ACCESS_SUFFIX, visibility: 'private' };
}
