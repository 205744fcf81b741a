/**
 * How does text become HTML? Everything is escaped unless it was made here.
 *
 * A template tag: what is put into it is text, or HTML that another template made, or a list of both.
 */

/** Text that is HTML already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | undefined | readonly Part[];

export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  const pieces = strings.map((text, i) => text + (i < parts.length ? formatPart(parts[i]) : ''));
  return new Html(pieces.join(''));
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function formatPart(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(formatPart).join('');
  return String(part).replace(/[&<>"']/g, (character) => ESCAPES[character] ?? '');
}

/** Prose of the description: paragraphs apart by an empty line, code between backticks. */
export function paragraphs(text: string): Html[] {
  return text.split('\n\n').map((one) => html`<p>${prose(one)}</p>\n`);
}

export function prose(text: string): Html[] {
  return text.split('`').map((one, i) => (i % 2 === 1 ? html`<code>${one}</code>` : html`${one}`));
}
