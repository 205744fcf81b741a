/**
 * Witness policies: which files are one, and when a quorum is met.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, parseBase64, utf8 } from '../../server/core/bytes.ts';
import { hasCode } from '../../server/core/errors.ts';
import { isQuorumMet, parsePolicy } from '../../server/core/policy.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { logKey, mldsaKey, witnessKey } from './note-keys.ts';

const log = logKey('log.example', 1).key;
const a = witnessKey('a.example', 2).key;
const b = witnessKey('b.example', 3).key;
const c = mldsaKey('c.example', 4).key;

const head = `log ${log.text} https://log.example/
witness A ${a.text} https://a.example/
witness B ${b.text}
witness C ${c.text}
`;
const whole = `${head}group pair 2 A B\ngroup both all pair C\nquorum both\n`;

function parse(text: string) {
  return parsePolicy(utf8(text));
}

describe('a policy', () => {
  test('is read into its parts', () => {
    const policy = parse(whole);
    expect(policy.logs).toEqual([{ key: log, url: 'https://log.example/' }]);
    expect(policy.witnesses.map(({ name, url }) => [name, url])).toEqual([
      ['A', 'https://a.example/'],
      ['B', undefined],
      ['C', undefined],
    ]);
    expect(policy.groups).toEqual([
      { name: 'pair', threshold: 2, members: ['A', 'B'] },
      { name: 'both', threshold: 2, members: ['pair', 'C'] },
    ]);
    expect(policy.quorum).toBe('both');
  });

  test('may have comments, empty lines, tabs and no line feed at the end', () => {
    const text = `# c\n\n \t# d\n\twitness \t A  ${a.text} \t\nquorum A`;
    expect(parse(text).witnesses).toHaveLength(1);
  });

  test('has names of any octets, each its own', () => {
    const octets = Uint8Array.of(0xff, 0x80);
    const policy = parsePolicy(
      concat(
        utf8('witness '),
        octets,
        utf8(` ${a.text}\nwitness `),
        Uint8Array.of(0xff, 0x81),
        utf8(` ${b.text}\nquorum `),
        octets,
      ),
    );
    expect(isQuorumMet(policy, [a])).toBe(true);
    expect(isQuorumMet(policy, [b])).toBe(false);
  });

  test('has verifier keys whose names are UTF-8', () => {
    const key = witnessKey('münchen.example', 9).key;
    expect(parse(`witness M ${key.text}\nquorum M`).witnesses[0]?.key).toEqual(key);
    const broken = utf8(`witness M ${key.text}\nquorum M`);
    const at = broken.indexOf(0xc3);
    expect(() => parsePolicy(broken.with(at, 0xff))).toThrow('policy line 1: not valid UTF-8');
  });

  const spoiled: Record<string, string> = {
    'no quorum': head,
    'two quorums': `${whole}quorum A\n`,
    'a quorum of a name that is not there': `${head}quorum D\n`,
    'a quorum of two names': `${head}quorum A B\n`,
    'a quorum of nothing': `${head}quorum\n`,
    'a quorum before its group': `${head}quorum g\ngroup g any A\n`,
    'a group of what comes later': `group g any A\n${head}quorum g\n`,
    'a group of itself': `${head}group g any g\nquorum g\n`,
    'a group of the same witness twice': `${head}group g 2 A A\nquorum g\n`,
    'a witness in two groups': `${head}group g any A\ngroup h any A B\nquorum h\n`,
    'a group without a threshold': `${head}group g\nquorum A\n`,
    'a group without members': `${head}group g any\nquorum g\n`,
    'a threshold of 0': `${head}group g 0 A\nquorum g\n`,
    'a threshold above the members': `${head}group g 3 A B\nquorum g\n`,
    'a threshold with a zero before it': `${head}group g 01 A\nquorum g\n`,
    'a threshold in words': `${head}group g most A\nquorum g\n`,
    'a group named none': `${head}group none any A\nquorum none\n`,
    'none in a group': `${head}group g any none\nquorum g\n`,
    'a witness and a group of one name': `${head}group A any B\nquorum A\n`,
    'the same witness twice': `${head}witness D ${a.text}\nquorum D\n`,
    'one key under two names': `${head}witness D ${witnessKey('d', 2).key.text}\nquorum D\n`,
    'one log twice': `${head}log ${log.text}\nquorum A\n`,
    'a log as its own witness': `${head}witness D ${mldsaKey('log.example', 6).key.text}\nquorum D\n`,
    "a log's key as a witness": `${head}witness D ${witnessKey('d', 1).key.text}\nquorum D\n`,
    'a witness with a key of a log': `witness D ${logKey('d', 7).key.text}\nquorum D\n`,
    'a witness without a key': `witness D\nquorum D\n`,
    'a witness with too many words': `witness D ${a.text} url more\nquorum D\n`,
    'a key that is none': `witness D what+is+this\nquorum D\n`,
    'a comment after a line': `${head}quorum A # yes\n`,
    'a word that is no keyword': `${head}quorums A\nquorum A\n`,
    'a keyword in upper case': `${head}QUORUM A\n`,
    CRLF: whole.replaceAll('\n', '\r\n'),
    'a form feed for a space': whole.replace('quorum ', 'quorum\f'),
    'a DEL': `${head}quorum A\x7f\n`,
    'nothing at all': '',
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'malformed' }) as Error);
  });

  test('is bounded', () => {
    expect(() => parsePolicy(new Uint8Array(524_289).fill(0x20))).toThrow('at most 524288');
    const groups = Array.from(
      { length: 257 },
      (_, i) => `group g${i} any ${i === 0 ? 'A' : `g${i - 1}`}\n`,
    );
    expect(() => parse(`${head}${groups.join('')}quorum g1\n`)).toThrow('more than 256 groups');
    expect(isQuorumMet(parse(`${head}${groups.slice(0, 256).join('')}quorum g255\n`), [a])).toBe(
      true,
    );
  });

  test('near a good one is malformed or a policy', () => {
    const bytes = utf8(whole.replace(c.text, witnessKey('c.example', 5).key.text));
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
        try {
          expect(parsePolicy(bytes.with(at, byte)).quorum).toBeTypeOf('string');
        } catch (error) {
          if (!hasCode(error, 'malformed')) throw error;
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('a quorum', () => {
  const policy = parse(whole);

  test.each([
    [[], false],
    [[a, b], false],
    [[a, c], false],
    [[c], false],
    [[a, b, c], true],
    [[c, b, a, log], true],
  ] as const)('of %#', (keys, met) => {
    expect(isQuorumMet(policy, keys)).toBe(met);
  });

  test('of none is always met', () => {
    expect(isQuorumMet(parse('quorum none\n'), [])).toBe(true);
  });

  test('is not met by a key with the name and ID of a witness', () => {
    const twin = { ...a, key: b.key, text: `${a.text}=` };
    expect(isQuorumMet(parse(`${head}quorum A\n`), [twin])).toBe(false);
    expect(isQuorumMet(parse(`${head}quorum A\n`), [a])).toBe(true);
  });

  test('never becomes unmet by one more cosignature', () => {
    const keys = [log, a, b, c];
    fc.assert(
      fc.property(fc.subarray(keys), fc.constantFrom(...keys), (some, more) => {
        const before = isQuorumMet(policy, some);
        expect(isQuorumMet(policy, [...some, more]) || !before).toBe(true);
      }),
    );
  });
});

interface Vector {
  readonly name: string;
  readonly policyB64: string;
  readonly valid: boolean;
  readonly quorumChecks?: readonly { cosignedBy: readonly string[]; satisfied: boolean }[];
}

describe.skipIf(sharedMissing)('published policies', () => {
  const { cases } = (
    sharedMissing ? { cases: [] } : sharedJson('vectors', 'tlog-notes', 'tlog-policies.json')
  ) as { cases: Vector[] };

  test.each(cases)('$name', (vector) => {
    const bytes = parseBase64(vector.policyB64, 'policy');
    if (!vector.valid) {
      expect(() => parsePolicy(bytes)).toThrow(
        expect.objectContaining({ code: 'malformed' }) as Error,
      );
      return;
    }
    const policy = parsePolicy(bytes);
    for (const { cosignedBy, satisfied } of vector.quorumChecks ?? []) {
      const keys = policy.witnesses.filter((w) => cosignedBy.includes(w.name)).map((w) => w.key);
      expect(isQuorumMet(policy, keys), cosignedBy.join()).toBe(satisfied);
    }
  });
});
