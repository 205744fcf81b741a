/** How is a schema said on the page, in a few words? A named one by its name, a plain one by its bounds. */
import { type Html, html, prose } from './html.ts';
import { type Schema, shownNumber } from './schema.ts';

export function formatSchema(schema: Schema): Html {
  const name = nameOf(schema);
  if (name !== undefined) return html`<a href="#schema-${name}">${name}</a>`;
  const lines = schema['x-stele-lines'];
  if (lines !== undefined) {
    return html`a first line of ${formatSchema(lines[0])}, then lines of ${formatSchema(lines[1])}`;
  }
  if (schema.anyOf !== undefined) {
    return html`${schema.anyOf.map((one, i) => html`${i === 0 ? '' : ' or '}${formatSchema(one)}`)}`;
  }
  if (schema.type === 'object') return formatObject(schema);
  const words = wordsOf(schema);
  return html`${words.map((word, i) => html`${i === 0 ? '' : ', '}${word}`)}`;
}

export function jsonOf(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}

function nameOf({ $ref }: Schema): string | undefined {
  return $ref?.slice($ref.lastIndexOf('/') + 1);
}

/** An object without a name: its members, one a line. */
function formatObject({ properties = {}, patternProperties = {}, required = [] }: Schema): Html {
  const members = [...Object.entries(properties), ...Object.entries(patternProperties)];
  if (members.length === 0) return html`an object`;
  const items = members.map(([name, member]) => {
    const optional = required.includes(name) ? '' : ', optional';
    const text = member.description === undefined ? '' : html`. ${prose(member.description)}`;
    return html`<li><code>${name}</code>${optional}: ${formatSchema(member)}${text}</li>\n`;
  });
  return html`<ul class="members">\n${items}</ul>`;
}

function wordsOf(schema: Schema): Html[] {
  const { type, minimum, maximum, minLength, maxLength, pattern } = schema;
  const words: Html[] = [];
  if (schema.const !== undefined) return [html`<code>${String(schema.const)}</code>`];
  if (schema.enum !== undefined) {
    words.push(
      html`one of ${schema.enum.map((v, i) => html`${i === 0 ? '' : ', '}<code>${v}</code>`)}`,
    );
  } else if (type === 'array') {
    const item = formatSchema(schema.items ?? {});
    words.push(html`list${range(schema.minItems, schema.maxItems, '')}, each ${item}`);
  } else if (type === 'integer') {
    words.push(html`whole number${range(minimum, maximum, '')}`);
  } else {
    const what = type === 'string' ? 'text' : (type ?? 'bytes');
    words.push(
      html`${what}${range(minLength, maxLength, type === 'string' ? ' characters' : ' bytes')}`,
    );
  }
  if (pattern !== undefined) words.push(html`<code>${pattern}</code>`);
  if (schema.default !== undefined) words.push(html`default <code>${schema.default}</code>`);
  return words;
}

function range(min: number | undefined, max: number | undefined, unit: string): string {
  const top = max === Number.MAX_SAFE_INTEGER ? '2^53 − 1' : max && shownNumber(max);
  if (min === undefined) return top === undefined ? '' : ` of at most ${top}${unit}`;
  return top === undefined ? ` from ${min}${unit}` : ` from ${min} to ${top}${unit}`;
}
