/** ML-DSA-44: one verdict, whether Node has it or plain JavaScript decides. */
import { describe, expect, test } from 'vitest';
import { parseHex } from '../../server/core/bytes.ts';
import { PORTABLE, primitives } from '../../server/core/primitives.ts';
import { MLDSA44_KEY_BYTES } from '../../server/core/verifier-key.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { sharedJson, sharedMissing } from '../shared.ts';

interface Vectors {
  readonly testGroups: readonly {
    readonly publicKey: string;
    readonly tests: readonly {
      readonly tcId: number;
      readonly comment: string;
      readonly msg: string;
      readonly sig: string;
      readonly ctx?: string;
      readonly result: 'valid' | 'invalid';
    }[];
  }[];
}

useNativePrimitives();
const engines = { portable: PORTABLE, native: primitives() };

describe.skipIf(sharedMissing)('the published vectors', () => {
  const { testGroups } = sharedMissing
    ? { testGroups: [] }
    : (sharedJson('vectors', 'wycheproof', 'mldsa_44_verify_test.json') as Vectors);
  const cases = testGroups.flatMap(({ publicKey, tests }) =>
    tests
      // A cosignature has no context, and its key and signature have their lengths before they are looked at.
      .filter(({ ctx, sig }) => ctx === undefined && sig.length === 2 * 2420)
      .filter(() => publicKey.length === 2 * MLDSA44_KEY_BYTES)
      .map((one) => ({ ...one, key: parseHex(publicKey, 'key') })),
  );

  test.each(Object.entries(engines))('hold or not as they say: %s', (_, engine) => {
    const wrong = cases.filter(({ sig, msg, key, result }) => {
      const holds = engine.verifyMldsa44(parseHex(sig, 'sig'), parseHex(msg, 'msg'), key);
      return holds !== (result === 'valid');
    });
    expect(cases.length).toBeGreaterThan(150);
    expect(wrong.map(({ tcId, comment }) => `${tcId}: ${comment}`)).toEqual([]);
  });
});
