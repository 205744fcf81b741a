/**
 * From an entry to a receipt that shows that a public log has its head: a real server, a Rekor that is as
 * strict as the real one, the command that verifies alone, and other people's verifier.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { anchoredText, parseAnchor } from '../../server/core/anchor.ts';
import { toBase64 } from '../../server/core/bytes.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { NOTE_ECDSA } from '../../server/core/verifier-key.ts';
import { OpensslTsa } from '../anchor/openssl-tsa.ts';
import { RekorDouble } from '../anchor/rekor-double/double.ts';
import { sigstoreFlaw } from '../anchor/sigstore-judge.ts';
import { opensslMissing } from '../certificates.ts';
import { Author } from '../fault/author.ts';
import { Place } from '../fault/process.ts';
import { temporaryFolder } from '../temporary.ts';

describe.skipIf(opensslMissing)('heads shown to Rekor', () => {
  let rekor: RekorDouble;
  let tsa: OpensslTsa;
  let place: Place;
  let author: Author;

  beforeAll(async () => {
    rekor = await RekorDouble.start();
    rekor.v1.shard.grow(5);
    rekor.v2.shard.grow(300);
    tsa = new OpensslTsa(temporaryFolder(afterAll));
    await tsa.listen();
    const folder = temporaryFolder(afterAll);
    const roots = join(folder, 'roots.pem');
    writeFileSync(roots, tsa.pem('root'));
    const trusted = join(folder, 'trusted_root.json');
    writeFileSync(trusted, JSON.stringify(trustedRoot()));
    place = new Place(
      {
        STELE_TSA_STAMPS: tsa.url('p256'),
        STELE_TSA_STAMPS_ROOTS: roots,
        STELE_ANCHOR_TRUSTED_ROOT: trusted,
        STELE_REKOR_OLD: rekor.url,
        STELE_REKOR_OLD_VERSION: '1',
        STELE_REKOR_NEW: rekor.url,
        STELE_REKOR_NEW_TSA: 'stamps',
      },
      ['serve'],
    );
    await place.start();
    author = new Author((await place.log('read').head()).origin, 'gateway');
    await place.register(author.signer);
  }, 120_000);

  afterAll(async () => {
    tsa.close();
    await rekor.stop();
    await place.close();
  });

  /** The trusted root of both: the double has another address here than the one it is called by. */
  function trustedRoot() {
    const json = rekor.trustedRoot();
    const here = json.tlogs.map((log) => ({ ...log, baseUrl: rekor.url }));
    const certificates = (['p256', 'root'] as const).map((name) => ({
      rawBytes: tsa.pem(name).replace(/-----[A-Z ]+-----|\s/g, ''),
    }));
    const authority = {
      subject: { organization: 'Example', commonName: 'p256' },
      uri: tsa.url('p256'),
      certChain: { certificates },
      validFor: { start: '2024-01-01T00:00:00Z' },
    };
    return { ...json, tlogs: [...json.tlogs, ...here], timestampAuthorities: [authority] };
  }

  /** Submits one entry; its receipt's file, once both logs have its head. */
  async function anchored(name: string): Promise<string> {
    const { receipt } = await place.log('submit').submit(await author.sign(author.next()));
    const { index } = parseReceipt(receipt);
    await place.admin().anchorLog('default');
    const { server } = place.addresses();
    const answer = await fetch(`${server}/logs/default/v1/receipts/${index}?require=rekor`, {
      headers: { authorization: `Bearer ${place.token('read')}` },
    });
    const text = await answer.text();
    expect([answer.status, text]).toEqual([200, expect.stringContaining('"type":"rekor"')]);
    const file = join(place.folder, name);
    writeFileSync(file, text);
    return file;
  }

  function trust(name: string, more: object): string {
    const file = join(place.folder, name);
    const known = JSON.parse(readFileSync(join(place.data, 'trust.json'), 'utf8')) as object;
    writeFileSync(file, JSON.stringify({ ...known, ...more }));
    return file;
  }

  test('a receipt carries what each of them said, and it is verified without anybody', async () => {
    const file = await anchored('receipt.json');
    const known = trust('known.json', { trusted_root: trustedRoot() });
    const held = await place.stele('verify', file, '--trust', known, '--require', 'rekor');
    expect(held.output).toContain('HOLDS');
    expect(held.output).toMatch(/valid +rekor .*rekor v1/);
    expect(held.output).toMatch(/valid +rekor .*rekor v2.*stamped .* by CN=p256/);
    expect(held.output).toMatch(/EXISTED: \S+ at the latest/);
    expect(held.code).toBe(0);
  });

  test('who knows neither of them is told so, and who asks for one is not content', async () => {
    const file = await anchored('stranger.json');
    const stranger = trust('stranger-trust.json', {});
    const open = await place.stele('verify', file, '--trust', stranger);
    expect(open.output).toMatch(/no-trust +rekor .*no trusted_root/);
    expect(open.code).toBe(0);
    const asked = await place.stele('verify', file, '--trust', stranger, '--require', 'rekor');
    expect(asked.code).toBe(1);
  });

  test('what is served is a bundle that Sigstore’s own verifier takes', async () => {
    const file = await anchored('bundle.json');
    const { anchors, origin } = parseReceipt(readFileSync(file));
    const rekors = anchors
      .map((one) => parseAnchor(one, 'anchor'))
      .filter((one) => one?.type === 'rekor');
    expect(rekors.map((one) => one?.instance.api).sort()).toEqual([1, 2]);
    const pinned = parseTrust(readFileSync(join(place.data, 'trust.json')));
    const [key] = pinned.logs
      .filter((log) => log.origin === origin)
      .flatMap(({ keys }) => keys)
      .filter(({ key }) => key.type === NOTE_ECDSA)
      .map(({ key }) => parsePublicKey('ecdsa-p256', key.key));
    const pem = `-----BEGIN PUBLIC KEY-----\n${toBase64(key!.spki)}\n-----END PUBLIC KEY-----\n`;
    for (const [i, name] of ['old', 'new'].entries()) {
      const { of } = rekors.find((one) => one?.instance.api === i + 1)!;
      const bytes = await place.log('read').anchor(name, of.size);
      const flaw = sigstoreFlaw({
        bundle: JSON.parse(Buffer.from(bytes).toString()),
        text: anchoredText(of),
        key: pem,
        trustedRoot: trustedRoot(),
      });
      expect([name, flaw]).toEqual([name, undefined]);
    }
  });

  test('an entry that is about another head proves nothing of this one', async () => {
    const file = await anchored('moved.json');
    const before = readFileSync(join(place.folder, 'receipt.json'), 'utf8');
    const receipt = JSON.parse(readFileSync(file, 'utf8')) as { anchors: { bundle?: object }[] };
    const other = JSON.parse(before) as typeof receipt;
    for (const [i, anchor] of receipt.anchors.entries()) {
      if (anchor.bundle !== undefined) anchor.bundle = other.anchors[i]!.bundle!;
    }
    writeFileSync(file, `${JSON.stringify(receipt)}\n`);
    const known = trust('known.json', { trusted_root: trustedRoot() });
    const verified = await place.stele('verify', file, '--trust', known);
    expect(verified.output).toMatch(/invalid +rekor .*digest/);
    expect(verified.code).toBe(1);
  });

  test('a log that is away, or shows two histories, slows nothing and is told of', async () => {
    rekor.next({ status: 503, retryAfter: '0' }, { status: 503, retryAfter: '0' });
    await place.log('submit').submit(await author.sign(author.next()));
    await place.admin().anchorLog('default');
    rekor.asUsual();
    const [newest] = await place.log('read').anchors();
    expect(newest?.reason).toContain('503');

    rekor.v2.shard.fork(3);
    await place.log('submit').submit(await author.sign(author.next()));
    await place.admin().anchorLog('default');
    const rows = await place.log('read').anchors();
    const states = new Map(rows.map(({ target, state }) => [target, state] as const).reverse());
    expect([states.get('old'), states.get('new')]).toEqual(['published', 'suspect']);
    expect(place.running!.output).toContain('has two histories');
  });

  test('is not begun with an address that the trusted root does not know', async () => {
    const trusted = join(place.folder, 'other.json');
    writeFileSync(trusted, JSON.stringify(rekor.trustedRoot()));
    const other = new Place({ STELE_REKOR_NEW: rekor.url, STELE_ANCHOR_TRUSTED_ROOT: trusted }, [
      'serve',
    ]);
    const { code, output } = await other.spawn().ended;
    expect(code).not.toBe(0);
    expect(output).toContain('rekor.new.url');
    expect(output).toContain('https://rekor.test.example');
    await other.close();
  });
});
