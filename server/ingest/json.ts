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

function checkDepth(text: string, what: string): void {
  let depth = 0;
  for (const token of text.matchAll(/"(?:[^"\\]|\\.)*"?|[[{]|[\]}]/gs)) {
    if (token[0] === '[' || token[0] === '{') depth++;
    else if (token[0] === ']' || token[0] === '}') depth--;
    if (depth > DEPTH_MAX) throw malformed(what, `nested deeper than ${DEPTH_MAX}`);
  }
}
