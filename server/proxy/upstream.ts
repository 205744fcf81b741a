/**
 * Where does a call go? Upstreams by the first segment of the path, and the connections to them.
 *
 *     PROXY/openai/v1/chat/completions?x=1  →  BASE/chat/completions?x=1      BASE includes /v1
 *
 * The target is forwarded byte for byte; nothing is decoded or put together again. Nothing a client sends can
 * name another host (P8): the host is the configuration's.
 */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { malformed, SteleError, shown } from '../core/errors.ts';

export type Posture = 'enforce' | 'observe';

export interface UpstreamOptions {
  /** First segment of the path: "openai". */
  readonly name: string;
  /** Base URL with the version: "https://api.openai.com/v1". */
  readonly base: string;
  /** Name of the log that its records go to. */
  readonly log: string;
  /** What to do while the journal cannot be written: refuse calls, or forward them unrecorded. */
  readonly posture?: Posture | undefined;
}

/** Idle connections are closed before the provider does, so that a request seldom meets a dead one. */
const IDLE_SOCKET_MS = 4_000;

const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;

/** Paths of the proxy's own. */
const RESERVED: ReadonlySet<string> = new Set(['healthz', 'readyz', 'metrics']);

export class Upstream {
  readonly name: string;
  readonly log: string;
  readonly posture: Posture;
  /** Host and port as the `Host` header has them. */
  readonly host: string;
  readonly hostname: string;
  readonly #base: URL;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #prefix: string;

  constructor(options: UpstreamOptions) {
    if (!NAME.test(options.name) || RESERVED.has(options.name)) {
      throw malformed('upstream', `${shown(options.name)} is not a name for one`);
    }
    const base = URL.parse(options.base);
    if (base === null || !['http:', 'https:'].includes(base.protocol)) {
      throw malformed(`upstream ${options.name}`, `${shown(options.base)} is not an http(s) URL`);
    }
    if (base.username !== '' || base.password !== '' || base.search !== '' || base.hash !== '') {
      throw malformed(`upstream ${options.name}`, 'a base URL has no user, query or fragment');
    }
    this.name = options.name;
    this.log = options.log;
    this.posture = options.posture ?? 'enforce';
    this.host = base.host;
    this.hostname = base.hostname;
    this.#base = base;
    this.#prefix = base.pathname.replace(/\/$/, '');
    const agent = { keepAlive: true, timeout: IDLE_SOCKET_MS, maxFreeSockets: 256 };
    this.#agent = base.protocol === 'https:' ? new HttpsAgent(agent) : new HttpAgent(agent);
  }

  /** Opens a request for `target`, the part of the path behind /v1, beginning with "/" or "?" or empty. */
  request(method: string, target: string, headers: string[]): ClientRequest {
    const options = {
      method,
      path: `${this.#prefix}${target}` || '/',
      host: this.#base.hostname.replace(/^\[|\]$/g, ''),
      port: this.#base.port,
      headers,
      agent: this.#agent,
      // No limit on the whole exchange; the idle timer is the forwarder's.
      timeout: 0,
      setHost: false,
    };
    return this.#base.protocol === 'https:' ? httpsRequest(options) : httpRequest(options);
  }

  close(): void {
    this.#agent.destroy();
  }
}

export interface Route {
  readonly upstream: Upstream;
  /** Behind /v1: "/chat/completions?x=1". */
  readonly target: string;
}

/** A stranger's request target. Throws `not_found` or `malformed`. */
export function parseRoute(url: string, upstreams: ReadonlyMap<string, Upstream>): Route {
  const match = /^\/([^/?]*)\/v1(?=[/?]|$)(.*)$/s.exec(url);
  const upstream = match === null ? undefined : upstreams.get(match[1] ?? '');
  if (match === null || upstream === undefined) {
    const names = [...upstreams.keys()].map((name) => `/${name}/v1/…`).join(', ');
    const path = url.split('?', 1)[0] ?? '';
    throw new SteleError('not_found', `path: ${shown(path)} where the proxy has ${names}`);
  }
  const target = match[2] ?? '';
  // Dot segments would climb out of the base path on the provider's side.
  const path = target.split('?', 1)[0] ?? '';
  for (const segment of path.split(/[/\\]|%2f|%5c/i)) {
    if (/^(?:\.|%2e){1,2}$/i.test(segment)) {
      throw malformed('path', `${shown(path)} has a dot segment`);
    }
  }
  return { upstream, target };
}
