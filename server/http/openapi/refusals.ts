/**
 * Which problems can a route answer with, and what does each look like?
 *
 * The codes that follow from what a route is (on a log, with a role, with a body) are added here; a
 * description names the rest. Statuses come from the table that answers themselves are made by.
 */
import { type Code, SteleError } from '../../core/errors.ts';
import { timedOut } from '../body.ts';
import type { Route } from '../call.ts';
import { lengthRequired, Refusal, STATUS, unsupportedType } from '../errors.ts';
import { PROTOBUF_TYPE, statusBody } from '../otlp-status.ts';
import { PROBLEM_TYPE, problemOf } from '../problem.ts';
import { FREE } from '../rates.ts';
import { ref } from './components.ts';
import { bytes, type Description, type Refused } from './description.ts';
import type { Schema } from './schema.ts';

/** The code that stands for a fault of the server, which has none. */
const FAULT = { code: 'fault', status: 500 } as const;

interface Case {
  readonly code: Code | typeof FAULT.code;
  readonly status: number;
}

const DETAILS = {
  malformed: 'query: parameter "sise" where the route knows none',
  unauthenticated: 'token 1f2e3d4c5b6a7988 expired at 2026-11-01T00:00:00.000000Z',
  forbidden: 'token 1f2e3d4c5b6a7988 has submit where read or content is needed',
  not_found: 'leaf 9 is not in a tree of 9',
  not_yet: 'receipt: not logged within 5 s',
  conflict:
    'record id 01890a5d-ac96-774b-bcce-b302099a8057 was used by 2 sources: name one with ?source=',
  too_large: 'body: 70000 bytes where at most 65535 are taken',
  unverified: 'signature 0: the equation does not hold',
  frozen: 'log team-a ended at size 81920',
  pushback: 'wait: 1024 requests wait already',
  storage: 'the disk has 12 MB left of the 512 MB it must keep free',
  split_view: 'the data folder is a copy',
} as const satisfies Record<Code, string>;

/** What HTTP defines, said by the functions that say it. */
const BY_HTTP: Readonly<Record<number, SteleError>> = {
  408: timedOut(1024, 60_000),
  411: lengthRequired(),
  415: unsupportedType('content-type', 'text/html', 'application/json'),
};

const TEXTS: Readonly<Record<number, string>> = {
  400: 'The path, a parameter or the body breaks its rules.',
  401: 'No token where one is needed, or one that is unknown, expired or revoked.',
  403: 'The caller is known and may not do this.',
  404: 'It does not exist, or not yet, or the caller may not know whether it does.',
  408: 'The body was not complete in time.',
  409: 'It contradicts what is already there.',
  411: 'The body was announced neither by length nor as chunked.',
  413: 'Over a bound, which the detail states.',
  415: 'A content type that the route does not take, or a content encoding.',
  422: 'A signature, proof or commitment does not hold.',
  423: 'The log takes no more entries.',
  429: 'Too much at once; nothing was accepted. Ask again after `retry_after`.',
  500: 'A fault of the server. Its log has the rest under the request id.',
  503: 'The disk or database refused, or there are two histories; nothing was promised.',
};

/** Response headers of a problem, beside those of every answer. */
const HEADERS: Readonly<Record<number, readonly string[]>> = {
  401: ['challenge'],
  429: ['retry'],
};

/** A route's problems by status, in order. */
export function refusalsOf(route: Route, description: Description): ReadonlyMap<number, Case[]> {
  const onLog = route.on === 'log';
  const needsRole = !['open', 'heads'].includes(route.access);
  const all: readonly Refused[] = [
    'malformed',
    'unauthenticated',
    ...(FREE.has(route.pattern) ? [] : (['pushback'] as const)),
    ...(needsRole ? (['forbidden'] as const) : []),
    ...(onLog ? (['not_found', 'split_view'] as const) : []),
    ...(description.body === undefined ? [] : OF_BODIES),
    ...(description.refusals ?? []),
    'storage',
  ];
  const cases = all.map((one) =>
    typeof one === 'string' ? { code: one, status: STATUS[one] } : one,
  );
  const byStatus = new Map<number, Case[]>();
  // What comes too slowly is to be sent again, and OTLP has one status for that.
  const said = route.rules === 'otlp' ? cases.filter(({ status }) => status !== 408) : cases;
  for (const one of [...said, FAULT].toSorted((a, b) => a.status - b.status)) {
    const known = byStatus.get(one.status) ?? [];
    if (!known.some(({ code }) => code === one.code)) byStatus.set(one.status, [...known, one]);
  }
  return byStatus;
}

const OF_BODIES: readonly Refused[] = [
  { code: 'malformed', status: 408 },
  { code: 'malformed', status: 411 },
  { code: 'malformed', status: 415 },
  'too_large',
];

/** The name under which routes share a response. */
export function responseName({ rules }: Route, status: number, cases: readonly Case[]): string {
  return `${rules === 'otlp' ? 'Status' : 'Problem'}${status}_${cases.map(({ code }) => code).join('_or_')}`;
}

export function responseOf({ rules }: Route, status: number, cases: readonly Case[]) {
  const said = {
    description: `${TEXTS[status]} Codes: ${cases.map(({ code }) => `\`${code}\``).join(', ')}.`,
    headers: Object.fromEntries(
      ['id', 'never', ...(HEADERS[status] ?? [])].map((name) => headerRef(name)),
    ),
  };
  const problem = {
    [PROBLEM_TYPE]: {
      schema: ref('Problem'),
      examples: Object.fromEntries(
        cases.map(({ code }) => [
          code,
          { $ref: `#/components/examples/${exampleName(status, code)}` },
        ]),
      ),
    },
  };
  const content: Said = rules === 'otlp' ? rpcStatusOf(cases) : problem;
  return { ...said, content };
}

/** A refusal's body by its media type. */
type Said = Readonly<
  Record<string, { readonly schema: Schema; readonly examples?: Readonly<Record<string, object>> }>
>;

/** A refusal as OTLP says it, in the form of the request. */
function rpcStatusOf(cases: readonly Case[]): Said {
  const said = (type: string) =>
    cases.map((one) => [one.code, statusBody(exampleOf(one).value, type).body] as const);
  const base64 = said(PROTOBUF_TYPE).map(([code, body]) => [
    code,
    {
      summary: 'The bytes, in base64',
      value: Buffer.from(body).toString('base64'),
      'x-stele-encoding': 'base64',
    },
  ]);
  const json = said('application/json').map(([code, body]) => [
    code,
    { value: JSON.parse(String(body)) as object },
  ]);
  return {
    [PROTOBUF_TYPE]: { schema: bytes(PROTOBUF_TYPE), examples: Object.fromEntries(base64) },
    'application/json': { schema: ref('RpcStatus'), examples: Object.fromEntries(json) },
  };
}

/** Each problem that is met, by the name of its example. */
export function exampleName(status: number, code: string): string {
  return `problem_${status}_${code}`;
}

export function exampleOf({ code, status }: Case) {
  const error = code === 'fault' ? new Error(code) : errorOf(code, status);
  return { value: problemOf(error, '5f3a0c-1k') };
}

function errorOf(code: Code, status: number): SteleError {
  if (status === STATUS[code]) return new SteleError(code, DETAILS[code]);
  return BY_HTTP[status] ?? new Refusal(code, 'the server is stopping', { status, retryAfterS: 5 });
}

/** Headers of answers by the key that is used here. */
export const ANSWER_HEADERS = {
  id: {
    name: 'x-request-id',
    description: 'The request’s id: its own, if it sent one of 1 to 64 of `A-Z a-z 0-9 _ -`.',
    required: true,
    pattern: '^[A-Za-z0-9_-]{1,64}$',
  },
  never: {
    name: 'cache-control',
    description: 'No error is ever cached.',
    required: true,
    pattern: '^no-store$',
  },
  caching: {
    name: 'cache-control',
    description: 'Who may keep the answer: nobody what needed a token.',
    required: true,
    pattern: '^(?:no-store|no-cache|private, no-store|public, max-age=31536000, immutable)$',
  },
  challenge: {
    name: 'www-authenticate',
    description: 'The scheme [RFC 6750 §3].',
    required: true,
    pattern: '^Bearer realm="stele"$',
  },
  retry: {
    name: 'retry-after',
    description: 'Whole seconds.',
    required: true,
    pattern: '^[1-9][0-9]*$',
  },
  etag: {
    name: 'etag',
    description: 'Of an answer that a stranger may have too.',
    required: false,
    pattern: '^"[A-Za-z0-9_-]{27}"$',
  },
  location: {
    name: 'location',
    description: 'The path of the entry.',
    required: true,
    pattern: '^/logs/[a-z0-9-]+/v1/entries/[0-9]+$',
  },
  disposition: {
    name: 'content-disposition',
    description: 'Never shown as a page of this origin.',
    required: true,
    pattern: '^attachment$',
  },
  policy: {
    name: 'content-security-policy',
    description: 'What a page made of it may do.',
    required: true,
    pattern: "^default-src 'none';",
  },
  vary: {
    name: 'vary',
    description: 'The answer depends on who asks.',
    required: true,
    pattern: '^Authorization$',
  },
} as const;

/** A reference to a header, under the name that it has in an answer. */
export function headerRef(key: string): [string, { readonly $ref: string }] {
  // Keys come from the tables of this folder, whose references a test resolves.
  const { name } = ANSWER_HEADERS[key as keyof typeof ANSWER_HEADERS];
  return [name, { $ref: `#/components/headers/${key}` }];
}
