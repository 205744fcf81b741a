/** `/v1/admin`: logs, gateways, keys, tokens. The bodies' schemas are those that judge them. */
import { JSON_TYPE } from '../answer.ts';
import { NewGateway } from '../routes/admin-gateways.ts';
import { NewLog } from '../routes/admin-logs.ts';
import { NewToken } from '../routes/admin-tokens.ts';
import { ADMIN_BYTES_MAX } from '../settings.ts';
import { TOKEN_ID } from '../tokens.ts';
import { ref } from './components.ts';
import type { Answer, Body, Descriptions, Parameter } from './description.ts';
import examples from './examples.json' with { type: 'json' };
import { KEY } from './parameters.ts';
import { schemaOf, shownNumber } from './schema.ts';

function body(schema: unknown, example: string): Body {
  return {
    text: `JSON of at most ${shownNumber(ADMIN_BYTES_MAX)} bytes.`,
    types: { [JSON_TYPE]: { schema: schemaOf(schema), example } },
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

const ID: Parameter = {
  name: 'id',
  in: 'path',
  text: 'The token’s id, as it stands in the token after `stele_`.',
  schema: { type: 'string', pattern: TOKEN_ID.source },
  example: examples.values.token_id,
};

const logs: Descriptions = {
  'POST /v1/admin/logs': {
    id: 'createLog',
    tag: 'Administration',
    summary: 'Create a log',
    text: 'With its keys, its genesis entry, and its access log.',
    body: body(NewLog, 'log'),
    answers: { 201: answer('Log', 'Created.') },
    refusals: ['conflict', 'split_view'],
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
  'GET /v1/admin/keys': {
    id: 'listLoggedKeys',
    tag: 'Administration',
    summary: 'Every key that is or was registered',
    answers: { 200: answer('LoggedKeys', 'The keys, log by log.') },
    refusals: ['split_view'],
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
    body: body(NewGateway, 'gateway'),
    answers: { 201: answer('Gateway', 'Registered.') },
    refusals: ['not_found', 'unverified', 'frozen', 'split_view'],
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
    answers: { 200: answer('RevokedGateway', 'Revoked.') },
    refusals: ['not_found', 'frozen', 'split_view'],
  },
};

const tokens: Descriptions = {
  'POST /v1/admin/tokens': {
    id: 'createToken',
    tag: 'Administration',
    summary: 'Make a token',
    body: body(NewToken, 'token'),
    answers: { 201: answer('NewToken', 'Made. The token is shown this once.') },
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
    answers: { 200: answer('RevokedToken', 'From now on it opens nothing.') },
    refusals: ['not_found'],
  },
};

export const administrationDescriptions: Descriptions = { ...logs, ...gateways, ...tokens };
