/**
 * What the HTTP surface bounds, and why.
 *
 * The constants are part of the surface and documented in `docs/formats-http.md`; what an operator may
 * tune is in `HttpSettings`, which `config.ts` fills.
 */

import type { RateOptions } from './rates.ts';

export { BATCH_BYTES_MAX, BATCH_ENTRIES_MAX } from '../core/limits.ts';

/**
 * Bytes of one envelope as JSON: base64 of an entry's 65,535 bytes is 87,380, and escapes and space
 * around it are the sender's business up to here.
 */
export const ENVELOPE_BYTES_MAX = 131_072;
/** Bytes of an administration body: a key, names, admission rules. */
export const ADMIN_BYTES_MAX = 65_536;
/** Bytes of a request of the other ways in, packed and unpacked alike [OTLP: 64 MiB is what others take]. */
export const INGEST_BYTES_MAX = 64 * 1024 * 1024;
/** Entries on one page, and the bytes after which a page ends early. */
export const PAGE_ENTRIES_MAX = 1_000;
export const PAGE_ENTRIES_DEFAULT = 100;
export const PAGE_BYTES_MAX = 4 * 1024 * 1024;
/** Seconds that a request for a receipt may wait for its entry. */
export const WAIT_S_MAX = 20;
/** Characters of the reason for reading content. */
export const REASON_CHARS_MAX = 500;
/** Bytes of request headers: a token, a reason, and what proxies add. */
export const HEADER_BYTES_MAX = 16_384;
/** Bytes of the headers of one part of a multipart body. */
export const PART_HEADER_BYTES_MAX = 2_048;

/**
 * Characters of a feed that are handed out at a time, one line more or less: what a reader who takes
 * nothing makes the server hold, twice.
 */
export const FEED_PIECE_CHARS = 262_144;

/** Bytes from which an answer counts as large. */
export const LARGE_ANSWER_BYTES = 65_536;

/** Questions to witnesses in one answer. */
export const COSIGNINGS_PAGE_MAX = 100;

/** Anchors in one answer. */
export const ANCHORS_PAGE_MAX = 100;

export interface HttpSettings {
  /** Whether a gateway's key is registered only with a proof that it is at hand. */
  readonly requirePossession: boolean;
  /** Whether acts on keys wait for the approval of another holder (`admin.two_persons`). */
  readonly twoPersons: boolean;
  /** Bytes of one content body (`limits.body_bytes`). */
  readonly bodyBytesMax: number;
  /** What one caller may ask for (`limits.token_rate` and the like, `trusted_proxies`). */
  readonly rates: RateOptions;
  /** Milliseconds for a whole body that is held in memory, from its first byte asked for. */
  readonly bodyTimeoutMs: number;
  /** Milliseconds without a byte of a streamed body. */
  readonly idleTimeoutMs: number;
  /** Bytes of bodies held in memory by all requests together; past it, `pushback`. */
  readonly heldBytesMax: number;
  /**
   * Bytes of large answers that are made and not yet taken by their clients; past it, `pushback`. Apart
   * from the bodies, so that slow readers never keep a submission out.
   */
  readonly answerBytesMax: number;
  /** Content submissions being streamed at once by one token; past it, `pushback`. */
  readonly uploadsPerTokenMax: number;
  /** Requests that wait for a receipt at once; past it, `pushback`. */
  readonly waitersMax: number;
  /** Requests that wait for a head at once; past it, `pushback`. Of one token half as many. */
  readonly headWaitersMax: number;
  /** Feeds under way at once, followed or not; past it, `pushback`. */
  readonly feedsMax: number;
  readonly feedsPerTokenMax: number;
  /** Milliseconds that a reader of a feed may take for one piece before it is cut. */
  readonly feedStallMs: number;
  /** Milliseconds after which a feed in which nothing happens shows that it is alive. */
  readonly feedQuietMs: number;
}

export const HTTP_DEFAULTS: HttpSettings = {
  requirePossession: true,
  twoPersons: false,
  bodyBytesMax: 2 * 1024 ** 3,
  rates: {
    token: { perSecond: 2_000, burst: 10_000 },
    address: { perSecond: 1_000, burst: 5_000 },
    trustedProxies: [],
  },
  bodyTimeoutMs: 60_000,
  idleTimeoutMs: 30_000,
  heldBytesMax: 256 * 1024 ** 2,
  answerBytesMax: 128 * 1024 ** 2,
  uploadsPerTokenMax: 16,
  waitersMax: 1_024,
  headWaitersMax: 8_192,
  feedsMax: 128,
  feedsPerTokenMax: 16,
  feedStallMs: 30_000,
  feedQuietMs: 30_000,
};
