/** Heads, tiles and proofs. */
import { ENTRY_BYTES_MAX, NOTE_BYTES_MAX, TILE_WIDTH } from '../../core/limits.ts';
import { SIGSTORE_BUNDLE_TYPE } from '../../core/sigstore/sigstore-bundle.ts';
import { HASH_BYTES } from '../../core/units.ts';
import { BYTES_TYPE, JSON_TYPE, TEXT_TYPE } from '../answer.ts';
import { TIMESTAMP_TYPE } from '../routes/anchors.ts';
import { ref } from './components.ts';
import { type Answer, bytes, type Descriptions } from './description.ts';
import {
  ANCHORED_SIZE,
  ANCHORS_LIMIT,
  BEFORE,
  BEYOND,
  BUNDLE,
  COSIGNINGS_LIMIT,
  FROM,
  HASH_TILE,
  HEAD_WAIT,
  IF_NONE_MATCH,
  INDEX,
  LOG,
  SIZE,
  TARGET_NAME,
  TO,
} from './parameters.ts';

/** For what may be asked again with `if-none-match`. */
export const UNCHANGED: Answer = {
  text: 'Still what the caller has.',
  types: {},
  headers: ['etag'],
};

export const headDescriptions: Descriptions = {
  'GET LOG/checkpoint': {
    id: 'getCheckpoint',
    tag: 'Heads',
    summary: 'The published checkpoint',
    text: 'A signed note [C2SP tlog-checkpoint]. Published at most once a second while the log grows; where a quorum of witnesses is waited for, `not_yet` before the first that has it.',
    parameters: [IF_NONE_MATCH],
    answers: {
      200: {
        text: 'The note.',
        types: { [TEXT_TYPE]: { type: 'string', maxLength: NOTE_BYTES_MAX } },
        headers: ['etag'],
      },
      304: UNCHANGED,
    },
    refusals: ['not_yet'],
  },
  'GET LOG/v1/tree-head': {
    id: 'getTreeHead',
    tag: 'Heads',
    summary: 'The newest head',
    text: 'With `wait` and `beyond` the request is held until the log has more than `beyond` entries, or until the time is up; then it has the newest head, whichever it is. Where a quorum of witnesses is waited for, that is the newest that has it, and `not_yet` before the first.',
    parameters: [HEAD_WAIT, BEYOND, IF_NONE_MATCH],
    answers: {
      200: { text: 'The head.', types: { [JSON_TYPE]: ref('Head') }, headers: ['etag'] },
      304: UNCHANGED,
    },
    refusals: ['not_yet'],
  },
  'GET LOG/v1/tree-head/{size}': {
    id: 'getTreeHeadAt',
    tag: 'Heads',
    summary: 'The head of one size',
    text: 'Any size up to the log’s has a root; only some were signed and kept.',
    parameters: [SIZE, IF_NONE_MATCH],
    answers: {
      200: { text: 'The head.', types: { [JSON_TYPE]: ref('Head') }, headers: ['etag'] },
      304: UNCHANGED,
    },
  },
  'GET LOG/v1/anchors': {
    id: 'listAnchors',
    tag: 'Heads',
    summary: 'What targets outside were asked about heads',
    text: 'The newest first: Rekor logs and time-stamping authorities. What was given up is there too, so that a hole shows.',
    parameters: [BEFORE, ANCHORS_LIMIT],
    answers: { 200: { text: 'The anchors.', types: { [JSON_TYPE]: ref('AnchorList') } } },
  },
  'GET LOG/v1/anchors/{target}/{size}': {
    id: 'getAnchor',
    tag: 'Heads',
    summary: 'What a target said of one head',
    text: 'A Sigstore bundle over the text of the head’s note, or an RFC 3161 response over it, as other tools read them.',
    parameters: [TARGET_NAME, ANCHORED_SIZE],
    answers: {
      200: {
        text: 'As it was verified and kept.',
        types: {
          [SIGSTORE_BUNDLE_TYPE]: ref('SigstoreBundle'),
          [TIMESTAMP_TYPE]: { type: 'string', contentMediaType: TIMESTAMP_TYPE },
        },
      },
    },
    refusals: ['not_found'],
  },
  'GET LOG/v1/witnesses': {
    id: 'listWitnesses',
    tag: 'Heads',
    summary: 'What witnesses were asked about heads',
    text: 'How far each is, and what it was asked, the newest first. What was given up is there too, so that a hole shows; and what one of them holds against the log’s history.',
    parameters: [BEFORE, COSIGNINGS_LIMIT],
    answers: { 200: { text: 'The witnesses.', types: { [JSON_TYPE]: ref('WitnessList') } } },
  },
  'GET LOG/v1/next': {
    id: 'getNext',
    tag: 'Heads',
    summary: 'Where a log goes on that has ended',
    text: 'With the receipts that prove it: of this log’s last entry, and of the next one’s genesis. `not_yet` while this log takes entries, or while the next one is still being made; `not_found` where none follows.',
    parameters: [{ ...LOG, example: 'team-c' }],
    answers: { 200: { text: 'The log that follows.', types: { [JSON_TYPE]: ref('Next') } } },
    refusals: ['not_yet'],
  },
  'GET LOG/tile/{path*}': {
    id: 'getTile',
    tag: 'Heads',
    summary: 'A tile of hashes',
    text: 'Up to 256 hashes of one level [C2SP tlog-tiles].',
    parameters: [HASH_TILE],
    answers: {
      200: {
        text: `The hashes, ${HASH_BYTES} bytes each.`,
        types: { [BYTES_TYPE]: bytes(BYTES_TYPE, TILE_WIDTH * HASH_BYTES) },
      },
    },
  },
  'GET LOG/tile/entries/{path*}': {
    id: 'getEntryBundle',
    tag: 'Heads',
    summary: 'A bundle of entries',
    text: 'Up to 256 entries, each with its length before it in two bytes [C2SP tlog-tiles].',
    parameters: [BUNDLE],
    answers: {
      200: {
        text: 'The entries.',
        types: { [BYTES_TYPE]: bytes(BYTES_TYPE, TILE_WIDTH * (2 + ENTRY_BYTES_MAX)) },
      },
    },
  },
  'GET LOG/v1/proofs/inclusion/{index}/{size}': {
    id: 'getInclusionProof',
    tag: 'Heads',
    summary: 'An inclusion proof',
    text: 'From leaf `index` to the root of the tree of `size` [RFC 9162 §2.1.3].',
    parameters: [INDEX, SIZE],
    answers: { 200: { text: 'The proof.', types: { [JSON_TYPE]: ref('InclusionProof') } } },
  },
  'GET LOG/v1/proofs/consistency/{from}/{to}': {
    id: 'getConsistencyProof',
    tag: 'Heads',
    summary: 'A consistency proof',
    text: 'That the tree of size `to` begins with the tree of size `from`, 0 < from ≤ to [RFC 9162 §2.1.4].',
    parameters: [FROM, TO],
    answers: { 200: { text: 'The proof.', types: { [JSON_TYPE]: ref('ConsistencyProof') } } },
  },
};
