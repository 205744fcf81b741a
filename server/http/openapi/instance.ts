/** What runs here, and this description itself. */
import { HTML_TYPE, JSON_TYPE } from '../answer.ts';
import { METRICS_TYPE } from '../routes/metrics.ts';
import { ref } from './components.ts';
import type { Answer, Descriptions } from './description.ts';
import { UNCHANGED } from './heads.ts';
import { IF_NONE_MATCH } from './parameters.ts';

function answer(name: Parameters<typeof ref>[0], text: string): Answer {
  return { text, types: { [JSON_TYPE]: ref(name) } };
}

const FOR_CALLER = { headers: ['vary'] } as const;

export const instanceDescriptions: Descriptions = {
  'GET /v1/logs': {
    id: 'listLogs',
    tag: 'Instance',
    summary: 'Logs that the caller may see',
    answers: { 200: { ...answer('LogList', 'The logs.'), ...FOR_CALLER } },
  },
  'GET /v1/keys': {
    id: 'listVerifierKeys',
    tag: 'Instance',
    summary: 'Verifier keys of those logs',
    text: 'In the form of C2SP signed-note. A key that you have from here alone proves nothing about who gave it to you.',
    answers: { 200: { ...answer('VerifierKeys', 'The keys.'), ...FOR_CALLER } },
    refusals: ['split_view'],
  },
  'GET /.well-known/stele': {
    id: 'getWellKnown',
    tag: 'Instance',
    summary: 'What this server is',
    answers: { 200: answer('WellKnown', 'Its name, version and places.') },
  },
  'GET /healthz': {
    id: 'getHealth',
    tag: 'Instance',
    summary: 'Whether the process answers',
    answers: { 200: answer('Health', 'It does.') },
  },
  'GET /readyz': {
    id: 'getReadiness',
    tag: 'Instance',
    summary: 'Whether entries would be taken',
    text: 'Unready is a server that would refuse every entry: it is stopping, its disk has no room, whoever holds its keys is away, or none of its logs takes anything. What is wrong with one log, or with the clock, is told and leaves it ready. Only logs that are open are looked at.',
    answers: { 200: { ...answer('Readiness', 'They would.'), ...FOR_CALLER } },
    refusals: ['split_view', { code: 'pushback', status: 503 }],
  },
  'GET /metrics': {
    id: 'getMetrics',
    tag: 'Instance',
    summary: 'The server’s figures, for Prometheus',
    answers: {
      200: {
        text: 'In the text format. Logs have rows as far as the token may know of them.',
        types: { [METRICS_TYPE]: { type: 'string' } },
      },
    },
  },
  'GET /openapi.json': {
    id: 'getDescription',
    tag: 'Instance',
    summary: 'This description, for programs',
    parameters: [IF_NONE_MATCH],
    answers: {
      200: {
        text: 'An OpenAPI 3.1 document.',
        types: { [JSON_TYPE]: { type: 'object', required: ['openapi', 'info', 'paths'] } },
        headers: ['etag'],
      },
      304: UNCHANGED,
    },
  },
  'GET /docs': {
    id: 'getReference',
    tag: 'Instance',
    summary: 'This description, for people',
    parameters: [IF_NONE_MATCH],
    answers: {
      200: {
        text: 'One page, without scripts.',
        types: { [HTML_TYPE]: { type: 'string' } },
        headers: ['etag', 'policy'],
      },
      304: UNCHANGED,
    },
  },
};
