/** JSON that a reporter sent: read as leniently as others read it, within bounds. */
import { parseUtf8 } from '../core/bytes.ts';
import { malformed } from '../core/errors.ts';
import { parseLenient } from '../proxy/providers/values.ts';

/** Lists and objects inside one another: what is written again must not need more stack than there is. */
export const DEPTH_MAX = 200;

export function parseReported(bytes: Uint8Array, what: string): unknown {
  const text = parseUtf8(bytes, what);
  checkDepth(text, what);
  const value = parseLenient(text);
  if (value === undefined) throw malformed(what, 'it is not JSON');
  return value;
}

/** Only brackets outside of texts count. */
function checkDepth(text: string, what: string): void {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"':
        at = endOfText(text, at);
        break;
      case '[':
      case '{':
        depth++;
        if (depth > DEPTH_MAX) throw malformed(what, `nested deeper than ${DEPTH_MAX}`);
        break;
      case ']':
      case '}':
        depth--;
    }
  }
}

/** The quote that ends a text; the end of all where there is none. */
function endOfText(text: string, begin: number): number {
  for (let at = begin + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
  return text.length;
}
