/**
 * Records that say who may say what: `genesis`, `key` and `policy`.
 *
 * Each carries exactly one signature, by the operator key that genesis names, and comes from the log's
 * own control path under the reserved source `_log`. Replaying them gives the keys that were good for
 * each entry, without asking anybody.
 */
import { REASON_MAX, RECORD_LIST_MAX } from '../limits.ts';
import { LOG_KEY_ALG, type LogKeyPurpose } from '../log-key.ts';
import {
  base64,
  constant,
  type Flaw,
  int,
  list,
  object,
  oneOf,
  pattern,
  type Shaped,
  text,
  where,
} from '../schema.ts';
import { HASH_BYTES } from '../units.ts';
import {
  common,
  distinct,
  keyid,
  origin,
  plainTime,
  publicKey,
  sourceId,
  str,
  token,
  ts,
  vkeys,
} from './fields.ts';

export const CONTINUITIES = ['flag', 'require'] as const;

/** What a log accepts, and how much of it from all gateways together. */
const rules = object(
  {
    payload_types: distinct(
      list(
        pattern(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, 'a payload type', 255),
        RECORD_LIST_MAX,
        1,
      ),
    ),
    continuity: oneOf(CONTINUITIES),
  },
  { entries_per_second: int(1), bytes_per_day: int(1) },
);

export const genesis = where(
  object(
    {
      ...common,
      kind: constant('genesis'),
      time: plainTime,
      genesis: object(
        { origin, log_keys: vkeys, operator: object(publicKey, {}), rules },
        { previous: object({ origin, size: int(), root: base64(HASH_BYTES, true) }, {}) },
      ),
    },
    {},
  ),
  (record) => {
    const { origin: named, log_keys } = record.genesis;
    if (named !== record.log) {
      return { path: 'genesis.origin', rule: `it is not the record's log, ${record.log}` };
    }
    const foreign = log_keys.findIndex((key) => !key.startsWith(`${named}+`));
    return foreign < 0
      ? undefined
      : { path: `genesis.log_keys[${foreign}]`, rule: `its name is not the origin ${named}` };
  },
);

export const KEY_ACTIONS = ['register', 'revoke', 'hand-over', 'rotate'] as const;
export const KEY_PURPOSES = ['gateway', 'identity', 'anchor', 'sth'] as const;

export const key = where(
  object(
    {
      ...common,
      kind: constant('key'),
      time: plainTime,
      key: object(
        { action: oneOf(KEY_ACTIONS), purpose: oneOf(KEY_PURPOSES), ...publicKey, keyid },
        { not_before: ts, not_after: ts, source: sourceId, last_size: int() },
      ),
    },
    {},
  ),
  (record) => keyFlaw(record.key),
);

/** What a key record may say of a key depends on what the key is for. */
interface KeyWords {
  readonly action: (typeof KEY_ACTIONS)[number];
  readonly purpose: (typeof KEY_PURPOSES)[number];
  readonly alg: string;
  readonly source?: string;
  readonly not_before?: string;
  readonly not_after?: string;
  readonly last_size?: number;
}

function keyFlaw(key: KeyWords): Flaw | undefined {
  return key.purpose === 'gateway' ? gatewayFlaw(key) : logKeyFlaw(key, key.purpose);
}

/** Gateways come and go, have sources, and may have a period of admission. */
function gatewayFlaw(key: KeyWords): Flaw | undefined {
  const { action, source, not_before, not_after, last_size } = key;
  if (action === 'rotate') {
    return {
      path: 'key.action',
      rule: 'a gateway key is not rotated: the next is registered, and sources are handed over to it',
    };
  }
  if (action === 'hand-over' && source === undefined) {
    return { path: 'key.source', rule: 'a hand-over names a source' };
  }
  if (last_size !== undefined) {
    return { path: 'key.last_size', rule: 'only keys of the log itself end at a size' };
  }
  if (action !== 'register' && (not_before ?? not_after) !== undefined) {
    return { path: 'key.not_before', rule: 'only a registration has a period' };
  }
  // In their one spelling, times sort as text.
  if (not_before !== undefined && not_after !== undefined && not_after < not_before) {
    return { path: 'key.not_after', rule: 'it is before not_before' };
  }
  return undefined;
}

/** The log's own keys follow one another: each is announced, and ends at a size. */
function logKeyFlaw(key: KeyWords, purpose: LogKeyPurpose): Flaw | undefined {
  const { action, alg, source, not_before, not_after, last_size } = key;
  if (source !== undefined) {
    return { path: 'key.source', rule: `a key for ${purpose} has no source` };
  }
  if (action !== 'rotate' && action !== 'revoke') {
    return { path: 'key.action', rule: `a key for ${purpose} is rotated or revoked` };
  }
  if ((not_before ?? not_after) !== undefined) {
    return { path: 'key.not_before', rule: 'only gateway keys have a period' };
  }
  if ((action === 'revoke') !== (last_size !== undefined)) {
    return {
      path: 'key.last_size',
      rule: 'a key ends at a size where it is revoked, and only there',
    };
  }
  if (alg !== LOG_KEY_ALG[purpose]) {
    return { path: 'key.alg', rule: `a key for ${purpose} is ${LOG_KEY_ALG[purpose]}` };
  }
  return undefined;
}

/** How long a class of records is kept; periods are ISO 8601 durations of years, months or days. */
const retentionClass = object(
  { class: token, content: pattern(/^P[1-9][0-9]{0,4}[YMD]$/, 'a period like P6M') },
  { records: pattern(/^P[1-9][0-9]{0,4}[YMD]$/, 'a period like P6M'), basis: str },
);

/** The log ends with this very entry; `next` is the log that goes on where it ends. */
const end = object({}, { next: origin, reason: text(REASON_MAX) });

export const policy = where(
  object(
    {
      ...common,
      kind: constant('policy'),
      time: plainTime,
      policy: object(
        {},
        { rules, retention: list(retentionClass, RECORD_LIST_MAX), reviewed: ts, end },
      ),
    },
    {},
  ),
  (record) => {
    if (Object.keys(record.policy).length === 0) {
      return { path: 'policy', rule: 'neither rules nor retention nor a review nor an end' };
    }
    return record.policy.end?.next === record.log
      ? { path: 'policy.end.next', rule: 'a log is not followed by itself' }
      : undefined;
  },
);

export type GenesisRecord = Shaped<typeof genesis>;
export type KeyRecord = Shaped<typeof key>;
export type PolicyRecord = Shaped<typeof policy>;
