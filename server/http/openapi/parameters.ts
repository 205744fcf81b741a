/** Parameters that several routes have, with the bounds that their parsers check. */
import { TILE_WIDTH } from '../../core/limits.ts';
import { REQUIREMENTS } from '../routes/receipts.ts';
import { FIELD } from '../routes/submit-content.ts';
import {
  ANCHORS_PAGE_MAX,
  COSIGNINGS_PAGE_MAX,
  PAGE_ENTRIES_DEFAULT,
  PAGE_ENTRIES_MAX,
  REASON_CHARS_MAX,
  WAIT_S_MAX,
} from '../settings.ts';
import { COUNT, KEYID, LEAF_HASH, RECORD_UUID } from './components.ts';
import type { Parameter } from './description.ts';
import examples from './examples.json' with { type: 'json' };

const { values } = examples;

function count(name: string, text: string, example: number): Parameter {
  return { name, in: 'path', text, schema: COUNT, example };
}

export const INDEX = count('index', 'A leaf’s index, from 0.', 2);
export const SIZE = count('size', 'A tree size, at most the log’s.', 4);
export const FROM = count('from', 'The smaller tree size, from 1.', 2);
export const TO = count('to', 'The larger tree size.', 4);

/** The log of the path, or with `.access` the log of reads of its content. */
export const LOG: Parameter = {
  name: 'log',
  in: 'path',
  text: 'The log’s name. `NAME.access` is the log of reads of its content, `_admin` that of administration.',
  schema: {
    type: 'string',
    pattern: '^(?:_admin(?:-[1-9][0-9]{0,3})?|[a-z0-9][a-z0-9-]{0,62}(?:\\.access)?)$',
  },
  example: 'team-a',
};

const TILE_INDEX = `(?:x[0-9]{3}/)*[0-9]{3}(?:\\.p/[1-9][0-9]{0,2})?`;
const TILE_TEXT = `The index in groups of three digits, all but the last with \`x\` before them and \`/\` behind, and \`.p/W\` for a partial width W below ${TILE_WIDTH}. Its slashes are sent as they are.`;

export const HASH_TILE: Parameter = {
  name: 'path',
  in: 'path',
  text: `\`{level}/{index}\`. ${TILE_TEXT}`,
  schema: { type: 'string', pattern: `^(?:0|[1-9][0-9]?)/${TILE_INDEX}$`, maxLength: 59 },
  example: '0/000.p/4',
};

export const BUNDLE: Parameter = {
  name: 'path',
  in: 'path',
  text: TILE_TEXT,
  schema: { type: 'string', pattern: `^${TILE_INDEX}$`, maxLength: 51 },
  example: '000.p/4',
};

export const LEAF: Parameter = {
  name: 'leaf_hash',
  in: 'path',
  text: 'The leaf hash in lower-case hex.',
  schema: LEAF_HASH,
  example: values.leaf_hash,
};

export const RECORD: Parameter = {
  name: 'record_id',
  in: 'path',
  text: 'A record’s id, a UUIDv7 in lower case.',
  schema: RECORD_UUID,
  example: values.record_id,
};

export const FIELD_NAME: Parameter = {
  name: 'field',
  in: 'path',
  text: 'A commitment’s name.',
  schema: { type: 'string', pattern: FIELD.source },
  example: 'request.body',
};

export const KEY: Parameter = {
  name: 'keyid',
  in: 'path',
  text: 'SHA-256 of the key’s SubjectPublicKeyInfo in lower-case hex.',
  schema: KEYID,
  example: values.keyid,
};

/** A leaf's index, its hash, or a record's id: the three forms cannot be confused. */
export const ANY_ID: Parameter = {
  name: 'id',
  in: 'path',
  text: 'A leaf’s index, its leaf hash, or its record’s id: the three forms cannot be confused.',
  schema: {
    anyOf: [
      COUNT,
      { type: 'string', pattern: LEAF_HASH.pattern ?? '' },
      { type: 'string', pattern: RECORD_UUID.pattern ?? '' },
    ],
  },
  example: values.record_id,
};

export const SOURCE_OF_RECORD: Parameter = {
  name: 'source',
  in: 'query',
  text: 'The record’s source, where several have a record of this id.',
  schema: { type: 'string' },
  example: 'gateway-1',
};

export const START: Parameter = {
  name: 'start',
  in: 'query',
  text: 'The first entry of the page, at most the log’s size.',
  schema: { ...COUNT, default: 0 },
  example: 2,
};

export const LIMIT: Parameter = {
  name: 'limit',
  in: 'query',
  text: 'How many at most.',
  schema: {
    type: 'integer',
    minimum: 1,
    maximum: PAGE_ENTRIES_MAX,
    default: PAGE_ENTRIES_DEFAULT,
  },
  example: 2,
};

export const AFTER: Parameter = {
  name: 'after',
  in: 'query',
  text: 'The id after which the page begins.',
  schema: { type: 'string' },
  example: 'gateway-0',
};

export const WAIT: Parameter = {
  name: 'wait',
  in: 'query',
  text: 'Seconds that the request is held at most until the entry is logged.',
  schema: { type: 'integer', minimum: 0, maximum: WAIT_S_MAX, default: 0 },
  example: 1,
};

export const HEAD_WAIT: Parameter = {
  ...WAIT,
  text: 'Seconds that the request is held at most; only with `beyond`.',
};

export const BEYOND: Parameter = {
  name: 'beyond',
  in: 'query',
  text: 'The size that the head must pass.',
  schema: { ...COUNT, default: 0 },
  example: 2,
};

const REQUIREMENT = `(?:${REQUIREMENTS.join('|')})`;

export const REQUIRE: Parameter = {
  name: 'require',
  in: 'query',
  text: 'What the receipt must carry, separated by commas; `not_yet` until it can.',
  schema: { type: 'string', pattern: `^${REQUIREMENT}(?:,${REQUIREMENT})*$` },
  example: 'quorum',
};

export const BEFORE: Parameter = {
  name: 'before',
  in: 'query',
  text: 'Only of heads below this size.',
  schema: { ...COUNT },
  example: 4,
};

export const ANCHORS_LIMIT: Parameter = {
  name: 'limit',
  in: 'query',
  text: 'How many at most.',
  schema: { type: 'integer', minimum: 1, maximum: ANCHORS_PAGE_MAX, default: ANCHORS_PAGE_MAX },
  example: 10,
};

export const COSIGNINGS_LIMIT: Parameter = {
  ...ANCHORS_LIMIT,
  schema: {
    type: 'integer',
    minimum: 1,
    maximum: COSIGNINGS_PAGE_MAX,
    default: COSIGNINGS_PAGE_MAX,
  },
};

export const TARGET_NAME: Parameter = {
  name: 'target',
  in: 'path',
  text: 'The target’s name.',
  schema: { type: 'string', pattern: '^[a-z0-9][a-z0-9-]{0,30}$' },
  example: 'own-rekor',
};

export const ANCHORED_SIZE: Parameter = {
  name: 'size',
  in: 'path',
  text: 'The size of a head that the target vouched for.',
  schema: COUNT,
  example: 4,
};

export const REASON: Parameter = {
  name: 'x-stele-reason',
  in: 'header',
  text: 'Why it is read, in UTF-8 without control characters. It is logged.',
  schema: { type: 'string', minLength: 1, maxLength: REASON_CHARS_MAX },
  required: true,
  example: 'ticket 4711',
};

export const IF_NONE_MATCH: Parameter = {
  name: 'if-none-match',
  in: 'header',
  text: 'Tags that the caller has; one that still holds is answered with 304.',
  schema: { type: 'string' },
  example: '"an-older-tag"',
};
