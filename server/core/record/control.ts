/**
 * Records that say who may say what: `genesis`, `key` and `policy`.
 *
 * Each carries exactly one signature, by the operator key that genesis names, and comes from the log's
 * own control path under the reserved source `_log`. Replaying them gives the keys that were good for
 * each entry, without asking anybody.
 */
import { RECORD_LIST_MAX } from '../limits.ts';
import {
  base64,
  constant,
  int,
  list,
  object,
  oneOf,
  pattern,
  type Shaped,
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

/** What a log accepts. */
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
  {},
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
  ({ key: { action, purpose, source, last_size } }) => {
    // Only gateways have sources, and only the log's own keys are followed by others.
    if (action === 'hand-over' && (purpose !== 'gateway' || source === undefined)) {
      return { path: 'key.source', rule: 'a hand-over names a source and is to a gateway key' };
    }
    if (source !== undefined && purpose !== 'gateway') {
      return { path: 'key.source', rule: `a key for ${purpose} has no source` };
    }
    if (last_size !== undefined && purpose === 'gateway') {
      return { path: 'key.last_size', rule: 'only keys of the log itself end at a size' };
    }
    return undefined;
  },
);

/** How long a class of records is kept; periods are ISO 8601 durations of years, months or days. */
const retentionClass = object(
  { class: token, content: pattern(/^P[1-9][0-9]{0,4}[YMD]$/, 'a period like P6M') },
  { records: pattern(/^P[1-9][0-9]{0,4}[YMD]$/, 'a period like P6M'), basis: str },
);

export const policy = where(
  object(
    {
      ...common,
      kind: constant('policy'),
      time: plainTime,
      policy: object({}, { rules, retention: list(retentionClass, RECORD_LIST_MAX), reviewed: ts }),
    },
    {},
  ),
  (record) =>
    Object.keys(record.policy).length === 0
      ? { path: 'policy', rule: 'neither rules nor retention nor a review' }
      : undefined,
);

export type GenesisRecord = Shaped<typeof genesis>;
export type KeyRecord = Shaped<typeof key>;
export type PolicyRecord = Shaped<typeof policy>;
