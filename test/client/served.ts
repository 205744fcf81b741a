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
import { setUp, trustOf } from '../../server/main/setup.ts';
import { startServer } from '../../server/main/start.ts';
import type { Role } from '../../server/storage/instance.ts';
import { makeSigner } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';

/** A server on a folder of its own, with a log that takes text too and a registered gateway. */
export async function start(
  roles: readonly Role[] = ['submit', 'read', 'content', 'admin'],
  rules: Partial<Rules> = {},
) {
  const { instance, server } = await startInstance();
  await instance.logs.create({
    name: 'notes',
    rules: { payload_types: [RECORD_TYPE, 'text/plain'], ...rules },
  });
  const { log } = await instance.logs.lease('notes');
  const gateway = makeSigner();
  await log.registerGateway(gateway.publicKey);
  const token = tokenOf(instance, roles);
  const client = new LogClient({ base: `${server.url}/logs/notes`, token });
  const trust: Trust = parseTrust(utf8(trustOf(log, gateway)));
  return { client, gateway, instance, log, server, token, trust };
}

async function startInstance() {
  const dir = temporaryFolder();
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
  onTestFinished(async () => {
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
