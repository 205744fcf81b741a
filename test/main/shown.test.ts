/** Which log is shown to whom is written down, and nothing that cannot work is begun with. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Config } from '../../server/config.ts';
import { ShownTo } from '../../server/main/shown.ts';
import { mldsaKey, witnessKey } from '../core/note-keys.ts';
import { temporaryFolder } from '../temporary.ts';

const folder = temporaryFolder(afterAll);
let files = 0;

function policy(text: string): string {
  const path = join(folder, `${files++}.txt`);
  writeFileSync(path, text);
  return path;
}

function shown(
  more: Partial<Config['witnesses']>,
  followers?: (name: string) => readonly string[],
): ShownTo {
  const config: Config['witnesses'] = {
    policy: undefined,
    logs: ['*'],
    fail: 'open',
    perDay: 96,
    rates: new Map(),
    timeoutMs: 1_000,
    of: [],
    ...more,
  };
  return new ShownTo(config, followers);
}

const a = witnessKey('a.example', 1).key.text;
const b = witnessKey('b.example', 2).key.text;
const ALL = `witness a ${a} https://a.example/\nquorum a\n`;
const OWN = `witness b ${b} https://b.example/tlog\nquorum b\n`;

describe('a log is shown', () => {
  const to = shown({
    policy: policy(ALL),
    logs: ['*', 'hidden', '_admin', 'a.access'],
    of: [
      { log: 'own', policy: policy(OWN), fail: 'closed' },
      { log: 'shut', policy: undefined, fail: 'closed' },
    ],
  });
  test.each([
    ['team', 'proofs', ['a.example'], 'open'],
    ['team', 'public', ['a.example'], 'open'],
    ['team', 'private', [], undefined],
    ['hidden', 'private', ['a.example'], 'open'],
    ['_admin', 'private', ['a.example'], 'open'],
    ['a.access', 'private', ['a.example'], 'open'],
    ['b.access', 'private', [], undefined],
    ['own', 'private', ['b.example'], 'closed'],
    ['shut', 'proofs', ['a.example'], 'closed'],
  ] as const)('%s, %s, to %j', (name, visibility, names, fail) => {
    expect([...to.namesOf({ name, visibility })]).toEqual(names);
    expect(to.of({ name, visibility })?.fail).toBe(fail);
  });

  test('and each witness is asked at the address that its policy has', () => {
    expect(to.witnesses.map(({ name, url }) => [name, url])).toEqual([
      ['a.example', 'https://a.example'],
      ['b.example', 'https://b.example/tlog'],
    ]);
  });

  test('as the one that it follows is', () => {
    const series = ['own', 'own-2027', 'own-2028'];
    const followers = (name: string) =>
      series.includes(name) ? series.slice(series.indexOf(name) + 1) : [];
    const rules = shown(
      {
        policy: policy(ALL),
        logs: ['own.access'],
        of: [{ log: 'own-2027', policy: policy(OWN), fail: 'closed' }],
      },
      followers,
    );
    const fail = (name: string) => rules.of({ name, visibility: 'private' })?.fail;
    expect(series.map(fail)).toEqual([undefined, 'closed', 'closed']);
    expect(series.map((name) => fail(`${name}.access`))).toEqual(['open', 'open', 'open']);
    expect(fail('other-2027')).toBeUndefined();
  });

  test('to nobody without a policy', () => {
    const nobody = shown({});
    expect(nobody.witnesses).toEqual([]);
    expect(nobody.of({ name: 'team', visibility: 'public' })).toBeUndefined();
  });

  test('and whoever listens hears that it has grown', () => {
    const grown: string[] = [];
    to.onGrown = (log) => grown.push(log);
    to.of({ name: 'team', visibility: 'proofs' })?.grown(7);
    expect(grown).toEqual(['team']);
  });

  test('to a witness with two keys once, wherever they stand', () => {
    const other = mldsaKey('a.example', 1).key.text;
    const two = `witness a ${a} https://a.example\nwitness a2 ${other} https://a.example/\nquorum a\n`;
    const both = shown({ policy: policy(two) });
    expect(both.witnesses).toHaveLength(1);
    expect(both.witnesses[0]?.keys.map(({ text }) => text)).toEqual([a, other]);
    const apart = shown({
      policy: policy(ALL),
      of: [
        {
          log: 'x',
          policy: policy(`witness a2 ${other} https://a.example\nquorum a2\n`),
          fail: undefined,
        },
      ],
    });
    expect(apart.witnesses[0]?.keys.map(({ text }) => text)).toEqual([a, other]);
  });
});

describe('a policy is refused', () => {
  test.each<[string, string, string]>([
    ['that is none', 'witness\n', 'policy line 1'],
    ['without a witness that can be asked', `witness a ${a}\nquorum a\n`, 'no witness in it'],
    [
      'whose quorum cannot be met',
      `witness a ${a} https://a\nwitness b ${b}\ngroup g all a b\nquorum g\n`,
      'its quorum cannot be met',
    ],
    ['with another scheme', `witness a ${a} ftp://a\nquorum a\n`, 'is not a plain http'],
    ['with a password', `witness a ${a} https://u:p@a\nquorum a\n`, 'is not a plain http'],
    ['with a query', `witness a ${a} https://a/?x\nquorum a\n`, 'is not a plain http'],
    ['with no address at all', `witness a ${a} nowhere\nquorum a\n`, 'is not a plain http'],
    [
      'with two addresses of one witness',
      `witness a ${a} https://a\nwitness a2 ${mldsaKey('a.example', 1).key.text} https://b\nquorum a\n`,
      'has two addresses',
    ],
  ])('%s', (_, text, rule) => {
    expect(() => shown({ policy: policy(text) })).toThrow(rule);
  });

  test('that is not there', () => {
    expect(() => shown({ policy: join(folder, 'none.txt') })).toThrow(
      'witnesses.policy: there is no file',
    );
  });

  test('with another address of a witness than another policy has', () => {
    const other = policy(`witness a ${a} https://b.example\nquorum a\n`);
    const of = [{ log: 'x', policy: other, fail: undefined }];
    expect(() => shown({ policy: policy(ALL), of })).toThrow('has another address');
  });
});
