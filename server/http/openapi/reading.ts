/** Entries, where they are, receipts; and content, whose every read is logged. */
import { DISCLOSURE_BYTES_MAX, ENTRY_BYTES_MAX, RECEIPT_BYTES_MAX } from '../../core/limits.ts';
import { RECEIPT_TYPE } from '../../core/receipt.ts';
import { BYTES_TYPE, ENTRY_TYPE, JSON_TYPE, TEXT_TYPE } from '../answer.ts';
import { NDJSON_TYPE } from '../routes/batch.ts';
import { PAGE_BYTES_MAX } from '../settings.ts';
import { COUNT, ref } from './components.ts';
import { bytes, type Descriptions } from './description.ts';
import {
  AFTER,
  ANY_ID,
  FIELD_NAME,
  INDEX,
  LEAF,
  LIMIT,
  REASON,
  RECORD,
  REQUIRE,
  SOURCE_OF_RECORD,
  START,
  WAIT,
} from './parameters.ts';
import { shownNumber } from './schema.ts';

const readEntries: Descriptions = {
  'GET LOG/v1/entries': {
    id: 'listEntries',
    tag: 'Reading',
    summary: 'A page of entries',
    text: `Ends early where it would pass ${shownNumber(PAGE_BYTES_MAX)} bytes of entries.`,
    parameters: [START, LIMIT],
    answers: { 200: { text: 'The page.', types: { [JSON_TYPE]: ref('EntryPage') } } },
  },
  'GET LOG/v1/entries/{index}': {
    id: 'getEntry',
    tag: 'Reading',
    summary: 'One entry',
    parameters: [INDEX],
    answers: {
      200: {
        text: 'The entry, byte for byte as it is in the tree.',
        types: { [ENTRY_TYPE]: bytes(ENTRY_TYPE, ENTRY_BYTES_MAX) },
      },
    },
  },
  'GET LOG/v1/feed': {
    id: 'readFeed',
    tag: 'Reading',
    summary: 'All entries, a line each',
    text: 'For a SIEM or a copy. To go on after a break, ask from one past the index of the last whole line. A feed that follows goes on until its reader or its token ends; an empty line while the log is quiet shows that it is there.',
    parameters: [
      {
        name: 'from',
        in: 'query',
        text: 'The first index, at most the log’s size.',
        schema: { ...COUNT, default: 0 },
        example: 2,
      },
      {
        name: 'limit',
        in: 'query',
        text: 'The number of lines after which it ends.',
        schema: { ...COUNT, minimum: 1 },
        example: 2,
      },
      {
        name: 'follow',
        in: 'query',
        text: 'Whether it goes on with the entries that come.',
        schema: { type: 'integer', enum: [0, 1], default: 0 },
        example: 0,
      },
    ],
    answers: {
      200: {
        text: 'The lines.',
        types: {
          [NDJSON_TYPE]: {
            type: 'string',
            'x-stele-lines': [ref('FeedLine'), ref('FeedLine')],
          },
        },
      },
    },
  },
  'GET LOG/v1/leaves/{leaf_hash}': {
    id: 'findLeaf',
    tag: 'Reading',
    summary: 'Where a leaf is',
    parameters: [LEAF],
    answers: { 200: { text: 'Its index.', types: { [JSON_TYPE]: ref('Leaf') } } },
  },
  'GET LOG/v1/records/{record_id}': {
    id: 'findRecord',
    tag: 'Reading',
    summary: 'Where a record is',
    text: '`conflict` where several sources have a record of this id and none was named.',
    parameters: [RECORD, SOURCE_OF_RECORD],
    answers: { 200: { text: 'Its index.', types: { [JSON_TYPE]: ref('RecordPlace') } } },
    refusals: ['conflict'],
  },
  'GET LOG/v1/sources': {
    id: 'listSources',
    tag: 'Reading',
    summary: 'Sources and their holes',
    parameters: [AFTER, LIMIT],
    answers: { 200: { text: 'A page, by id.', types: { [JSON_TYPE]: ref('SourcePage') } } },
  },
  'GET LOG/v1/receipts/{id}': {
    id: 'getReceipt',
    tag: 'Reading',
    summary: 'A receipt',
    text: 'Under the best head that there is. Check it offline with `stele verify`.',
    parameters: [
      ANY_ID,
      SOURCE_OF_RECORD,
      WAIT,
      REQUIRE,
      {
        name: 'format',
        in: 'query',
        text: 'Stele’s own form, or the one that other logs’ tools read [C2SP tlog-proof].',
        schema: { type: 'string', enum: ['receipt', 'tlog-proof'], default: 'receipt' },
        example: 'receipt',
      },
    ],
    answers: {
      200: {
        text: 'The receipt.',
        types: {
          [RECEIPT_TYPE]: ref('Receipt'),
          [TEXT_TYPE]: { type: 'string', maxLength: RECEIPT_BYTES_MAX },
        },
      },
    },
    refusals: ['not_yet', 'conflict'],
  },
};

const CONTENT = [RECORD, FIELD_NAME, SOURCE_OF_RECORD, REASON];

const readContent: Descriptions = {
  'GET LOG/v1/content/{record_id}/{field}': {
    id: 'getDisclosure',
    tag: 'Content',
    summary: 'A field’s disclosure',
    text: 'Salt, name and value in base64url, whose SHA-256 is the record’s commitment.',
    parameters: CONTENT,
    answers: {
      200: {
        text: 'The disclosure.',
        types: {
          [TEXT_TYPE]: {
            type: 'string',
            contentEncoding: 'base64url',
            maxLength: DISCLOSURE_BYTES_MAX,
          },
        },
      },
    },
    refusals: ['conflict'],
  },
  'GET LOG/v1/content/{record_id}/{field}/body': {
    id: 'getContentBody',
    tag: 'Content',
    summary: 'A field’s body',
    text: 'Its media type is a stranger’s word and stands in the disclosure. A body that turns out damaged on the way breaks the connection.',
    parameters: CONTENT,
    answers: {
      200: {
        text: 'The bytes.',
        types: { [BYTES_TYPE]: bytes(BYTES_TYPE) },
        headers: ['disposition', 'policy'],
      },
    },
    refusals: ['conflict'],
  },
};

export const readingDescriptions: Descriptions = { ...readEntries, ...readContent };
