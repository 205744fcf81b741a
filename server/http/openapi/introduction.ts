/** What holds for every route, said once at the head of the description. */
import { HEADERS_MAX } from '../request-head.ts';
import { HEADER_BYTES_MAX } from '../settings.ts';
import { shownNumber } from './schema.ts';

export const INTRODUCTION = [
  'Every log is one base URL, `/logs/{log}`. Signed entries go in and receipts come out; heads, proofs and tiles are open to strangers, so that a log can be witnessed.',
  'A path has one spelling. One with `%`, `//`, a segment `.` or `..`, or `/` at its end is refused, never repaired; so is a query parameter that the route does not know (but under `ct/v1`, where the standard has it ignored), or one given twice. Numbers are plain decimals without sign or leading zero, at most 9007199254740991.',
  'A token comes as `authorization: Bearer stele_…`. One that is sent but unknown, expired or revoked is refused with 401 on every route, also where none is needed. A private log answers a caller without a token for it exactly as a log that does not exist.',
  `Every refusal is a problem document [RFC 9457] with a \`code\`. Beside those of each route there are 405 for a method that a path does not have (with \`allow\`), 431 for more than ${shownNumber(HEADER_BYTES_MAX)} bytes of headers or more than ${HEADERS_MAX} of them, 408 for headers that are not complete in time, 417 for an \`expect\` other than \`100-continue\`, 501 for a \`transfer-encoding\` other than \`chunked\`, and 505 for HTTP/0.9.`,
  'A caller has a share: each token so many requests a second, and so has each address for requests without a good token. A request costs one, a batch one more for each 4 entries, a page of entries one more for each 64, `/v1/keys` one more for each log. Beyond it the answer is 429 `pushback` with `retry-after`, before anything of a body is read. What is refused with a 5xx or 429 is given back.',
  '`HEAD` works wherever `GET` does, but not for content: nobody’s content is read to throw it away. `OPTIONS` answers 204 with `allow`. Pages of any origin may read what a stranger may read.',
  'Every answer tells browsers that it is data: `x-content-type-options`, `content-security-policy`, `referrer-policy`, `cross-origin-resource-policy`, and over the server’s own TLS `strict-transport-security`.',
  'Only what never changes and what a stranger may have is kept by shared caches. Bytes in JSON are standard base64 with padding; identifiers are lower-case hex.',
].join('\n\n');
