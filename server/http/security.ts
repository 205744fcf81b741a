/**
 * What is a browser told that gets hold of an answer? That it is data, and may do nothing.
 *
 * Answers are for programs: JSON, bytes, text. A browser that shows one all the same must not run it, frame
 * it, guess its type, or tell the next site where it came from. The few pages there are say in a policy
 * of their own what they need, and nothing more.
 */
import type { ServerResponse } from 'node:http';

export const DATA_POLICY = "default-src 'none'; frame-ancestors 'none'";

/** For every answer; what a page or a download says instead comes later and replaces it. */
const HEADERS: readonly (readonly [string, string])[] = [
  ['X-Content-Type-Options', 'nosniff'],
  ['Content-Security-Policy', DATA_POLICY],
  // A path may name a log that nobody else should know of.
  ['Referrer-Policy', 'no-referrer'],
  // No other site loads an answer as its picture or script. `methods.ts` opens what strangers may read.
  ['Cross-Origin-Resource-Policy', 'same-origin'],
];

/**
 * A year, of this host alone: what else runs under its name is not ours to decide. [RFC 6797 §7.2] It is
 * never said over a connection without TLS.
 */
const TRANSPORT: readonly [string, string] = ['Strict-Transport-Security', 'max-age=31536000'];

/** For pages: alone in their window, in no frame also for browsers without policies, and no device. */
const PAGE: readonly (readonly [string, string])[] = [
  ['Cross-Origin-Opener-Policy', 'same-origin'],
  ['X-Frame-Options', 'DENY'],
  [
    'Permissions-Policy',
    'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
  ],
];

/** The headers that every answer has, with TLS or without. */
export function headersOfAll(secure: boolean): readonly (readonly [string, string])[] {
  return secure ? [...HEADERS, TRANSPORT] : HEADERS;
}

export function setAll(res: ServerResponse, headers: readonly (readonly [string, string])[]): void {
  for (const [name, value] of headers) res.setHeader(name, value);
}

/** For an answer that is a page: `policy` is its Content-Security-Policy, frames included. */
export function setPage(res: ServerResponse, policy: string): void {
  setAll(res, PAGE);
  res.setHeader('Content-Security-Policy', policy);
}
