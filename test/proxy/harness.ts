/**
 * A proxy for tests: a log in memory that checks what it gets, a key, a disk that can fail, and raw HTTP
 * against it, so that a test sees every byte.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Content } from '../../server/client/multipart.ts';
import { sha256, toBase64url } from '../../server/core/bytes.ts';
import { bodyValueOf, parseDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError, unverified } from '../../server/core/errors.ts';
import type { Json } from '../../server/core/json.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { pae } from '../../server/core/pae.ts';
import {
  type Record as AuditRecord,
  commitmentsOf,
  type InferenceRecord,
  parseRecord,
} from '../../server/core/record.ts';
import { checkSignature } from '../../server/core/signature.ts';
import { type Window, windowMessage, windowRoot } from '../../server/core/window.ts';
import type { Signer } from '../../server/keys/signer.ts';
import {
  type ProxyOptions,
  type RunningProxy,
  startProxy,
  type UpstreamOptions,
} from '../../server/proxy/proxy.ts';
import type { LogPort, SeriesPort } from '../../server/proxy/source.ts';
import type { FaultDisk } from './fault-disk.ts';

export const ORIGIN = 'log.example/logs/default';

export function testSigner(): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  return {
    publicKey: parsePublicKey('ed25519', spki),
    sign: async (message) => new Uint8Array(sign(null, message, privateKey)),
    close: async () => {},
  };
}

export interface Logged {
  readonly record: AuditRecord;
  readonly entry: Uint8Array;
  readonly disclosures: ReadonlyMap<string, Json>;
  readonly bodies: ReadonlyMap<string, Buffer>;
}

/** Takes what a log would take: every signature, record, commitment, body and link of the chain is checked. */
export class TestLog implements LogPort {
  readonly logged: Logged[] = [];
  readonly attempts: string[] = [];
  /** Throws or waits instead of logging, where a test wants it. */
  refuse: (record: AuditRecord) => Promise<void> | void = () => {};
  /** From then on it takes nothing more. */
  isEnded = false;
  readonly origin: string;
  /** The key that the source belongs to; those before it may only repeat what they said. */
  #owner: Signer;
  readonly #signers: Signer[];
  #waiting: (() => void)[] = [];

  constructor(signer: Signer, origin = ORIGIN) {
    this.origin = origin;
    this.#owner = signer;
    this.#signers = [signer];
  }

  get owner(): Signer {
    return this.#owner;
  }

  handOver(next: Signer): void {
    this.#owner = next;
    if (!this.#signers.includes(next)) this.#signers.push(next);
  }

  async submit(bytes: Uint8Array, content?: Content) {
    const entry = decodeEntry(bytes);
    const [signature] = entry.signatures;
    if (signature === undefined) throw unverified('entry', 'no signature');
    const statement = pae(entry.payloadType, entry.payload);
    const { window } = signature;
    const message =
      window === undefined
        ? statement
        : windowMessage(this.origin, window.size, windowRoot(statement, window));
    const signer = this.#signers.find(({ publicKey }) => publicKey.keyid === signature.keyid);
    checkSignature((signer ?? this.#owner).publicKey, message, signature.sig);
    const record = parseRecord(entry.payload, this.origin);
    this.attempts.push(record.record_id);
    await this.refuse(record);
    const known = this.logged.findIndex((l) => l.record.record_id === record.record_id);
    if (known < 0 && this.isEnded) throw new SteleError('frozen', `log ${this.origin} ended`);
    const index = known < 0 ? this.logged.length : known;
    if (known < 0 && signer !== this.#owner) {
      throw new SteleError('forbidden', `source ${record.source.id} belongs to another key`);
    }
    if (known < 0)
      this.logged.push({ record, entry: bytes, ...(await checkContent(record, content)) });
    for (const wake of this.#waiting.splice(0)) wake();
    return index;
  }

  sources: LogPort['sources'] = () => Promise.resolve([]);

  /** Records of calls, in the order of their seqs. */
  get calls(): InferenceRecord[] {
    return this.#sorted().flatMap((r) => (r.kind === 'inference' ? [r] : []));
  }

  get gaps() {
    return this.#sorted().flatMap((r) => (r.kind === 'gap' ? [r.gap] : []));
  }

  /** Resolves with the first `n` records of calls. */
  async untilCalls(n: number): Promise<InferenceRecord[]> {
    await this.until(() => this.calls.length >= n);
    return this.calls;
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  of(recordId: string): Logged {
    const found = this.logged.find((l) => l.record.record_id === recordId);
    if (found === undefined) throw new Error(`no record ${recordId}`);
    return found;
  }

  /** Seqs from 0 without a hole, each naming the one before. */
  checkChain(): void {
    let prev: string | null = null;
    for (const [i, { entry, record }] of this.#entries().entries()) {
      if (record.source.seq !== i) throw new Error(`seq ${record.source.seq} where ${i} is next`);
      if (record.source.prev !== prev) throw new Error(`record ${i} names another predecessor`);
      prev = toBase64url(sha256(decodeEntry(entry).payload));
    }
  }

  /** The window that each record was signed in, by seq; nothing where it was signed alone. */
  get windows(): (Window | undefined)[] {
    return this.#entries().map(({ entry }) => decodeEntry(entry).signatures[0]?.window);
  }

  #entries(): Logged[] {
    return [...this.logged].sort((a, b) => a.record.source.seq - b.record.source.seq);
  }

  #sorted(): AuditRecord[] {
    return this.#entries().map((l) => l.record);
  }
}

/** Logs that follow each other. */
export class TestSeries implements SeriesPort {
  readonly logs: TestLog[];
  /** Rejects, where a test wants it. */
  before: () => Promise<void> | void = () => {};
  asked = 0;

  constructor(...logs: TestLog[]) {
    this.logs = logs;
  }

  log(origin: string): LogPort {
    const found = this.logs.find((log) => log.origin === origin);
    if (found === undefined) throw new SteleError('not_found', `no log ${origin}`);
    return found;
  }

  async next(origin: string): Promise<string> {
    this.asked++;
    await this.before();
    const at = this.logs.findIndex((log) => log.origin === origin);
    const next = this.logs[at + 1];
    if (next === undefined) throw new SteleError('not_yet', 'it is being made');
    return next.origin;
  }

  /** Every record of all logs, by number: none twice, each naming the one before, none missing without a gap. */
  checkChain(): void {
    const all = this.logs.flatMap(({ logged }) => logged);
    const bySeq = new Map(all.map((one) => [one.record.source.seq, one]));
    if (bySeq.size !== all.length) throw new Error('a number is used twice');
    const named = new Set(
      all.flatMap(({ record }) => {
        if (record.kind !== 'gap' || record.gap.source !== record.source.id) return [];
        const { seq_from, seq_to } = record.gap;
        return Array.from({ length: seq_to - seq_from + 1 }, (_, i) => seq_from + i);
      }),
    );
    const last = Math.max(...bySeq.keys());
    for (let seq = 0; seq <= last; seq++) {
      const one = bySeq.get(seq);
      if (one === undefined && !named.has(seq)) throw new Error(`nothing says where ${seq} is`);
      const before = bySeq.get(seq - 1);
      if (one === undefined || before === undefined) continue;
      const digest = toBase64url(sha256(decodeEntry(before.entry).payload));
      if (one.record.source.prev !== digest) throw new Error(`${seq} names another predecessor`);
    }
  }
}

async function checkContent(record: AuditRecord, content: Content | undefined) {
  const digests = commitmentsOf(record);
  const disclosures = new Map<string, Json>();
  const bodies = new Map<string, Buffer>();
  for (const text of content?.disclosures ?? []) {
    const { name, value, digest } = parseDisclosure(text);
    if (digests.get(name) !== digest) throw unverified('disclosure', `${name} is not committed to`);
    disclosures.set(name, value);
  }
  for (const { field, open, bytes } of content?.bodies ?? []) {
    const parts: Uint8Array[] = [];
    for await (const part of open()) parts.push(part);
    const body = Buffer.concat(parts);
    const said = bodyValueOf(disclosures.get(field) ?? null);
    const digest = createHash('sha256').update(body).digest('base64url');
    if (said?.bytes !== body.length || bytes !== body.length || said.sha256 !== digest) {
      throw unverified('body', `${field} is not what was committed to`);
    }
    bodies.set(field, body);
  }
  return { disclosures, bodies };
}

export interface Setup {
  readonly proxy: RunningProxy;
  readonly log: TestLog;
  readonly signer: Signer;
  readonly dir: string;
  readonly kek: Uint8Array;
  readonly lines: string[];
}

export interface SetupOptions extends Partial<Omit<ProxyOptions, 'upstreams' | 'logs'>> {
  /** Address of the provider, without a path. */
  readonly upstream: string;
  readonly posture?: 'enforce' | 'observe' | 'strict';
  /** Whether `any` takes what comes under the host of the provider, which is also that of the proxy. */
  readonly byHost?: boolean;
  /** Of both upstreams. */
  readonly upstreamOptions?: Partial<UpstreamOptions>;
  readonly disk?: FaultDisk;
  readonly log?: TestLog;
  readonly series?: SeriesPort;
}

/** Starts a proxy; it is stopped when the test ends, in whatever state it is. */
export async function setUp(options: SetupOptions): Promise<Setup> {
  const {
    upstream,
    posture,
    byHost = false,
    disk,
    log: givenLog,
    series: givenSeries,
    ...others
  } = options;
  const { upstreamOptions, ...rest } = others;
  const signer = rest.signer ?? testSigner();
  const log = givenLog ?? new TestLog(signer);
  const series = givenSeries ?? new TestSeries(log);
  const dir = rest.dir ?? temporaryFolder();
  const kek = rest.kek ?? new Uint8Array(randomBytes(32));
  const lines: string[] = [];
  const write = (facts: object, message: string) => {
    lines.push(JSON.stringify({ message, ...facts }));
  };
  const proxy = await startProxy({
    listen: { host: '127.0.0.1', port: 0 },
    upstreams: ['openai', 'anthropic', 'any'].map((name) => ({
      name,
      // Whole paths go to `any`.
      base: name === 'any' ? upstream : `${upstream}/v1`,
      log: 'default',
      posture,
      ...upstreamOptions,
      byHost: name === 'any' && byHost,
    })),
    logs: new Map([['default', ORIGIN]]),
    series,
    sourceId: 'proxy-test',
    logger: { info: write, warn: write, error: write },
    ...(disk === undefined ? {} : { openDisk: async () => disk }),
    ...rest,
    timeouts: { retryMs: 5, gatherMs: 0, ...rest.timeouts },
    signer,
    dir,
    kek,
  });
  onTestFinished(() => proxy.close().catch(() => {}));
  return { proxy, log, signer, dir, kek, lines };
}

export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'stele-proxy-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export interface Answer {
  readonly status: number;
  readonly statusMessage: string;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage['headers'];
  readonly rawTrailers: readonly string[];
  readonly body: Buffer;
  /** Whether it ended as HTTP says it should. */
  readonly isWhole: boolean;
  readonly recordId: string;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string> | string[];
  readonly body?: Uint8Array | string;
}

/** One request on a connection of its own; resolves however it ends. */
export async function ask(
  url: string,
  { method = 'POST', headers, body }: Ask = {},
): Promise<Answer> {
  const req = request(url, {
    method,
    agent: false,
    headers: headers ?? { 'content-type': 'application/json' },
  });
  req.end(body);
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  let isWhole = true;
  try {
    for await (const part of res) parts.push(part as Buffer);
  } catch {
    isWhole = false;
  }
  return {
    status: res.statusCode ?? 0,
    statusMessage: res.statusMessage ?? '',
    rawHeaders: res.rawHeaders,
    headers: res.headers,
    rawTrailers: res.rawTrailers,
    body: Buffer.concat(parts),
    isWhole: isWhole && res.complete,
    recordId: String(res.headers['x-stele-record-id'] ?? ''),
  };
}

/** A raw connection to the proxy, for what a well-behaved client would not do. */
export class RawClient {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect(Number(port), hostname);
    const wake = () => {
      for (const resolve of this.#waiting.splice(0)) resolve();
    };
    this.socket.on('data', (data) => {
      this.received = Buffer.concat([this.received, data]);
      wake();
    });
    this.socket.on('close', () => {
      this.isClosed = true;
      wake();
    });
    this.socket.on('error', () => {});
    onTestFinished(() => void this.socket.destroy());
  }

  post(path: string, body: string, headers = ''): void {
    this.socket.write(
      `POST ${path} HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n${headers}` +
        `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }

  get text(): string {
    return this.received.toString('latin1');
  }

  async until(holds: (client: this) => boolean): Promise<void> {
    while (!holds(this)) {
      if (this.isClosed) throw new Error(`closed after ${JSON.stringify(this.text.slice(-200))}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

export function refusal(code: ConstructorParameters<typeof SteleError>[0]): SteleError {
  return new SteleError(code, `made up for a test: ${code}`);
}

/** A promise and what settles it, for holding something in the middle. */
export function gate(): { readonly passed: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { passed: promise, open: resolve };
}
