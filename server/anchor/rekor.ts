/**
 * Rekor as a target: the signature under a head is logged there, and comes back as a Sigstore bundle.
 *
 *     request   the entry that is to be logged: exact bytes, the same at every retry
 *     ask       POST; 409 is as good as 201, since the entry is there. Then time stamps over the signature
 *     check     the bundle by its rules (core/sigstore/rekor-anchor.ts) · clocks near ours ·
 *               its log's head against the newest that was seen of that log (rekor-seen.ts)
 *
 * What differs between the two generations is in `rekor-v1.ts` and `rekor-v2.ts`.
 *
 * Everything that comes back is a stranger's: bounded in bytes and time, and held to what was asked. Nothing
 * that it names is fetched.
 */
import { parseHex, sha256, toBase64 } from '../core/bytes.ts';
import { SteleError, unverified } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { SignatureCheck } from '../core/signature.ts';
import {
  hashedRekordRequest,
  type RekorVersion,
  readHashedRekordRequest,
} from '../core/sigstore/hashedrekord.ts';
import {
  CLOCKS_APART_MS,
  checkRekorAnchor,
  type RekorAnchored,
  type TimestampCheck,
} from '../core/sigstore/rekor-anchor.ts';
import { type SigstoreBundle, sigstoreBundleJson } from '../core/sigstore/sigstore-bundle.ts';
import {
  formatMs,
  formatPeriods,
  isWithin,
  type TrustedRoot,
} from '../core/sigstore/trusted-root.ts';
import { type Hash, hash } from '../core/units.ts';
import type { Outbound } from '../outbound.ts';
import { formatRekorAnswer, type Got, parseRekorAnswer, type RekorAnswer } from './rekor-answer.ts';
import { followOn, type Heads } from './rekor-seen.ts';
import {
  type AnchoredHead,
  type Checked,
  type Search,
  type Target,
  TargetError,
} from './target.ts';

/** Somebody who stamps bytes with a time, and whose response was already held to them. */
export interface Stamper {
  readonly name: string;
  /** Throws `TargetError`, or what is wrong with the response. */
  stamp(data: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
}

export interface RekorOptions {
  readonly name: string;
  /** Base URL of the interface that is written to. */
  readonly url: string;
  readonly outbound: Outbound;
  readonly trust: TrustedRoot;
  /** Asked for a stamp over the signature: one of them has to give it. None: there is no stamp. */
  readonly stampers?: readonly Stamper[];
  /** Needed where there are stampers. */
  readonly checkTimestamp?: TimestampCheck;
  /** The engine; the portable one unless a faster is given. */
  readonly check?: SignatureCheck;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** What one generation of Rekor does in its own way. */
export interface RekorApi extends Heads {
  readonly version: RekorVersion;
  /** Has the entry logged, or finds it where it is already. Throws `TargetError`. */
  submit(request: Uint8Array, signal: AbortSignal): Promise<Got>;
  /** Absent where what was logged cannot be read. Throws `TargetError`. */
  readonly search?: Search;
}

export class RekorTarget implements Target {
  readonly kind = 'rekor';
  readonly name: string;
  readonly #api: RekorApi;
  readonly #options: RekorOptions;
  readonly #now: () => number;
  readonly search?: Search;

  constructor(api: RekorApi, options: RekorOptions) {
    this.name = options.name;
    this.#api = api;
    const { search } = api;
    if (search !== undefined) this.search = search.bind(api);
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  request(head: AnchoredHead): Promise<Uint8Array> {
    const { signature, key } = head;
    const signed = { digest: sha256(head.text), signature, key };
    return Promise.resolve(hashedRekordRequest(this.#api.version, signed));
  }

  async ask(request: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { signature } = readHashedRekordRequest(this.#api.version, request);
    const got = await this.#api.submit(request, signal);
    // After the entry: a stamp of long before it would make Rekor's clock look wrong.
    const timestamps = await this.#stamp(signature, signal);
    return formatRekorAnswer({ ...got, receivedMs: this.#now(), timestamps });
  }

  async check(
    head: AnchoredHead,
    request: Uint8Array,
    answer: Uint8Array,
    last: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<Checked> {
    const { digest, signature, key } = readHashedRekordRequest(this.#api.version, request);
    const { trust, check, checkTimestamp } = this.#options;
    const kept = parseRekorAnswer(answer, this.#api.version);
    const { entry, timestamps } = kept;
    const hint: Hash = hash(parseHex(key.keyid, 'keyid'));
    const bundle: SigstoreBundle = { hint, entry, timestamps, digest, signature };
    const anchored = checkRekorAnchor(bundle, head, [head.key], trust, {
      nowMs: this.#now(),
      ...(check === undefined ? {} : { check }),
      ...(checkTimestamp === undefined ? {} : { checkTimestamp }),
    });
    this.#checkFresh(anchored, kept);
    const seen = await followOn(this.#api, trust, last, entry, signal, check);
    return {
      anchor: anchorJson(anchored, bundle),
      last: seen,
      ...(anchored.timeMs === undefined ? {} : { timeMs: anchored.timeMs }),
    };
  }

  /** What is only asked of an answer that just came: whoever reads a receipt does it years later. */
  #checkFresh({ log, api, integratedMs, stamps }: RekorAnchored, kept: RekorAnswer): void {
    const { receivedMs, isNew } = kept;
    const what = `answer of ${this.name}`;
    if (api !== this.#api.version) {
      throw unverified(what, `an entry of rekor v${api} where v${this.#api.version} was asked`);
    }
    if (!isWithin(log.validFor, receivedMs)) {
      throw unverified(
        what,
        `the log at ${log.baseUrl} is good ${formatPeriods(log.validFor)}, and it is ${formatMs(receivedMs)}`,
      );
    }
    // An entry that was there already was taken up when it was first sent, which may be long ago.
    const times = stamps.map(({ timeMs }) => timeMs);
    if (isNew && integratedMs !== undefined) times.push(integratedMs);
    for (const ms of times) {
      if (Math.abs(ms - receivedMs) <= CLOCKS_APART_MS) continue;
      throw unverified(what, `it says ${formatMs(ms)} where it is ${formatMs(receivedMs)}`);
    }
    if ((this.#options.stampers ?? []).length > 0 && stamps.length === 0) {
      throw unverified(what, 'no time stamp is by an authority that is trusted');
    }
  }

  async #stamp(data: Uint8Array, signal: AbortSignal): Promise<Uint8Array[]> {
    const { stampers = [] } = this.#options;
    const results = await Promise.allSettled(
      stampers.map((one) => this.#oneStamp(one, data, signal)),
    );
    const stamps: Uint8Array[] = [];
    const failures: TargetError[] = [];
    for (const one of results) {
      if (one.status === 'fulfilled') stamps.push(one.value);
      else failures.push(asRetry(one.reason));
    }
    const [failure] = failures;
    if (stamps.length > 0 || failure === undefined) return stamps;
    // The entry is logged by now, and the next try finds it there.
    throw failure;
  }

  async #oneStamp(stamper: Stamper, data: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const response = await stamper.stamp(data, signal);
    this.#options.checkTimestamp?.(response, data);
    return response;
  }
}

/** The member of a receipt's `anchors`, but for the head and the entry's path to it. */
function anchorJson({ log, api }: RekorAnchored, bundle: SigstoreBundle): JsonObject {
  return {
    type: 'rekor',
    v: 1,
    instance: { base_url: log.baseUrl, key_id: toBase64(log.keyId), api },
    bundle: sigstoreBundleJson(bundle),
  };
}

/** Why there is no stamp; whatever else was thrown is a fault of ours and goes on. */
function asRetry(cause: unknown): TargetError {
  if (!(cause instanceof TargetError) && !(cause instanceof SteleError)) throw cause;
  const afterS = cause instanceof TargetError ? cause.afterS : cause.retryAfterS;
  return new TargetError('retry', `no time stamp: ${cause.message}`, { cause, afterS });
}
