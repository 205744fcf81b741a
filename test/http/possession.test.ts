/** Proof of possession: a key is registered by those who have it, and every other way is refused. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { SteleError } from '../../server/core/errors.ts';
import { pae } from '../../server/core/pae.ts';
import { POSSESSION_TYPE, possessionMessage } from '../../server/core/possession.ts';
import { CHALLENGE_LIFE_MS } from '../../server/log/possession.ts';
import { newSigner, World } from './world.ts';

let world: World;
let keys: string;
const path = '/v1/admin/logs/team/gateways';

beforeAll(async () => {
  world = await World.start();
  keys = world.token({ roles: ['keys'], holder: 'keeper' });
  await world.log('team');
  await world.log('other');
});

afterAll(() => world.stop());

const post = (value: unknown, to = path, token = keys) =>
  world.ask('POST', to, { token, type: 'application/json', body: JSON.stringify(value) });

/** Nothing was appended, and the reason is told. */
async function expectRefused(value: object, reason: string): Promise<void> {
  const log = (await world.logs.lease('team')).log;
  const before = log.head();
  const answer = await post(value);
  expect(answer.json(), answer.text).toMatchObject({ status: 422, code: 'unverified' });
  expect(answer.json().detail).toContain(reason);
  expect(log.head()).toBe(before);
}

describe('a key', () => {
  test('is registered with a signature over a challenge, once', async () => {
    const signer = newSigner('ecdsa-p256');
    const body = await world.registration('team', signer);
    const answer = await post(body);
    expect(answer.status).toBe(201);
    // The same request again, since the answer may have been lost, says nothing new.
    expect((await post(body)).json()).toEqual(answer.json());
    // And the challenge is good for no other key.
    const other = newSigner('ed25519');
    const message = possessionMessage(
      'log.example/logs/team',
      other.publicKey.keyid,
      Buffer.from(body.challenge, 'base64'),
    );
    const proof = Buffer.from(await other.sign(message)).toString('base64');
    const key = Buffer.from(other.publicKey.spki).toString('base64');
    await expectRefused({ ...body, key, proof }, 'is none of log.example/logs/team that is open');
  });

  test('is not registered without a proof, or with half of one', async () => {
    const { key, challenge, proof } = await world.registration('team', newSigner('ed25519'));
    await expectRefused({ key }, "the key's signature over it, both of them");
    await expectRefused({ key, challenge }, 'both of them');
    await expectRefused({ key, proof }, 'both of them');
    expect((await post({ key, challenge, proof })).status).toBe(201);
  });

  test('is not registered by somebody who has another', async () => {
    const { key } = await world.registration('team', newSigner('ed25519'));
    const mine = await world.registration('team', newSigner('ed25519'));
    await expectRefused({ ...mine, key }, 'it is no signature by key');
  });

  test('is not registered with a proof for another log, key or challenge', async () => {
    const signer = newSigner('ed25519');
    const elsewhere = await world.registration('other', signer);
    await expectRefused(elsewhere, 'is none of log.example/logs/team');
    const spoilers: Record<string, (good: { origin: string; keyid: string }) => object> = {
      'another origin': (good) => ({ ...good, origin: 'log.example/logs/other' }),
      'another key': (good) => ({ ...good, keyid: '0'.repeat(64) }),
    };
    for (const [what, spoil] of Object.entries(spoilers)) {
      const body = await world.registration('team', signer);
      const good = { origin: 'log.example/logs/team', keyid: signer.publicKey.keyid };
      const { origin, keyid } = spoil(good) as typeof good;
      const message = possessionMessage(origin, keyid, Buffer.from(body.challenge, 'base64'));
      const proof = Buffer.from(await signer.sign(message)).toString('base64');
      await expectRefused({ ...body, proof }, 'it is no signature by key').catch((cause) => {
        throw new Error(what, { cause });
      });
    }
    const [a, b] = [
      await world.registration('team', signer),
      await world.registration('team', signer),
    ];
    await expectRefused({ ...a, proof: b.proof }, 'it is no signature by key');
  });

  test('is not registered with a signature over the bare challenge, or a changed one', async () => {
    const signer = newSigner('ed25519');
    const body = await world.registration('team', signer);
    const bare = await signer.sign(Buffer.from(body.challenge, 'base64'));
    await expectRefused({ ...body, proof: Buffer.from(bare).toString('base64') }, 'no signature');
    // A wrong proof uses its challenge up: it is one guess.
    await expectRefused(body, 'is none of');
    const again = await world.registration('team', signer);
    const bytes = Buffer.from(again.proof, 'base64');
    for (const at of [0, 31, 32, 63]) {
      const next = await world.registration('team', signer);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await expectRefused({ ...next, proof: bytes.toString('base64') }, 'no signature');
    }
  });

  test('is not registered with a challenge that was never given, or is over', async () => {
    const signer = newSigner('ed25519');
    const challenge = Buffer.alloc(32, 9);
    const { keyid, spki } = signer.publicKey;
    const proof = await signer.sign(possessionMessage('log.example/logs/team', keyid, challenge));
    await expectRefused(
      {
        key: Buffer.from(spki).toString('base64'),
        challenge: challenge.toString('base64'),
        proof: Buffer.from(proof).toString('base64'),
      },
      'is none of',
    );
    const body = await world.registration('team', signer);
    world.now += CHALLENGE_LIFE_MS;
    await expectRefused(body, 'it ended at');
  });

  test('that two requests prove at once with one challenge is registered once', async () => {
    const body = await world.registration('team', newSigner('ed25519'));
    const log = (await world.logs.lease('team')).log;
    const { size } = log.head();
    const answers = await Promise.all([post(body), post(body), post(body)]);
    expect(answers.filter(({ status }) => status === 201).length).toBeGreaterThan(0);
    for (const { status } of answers) expect([201, 422]).toContain(status);
    expect(log.head().size).toBe(size + 1);
  });

  test('of which the registration failed may be proven by the same challenge again', async () => {
    let full = false;
    const small = await World.start({
      checkSpace: () => {
        if (full) throw new SteleError('storage', 'the disk is full');
      },
    });
    await small.log('team');
    const token = small.token({ roles: ['keys'] });
    const body = JSON.stringify(await small.registration('team', newSigner('ed25519')));
    const send = () => small.ask('POST', path, { token, type: 'application/json', body });
    full = true;
    expect((await send()).json()).toMatchObject({ code: 'storage' });
    full = false;
    expect((await send()).status).toBe(201);
    await small.stop();
  });
});

describe('challenges', () => {
  test('are random, for one log, and end after ten minutes', async () => {
    const [one, two] = [
      await post(undefined, `${path}/challenge`),
      await post(undefined, `${path}/challenge`),
    ];
    expect(one.status).toBe(201);
    expect(one.headers['cache-control']).toBe('private, no-store');
    const { origin, challenge, expires } = one.json<Record<string, string>>();
    expect(origin).toBe('log.example/logs/team');
    expect(Buffer.from(challenge ?? '', 'base64')).toHaveLength(32);
    expect(Date.parse(expires ?? '')).toBe(world.now + CHALLENGE_LIFE_MS);
    expect(two.json().challenge).not.toBe(challenge);
  });

  test('are bounded, for each token and in all, and are open again when others have ended', async () => {
    const own = await World.start();
    await own.log('team');
    const ask = (token: string) => own.ask('POST', `${path}/challenge`, { token });
    /** How many one token gets before it is asked to wait. */
    const take = async (token: string) => {
      for (let count = 0; ; count++) {
        const { status } = await ask(token);
        if (status !== 201) {
          expect(status).toBe(429);
          return count;
        }
      }
    };
    const token = own.token({ roles: ['keys'] });
    expect(await take(token)).toBe(64);
    let open = 64;
    for (;;) {
      const taken = await take(own.token({ roles: ['keys'] }));
      if (taken === 0) break;
      open += taken;
    }
    expect(open).toBe(1_024);
    own.now += CHALLENGE_LIFE_MS;
    expect((await ask(token)).status).toBe(201);
    await own.stop();
  });
});

test('a proof is no entry, in any of the forms of one', async () => {
  const { log, gateway } = await world.log('third');
  const { keyid } = gateway.signer.publicKey;
  const challenge = Buffer.alloc(32, 3);
  const payload = Buffer.from(
    `stele possession v1\n${log.origin}\n${keyid}\n${challenge.toString('base64')}\n`,
  );
  const message = possessionMessage(log.origin, keyid, challenge);
  expect(Buffer.from(pae(POSSESSION_TYPE, payload))).toEqual(Buffer.from(message));
  const sig = await gateway.signer.sign(message);
  const entry = { payloadType: POSSESSION_TYPE, payload, signatures: [{ keyid, sig }] };
  expect(() => encodeEntry(entry)).toThrow('reserved for proofs that a key is at hand');
  const json = JSON.stringify({
    payload: payload.toString('base64'),
    payloadType: POSSESSION_TYPE,
    signatures: [{ keyid, sig: Buffer.from(sig).toString('base64') }],
  });
  expect(() => formatEnvelopeJson(entry)).toThrow('reserved');
  const answer = await world.ask('POST', '/logs/third/v1/entries', {
    token: world.token({ roles: ['submit'] }),
    type: 'application/vnd.dsse.envelope.v1+json',
    body: json,
  });
  expect(answer.json()).toMatchObject({ code: 'malformed', status: 400 });
});

test('where possession is not required a proof that is given is still judged', async () => {
  const lax = await World.start({ settings: { requirePossession: false } });
  await lax.log('team');
  const send = (value: object) =>
    lax.ask('POST', path, {
      token: lax.token({ roles: ['keys'] }),
      type: 'application/json',
      body: JSON.stringify(value),
    });
  const good = await lax.registration('team', newSigner('ed25519'));
  expect((await send({ key: good.key, challenge: good.challenge })).status).toBe(422);
  expect((await send({ ...good, proof: 'AAAA' })).status).toBe(422);
  expect((await send({ key: good.key })).status).toBe(201);
  await lax.stop();
});

describe('a certificate made by openssl', () => {
  const folder = mkdtempSync(join(tmpdir(), 'stele-certificate-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const keyFile = join(folder, 'c.key');
  writeFileSync(keyFile, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  const file = join(folder, 'c.pem');
  execFileSync('openssl', ['req', '-x509', '-key', keyFile, '-subj', '/CN=g', '-out', file], {
    stdio: 'pipe',
  });
  const certificate = readFileSync(file, 'utf8');

  test('registers its key for its own validity, or for the period that is given', async () => {
    // The certificate is of this machine's clock, the world's is its own.
    world.now = Date.now();
    const ask = async (more: object = {}) => {
      const asked = await post(undefined, `${path}/challenge`);
      const { origin, challenge } = asked.json<Record<string, string>>();
      const { keyid } = more as { keyid: string };
      const message = possessionMessage(origin!, keyid, Buffer.from(challenge!, 'base64'));
      const proof = sign('sha384', message, privateKey).toString('base64');
      return post({ key: certificate, challenge, proof, ...{ ...more, keyid: undefined } });
    };
    // The key's ID, from a first attempt that says it.
    const { detail } = (await post({ key: certificate })).json<{ detail: string }>();
    const keyid = /key ([0-9a-f]{64})/.exec(detail)?.[1] ?? '';
    expect((await ask({ keyid })).status).toBe(201);
    const find = async () => {
      const { gateways } = (await world.get(path, { token: keys })).json<{
        gateways: Record<string, string>[];
      }>();
      return gateways.find((one) => one.keyid === keyid);
    };
    const seen = await find();
    const days =
      (Date.parse(seen?.not_after ?? '') - Date.parse(seen?.not_before ?? '')) / 86_400_000;
    expect(days).toBe(30);
    expect((await ask({ keyid, not_after: '2031-01-01T00:00:00Z' })).status).toBe(201);
    expect(await find()).toMatchObject({
      not_before: seen?.not_before,
      not_after: '2031-01-01T00:00:00.000000Z',
      registered: Number(seen?.registered) + 1,
    });
  });
});
