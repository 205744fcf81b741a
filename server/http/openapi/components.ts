/**
 * What do many routes speak of? Problem, head, entry, receipt, token and the like, as JSON Schemas.
 *
 * Bounds are the constants that the parsers use. The forms themselves are explained in `docs/formats.md`
 * and `docs/formats-http.md`.
 */

import { EVIDENCE_PAGE_MAX, WITNESSED_SHOWN_MAX } from '../../admin/witnessed.ts';
import { CODES } from '../../core/errors.ts';
import { ALGORITHMS } from '../../core/keys.ts';
import {
  ENTRY_BYTES_MAX,
  ENTRY_SIGNATURES_MAX,
  NOTE_BYTES_MAX,
  ORIGIN_BYTES_MAX,
  PAYLOAD_TYPE_BYTES_MAX,
  PROOF_HASHES_MAX,
  SIGNATURE_BYTES_MAX,
  SOURCE_ID_MAX,
  WINDOW_SIZE_MAX,
} from '../../core/limits.ts';
import { CHALLENGE_BYTES } from '../../core/possession.ts';
import { CONTINUITIES } from '../../core/record/control.ts';
import { TOKEN, TOKEN_ID } from '../../core/token.ts';
import { HASH_BYTES } from '../../core/units.ts';
import { EVIDENCE_KINDS } from '../../core/witness-judge.ts';
import { MEMORY_KINDS } from '../../log/memories.ts';
import { FILE_NAME, ROW_NAME } from '../../log/names.ts';
import { OWN_PURPOSES } from '../../log/own-gateways.ts';
import { ANCHOR_STATES } from '../../storage/anchors.ts';
import { LOG_STATES, ROLES, VISIBILITIES } from '../../storage/instance.ts';
import { COSIGNING_STATES } from '../../storage/witnesses.ts';
import { TITLE } from '../errors.ts';
import { DETAIL_CHARS_MAX } from '../problem.ts';
import { CHECKS, LOG_CHECKS, NAMED_MAX, READINESS } from '../readiness.ts';
import { RECORD_ID } from '../routes/entries.ts';
import { ANCHORS_PAGE_MAX, COSIGNINGS_PAGE_MAX, PAGE_ENTRIES_MAX } from '../settings.ts';
import { list, object, type Schema } from './schema.ts';

export const COUNT: Schema = {
  type: 'integer',
  format: 'int64',
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
};

/** Characters of base64 with padding. */
function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3);
}

export function base64(bytesMax: number): Schema {
  return {
    type: 'string',
    contentEncoding: 'base64',
    pattern: '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$',
    maxLength: base64Length(bytesMax),
  };
}

export const HASH_BASE64: Schema = {
  ...base64(HASH_BYTES),
  minLength: base64Length(HASH_BYTES),
};
const HEX: Schema = { type: 'string', pattern: `^[0-9a-f]{${2 * HASH_BYTES}}$` };
export const LEAF_HASH: Schema = { ...HEX, description: 'The leaf hash in lower-case hex.' };
export const KEYID: Schema = {
  ...HEX,
  description: 'SHA-256 of the key’s SubjectPublicKeyInfo in lower-case hex.',
};
export const TIME: Schema = {
  type: 'string',
  pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$',
  description: 'RFC 3339 in UTC with six decimals.',
};
export const ORIGIN: Schema = { type: 'string', minLength: 1, maxLength: ORIGIN_BYTES_MAX };
export const CHECKPOINT: Schema = {
  type: 'string',
  maxLength: NOTE_BYTES_MAX,
  description: 'A signed note [C2SP tlog-checkpoint], verbatim.',
};
export const RECORD_UUID: Schema = { type: 'string', pattern: RECORD_ID.source };
export const NAME: Schema = { type: 'string', pattern: ROW_NAME.source };
export const SOURCE: Schema = { type: 'string', minLength: 1, maxLength: SOURCE_ID_MAX };
const PROOF: Schema = list(HASH_BASE64, { maxItems: PROOF_HASHES_MAX });
const VISIBILITY: Schema = {
  type: 'string',
  enum: VISIBILITIES,
  description:
    'What a stranger may have: `public` entries too, `proofs` heads and proofs, `private` nothing.',
};
const PURPOSE: Schema = { type: 'string', enum: ['identity', 'anchor', 'sth'] };

/** The value of another schema of the document. */
export function ref(name: keyof typeof SCHEMAS): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

/** A member that refers to a schema of the same table. */
const to = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });

const LOGGED_KEY = {
  keyid: KEYID,
  alg: { type: 'string', enum: ALGORITHMS },
  spki: { ...base64(1024), description: 'The key’s DER in base64.' },
  purpose: { type: 'string' },
  registered: { ...COUNT, description: 'The index of the entry that registered it.' },
  'revoked?': { ...COUNT, description: 'The index of the entry that revoked it.' },
  'not_before?': { ...TIME, description: 'Admitted from then on, by the log’s clock.' },
  'not_after?': { ...TIME, description: 'Admitted until then, by the log’s clock.' },
} as const satisfies Record<string, Schema>;

const FILE_LOG: Schema = {
  type: 'string',
  pattern: FILE_NAME.source,
  description: 'The log, an access log, or the instance’s own.',
};

const LAST_SIZE = { ...COUNT, description: 'The last size of the log that it signs.' };

/** A key of a log itself. */
const LOG_KEY = {
  purpose: PURPOSE,
  vkey: { type: 'string' },
  keyid: KEYID,
  alg: { type: 'string', enum: ALGORITHMS },
  registered: { ...COUNT, description: 'The index of the entry that announced it; 0 is genesis.' },
  'revoked?': { ...COUNT, description: 'The index of the entry that ended it.' },
  'last_size?': LAST_SIZE,
} as const satisfies Record<string, Schema>;

const TOKEN_ROW = {
  id: { type: 'string', pattern: TOKEN_ID.source },
  holder: { type: 'string' },
  roles: list({ type: 'string', enum: ROLES }),
  logs: { ...list({ type: 'string' }), description: 'Names of logs, or `*` for all.' },
  created: TIME,
  'expires?': TIME,
  'revoked?': TIME,
} as const satisfies Record<string, Schema>;

const INCLUDED = {
  entry: base64(ENTRY_BYTES_MAX),
  index: COUNT,
  proof: PROOF,
} as const satisfies Record<string, Schema>;

/** A signature of P-256 in DER has at most 72 bytes. */
const TREE_HEAD_SIGNATURE_BYTES_MAX = 4 + 72;

const LEAF_ENTRY = {
  leaf_input: {
    ...base64(ENTRY_BYTES_MAX),
    description: 'The entry. Its leaf hash is SHA-256 of a zero byte and these bytes.',
  },
  extra_data: { type: 'string', const: '' },
} as const satisfies Record<string, Schema>;

/** A receipt of the operator's own: an entry, genesis, their proofs and a checkpoint. */
const SEAM_RECEIPT_BYTES_MAX = 524_288;

const LOG_ROW = {
  name: NAME,
  origin: ORIGIN,
  visibility: VISIBILITY,
  state: {
    type: 'string',
    enum: LOG_STATES.filter((state) => state !== 'creating'),
    description:
      '`active` takes entries; `frozen` has ended and is served; `retiring` is served until `retire_at`; `retired` is gone but for its row.',
  },
  'next?': { ...ORIGIN, description: 'The log that goes on where this one ended.' },
  'retire_at?': { ...TIME, description: 'When its files are removed, or were.' },
  'final?': { ...CHECKPOINT, description: 'The last checkpoint of a log that is gone.' },
} as const satisfies Record<string, Schema>;

const TARGET: Schema = { type: 'string', description: 'As it is configured.' };
const ANCHOR_TYPE: Schema = { type: 'string', enum: ['rekor', 'rfc3161'] };

const ANCHOR_OF = {
  target: TARGET,
  type: ANCHOR_TYPE,
  'time?': { ...TIME, description: 'The time that it proves.' },
} as const satisfies Record<string, Schema>;

const PROGRESS = {
  target: TARGET,
  type: ANCHOR_TYPE,
  'size?': { ...COUNT, description: 'The largest that it vouched for.' },
  'time?': { ...TIME, description: 'The time that this proves.' },
  'pending?': object(
    { size: COUNT, since: TIME, attempts: COUNT },
    'The head that it is being shown.',
  ),
  missed: { ...COUNT, description: 'Heads beyond that size that were given up.' },
} as const satisfies Record<string, Schema>;

const WITNESS = {
  type: 'string',
  description: 'The name of its key.',
} as const satisfies Schema;

const WITNESSING = {
  witness: WITNESS,
  'size?': { ...COUNT, description: 'The largest head that it cosigned.' },
  'time?': { ...TIME, description: 'Of its newest cosignature, by its own clock.' },
  'pending?': object(
    { size: COUNT, since: TIME, attempts: COUNT },
    'The head that it is being shown.',
  ),
  missed: { ...COUNT, description: 'Heads beyond that size that were given up.' },
  asked: { ...COUNT, description: 'Requests that it was ever sent.' },
  failed: { ...COUNT, description: 'Attempts that came to nothing.' },
  'disputes?': {
    type: 'string',
    description: 'What it holds against the log, which signs nothing more.',
  },
} as const satisfies Record<string, Schema>;

const REQUEST_ROW = {
  id: { type: 'string', pattern: '^[0-9a-f]{16}$' },
  act: { type: 'string', pattern: '^[a-z]+\\.[a-z]+$' },
  'log?': NAME,
  details: { type: 'object', description: 'What is to be done.' },
  holder: { type: 'string', description: 'Who asked for it.' },
  requested: TIME,
  expires: TIME,
} as const satisfies Record<string, Schema>;

export const SCHEMAS = {
  Problem: {
    ...object(
      {
        type: { type: 'string', format: 'uri-reference' },
        title: { type: 'string', enum: [...new Set(Object.values(TITLE)), 'Internal error'] },
        status: { type: 'integer', minimum: 400, maximum: 599 },
        'detail?': {
          type: 'string',
          maxLength: DETAIL_CHARS_MAX,
          description: 'The value and the rule. Its wording may change.',
        },
        'code?': { type: 'string', enum: CODES, description: 'What programs look at.' },
        'retry_after?': {
          type: 'integer',
          minimum: 1,
          description: 'Seconds after which asking again makes sense.',
        },
        'error_message?': {
          type: 'string',
          maxLength: DETAIL_CHARS_MAX,
          description: 'The detail once more, for clients of RFC 6962; on their routes only.',
        },
        'request_id?': {
          type: 'string',
          description: 'Of a fault of the server: its log has more.',
        },
        // Of a server that is not ready.
        'readiness?': to('Readiness'),
      },
      'Why a request was refused [RFC 9457]. A fault of the server (500) has no code.',
    ),
  },
  Head: object(
    {
      origin: ORIGIN,
      size: COUNT,
      root: HASH_BASE64,
      'time?': TIME,
      'checkpoint?': CHECKPOINT,
      'final?': {
        type: 'boolean',
        const: true,
        description: 'The log has ended with this head: nothing comes after it.',
      },
      'next?': { ...ORIGIN, description: 'The log that goes on where this one ended.' },
      cosignatures: {
        ...list(object({ name: WITNESS, key_id: { type: 'string' }, time: TIME })),
        description:
          'Those that the checkpoint carries, each verified, with the witness’ own time.',
      },
      'quorum?': object(
        {
          met: {
            type: 'boolean',
            description: 'Whether this head is cosigned as the policy asks.',
          },
          fail: {
            type: 'string',
            enum: ['open', 'closed'],
            description: 'Whether heads are published before that.',
          },
          'newest?': { ...COUNT, description: 'The size of the newest head that is.' },
        },
        'Of logs that are shown to witnesses.',
      ),
      anchors: {
        ...list(object(ANCHOR_OF)),
        description: 'What targets outside said of this very head.',
      },
      'anchoring?': {
        ...list(object(PROGRESS)),
        description: 'How far each target outside has got; of the newest head alone.',
      },
      'witnessing?': {
        ...list(object(WITNESSING)),
        description: 'How far each witness is; of the newest head alone.',
      },
    },
    'The tree at one size. `time` and `checkpoint` only of a head that was kept.',
  ),
  Anchoring: object({ anchoring: list(object(PROGRESS)) }),
  Witnessing: object({ witnessing: list(object(WITNESSING)) }),
  WitnessList: object({
    witnessing: list(object(WITNESSING)),
    asked: list(
      object({
        witness: WITNESS,
        size: COUNT,
        state: { type: 'string', enum: COSIGNING_STATES },
        'time?': { ...TIME, description: 'Of the cosignature, by the witness’ clock.' },
        attempts: COUNT,
        planned: TIME,
        changed: TIME,
        'reason?': {
          type: 'string',
          description: 'Why the last attempt came to nothing; for those who hold a token.',
        },
      }),
      { maxItems: COSIGNINGS_PAGE_MAX },
    ),
    evidence: {
      ...list(
        object({
          witness: WITNESS,
          said: { type: 'string' },
          time: TIME,
          proven: {
            type: 'boolean',
            description: 'Whether it has shown a head with the log’s own signature for that.',
          },
          asked: object({ old: COUNT, size: COUNT, checkpoint: CHECKPOINT }),
          answered: object({ status: COUNT, body: base64(NOTE_BYTES_MAX) }),
          'checkpoint?': { ...CHECKPOINT, description: 'What it serves, with its cosignature.' },
          'let_go?': { ...TIME, description: 'Since when it counts no more.' },
        }),
      ),
      description: 'What witnesses hold against the log’s history.',
    },
  }),
  AnchorList: object({
    anchors: list(
      object({
        target: TARGET,
        type: ANCHOR_TYPE,
        size: COUNT,
        state: { type: 'string', enum: ANCHOR_STATES },
        'time?': { ...TIME, description: 'The time that it proves.' },
        attempts: COUNT,
        planned: TIME,
        changed: TIME,
        'reason?': {
          type: 'string',
          description: 'Why the last attempt came to nothing; for those who hold a token.',
        },
      }),
      { maxItems: ANCHORS_PAGE_MAX },
    ),
  }),
  SigstoreBundle: { type: 'object', description: 'A Sigstore bundle, version 0.3.' },
  Next: object(
    {
      name: NAME,
      origin: ORIGIN,
      last: {
        ...base64(SEAM_RECEIPT_BYTES_MAX),
        description: 'The receipt of the entry that ends this log.',
      },
      genesis: {
        ...base64(SEAM_RECEIPT_BYTES_MAX),
        description: 'The receipt of entry 0 of the next one.',
      },
    },
    'The log that goes on where this one ended, and what proves it to whoever trusts this log’s keys.',
  ),
  InclusionProof: object({ index: COUNT, size: COUNT, proof: PROOF }),
  ConsistencyProof: object({ from: COUNT, to: COUNT, proof: PROOF }),
  SignedTreeHead: object(
    {
      tree_size: COUNT,
      timestamp: { ...COUNT, description: 'Milliseconds since 1970.' },
      sha256_root_hash: HASH_BASE64,
      tree_head_signature: {
        ...base64(TREE_HEAD_SIGNATURE_BYTES_MAX),
        description: 'A DigitallySigned structure [RFC 5246 §4.7] over a TreeHeadSignature.',
      },
    },
    'Signed with the log’s key of purpose `sth`, whose SHA-256 is the log ID.',
  ),
  SthConsistency: object({ consistency: PROOF }),
  ProofByHash: object({ leaf_index: COUNT, audit_path: PROOF }),
  LeafEntries: object({
    entries: list(object(LEAF_ENTRY), { minItems: 1, maxItems: PAGE_ENTRIES_MAX }),
  }),
  EntryAndProof: object({ ...LEAF_ENTRY, audit_path: PROOF }),
  EntryPage: object({
    start: COUNT,
    entries: list(base64(ENTRY_BYTES_MAX)),
    'next?': { ...COUNT, description: 'The start of the next page; absent at the end of the log.' },
  }),
  FeedLine: object({
    index: COUNT,
    leaf_hash: LEAF_HASH,
    entry: base64(ENTRY_BYTES_MAX),
    'record?': { type: 'object', description: 'The audit record inside, where the entry has one.' },
  }),
  Leaf: object({ leaf_hash: LEAF_HASH, index: COUNT }),
  RecordPlace: object({ record_id: RECORD_UUID, index: COUNT }),
  Source: object(
    {
      id: SOURCE,
      keyid: KEYID,
      'begin?': {
        ...COUNT,
        description: 'Its first sequence number here, in a log that follows another; else 0.',
      },
      next: { ...COUNT, description: 'One past its highest sequence number.' },
      holes: {
        ...list(object({ begin: COUNT, end: COUNT })),
        description: 'Ranges [begin, end) of sequence numbers that are missing; the first 100.',
      },
      'more_holes?': { type: 'boolean', const: true },
      forks: { ...COUNT, description: 'How often it used one sequence number for two records.' },
    },
    'What is known of one source of records.',
  ),
  SourcePage: object({
    sources: list(to('Source')),
    'next?': { ...SOURCE, description: 'The `after` of the next page, if there may be one.' },
  }),
  Envelope: object(
    {
      payload: base64(ENTRY_BYTES_MAX),
      payloadType: { type: 'string', minLength: 1, maxLength: PAYLOAD_TYPE_BYTES_MAX },
      signatures: list(
        object({
          keyid: KEYID,
          sig: base64(SIGNATURE_BYTES_MAX),
          'window?': object({
            index: { type: 'integer', minimum: 0, maximum: WINDOW_SIZE_MAX - 1 },
            size: { type: 'integer', minimum: 1, maximum: WINDOW_SIZE_MAX },
            hashes: list(HASH_BASE64, { maxItems: Math.log2(WINDOW_SIZE_MAX) }),
          }),
        }),
        { minItems: 1, maxItems: ENTRY_SIGNATURES_MAX },
      ),
    },
    'A DSSE envelope, which stands for one entry. Only the Stele form has windows.',
  ),
  Receipt: object(
    {
      format: { type: 'string', const: 'stele.receipt/1' },
      origin: ORIGIN,
      ...INCLUDED,
      checkpoint: CHECKPOINT,
      keys: {
        ...list(object(INCLUDED), { maxItems: ENTRY_SIGNATURES_MAX + 1 }),
        description: 'The genesis entry and the entries that registered the signers.',
      },
      anchors: list({ type: 'object' }),
    },
    'All that is needed, beside keys from elsewhere, to check one entry offline. One spelling: RFC 8785 and a line feed.',
  ),
  BatchHead: object({ checkpoint: CHECKPOINT, size: COUNT }),
  BatchResult: object({
    index: COUNT,
    leaf_hash: LEAF_HASH,
    proof: PROOF,
    repeat: { type: 'boolean', description: 'Whether it was in the log already.' },
  }),
  LogList: object({ logs: list(object(LOG_ROW)) }),
  Log: object({
    ...LOG_ROW,
    size: COUNT,
    root: HASH_BASE64,
    time: TIME,
    rules: object({
      payload_types: list({ type: 'string' }, { minItems: 1 }),
      continuity: { type: 'string', enum: CONTINUITIES },
      'entries_per_second?': { ...COUNT, minimum: 1 },
      'bytes_per_day?': { ...COUNT, minimum: ENTRY_BYTES_MAX },
    }),
    'previous?': object(
      { origin: ORIGIN, size: COUNT, root: HASH_BASE64 },
      'The last head of the log that it follows, as its genesis names it.',
    ),
    keys: {
      ...list(object(LOG_KEY)),
      description: 'Its own keys in the order in which it announced them, also those that ended.',
    },
    stats: object(
      {
        entries: COUNT,
        bytes: { ...COUNT, description: 'Of entries, as they were logged.' },
        stored_bytes: { ...COUNT, description: 'Of its database.' },
        sources: COUNT,
        gateways: { ...COUNT, description: 'Gateway keys that are good now.' },
        day: { type: 'string', pattern: '^\\d{4}-\\d\\d-\\d\\d$' },
        day_entries: { ...COUNT, description: 'Entries of that day, the newest entry’s, in UTC.' },
        day_bytes: COUNT,
      },
      'The log in numbers.',
    ),
  }),
  VerifierKeys: object({
    keys: list(object({ log: NAME, origin: ORIGIN, ...LOG_KEY })),
    'unavailable?': {
      ...list(NAME, { minItems: 1 }),
      description: 'Logs that cannot be opened now, so that their keys are not known.',
    },
    'witness?': {
      ...list({ type: 'string' }, { minItems: 1 }),
      description: 'Keys that this instance cosigns other logs with.',
    },
  }),
  Witness: object({
    name: { type: 'string' },
    keys: list({ type: 'string' }, { minItems: 1 }),
    'stopped?': {
      type: 'boolean',
      description: 'Nothing is cosigned: the witness was put back to an earlier state.',
    },
    known: { ...COUNT, description: 'Logs that it witnesses.' },
    witnessed: { ...COUNT, description: 'Logs of which it cosigned a checkpoint.' },
    logs: list(
      object({
        origin: { type: 'string', maxLength: ORIGIN_BYTES_MAX },
        size: COUNT,
        root: HASH_BASE64,
        time: TIME,
        first: TIME,
        times: { ...COUNT, description: 'How often it was cosigned since the first time.' },
      }),
      { maxItems: WITNESSED_SHOWN_MAX },
    ),
  }),
  WitnessEvidence: object({
    evidence: list(
      object({
        id: COUNT,
        origin: { type: 'string', maxLength: ORIGIN_BYTES_MAX },
        kind: { type: 'string', enum: EVIDENCE_KINDS },
        seen: TIME,
        size: COUNT,
        checkpoint: {
          type: 'string',
          maxLength: NOTE_BYTES_MAX,
          description: 'The one that was refused, with the lines of the log that were verified.',
        },
        'held?': {
          type: 'string',
          maxLength: NOTE_BYTES_MAX,
          description: 'The one that was cosigned before.',
        },
        old: COUNT,
        proof: list(HASH_BASE64, { maxItems: PROOF_HASHES_MAX }),
      }),
      { maxItems: EVIDENCE_PAGE_MAX },
    ),
  }),
  Challenge: object({
    origin: ORIGIN,
    challenge: {
      ...HASH_BASE64,
      description: `${CHALLENGE_BYTES} random bytes.`,
    },
    expires: TIME,
  }),
  Gateway: object({ keyid: KEYID, alg: LOGGED_KEY.alg, index: COUNT }),
  Gateways: object({ gateways: list(object(LOGGED_KEY)) }),
  RevokedGateway: object({
    keyid: KEYID,
    index: { ...COUNT, description: 'The entry that revokes it.' },
  }),
  LoggedKeys: object({
    keys: list(
      object({
        log: FILE_LOG,
        ...LOGGED_KEY,
        'vkey?': { type: 'string', description: 'Of a key of the log itself.' },
        'last_size?': LAST_SIZE,
      }),
    ),
  }),
  NewLogKey: object({
    ...LOG_KEY,
    others: {
      ...list(
        object({
          ...LOG_KEY,
          'retire_from?': { ...TIME, description: 'From then on it may be ended.' },
          'finish?': { type: 'boolean', description: 'Whether it ends by itself.' },
        }),
      ),
      description: 'The keys of that purpose before it, and what becomes of them.',
    },
  }),
  EndedLogKey: object(LOG_KEY),
  NewOwnKey: object({
    purpose: { type: 'string', enum: OWN_PURPOSES },
    keyid: KEYID,
    alg: { type: 'string', enum: ALGORITHMS },
    others: {
      ...list(
        object({
          keyid: KEYID,
          'revoke_from?': { ...TIME, description: 'When it is revoked by itself.' },
          'revoked?': {
            ...list(object({ log: FILE_LOG, index: COUNT })),
            description: 'The entries that revoked it.',
          },
        }),
      ),
      description: 'The key before it, and what becomes of it.',
    },
    waiting: {
      ...list(object({ 'log?': FILE_LOG, detail: { type: 'string' } })),
      description:
        'Logs that could not be told yet, and why. They are told as soon as they can be.',
    },
  }),
  Token: object(TOKEN_ROW),
  NewToken: object({
    token: { type: 'string', pattern: TOKEN.source, description: 'Shown this once.' },
    ...TOKEN_ROW,
  }),
  TokenList: object({ tokens: list(to('Token')) }),
  RevokedToken: object({ id: TOKEN_ROW.id, revoked: TIME }),
  Request: object(REQUEST_ROW),
  RequestList: object({ requests: list(to('Request')) }),
  Waiting: object({
    request: to('Request'),
    'token?': {
      type: 'string',
      pattern: TOKEN.source,
      description: 'Shown this once; it opens nothing before the request is approved.',
    },
  }),
  Approved: { type: 'object', description: 'What the act answers that was asked for.' },
  RejectedRequest: object({ id: REQUEST_ROW.id, rejected: TIME }),
  WellKnown: object({
    name: { type: 'string', const: 'stele' },
    version: { type: 'string' },
    logs: { type: 'string', format: 'uri-reference' },
    keys: { type: 'string', format: 'uri-reference' },
    'witness?': { type: 'string', format: 'uri-reference' },
    formats: list({ type: 'string' }),
  }),
  RpcStatus: object(
    { code: { type: 'integer', description: 'Of google.rpc.Code.' }, message: { type: 'string' } },
    'A refusal, as OTLP says it.',
  ),
  OtlpAnswer: object(
    {
      'partialSuccess?': object({
        'rejectedSpans?': { type: 'string', pattern: '^[0-9]+$' },
        'rejectedLogRecords?': { type: 'string', pattern: '^[0-9]+$' },
        errorMessage: { type: 'string' },
      }),
    },
    'Empty where all is on record.',
  ),
  ImportAnswer: object({
    lines: { type: 'integer', minimum: 1 },
    recorded: { type: 'integer', minimum: 0 },
    repeated: { type: 'integer', minimum: 0 },
    rejected: list(object({ line: { type: 'integer', minimum: 1 }, detail: { type: 'string' } })),
  }),
  LitellmAnswer: object({
    accepted: { type: 'integer', minimum: 0 },
    rejected: list({ type: 'string' }, { maxItems: 100 }),
  }),
  Health: object({ status: { type: 'string', const: 'ok' } }),
  Readiness: object({
    status: {
      type: 'string',
      enum: READINESS,
      description: 'Degraded: entries are taken, and something needs to be seen to.',
    },
    checks: {
      ...object(Object.fromEntries(CHECKS.map((check) => [check, { type: 'boolean' }]))),
      description:
        'The disk has room; the signer is there; no open log has stopped; no queue is full; heads are published in time; the clock goes as time does and is not behind what was signed; every log is known to a memory outside the data folder.',
    },
    logs: object({ open: COUNT, accepting: COUNT, stopped: COUNT, ended: COUNT }),
    guard: object(
      {
        asked: COUNT,
        answered: COUNT,
        memories: {
          ...list(
            object({
              kind: { type: 'string', enum: MEMORY_KINDS },
              asked: COUNT,
              answered: COUNT,
            }),
          ),
          description: 'The same by what they are.',
        },
      },
      'How many answers were asked of memories outside the data folder, and how many they had (P2).',
    ),
    'failing?': {
      ...list(object({ log: NAME, checks: list({ type: 'string', enum: LOG_CHECKS }) }), {
        maxItems: NAMED_MAX,
      }),
      description: 'With a token: the logs that it is bound to, and what fails of each.',
    },
  }),
} as const satisfies Record<string, Schema>;
