/** Heads that somebody else had taken up, looked for in the files of a Rekor log. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { rekorV1 } from '../../server/anchor/rekor-v1.ts';
import { rekorV2 } from '../../server/anchor/rekor-v2.ts';
import { Strangers, strangerError } from '../../server/anchor/strangers.ts';
import type { AnchoredHead, Target } from '../../server/anchor/target.ts';
import { parseUtf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import type { Json } from '../../server/core/json.ts';
import { hashedRekordRequest } from '../../server/core/sigstore/hashedrekord.ts';
import { readTrustedRoot } from '../../server/core/sigstore/trusted-root.ts';
import { hash } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { Outbound } from '../../server/outbound.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import type { StrangerRow } from '../../server/storage/strangers.ts';
import { temporaryFolder } from '../temporary.ts';
import { AnchorKey } from './heads.ts';
import { RekorDouble } from './rekor-double/double.ts';

const signal = new AbortController().signal;
const own = new AnchorKey();
const other = new AnchorKey();

let rekor: RekorDouble;
let store: InstanceStore;
let found: StrangerRow[];
let warned: string[];
/** Digests of heads that the log's tree has. */
let had: Set<string>;
/** Logs that cannot be asked now. */
let unreadable: Set<string>;

beforeEach(async () => {
  rekor = await RekorDouble.start();
  rekor.v2.shard.grow(300);
  store = new InstanceStore(join(temporaryFolder(afterEach), 'stele.db'));
  found = [];
  warned = [];
  had = new Set();
  unreadable = new Set();
});

afterEach(async () => {
  store.close();
  await rekor.stop();
});

function target(version: 1 | 2): Target {
  const options = {
    name: 'own',
    url: rekor.url,
    outbound: new Outbound('0.0.0-test'),
    trust: readTrustedRoot(JSON.parse(JSON.stringify(rekor.trustedRoot())) as Json),
    check: checkSignatureNative,
  };
  return version === 1 ? rekorV1(options) : rekorV2(options);
}

function strangers(version: 1 | 2 = 2, searchesMax = 16): Strangers {
  return new Strangers({
    rows: store.strangers,
    targets: [target(version)],
    now: () => 1_000,
    foreign: async (log, digests) => {
      if (unreadable.has(log)) throw new SteleError('storage', `log ${log} cannot be read`);
      return new Set([...digests].filter((digest) => !had.has(digest)));
    },
    found: async (row) => void found.push(row),
    warn: (message) => void warned.push(message),
    searchesMax,
  });
}

/** Writes down that a head is shown, as it is before anything is sent. */
function plan(head: AnchoredHead, log = 'team'): void {
  store.anchors.plan({
    log,
    target: 'own',
    kind: 'rekor',
    size: head.size,
    root: head.root,
    text: parseUtf8(head.text, 'text'),
    signature: head.signature,
    spki: head.key.spki,
    plannedMs: 1,
  });
}

/** Has a head taken up, whoever asks. */
async function takeUp({ text, signature, key }: AnchoredHead): Promise<void> {
  const digest = hash(new Uint8Array(createHash('sha256').update(text).digest()));
  const body = hashedRekordRequest(2, { digest, signature, key });
  const answer = await fetch(`${rekor.url}/api/v2/log/entries`, {
    method: 'POST',
    body: body as Uint8Array<ArrayBuffer>,
    headers: { 'content-type': 'application/json' },
  });
  expect(answer.status).toBe(201);
}

const digestOf = ({ text }: AnchoredHead) => createHash('sha256').update(text).digest('hex');

describe('a search', () => {
  test('finds a head that nobody here asked for, once, and says where it is', async () => {
    plan(own.head(5));
    const looking = strangers();
    await looking.look(signal);
    await takeUp(own.head(5));
    rekor.v2.shard.grow(600);
    await takeUp(own.head(6));
    await looking.look(signal);
    expect(found.map(({ log, place }) => [log, place])).toEqual([
      ['team', 'entry 901 of https://rekor.test.example'],
    ]);
    const kept = store.strangers.first('team');
    expect(Buffer.from(kept?.digest ?? []).toString('hex')).toBe(digestOf(own.head(6)));
    expect(strangerError(kept!).message).toContain(digestOf(own.head(6)));
    await looking.look(signal);
    expect(found).toHaveLength(1);
    expect(warned).toEqual([]);
  });

  test('takes nothing for one that the key did not sign, or that is of somebody else', async () => {
    plan(own.head(5));
    plan(other.head(5), 'other');
    await strangers().look(signal);
    // By a key of another log of ours, and known there; by nobody of ours; of our key, and not signed by it.
    await takeUp(other.head(5));
    await takeUp(new AnchorKey().head(9));
    const { signature } = other.head(7);
    const forged = hashedRekordRequest(2, { digest: own.head(7).root, signature, key: own.key });
    const { hashedRekordRequestV002: parts } = JSON.parse(parseUtf8(forged, 'request'));
    const { verifier, content } = parts.signature;
    rekor.v2.shard.tree.append(
      Buffer.from(
        JSON.stringify({
          apiVersion: '0.0.2',
          kind: 'hashedrekord',
          spec: {
            hashedRekordV002: {
              data: { algorithm: 'SHA2_256', digest: parts.digest },
              signature: {
                content,
                verifier: {
                  keyDetails: verifier.keyDetails,
                  publicKey: { rawBytes: verifier.publicKey.rawBytes },
                },
              },
            },
          },
        }),
      ),
    );
    rekor.v2.shard.tree.append(
      Buffer.from(`{"about":"${Buffer.from(own.key.spki).toString('base64')}"}`),
    );
    await strangers().look(signal);
    expect(found).toEqual([]);
  });

  test('takes nothing for one that the log had, whoever had it taken up', async () => {
    plan(own.head(5));
    await strangers().look(signal);
    had.add(digestOf(own.head(6)));
    // Published with the anchor key's line, so that anybody can send it.
    await takeUp(own.head(6));
    await strangers().look(signal);
    expect(found).toEqual([]);
    expect(store.strangers.first('team')).toBeUndefined();
    await takeUp(own.head(7));
    await strangers().look(signal);
    expect(found.map(({ digest }) => Buffer.from(digest).toString('hex'))).toEqual([
      digestOf(own.head(7)),
    ]);
  });

  test('of a log that cannot be read is done again, and the others are told of at once', async () => {
    plan(own.head(5));
    plan(other.head(5), 'other');
    await strangers().look(signal);
    await takeUp(own.head(6));
    await takeUp(other.head(6));
    unreadable.add('team');
    await strangers().look(signal);
    expect(found.map(({ log }) => log)).toEqual(['other']);
    expect(warned.join()).toContain('log team cannot be read');
    unreadable.clear();
    await strangers().look(signal);
    expect(found.map(({ log }) => log)).toContain('team');
  });

  test('goes on where the last process ended, and what was there before the first is not read', async () => {
    plan(own.head(5));
    await takeUp(own.head(4));
    await strangers().look(signal);
    expect(found).toEqual([]);
    await takeUp(own.head(6));
    const asked = rekor.requests.length;
    await strangers().look(signal);
    expect(found.map(({ place }) => place)).toEqual(['entry 301 of https://rekor.test.example']);
    const paths = rekor.requests.slice(asked).map(({ path }) => path);
    expect(paths).toEqual(['/api/v2/checkpoint', '/api/v2/tile/entries/001.p/46']);
  });

  test('reads on in turns, and says what it did not come to', async () => {
    plan(own.head(5));
    const looking = strangers(2, 2);
    await looking.look(signal);
    rekor.v2.shard.grow(256 * 64 * 2 + 500);
    await takeUp(own.head(6));
    await looking.look(signal);
    expect(found).toEqual([]);
    expect(warned.join()).toMatch(/^\d+ entries of target own are not searched yet/);
    await looking.look(signal);
    expect(found).toHaveLength(1);
  });

  test('of a target that is away, or whose files are cut, is done again', async () => {
    plan(own.head(5));
    const looking = strangers();
    await looking.look(signal);
    await takeUp(own.head(6));
    rekor.nextRead({ status: 503 });
    await looking.look(signal);
    expect(warned.join()).toContain('503');
    rekor.nextRead({}, { change: (reply) => ({ ...reply, body: reply.body.slice(0, -3) }) });
    await looking.look(signal);
    expect(warned.join()).toContain('ends inside entry');
    expect(found).toEqual([]);
    await looking.look(signal);
    expect(found).toHaveLength(1);
  });

  test('takes the full file where the partial one is gone', async () => {
    plan(own.head(5));
    await strangers().look(signal);
    await takeUp(own.head(6));
    rekor.v2.shard.lag(301);
    rekor.v2.shard.grow(400);
    rekor.v2.keepsPartials = false;
    await strangers().look(signal);
    expect(found).toHaveLength(1);
  });

  test('is not done of version 1, which has no files', async () => {
    plan(own.head(5));
    await strangers(1).look(signal);
    expect(rekor.requests).toEqual([]);
  });
});
