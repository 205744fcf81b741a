/** The API's description: complete, sound in itself, with examples that fit. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { canonicalize } from '../../server/core/canonical.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { CODES } from '../../server/core/errors.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { patternOf } from '../../server/http/call.ts';
import { STATUS } from '../../server/http/errors.ts';
import { describeApi } from '../../server/http/openapi/document.ts';
import { OPENED_BY } from '../../server/http/roles.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { faultsOf, isObject, type Json, KEYWORDS, resolve, type Schema } from '../json-schema.ts';
import { placesOf } from './api.ts';

const routes = allRoutes({} as never);
/** As programs get it. */
const document = JSON.parse(JSON.stringify(describeApi(routes, '0.0.0'))) as {
  readonly [member: string]: Json;
};
const places = placesOf(document);

function pathOf(route: (typeof routes)[number]): string {
  return patternOf(route).replace('*}', '}');
}

/** Every object of the document, with its place. */
function* nodes(node: Json, path: readonly string[] = []): Generator<[readonly string[], Schema]> {
  if (typeof node !== 'object' || node === null) return;
  if (isObject(node)) yield [path, node];
  for (const [name, member] of Object.entries(node)) yield* nodes(member, [...path, name]);
}

describe('the document', () => {
  test('has every route of the router, and no other', () => {
    const ofRouter = routes.map((route) => `${route.method} ${pathOf(route)}`);
    const described = places.map(({ method, path }) => `${method} ${path}`);
    expect(described.toSorted()).toEqual(ofRouter.toSorted());
  });

  test('is made of the routes: one that is not described, or is gone, is a bug', () => {
    const [first, ...rest] = routes;
    expect(() => describeApi([...routes, { ...first!, pattern: '/new' }], '0')).toThrow('/new');
    expect(() => describeApi(rest, '0')).toThrow('LOG/checkpoint');
    expect(() => describeApi([{ ...first!, query: ['new'] }, ...rest], '0')).toThrow('parameters');
  });

  test.each(places.map((place) => [place.id, place] as const))(
    '%s names the roles that its route has',
    (_, { method, path, operation }) => {
      const { access } = routes.find((one) => one.method === method && pathOf(one) === path)!;
      const roles = operation.security.flatMap(({ bearer = [] }) => bearer);
      expect(roles).toEqual(OPENED_BY[access]);
      const isOpen = operation.security.some((one) => Object.keys(one).length === 0);
      expect(isOpen).toBe(['open', 'heads', 'entries'].includes(access));
    },
  );

  test('has references that all lead somewhere', () => {
    let count = 0;
    for (const [path, { $ref }] of nodes(document)) {
      if (typeof $ref !== 'string') continue;
      expect(resolve(document, $ref), `${path.join('/')} → ${$ref}`).toBeDefined();
      count += 1;
    }
    expect(count).toBeGreaterThan(300);
  });

  test('has no component that nothing refers to', () => {
    const used = new Set([...nodes(document)].map(([, { $ref }]) => $ref));
    for (const [kind, table] of Object.entries(document.components as { [k: string]: Json })) {
      if (kind === 'securitySchemes') continue;
      for (const name of Object.keys(table as object)) {
        expect(used, `${kind}/${name}`).toContain(`#/components/${kind}/${name}`);
      }
    }
  });

  test('has an id of its own for each operation, a summary, a known tag, and answers', () => {
    expect(new Set(places.map(({ id }) => id)).size).toBe(places.length);
    const tags = (document.tags as unknown as { name: string }[]).map(({ name }) => name);
    for (const { id, operation } of places) {
      const {
        summary,
        tags: of,
        responses,
      } = operation as unknown as {
        summary: string;
        tags: string[];
        responses: object;
      };
      expect(id).toMatch(/^[a-z][A-Za-z]+$/);
      expect(summary).toMatch(/^[A-Z].*[^.]$/);
      expect(of.length).toBe(1);
      expect(tags).toContain(of[0]);
      expect(Object.keys(responses).filter((status) => status < '300').length).toBeGreaterThan(0);
    }
  });

  test('describes each code under a status that it has', () => {
    const met = new Set<string>();
    for (const [name, value] of Object.entries(examples())) {
      const problem = value.value as unknown as { code?: (typeof CODES)[number]; status: number };
      expect(name).toBe(`problem_${problem.status}_${problem.code ?? 'fault'}`);
      if (problem.code === undefined) expect(problem.status).toBe(500);
      else met.add(problem.code);
    }
    expect([...met].toSorted()).toEqual([...CODES].toSorted());
    for (const code of CODES) expect(examples()).toHaveProperty(`problem_${STATUS[code]}_${code}`);
  });

  function examples() {
    return (document.components as unknown as { examples: Record<string, { value: Json }> })
      .examples;
  }
});

/** What OpenAPI 3.1 lets an object of each kind have, as far as this document uses it. */
const MEMBERS: Readonly<
  Record<string, { required: readonly string[]; optional: readonly string[] }>
> = {
  document: {
    required: ['openapi', 'info', 'paths', 'components'],
    optional: ['servers', 'tags'],
  },
  info: { required: ['title', 'version'], optional: ['summary', 'description', 'license'] },
  operation: {
    required: ['operationId', 'responses'],
    optional: [
      'tags',
      'summary',
      'description',
      'security',
      'parameters',
      'requestBody',
      'x-stele-access',
    ],
  },
  parameter: {
    required: ['name', 'in', 'schema'],
    optional: ['description', 'required', 'example'],
  },
  requestBody: { required: ['content'], optional: ['description', 'required'] },
  response: { required: ['description'], optional: ['headers', 'content'] },
  media: { required: ['schema'], optional: ['examples', 'encoding'] },
  header: { required: ['schema'], optional: ['description', 'required'] },
  example: { required: ['value'], optional: ['summary', 'x-stele-encoding'] },
};

describe('in the form of OpenAPI 3.1', () => {
  const each = <T>(table: unknown): T[] => Object.values((table ?? {}) as Record<string, T>);

  function check(kind: keyof typeof MEMBERS, value: unknown): void {
    const names = Object.keys(value as object);
    const { required, optional } = MEMBERS[kind]!;
    expect(names, kind).toEqual(expect.arrayContaining([...required]));
    expect([...required, ...optional], kind).toEqual(expect.arrayContaining(names));
  }

  function checkMedia(content: unknown): void {
    for (const [type, media] of Object.entries(
      (content ?? {}) as Record<string, { examples?: object }>,
    )) {
      expect(type).toMatch(/^[a-z]+\/[a-z0-9.+-]+(?:; [a-z]+=[a-z0-9.-]+)*$/);
      check('media', media);
      for (const one of each<object>(media.examples)) if (!('$ref' in one)) check('example', one);
    }
  }

  test('is each object', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    check('document', document);
    check('info', document.info);
    const components = document.components as unknown as Record<string, object>;
    for (const header of each(components.headers)) check('header', header);
    for (const example of each(components.examples)) check('example', example);
    for (const response of each<{ content?: object }>(components.responses)) {
      check('response', response);
      checkMedia(response.content);
    }
    for (const name of each<object>(components).flatMap((table) => Object.keys(table))) {
      expect(name).toMatch(/^[A-Za-z0-9._-]+$/);
    }
  });

  test.each(places.map((place) => [place.id, place] as const))(
    'is %s',
    (_, { path, operation }) => {
      check('operation', operation);
      const { parameters = [], requestBody, responses } = operation;
      for (const parameter of parameters) {
        check('parameter', parameter);
        if (parameter.in === 'path') expect(parameter.required).toBe(true);
      }
      const names = parameters.map((one) => `${one.in} ${one.name}`);
      expect(new Set(names).size).toBe(names.length);
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => `path ${name}`);
      expect(names.filter((name) => name.startsWith('path '))).toEqual(inPath);
      if (requestBody !== undefined) {
        check('requestBody', requestBody);
        checkMedia(requestBody.content);
      }
      for (const [status, response] of Object.entries(responses)) {
        expect(status).toMatch(/^[2-5]\d\d$/);
        if (response.$ref !== undefined) continue;
        check('response', response);
        checkMedia(response.content);
      }
    },
  );

  test('uses only keywords of JSON Schema that the checker here knows', () => {
    const { components } = document as unknown as { components: { schemas: Record<string, Json> } };
    const schemas = [
      ...Object.values(components.schemas),
      ...[...nodes(document)].flatMap(([, node]) => ('schema' in node ? [node.schema!] : [])),
    ];
    expect(schemas.length).toBeGreaterThan(150);
    for (const schema of schemas) checkKeywords(schema as Schema);
  });

  function checkKeywords(schema: Schema): void {
    for (const [keyword, value] of Object.entries(schema)) {
      expect(KEYWORDS).toContain(keyword);
      if (keyword === 'pattern') expect(() => new RegExp(String(value), 'u')).not.toThrow();
      if (keyword === 'items') checkKeywords(value as Schema);
      if (keyword === 'anyOf' || keyword === 'x-stele-lines') {
        for (const one of value as Schema[]) checkKeywords(one);
      }
      if (keyword === 'properties' || keyword === 'patternProperties') {
        for (const one of Object.values(value as { [k: string]: Schema })) checkKeywords(one);
      }
      if (keyword === 'required' && schema.properties !== undefined) {
        expect(Object.keys(schema.properties as object)).toEqual(
          expect.arrayContaining(value as string[]),
        );
      }
    }
  }
});

describe('examples', () => {
  test.each(places.map((place) => [place.id, place] as const))('of %s fit', (_, { operation }) => {
    const { parameters = [], requestBody, responses } = operation;
    for (const { name, schema, example } of parameters) {
      expect(faultsOf(example, schema, document, name)).toEqual([]);
    }
    const answers = Object.values(responses).map(({ $ref, ...own }) =>
      $ref === undefined ? own : (resolve(document, $ref) as typeof own),
    );
    for (const { content = {} } of [...(requestBody ? [requestBody] : []), ...answers]) {
      for (const [type, { schema, examples = {} }] of Object.entries(content)) {
        const all = Object.values(examples as Record<string, { $ref?: string; value: Json }>);
        // Only this description and its page hold no example of themselves.
        const isOwn = ['/openapi.json', '/docs'].some((p) => placeOf(operation) === p);
        expect(all.length, type).toBeGreaterThan(isOwn && schema.$ref === undefined ? -1 : 0);
        for (const { $ref, value } of all) {
          const example =
            $ref === undefined ? value : (resolve(document, $ref) as { value: Json }).value;
          for (const [part, of] of partsOf(schema, example)) {
            expect(faultsOf(part, of, document, type)).toEqual([]);
          }
        }
      }
    }
  });

  function placeOf(operation: unknown): string | undefined {
    return places.find((place) => place.operation === operation)?.path;
  }

  /** An example of lines is judged line by line. */
  function partsOf(schema: Schema, example: Json): [Json, Schema][] {
    const lines = schema['x-stele-lines'] as readonly [Schema, Schema] | undefined;
    if (lines === undefined) return [[example, schema]];
    const texts = String(example).trimEnd().split('\n');
    return texts.map((line, i) => [JSON.parse(line) as Json, lines[i === 0 ? 0 : 1]]);
  }

  test('the receipt holds, under the keys that the examples show', () => {
    const example = exampleOf('submitEntry', '201', 'application/vnd.stele.receipt.v1+json');
    const keys = exampleOf('listVerifierKeys', '200', 'application/json') as unknown as {
      keys: { vkey: string; origin: string; purpose: string }[];
    };
    const ofLog = keys.keys.filter(({ origin }) => origin === keys.keys[0]!.origin);
    const gateway = exampleOf('listGateways', '200', 'application/json') as unknown as {
      gateways: { keyid: string; alg: string; spki: string }[];
    };
    const trust = parseTrust(
      utf8(
        JSON.stringify({
          format: 'stele.trust/1',
          logs: [
            {
              origin: ofLog[0]!.origin,
              keys: ofLog.map(({ vkey }) => ({ vkey })),
              gateways: gateway.gateways.map(({ keyid, alg, spki }) => ({ keyid, alg, spki })),
            },
          ],
        }),
      ),
    );
    const verdict = verifyReceipt(utf8(`${canonicalize(example)}\n`), trust);
    expect(verdict.steps.filter(({ status }) => status === 'invalid')).toEqual([]);
    expect(verdict.holds).toBe(true);
  });

  test('the entry in base64 is one', () => {
    const request = places.find(({ id }) => id === 'submitEntry')!.operation.requestBody!;
    const [example] = Object.values(request.content['application/protobuf']!.examples!);
    expect(decodeEntry(Buffer.from(String(example!.value), 'base64')).signatures.length).toBe(1);
  });

  function exampleOf(id: string, status: string, type: string): Json {
    const { operation } = places.find((place) => place.id === id)!;
    return Object.values(operation.responses[status]!.content![type]!.examples!)[0]!.value;
  }
});
