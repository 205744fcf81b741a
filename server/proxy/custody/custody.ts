/**
 * Who calls, and with whose key does the call go on?
 *
 * In custody only the proxy has the providers' keys. Callers hold Stele tokens, each for some upstreams, some
 * models and so many calls; whoever has no token is refused before a byte of the request is read. So the
 * way through the proxy, and with it onto the record, is the only one.
 *
 *     token ─▶ caller ─▶ may it call this upstream? ─▶ has it a call left? ─▶ (body) ─▶ this model? ─▶ key
 */
import { timingSafeEqual } from 'node:crypto';
import type { Caller } from '../../callers/callers.ts';
import type { CallerFile } from '../../callers/file.ts';
import { parseHex, toHex } from '../../core/bytes.ts';
import { hasCode, SteleError, shown } from '../../core/errors.ts';
import { hashOfToken } from '../../core/token.ts';
import type { CallerFacts } from '../facts.ts';
import type { RawHeaders } from '../headers.ts';
import type { ProxyLogger } from '../logger.ts';
import { plainPath } from '../plain-path.ts';
import type { Route } from '../route.ts';
import { Allowances } from './allowance.ts';
import { type KeyHeader, presentedToken, withProviderKey } from './credentials.ts';
import { ModelGate } from './models.ts';
import { Refusals } from './refusals.ts';

/** What a caller may do with the call that it was let in with. */
export interface Pass {
  readonly caller: CallerFacts;
  /** Where its token is for some models only. */
  readonly models: ModelGate | undefined;
  /** The headers that go on, with the provider's key in them. */
  headers(forwarded: readonly string[]): string[];
  /** Throws `unauthenticated` if the token has ended since. */
  checkStill(): void;
  /** Told once if the token ends while the call goes on. */
  onEnd: (error: SteleError) => void;
  /** The call is over. */
  release(): void;
}

/** A call in progress, and the hash of the token that it was let in with. */
interface Running {
  readonly hash: string;
  readonly pass: Pass;
}

/**
 * Paths that lead past the proxy: what is answered is a key of the provider's for a while, or the other end of a
 * connection that does not go through here.
 *
 * [OpenAI, Realtime] realtime/client_secrets, realtime/sessions, realtime/calls (WebRTC), realtimeapi/sessions of
 * Azure's. [Gemini API, ephemeral tokens] auth_tokens
 */
const PAST_THE_PROXY = /\/(?:realtime(?:api)?\/|auth_?tokens?(?:[/:]|$))/i;

/** How often tokens of calls in progress are looked at. */
const LOOK_MS = 1_000;

export interface CustodyOptions {
  readonly callers: CallerFile;
  readonly nowMs: () => number;
  readonly logger: ProxyLogger;
}

export class Custody {
  readonly #callers: CallerFile;
  readonly #nowMs: () => number;
  readonly #allowances: Allowances;
  readonly #refusals: Refusals;
  readonly #running = new Set<Running>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ callers, nowMs, logger }: CustodyOptions) {
    this.#refusals = new Refusals(logger, nowMs);
    this.#callers = callers;
    this.#nowMs = nowMs;
    this.#allowances = new Allowances(nowMs);
  }

  /** Throws `storage` while nobody can be let in. */
  check(): void {
    this.#callers.check();
  }

  /**
   * Lets a call in. `url` is the whole request target. Throws `unauthenticated`, `forbidden`, `pushback` or
   * `storage`; nothing of what was presented is in the error.
   */
  admit(route: Route, method: string, headers: RawHeaders, address: string | undefined): Pass {
    const { upstream, target } = route;
    const { caller, header } = this.#callerOf(headers, target, address);
    if (!caller.upstreams.some((name) => name === '*' || name === upstream.name)) {
      throw new SteleError('forbidden', `this token is not for upstream ${shown(upstream.name)}`);
    }
    if (upstream.key === undefined) {
      throw new SteleError(
        'forbidden',
        `upstream ${shown(upstream.name)} has no key: set its key_file or key_env, or key_header: none`,
      );
    }
    // [RFC 9110 §9.3.8] The answer to it would be the request, with the key in it.
    if (method === 'TRACE') throw new SteleError('forbidden', 'method: TRACE is not forwarded');
    const path = plainPath(target.split('?', 1)[0] ?? '').replace(/%2f/gi, '/');
    if (method !== 'GET' && PAST_THE_PROXY.test(path)) {
      throw new SteleError('forbidden', `path: ${shown(path)} leads past the proxy`);
    }
    const key = upstream.key === 'none' ? undefined : upstream.key;
    const { models } = caller;
    const release = this.#allowances.take(caller);
    const pass: Pass = {
      caller: factsOf(caller, header),
      models: models && new ModelGate(models, { method, target, headers }),
      headers: (forwarded) =>
        withProviderKey(forwarded, upstream.keyHeader ?? header, key?.current()),
      checkStill: () => {
        const error = this.#endOf(caller.hash);
        if (error !== undefined) throw error;
      },
      onEnd: () => {},
      release: () => {
        release();
        this.#running.delete(running);
      },
    };
    const running = { hash: caller.hash, pass };
    this.#running.add(running);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
    return pass;
  }

  /** Ends the calls whose token has ended. */
  #look(): void {
    if (this.#running.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const running of this.#running) {
      const error = this.#endOf(running.hash);
      if (error === undefined) continue;
      this.#running.delete(running);
      running.pass.onEnd(error);
    }
  }

  /** Why a token lets nobody in any more. While the file is no good nobody knows. */
  #endOf(hash: string): SteleError | undefined {
    try {
      checkGood(this.#callers.find(hash), this.#nowMs());
      return undefined;
    } catch (error) {
      if (hasCode(error, 'unauthenticated')) return error;
      if (hasCode(error, 'storage')) return undefined;
      throw error;
    }
  }

  /** Whether a request comes from one of the callers, whatever it asks for. */
  knows(headers: RawHeaders, target: string): boolean {
    try {
      this.#identify(presentedToken(headers, target).token);
      return true;
    } catch (error) {
      if (error instanceof SteleError) return false;
      throw error;
    }
  }

  #callerOf(headers: RawHeaders, target: string, address: string | undefined) {
    try {
      const { token, header } = presentedToken(headers, target);
      return { caller: this.#identify(token), header };
    } catch (error) {
      if (hasCode(error, 'unauthenticated')) this.#refusals.note(error.message, address);
      throw error;
    }
  }

  #identify(token: string): Caller {
    const hash = hashOfToken(token);
    const caller = this.#callers.find(toHex(hash));
    // The look-up went by hash, so its time tells nothing about a secret; nor does the comparison that counts.
    if (caller === undefined || !timingSafeEqual(parseHex(caller.hash, 'hash', 32), hash)) {
      throw unknown();
    }
    checkGood(caller, this.#nowMs());
    return caller;
  }
}

/** Throws `unauthenticated` if a token lets nobody in any more. */
function checkGood(caller: Caller | undefined, nowMs: number): void {
  if (caller === undefined) throw unknown();
  const { id, revoked, expires } = caller;
  if (revoked !== undefined) {
    throw new SteleError('unauthenticated', `token ${id} has been revoked`);
  }
  if (expires !== undefined && Date.parse(expires) <= nowMs) {
    throw new SteleError('unauthenticated', `token ${id} expired at ${expires}`);
  }
}

function unknown(): SteleError {
  return new SteleError('unauthenticated', 'this token is not known here');
}

function factsOf({ id, holder, tenant, kind }: Caller, header: KeyHeader): CallerFacts {
  const method = header === 'authorization' ? 'bearer' : 'api-key';
  return { id, holder, tenant, kind, method };
}
