/** `ct/v1`, for clients of RFC 6962. */
import { JSON_TYPE } from '../answer.ts';
import { PAGE_BYTES_MAX, PAGE_ENTRIES_MAX } from '../settings.ts';
import { COUNT, HASH_BASE64, ref } from './components.ts';
import type { Descriptions, Parameter } from './description.ts';
import { UNCHANGED } from './heads.ts';
import { IF_NONE_MATCH, LEAF } from './parameters.ts';
import { shownNumber } from './schema.ts';

function count(name: string, text: string, example: number): Parameter {
  return { name, in: 'query', text, schema: COUNT, required: true, example };
}

const TREE_SIZE = count('tree_size', 'A tree size, at most the log’s.', 4);

const HASH: Parameter = {
  name: 'hash',
  in: 'query',
  text: 'The leaf hash in base64; `+`, `/` and `=` may be percent-encoded.',
  schema: HASH_BASE64,
  required: true,
  example: Buffer.from(String(LEAF.example), 'hex').toString('base64'),
};

export const ctDescriptions: Descriptions = {
  'GET LOG/ct/v1/get-sth': {
    id: 'getSth',
    tag: 'RFC 6962',
    summary: 'The newest signed tree head',
    text: 'Signed when somebody asks, at most once a second, each later than every one before. 503 while the server’s clock is behind an earlier one. [RFC 6962 §4.3]',
    parameters: [IF_NONE_MATCH],
    answers: {
      200: {
        text: 'The tree head.',
        types: { [JSON_TYPE]: ref('SignedTreeHead') },
        headers: ['etag'],
      },
      304: UNCHANGED,
    },
    refusals: ['frozen'],
  },
  'GET LOG/ct/v1/get-sth-consistency': {
    id: 'getSthConsistency',
    tag: 'RFC 6962',
    summary: 'A consistency proof',
    text: 'Empty from size 0, and between equal sizes. [RFC 6962 §4.4]',
    parameters: [
      count('first', 'The smaller tree size.', 2),
      count('second', 'The larger tree size, at most the log’s.', 4),
    ],
    answers: { 200: { text: 'The proof.', types: { [JSON_TYPE]: ref('SthConsistency') } } },
  },
  'GET LOG/ct/v1/get-proof-by-hash': {
    id: 'getProofByHash',
    tag: 'RFC 6962',
    summary: 'An inclusion proof by leaf hash',
    text: '[RFC 6962 §4.5]',
    parameters: [HASH, TREE_SIZE],
    answers: {
      200: {
        text: 'Where the leaf is, and the proof.',
        types: { [JSON_TYPE]: ref('ProofByHash') },
      },
    },
  },
  'GET LOG/ct/v1/get-entries': {
    id: 'getEntries',
    tag: 'RFC 6962',
    summary: 'A range of entries',
    text: `Fewer than asked for where the log ends, past ${shownNumber(PAGE_ENTRIES_MAX)} entries, and where they would pass ${shownNumber(PAGE_BYTES_MAX)} bytes. [RFC 6962 §4.6]`,
    parameters: [
      count('start', 'The first index.', 1),
      count('end', 'The last index, which is included.', 2),
    ],
    answers: { 200: { text: 'The entries.', types: { [JSON_TYPE]: ref('LeafEntries') } } },
  },
  'GET LOG/ct/v1/get-entry-and-proof': {
    id: 'getEntryAndProof',
    tag: 'RFC 6962',
    summary: 'An entry with its inclusion proof',
    text: '[RFC 6962 §4.8]',
    parameters: [count('leaf_index', 'The leaf’s index.', 2), TREE_SIZE],
    answers: { 200: { text: 'Both.', types: { [JSON_TYPE]: ref('EntryAndProof') } } },
  },
};
