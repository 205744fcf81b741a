/** The Rekor double: it is as strict as Rekor, or what is shown against it shows little. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sha256, utf8 } from '../../server/core/bytes.ts';
import { hashedRekordRequest } from '../../server/core/sigstore/hashedrekord.ts';
import { holdsConsistency, holdsInclusion, leaf } from '../reference/rfc6962.ts';
import { AnchorKey } from './heads.ts';
import { RekorDouble } from './rekor-double/double.ts';

const anchorKey = new AnchorKey();
let rekor: RekorDouble;

beforeAll(async () => {
  rekor = await RekorDouble.start();
});

afterAll(() => rekor.stop());

type Members = { [name: string]: unknown };

/** A request of a new head, changed as the test wants it. */
function requestOf(
  version: 1 | 2,
  size: number,
  change: (json: Members) => void = () => undefined,
) {
  const { text, signature, key } = anchorKey.head(size);
  const bytes = hashedRekordRequest(version, { digest: sha256(text), signature, key });
  const json = JSON.parse(Buffer.from(bytes).toString()) as Members;
  change(json);
  return JSON.stringify(json);
}

async function post(version: 1 | 2, body: string, type = 'application/json') {
  const url = `${rekor.url}/api/v${version}/log/entries`;
  const answer = await fetch(url, { method: 'POST', body, headers: { 'content-type': type } });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

/** The member at a path, to be changed. */
function at(json: Members, ...names: string[]): Members {
  return names.reduce((inner, name) => inner[name] as Members, json);
}

const specV1 = (json: Members) => at(json, 'spec');
const requestV2 = (json: Members) => at(json, 'hashedRekordRequestV002');

function edKeys() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const signature = sign(null, anchorKey.head(1).text, privateKey).toString('base64');
  const der = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
  const pem = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })).toString('base64');
  return { signature, der, pem };
}

describe('rekor v1', () => {
  const wrong: Record<string, [change: (json: Members) => void, status: number]> = {
    'another kind': [
      (json) => {
        json.kind = 'rekord';
      },
      400,
    ],
    'another version': [
      (json) => {
        json.apiVersion = '0.0.2';
      },
      400,
    ],
    'no spec': [
      (json) => {
        delete json.spec;
      },
      400,
    ],
    'another digest': [
      (json) => {
        at(specV1(json), 'data', 'hash').value = 'ab'.repeat(32);
      },
      400,
    ],
    'a digest that is short': [
      (json) => {
        at(specV1(json), 'data', 'hash').value = 'ab';
      },
      400,
    ],
    'another hash': [
      (json) => {
        at(specV1(json), 'data', 'hash').algorithm = 'sha512';
      },
      400,
    ],
    'another signature': [
      (json) => {
        at(specV1(json), 'signature').content = Buffer.from(anchorKey.sign(utf8('x'))).toString(
          'base64',
        );
      },
      400,
    ],
    'a signature that is none': [
      (json) => {
        at(specV1(json), 'signature').content = 'AAAA';
      },
      400,
    ],
    'a plain Ed25519 signature': [
      (json) => {
        const { signature, pem } = edKeys();
        at(specV1(json), 'signature').content = signature;
        at(specV1(json), 'signature', 'publicKey').content = pem;
      },
      400,
    ],
    'a key that is none': [
      (json) => {
        at(specV1(json), 'signature', 'publicKey').content = 'AAAA';
      },
      400,
    ],
  };

  test.each(Object.entries(wrong))('refuses %s', async (_, [change, status]) => {
    const before = rekor.v1.shard.tree.size;
    expect((await post(1, requestOf(1, 1, change))).status).toBe(status);
    expect(rekor.v1.shard.tree.size).toBe(before);
  });

  test('refuses what is no JSON, and what is said to be something else', async () => {
    expect((await post(1, '{')).status).toBe(500);
    expect((await post(1, requestOf(1, 1), 'text/plain')).status).toBe(415);
  });

  test('keeps a real tree, and answers a repeat with where it is', async () => {
    rekor.v1.shard.grow(7);
    const first = await post(1, requestOf(1, 100));
    expect(first.status).toBe(201);
    const [[id, entry] = ['', undefined]] = Object.entries(JSON.parse(first.text) as EntriesV1);
    const { logIndex, treeSize, rootHash, hashes } = entry!.verification.inclusionProof;
    const body = Buffer.from(entry!.body, 'base64');
    const bytes = (hex: string) => Buffer.from(hex, 'hex');
    expect(
      holdsInclusion(
        BigInt(logIndex),
        BigInt(treeSize),
        leaf(body),
        hashes.map(bytes),
        bytes(rootHash),
      ),
    ).toBe(true);
    // The entry is what was asked for, and members that are not known make no other one of it.
    const more = JSON.stringify({ ...(JSON.parse(body.toString()) as Members), more: 1 });
    for (const request of [body.toString(), more]) {
      const repeat = await post(1, request);
      expect(repeat.status).toBe(409);
      expect(repeat.headers.get('location')).toBe(`/api/v1/log/entries/${id}`);
    }
    const got = await fetch(`${rekor.url}/api/v1/log/entries/${id}`);
    expect(Object.keys((await got.json()) as object)).toEqual([id]);
    const proof = await fetch(`${rekor.url}/api/v1/log/proof?firstSize=3&lastSize=${treeSize}`);
    const { hashes: path } = (await proof.json()) as { readonly hashes: string[] };
    const { tree } = rekor.v1.shard;
    expect(
      holdsConsistency(3n, BigInt(treeSize), tree.root(3), tree.root(treeSize), path.map(bytes)),
    ).toBe(true);
    // Another signature of the same text is another entry.
    expect((await post(1, requestOf(1, 100))).status).toBe(201);
  });
});

interface EntriesV1 {
  readonly [id: string]: {
    readonly body: string;
    readonly verification: {
      readonly inclusionProof: {
        readonly logIndex: number;
        readonly treeSize: number;
        readonly rootHash: string;
        readonly hashes: readonly string[];
      };
    };
  };
}

describe('rekor v2', () => {
  const wrong: Record<string, (json: Members) => void> = {
    'a member that is not known': (json) => {
      json.more = 1;
    },
    'an envelope': (json) => {
      json.dsseRequestV002 = json.hashedRekordRequestV002;
      delete json.hashedRekordRequestV002;
    },
    'another digest': (json) => {
      requestV2(json).digest = Buffer.alloc(32).toString('base64');
    },
    'a digest that is short': (json) => {
      requestV2(json).digest = 'AAAA';
    },
    'no key': (json) => {
      delete at(requestV2(json), 'signature').verifier;
    },
    'a key of another kind than it says': (json) => {
      at(requestV2(json), 'signature', 'verifier').keyDetails = 'PKIX_ECDSA_P384_SHA_384';
    },
    'a plain Ed25519 signature': (json) => {
      const { signature, der } = edKeys();
      at(requestV2(json), 'signature').content = signature;
      at(requestV2(json), 'signature').verifier = {
        publicKey: { rawBytes: der },
        keyDetails: 'PKIX_ED25519',
      };
    },
    'a key that is called a certificate': (json) => {
      const verifier = at(requestV2(json), 'signature', 'verifier');
      verifier.x509Certificate = verifier.publicKey;
      delete verifier.publicKey;
    },
  };

  test.each(Object.entries(wrong))('refuses %s', async (_, change) => {
    const before = rekor.v2.shard.tree.size;
    expect((await post(2, requestOf(2, 1, change))).status).toBe(400);
    expect(rekor.v2.shard.tree.size).toBe(before);
  });

  test('takes the other names that protobuf has for members, as one entry', async () => {
    const request = requestOf(2, 200);
    const snake = request
      .replace('hashedRekordRequestV002', 'hashed_rekord_request_v002')
      .replace('publicKey', 'public_key')
      .replace('rawBytes', 'raw_bytes')
      .replace('keyDetails', 'key_details');
    expect((await post(2, request)).status).toBe(201);
    const repeat = await post(2, snake);
    expect([repeat.status, repeat.headers.get('x-log-index')]).toEqual([
      409,
      String(rekor.v2.shard.tree.size - 1),
    ]);
  });
});
