/** The other ways in: what gateways of others report. */
import { PROTOBUF_TYPE } from '../otlp-status.ts';
import { NDJSON_TYPE } from '../routes/batch.ts';
import { INGEST_BYTES_MAX } from '../settings.ts';
import { ref } from './components.ts';
import { bytes, type Description, type Descriptions } from './description.ts';
import { shownNumber } from './schema.ts';

const BOUND = `At most ${shownNumber(INGEST_BYTES_MAX)} bytes, and no more when it is unpacked: it may come in gzip.`;

function otlp(id: string, what: string, example: string): Description {
  return {
    id,
    tag: 'Ingest',
    summary: `Report calls: OTLP ${what}`,
    text: `OTLP over HTTP. What is about a call to a model becomes a record, signed by the server’s own key, with provenance \`reported\`; all else is passed over. A span and the events beside it become one record. The answer comes when all of it is logged; \`partial_success\` names only what can never be. What was reported before is known again.`,
    body: {
      text: `An export request. ${BOUND}`,
      types: {
        [PROTOBUF_TYPE]: {
          schema: bytes(PROTOBUF_TYPE, INGEST_BYTES_MAX),
          example: `${example} in protobuf`,
        },
        'application/json': { schema: { type: 'object' }, example },
      },
    },
    answers: {
      200: {
        text: 'An export response, in the form of the request.',
        types: { [PROTOBUF_TYPE]: bytes(PROTOBUF_TYPE), 'application/json': ref('OtlpAnswer') },
      },
    },
    refusals: ['frozen'],
  };
}

export const ingestDescriptions: Descriptions = {
  'POST /ingest/{log}/otlp/v1/traces': otlp('ingestTraces', 'traces', 'spans'),
  'POST /ingest/{log}/otlp/v1/logs': otlp('ingestLogs', 'logs', 'events'),
  'POST /ingest/{log}/jsonl': {
    id: 'ingestLines',
    tag: 'Ingest',
    summary: 'Import calls from a file',
    text: 'One call a line: OTLP’s JSON, LiteLLM’s payload, or the bodies as they were sent. The records have provenance `imported`, and the line as it is as their report. What is wrong with a line keeps out no other. `stele submit --jsonl` sends these.',
    body: {
      text: BOUND,
      types: {
        [NDJSON_TYPE]: {
          schema: { type: 'string', maxLength: INGEST_BYTES_MAX },
          example: 'payload lines',
        },
      },
    },
    answers: {
      200: {
        text: 'What became of the lines, and which can never be imported.',
        types: { 'application/json': ref('ImportAnswer') },
      },
    },
    refusals: ['frozen'],
  },
  'POST /ingest/{log}/litellm': {
    id: 'ingestLitellm',
    tag: 'Ingest',
    summary: 'Report calls: LiteLLM’s webhook',
    text: 'A list of `StandardLoggingPayload`, one alone, or one a line, whatever the content type says: LiteLLM calls each of them JSON. What is wrong with one call keeps out no other; where nothing is a call the whole is refused.',
    body: {
      text: BOUND,
      types: {
        'application/json': { schema: {}, example: 'payload' },
        [NDJSON_TYPE]: {
          schema: { type: 'string', maxLength: INGEST_BYTES_MAX },
          example: 'payload lines',
        },
      },
    },
    answers: {
      200: {
        text: 'How many calls are on record, and why the others never can be.',
        types: { 'application/json': ref('LitellmAnswer') },
      },
    },
    refusals: ['frozen'],
  },
};
