/** `/v1/admin`: logs, gateways, keys, tokens. The bodies' schemas are those that judge them. */
import type { Act } from '../../admin/act.ts';
import { registerGateway } from '../../admin/gateways.ts';
import { retireLogKey, rotateLogKey, rotateOwnKey } from '../../admin/log-keys.ts';
import { changeLog, createLog, freezeLog, retireLog, rollLog } from '../../admin/logs.ts';
import { createToken } from '../../admin/tokens.ts';
import { TOKEN_ID } from '../../core/token.ts';
import { FILE_NAME } from '../../log/names.ts';
import { JSON_TYPE } from '../answer.ts';
import { ADMIN_BYTES_MAX } from '../settings.ts';
import { ref } from './components.ts';
import type { Answer, Body, Descriptions, Parameter } from './description.ts';
import examples from './examples.json' with { type: 'json' };
import { KEY } from './parameters.ts';
import { schemaOf, shownNumber } from './schema.ts';

function body({ wanted }: Pick<Act<unknown>, 'wanted'>, example: string): Body {
  return {
    text: `JSON of at most ${shownNumber(ADMIN_BYTES_MAX)} bytes.`,
    types: { [JSON_TYPE]: { schema: schemaOf(wanted), example } },
  };
}

function answer(name: Parameters<typeof ref>[0], text: string): Answer {
  return { text, types: { [JSON_TYPE]: ref(name) } };
}

/** Here it names a log that gateways and settings are of, never its access log. */
const ADMIN_LOG: Parameter = {
  name: 'log',
  in: 'path',
  text: 'The log’s name.',
  schema: { type: 'string', pattern: '^[a-z0-9][a-z0-9-]{0,62}$' },
  example: 'team-a',
};

/** An access log has keys of its own, too. */
const KEYS_LOG: Parameter = {
  ...ADMIN_LOG,
  text: 'The log’s name; that of its access log ends in `.access`, and the instance’s own is `_admin`.',
  schema: { type: 'string', pattern: FILE_NAME.source },
};

/** One whose end nobody minds, so that the examples can be tried in any order. */
const ENDING_LOG: Parameter = { ...ADMIN_LOG, example: 'team-b' };

const ID: Parameter = {
  name: 'id',
  in: 'path',
  text: 'The token’s id, as it stands in the token after `stele_`.',
  schema: { type: 'string', pattern: TOKEN_ID.source },
  example: examples.values.token_id,
};

const REQUEST: Parameter = {
  name: 'id',
  in: 'path',
  text: 'The request’s id, as the list has it.',
  schema: { type: 'string', pattern: '^[0-9a-f]{16}$' },
  example: '0123456789abcdef',
};

/** Of an act on keys, where the two-person rule is on. */
const WAITING = answer(
  'Waiting',
  'Nothing is done yet: with `admin.two_persons` it waits until another holder approves it.',
);

const logs: Descriptions = {
  'POST /v1/admin/logs': {
    id: 'createLog',
    tag: 'Administration',
    summary: 'Create a log',
    text: 'With its keys, its genesis entry, and its access log.',
    body: body(createLog, 'log'),
    answers: { 201: answer('Log', 'Created.') },
    refusals: ['not_found', 'conflict', 'split_view'],
  },
  'GET /v1/admin/logs': {
    id: 'listAdminLogs',
    tag: 'Administration',
    summary: 'Logs that the token is bound to',
    answers: { 200: answer('LogList', 'The logs.') },
  },
  'GET /v1/admin/logs/{log}': {
    id: 'getLog',
    tag: 'Administration',
    summary: 'One log',
    parameters: [ADMIN_LOG],
    answers: { 200: answer('Log', 'The log.') },
    refusals: ['not_found', 'split_view'],
  },
  'PATCH /v1/admin/logs/{log}': {
    id: 'changeLog',
    tag: 'Administration',
    summary: 'Change who may see a log, or what it admits',
    text: 'What is not named stays. New rules are an entry of the log and hold from the next one on; a limit that is null is taken away. Who may see a log is no part of its history.',
    parameters: [ADMIN_LOG],
    body: body(changeLog, 'change'),
    answers: { 200: answer('Log', 'The log as it is now.') },
    refusals: ['not_found', 'frozen', 'split_view'],
  },
  'POST /v1/admin/logs/{log}/anchor': {
    id: 'anchorLog',
    tag: 'Administration',
    summary: 'Show the newest head to the targets outside now',
    text: 'Answers when each has answered, or after 25 s; what has not is still on its way. `conflict` where no target is configured, or the log is not one of `anchor.logs`.',
    parameters: [ADMIN_LOG],
    answers: { 200: answer('Anchoring', 'How far each target has got.') },
    refusals: ['not_found', 'conflict', 'split_view'],
  },
  'POST /v1/admin/logs/{log}/witness': {
    id: 'witnessLog',
    tag: 'Administration',
    summary: 'Show the newest head to the witnesses now',
    text: 'Answers when each has answered, or after 25 s; what has not is still on its way. `conflict` where no witness is configured, or the log is shown to none.',
    parameters: [ADMIN_LOG],
    answers: { 200: answer('Witnessing', 'How far each witness is.') },
    refusals: ['not_found', 'conflict', 'split_view'],
  },
  'POST /v1/admin/logs/{log}/freeze': {
    id: 'freezeLog',
    tag: 'Administration',
    summary: 'End a log',
    text: 'Its last entry says so. It takes nothing more, for good, and is served as before; who lost an answer still gets it. A second time changes nothing.',
    parameters: [ENDING_LOG],
    body: body(freezeLog, 'freeze'),
    answers: { 200: answer('Log', 'The log, which has ended.') },
    refusals: ['not_found', 'split_view'],
  },
  'POST /v1/admin/logs/{log}/roll': {
    id: 'rollLog',
    tag: 'Administration',
    summary: 'End a log and begin the one that follows it',
    text: 'The new log has the old one’s visibility, rules and gateways; its genesis names the old one’s last head, and the old one’s last entry names the new log. Clients follow by `next`. The token must be bound to `*` or to both names.',
    parameters: [{ ...ADMIN_LOG, example: 'team-c' }],
    body: body(rollLog, 'roll'),
    answers: { 201: answer('Log', 'The log that follows.') },
    refusals: ['not_found', 'conflict', 'frozen', 'split_view'],
  },
  'POST /v1/admin/logs/{log}/retire': {
    id: 'retireLog',
    tag: 'Administration',
    summary: 'Have a log removed',
    text: 'Ends it, and after the cooling period removes its entries, content and keys; export it first. Its access log, its name and its last checkpoint stay.',
    parameters: [ENDING_LOG],
    body: body(retireLog, 'retire'),
    answers: { 200: answer('Log', 'The log, and when it is removed.') },
    refusals: ['not_found', 'split_view'],
  },
  'DELETE /v1/admin/logs/{log}/retire': {
    id: 'unretireLog',
    tag: 'Administration',
    summary: 'Have a log not removed after all',
    text: 'It stays ended.',
    parameters: [ENDING_LOG],
    answers: { 200: answer('Log', 'The log, which stays.') },
    refusals: ['not_found', 'conflict', 'pushback', 'split_view'],
  },
  'GET /v1/admin/keys': {
    id: 'listLoggedKeys',
    tag: 'Administration',
    summary: 'Every key that is or was registered',
    answers: { 200: answer('LoggedKeys', 'The keys, log by log.') },
    refusals: ['split_view'],
  },
};

const logKeys: Descriptions = {
  'POST /v1/admin/logs/{log}/keys/rotate': {
    id: 'rotateLogKey',
    tag: 'Administration',
    summary: 'Announce another key of the log itself',
    text: 'An entry of the log says so, and from that entry on both keys sign: every head an identity key, published heads an anchor key too. An anchor key that another follows ends a day later, an identity key when it is told to, or with `finish` by itself once the overlap is over (`rotation.overlap_days`). One that others may have ends at once.',
    parameters: [{ ...KEYS_LOG, example: 'team-a' }],
    body: body(rotateLogKey, 'key'),
    answers: {
      201: answer('NewLogKey', 'The new key, and what becomes of those before it.'),
      202: WAITING,
    },
    refusals: ['not_found', 'conflict', 'frozen', 'split_view'],
  },
  'POST /v1/admin/logs/{log}/keys/retire': {
    id: 'retireLogKey',
    tag: 'Administration',
    summary: 'End a key of the log itself',
    text: 'An entry of the log says so, and gives the last size that the key signs. What it signed up to there stays good. A second time is answered with the same entry.',
    parameters: [{ ...KEYS_LOG, example: 'team-a' }],
    body: body(retireLogKey, 'ended key'),
    answers: { 200: answer('EndedLogKey', 'The key, which has ended.'), 202: WAITING },
    refusals: ['not_found', 'conflict', 'frozen', 'split_view'],
  },
};

const ownKeys: Descriptions = {
  'POST /v1/admin/keys/rotate': {
    id: 'rotateOwnKey',
    tag: 'Administration',
    summary: 'Give the server itself another gateway key',
    text: '`access` signs what is told in access logs and in `_admin`, `proxy` the records of a proxy in this process. The new key signs at once; the old one is revoked a day later in every log, and one that others may have at once. No call is lost: what the old key signed is in its log before the source is handed over.',
    body: body(rotateOwnKey, 'own key'),
    answers: {
      201: answer('NewOwnKey', 'The new key, and what becomes of the old one.'),
      202: WAITING,
    },
    refusals: ['not_found'],
  },
};

const gateways: Descriptions = {
  'POST /v1/admin/logs/{log}/gateways/challenge': {
    id: 'challengeGateway',
    tag: 'Administration',
    summary: 'A challenge for a key that is to be registered',
    text: 'The key signs `PAE("application/vnd.stele.possession.v1", "stele possession v1\\n" + origin + "\\n" + keyid + "\\n" + challenge + "\\n")`, and the registration brings both. Good once, and until the server starts again.',
    parameters: [ADMIN_LOG],
    answers: { 201: answer('Challenge', 'Open until `expires`.') },
    refusals: ['not_found', 'pushback', 'split_view'],
  },
  'POST /v1/admin/logs/{log}/gateways': {
    id: 'registerGateway',
    tag: 'Administration',
    summary: 'Register a gateway’s key',
    text: 'An entry of the log says so: from that entry on, what the key signs is taken, within its period. A key that is registered already is answered with the entry that did it; with another period it is registered again.',
    parameters: [ADMIN_LOG],
    body: body(registerGateway, 'gateway'),
    answers: { 201: answer('Gateway', 'Registered.'), 202: WAITING },
    refusals: ['not_found', 'conflict', 'unverified', 'frozen', 'split_view'],
  },
  'GET /v1/admin/logs/{log}/gateways': {
    id: 'listGateways',
    tag: 'Administration',
    summary: 'A log’s keys',
    parameters: [ADMIN_LOG],
    answers: { 200: answer('Gateways', 'The keys, also those that were revoked.') },
    refusals: ['not_found', 'split_view'],
  },
  'DELETE /v1/admin/logs/{log}/gateways/{keyid}': {
    id: 'revokeGateway',
    tag: 'Administration',
    summary: 'Revoke a gateway’s key',
    text: 'An entry of the log says so. What the key signed before stays good. A second time is answered with the same entry.',
    parameters: [ADMIN_LOG, KEY],
    answers: { 200: answer('RevokedGateway', 'Revoked.'), 202: WAITING },
    refusals: ['not_found', 'conflict', 'frozen', 'split_view'],
  },
};

const tokens: Descriptions = {
  'POST /v1/admin/tokens': {
    id: 'createToken',
    tag: 'Administration',
    summary: 'Make a token',
    body: body(createToken, 'token'),
    answers: { 201: answer('NewToken', 'Made. The token is shown this once.'), 202: WAITING },
    refusals: ['conflict'],
  },
  'GET /v1/admin/tokens': {
    id: 'listTokens',
    tag: 'Administration',
    summary: 'Tokens',
    text: 'Without their secrets.',
    answers: { 200: answer('TokenList', 'The tokens.') },
  },
  'DELETE /v1/admin/tokens/{id}': {
    id: 'revokeToken',
    tag: 'Administration',
    summary: 'Revoke a token',
    parameters: [ID],
    answers: { 200: answer('RevokedToken', 'From now on it opens nothing.'), 202: WAITING },
    refusals: ['not_found', 'conflict'],
  },
};

const requests: Descriptions = {
  'GET /v1/admin/requests': {
    id: 'listRequests',
    tag: 'Administration',
    summary: 'Acts that wait for a second person',
    text: 'With `admin.two_persons`, acts on keys wait here until another holder approves them, for 7 days.',
    answers: { 200: answer('RequestList', 'The requests, the oldest first.') },
  },
  'POST /v1/admin/requests/{id}/approve': {
    id: 'approveRequest',
    tag: 'Administration',
    summary: 'Approve what somebody else asked for',
    text: 'It is done, and the answer is that of the act. Whoever asked for it cannot approve it, whatever tokens he has; nor is it done when the token that asked is good no more.',
    parameters: [REQUEST],
    answers: { 200: answer('Approved', 'Done.') },
    refusals: ['not_found', 'conflict', 'frozen', 'split_view'],
  },
  'DELETE /v1/admin/requests/{id}': {
    id: 'rejectRequest',
    tag: 'Administration',
    summary: 'Withdraw a request, or refuse one',
    text: 'Whoever asked withdraws it; with the role `approve` anybody’s is refused.',
    parameters: [REQUEST],
    answers: { 200: answer('RejectedRequest', 'It waits no more.') },
    refusals: ['not_found', 'conflict'],
  },
};

export const administrationDescriptions: Descriptions = {
  ...logs,
  ...logKeys,
  ...ownKeys,
  ...gateways,
  ...tokens,
  ...requests,
};
