/** Acts on logs: making one, what it admits, who may see it, its end. */
import * as v from 'valibot';
import { ENTRY_BYTES_MAX, REASON_MAX, RECORD_LIST_MAX } from '../core/limits.ts';
import { CONTINUITIES } from '../core/record/control.ts';
import { describeLog } from '../log/describe.ts';
import { withRules } from '../log/logs.ts';
import { VISIBILITIES } from '../storage/instance.ts';
import type { Act } from './act.ts';
import { checkBound } from './actor.ts';
import { closed, Name, Nothing } from './wanted.ts';

/** Like those of a genesis record, which judges them again. */
const PayloadTypes = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,255}$/, 'not a payload type'))),
  v.minLength(1),
  v.maxLength(RECORD_LIST_MAX),
  v.check((types) => new Set(types).size === types.length, 'the same payload type twice'),
);

/** No limit is beyond what a number can say. */
const LIMIT_MAX = Number.MAX_SAFE_INTEGER;

const RULES = {
  payload_types: PayloadTypes,
  continuity: v.picklist(CONTINUITIES),
  entries_per_second: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1),
    v.maxValue(LIMIT_MAX),
    v.description('Entries that gateways together may have logged in a second.'),
  ),
  bytes_per_day: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(ENTRY_BYTES_MAX),
    v.maxValue(LIMIT_MAX),
    v.description('Bytes of entries that gateways together may have logged in a day of UTC.'),
  ),
};

const NewLog = closed({
  name: Name,
  visibility: v.exactOptional(v.picklist(VISIBILITIES)),
  previous: v.exactOptional(
    v.pipe(
      Name,
      v.description(
        'The log that this one follows, which has ended or signs nothing more: the genesis names its last head.',
      ),
    ),
  ),
  rules: v.exactOptional(
    closed({
      payload_types: v.exactOptional(RULES.payload_types),
      continuity: v.exactOptional(RULES.continuity),
      entries_per_second: v.exactOptional(RULES.entries_per_second),
      bytes_per_day: v.exactOptional(RULES.bytes_per_day),
    }),
  ),
});

const ChangedRules = closed({
  payload_types: v.exactOptional(RULES.payload_types),
  continuity: v.exactOptional(RULES.continuity),
  entries_per_second: v.exactOptional(v.nullable(RULES.entries_per_second)),
  bytes_per_day: v.exactOptional(v.nullable(RULES.bytes_per_day)),
});

const ChangedLog = closed({
  visibility: v.exactOptional(v.picklist(VISIBILITIES)),
  rules: v.exactOptional(ChangedRules),
});

const Reason = v.pipe(
  v.string(),
  v.regex(/^[^\p{Cc}]+$/u, 'not text without control characters'),
  v.maxLength(REASON_MAX),
  v.description('Why; it becomes part of the log.'),
);

const FrozenLog = closed({ reason: v.exactOptional(Reason) });

const NextLog = closed({
  name: v.exactOptional(
    v.pipe(Name, v.description('Of the log that follows; without it the old name and the year.')),
  ),
});

const RetiredLog = closed({
  name: v.pipe(v.string(), v.description('The name of the log, once more.')),
});

type Wanted<S extends v.GenericSchema> = v.InferOutput<S>;

export const createLog: Act<Wanted<typeof NewLog>, Wanted<typeof NewLog>> = {
  name: 'log.create',
  wanted: NewLog,
  plan(_world, { actor, wanted }) {
    checkBound(actor, wanted.name);
    if (wanted.previous !== undefined) checkBound(actor, wanted.previous);
    return { args: wanted, log: wanted.name };
  },
  async perform({ logs }, log, { previous, ...wanted }) {
    const followed = previous === undefined ? {} : { previous: await logs.lastHead(previous) };
    await logs.create({ ...wanted, ...followed });
    return describeLog(logs, log);
  },
};

export const changeLog: Act<Wanted<typeof ChangedLog>, Wanted<typeof ChangedLog>> = {
  name: 'log.change',
  wanted: ChangedLog,
  plan: (_world, { wanted }) => ({ args: wanted }),
  async perform({ logs }, name, { visibility, rules }) {
    if (rules !== undefined) {
      await logs.use(name, (log) => log.changeRules(withRules(log.rules, rules)));
    }
    if (visibility !== undefined) await logs.changeVisibility(name, visibility);
    return describeLog(logs, name);
  },
};

export const freezeLog: Act<Wanted<typeof FrozenLog>, Wanted<typeof FrozenLog>> = {
  name: 'log.freeze',
  wanted: FrozenLog,
  plan: (_world, { wanted }) => ({ args: wanted }),
  async perform({ logs }, name, end) {
    await logs.freeze(name, end);
    return describeLog(logs, name);
  },
};

/** The answer is the log that follows. */
export const rollLog: Act<Wanted<typeof NextLog>, Wanted<typeof NextLog>> = {
  name: 'log.roll',
  wanted: NextLog,
  plan(_world, { actor, wanted }) {
    if (wanted.name !== undefined) checkBound(actor, wanted.name);
    return { args: wanted };
  },
  async perform({ logs }, name, { name: next }) {
    return describeLog(logs, await logs.roll(name, next));
  },
};

export const retireLog: Act<Wanted<typeof RetiredLog>, Wanted<typeof RetiredLog>> = {
  name: 'log.retire',
  wanted: RetiredLog,
  plan: (_world, { wanted }) => ({ args: wanted }),
  async perform({ logs }, name, { name: typed }) {
    await logs.retire(name, typed);
    return describeLog(logs, name);
  },
};

export const unretireLog: Act<Wanted<typeof Nothing>> = {
  name: 'log.unretire',
  wanted: Nothing,
  plan: () => ({ args: {} }),
  async perform({ logs }, name) {
    logs.unretire(name);
    return describeLog(logs, name);
  },
};
