/** A certificate and its key as files: what is taken, what is refused, and what happens when they are replaced. */
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hasCode } from '../../server/core/errors.ts';
import { openTlsPair, TlsFiles, type TlsPair } from '../../server/keys/tls-pair.ts';
import { Issuer, opensslMissing, type Pair, type Wanted } from '../certificates.ts';

const root = mkdtempSync(join(tmpdir(), 'stele-tls-'));
afterAll(() => rmSync(root, { recursive: true }));

describe.skipIf(opensslMissing)('a pair', () => {
  let issuer: Issuer;
  let good: Pair;

  beforeAll(() => {
    issuer = new Issuer(join(root, 'issuer'));
    good = issuer.make();
  });

  test.each<Wanted>([
    { key: 'ec' },
    { key: 'rsa' },
    { key: 'ed25519' },
    { key: 'ec', traditional: true },
    { key: 'rsa', traditional: true },
  ])('of any usual kind is taken: %j', async (wanted) => {
    const pair = await openTlsPair(issuer.make(wanted));
    expect(pair.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(pair.endsMs - Date.now()).toBeGreaterThan(19 * 86_400_000);
    expect(pair.cert).toContain(issuer.pem);
  });

  /** What is wrong with the files, and what is said of it. */
  const spoilers: Record<string, readonly [(files: Pair) => Partial<Pair>, string, string]> = {
    'no certificate': [() => ({ cert: join(root, 'none') }), 'not_found', 'there is none'],
    'no key': [() => ({ key: join(root, 'none') }), 'not_found', 'there is none'],
    'a key for all to read': [
      ({ key }) => {
        chmodSync(key, 0o644);
        return {};
      },
      'forbidden',
      'mode 0644 is looser than 0600',
    ],
    'the key of another certificate': [
      () => ({ key: issuer.make().key }),
      'malformed',
      'not the key of the certificate',
    ],
    'a certificate for a key': [
      ({ cert }) => ({ key: copied(cert) }),
      'malformed',
      'not a private key in PEM',
    ],
    'a key for a certificate': [
      ({ key }) => ({ cert: key }),
      'malformed',
      'not a certificate in PEM',
    ],
    'a key that is cut short': [
      ({ key }) => ({ key: changed(key, (text) => text.slice(0, 120)) }),
      'malformed',
      'not a private key in PEM',
    ],
    'an empty certificate': [
      ({ cert }) => ({ cert: changed(cert, () => '') }),
      'malformed',
      'not a certificate in PEM',
    ],
    'a key that is far too long': [
      ({ key }) => ({ key: changed(key, (text) => text + '#'.repeat(20_000)) }),
      'malformed',
      'bytes where at most 16384',
    ],
    'an encrypted key': [
      ({ key }) => ({ key: changed(key, (t) => t.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE')) }),
      'malformed',
      'it is encrypted',
    ],
  };
  test.each(Object.entries(spoilers))('with %s is refused', async (_, [spoil, code, rule]) => {
    const files = issuer.make();
    const secret = readFileSync(files.key, 'utf8').split('\n')[1] ?? '';
    const error = await openTlsPair({ ...files, ...spoil(files) }).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(hasCode(error, code as 'malformed'), String(error)).toBe(true);
    expect(String(error)).toContain(rule);
    expect(secret.length).toBeGreaterThan(20);
    for (let at: unknown = error; at instanceof Error; at = at.cause) {
      expect(`${at.message}${at.stack}`).not.toContain(secret);
    }
  });

  let files = 0;
  function changed(path: string, how: (text: string) => string): string {
    const copy = join(root, `changed-${files++}`);
    writeFileSync(copy, how(readFileSync(path, 'utf8')), { mode: 0o600 });
    return copy;
  }
  const copied = (path: string) => changed(path, (text) => text);

  describe('that is replaced', () => {
    let place: Pair;
    let tls: TlsFiles;
    let used: TlsPair[];
    let refused: string[];

    const watch = () =>
      TlsFiles.open(place, {
        now: Date.now,
        changed: (pair) => used.push(pair),
        failed: (error) => refused.push(String(error)),
        lookMs: 5,
      });

    beforeEach(async () => {
      const folder = mkdtempSync(join(root, 'place-'));
      place = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
      put(good);
      used = [];
      refused = [];
      tls = await watch();
    });
    afterEach(() => tls.close());

    /** As careful tools do it: each file under a name of its own first. */
    function put(pair: Pair): void {
      for (const part of ['cert', 'key'] as const) {
        copyFileSync(pair[part], `${place[part]}.new`);
        renameSync(`${place[part]}.new`, place[part]);
      }
    }

    async function until(holds: () => boolean): Promise<void> {
      while (!holds()) await new Promise((resolve) => setImmediate(resolve));
    }

    test('is used, and the listeners hear of it once', async () => {
      const heard: TlsPair[] = [];
      tls.onChange((pair) => heard.push(pair));
      const next = issuer.make();
      put(next);
      await until(() => used.length > 0);
      const { fingerprint } = await openTlsPair(next);
      expect(tls.pair.fingerprint).toBe(fingerprint);
      expect(heard.map((pair) => pair.fingerprint)).toEqual([fingerprint]);
      expect(refused).toEqual([]);
    });

    test('by links that are turned, as container platforms do it, is used', async () => {
      tls.close();
      const next = issuer.make();
      for (const part of ['cert', 'key'] as const) {
        unlinkSync(place[part]);
        symlinkSync(good[part], place[part]);
      }
      const linked = await watch();
      for (const part of ['cert', 'key'] as const) {
        symlinkSync(next[part], `${place[part]}.new`);
        renameSync(`${place[part]}.new`, place[part]);
      }
      await until(() => used.length > 0);
      linked.close();
      expect(linked.pair.fingerprint).toBe((await openTlsPair(next)).fingerprint);
    });

    test.each<[string, () => Pair, string]>([
      ['by half', () => ({ ...good, cert: issuer.make().cert }), 'not the key of the certificate'],
      ['by one that has ended', () => issuer.make({ begins: -3, ends: -1 }), 'it ended at 20'],
      ['by one of tomorrow', () => issuer.make({ begins: 1 }), 'it begins at 20'],
      ['by noise', () => ({ ...good, cert: changed(good.cert, () => 'x') }), 'not a certificate'],
    ])('%s: the old one stays, which is said once', async (_, bad, rule) => {
      const { fingerprint } = tls.pair;
      put(bad());
      await until(() => refused.length > 0);
      expect(refused[0]).toContain(rule);
      const next = issuer.make();
      put(next);
      await until(() => used.length > 0);
      expect(tls.pair.fingerprint).not.toBe(fingerprint);
      expect(refused).toHaveLength(1);
    });

    test('is not looked for any more once it is closed', async () => {
      tls.close();
      const { fingerprint } = tls.pair;
      const other = await watch();
      put(issuer.make());
      await until(() => other.pair.fingerprint !== fingerprint);
      other.close();
      expect(tls.pair.fingerprint).toBe(fingerprint);
    });

    test('whose taking up fails is taken up at a later look', async () => {
      let tries = 0;
      tls.onChange(() => {
        tries += 1;
        if (tries < 3) throw new Error('the disk is full');
      });
      put(issuer.make());
      await until(() => used.length > 0);
      expect(tries).toBe(3);
      expect(refused).toEqual(['Error: the disk is full']);
    });
  });
});
