/**
 * A witness behind a bastion: it dials, shows its key, and is asked over the connection that it opened. The bastion
 * here is a TLS server that speaks HTTP/2 as a client over what it accepted.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import {
  ADD_CHECKPOINT_BYTES_MAX,
  checkpointPathOf,
  openCosignatures,
} from '../../server/core/tlog-witness.ts';
import { Bastion, type BastionOptions } from '../../server/http/bastion.ts';
import { createKeyFile } from '../../server/keys/file.ts';
import { type SelfSigned, selfSigned } from '../../server/keys/self-signed.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import type { Witness } from '../../server/witness/giving.ts';
import { Issuer } from '../certificates.ts';
import { temporaryFolder } from '../temporary.ts';
import { makeWitness } from '../witness/make.ts';
import { OtherLog } from '../witness/other-log.ts';

const log = new OtherLog();
let issuer: Issuer;
let certificate: SelfSigned;
let store: InstanceStore;
let witness: Witness;
let server: Server;
let protocols = ['bastion/0'];
const arrived: TLSSocket[] = [];
const closing: (() => void)[] = [];

beforeAll(async () => {
  const folder = temporaryFolder(afterAll);
  issuer = new Issuer(join(folder, 'ca'));
  const pair = issuer.make({ names: ['127.0.0.1'] });
  const path = join(folder, 'bastion.pem');
  await createKeyFile(path, 'ed25519');
  certificate = await selfSigned(path);
  store = new InstanceStore(join(folder, 'stele.db'));
  witness = makeWitness(store, {
    nowMs: () => 1_800_000_000_000,
    logs: [{ origin: log.origin, keys: [log.key.key] }],
  });
  server = createServer({
    cert: readFileSync(pair.cert),
    key: readFileSync(pair.key),
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ALPNCallback: ({ protocols: asked }) => protocols.find((one) => asked.includes(one)),
  });
  server.on('secureConnection', (socket) => arrived.push(socket));
  // A handshake that fails is what some tests are about.
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  for (const close of closing.splice(0)) close();
  for (const socket of arrived.splice(0)) socket.destroy();
  protocols = ['bastion/0'];
});

afterAll(async () => {
  server.close();
  await witness.close();
  store.close();
});

const said: string[] = [];
const failures: unknown[] = [];

function dial(options: Partial<BastionOptions> = {}): Bastion {
  const say = (_: unknown, message?: string) => said.push(String(message));
  const bastion = new Bastion({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    ca: issuer.pem,
    certificate,
    witness,
    rate: { perSecond: 0, burst: 1 },
    clock: { now: () => 0 },
    logger: { info: say, warn: say } as BastionOptions['logger'],
    failed: (error) => failures.push(error),
    timing: { pauseMs: 1, pauseMaxMs: 5 },
    ...options,
  });
  closing.push(() => bastion.close());
  return bastion;
}

/** The next connection, as the bastion that uses it. */
async function accepted(): Promise<{ socket: TLSSocket; session: ClientHttp2Session }> {
  const next = arrived.shift() ?? ((await once(server, 'secureConnection'))[0] as TLSSocket);
  const at = arrived.indexOf(next);
  if (at >= 0) arrived.splice(at, 1);
  const session = connectHttp2('https://backend', { createConnection: () => next });
  session.on('error', () => undefined);
  closing.push(() => session.destroy());
  return { socket: next, session };
}

async function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string) {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
  if (!stream.closed) await once(stream, 'close');
  const bytes = Buffer.concat(chunks);
  return { status: answer[':status'], type: answer['content-type'], bytes, text: String(bytes) };
}

const post = (path = '/add-checkpoint') => ({ ':method': 'POST', ':path': path });

describe('over the connection that it dialed', () => {
  test('it shows its key, cosigns, tells sizes, and serves what it cosigned', async () => {
    const bastion = dial();
    expect(bastion.isConnected).toBe(false);
    const { socket, session } = await accepted();
    const { raw } = socket.getPeerCertificate();
    const spki = new X509Certificate(raw).publicKey.export({ format: 'der', type: 'spki' });
    const hash = createHash('sha256').update(spki.subarray(-32)).digest('hex');
    expect(hash).toBe(certificate.keyHash);
    expect(new X509Certificate(raw).verify(new X509Certificate(raw).publicKey)).toBe(true);
    expect([socket.alpnProtocol, socket.getProtocol()]).toEqual(['bastion/0', 'TLSv1.3']);

    const taken = await ask(session, post(), log.ask(3));
    expect(taken.status).toBe(200);
    expect(bastion.isConnected).toBe(true);
    const latest = 1_800_000_000;
    expect(openCosignatures(taken.bytes, log.text(3), witness.keys, { latest })).toHaveLength(2);
    const late = await ask(session, post(), log.ask(5));
    expect([late.status, late.type, late.text]).toEqual([409, 'text/x.tlog.size', '3\n']);
    const get = { ':method': 'GET', ':path': `/${checkpointPathOf(log.origin)}` };
    expect((await ask(session, get)).text).toContain(log.text(3));
    const many = await Promise.all(
      Array.from({ length: 50 }, () => ask(session, post(), log.ask(3, { old: 3 }))),
    );
    expect(new Set(many.map(({ status }) => status))).toEqual(new Set([200]));
  });

  test('it refuses what is wrong, and serves nothing else', async () => {
    dial();
    const { session } = await accepted();
    const cases: [OutgoingHttpHeaders, string | undefined, number][] = [
      [post(), 'nonsense', 400],
      [post(), new OtherLog('unknown.example').ask(1), 404],
      [post('/witness/add-checkpoint'), log.ask(3), 404],
      [{ ':method': 'GET', ':path': '/' }, undefined, 404],
      [{ ':method': 'GET', ':path': '/v1/logs' }, undefined, 404],
      [{ ':method': 'GET', ':path': `/${'0'.repeat(64)}/checkpoint` }, undefined, 404],
      [{ ':method': 'GET', ':path': '/add-checkpoint' }, undefined, 404],
      [post(), 'x'.repeat(ADD_CHECKPOINT_BYTES_MAX + 1), 413],
    ];
    for (const [headers, body, status] of cases) {
      const answer = await ask(session, headers, body);
      expect(answer.status, `${headers[':path']} ${answer.text}`).toBe(status);
      expect(answer.type).toBe('application/problem+json');
    }
    expect(failures).toEqual([]);
  });

  test('a body that does not come to its end is given up', async () => {
    dial({ timing: { bodyMs: 20, pauseMs: 1, pauseMaxMs: 5 } });
    const { session } = await accepted();
    const stream = session.request(post(), { endStream: false });
    stream.write('old 0\n');
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(answer[':status']).toBe(408);
    stream.destroy();
  });

  test('all who come through it share one rate', async () => {
    dial({ rate: { perSecond: 1, burst: 2 } });
    const { session } = await accepted();
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await ask(session, post(), 'x')).status);
    expect(statuses).toEqual([400, 400, 429]);
  });

  test('why a disk refuses is not told to strangers, and a fault is told to the process', async () => {
    const broken = new Error('a fault');
    const add = () => Promise.reject(broken);
    dial({ witness: { add, newest: async () => undefined } });
    const { session } = await accepted();
    const fault = await ask(session, post(), log.ask(1));
    expect([fault.status, fault.text.includes('a fault')]).toEqual([500, false]);
    expect(failures.splice(0)).toEqual([broken]);
    for (const close of closing.splice(0)) close();
    const full = () => Promise.reject(new SteleError('storage', 'a secret place'));
    dial({ witness: { add: full, newest: async () => undefined } });
    const second = await accepted();
    const refused = await ask(second.session, post(), log.ask(1));
    expect([refused.status, refused.text.includes('secret')]).toEqual([503, false]);
  });
});

describe('a connection', () => {
  test('that is lost is made again', async () => {
    dial();
    for (let i = 0; i < 3; i++) {
      const { socket, session } = await accepted();
      expect((await ask(session, post(), 'x')).status).toBe(400);
      socket.destroy();
    }
    expect(said.join()).toContain('not connected');
  });

  test('to somebody who shows no certificate that is trusted is none', async () => {
    const failed = new Promise<void>((resolve) => server.once('tlsClientError', () => resolve()));
    dial({ ca: new Issuer(join(temporaryFolder(), 'other')).pem });
    await failed;
    expect(arrived).toHaveLength(0);
  });

  test('to a server that is no bastion is none', async () => {
    protocols = ['h2'];
    const failed = new Promise<void>((resolve) => server.once('tlsClientError', () => resolve()));
    dial();
    await failed;
    expect(arrived).toHaveLength(0);
  });

  test('that was closed stays closed', async () => {
    const bastion = dial();
    const { socket } = await accepted();
    const gone = once(socket, 'close');
    bastion.close();
    await gone;
    dial();
    await accepted();
    expect(arrived).toHaveLength(0);
  });
});
