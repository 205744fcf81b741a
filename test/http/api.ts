/**
 * A caller that knows of the server only what its OpenAPI document says.
 *
 * It makes requests of the document's examples, and holds each answer to what the document says of it.
 */
import { faultsOf, isObject, type Json, resolve, type Schema } from '../json-schema.ts';
import type { Answer, World } from './world.ts';

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly schema: Schema;
  readonly example: string | number;
}

interface Media {
  readonly schema: Schema;
  readonly examples?: Readonly<
    Record<string, { readonly value: Json; readonly 'x-stele-encoding'?: 'base64' }>
  >;
}

interface Response {
  readonly $ref?: string;
  readonly headers: Readonly<Record<string, { readonly $ref: string }>>;
  readonly content?: Readonly<Record<string, Media>>;
}

export interface Operation {
  readonly operationId: string;
  readonly security: readonly { readonly bearer?: readonly string[] }[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, Response>>;
}

export interface Place {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/** Every operation of a document. */
export function placesOf(document: unknown): Place[] {
  const { paths } = document as { paths: Record<string, Record<string, Operation>> };
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      id: operation.operationId,
      method: method.toUpperCase(),
      path,
      operation,
    })),
  );
}

export interface Wanted {
  readonly token?: string | undefined;
  /** By name; "" leaves an optional one out. Where none is given, the required ones have their example. */
  readonly values?: Readonly<Record<string, string | number>>;
  /** One of the body's media types; the first where none is given. */
  readonly type?: string;
  readonly body?: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The request that the examples make, with what is wanted otherwise. */
export function call(world: World, place: Place, wanted: Wanted = {}): Promise<Answer> {
  const { parameters = [], requestBody } = place.operation;
  const headers: Record<string, string> = { ...wanted.headers };
  const query: string[] = [];
  let { path } = place;
  for (const { name, in: where, required, example } of parameters) {
    const value = wanted.values?.[name] ?? (required ? example : undefined);
    if (value === undefined) continue;
    if (where === 'path') path = path.replace(`{${name}}`, String(value));
    else if (where === 'query') query.push(`${name}=${encodeURIComponent(value)}`);
    else headers[name] = Buffer.from(String(value)).toString('latin1');
  }
  if (query.length > 0) path += `${path.includes('?') ? '&' : '?'}${query.join('&')}`;
  const type = wanted.type ?? Object.keys(requestBody?.content ?? {})[0];
  const body = wanted.body ?? (type && requestBody && exampleBody(requestBody.content[type]));
  return world.ask(place.method, path, {
    token: wanted.token,
    headers,
    ...(body === undefined || body === '' ? {} : { body }),
    ...(type === undefined || type === '' ? {} : { type: fullType(type) }),
  });
}

const BOUNDARY = 'part-of-the-example';

function fullType(type: string): string {
  return type.startsWith('multipart/') ? `${type}; boundary=${BOUNDARY}` : type;
}

function exampleBody(media: Media | undefined): Uint8Array | string | undefined {
  const [example] = Object.values(media?.examples ?? {});
  if (example === undefined) return undefined;
  const { value } = example;
  if (example['x-stele-encoding'] === 'base64') return Buffer.from(String(value), 'base64');
  if (typeof value === 'string') return value;
  return isObject(value) && 'entry' in value ? multipart(value) : JSON.stringify(value);
}

/** The parts of an example, in its order. */
function multipart(parts: { readonly [name: string]: Json }): string {
  const pieces = Object.entries(parts).flatMap(([name, value]) =>
    (Array.isArray(value) ? (value as Json[]) : [value]).map((one) => {
      const type = typeof one === 'string' ? '' : 'content-type: application/json\r\n';
      const text = typeof one === 'string' ? one : JSON.stringify(one);
      return `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"\r\n${type}\r\n${text}\r\n`;
    }),
  );
  return `${pieces.join('')}--${BOUNDARY}--\r\n`;
}

/** Where an answer is not what the document says; nothing if it is. */
export function breaches(document: unknown, { operation }: Place, answer: Answer): string[] {
  const { status, headers, text } = answer;
  const named = operation.responses[status];
  const what = `${status} ${text.slice(0, 200)}`;
  if (named === undefined) return [`${what}: this status is not described`];
  const response = (named.$ref ? resolve(document, named.$ref) : named) as Response;
  const ofHeaders = Object.entries(response.headers).flatMap(([name, { $ref }]) => {
    const header = resolve(document, $ref) as { required: boolean; schema: Schema };
    const value = headers[name];
    if (value === undefined) return header.required ? [`${what}: has no ${name}`] : [];
    return faultsOf(String(value), header.schema, document, name);
  });
  return [...ofHeaders, ...bodyBreaches(document, response, answer, what)];
}

function bodyBreaches(document: unknown, response: Response, answer: Answer, what: string) {
  const type = answer.headers['content-type'];
  if (response.content === undefined) {
    return answer.bytes.length === 0 && type === undefined ? [] : [`${what}: has a body`];
  }
  const media = response.content[type ?? ''];
  if (media === undefined) return [`${what}: ${type} is not described`];
  const faults = bodyFaults(document, type ?? '', media.schema, answer).map((f) => `${what}: ${f}`);
  if (type !== 'application/problem+json') return faults;
  const code = answer.json().code ?? 'fault';
  const isNamed = String(code) in (media.examples ?? {});
  return isNamed ? faults : [...faults, `${what}: the code ${code} is not described`];
}

function bodyFaults(document: unknown, type: string, schema: Schema, answer: Answer): string[] {
  const lines = schema['x-stele-lines'] as readonly [Schema, Schema] | undefined;
  if (lines !== undefined) {
    // A feed may be empty, and has empty lines while its log is quiet.
    const texts = answer.text.split('\n').filter((line) => line !== '');
    return texts.flatMap((line, i) => faultsOf(JSON.parse(line), lines[i === 0 ? 0 : 1], document));
  }
  if (/^application\/(?:.*\+)?json$/.test(type)) {
    return faultsOf(JSON.parse(answer.text), schema, document);
  }
  if (schema.type === 'string') return faultsOf(answer.text, schema, document);
  const max = Number(schema.maxLength ?? Number.POSITIVE_INFINITY);
  return answer.bytes.length > max ? [`${answer.bytes.length} bytes`] : [];
}
