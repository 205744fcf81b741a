/**
 * How is a path spelled that a stranger may have spelled in other ways? It is looked at like this, and forwarded as
 * it came.
 *
 *     /v1/%63hat//completions/  →  /v1/chat/completions
 *
 * [RFC 3986 §2.3] Unreserved characters are the same with percent encoding and without. So is a colon, to every
 * server that has one in its paths. An encoded slash is not, since names have some (Bedrock's ARNs): it stays.
 */
const SAME = /%(?:2[de]|3[0-9a]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi;

export function plainPath(path: string): string {
  const plain = path.replace(SAME, decodeURIComponent).replace(/\/{2,}/g, '/');
  return plain.endsWith('/') ? plain.slice(0, -1) : plain;
}
