/**
 * A strict witness: it really verifies, really keeps what it cosigned, and answers as the specification says;
 * it may also be made to fail, to forget and to lie. It runs in memory or behind HTTP.
 *
 * [C2SP tlog-witness]
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { equalBytes, utf8 } from '../../server/core/bytes.ts';
import { type Checkpoint, openCheckpoint } from '../../server/core/checkpoint.ts';
import { SteleError } from '../../server/core/errors.ts';
import { EMPTY_ROOT } from '../../server/core/merkle.ts';
import { formatNote, parseNote, type VerifierKey } from '../../server/core/note.ts';
import { checkConsistency } from '../../server/core/proof.ts';
import {
  ADD_CHECKPOINT_BYTES_MAX,
  checkpointPathOf,
  formatCosignatures,
  formatTlogSize,
  parseAddCheckpoint,
  TLOG_SIZE_TYPE,
} from '../../server/core/tlog-witness.ts';
import { treeSize } from '../../server/core/units.ts';
import type { Answered, Asked } from '../../server/outbound.ts';
import { mldsaKey, type TestKey, witnessKey } from '../core/note-keys.ts';

export interface Reply {
  readonly status: number;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** It takes the request and gives no answer. */
export const SILENCE = Symbol('silence');

/** In place of what it would do; it may call for that first. */
export type Instead = (
  honest: () => Reply,
  body: Uint8Array,
) => Reply | typeof SILENCE | Promise<Reply | typeof SILENCE>;

interface Cosigned {
  readonly checkpoint: Checkpoint;
  readonly note: string;
}

export interface DoubleOptions {
  readonly name?: string;
  readonly seed?: number;
  /** Cosigns with ML-DSA-44 as well. */
  readonly mldsa?: boolean;
  /** Milliseconds. */
  readonly now?: () => number;
}

export class WitnessDouble {
  readonly name: string;
  /** Bodies as they came. */
  readonly asked: Uint8Array[] = [];
  /** What happens to the next requests, first to last; then they are answered as they should be. */
  readonly plan: Instead[] = [];
  /** Whether it has a monitoring endpoint. */
  serves = true;
  readonly #seed: number;
  readonly #mldsa: boolean;
  readonly #now: () => number;
  readonly #logs = new Map<string, readonly VerifierKey[]>();
  /** By origin: all that it ever knows. */
  readonly kept = new Map<string, Cosigned>();
  #server: Server | undefined;

  constructor({ name = 'w.example', seed = 1, mldsa = false, now = Date.now }: DoubleOptions = {}) {
    this.name = name;
    this.#seed = seed;
    this.#mldsa = mldsa;
    this.#now = now;
  }

  keys(timeS = Math.floor(this.#now() / 1_000)): readonly TestKey[] {
    const ed25519 = witnessKey(this.name, this.#seed, timeS);
    return this.#mldsa ? [ed25519, mldsaKey(this.name, this.#seed, timeS)] : [ed25519];
  }

  /** The lines of a policy that names it, by `name` and, for its second key, `name-mldsa`. */
  policyLines(url = this.url): string {
    return this.keys()
      .map(({ key }, i) => `witness ${this.name}${i === 0 ? '' : '-mldsa'} ${key.text} ${url}\n`)
      .join('');
  }

  knows(origin: string, keys: readonly VerifierKey[]): void {
    this.#logs.set(origin, keys);
  }

  sizeOf(origin: string): number {
    return this.kept.get(origin)?.checkpoint.size ?? 0;
  }

  /** Cosigns a head without having asked for a proof: as another copy of the log had it shown. */
  keep(origin: string, note: string): void {
    const checkpoint = this.#open(origin, utf8(note));
    this.kept.set(origin, { checkpoint, note: this.#cosign(note) });
  }

  /** One request, as both forms of it are answered. */
  async handle(method: string, path: string, body: Uint8Array): Promise<Reply | typeof SILENCE> {
    if (method === 'GET') return this.#get(path);
    if (method !== 'POST' || path !== '/add-checkpoint') return { status: 404 };
    this.asked.push(body);
    const instead = this.plan.shift();
    return instead === undefined ? this.#add(body) : instead(() => this.#add(body), body);
  }

  /** As `Outbound.ask` of somebody whose base URL for it is `https://NAME`. */
  async ask(url: string, { method = 'GET', body, timeoutMs }: Asked): Promise<Answered> {
    const reply = await this.handle(method, new URL(url).pathname, body ?? new Uint8Array());
    if (reply === SILENCE) {
      throw new SteleError('storage', `${this.name}: no answer within ${timeoutMs} ms`);
    }
    const headers = new Headers({ 'content-type': reply.type ?? 'text/plain', ...reply.headers });
    const retryAfter = headers.get('retry-after');
    const said = reply.body ?? '';
    return {
      status: reply.status,
      bytes: typeof said === 'string' ? utf8(said) : said,
      header: (name) => headers.get(name),
      retryAfterS: retryAfter === null ? undefined : Number(retryAfter),
    };
  }

  get url(): string {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    return address == null ? `https://${this.name}` : `http://127.0.0.1:${address.port}`;
  }

  async listen(port = 0): Promise<void> {
    this.#server = createServer((req, res) => {
      const parts: Buffer[] = [];
      req.on('data', (part: Buffer) => parts.push(part));
      req.on('end', async () => {
        const body = new Uint8Array(Buffer.concat(parts));
        const reply = await this.handle(req.method ?? '', req.url ?? '', body);
        if (reply === SILENCE) {
          res.destroy();
          return;
        }
        res.writeHead(reply.status, {
          'content-type': reply.type ?? 'text/plain',
          ...reply.headers,
        });
        res.end(reply.body ?? '');
      });
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.listen(port, '127.0.0.1', resolve);
    await promise;
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  #get(path: string): Reply {
    if (!this.serves) return { status: 404 };
    for (const [origin, { note }] of this.kept) {
      if (path === `/${checkpointPathOf(origin)}`) return { status: 200, body: note };
    }
    return { status: 404 };
  }

  #add(body: Uint8Array): Reply {
    if (body.length > ADD_CHECKPOINT_BYTES_MAX) return { status: 400 };
    let asked: ReturnType<typeof parseAddCheckpoint>;
    let origin: string;
    try {
      asked = parseAddCheckpoint(body);
      origin = parseNote(asked.checkpoint).text.split('\n')[0] ?? '';
    } catch (error) {
      return { status: 400, body: String(error) };
    }
    if (!this.#logs.has(origin)) return { status: 404 };
    let checkpoint: Checkpoint;
    try {
      checkpoint = this.#open(origin, asked.checkpoint);
    } catch {
      return { status: 403 };
    }
    const { size, root } = checkpoint;
    const { old, proof } = asked;
    if (old > size) return { status: 400 };
    const last = this.kept.get(origin)?.checkpoint;
    if (old !== (last?.size ?? 0)) {
      const told = formatTlogSize(treeSize(last?.size ?? 0));
      return { status: 409, type: TLOG_SIZE_TYPE, body: told };
    }
    if (size === 0 && !equalBytes(root, EMPTY_ROOT)) return { status: 422 };
    if (old === 0 && proof.length > 0) return { status: 422 };
    if (last !== undefined && old > 0) {
      try {
        checkConsistency({ from: old, to: size, fromRoot: last.root, toRoot: root, proof });
      } catch {
        return { status: 422 };
      }
    }
    const { text } = parseNote(asked.checkpoint);
    const note = Buffer.from(asked.checkpoint).toString();
    this.kept.set(origin, { checkpoint, note: this.#cosign(note) });
    return { status: 200, body: formatCosignatures(this.keys().map((key) => key.line(text))) };
  }

  #open(origin: string, note: Uint8Array): Checkpoint {
    return openCheckpoint(note, origin, this.#logs.get(origin) ?? []).checkpoint;
  }

  #cosign(note: string): string {
    const { text, signatures } = parseNote(utf8(note));
    const lines = this.keys().map((key) => key.line(text));
    return formatNote({ text, signatures: [...signatures, ...lines] });
  }
}
