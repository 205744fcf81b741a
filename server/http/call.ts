/**
 * What does a handler get, and what does a route declare?
 *
 * A route says what it gives away (`access`); the caller has been judged before its handler runs. A
 * handler translates and nothing else.
 */
import type Koa from 'koa';
import type { Log } from '../log/log.ts';
import type { TokenRow } from '../storage/instance.ts';
import type { Query } from './path.ts';
import type { Charge } from './rates.ts';
import type { Access } from './roles.ts';

export type { Log };

export interface Call {
  readonly ctx: Koa.Context;
  readonly id: string;
  /** Segments that stood for the pattern's parameters, in order. */
  readonly params: readonly string[];
  readonly query: Query;
  readonly token: TokenRow | undefined;
  /** Whether a stranger may have the same answer. */
  readonly shared: boolean;
  /** What this request has taken of its caller's share. */
  readonly charge: Charge;
  /** Bytes of this request's body that are held in memory, given back when it is answered. */
  heldBytes: number;
}

interface RouteBase {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** `{name}` stands for one segment, `{name*}` for all that are left. */
  readonly pattern: string;
  readonly access: Access;
  /** Parameters of the query string that the route knows. */
  readonly query?: readonly string[];
  /**
   * Whose rules it follows where they differ from ours. RFC 6962 has parameters that are not known ignored,
   * and its clients look for the reason of a refusal in `error_message`. OTLP's clients look for it in a
   * `Status`, and send again only after statuses that it names.
   */
  readonly rules?: 'rfc6962' | 'otlp';
}

/** A route about one log: under `/logs/{log}`, or under `/ingest/{log}`. Its own pattern begins after that. */
export interface LogRoute extends RouteBase {
  readonly on: 'log';
  /** Which of the two; the first where nothing is said. */
  readonly under?: 'ingest';
  handle(call: Call, log: Log): Promise<void> | void;
}

export interface InstanceRoute extends RouteBase {
  readonly on: 'instance';
  handle(call: Call): Promise<void> | void;
}

export type Route = LogRoute | InstanceRoute;

/** The whole pattern of a route. */
export function patternOf(route: Route): string {
  if (route.on === 'instance') return route.pattern;
  return `/${route.under ?? 'logs'}/{log}${route.pattern}`;
}

/** The parameter at `at`. */
export function param(call: Call, at: number): string {
  return call.params[at] ?? '';
}

/** The same as it is written for people, who know what LOG stands for. */
export function shownPattern(route: Route): string {
  return patternOf(route).replace(/^\/logs\/\{log\}/, 'LOG');
}
