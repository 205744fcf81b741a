/**
 * Published signature vectors, all of them, on every engine.
 */
import { describe, expect, test } from 'vitest';
import { parseHex, utf8 } from '../../server/core/bytes.ts';
import { ed25519Spki, type PublicKey, parsePublicKey } from '../../server/core/keys.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { accepts, engines, enginesFor, holds } from './engines.ts';

interface Cctv {
  readonly number: number;
  readonly key: string;
  readonly sig: string;
  readonly msg: string;
  readonly flags: readonly string[] | null;
}

interface Wycheproof {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly publicKeyDer: string;
    readonly tests: readonly {
      readonly tcId: number;
      readonly comment: string;
      readonly msg: string;
      readonly sig: string;
      readonly result: 'valid' | 'invalid';
    }[];
  }[];
}

/** The rule for keys, in the words of the vectors. */
const KEY_FLAWS = ['low_order_A', 'non_canonical_A', 'low_order_component_A'];

/** The rule for R, which every engine asks before its library. */
const R_FLAWS = ['low_order_R', 'non_canonical_R'];

/** The two sides of the cofactorless equation differ by a point of small order. */
const EQUATION_FLAWS = ['low_order_residue'];

describe.skipIf(sharedMissing)('CCTV Ed25519 edge cases', () => {
  const cases = sharedMissing
    ? []
    : (sharedJson('vectors', 'cctv-ed25519', 'ed25519vectors.json') as Cctv[]);
  const has = (vector: Cctv, flaws: readonly string[]): boolean =>
    flaws.some((flaw) => vector.flags?.includes(flaw));

  test('are all there, in every combination of flags that the file has', () => {
    expect(cases).toHaveLength(610);
    expect(new Set(cases.map((c) => c.flags?.join())).size).toBe(62);
  });

  test('the key rule refuses exactly the keys that are flagged', () => {
    for (const vector of cases) {
      const spki = ed25519Spki(parseHex(vector.key, 'key'));
      if (has(vector, KEY_FLAWS)) {
        expect(() => parsePublicKey('ed25519', spki), `${vector.number}`).toThrow(/ed25519 key/);
      } else {
        expect(parsePublicKey('ed25519', spki).alg, `${vector.number}`).toBe('ed25519');
      }
    }
  });

  test.each(enginesFor('ed25519'))('$name accepts what has no flaw', (engine) => {
    for (const vector of cases) {
      const expected = !has(vector, [...KEY_FLAWS, ...R_FLAWS, ...EQUATION_FLAWS]);
      const spki = ed25519Spki(parseHex(vector.key, 'key'));
      const got = accepts(
        engine,
        'ed25519',
        spki,
        utf8(vector.msg),
        parseHex(vector.sig, 'signature'),
      );
      expect(got, `${vector.number} ${vector.flags}`).toBe(expected);
    }
  });

  // The file has no vector without any flaw, so the parts are also judged without the key rule: mixed
  // keys, which no log registers, are where the cofactored and the cofactorless equation part.
  test.each(enginesFor('ed25519'))('$name solves the cofactorless equation', (engine) => {
    let accepted = 0;
    for (const vector of cases) {
      if (has(vector, ['low_order_A', 'non_canonical_A'])) continue;
      const expected = !has(vector, [...R_FLAWS, ...EQUATION_FLAWS]);
      const spki = ed25519Spki(parseHex(vector.key, 'key'));
      // A key that no rule was asked about, which only a test may make.
      const key = { alg: 'ed25519', spki, keyid: `cctv ${vector.key}` } as unknown as PublicKey;
      const got = holds(engine, key, utf8(vector.msg), parseHex(vector.sig, 'signature'));
      expect(got, `${vector.number} ${vector.flags}`).toBe(expected);
      if (got) accepted++;
    }
    expect(accepted).toBe(26);
  });
});

describe.skipIf(sharedMissing)('Wycheproof', () => {
  const files = [
    ['ed25519', 'ed25519_test.json', 151],
    ['ecdsa-p256', 'ecdsa_secp256r1_sha256_test.json', 484],
    ['rsa-pss', 'rsa_pss_2048_sha256_mgf1_32_test.json', 108],
  ] as const;
  const runs = files.flatMap(([alg, file, count]) =>
    enginesFor(alg).map((engine) => ({ alg, file, count, engine, name: engine.name })),
  );

  test.each(runs)('$alg on $name', ({ alg, file, count, engine }) => {
    const { testGroups } = sharedJson('vectors', 'wycheproof', file) as Wycheproof;
    let seen = 0;
    for (const group of testGroups) {
      const key = parsePublicKey(alg, parseHex(group.publicKeyDer, 'SPKI'));
      for (const { tcId, comment, msg, sig, result } of group.tests) {
        const got = holds(engine, key, parseHex(msg, 'message'), parseHex(sig, 'signature'));
        expect(got, `${tcId} ${comment}`).toBe(result === 'valid');
        seen++;
      }
    }
    expect(seen).toBe(count);
  });
});

test('the portable engine and node:crypto run on every machine', () => {
  expect(engines.map((engine) => engine.name).slice(0, 2)).toEqual(['portable', 'node']);
});
