/**
 * What is the whole description of this server? An OpenAPI 3.1 document, made from the router's own routes.
 *
 * What a route declares (method, path, roles, query parameters) is read off it; the rest is looked up by
 * method and pattern. A route without a description, a description without a route, and a parameter
 * that only one of the two knows are bugs. Examples of answers were recorded from a running server.
 */
import { invariant } from '../../core/errors.ts';
import { patternOf, type Route, shownPattern } from '../call.ts';
import { type Access, OPENED_BY } from '../roles.ts';
import { administrationDescriptions } from './administration.ts';
import { SCHEMAS } from './components.ts';
import { ctDescriptions } from './ct.ts';
import {
  type Answer,
  type Body,
  type Description,
  type Descriptions,
  type Parameter,
  TAGS,
} from './description.ts';
import recorded from './examples.json' with { type: 'json' };
import { headDescriptions } from './heads.ts';
import { ingestDescriptions } from './ingest.ts';
import { instanceDescriptions } from './instance.ts';
import { INTRODUCTION } from './introduction.ts';
import { LOG } from './parameters.ts';
import { readingDescriptions } from './reading.ts';
import {
  ANSWER_HEADERS,
  exampleName,
  exampleOf,
  headerRef,
  refusalsOf,
  responseName,
  responseOf,
} from './refusals.ts';
import { submittingDescriptions } from './submitting.ts';
import { witnessingDescriptions } from './witnessing.ts';

const DESCRIPTIONS: Descriptions = {
  ...headDescriptions,
  ...submittingDescriptions,
  ...ingestDescriptions,
  ...readingDescriptions,
  ...ctDescriptions,
  ...witnessingDescriptions,
  ...instanceDescriptions,
  ...administrationDescriptions,
};

/** Who may ask, in words. */
const WHO = {
  open: 'Open to everyone.',
  heads: 'Open to everyone; of a private log, to any token that is bound to it.',
  entries: 'Of a public log, open to everyone; else for the roles named here.',
  submit: 'For a token bound to the log.',
  content: 'For a token bound to the log.',
  keys: 'For a token bound to the log.',
  approve: 'For a token bound to the log, of another holder than the one who asked.',
  requests: 'Sees only what is about logs that the token is bound to.',
  metrics: 'For a token of one of the roles named here, whatever logs it is bound to.',
  admin: 'Sees and changes only the logs that the token is bound to.',
} as const satisfies Record<Access, string>;

export type Example = { readonly value: unknown } | { readonly base64: string };

const ANSWERS: Readonly<
  Record<string, Readonly<Record<string, Readonly<Record<string, Example>>>>>
> = recorded.answers;
const REQUESTS: Readonly<Record<string, Example>> = recorded.requests;

export type Operation = ReturnType<typeof operationOf>;
export type ApiDocument = ReturnType<typeof describeApi>;

/** The document of these routes. */
export function describeApi(routes: readonly Route[], version: string) {
  const paths: Record<string, Record<string, Operation>> = {};
  const responses: Record<string, ReturnType<typeof responseOf>> = {};
  const examples: Record<string, ReturnType<typeof exampleOf>> = {};
  const left = new Set(Object.keys(DESCRIPTIONS));
  for (const route of routes) {
    const key = `${route.method} ${shownPattern(route)}`;
    const description = DESCRIPTIONS[key];
    invariant(description !== undefined && left.delete(key), `one description of ${key}`);
    for (const [status, cases] of refusalsOf(route, description)) {
      responses[responseName(route, status, cases)] = responseOf(route, status, cases);
      if (route.rules === 'otlp') continue;
      for (const one of cases) examples[exampleName(status, one.code)] = exampleOf(one);
    }
    const path = (paths[pathOf(route)] ??= {});
    path[route.method.toLowerCase()] = operationOf(route, description);
  }
  invariant(left.size === 0, `a route for each of ${[...left].join(', ')}`);
  return {
    openapi: '3.1.1',
    info: {
      title: 'Stele',
      version,
      summary: 'A transparency log: signed entries in, proofs out.',
      description: INTRODUCTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: SCHEMAS,
      responses: sorted(responses),
      examples: sorted(examples),
      headers: Object.fromEntries(
        Object.entries(ANSWER_HEADERS).map(([key, { description, required, pattern }]) => [
          key,
          { description, required, schema: { type: 'string', pattern } },
        ]),
      ),
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'stele_<id>_<secret>',
          description: 'A token, bound to logs and roles. The names in a requirement are roles.',
        },
      },
    },
  };
}

/** A rest of several segments is written with "*" in a pattern. */
function pathOf(route: Route): string {
  return patternOf(route).replace('*}', '}');
}

function operationOf(route: Route, description: Description) {
  const { id, tag, summary, text, body, answers } = description;
  const { access } = route;
  const parameters = parametersOf(route, description);
  const responses = [
    ...Object.entries(answers).map(([status, answer]) => [status, answerOf(id, status, answer)]),
    ...[...refusalsOf(route, description)].map(([status, cases]) => [
      String(status),
      { $ref: `#/components/responses/${responseName(route, status, cases)}` },
    ]),
  ];
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: text === undefined ? WHO[access] : `${text}\n\n${WHO[access]}`,
    security: securityOf(access),
    'x-stele-access': access,
    ...(parameters.length === 0 ? {} : { parameters: parameters.map(parameterOf) }),
    ...(body === undefined ? {} : { requestBody: bodyOf(body) }),
    responses: Object.fromEntries(responses) as Record<string, unknown>,
  };
}

/** Any one of these opens it; the empty one is no token at all. */
function securityOf(access: Access): Record<string, readonly string[]>[] {
  const roles = OPENED_BY[access];
  if (roles.length === 0) return [{}, { bearer: [] }];
  const needed = roles.map((role) => ({ bearer: [role] }));
  return access === 'entries' ? [{}, ...needed] : needed;
}

function parametersOf(route: Route, { parameters = [] }: Description): readonly Parameter[] {
  const isNamed = route.on !== 'log' || parameters.some(({ name }) => name === 'log');
  const all = isNamed ? parameters : [LOG, ...parameters];
  const names = (place: string) => all.filter((one) => one.in === place).map(({ name }) => name);
  const inPath = [...pathOf(route).matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const rule = `the description of ${route.method} ${route.pattern} has its parameters`;
  invariant(names('path').join() === inPath.join(), rule);
  invariant(names('query').join() === (route.query ?? []).join(), rule);
  return all;
}

function parameterOf({ name, in: place, text, schema, required, example }: Parameter) {
  return {
    name,
    in: place,
    description: text,
    required: required ?? place === 'path',
    schema,
    example,
  };
}

function bodyOf({ text, types, encoding }: Body) {
  const content = Object.entries(types).map(([type, { schema, example }]) => {
    const found = REQUESTS[example];
    invariant(found !== undefined, `there is an example ${example}`);
    const parts = encoding === undefined || !type.startsWith('multipart/') ? {} : { encoding };
    return [type, { schema, examples: { [example]: shownExample(found) }, ...parts }];
  });
  return { description: text, required: true, content: Object.fromEntries(content) as Media };
}

type Media = Record<string, { readonly schema: object; readonly examples: object }>;

function answerOf(id: string, status: string, { text, types, headers = [] }: Answer) {
  const content = Object.entries(types).map(([type, schema]) => {
    const found = ANSWERS[id]?.[status]?.[type];
    const examples = found === undefined ? {} : { examples: { recorded: shownExample(found) } };
    return [type, { schema, ...examples }];
  });
  return {
    description: text,
    headers: Object.fromEntries(['id', 'caching', ...headers].map((key) => headerRef(key))),
    ...(content.length === 0 ? {} : { content: Object.fromEntries(content) as Media }),
  };
}

/** Bytes that are no text cannot stand in JSON; a program that sends the example decodes it. */
function shownExample(example: Example) {
  return 'value' in example
    ? { value: example.value }
    : { summary: 'The bytes, in base64', value: example.base64, 'x-stele-encoding': 'base64' };
}

function sorted<T>(table: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1)));
}
