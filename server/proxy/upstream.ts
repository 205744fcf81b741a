/**
 * Where does a call go? The upstreams of the configuration, and the connections to them. Which of them a
 * request means is read in `route.ts`.
 */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { malformed, shown } from '../core/errors.ts';
import type { KeyHeader } from './custody/credentials.ts';
import { type KeySource, ProviderKey } from './custody/provider-key.ts';
import type { ProxyLogger } from './logger.ts';

export type Posture = 'enforce' | 'observe' | 'strict';

export interface UpstreamOptions {
  /** First segment of the path: "openai". */
  readonly name: string;
  /** "https://api.openai.com/v1", or any other base: "http://127.0.0.1:11434". */
  readonly base: string;
  /** Name of the log that its records go to. */
  readonly log: string;
  /** What to do while the journal cannot be written: refuse calls, or forward them unrecorded. */
  readonly posture?: Posture | undefined;
  /**
   * Takes also what comes under the host of its base URL, whole path and `Host` untouched, for clients that sign
   * both. The base has no path then.
   */
  readonly byHost?: boolean | undefined;
  /** Path of a file of rules that its requests are judged by, and of a module that does. */
  readonly rules?: string | undefined;
  readonly rulesModule?: string | undefined;
  /** What becomes of WebSockets: refused, or let through with their content unseen. Default refused. */
  readonly websocket?: 'refuse' | 'record' | undefined;
  /** In custody: where the provider's key is, or none where it wants none; without it nobody is let through to it. */
  readonly key?: KeySource | 'none' | undefined;
  /** Where the key goes; by itself where the caller had its token. */
  readonly keyHeader?: KeyHeader | undefined;
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
  readonly websocket: 'refuse' | 'record';
  readonly key: ProviderKey | 'none' | undefined;
  readonly keyHeader: KeyHeader | undefined;
  /** Host and port as the `Host` header has them. */
  readonly host: string;
  readonly hostname: string;
  readonly goesByHost: boolean;
  /** What the base URL is put in place of: "/openai/v1" for a base that ends in /v1, else "/NAME". */
  readonly prefix: string;
  readonly #base: URL;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #path: string;

  constructor(options: UpstreamOptions, logger: ProxyLogger) {
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
    this.websocket = options.websocket ?? 'refuse';
    this.key = isSource(options.key)
      ? new ProviderKey(options.key, ({ message: error }) =>
          logger.error({ upstream: options.name, error }, 'the new key is not used'),
        )
      : options.key;
    this.keyHeader = options.keyHeader;
    this.host = base.host;
    this.hostname = base.hostname;
    this.#base = base;
    this.#path = base.pathname.replace(/\/$/, '');
    this.prefix = `/${options.name}${this.#path.endsWith('/v1') ? '/v1' : ''}`;
    this.goesByHost = options.byHost ?? false;
    if (this.goesByHost && this.#path !== '') {
      throw malformed(`upstream ${options.name}`, `a base that goes by its host has no path`);
    }
    const agent = { keepAlive: true, timeout: IDLE_SOCKET_MS, maxFreeSockets: 256 };
    this.#agent = base.protocol === 'https:' ? new HttpsAgent(agent) : new HttpAgent(agent);
  }

  /** Opens a request for `target`, what is behind the base URL, beginning with "/" or "?" or empty. */
  request(method: string, target: string, headers: string[]): ClientRequest {
    const options = {
      method,
      path: pathOf(this.#path, target),
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

function isSource(key: UpstreamOptions['key']): key is KeySource {
  return typeof key === 'object';
}

/** A request has a path, also where neither the base nor the target does. */
function pathOf(base: string, target: string): string {
  const path = base + target;
  return path.startsWith('/') ? path : `/${path}`;
}
