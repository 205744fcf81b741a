/**
 * A log in JSON, as administration shows it: over HTTP and by the files alike [docs/formats-http.md].
 */
import { toBase64 } from '../core/bytes.ts';
import type { Json } from '../core/json.ts';
import type { LogKey } from '../verify/key-history.ts';
import { timestamp } from './clock.ts';
import type { Log } from './log.ts';
import type { ListedLog, Logs } from './logs.ts';
import { keptFor } from './names.ts';
import type { RegisteredKey } from './registry.ts';

type JsonObject = { readonly [name: string]: Json };

/** What is known of a log without opening it. */
export function describeListed(log: ListedLog): JsonObject {
  const { name, origin, visibility, state, next, retireMs, final } = log;
  return {
    name,
    origin,
    visibility,
    state,
    ...(next === undefined ? {} : { next }),
    ...(retireMs === undefined ? {} : { retire_at: timestamp(retireMs) }),
    ...(final === undefined ? {} : { final }),
  };
}

/** One log, opened: its head, rules, keys and figures. */
export async function describeLog(logs: Logs, name: string): Promise<JsonObject> {
  return logs.use(name, async (log) => {
    const { size, root, timeMs } = log.head();
    const { entries, bytes, stored, sources, gateways, day, dayEntries, dayBytes } =
      await log.stats();
    return {
      ...describeListed(logs.listed(name)),
      size,
      root: toBase64(root),
      time: timestamp(timeMs),
      rules: rulesOf(log),
      ...(log.previous === undefined ? {} : { previous: { ...log.previous } }),
      keys: log.ownKeys().map(describeLogKey),
      stats: {
        entries,
        bytes,
        stored_bytes: stored,
        sources,
        gateways,
        day: timestamp(day * DAY_MS).slice(0, 'YYYY-MM-DD'.length),
        day_entries: dayEntries,
        day_bytes: dayBytes,
      },
    };
  });
}

const DAY_MS = 86_400_000;

function rulesOf({ rules }: Log): JsonObject {
  return { ...rules, payload_types: [...rules.payload_types] };
}

/** A key of the log itself: the entry that announced it, and how it ended if it did. */
export function describeLogKey({ purpose, key, publicKey, announced, ended }: LogKey): JsonObject {
  const { keyid, alg } = publicKey;
  return {
    ...{ purpose, vkey: key.text, keyid, alg, registered: announced },
    ...(ended === undefined ? {} : { revoked: ended.index, last_size: ended.lastSize }),
  };
}

/** Every key that a log and its access log know: those of gateways, and their own. */
export async function describeKeys(logs: Logs, name: string): Promise<JsonObject[]> {
  const keys: JsonObject[] = [];
  for (const { name: each } of keptFor(name)) {
    await logs.use(each, (log) => {
      for (const key of log.ownKeys()) {
        const spki = toBase64(key.publicKey.spki);
        keys.push({ log: each, ...describeLogKey(key), spki });
      }
      for (const key of log.keys()) keys.push({ log: each, ...describeKey(key) });
    });
  }
  return keys;
}

export function describeKey(key: RegisteredKey): JsonObject {
  const { keyid, alg, spki, purpose, registered, revoked, notBeforeMs, notAfterMs } = key;
  return {
    ...{ keyid, alg, spki: toBase64(spki), purpose, registered },
    ...(revoked === undefined ? {} : { revoked }),
    ...(notBeforeMs === undefined ? {} : { not_before: timestamp(notBeforeMs) }),
    ...(notAfterMs === undefined ? {} : { not_after: timestamp(notAfterMs) }),
  };
}
