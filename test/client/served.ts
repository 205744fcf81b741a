/** A whole server in this process for the client's tests, and a `fetch` that can lie about what it answers. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import { mintToken } from '../../server/admin/tokens.ts';
import { LogClient } from '../../server/client/client.ts';
import { signEntry } from '../../server/client/sign.ts';
import { loadConfig } from '../../server/config.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { RECORD_TYPE } from '../../server/core/entry.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import { parseTrust, type Trust } from '../../server/core/trust.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import type { Signer } from '../../server/keys/signer.ts';
import type { Rules } from '../../server/log/registry.ts';
import { type Instance, openInstance } from '../../server/main/instance.ts';
import { setUp } from '../../server/main/setup.ts';
import { startServer } from '../../server/main/start.ts';
import { trustOf } from '../../server/main/trust.ts';
import type { Role } from '../../server/storage/instance.ts';
import { makeSigner } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';

/** When a server that a test started is closed. */
export type AtEnd = (close: () => Promise<void>) => void;

/** A server on a folder of its own, with a log that takes text too and a registered gateway. */
export async function start(
  roles: readonly Role[] = ['submit', 'read', 'content', 'admin'],
  rules: Partial<Rules> = {},
  atEnd: AtEnd = onTestFinished,
) {
  const { instance, server } = await startInstance(atEnd);
  await instance.logs.create({
    name: 'notes',
    rules: { payload_types: [RECORD_TYPE, 'text/plain'], ...rules },
  });
  const { log } = await instance.logs.lease('notes');
  const gateway = makeSigner();
  await log.registerGateway(gateway.publicKey);
  const token = tokenOf(instance, roles);
  const client = new LogClient({ base: `${server.url}/logs/notes`, token });
  const trust: Trust = parseTrust(utf8(trustOf(log, [gateway.publicKey])));
  return { client, gateway, instance, log, server, token, trust };
}

async function startInstance(atEnd: AtEnd) {
  const dir = temporaryFolder((remove) => atEnd(async () => remove()));
  const env = {
    STELE_STATE: join(dir, 'state'),
    STELE_LISTEN: '127.0.0.1:0',
    STELE_VERIFY_THREADS: '1',
  };
  const config = loadConfig({ env, cwd: dir, data: join(dir, 'data') });
  const logger = pino({ level: 'silent' });
  const fatal = (error: Error) => {
    throw error;
  };
  const instance = await openInstance({ config, version: '0', logger, fatal });
  await setUp(instance, config, { proxy: false });
  const server = await startServer(instance, config, logger, { version: '0', fatal });
  atEnd(async () => {
    await server.close();
    await instance.close();
  });
  return { instance, server };
}

export function tokenOf(instance: Instance, roles: readonly Role[], logs = ['*']): string {
  const wanted = { holder: 'test', roles, logs };
  const { token, row } = mintToken(wanted, Date.now(), (n) => new Uint8Array(randomBytes(n)));
  instance.store.insertToken(row);
  return token;
}

export function note(text: string, gateway: Signer): Promise<Uint8Array> {
  return signEntry(gateway, 'text/plain', utf8(text));
}

/** The members of a record that every kind has. */
export function common(log: string, seq: number, prev: string | null) {
  return {
    schema: 'stele.record/1',
    log,
    record_id: uuidv7(Date.now(), new Uint8Array(randomBytes(10))),
    source: {
      id: 'heart',
      instance: 'test',
      seq,
      prev,
      provenance: 'observed',
      completeness: 'full',
      software: 'test/1',
    },
    time: { received: '2026-11-01T00:00:00.000000Z' },
  };
}

export function heartbeat(log: string, seq: number, prev: string | null): Uint8Array {
  const record = { ...common(log, seq, prev), kind: 'heartbeat', heartbeat: { seq } };
  return formatRecord(record as unknown as AuditRecord);
}

/** One exchange, as it went over the network. */
export interface Exchange {
  readonly path: string;
  readonly status: number;
  readonly bytes: Buffer;
}

/** A `fetch` whose answers are what `spoil` makes of them; nothing leaves an answer as it is. */
export function lying(
  spoil: (exchange: Exchange) => Uint8Array | undefined | Promise<Uint8Array | undefined>,
): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const bytes = Buffer.from(await response.arrayBuffer());
    const { status, headers } = response;
    const { pathname } = new URL(String(input));
    const spoiled = (await spoil({ path: pathname, status, bytes })) ?? bytes;
    return new Response(new Uint8Array(spoiled), { status, headers });
  };
}

/** The messages of a batch, each without the length before it. */
export function framesOf(body: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < body.length; ) {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = body[at++] as number;
      length += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    frames.push(body.subarray(at, at + length));
    at += length;
  }
  return frames;
}

export function framed(frames: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const length: number[] = [];
      let left = frame.length;
      for (; left > 127; left = Math.floor(left / 128)) length.push((left % 128) + 128);
      return [Uint8Array.from([...length, left]), frame];
    }),
  );
}

/**
 * A `fetch` that passes on all but every third entry of the first few batches, and says of those that they
 * have to wait. `seen` gets the number of entries of each batch.
 */
export function busy(times: number, seen: number[]): typeof fetch {
  return async (input, init) => {
    if (!String(input).endsWith('/batch')) return fetch(input, init);
    const frames = framesOf(init?.body as Uint8Array);
    seen.push(frames.length);
    const kept = frames.filter((_, i) => seen.length > times || i % 3 !== 0);
    if (kept.length === frames.length) return fetch(input, init);
    const response = await fetch(input, { ...init, body: Buffer.from(framed(kept)) });
    const [head, ...results] = framesOf(new Uint8Array(await response.arrayBuffer()));
    const problem = JSON.stringify({ code: 'pushback', detail: 'wait', retry_after: 7 });
    const pushed = Buffer.concat([Uint8Array.from([42, problem.length]), Buffer.from(problem)]);
    const answer = frames.map((_, i) => (i % 3 === 0 ? pushed : (results.shift() as Buffer)));
    return new Response(Buffer.from(framed([head as Uint8Array, ...answer])), { status: 200 });
  };
}

/** Each gets the messages of a true answer: the head, and a result for each entry. */
export const BATCH_LIES: Readonly<Record<string, (frames: Uint8Array[]) => Uint8Array[]>> = {
  'gives the results in another order': (f) => [f[0]!, f[2]!, f[1]!, ...f.slice(3)],
  'gives one result too many': (f) => [...f, f[1]!],
  'gives one result too few': (f) => f.slice(0, -1),
  'gives the same result twice': (f) => [f[0]!, f[1]!, f[1]!, ...f.slice(3)],
  'gives no results': (f) => f.slice(0, 1),
  'gives nothing at all': () => [],
  'leaves out the head': (f) => f.slice(1),
  'changes a proof': (f) => f.with(1, f[1]!.with(f[1]!.length - 1, f[1]!.at(-1)! ^ 1)),
  'cuts a proof': (f) => f.with(1, f[1]!.slice(0, -34)),
  'changes the root': (f) => f.with(0, f[0]!.with(40, f[0]![40]! ^ 1)),
  'says another size': (f) => f.with(0, f[0]!.with(f[0]!.length - 1, f[0]!.at(-1)! + 1)),
  'sends a message that is none': (f) => f.with(1, Uint8Array.from([0xff, 0xff, 0xff])),
  'sends an empty result': (f) => f.with(1, new Uint8Array(0)),
};
