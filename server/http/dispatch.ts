/**
 * What happens to every request? Path, token, log, role, handler; then the answer's common headers, or
 * a problem document.
 *
 *     take the request's price from the caller's bucket ── 429
 *     check the head, parse the target ── 400, 404, 405, and a few of HTTP's own
 *     identify the token ── 401
 *     open the log and judge the caller ── 404, 401, 403
 *     parse the query ── 400
 *     handle
 *
 * Nothing of a body is read before the caller has been judged. What is answered with a status that is not
 * the caller's doing is given back to its bucket.
 */
import { Readable } from 'node:stream';
import type Koa from 'koa';
import { unknownLog } from '../admin/actor.ts';
import { hasCode } from '../core/errors.ts';
import type { Lease } from '../log/open-logs.ts';
import type { TokenRow } from '../storage/instance.ts';
import { FsyncFailed } from '../storage/sqlite/database.ts';
import type { Parts } from './app.ts';
import { type Call, patternOf, type Route } from './call.ts';
import { methodNotAllowed } from './errors.ts';
import { allowed, openToOrigins, preflight, routeOf } from './methods.ts';
import { asOtlp, statusBody } from './otlp-status.ts';
import { parseQuery, parseTarget, unknownPath } from './path.ts';
import {
  forStranger,
  isCallersDoing,
  type Problem,
  problemHeaders,
  problemOf,
  withMessage,
} from './problem.ts';
import type { Charge } from './rates.ts';
import { checkHead } from './request-head.ts';
import { checkRole, isVisible, judge } from './roles.ts';
import { type Match, Router } from './router.ts';
import { DATA_POLICY, headersOfAll, setAll } from './security.ts';
import { LARGE_ANSWER_BYTES } from './settings.ts';

/** Headers that stay when an answer turns into a problem. */
const KEPT = new Set([
  'x-request-id',
  'access-control-allow-origin',
  ...headersOfAll(true).map(([name]) => name.toLowerCase()),
]);

/** What becomes known of a request on its way. */
interface Progress {
  route: Route | undefined;
  token: TokenRow | undefined;
  charge: Charge | undefined;
  call: Call | undefined;
  /** Gives the log back that the request works on. */
  release: (() => void) | undefined;
  failure: unknown;
}

/** A request that has a route and a caller. */
interface Asked extends Pick<Call, 'ctx' | 'id' | 'params' | 'token' | 'charge'> {
  readonly route: Route;
  readonly query: string;
}

/** What a path and method lead to. */
interface Found {
  readonly match: Match<Route>;
  readonly query: string;
  /** None for OPTIONS, which is answered for every path alike. */
  readonly route: Route | undefined;
}

export class Dispatcher {
  readonly #parts: Parts;
  readonly #router: Router<Route>;
  readonly #headers: readonly (readonly [string, string])[];

  constructor(parts: Parts, routes: readonly Route[]) {
    this.#parts = parts;
    this.#headers = headersOfAll(parts.secure === true);
    // A log's routes are written without their common beginning.
    this.#router = new Router(routes.map((route) => ({ ...route, pattern: patternOf(route) })));
  }

  async serve(ctx: Koa.Context): Promise<void> {
    const { clock, held, metrics, requests, stopping } = this.#parts;
    const begunMs = clock.now();
    const begun = performance.now();
    const id = requests.idOf(ctx.req);
    ctx.set('X-Request-Id', id);
    setAll(ctx.res, this.#headers);
    const progress: Progress = {
      route: undefined,
      token: undefined,
      charge: undefined,
      call: undefined,
      release: undefined,
      failure: undefined,
    };
    try {
      await this.#route(ctx, id, progress);
      this.#holdAnswer(ctx);
    } catch (error) {
      progress.failure = error;
      metrics.refused(error);
      this.#refuse(ctx, id, progress);
    } finally {
      const { call, charge, token, failure } = progress;
      if (call !== undefined) held.giveBack(call);
      if (failure !== undefined && !isCallersDoing(failure)) charge?.giveBack();
      if (progress.release !== undefined) releaseAfter(ctx, progress.release);
      // A connection that is kept would only be cut a moment later.
      if (stopping.aborted && !ctx.res.headersSent) ctx.set('Connection', 'close');
      metrics.served(progress.route, ctx.status, performance.now() - begun);
      requests.served(ctx.req, { id, begunMs, status: ctx.status, token, failure });
    }
  }

  async #route(ctx: Koa.Context, id: string, progress: Progress): Promise<void> {
    const { rates, tokens } = this.#parts;
    const found = attempt(() => this.#find(ctx));
    const token = attempt(() => tokens.identify(ctx.req.headers.authorization));
    progress.route = found.value?.route;
    if (progress.route !== undefined) openToOrigins(ctx, progress.route);
    progress.token = token.value;
    // A request that is wrong costs its caller as much as any other.
    const charge = rates.take(ctx.req, token.value);
    progress.charge = charge;
    const { route, match, query } = had(found);
    if (route === undefined) preflight(ctx, match.methods);
    else {
      const { params } = match;
      await this.#handle({ ctx, id, route, params, query, token: had(token), charge }, progress);
    }
  }

  #find({ req }: Koa.Context): Found {
    checkHead(req);
    const { path, segments, query } = parseTarget(req.url ?? '');
    const match = this.#router.match(segments);
    if (match === undefined) throw unknownPath(path);
    const { method = '' } = req;
    if (method === 'OPTIONS') return { match, query, route: undefined };
    const route = routeOf(match.methods, method);
    if (route === undefined) throw methodNotAllowed(method, allowed(match.methods));
    return { match, query, route };
  }

  async #handle(asked: Asked, progress: Progress): Promise<void> {
    const { ctx, id, route, params, token, charge } = asked;
    const known = route.query ?? [];
    const others = route.rules === 'rfc6962' ? 'ignored' : 'refused';
    if (route.on === 'log') {
      const { log, release } = await this.#openLog(params[0] ?? '', token);
      progress.release = release;
      const { shared } = judge(route.access, log, token);
      const query = parseQuery(asked.query, known, others);
      const inLog = params.slice(1);
      const call = { ctx, id, params: inLog, query, token, shared, charge, heldBytes: 0 };
      progress.call = call;
      await route.handle(call, log);
    } else {
      if (route.access !== 'open') checkRole(route.access, token, undefined);
      const shared = route.access === 'open' && token === undefined;
      const query = parseQuery(asked.query, known, others);
      const call = { ctx, id, params, query, token, shared, charge, heldBytes: 0 };
      progress.call = call;
      await route.handle(call);
    }
  }

  /** A large answer is memory that its reader decides how long to keep. */
  #holdAnswer(ctx: Koa.Context): void {
    const { body } = ctx;
    // Every answer is text, bytes, nothing, or a stream that holds only one piece at a time.
    if (typeof body !== 'string' && !Buffer.isBuffer(body)) return;
    if (body.length >= LARGE_ANSWER_BYTES) this.#parts.answers.takeAnswer(ctx.res, body.length);
  }

  /**
   * Whoever may not know of a log hears what is said of one that does not exist, and as soon: the log is
   * not touched for it, so neither its trouble nor the time that it takes tells anything.
   */
  async #openLog(name: string, token: TokenRow | undefined): Promise<Lease> {
    const { logs } = this.#parts;
    const visibility = logs.visibilityOf(name);
    if (visibility === undefined || !isVisible(visibility, token, name)) throw unknownLog(name);
    try {
      return await logs.lease(name);
    } catch (error) {
      // It was taken away a moment ago.
      if (hasCode(error, 'not_found')) throw unknownLog(name);
      throw error;
    }
  }

  #refuse(ctx: Koa.Context, id: string, { failure, token, route }: Progress): void {
    if (failure instanceof FsyncFailed) this.#parts.fatal(failure);
    if (ctx.res.headersSent) {
      // Half an answer must not look like a whole one.
      ctx.res.destroy();
      return;
    }
    const said = problemOf(token === undefined ? forStranger(failure) : failure, id);
    const problem = bent(said, route);
    for (const name of ctx.res.getHeaderNames()) if (!KEPT.has(name)) ctx.remove(name);
    ctx.status = problem.status;
    ctx.set('Content-Security-Policy', DATA_POLICY);
    ctx.set(problemHeaders(failure, problem));
    ctx.body = JSON.stringify(problem);
    if (route?.rules !== 'otlp') return;
    const { type, body } = statusBody(problem, ctx.req.headers['content-type']);
    ctx.set('Content-Type', type);
    ctx.body = body;
  }
}

/** What came of something, to be looked at later. */
type Attempt<T> = { readonly value: T } | { readonly value?: undefined; readonly failure: unknown };

function attempt<T>(work: () => T): Attempt<T> {
  try {
    return { value: work() };
  } catch (failure) {
    return { failure };
  }
}

function had<T>(attempted: Attempt<T>): T {
  if ('failure' in attempted) throw attempted.failure;
  return attempted.value;
}

/** A problem by the rules that its route follows. */
function bent(problem: Problem, route: Route | undefined): Problem {
  if (route?.rules === 'rfc6962') return withMessage(problem);
  return route?.rules === 'otlp' ? asOtlp(problem) : problem;
}

/** A stream still reads from its log when its handler is done. */
function releaseAfter(ctx: Koa.Context, release: () => void): void {
  if (ctx.body instanceof Readable && !ctx.res.closed) ctx.res.once('close', release);
  else release();
}
