/** What a monitor makes of the words of others: Rekor, time-stamping authorities, witnesses; and of silence. */
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { rekorV1 } from '../../server/anchor/rekor-v1.ts';
import { rekorV2 } from '../../server/anchor/rekor-v2.ts';
import type { AnchoredHead, Target } from '../../server/anchor/target.ts';
import { TsaTarget } from '../../server/anchor/tsa.ts';
import { parseBase64, sha256, toHex, utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { SteleError } from '../../server/core/errors.ts';
import type { Json, JsonObject } from '../../server/core/json.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { formatNote, parseNote } from '../../server/core/note.ts';
import { parseTsaRoots } from '../../server/core/rfc3161.ts';
import { readTrustedRoot } from '../../server/core/sigstore/trusted-root.ts';
import { Tree } from '../../server/core/tree.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { anchorVerifierKey } from '../../server/keys/log-keys.ts';
import { WitnessPlace } from '../../server/monitor/places.ts';
import type { RekorPlace } from '../../server/monitor/sweep.ts';
import { Outbound } from '../../server/outbound.ts';
import { Cosigner } from '../../server/witness/giving-keys.ts';
import { OpensslTsa } from '../anchor/openssl-tsa.ts';
import { RekorDouble } from '../anchor/rekor-double/double.ts';
import { Heart, headOf, IDENTITY, KEYS, ORIGIN, plainLog } from '../log/audit/build.ts';
import { makeSigner, TestClock } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';
import { lookedAt, Site, said, type WatchOptions } from './site.ts';

const outbound = new Outbound('0.0.0-test');
const never = new AbortController().signal;
const HOUR_MS = 3_600_000;

let entries: readonly Uint8Array[];
let rekor: RekorDouble;
let tsa: OpensslTsa;
let removeTsa: () => void = () => undefined;
let nowMs: number;

beforeAll(async () => {
  nowMs = Date.now();
  entries = await plainLog(60);
  tsa = new OpensslTsa(temporaryFolder((remove) => (removeTsa = remove)));
  await tsa.listen();
});
afterAll(() => {
  tsa.close();
  removeTsa();
});

let log: Site;
let folder: string;
let clock: TestClock;
afterEach(() => rekor.stop());
beforeEach(async () => {
  rekor = await RekorDouble.start({ now: () => nowMs });
  rekor.v2.shard.grow(300);
  folder = temporaryFolder();
  clock = new TestClock(nowMs);
  log = await Site.of(entries.slice(0, 42));
  log.time = new Date(nowMs).toISOString();
});

function trustedRoot() {
  const json = JSON.parse(JSON.stringify(rekor.trustedRoot())) as JsonObject;
  return { json, parsed: readTrustedRoot(json as Json) };
}

/** A reader who trusts this Rekor and this authority. */
function looking(more: Partial<WatchOptions> = {}) {
  const pem = tsa.pem('root');
  const authorities = [parseTsaRoots(pem, 'roots')];
  return lookedAt({
    places: [log.place()],
    folder,
    clock,
    keys: [{ key: IDENTITY }, { key: anchorVerifierKey(ORIGIN, KEYS.anchor) }],
    trust: { trustedRoot: trustedRoot(), tsaRoots: { texts: [pem], authorities } },
    ...more,
  });
}

async function shownHead(of: readonly Uint8Array[], signer = KEYS.anchor): Promise<AnchoredHead> {
  const { tree } = Tree.empty().append(of.map((entry) => leafHash(entry)));
  const [size, root] = [tree.size, tree.root()];
  const text = utf8(formatCheckpoint({ origin: ORIGIN, size, root }));
  const { publicKey: key } = signer;
  return { origin: ORIGIN, size, root, text, signature: await signer.sign(text), key };
}

/** Has a target say something of a head, as it would be kept. */
async function wordOf(target: Target, head: AnchoredHead): Promise<JsonObject> {
  const request = await target.request(head);
  const answer = await target.ask(request, never);
  return (await target.check(head, request, answer, undefined, never)).anchor;
}

const rekorOptions = () => ({
  ...{ name: 'own', url: rekor.url, outbound, trust: trustedRoot().parsed },
  ...{ check: checkSignatureNative, now: () => nowMs },
});

function authority(): TsaTarget {
  const random = (length: number) => new Uint8Array(length).fill(7);
  const authorities = [parseTsaRoots(tsa.pem('root'), 'roots')];
  return new TsaTarget({
    ...{ name: 'stamps', url: tsa.url('p256'), authorities, outbound, random },
    now: () => Date.now(),
  });
}

/** A bundle by an anchor key that nobody knows. */
async function unknownBundle(size: number): Promise<string> {
  const stranger = makeSigner('ecdsa-p256');
  const word = await wordOf(
    rekorV2(rekorOptions()),
    await shownHead(entries.slice(0, size), stranger),
  );
  return JSON.stringify(word.bundle);
}

/** The log lists this word for this size. */
function list(size: number, word: JsonObject, more: JsonObject = {}): void {
  const isRekor = word.type === 'rekor';
  const target = isRekor ? 'own' : 'stamps';
  const bytes = isRekor
    ? utf8(JSON.stringify(word.bundle))
    : parseBase64(String(word.response), 'response');
  log.files = { ...log.files, [`v1/anchors/${target}/${size}`]: bytes };
  const row = { target, type: String(word.type), size, state: 'published', ...more };
  log.anchors = [row, ...log.anchors];
}

describe('what a target said', () => {
  test.for([1, 2] as const)('in rekor v%i is about a head that the log has', async (version) => {
    const target = version === 1 ? rekorV1(rekorOptions()) : rekorV2(rekorOptions());
    list(30, await wordOf(target, await shownHead(entries.slice(0, 30))));
    const look = await looking();
    expect(said(look)).toBe('');
    expect(look.words.filter(({ kind }) => kind === 'left_out')).toEqual([]);
    if (version === 1) expect(look.fresh?.by).toBe('rekor target own');
  });

  test('of another history is told', async () => {
    const other = [...entries.slice(0, 20), ...(await new Heart('fork').beats(10))];
    list(30, await wordOf(rekorV2(rekorOptions()), await shownHead(other)));
    expect(said(await looking())).toMatch(
      /^anchor - what target own said of the head of 30: rekor anchor: digest: /,
    );
    // Also where nobody is trusted who could say more.
    expect(said(await looking({ trust: {} }))).toMatch(/^anchor - .*digest/);
  });

  test('by nobody whom the reader trusts is left out, and not taken for good', async () => {
    list(30, await wordOf(rekorV2(rekorOptions()), await shownHead(entries.slice(0, 30))));
    const look = await looking({ trust: {} });
    expect(said(look)).toBe('');
    expect(look.words).toContainEqual(
      expect.objectContaining({ kind: 'left_out', detail: expect.stringContaining('target own') }),
    );
  });

  test('as a time stamp is held to the log’s head and gives a time', async () => {
    list(42, await wordOf(authority(), await shownHead(entries.slice(0, 42))));
    const look = await looking();
    expect(said(look)).toBe('');
    expect(look.fresh?.by).toBe('rfc3161 target stamps');
    const other = temporaryFolder();
    list(41, await wordOf(authority(), await shownHead(entries.slice(1, 42))));
    expect(said(await looking({ folder: other }))).toMatch(
      /^anchor - what target stamps said of the head of 41: .*imprint differs/,
    );
  });

  test('is judged once, and what was open is judged when it is answered', async () => {
    const [first, second] = await Promise.all(
      [20, 30].map(async (n) =>
        wordOf(rekorV2(rekorOptions()), await shownHead(entries.slice(0, n))),
      ),
    );
    list(20, first as JsonObject);
    log.anchors = [{ target: 'own', type: 'rekor', size: 25, state: 'sent' }, ...log.anchors];
    list(30, second as JsonObject);
    expect(said(await looking())).toBe('');
    log.asked.length = 0;
    // 25 is answered later than 30 was: what the log lists for it is another head’s.
    log.anchors = log.anchors.map((row) => ({ ...row, state: 'published' }));
    log.files = { ...log.files, 'v1/anchors/own/25': log.files['v1/anchors/own/20'] as Uint8Array };
    expect(said(await looking())).toMatch(/^anchor - what target own said of the head of 25: /);
    expect(log.asked).not.toContain('v1/anchors/own/20 200');
  });
});

describe('what Rekor has by the log’s key', () => {
  function place(): RekorPlace {
    const { search } = rekorV2(rekorOptions());
    if (search === undefined) throw new Error('it cannot be searched');
    return { url: rekor.url, search };
  }

  test('is the log’s, listed or not, and entries of others are theirs', async () => {
    await wordOf(rekorV2(rekorOptions()), await shownHead(entries.slice(0, 33)));
    const look = await looking({ rekors: [place()] });
    expect(said(look)).toBe('');
    expect(look.words.filter(({ kind }) => kind === 'left_out')).toEqual([]);
  });

  test('and is of another history, is told in every look', async () => {
    expect(said(await looking({ rekors: [place()] }))).toBe('');
    const other = [...entries.slice(0, 20), ...(await new Heart('fork').beats(15))];
    const head = await shownHead(other);
    await wordOf(rekorV2(rekorOptions()), head);
    const digest = toHex(sha256(head.text));
    for (let i = 0; i < 2; i++) {
      const look = said(await looking({ rekors: [place()] }));
      expect(look).toMatch(/^anchor - entry \d+ of .* and that is of no size of this log up to 42/);
      expect(look).toContain(digest);
    }
  });

  test('is found by a key of which nobody knew when it was read', async () => {
    const signer = makeSigner('ecdsa-p256');
    const other = [...entries.slice(0, 20), ...(await new Heart('fork').beats(15))];
    await wordOf(rekorV2(rekorOptions()), await shownHead(other, signer));
    for (let i = 0; i < 2; i++) expect(said(await looking({ rekors: [place()] }))).toBe('');
    const keys = [{ key: IDENTITY }, { key: anchorVerifierKey(ORIGIN, signer), untilSize: 20 }];
    expect(said(await looking({ rekors: [place()], keys }))).toMatch(/^anchor - entry \d+ of /);
  });

  test('cannot be searched, and that is no success', async () => {
    const search = () => Promise.reject(new SteleError('storage', 'no answer'));
    const look = await looking({ rekors: [{ url: 'http://rekor.example', search }] });
    expect(said(look)).toMatch(/^unreachable - http:\/\/rekor\.example: it could not be searched/);
  });
});

describe('silence', () => {
  const lag = (more: JsonObject) => [{ target: 'own', type: 'rekor', missed: 0, ...more }];

  test('of a target is told once it has lasted', async () => {
    log.anchoring = lag({});
    expect(said(await looking())).toBe('');
    clock.ms += 3 * HOUR_MS;
    log.time = new Date(clock.ms).toISOString();
    expect(said(await looking())).toMatch(/^anchoring - target own: no head at all/);
    list(42, await wordOf(rekorV2(rekorOptions()), await shownHead(entries.slice(0, 42))));
    expect(said(await looking())).toBe('');
  });

  test('begins when the log goes on, and not with the last word', async () => {
    list(42, await wordOf(rekorV2(rekorOptions()), await shownHead(entries.slice(0, 42))));
    expect(said(await looking())).toBe('');
    clock.ms += 10 * HOUR_MS;
    log.time = new Date(clock.ms).toISOString();
    await log.show(entries.slice(0, 50));
    expect(said(await looking())).toBe('');
    clock.ms += 3 * HOUR_MS;
    expect(said(await looking())).toMatch(/^anchoring - target own: no head after the one of 42/);
  });

  test('that the log admits is told at once', async () => {
    log.anchoring = lag({ missed: 3 });
    expect(said(await looking())).toBe(
      'anchoring - target own was not shown 3 heads since its last word',
    );
  });

  test('of a target that showed two histories is told', async () => {
    log.anchors = [{ target: 'own', type: 'rekor', size: 30, state: 'suspect' }];
    expect(said(await looking())).toMatch(/^anchoring - target own showed two histories/);
  });

  test('where a word is required is told', async () => {
    const look = await looking({ limits: { require: ['rekor', 'rfc3161'] } });
    expect(said(look)).toBe(
      'anchoring - rekor is required, and no head of this log has it\n' +
        'anchoring - rfc3161 is required, and no head of this log has it',
    );
  });

  test('where a word is required, one that nobody judged is none, until somebody can', async () => {
    list(42, await wordOf(rekorV2(rekorOptions()), await shownHead(entries.slice(0, 42))), {
      time: new Date(nowMs).toISOString(),
    });
    const limits = { require: ['rekor'] as const };
    const without = await looking({ limits, trust: {} });
    expect(said(without)).toBe('anchoring - rekor is required, and no head of this log has it');
    expect(without.fresh?.by).toBe('the log itself');
    expect(said(await looking({ limits }))).toBe('');
  });

  test('where a word is required, a log does not choose what another word counts as', async () => {
    list(30, await wordOf(authority(), await shownHead(entries.slice(0, 30))));
    log.anchors = [{ ...log.anchors[0], type: 'rekor', size: 20 }, ...log.anchors];
    log.files = { ...log.files, 'v1/anchors/stamps/20': utf8(await unknownBundle(20)) };
    expect(said(await looking({ limits: { require: ['rekor'] } }))).toBe(
      'anchoring - rekor is required, and no head of this log has it',
    );
  });
});

describe('witnesses', () => {
  const cosigner = new Cosigner('witness.example/w1', { ed25519: makeSigner() });
  const [key] = cosigner.keys;
  const policy = `witness w1 ${key?.text}\nquorum w1\n`;

  async function cosigned(of: readonly Uint8Array[], timeMs: number): Promise<string> {
    const { tree } = Tree.empty().append(of.map((entry) => leafHash(entry)));
    const { size, root, checkpoint } = await headOf(tree);
    const { text, signatures } = parseNote(utf8(checkpoint));
    const timeS = Math.floor(timeMs / 1_000);
    const lines = await cosigner.cosign({ text, origin: ORIGIN, size, root, timeS });
    return formatNote({ text, signatures: [...signatures, ...lines] });
  }

  /** A witness that shows this note of our log, and knows no other. */
  function witness(note: () => string | number): WitnessPlace {
    const name = createHash('sha256').update(ORIGIN).digest('hex');
    const answer = async (input: Parameters<typeof fetch>[0]) => {
      const said = note();
      if (typeof said === 'number') return new Response('', { status: said });
      const isOurs = String(input) === `http://witness.example/${name}/checkpoint`;
      return new Response(isOurs ? said : '', { status: isOurs ? 200 : 404 });
    };
    return new WitnessPlace(
      'http://witness.example',
      new Outbound('0.0.0-test', undefined, answer),
    );
  }

  test('that saw a head say when it was alive, and that there is a quorum', async () => {
    const note = await cosigned(entries.slice(0, 40), nowMs - HOUR_MS);
    const look = await looking({
      policy,
      witnesses: [witness(() => note)],
      limits: { require: ['quorum'] },
    });
    expect(said(look)).toBe('');
    expect(look.fresh?.by).toBe('witness witness.example/w1');
  });

  test('that are not heard for too long are told', async () => {
    const note = await cosigned(entries.slice(0, 40), nowMs);
    const witnesses = [witness(() => note)];
    expect(said(await looking({ policy, witnesses }))).toBe('');
    clock.ms += 3 * HOUR_MS;
    expect(said(await looking({ policy, witnesses }))).toMatch(
      /^witnessing - the policy’s quorum: no head after the one of 40/,
    );
  });

  test('that the log admits to lack, or to be accused by, are told', async () => {
    log.witnessing = [
      { witness: 'w.example/1', size: 30, missed: 2, asked: 9, failed: 2 },
      {
        witness: 'w.example/2',
        missed: 0,
        asked: 9,
        failed: 9,
        disputes: 'size 31 has another root',
      },
    ];
    const look = await looking();
    expect(said(look)).toBe(
      'witnessing - witness w.example/1 did not cosign 2 heads since its last one\n' +
        'witnessing - witness w.example/2 holds another history against this log: size 31 has another root',
    );
    expect(look.words.map(({ detail }) => detail)).toContain(
      'what witnesses cosigned: the trust file has no policy that names any',
    );
  });

  test('that saw another history give it away', async () => {
    const other = [...entries.slice(0, 20), ...(await new Heart('fork').beats(10))];
    const note = await cosigned(other, nowMs);
    const look = await looking({ policy, witnesses: [witness(() => note)] });
    expect(said(look)).toMatch(/^split_view - the head of 30 from http:\/\/witness\.example/);
    expect(look.words[0]?.heads?.[0]).toBe(note);
  });

  test('that saw more than the log shows give it away', async () => {
    const note = await cosigned(entries, nowMs);
    const look = await looking({ policy, witnesses: [witness(() => note)] });
    expect(said(look)).toMatch(
      /^withheld - .*cosigned a head of 62 entries, and .* shows one of 42/,
    );
  });

  test('that do not answer leave it open; that know nothing of the log are left out', async () => {
    expect(said(await looking({ witnesses: [witness(() => 500)] }))).toMatch(/^unreachable - /);
    const look = await looking({ witnesses: [witness(() => 404)] });
    expect(said(look)).toBe('');
    expect(look.words.map(({ kind }) => kind)).toContain('left_out');
  });

  test('whose line is spoiled spoil the note', async () => {
    const note = (await cosigned(entries.slice(0, 40), nowMs)).replace(/(w1 \S{20})../, '$1AA');
    expect(said(await looking({ policy, witnesses: [witness(() => note)] }))).toMatch(
      /^signature - http:\/\/witness\.example: /,
    );
  });
});
