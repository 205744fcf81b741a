/**
 * What a Rekor double takes: hashedrekord alone, and only with a signature by a P-256 key that fits the
 * digest. It gives the entry in its canonical spelling, or the refusal that a server would give.
 *
 * Written from the servers' sources and with nothing of ours, so that what is refused here is refused there.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';

/** An HTTP answer. */
export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/** A request that is refused. */
export class Refused extends Error {
  readonly reply: Reply;

  constructor(reply: Reply) {
    super(String(reply.body));
    this.reply = reply;
  }
}

export function jsonReply(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: `${JSON.stringify(body)}\n`,
  };
}

/** The entry that a request to v1 asks for. */
export function acceptV1(contentType: string | undefined, body: Uint8Array): Uint8Array {
  if (contentType?.split(';')[0]?.trim() !== 'application/json') {
    throw wrongV1(
      415,
      `unsupported media type "${contentType ?? ''}", only [application/json] are allowed`,
    );
  }
  const wrong = (why: string) => wrongV1(400, `error processing entry: ${why}`);
  const json = parse(body, () => wrongV1(500, 'unexpected EOF'));
  const { kind, apiVersion, spec } = membersOf(json, wrong);
  if (kind !== 'hashedrekord' || apiVersion !== '0.0.1') {
    throw wrong(`could not create entry of kind ${String(kind)} and version ${String(apiVersion)}`);
  }
  const { data, signature } = membersOf(spec, wrong);
  const { hash } = membersOf(data, wrong);
  const { algorithm, value } = membersOf(hash, wrong);
  const { content, publicKey } = membersOf(signature, wrong);
  const pem = bytesOf(membersOf(publicKey, wrong).content, wrong);
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value))
    throw wrong('invalid value for hash');
  // Every other pair of key and hash is in the servers' list too, but nothing here sends one.
  if (algorithm !== 'sha256') throw wrong('entry algorithms are not allowed');
  const key = keyOf({ key: Buffer.from(pem), format: 'pem', type: 'spki' }, wrong);
  const der = bytesOf(content, wrong);
  verify(der, Buffer.from(value, 'hex'), key, wrong);
  const canonical = key.export({ format: 'pem', type: 'spki' });
  return Buffer.from(
    `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"${value}"}},` +
      `"signature":{"content":"${base64(der)}","publicKey":{"content":"${base64(Buffer.from(canonical))}"}}}}`,
  );
}

/** The entry that a request to v2 asks for. It does not care what the bytes are said to be. */
export function acceptV2(body: Uint8Array): Uint8Array {
  const wrong = () => wrongV2('invalid hashedrekord request');
  const json = parse(body, () => wrongV2('unexpected EOF'));
  const top = strict(json, ['hashedRekordRequestV002'], wrong);
  const { digest, signature } = strict(top.hashedRekordRequestV002, ['digest', 'signature'], wrong);
  const { content, verifier } = strict(signature, ['content', 'verifier'], wrong);
  const { publicKey, keyDetails } = strict(verifier, ['publicKey', 'keyDetails'], wrong);
  const { rawBytes } = strict(publicKey, ['rawBytes'], wrong);
  if (keyDetails !== 'PKIX_ECDSA_P256_SHA_256') throw wrong();
  const hash = bytesOf(digest, wrong);
  if (hash.length !== 32) throw wrong();
  const spki = bytesOf(rawBytes, wrong);
  const key = keyOf({ key: Buffer.from(spki), format: 'der', type: 'spki' }, wrong);
  const der = bytesOf(content, wrong);
  verify(der, hash, key, wrong);
  return Buffer.from(
    `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256",` +
      `"digest":"${base64(hash)}"},"signature":{"content":"${base64(der)}","verifier":{"keyDetails":` +
      `"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"${base64(spki)}"}}}}}}`,
  );
}

type Wrong = (why: string) => Refused;

function wrongV1(status: number, message: string): Refused {
  return new Refused(jsonReply(status, { code: status, message }));
}

function wrongV2(message: string): Refused {
  return new Refused(jsonReply(400, { code: 3, message, details: [] }));
}

function parse(body: Uint8Array, wrong: Wrong): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    throw wrong('not JSON');
  }
}

function membersOf(value: unknown, wrong: Wrong): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw wrong('a member is missing');
  return value as Record<string, unknown>;
}

/** The members that are known, under either of the names that protobuf's JSON has for them; no others. */
function strict(
  value: unknown,
  names: readonly string[],
  wrong: Wrong,
): Readonly<Record<string, unknown>> {
  const snake = (name: string) => name.replaceAll(/([A-Z])/g, '_$1').toLowerCase();
  const members: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(membersOf(value, wrong))) {
    const known = names.find((one) => one === name || snake(one) === name);
    if (known === undefined) throw wrongV2(`proto: (line 1:1): unknown field "${name}"`);
    members[known] = member;
  }
  return members;
}

function bytesOf(value: unknown, wrong: Wrong): Buffer {
  if (typeof value !== 'string' || value === '') throw wrong('bytes are missing');
  const bytes = Buffer.from(value, 'base64');
  if (base64(bytes) !== value) throw wrong('illegal base64 data');
  return bytes;
}

function keyOf(given: Parameters<typeof createPublicKey>[0], wrong: Wrong): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(given);
  } catch {
    throw wrong('unable to parse the public key');
  }
  // A plain Ed25519 signature is over a text and not over a digest: no server can check it.
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw wrong('entry algorithms are not allowed');
  }
  return key;
}

function verify(der: Uint8Array, digest: Uint8Array, key: KeyObject, wrong: Wrong): void {
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  const point = Buffer.concat([
    Buffer.of(4),
    Buffer.from(x, 'base64url'),
    Buffer.from(y, 'base64url'),
  ]);
  let holds = false;
  try {
    holds = p256.verify(der, digest, point, { prehash: false, lowS: false, format: 'der' });
  } catch {
    throw wrong('verifying signature: not ASN.1');
  }
  if (!holds)
    throw wrong('verifying signature: invalid signature when validating ASN.1 encoded signature');
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
