/** Entries in: one, one with its content, or many. */

import { DSSE_JSON_TYPE, ENVELOPE_JSON_TYPE } from '../../core/envelope.ts';
import { DISCLOSURE_BYTES_MAX, DISCLOSURES_MAX, ENTRY_BYTES_MAX } from '../../core/limits.ts';
import { RECEIPT_TYPE } from '../../core/receipt.ts';
import { ENTRY_TYPE as PROTOBUF_TYPE } from '../answer.ts';
import { NDJSON_TYPE } from '../routes/batch.ts';
import { ENTRY_TYPES, PROTOBUF_TYPES } from '../routes/entry-body.ts';
import { MULTIPART_TYPE } from '../routes/submit.ts';
import { FIELD } from '../routes/submit-content.ts';
import { BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, ENVELOPE_BYTES_MAX } from '../settings.ts';
import { ref } from './components.ts';
import { type Answer, bytes, type Descriptions, type Refused } from './description.ts';
import { list, object, type Schema, shownNumber } from './schema.ts';

const RECEIPT: Answer = {
  text: 'Logged: the receipt.',
  types: { [RECEIPT_TYPE]: ref('Receipt') },
  headers: ['location'],
};

const ENTRY = Object.fromEntries(
  ENTRY_TYPES.map((type) => [
    type,
    PROTOBUF_TYPES.includes(type)
      ? { schema: bytes(PROTOBUF_TYPE, ENTRY_BYTES_MAX), example: 'entry' }
      : { schema: ref('Envelope'), example: 'envelope' },
  ]),
);

const BODY_PART = `^body; field=${FIELD.source.slice(1)}`;

const CONTENT: Schema = {
  ...object(
    {
      entry: { ...ref('Envelope'), description: 'First: the entry, in any of its forms.' },
      'disclosure?': {
        ...list(
          { type: 'string', contentEncoding: 'base64url', maxLength: DISCLOSURE_BYTES_MAX },
          { maxItems: DISCLOSURES_MAX },
        ),
        description: 'Then what the record commits to, one part each.',
      },
    },
    'Parts in this order: the entry, disclosures, bodies. A body’s name says its field; `name="body"; field="input.body"` says the same.',
  ),
  patternProperties: { [BODY_PART]: bytes('application/octet-stream') },
};

const REFUSALS: readonly Refused[] = ['forbidden', 'conflict', 'unverified', 'frozen'];

const LINES: Schema = {
  type: 'string',
  'x-stele-lines': [ref('BatchHead'), { anyOf: [ref('BatchResult'), ref('Problem')] }],
};

export const submittingDescriptions: Descriptions = {
  'POST LOG/v1/entries': {
    id: 'submitEntry',
    tag: 'Submitting',
    summary: 'Submit one entry',
    text: 'The answer comes once the entry is on disk, in the tree, and under a signed head. What is in the log already is not logged again: it gets the first entry’s receipt, and content that is still missing is taken.',
    body: {
      text: `One entry: at most ${shownNumber(ENTRY_BYTES_MAX)} bytes of protobuf, ${shownNumber(ENVELOPE_BYTES_MAX)} of JSON. DSSE’s own form (\`${DSSE_JSON_TYPE}\`) has no windows, \`${ENVELOPE_JSON_TYPE}\` may.`,
      types: { ...ENTRY, [MULTIPART_TYPE]: { schema: CONTENT, example: 'multipart' } },
      encoding: { entry: { contentType: ENTRY_TYPES.join(', ') } },
    },
    answers: {
      201: RECEIPT,
      200: { ...RECEIPT, text: 'Logged before: the first entry’s receipt.' },
    },
    refusals: REFUSALS,
  },
  'POST LOG/v1/entries/batch': {
    id: 'submitBatch',
    tag: 'Submitting',
    summary: 'Submit many entries',
    text: 'Each entry has a result of its own, in order; one that is refused does not spoil the others. Framing that breaks refuses the whole body before anything is logged. Where every entry was refused for the same passing reason, the answer is that problem itself.',
    body: {
      text: `At most ${shownNumber(BATCH_ENTRIES_MAX)} entries and ${shownNumber(BATCH_BYTES_MAX)} bytes. Protobuf messages each have their length before them as a varint; JSON envelopes are one a line.`,
      types: {
        [NDJSON_TYPE]: { schema: { type: 'string', maxLength: BATCH_BYTES_MAX }, example: 'lines' },
        ...Object.fromEntries(
          PROTOBUF_TYPES.map((type) => [
            type,
            { schema: bytes(PROTOBUF_TYPE, BATCH_BYTES_MAX), example: 'messages' },
          ]),
        ),
      },
    },
    answers: {
      200: {
        text: 'In the form that was sent: the head, then one result for each entry. All proofs are under that one head.',
        types: { [NDJSON_TYPE]: LINES, [PROTOBUF_TYPE]: bytes(PROTOBUF_TYPE) },
      },
    },
    refusals: ['frozen'],
  },
};
