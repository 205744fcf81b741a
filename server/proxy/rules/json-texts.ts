/**
 * The texts of a JSON document: each read, and replaced where it lies, so that not another byte changes.
 *
 * Parsing and writing anew would lose repeated members, long numbers and spelling, and the provider would get
 * another request than the caller sent in more than what a rule replaced.
 */

/** Whether this is JSON at all. */
export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether this begins as JSON does and is none here, while a reader that forgives more takes it for some: with a
 * byte-order mark, `NaN`, or a comma too many. What its texts say to that reader is not known.
 */
export function isAlmostJson(text: string): boolean {
  return /^\s*[{[]/.test(text) && !isJson(text);
}

/**
 * The document with each text that is a value, and no member's name, replaced by what `change` makes of it. `json`
 * is known to be JSON.
 */
export function changeTexts(json: string, change: (text: string) => string): string {
  const parts: string[] = [];
  let copied = 0;
  for (let at = json.indexOf('"'); at >= 0; ) {
    const end = endOfText(json, at);
    if (!isName(json, end)) {
      const text = JSON.parse(json.slice(at, end)) as string;
      const changed = change(text);
      if (changed !== text) {
        parts.push(json.slice(copied, at), JSON.stringify(changed));
        copied = end;
      }
    }
    at = json.indexOf('"', end);
  }
  parts.push(json.slice(copied));
  return parts.join('');
}

/** Behind the quote that ends the text which begins at `at`. */
function endOfText(json: string, at: number): number {
  for (let quote = json.indexOf('"', at + 1); ; quote = json.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (json[quote - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
  }
}

function isName(json: string, end: number): boolean {
  let at = end;
  while (' \t\r\n'.includes(json[at] ?? 'x')) at++;
  return json[at] === ':';
}
