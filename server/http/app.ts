/**
 * What happens to every request? The one middleware: path, token, log, role, handler; then the answer's
 * common headers, or a problem document.
 *
 *     parse the target ── 400, 404, 405
 *     identify the token ── 401
 *     open the log and judge the caller ── 404, 401, 403
 *     parse the query ── 400
 *     handle
 *
 * Nothing of a body is read before the caller has been judged.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import Koa from 'koa';
import type { Logger } from 'pino';
import { hasCode, SteleError } from '../core/errors.ts';
import type { Clock } from '../log/clock.ts';
import type { Logs } from '../log/logs.ts';
import type { InstanceStore, TokenRow } from '../storage/instance.ts';
import { FsyncFailed } from '../storage/sqlite/database.ts';
import type { Vault } from '../vault/vault.ts';
import { HeldBytes } from './body.ts';
import type { Call, Log, Route } from './call.ts';
import { methodNotAllowed, unknownLog } from './errors.ts';
import { parseQuery, parseTarget, unknownPath } from './path.ts';
import { problemHeaders, problemOf } from './problem.ts';
import { ACCESS_SUFFIX, checkRole, judge } from './roles.ts';
import { Router } from './router.ts';
import { allRoutes } from './routes/all.ts';
import { HTTP_DEFAULTS, type HttpSettings, LARGE_ANSWER_BYTES } from './settings.ts';
import { Tokens } from './tokens.ts';
import { Uploads } from './upload.ts';

export interface AppDeps {
  readonly logs: Logs;
  readonly vaults: (name: string) => Promise<Vault>;
  readonly instance: InstanceStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  /** The process must end: a failed fsync left unknown what is on disk (P9). */
  readonly fatal: (error: Error) => void;
  readonly settings?: Partial<HttpSettings>;
  /** Aborted when the server stops: waiting requests then end, and `readyz` says so. */
  readonly stopping?: AbortSignal;
}

/** What handlers share. */
export interface Parts extends AppDeps {
  readonly settings: HttpSettings;
  readonly stopping: AbortSignal;
  readonly tokens: Tokens;
  readonly held: HeldBytes;
  readonly answers: HeldBytes;
  readonly uploads: Uploads;
}

export function createApp(deps: AppDeps): Koa {
  const settings = { ...HTTP_DEFAULTS, ...deps.settings };
  const parts: Parts = {
    ...deps,
    settings,
    stopping: deps.stopping ?? new AbortController().signal,
    tokens: new Tokens(deps.instance, deps.clock),
    held: new HeldBytes(settings.heldBytesMax),
    answers: new HeldBytes(settings.answerBytesMax),
    uploads: new Uploads(settings.uploadsPerTokenMax),
  };
  const server = new Dispatcher(parts, allRoutes(parts));
  const app = new Koa();
  app.use((ctx) => server.serve(ctx));
  app.on('error', (error: unknown) => logBrokenAnswer(deps.logger, error));
  return app;
}

/** A connection that ends early is the client's business; anything else here is ours. */
function logBrokenAnswer(logger: Logger, error: unknown): void {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const gone = code === 'ECONNRESET' || code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE';
  if (gone) logger.debug({ code }, 'client gone');
  else logger.error({ err: error }, 'answer broke');
}

/** Headers that stay when an answer turns into a problem. */
const KEPT = new Set(['x-request-id', 'x-content-type-options', 'access-control-allow-origin']);
const EXPOSED = 'etag, retry-after, x-request-id';

class Dispatcher {
  readonly #parts: Parts;
  readonly #router: Router<Route>;
  readonly #ids = new RequestIds();

  constructor(parts: Parts, routes: readonly Route[]) {
    this.#parts = parts;
    // A log's routes are written without their common beginning.
    this.#router = new Router(
      routes.map((r) => (r.on === 'log' ? { ...r, pattern: `/logs/{log}${r.pattern}` } : r)),
    );
  }

  async serve(ctx: Koa.Context): Promise<void> {
    const { clock, held, logger, stopping } = this.#parts;
    const begun = clock.now();
    const id = this.#ids.of(ctx.req);
    ctx.set('X-Request-Id', id);
    ctx.set('X-Content-Type-Options', 'nosniff');
    let call: Call | undefined;
    let failure: unknown;
    let token: TokenRow | undefined;
    try {
      const { path, segments, query } = parseTarget(ctx.req.url ?? '');
      const match = this.#router.match(segments);
      if (match === undefined) throw unknownPath(path);
      const method = ctx.req.method ?? '';
      const route = match.methods.get(method === 'HEAD' ? 'GET' : method);
      if (method === 'OPTIONS') {
        preflight(ctx, match.methods);
        return;
      }
      if (route === undefined || (method === 'HEAD' && route.access === 'content')) {
        throw methodNotAllowed(method, allowed(match.methods));
      }
      if (isOpenToOrigins(route)) {
        ctx.set('Access-Control-Allow-Origin', '*');
        ctx.set('Access-Control-Expose-Headers', EXPOSED);
      }
      token = this.#parts.tokens.identify(ctx.req.headers.authorization);
      const known = route.query ?? [];
      if (route.on === 'log') {
        const log = await this.#openLog(match.params[0] ?? '');
        const { shared } = judge(route.access, log, token);
        const params = match.params.slice(1);
        call = newCall(ctx, id, params, parseQuery(query, known), token, shared);
        await route.handle(call, log);
      } else {
        if (route.access !== 'open') checkRole(route.access, token, undefined);
        const shared = route.access === 'open' && token === undefined;
        call = newCall(ctx, id, match.params, parseQuery(query, known), token, shared);
        await route.handle(call);
      }
      this.#holdAnswer(ctx);
    } catch (error) {
      failure = error;
      this.#refuse(ctx, id, error, token);
    } finally {
      if (call !== undefined) held.giveBack(call);
      // A connection that is kept would only be cut a moment later.
      if (stopping.aborted && !ctx.res.headersSent) ctx.set('Connection', 'close');
      const level = levelOf(ctx.status, token);
      if (logger.isLevelEnabled(level)) {
        const { method, url } = ctx.req;
        const ms = clock.now() - begun;
        const path = loggedPath(url);
        const err = level === 'error' ? failure : undefined;
        logger[level](
          { id, method, path, status: ctx.status, ms, token: token?.id, err },
          'request',
        );
      }
    }
  }

  /** A large answer is memory that its reader decides how long to keep. */
  #holdAnswer(ctx: Koa.Context): void {
    const { body } = ctx;
    // Every answer is text, bytes, nothing, or a stream that holds only one piece at a time.
    if (typeof body !== 'string' && !Buffer.isBuffer(body)) return;
    if (body.length >= LARGE_ANSWER_BYTES) this.#parts.answers.takeAnswer(ctx.res, body.length);
  }

  async #openLog(name: string): Promise<Log> {
    try {
      return await (name.endsWith(ACCESS_SUFFIX)
        ? this.#parts.logs.access(name.slice(0, -ACCESS_SUFFIX.length))
        : this.#parts.logs.get(name));
    } catch (error) {
      // Word for word what a stranger hears of a private log.
      if (hasCode(error, 'not_found')) throw unknownLog(name);
      throw error;
    }
  }

  #refuse(ctx: Koa.Context, id: string, error: unknown, token: TokenRow | undefined): void {
    if (error instanceof FsyncFailed) this.#parts.fatal(error);
    const told = token === undefined ? forStranger(error) : error;
    const problem = problemOf(told, id);
    if (ctx.res.headersSent) {
      // Half an answer must not look like a whole one.
      ctx.res.destroy();
      return;
    }
    for (const name of ctx.res.getHeaderNames()) if (!KEPT.has(name)) ctx.remove(name);
    ctx.status = problem.status;
    ctx.set(problemHeaders(error, problem));
    ctx.body = JSON.stringify(problem);
  }
}

function newCall(
  ctx: Koa.Context,
  id: string,
  params: readonly string[],
  query: Call['query'],
  token: TokenRow | undefined,
  shared: boolean,
): Call {
  return { ctx, id, params, query, token, shared, heldBytes: 0 };
}

/** Reads that strangers may make are open to pages of any origin; a page never gets to send a token. */
function isOpenToOrigins(route: Route): boolean {
  const { access, method } = route;
  return method === 'GET' && (access === 'open' || access === 'heads' || access === 'entries');
}

function allowed(methods: ReadonlyMap<string, Route>): string {
  const names = [...methods.keys()];
  if (methods.get('GET')?.access !== 'content' && methods.has('GET')) names.push('HEAD');
  return [...names, 'OPTIONS'].sort().join(', ');
}

function preflight(ctx: Koa.Context, methods: ReadonlyMap<string, Route>): void {
  ctx.status = 204;
  ctx.set('Allow', allowed(methods));
  ctx.set('Cache-Control', 'no-store');
  const get = methods.get('GET');
  if (get === undefined || !isOpenToOrigins(get)) return;
  ctx.set('Access-Control-Allow-Origin', '*');
  ctx.set('Access-Control-Allow-Methods', 'GET, HEAD');
  ctx.set('Access-Control-Allow-Headers', 'if-none-match');
  ctx.set('Access-Control-Max-Age', '86400');
}

/**
 * Why a disk refuses, and where it lies, is for those who hold a token; a stranger hears that it does.
 */
function forStranger(error: unknown): unknown {
  if (!hasCode(error, 'storage') && !hasCode(error, 'split_view')) return error;
  const { code, retryAfterS } = error;
  return new SteleError(
    code,
    "the reason is in the server's log",
    retryAfterS === undefined ? {} : { retryAfterS },
  );
}

/** Strangers get no line of the log for their mistakes: they could fill the disk with them. */
function levelOf(status: number, token: TokenRow | undefined): 'error' | 'info' | 'debug' {
  if (status >= 500) return 'error';
  return status >= 400 && token !== undefined ? 'info' : 'debug';
}

/** What the log keeps of a target: never the query string, and a bounded piece of the rest. */
function loggedPath(url: string | undefined): string {
  return (url ?? '').split('?', 1)[0]?.slice(0, 300) ?? '';
}

const OWN_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** A request's id: its own if it is plain, else one that is unique to this process. */
class RequestIds {
  readonly #prefix = randomBytes(6).toString('hex');
  #count = 0;

  of(req: IncomingMessage): string {
    const own = req.headers['x-request-id'];
    if (typeof own === 'string' && OWN_ID.test(own)) return own;
    this.#count += 1;
    return `${this.#prefix}-${this.#count.toString(36)}`;
  }
}
