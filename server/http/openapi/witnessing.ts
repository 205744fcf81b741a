/** This instance as a witness of other logs. */
import { EVIDENCE_PAGE_MAX, WITNESSED_SHOWN_MAX } from '../../admin/witnessed.ts';
import { sha256, toHex, utf8 } from '../../core/bytes.ts';
import { NOTE_BYTES_MAX } from '../../core/limits.ts';
import { ADD_CHECKPOINT_BYTES_MAX, TLOG_SIZE_TYPE } from '../../core/tlog-witness.ts';
import { HTML_TYPE, JSON_TYPE, TEXT_TYPE } from '../answer.ts';
import { COUNT, ref } from './components.ts';
import type { Descriptions } from './description.ts';
import { UNCHANGED } from './heads.ts';
import { IF_NONE_MATCH } from './parameters.ts';
import { shownNumber } from './schema.ts';

/** That an instance is no witness at all is said in the same words as that it does not know a log. */
const refusals = ['not_found'] as const;

export const witnessingDescriptions: Descriptions = {
  'POST /witness/add-checkpoint': {
    id: 'addCheckpoint',
    tag: 'Witness',
    summary: 'Have a checkpoint cosigned',
    text: 'As C2SP tlog-witness has it. 400: the body breaks its form, or `old` is larger than the checkpoint. 404: the log is not witnessed here. 403: no line of a key of the log holds. 409: `old` is not the size that was cosigned last, which is the body. 422: the proof does not hold, or there are two trees of one size. 429: the log had its share for now. What was cosigned is on disk before the answer leaves.',
    body: {
      text: 'The size that was cosigned last, the proof, an empty line, the checkpoint. Of any media type.',
      types: {
        'text/plain': {
          schema: { type: 'string', maxLength: ADD_CHECKPOINT_BYTES_MAX },
          example: 'checkpoint',
        },
      },
    },
    answers: {
      200: {
        text: 'The signature lines of this witness, alone.',
        types: { [TEXT_TYPE]: { type: 'string', maxLength: NOTE_BYTES_MAX } },
      },
      409: {
        text: 'The size that was cosigned last, and a line feed.',
        types: { [TLOG_SIZE_TYPE]: { type: 'string', pattern: '^(?:0|[1-9][0-9]{0,15})\\n$' } },
      },
    },
    refusals: [...refusals, 'forbidden', 'unverified'],
  },
  'GET /witness/{id}/checkpoint': {
    id: 'getWitnessedCheckpoint',
    tag: 'Witness',
    summary: 'The newest checkpoint of a log that was cosigned',
    text: 'With the lines of the log that were verified, and those of this witness.',
    parameters: [
      {
        name: 'id',
        in: 'path',
        text: 'SHA-256 of the log’s origin, in hex.',
        schema: { type: 'string', pattern: '^[0-9a-f]{64}$', minLength: 64, maxLength: 64 },
        example: toHex(sha256(utf8('other.example/log'))),
      },
      IF_NONE_MATCH,
    ],
    answers: {
      200: {
        text: 'A signed note.',
        types: { [TEXT_TYPE]: { type: 'string', maxLength: 2 * NOTE_BYTES_MAX } },
        headers: ['etag'],
      },
      304: UNCHANGED,
    },
    refusals,
  },
  'GET /witness': {
    id: 'getWitnessPage',
    tag: 'Witness',
    summary: 'Who was witnessed, when and at what size, for people',
    answers: {
      200: {
        text: 'One page, without scripts.',
        types: { [HTML_TYPE]: { type: 'string' } },
        headers: ['policy'],
      },
    },
    refusals,
  },
  'GET /v1/witness': {
    id: 'getWitness',
    tag: 'Witness',
    summary: 'The same for programs, with the keys of this witness',
    text: `At most the ${shownNumber(WITNESSED_SHOWN_MAX)} logs that were cosigned last.`,
    answers: { 200: { text: 'The witness.', types: { [JSON_TYPE]: ref('Witness') } } },
    refusals,
  },
  'GET /v1/admin/witness/evidence': {
    id: 'listWitnessEvidence',
    tag: 'Witness',
    summary: 'Checkpoints that logs had signed and that were refused',
    text: 'The newest first. `same_size`, `forked` and `empty_root` show that the log signed two histories. `bad_proof` shows nothing: anybody can send a proof that leads nowhere with a checkpoint that he has found.',
    parameters: [
      {
        name: 'before',
        in: 'query',
        text: 'Only what has a smaller `id`: the next page.',
        schema: COUNT,
        example: 100,
      },
      {
        name: 'limit',
        in: 'query',
        text: `How many at most; ${EVIDENCE_PAGE_MAX} where it is not given.`,
        schema: { type: 'integer', minimum: 1, maximum: EVIDENCE_PAGE_MAX },
        example: 10,
      },
    ],
    answers: { 200: { text: 'The evidence.', types: { [JSON_TYPE]: ref('WitnessEvidence') } } },
    refusals,
  },
};
