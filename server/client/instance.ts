/**
 * The instance over HTTP: its logs, gateways, tokens and keys, for whoever has a token for that.
 */
import { utf8 } from '../core/bytes.ts';
import { parseJson } from '../core/json.ts';
import { type JsonObject, list, object, segment, text } from './client.ts';
import { type Question, Transport, type TransportOptions } from './transport.ts';

export interface NewLog {
  readonly name: string;
  readonly visibility?: string;
  readonly rules?: NewRules;
  /** The log that it follows, which has ended or signs nothing more. */
  readonly previous?: string;
}

export interface NewRules {
  /** What the log takes beside audit records is listed too. */
  readonly payload_types?: readonly string[];
  readonly continuity?: 'flag' | 'require';
  readonly entries_per_second?: number;
  readonly bytes_per_day?: number;
}

export interface LogChanges {
  readonly visibility?: string;
  /** What is not named stays; a limit that is null is taken away. */
  readonly rules?: Omit<NewRules, 'entries_per_second' | 'bytes_per_day'> & {
    readonly entries_per_second?: number | null;
    readonly bytes_per_day?: number | null;
  };
}

export interface NewGateway {
  /** The public key in any form that `core/key-text.ts` reads. */
  readonly key: string;
  readonly source?: string;
  /** RFC 3339. Without them a certificate's own period counts. */
  readonly not_before?: string;
  readonly not_after?: string;
  /** A challenge of `challengeGateway`, and the key's signature over it, in base64. */
  readonly challenge?: string;
  readonly proof?: string;
}

export interface NewLogKey {
  readonly purpose: 'identity' | 'anchor';
  readonly compromised?: boolean;
  readonly finish?: boolean;
}

export interface EndedLogKey {
  readonly purpose: 'identity' | 'anchor';
  readonly keyid?: string;
  readonly compromised?: boolean;
}

export interface NewOwnKey {
  readonly purpose: 'access' | 'proxy' | 'ingest';
  readonly compromised?: boolean;
}

export interface NewToken {
  readonly holder: string;
  readonly roles: readonly string[];
  readonly logs: readonly string[];
  /** RFC 3339. */
  readonly expires?: string;
}

/** An act was not done: by the two-person rule it waits until another holder approves it. */
export class WaitsForApproval extends Error {
  /** As `listRequests` has it. */
  readonly request: JsonObject;
  /** Shown this once: the token that counts from the approval on. */
  readonly token: string | undefined;

  constructor({ request, token }: JsonObject) {
    const asked = object(request, 'request');
    super(`request ${text(asked, 'id')} waits until another holder approves it`);
    this.name = 'WaitsForApproval';
    this.request = asked;
    this.token = typeof token === 'string' ? token : undefined;
  }
}

/**
 * What can be administered. The answers are the JSON of `/v1/admin`, whether a server gave them or the
 * files did. Over HTTP an act on keys may throw `WaitsForApproval`.
 */
export interface Administration {
  createLog(log: NewLog): Promise<JsonObject>;
  listLogs(): Promise<readonly JsonObject[]>;
  showLog(name: string): Promise<JsonObject>;
  /** A challenge for a key to be registered: {origin, challenge, expires}. */
  challengeGateway(log: string): Promise<JsonObject>;
  changeLog(name: string, changes: LogChanges): Promise<JsonObject>;
  freezeLog(name: string, reason: string | undefined): Promise<JsonObject>;
  /** Ends a log and begins the one that follows; the answer is that one. */
  rollLog(name: string, next: string | undefined): Promise<JsonObject>;
  /** `typed` is the name once more. */
  retireLog(name: string, typed: string): Promise<JsonObject>;
  unretireLog(name: string): Promise<JsonObject>;
  registerGateway(log: string, gateway: NewGateway): Promise<JsonObject>;
  listGateways(log: string): Promise<readonly JsonObject[]>;
  revokeGateway(log: string, keyid: string): Promise<JsonObject>;
  /** Announces another key of the log itself; the answer says what becomes of those before it. */
  rotateKey(log: string, key: NewLogKey): Promise<JsonObject>;
  retireKey(log: string, key: EndedLogKey): Promise<JsonObject>;
  /** Gives the server itself another key: of access records, or of the proxy beside the logs. */
  rotateOwnKey(key: NewOwnKey): Promise<JsonObject>;
  createToken(token: NewToken): Promise<JsonObject>;
  listTokens(): Promise<readonly JsonObject[]>;
  revokeToken(id: string): Promise<JsonObject>;
  listKeys(): Promise<readonly JsonObject[]>;
  /** Shows a log's newest head to the targets outside: {anchoring}. */
  anchorLog(name: string): Promise<JsonObject>;
  /** The instance as a witness of other logs: {name, keys, witnessed, logs}. */
  witness(): Promise<JsonObject>;
  /** What it refused and logs had signed, the newest first: {evidence}. */
  witnessEvidence(before?: number): Promise<JsonObject>;
  /** Shows the newest head to the witnesses now: {witnessing}. */
  witnessLog(name: string): Promise<JsonObject>;
  /** Acts that wait for the approval of another holder. */
  listRequests(): Promise<readonly JsonObject[]>;
  /** The answer is that of the act. */
  approveRequest(id: string): Promise<JsonObject>;
  rejectRequest(id: string): Promise<JsonObject>;
  close(): Promise<void>;
}

/** Longer than the server waits for those it asks. */
const ANCHOR_TIMEOUT_MS = 60_000;

export class InstanceClient implements Administration {
  readonly #http: Transport;

  /** `base` is the server's address, such as http://127.0.0.1:8080. */
  constructor(options: TransportOptions) {
    this.#http = new Transport(options);
  }

  async createLog(log: NewLog): Promise<JsonObject> {
    return this.#send('/v1/admin/logs', { ...log });
  }

  async listLogs(): Promise<readonly JsonObject[]> {
    return list((await this.#ask('/v1/admin/logs')).logs, 'logs');
  }

  async showLog(name: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/logs/${segment(name)}`);
  }

  async challengeGateway(log: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/logs/${segment(log)}/gateways/challenge`, { method: 'POST' });
  }

  async changeLog(name: string, changes: LogChanges): Promise<JsonObject> {
    return this.#send(`/v1/admin/logs/${segment(name)}`, { ...changes }, 'PATCH');
  }

  async freezeLog(name: string, reason: string | undefined): Promise<JsonObject> {
    const end = reason === undefined ? {} : { reason };
    return this.#send(`/v1/admin/logs/${segment(name)}/freeze`, end);
  }

  async rollLog(name: string, next: string | undefined): Promise<JsonObject> {
    const wanted = next === undefined ? {} : { name: next };
    return this.#send(`/v1/admin/logs/${segment(name)}/roll`, wanted);
  }

  async retireLog(name: string, typed: string): Promise<JsonObject> {
    return this.#send(`/v1/admin/logs/${segment(name)}/retire`, { name: typed });
  }

  async unretireLog(name: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/logs/${segment(name)}/retire`, { method: 'DELETE' });
  }

  async registerGateway(log: string, gateway: NewGateway): Promise<JsonObject> {
    return this.#send(`/v1/admin/logs/${segment(log)}/gateways`, { ...gateway });
  }

  async listGateways(log: string): Promise<readonly JsonObject[]> {
    return list((await this.#ask(`/v1/admin/logs/${segment(log)}/gateways`)).gateways, 'gateways');
  }

  async revokeGateway(log: string, keyid: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/logs/${segment(log)}/gateways/${segment(keyid)}`, {
      method: 'DELETE',
    });
  }

  async rotateKey(log: string, key: NewLogKey): Promise<JsonObject> {
    return this.#send(`/v1/admin/logs/${segment(log)}/keys/rotate`, { ...key });
  }

  async retireKey(log: string, key: EndedLogKey): Promise<JsonObject> {
    return this.#send(`/v1/admin/logs/${segment(log)}/keys/retire`, { ...key });
  }

  async rotateOwnKey(key: NewOwnKey): Promise<JsonObject> {
    return this.#send('/v1/admin/keys/rotate', { ...key });
  }

  async createToken(token: NewToken): Promise<JsonObject> {
    return this.#send('/v1/admin/tokens', { ...token });
  }

  async listTokens(): Promise<readonly JsonObject[]> {
    return list((await this.#ask('/v1/admin/tokens')).tokens, 'tokens');
  }

  async revokeToken(id: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/tokens/${segment(id)}`, { method: 'DELETE' });
  }

  async listKeys(): Promise<readonly JsonObject[]> {
    return list((await this.#ask('/v1/admin/keys')).keys, 'keys');
  }

  async anchorLog(name: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/logs/${segment(name)}/anchor`, {
      method: 'POST',
      timeoutMs: ANCHOR_TIMEOUT_MS,
    });
  }

  async witnessLog(name: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/logs/${segment(name)}/witness`, {
      method: 'POST',
      timeoutMs: ANCHOR_TIMEOUT_MS,
    });
  }

  async witness(): Promise<JsonObject> {
    return this.#ask('/v1/witness');
  }

  async witnessEvidence(before?: number): Promise<JsonObject> {
    const query = before === undefined ? '' : `?before=${before}`;
    return this.#ask(`/v1/admin/witness/evidence${query}`);
  }

  async listRequests(): Promise<readonly JsonObject[]> {
    return list((await this.#ask('/v1/admin/requests')).requests, 'requests');
  }

  async approveRequest(id: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/requests/${segment(id)}/approve`, { method: 'POST' });
  }

  async rejectRequest(id: string): Promise<JsonObject> {
    return this.#ask(`/v1/admin/requests/${segment(id)}`, { method: 'DELETE' });
  }

  /** The logs that the token, or anybody, may see. */
  async visibleLogs(): Promise<readonly JsonObject[]> {
    return list((await this.#ask('/v1/logs')).logs, 'logs');
  }

  /** The verifier keys of the logs that may be seen. */
  async keys(): Promise<readonly JsonObject[]> {
    return list((await this.#ask('/v1/keys')).keys, 'keys');
  }

  /** `name`, `version`, and where things are. */
  async about(): Promise<JsonObject> {
    return this.#ask('/.well-known/stele');
  }

  async ready(): Promise<JsonObject> {
    return this.#ask('/readyz');
  }

  async close(): Promise<void> {}

  #send(path: string, body: object, method: 'POST' | 'PATCH' = 'POST'): Promise<JsonObject> {
    return this.#ask(path, {
      method,
      body: utf8(JSON.stringify(body)),
      headers: { 'content-type': 'application/json' },
    });
  }

  async #ask(path: string, question: Question = {}): Promise<JsonObject> {
    const { status, bytes } = await this.#http.ask(path, question);
    const answer = object(parseJson(bytes, 'answer'), 'answer');
    if (status === 202) throw new WaitsForApproval(answer);
    return answer;
  }
}
