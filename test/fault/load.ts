/**
 * Load from two sides on a log that may die at any moment: gateways that submit their own records, and
 * callers of the proxy.
 *
 * A gateway must not lose a record: what was not answered is sent again, to whatever answers next, until
 * it is. A caller of the proxy just goes on, and remembers what it got.
 */
import { request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { LogClient } from '../../server/client/client.ts';
import { signWindow } from '../../server/client/sign.ts';
import { parseBase64, parseHex, utf8 } from '../../server/core/bytes.ts';
import { decodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { hasCode, SteleError } from '../../server/core/errors.ts';
import { NOTE_TREE_HEAD } from '../../server/core/note.ts';
import { hash } from '../../server/core/units.ts';
import { CtClient } from '../http/ct-client.ts';
import type { Author, Draft } from './author.ts';
import type { Ledger } from './ledger.ts';
import type { Place } from './process.ts';
import type { Random } from './random.ts';

/** Whether something answers now; who does not know waits. */
export class Gate {
  #open = Promise.withResolvers<void>();
  isOpen = false;

  open(): void {
    this.isOpen = true;
    this.#open.resolve();
  }

  shut(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#open = Promise.withResolvers<void>();
  }

  passed(): Promise<void> {
    return this.#open.promise;
  }
}

/** Where a log is, and who is let in there. */
export interface Door {
  readonly base: string;
  readonly token: string;
}

export interface Load {
  readonly place: Place;
  /** Where gateways submit, asked each time: it moves when the server is started again. */
  readonly door: () => Door;
  readonly ledger: Ledger;
  /** The log answers. */
  readonly gate: Gate;
  /** Where the proxy runs, and whether it answers: with the log, or by itself. */
  readonly proxy: { readonly place: Place; readonly gate: Gate };
  readonly random: Random;
  /** Set when every client finishes what it has begun, and begins nothing new. */
  ending: boolean;
  /** Submissions without an answer, each sent again later. */
  unanswered: number;
}

/** Between two submissions of one client, at most. */
const PAUSE_MS = 25;

/** Sends until it is answered. Anything but a lost or busy server is an error. */
async function untilAnswered(load: Load, send: (log: LogClient) => Promise<void>): Promise<void> {
  for (;;) {
    await load.gate.passed();
    try {
      await send(new LogClient(load.door()));
      return;
    } catch (error) {
      if (!hasCode(error, 'storage') && !hasCode(error, 'pushback')) throw error;
      load.unanswered++;
      await pause(load.random.int(1, PAUSE_MS));
    }
  }
}

/** A gateway that submits one record at a time, and now and then one that was answered before. */
export async function submitSingly(load: Load, author: Author): Promise<void> {
  const before: Draft[] = [];
  while (!load.ending) {
    const again = before.length > 0 && load.random.chance(0.15);
    const draft = again ? (before[load.random.int(0, before.length)] as Draft) : author.next();
    await untilAnswered(load, async (log) => {
      const { receipt, repeat } = await log.submit(await author.sign(draft));
      load.ledger.receipt(receipt);
      if (again && !repeat) throw new Error('what was answered before was taken for new');
    });
    if (!again) before.push(draft);
    await pause(load.random.int(0, PAUSE_MS));
  }
}

/** A gateway that submits records by the dozen. */
export async function submitInBatches(load: Load, author: Author): Promise<void> {
  while (!load.ending) {
    const drafts = Array.from({ length: load.random.int(1, 40) }, () => author.next());
    const entries = await Promise.all(drafts.map((draft) => author.sign(draft)));
    await untilAnswered(load, () => postBatch(load, entries));
    await pause(load.random.int(0, PAUSE_MS));
  }
}

/** A gateway that signs many records at once, and submits them by the dozen. */
export async function submitInWindows(load: Load, author: Author): Promise<void> {
  while (!load.ending) {
    const statements = Array.from({ length: load.random.int(1, 100) }, () => author.next());
    const entries = await signWindow(
      author.signer,
      author.origin,
      statements.map(({ payload }) => ({ payloadType: RECORD_TYPE, payload })),
    );
    await untilAnswered(load, () => postBatch(load, entries));
    await pause(load.random.int(0, PAUSE_MS));
  }
}

async function postBatch({ door, ledger }: Load, entries: readonly Uint8Array[]): Promise<void> {
  const { base, token } = door();
  const lines = await answered(`${base}/v1/entries/batch`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/x-ndjson',
    },
    body: entries.map((entry) => `${formatEnvelopeJson(decodeEntry(entry))}\n`).join(''),
  });
  const [first = '', ...rest] = lines.trimEnd().split('\n');
  const head = ledger.head((JSON.parse(first) as { checkpoint: string }).checkpoint);
  if (rest.length !== entries.length)
    throw new Error(`${rest.length} of ${entries.length} results`);
  for (const [i, line] of rest.entries()) {
    const result = JSON.parse(line) as BatchLine;
    if (result.code !== undefined) {
      throw new SteleError(result.code, `entry ${i} of a batch: ${result.detail}`);
    }
    const { index, leaf_hash, proof } = result;
    const hashes = proof.map((text) => hash(parseBase64(text, 'proof')));
    const placed = { index, leafHash: hash(parseHex(leaf_hash, 'leaf_hash', 32)), proof: hashes };
    ledger.placed(entries[i] as Uint8Array, placed, head);
  }
}

interface BatchLine {
  readonly index: number;
  readonly leaf_hash: string;
  readonly proof: readonly string[];
  readonly code?: 'storage' | 'pushback';
  readonly detail?: string;
}

/** The whole text of an answer; a connection that breaks is like a server that is busy. */
async function answered(url: string, init: RequestInit): Promise<string> {
  let status: number;
  let text: string;
  try {
    const response = await fetch(url, init);
    status = response.status;
    text = await response.text();
  } catch (cause) {
    throw new SteleError('storage', 'no answer', { cause });
  }
  if (status === 503 || status === 429) throw new SteleError('storage', text);
  if (status !== 200) throw new Error(`status ${status}: ${text}`);
  return text;
}

/** A gateway whose records come with bodies. Returns what was answered for. */
export async function submitContent(load: Load, author: Author): Promise<Draft[]> {
  const done: Draft[] = [];
  while (!load.ending) {
    const bytes = new Uint8Array(load.random.int(1, 200_000)).fill(load.random.int(0, 256));
    const draft = author.next([
      { field: 'request.body', bytes },
      { field: 'response.body', bytes: utf8(`answer ${done.length}`) },
    ]);
    const bodies = draft.bodies.map((body) => ({
      field: body.field,
      bytes: body.bytes.length,
      open: () => piecesOf(body.bytes),
    }));
    await untilAnswered(load, async (log) => {
      const { disclosures } = draft;
      const { receipt } = await log.submit(await author.sign(draft), { disclosures, bodies });
      load.ledger.receipt(receipt);
    });
    done.push(draft);
    await pause(load.random.int(0, 2 * PAUSE_MS));
  }
  return done;
}

async function* piecesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

/** One that only looks: published heads and the newest ones. */
export async function poll(load: Load): Promise<void> {
  while (!load.ending) {
    await load.gate.passed();
    try {
      const log = load.place.log('read');
      load.ledger.head(Buffer.from(await log.checkpoint()).toString());
      const { checkpoint } = await log.head();
      if (checkpoint !== undefined) load.ledger.head(checkpoint);
    } catch (error) {
      if (!hasCode(error, 'storage')) throw error;
    }
    await pause(load.random.int(1, 3 * PAUSE_MS));
  }
}

/** A client of RFC 6962, with the key that the trust file has. It rejects with `storage` like the others. */
export function treeHeadClient(place: Place): CtClient {
  const [log] = place.trust().logs;
  const key = log?.keys.map((trusted) => trusted.key).find(({ type }) => type === NOTE_TREE_HEAD);
  if (key === undefined) throw new Error('the trust file knows no key of tree heads');
  return new CtClient(async (path) => {
    const { server } = place.addresses();
    return { status: 200, text: await answered(`${server}/logs/default${path}`, {}) };
  }, key.key);
}

/** One that polls for tree heads of RFC 6962. */
export async function pollTreeHeads(load: Load): Promise<void> {
  const client = treeHeadClient(load.place);
  while (!load.ending) {
    await load.gate.passed();
    try {
      load.ledger.treeHead(await client.getSth());
    } catch (error) {
      if (!hasCode(error, 'storage')) throw error;
    }
    await pause(load.random.int(1, 3 * PAUSE_MS));
  }
}

/** What a caller of the proxy sent and got. */
export interface ProxyCall {
  readonly request: Uint8Array;
  /** The body as far as it came. */
  readonly answer: Uint8Array;
  readonly status: number;
  readonly recordId: string | undefined;
  /** The answer ended cleanly. */
  readonly isComplete: boolean;
}

export interface Kind {
  /** Behind the proxy's address. */
  readonly path: string;
  readonly body: (text: string) => object;
}

/** A caller of the proxy that calls and calls. */
export async function callProxy(load: Load, name: string, kinds: readonly Kind[]) {
  const calls: ProxyCall[] = [];
  while (!load.ending) {
    await load.proxy.gate.passed();
    const kind = kinds[load.random.int(0, kinds.length)] as Kind;
    const text = `${name}, call ${calls.length} ${'x'.repeat(load.random.int(0, 3_000))}`;
    const { proxy } = load.proxy.place.addresses();
    calls.push(await call(proxy + kind.path, utf8(JSON.stringify(kind.body(text)))));
    await pause(load.random.int(0, PAUSE_MS));
  }
  return calls;
}

/** One call; whatever breaks is part of the answer. */
export function call(
  url: string,
  body: Uint8Array,
  more: Readonly<Record<string, string>> = {},
): Promise<ProxyCall> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const seen = { status: 0, recordId: undefined as string | undefined };
    const over = (isComplete: boolean) =>
      resolve({
        ...seen,
        request: body,
        answer: new Uint8Array(Buffer.concat(chunks)),
        isComplete,
      });
    const headers = { 'content-type': 'application/json', 'content-length': body.length, ...more };
    const req = request(url, { method: 'POST', agent: false, headers }, (res) => {
      const id = res.headers['x-stele-record-id'];
      seen.status = res.statusCode ?? 0;
      seen.recordId = typeof id === 'string' ? id : undefined;
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('error', () => over(false));
      res.on('close', () => over(res.complete));
    });
    req.on('error', () => over(false));
    req.end(body);
  });
}
