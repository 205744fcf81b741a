/**
 * Which part of JSON Schema do the documents here speak, and how is a body's own check said in it?
 *
 * Administration bodies are judged by valibot schemas; what the document says of them is read off those
 * very objects, so a bound that is changed there is changed in the document. Only what bodies here use is
 * known; anything else is a bug, found by the first test that asks for the document.
 */
import { invariant } from '../../core/errors.ts';

/** A JSON Schema [2020-12], as far as it is used here. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: 'string' | 'integer' | 'boolean' | 'array' | 'object' | 'null';
  readonly description?: string;
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number)[];
  readonly pattern?: string;
  readonly format?: 'int64' | 'uri-reference';
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: number | string;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly anyOf?: readonly Schema[];
  readonly contentMediaType?: string;
  readonly contentEncoding?: 'base64' | 'base64url';
  /** Of a body of lines: what the first line is, and each that follows. */
  readonly 'x-stele-lines'?: readonly [Schema, Schema];
}

/** A closed object. A name that ends in "?" may be absent. */
export function object(members: Readonly<Record<string, Schema>>, description?: string): Schema {
  const names = Object.keys(members);
  return {
    type: 'object',
    ...(description === undefined ? {} : { description }),
    properties: Object.fromEntries(
      Object.entries(members).map(([name, schema]) => [name.replace(/\?$/, ''), schema]),
    ),
    required: names.filter((name) => !name.endsWith('?')),
    additionalProperties: false,
  };
}

export function list(items: Schema, bounds: Pick<Schema, 'minItems' | 'maxItems'> = {}): Schema {
  return { type: 'array', items, ...bounds };
}

/** A number as people write it: 65,535. */
export function shownNumber(n: number): string {
  return n.toLocaleString('en-US');
}

/** What a valibot schema accepts. */
export function schemaOf(schema: unknown): Schema {
  // Valibot's objects say what they are; their static types are made for checking, not for reading.
  const node = schema as Node;
  if (node.pipe !== undefined) return pipeOf(node.pipe);
  switch (node.type) {
    case 'string':
      return { type: 'string' };
    case 'number':
      return { type: 'integer' };
    case 'boolean':
      return { type: 'boolean' };
    case 'nullable':
      return { anyOf: [schemaOf(node.wrapped), { type: 'null' }] };
    case 'picklist':
      return { type: 'string', enum: node.options ?? [] };
    case 'array':
      return { type: 'array', items: schemaOf(node.item) };
    case 'strict_object':
      return objectOf(node.entries ?? {});
    default:
      invariant(false, `valibot's ${node.type} has a schema here`);
      return {};
  }
}

/** What is read of any of valibot's schemas and actions. */
interface Node {
  readonly type: string;
  readonly pipe?: readonly Node[];
  readonly options?: readonly string[];
  readonly item?: unknown;
  readonly entries?: Readonly<Record<string, Node>>;
  readonly wrapped?: unknown;
  readonly requirement?: unknown;
  readonly description?: string;
}

function objectOf(entries: Readonly<Record<string, Node>>): Schema {
  return object(
    Object.fromEntries(
      Object.entries(entries).map(([name, entry]) =>
        entry.type === 'exact_optional'
          ? [`${name}?`, schemaOf(entry.wrapped)]
          : [name, schemaOf(entry)],
      ),
    ),
  );
}

/** A schema and what it is narrowed by; the first may only say that it is an object at all. */
function pipeOf([first, ...actions]: readonly Node[]): Schema {
  if (first?.type === 'custom') return pipeOf(actions);
  const base = schemaOf(first);
  return Object.assign({}, base, ...actions.map((action) => boundOf(base, action))) as Schema;
}

function boundOf(base: Schema, { type, requirement, description }: Node): Schema {
  const isList = base.type === 'array';
  switch (type) {
    case 'regex':
      return { pattern: (requirement as RegExp).source };
    case 'min_length':
      return { [isList ? 'minItems' : 'minLength']: requirement as number };
    case 'max_length':
      return { [isList ? 'maxItems' : 'maxLength']: requirement as number };
    case 'min_value':
      return { minimum: requirement as number };
    case 'max_value':
      return { maximum: requirement as number };
    // Numbers here are whole: what is no integer has been said with the type.
    case 'integer':
      return {};
    case 'description':
      return { description: description ?? '' };
    // No repeats: the one check that a body here makes by a function.
    case 'check':
      return { uniqueItems: true };
    default:
      invariant(false, `valibot's ${type} has a schema here`);
      return {};
  }
}
