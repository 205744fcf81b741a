/**
 * A whole server for tests: real logs, a real vault, real tokens, on an ephemeral loopback port.
 *
 * Logs are kept in memory, all else lies in a folder of its own. Time stands still unless a test moves it.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { type Logger, pino } from 'pino';
import { mintToken, type TokenOptions } from '../../server/admin/tokens.ts';
import { encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import type { SteleError } from '../../server/core/errors.ts';
import { type PublicKey, parsePublicKey } from '../../server/core/keys.ts';
import { pae } from '../../server/core/pae.ts';
import { possessionMessage } from '../../server/core/possession.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import type { Tally } from '../../server/http/anchor-figures.ts';
import { createApp } from '../../server/http/app.ts';
import { type Listening, type ListenOptions, listen } from '../../server/http/server.ts';
import type { HttpSettings } from '../../server/http/settings.ts';
import { fingerprints } from '../../server/ingest/fingerprint.ts';
import { Ingest } from '../../server/ingest/ingest.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { KeyObjectSigner } from '../../server/keys/key-object.ts';
import type { Signer } from '../../server/keys/signer.ts';
import { timestamp } from '../../server/log/clock.ts';
import { nextOf } from '../../server/log/goes-on.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { KeyChanges } from '../../server/log/key-changes.ts';
import type { Log } from '../../server/log/log.ts';
import { Logs } from '../../server/log/logs.ts';
import { Memories } from '../../server/log/memories.ts';
import { OwnGateways } from '../../server/log/own-gateways.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import type { Staging } from '../../server/vault/vault.ts';
import { Vaults } from '../../server/vault/vaults.ts';
import type { Witness } from '../../server/witness/giving.ts';
import { TestGatewayKeys } from '../gateway-keys.ts';
import { makeWitness } from '../witness/make.ts';
import { OtherLog } from '../witness/other-log.ts';

export const BASE = 'log.example';

/** Time stands still here, so nothing would ever be filled up again. */
const UNLIMITED = {
  token: { perSecond: 0, burst: 1 },
  address: { perSecond: 0, burst: 1 },
  trustedProxies: [],
};

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  json<T = Record<string, unknown>>(): T;
}

export interface Ask {
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly type?: string;
}

export interface WorldOptions {
  /** Logs that stay open when nobody works on them. */
  readonly openMax?: number;
  readonly settings?: Partial<HttpSettings>;
  readonly listen?: Partial<ListenOptions>;
  /** When the certificate ends that is shown. */
  readonly certificateEndsMs?: number;
  /** Milliseconds that a span waits for its events, where anything does. */
  readonly joinMs?: number;
  /** Thrown in place of anything that would be written. */
  readonly checkSpace?: () => void;
  /** The witness that the instance is, in place of one that knows a single log. */
  readonly witness?: (world: World) => Witness;
}

export class World {
  readonly folder: string;
  readonly instance: InstanceStore;
  readonly logs: Logs;
  readonly vaults: Vaults;
  /** What the server logged: one JSON object a line. */
  readonly lines: string[];
  readonly stopping: AbortController;
  /** What would have ended the process. */
  readonly fatal: Error[] = [];
  /** What targets outside were asked. */
  readonly tallies = new Map<string, Tally>();
  /** Challenges that the server will give out before it makes any of its own. */
  readonly challenges: Uint8Array[] = [];
  now = 1_800_000_000_000;
  readonly access = new TestGatewayKeys(() => newSigner('ed25519'));
  readonly ingestKeys = new TestGatewayKeys(() => newSigner('ed25519'));
  readonly ingest: Ingest;
  /** Work that waits for its time: done when a test says so. */
  readonly later = new Set<() => void>();
  readonly proxyKeys = new TestGatewayKeys(() => newSigner('ed25519'));
  /** Whether a proxy ever ran beside the logs. */
  hasProxy = false;
  readonly ownGateways: OwnGateways;
  /** Of `OtherLog`, where a test does not say otherwise. */
  readonly witness: Witness;
  server!: Listening;
  readonly #options: WorldOptions;
  readonly #logger: Logger;

  static async start(options: WorldOptions = {}): Promise<World> {
    const world = new World(options);
    await world.listen();
    return world;
  }

  private constructor(options: WorldOptions) {
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), 'stele-http-'));
    mkdirSync(join(this.folder, 'state'));
    this.instance = new InstanceStore(join(this.folder, 'stele.db'));
    this.stopping = new AbortController();
    this.lines = [];
    const sink = new Writable({
      write: (chunk, _, done) => {
        this.lines.push(String(chunk));
        done();
      },
    });
    this.#logger = pino({ level: 'debug' }, sink);
    const stores = new Map<string, MemoryStore>();
    const keys = new Map<string, Signer>();
    this.logs = new Logs({
      data: this.folder,
      memories: new Memories([new HighWater(join(this.folder, 'state'))]),
      originBase: BASE,
      instance: this.instance,
      openStore: async (path) => kept(stores, path, () => new MemoryStore()),
      openKey: async (path, alg) => kept(keys, path, () => newSigner(alg)),
      operator: newSigner('ed25519'),
      access: this.access,
      commitContent: (name, contents) =>
        this.vaults.commitAll(name, contents as readonly Staging[]),
      checker: { check: async (jobs) => jobs.map(verdict) },
      clock: { now: () => this.now },
      random: (bytes) => new Uint8Array(randomBytes(bytes)),
      instanceId: 'test',
      software: 'stele/test',
      limits: { queueBytes: 64 * 1024 ** 2, queueAgeMs: 5_000 },
      openMax: this.#options.openMax ?? 64,
      coolingMs: 7 * 86_400_000,
      // Stores in memory are one and the same however often a log is opened.
      closed: (name) => this.vaults.release(name),
      removeFiles: async (name) => {
        for (const path of stores.keys()) if (path.endsWith(`/${name}.db`)) stores.delete(path);
      },
      checkSpace: () => this.#options.checkSpace?.(),
      fatal: (error) => {
        throw error;
      },
      warn: (message, error) => this.#logger.warn({ err: error }, message),
    });
    this.ownGateways = new OwnGateways({
      logs: this.logs,
      instance: this.instance,
      clock: { now: () => this.now },
      access: this.access,
      proxy: async () => (this.hasProxy ? this.proxyKeys : undefined),
      ingest: async () => this.ingestKeys,
      changed: () => {},
      failed: (log, error) => this.#logger.error({ err: error, log }, 'not told yet'),
    });
    const other = new OtherLog();
    const logs = [{ origin: other.origin, keys: [other.key.key] }];
    this.witness =
      options.witness?.(this) ?? makeWitness(this.instance, { nowMs: () => this.now, logs });
    this.vaults = new Vaults({
      data: this.folder,
      kek: new Uint8Array(32).fill(7),
      originOf: (name) => `${BASE}/logs/${name}`,
      now: () => this.now,
    });
    this.ingest = new Ingest({
      logs: this.logs,
      vaults: this.vaults,
      ingested: this.instance.ingested,
      keys: async () => this.ingestKeys,
      fingerprintOf: fingerprints(new Uint8Array(32).fill(7)),
      clock: { now: () => this.now },
      random: (bytes) => new Uint8Array(randomBytes(bytes)),
      software: 'stele/test',
      instance: 'test',
      registered: () => {},
      joinMs: this.#options.joinMs ?? 0,
      later: (_, work) => {
        this.later.add(work);
        return () => this.later.delete(work);
      },
      nextOf: async (name) => (await nextOf(this.logs, name)).name,
    });
  }

  async listen(): Promise<void> {
    const { instance, logs, ownGateways, ingest, vaults, stopping } = this;
    const clock = { now: () => this.now };
    const app = createApp({
      logs,
      instance,
      ownGateways,
      ingest,
      anchors: { now: async () => {}, tallies: this.tallies },
      witness: this.witness,
      witnesses: { now: async () => {} },
      keyChanges: new KeyChanges({
        logs,
        instance,
        clock,
        identityOverlapMs: 30 * 86_400_000,
        changed: () => {},
      }),
      vaults: (name) => vaults.get(name),
      clock,
      logger: this.#logger,
      version: '0.0.0',
      secure: this.#options.listen?.tls !== undefined,
      certificate: this.#certificate,
      fatal: (error) => this.fatal.push(error),
      settings: { rates: UNLIMITED, ...this.#options.settings },
      random: (length) => this.challenges.shift() ?? randomBytes(length),
      stopping: stopping.signal,
    });
    this.server = await listen(app, {
      host: '127.0.0.1',
      port: 0,
      stopping,
      ...this.#options.listen,
    });
  }

  get #certificate(): (() => { readonly endsMs: number }) | undefined {
    const { certificateEndsMs: endsMs, listen: { tls } = {} } = this.#options;
    return endsMs === undefined ? tls && (() => tls.pair) : () => ({ endsMs });
  }

  async stop(): Promise<void> {
    await this.server.close();
    await this.witness.close();
    await this.ingest.close();
    await this.logs.close();
    await this.vaults.close();
    this.instance.close();
    rmSync(this.folder, { recursive: true });
  }

  token(options: Partial<TokenOptions>): string {
    const all = { holder: 'someone', roles: ['read'] as const, logs: ['*'], ...options };
    const { token, row } = mintToken(all, this.now, randomBytes);
    this.instance.insertToken(row);
    return token;
  }

  /** What registers a key over HTTP: the key, and a proof that it is at hand. */
  async registration(name: string, signer: Signer, more: object = {}) {
    const token = this.token({ roles: ['keys'] });
    const asked = await this.ask('POST', `/v1/admin/logs/${name}/gateways/challenge`, { token });
    const { origin, challenge } = asked.json<{ origin: string; challenge: string }>();
    const { keyid, spki } = signer.publicKey;
    const message = possessionMessage(origin, keyid, Buffer.from(challenge, 'base64'));
    const proof = Buffer.from(await signer.sign(message)).toString('base64');
    return { key: Buffer.from(spki).toString('base64'), challenge, proof, ...more };
  }

  /** A log with one registered gateway. */
  async log(name: string, visibility: 'public' | 'proofs' | 'private' = 'proofs') {
    await this.logs.create({ name, visibility });
    const { log } = await this.logs.lease(name);
    const gateway = new Gateway(log, () => this.now);
    await log.registerGateway(gateway.signer.publicKey);
    return { log, gateway };
  }

  /** Sends exactly this path: `fetch` would clean it first. */
  ask(method: string, path: string, { token, headers, body, type }: Ask = {}): Promise<Answer> {
    const { port } = new URL(this.server.url);
    return new Promise((resolve, reject) => {
      const req = request({
        host: '127.0.0.1',
        port,
        method,
        path,
        agent: false,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(type === undefined ? {} : { 'content-type': type }),
          ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }),
          ...headers,
        },
      });
      req.on('error', reject);
      req.on('response', (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', reject);
        res.on('end', () => {
          const bytes = Buffer.concat(chunks);
          const text = bytes.toString();
          resolve({
            status: res.statusCode ?? 0,
            headers: res.headers,
            bytes,
            text,
            json: () => JSON.parse(text),
          });
        });
      });
      req.end(body);
    });
  }

  get(path: string, ask: Ask = {}): Promise<Answer> {
    return this.ask('GET', path, ask);
  }
}

function kept<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

export function newSigner(alg: 'ed25519' | 'ecdsa-p256'): Signer {
  const { privateKey, publicKey } =
    alg === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  return new KeyObjectSigner(privateKey, parsePublicKey(alg, spki));
}

function verdict(job: { key: PublicKey; message: Uint8Array; signature: Uint8Array }) {
  try {
    checkSignatureNative(job.key, job.message, job.signature);
    return undefined;
  } catch (error) {
    return error as SteleError;
  }
}

export interface RecordOptions {
  readonly recordId?: string;
  readonly log?: string;
  readonly source?: string;
  /** Names and digests. */
  readonly commitments?: Readonly<Record<string, string>>;
}

/** A gateway of one log, with a source whose chain it keeps. */
export class Gateway {
  readonly signer: Signer;
  readonly #log: Log;
  readonly #now: () => number;
  #seq = 0;

  constructor(log: Log, now: () => number, signer: Signer = newSigner('ed25519')) {
    this.#log = log;
    this.#now = now;
    this.signer = signer;
  }

  /** An entry with a fresh record: a heartbeat, or with commitments an intent. */
  async entry(options: RecordOptions = {}): Promise<Uint8Array> {
    return (await this.make(options)).bytes;
  }

  async make(options: RecordOptions = {}) {
    const payload = this.payload(options);
    const { keyid } = this.signer.publicKey;
    const sig = await this.signer.sign(pae(RECORD_TYPE, payload));
    const entry = { payloadType: RECORD_TYPE, payload, signatures: [{ keyid, sig }] };
    return { entry, bytes: encodeEntry(entry), recordId: recordIdOf(payload) };
  }

  payload(options: RecordOptions = {}): Uint8Array {
    const { recordId, log = this.#log.origin, source = 'gateway-1', commitments } = options;
    const now = this.#now();
    const received = timestamp(now);
    const seq = this.#seq++;
    return formatRecord({
      schema: 'stele.record/1',
      log,
      record_id: recordId ?? uuidv7(now, new Uint8Array(randomBytes(10))),
      source: {
        id: source,
        instance: 'one',
        seq,
        prev: seq === 0 ? null : 'A'.repeat(43),
        provenance: 'observed',
        completeness: 'full',
        software: 'test/1',
      },
      ...(commitments === undefined
        ? { kind: 'heartbeat', time: { received }, heartbeat: { seq } }
        : {
            kind: 'intent',
            time: { received, clock: { source: 'ntp' } },
            ids: { gateway_request: 'r', attempt: 1 },
            auth: { tenant: 'default', method: 'none', principal_type: 'user' },
            input: { format: 'openai.chat', context: 'complete', bytes_class: 8 },
            commitments: { alg: 'sha-256', form: 'sd-disclosure/1', fields: commitments },
          }),
    } as unknown as AuditRecord);
  }
}

function recordIdOf(payload: Uint8Array): string {
  return (JSON.parse(Buffer.from(payload).toString()) as { record_id: string }).record_id;
}
