/**
 * How do people read the description? As one page, made from the document and from nothing else.
 *
 * It loads nothing and runs nothing: examples open and close by `<details>`, and in print all are open. A
 * link into a closed one opens it, since what it names lies inside.
 */
import type { ApiDocument, Operation } from './document.ts';
import { type Html, html, paragraphs, prose } from './html.ts';
import { formatSchema, jsonOf } from './page-schema.ts';
import { STYLE } from './style.ts';

export { STYLE } from './style.ts';

interface Place {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

export function formatPage(document: ApiDocument): string {
  const { info, tags, paths } = document;
  const places = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation,
    })),
  );
  const groups = tags.map((tag) => ({
    ...tag,
    places: places.filter(({ operation }) => operation.tags.some((name) => name === tag.name)),
  }));
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${info.title} API reference</title>
<style>`;
  return `${page.text}${STYLE}${
    html`</style>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<nav aria-label="Routes">
<p class="brand"><a href="#content">${info.title} <small>${info.version}</small></a></p>
<ul>
${groups.map(formatContents)}<li><a href="#problems">Problems</a></li>
<li><a href="#schemas">Schemas</a></li>
</ul>
</nav>
<main id="content" tabindex="-1">
<header>
<h1>${info.title} API reference</h1>
<p class="lead">${info.summary}</p>
${paragraphs(info.description)}<p>For programs: <a href="openapi.json"><code>/openapi.json</code></a>, OpenAPI ${document.openapi}.</p>
</header>
${groups.map(({ name, description, places: of }) => formatGroup(document, name, description, of))}${formatProblems(document)}${formatSchemas(document)}</main>
</body>
</html>
`.text
  }`;
}

function formatContents(group: { readonly name: string; readonly places: readonly Place[] }): Html {
  const items = group.places.map(
    ({ method, operation }) =>
      html`<li><a href="#${operation.operationId}"><span class="verb ${method}">${method}</span> ${operation.summary}</a></li>\n`,
  );
  return html`<li><a href="#tag-${group.name}">${group.name}</a>\n<ul>\n${items}</ul></li>\n`;
}

function formatGroup(
  document: ApiDocument,
  name: string,
  text: string,
  places: readonly Place[],
): Html {
  return html`<section aria-label="${name}">
<h2 id="tag-${name}">${name}</h2>
<p>${prose(text)}</p>
${places.map((place) => formatOperation(document, place))}</section>
`;
}

function formatOperation(document: ApiDocument, { method, path, operation }: Place): Html {
  const { operationId: id, summary, description, parameters, requestBody } = operation;
  return html`<article aria-label="${summary}">
<h3 id="${id}">${summary}</h3>
<p class="route"><span class="verb ${method}">${method}</span> <code>${pathWithBreaks(path)}</code></p>
${paragraphs(description)}${formatRoles(operation)}${parameters === undefined ? '' : formatParameters(parameters)}${requestBody === undefined ? '' : formatBody(requestBody)}${formatAnswers(document, operation)}</article>
`;
}

/** A long path may break before each of its slashes. */
function pathWithBreaks(path: string): Html[] {
  return path.split('/').map((part, i) => (i === 0 ? html`${part}` : html`<wbr>/${part}`));
}

function formatRoles({ security }: Operation): Html | string {
  const roles = security.flatMap(({ bearer = [] }) => bearer);
  if (roles.length === 0) return '';
  return html`<p class="roles">Roles: ${roles.map((role, i) => html`${i === 0 ? '' : ' or '}<code>${role}</code>`)}</p>\n`;
}

function formatParameters(parameters: NonNullable<Operation['parameters']>): Html {
  const rows = parameters.map(
    (
      one,
    ) => html`<tr><th scope="row"><code>${one.name}</code><small>${one.in}${one.required ? ', required' : ''}</small></th>
<td>${prose(one.description)} <span class="bound">${formatSchema(one.schema)}</span></td>
<td><code>${one.example}</code></td></tr>\n`,
  );
  return html`<h4>Parameters</h4>
<div class="wide" tabindex="0" role="region" aria-label="Parameters"><table>
<thead><tr><th scope="col">Name</th><th scope="col">Meaning</th><th scope="col">Example</th></tr></thead>
<tbody>${rows}</tbody></table></div>
`;
}

type Content = Readonly<Record<string, { readonly schema: object; readonly examples?: object }>>;

function formatBody({ description, content }: NonNullable<Operation['requestBody']>): Html {
  return html`<h4>Body</h4>\n<p>${prose(description)}</p>\n${formatContent(content)}`;
}

/** Media types of one form share its schema and its example. */
function formatContent(content: Content): Html[] {
  const forms = Map.groupBy(Object.entries(content), ([, media]) => JSON.stringify(media));
  return [...forms.values()].map((of) => {
    const [, media] = of[0] ?? ['', { schema: {} }];
    const types = of.map(([type], i) => html`${i === 0 ? '' : ', '}<code>${type}</code>`);
    return html`<div class="media">${types}: ${formatSchema(media.schema)}</div>\n${formatExamples(media.examples)}`;
  });
}

function formatExamples(examples: object = {}): Html[] {
  return Object.values(examples).map((example: { summary?: string; value: unknown }) => {
    const { summary, value } = example;
    const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2);
    return html`<details><summary>Example${summary === undefined ? '' : `: ${summary.toLowerCase()}`}</summary>
<pre tabindex="0"><code>${text}</code></pre></details>\n`;
  });
}

interface Response {
  readonly $ref?: string;
  readonly description?: string;
  readonly content?: Content;
}

function formatAnswers({ components }: ApiDocument, { responses }: Operation): Html {
  const answers: Html[] = [];
  const refusals: Html[] = [];
  for (const [status, value] of Object.entries(responses)) {
    const { $ref, description = '', content = {} } = value as Response;
    if ($ref === undefined) {
      answers.push(
        html`<div class="answer"><p><b class="status">${status}</b> ${prose(description)}</p>\n${formatContent(content)}</div>\n`,
      );
      continue;
    }
    const name = $ref.slice($ref.lastIndexOf('/') + 1);
    const codes = Object.keys(
      components.responses[name]?.content['application/problem+json']?.examples ?? {},
    );
    const links = codes.map((code) => html`<a href="#problem_${status}_${code}">${code}</a> `);
    const shown = links.length > 0 ? links : html`as a Status of OTLP`;
    refusals.push(html`<li><b class="status">${status}</b> ${shown}</li>\n`);
  }
  return html`<h4>Answers</h4>\n${answers}<p>Refused with:</p>\n<ul class="refusals">\n${refusals}</ul>\n`;
}

function formatProblems({ components }: ApiDocument): Html {
  const problems = Object.entries(components.examples).map(([name, { value }]) => {
    const text = JSON.stringify(value, undefined, 2);
    const { status, title, code = 'no code' } = value;
    return html`<article aria-label="${status} ${code}"><h3 id="${name}">${status} ${title}</h3>
<p><code>${code}</code></p><pre tabindex="0"><code>${text}</code></pre></article>\n`;
  });
  return html`<section aria-label="Problems">
<h2 id="problems">Problems</h2>
<p>Every refusal is one of these, as <code>application/problem+json</code>, never cached.</p>
<div class="grid">${problems}</div></section>
`;
}

function formatSchemas({ components }: ApiDocument): Html {
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => html`<details><summary>${name}</summary>
<pre id="schema-${name}" tabindex="0"><code>${jsonOf(schema)}</code></pre></details>\n`,
  );
  return html`<section aria-label="Schemas">
<h2 id="schemas">Schemas</h2>
<p>JSON Schema 2020-12.</p>
${schemas}</section>
`;
}
