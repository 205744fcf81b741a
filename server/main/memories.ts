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
import type { PlannedHead } from '../storage/anchors.ts';
import { type InstanceStore, witnessedIn } from '../storage/instance.ts';
import type { SeenRow } from '../storage/witnesses.ts';
import { AnchorMemory } from './anchor-memory.ts';
import { type ShownLog, ShownTo } from './shown.ts';
import { WitnessMemory } from './witness-memory.ts';

/** What an instance database says of the logs, and of how far each was shown to whom. */
export interface Witnessed {
  logOf(origin: string): ShownLog | undefined;
  seen(log: string, witness: string): SeenRow | undefined;
  /** The largest head that was to be shown to a target. */
  shown(log: string): PlannedHead | undefined;
  /** The logs that go on where one ends. */
  followers(log: string): readonly string[];
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
  const { version, signer } = options;
  let { witnessed } = options;
  const followers = (name: string) => witnessed?.followers(name) ?? [];
  const shown = options.shown ?? new ShownTo(config.witnesses, followers);
  const memories: Memory[] = [new HighWater(highWaterFolder(config))];
  const asking = signer ?? (config.signerSocket && new AskOnce(config.signerSocket));
  if (asking) memories.push(new SignerHeads(asking));
  const { tsa, rekor } = config.anchor;
  const isShown = shown.witnesses.length + tsa.length + rekor.length > 0;
  // A folder of an earlier release is read as it is where there is nothing of this to know.
  const known = witnessed ?? (isShown ? fileOf(config) : undefined);
  witnessed = known;
  if (known === undefined) return new Memories(memories, config.guardRequire);
  const newest = (origin: string) => {
    const log = known.logOf(origin);
    return log && known.shown(log.name);
  };
  memories.push(new AnchorMemory(databaseOf(config), newest));
  const outbound = new Outbound(version, config.anchor.contact);
  for (const witness of shown.witnesses) {
    const seen = (origin: string) => {
      const log = known.logOf(origin);
      if (log === undefined || !shown.namesOf(log).has(witness.name)) return undefined;
      return known.seen(log.name, witness.name) ?? {};
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
    shown: (log) => store.anchors.newestHead(log),
    followers: (log) => store.followers(log),
  };
}

function databaseOf({ data }: Config): string {
  return join(data, 'stele.db');
}

function fileOf(config: Config): Witnessed {
  const path = databaseOf(config);
  const none = { logs: [], seen: [], shown: [], followers: () => [] };
  const { logs, seen, shown, followers } = existsSync(path) ? witnessedIn(path) : none;
  return {
    logOf: (origin) => logIn(logs, origin),
    seen: (log, witness) => seen.find((one) => one.log === log && one.witness === witness),
    shown: (log) => shown.find((one) => one.log === log),
    followers,
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
