/** Rules by themselves: which texts are looked at, what is replaced, and which files are refused. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Rules } from '../../server/proxy/rules/apply.ts';
import { changeTexts } from '../../server/proxy/rules/json-texts.ts';
import { parseRules, type Rule } from '../../server/proxy/rules/rules.ts';

const redact = (find: string, more: Partial<Rule> = {}): Rule => ({
  rule: 'r',
  find,
  action: 'redact',
  ...more,
});

describe('texts of JSON', () => {
  test('are changed where they lie, and nothing else is', () => {
    const json =
      ' {"secret":"secret","n":12345678901234567890, "a":[ "x", "a \\u0073ecret\\n", 1.50 ] , "a":"\\\\", "b\\"":"\\"secret\\"" }\n';
    expect(changeTexts(json, (text) => text.replaceAll('secret', '[…]'))).toBe(
      ' {"secret":"[…]","n":12345678901234567890, "a":[ "x", "a […]\\n", 1.50 ] , "a":"\\\\", "b\\"":"\\"[…]\\"" }\n',
    );
  });

  test('of any JSON are those that JSON.parse finds, and unchanged it is the same', () => {
    fc.assert(
      fc.property(fc.json(), fc.boolean(), (compact, isSpread) => {
        const json = isSpread ? JSON.stringify(JSON.parse(compact), null, 2) : compact;
        const seen: string[] = [];
        const keep = (text: string) => {
          seen.push(text);
          return text;
        };
        expect(changeTexts(json, keep)).toBe(json);
        const texts: string[] = [];
        JSON.parse(json, (_, value: unknown) => {
          if (typeof value === 'string') texts.push(value);
          return value;
        });
        expect(seen.toSorted()).toEqual(texts.toSorted());
        const marked = changeTexts(json, (text) => `${text}"\\\n`);
        const wanted: unknown = JSON.parse(json, (_, value: unknown) =>
          typeof value === 'string' ? `${value}"\\\n` : value,
        );
        expect(JSON.parse(marked)).toEqual(wanted);
      }),
    );
  });
});

describe('rules', () => {
  test('go one after the other, and each says what it found', () => {
    const rules = new Rules([
      redact('sk-[a-z]+', { rule: 'keys', replace: '[key]', category: 'secret' }),
      { rule: 'marks', find: '\\[key\\]', action: 'flag' },
      { rule: 'none', find: 'sk-', action: 'block' },
      { rule: 'x', find: 'PROJECT', ignore_case: true, action: 'block', message: 'no' },
    ]);
    const { events, replaced, text } = rules.apply('{"a":"sk-a sk-b","b":"project"}');
    expect(text).toBe('{"a":"[key] [key]","b":"project"}');
    expect(replaced).toEqual([{ rule: 'keys', count: 2 }]);
    expect(events).toEqual([
      { rule: 'keys', category: 'secret', verdict: 'violation', action: 'redact' },
      { rule: 'marks', verdict: 'flag', action: 'warn' },
      { rule: 'none', verdict: 'pass', action: 'none' },
      { rule: 'x', verdict: 'violation', action: 'block', message: 'no' },
    ]);
  });

  test('see a text as it reads, however it is escaped, and letters beyond the BMP whole', () => {
    expect(new Rules([redact('^.$')]).apply('{"a":"\\ud83d\\ude00"}').text).toBe(
      '{"a":"[redacted]"}',
    );
    expect(new Rules([redact('geheim')]).apply('["g\\u0065heim"]').replaced).toHaveLength(1);
  });

  test('find nothing in names of members', () => {
    expect(new Rules([redact('a')]).apply('{"a":{"a":1}}').events[0]?.verdict).toBe('pass');
  });

  test('that would replace something in what is no JSON block it', () => {
    const { events, text } = new Rules([redact('secret')]).apply('prompt=a secret');
    expect(text).toBe('prompt=a secret');
    expect(events[0]).toMatchObject({ verdict: 'violation', action: 'block' });
  });

  test('leave a text inside a text in its form', () => {
    const inner = JSON.stringify({ q: 'my sk-abc', n: 1 });
    const { text } = new Rules([redact('sk-[a-z]+')]).apply(JSON.stringify({ arguments: inner }));
    const outer = JSON.parse(text) as { arguments: string };
    expect(JSON.parse(outer.arguments)).toEqual({ q: 'my [redacted]', n: 1 });
  });
});

describe('a rules file', () => {
  const one = (members: string) =>
    `format: stele.rules/1\nrules:\n  - {rule: r, find: x, action: flag${members}}`;
  const refused: Record<string, [string, RegExp]> = {
    'of another format': ['format: stele.rules/2\nrules: []', /format: "stele.rules\/2"/],
    'that is no map': ['- a', /not a map/],
    'that is empty': ['', /not a map/],
    'that is no YAML': ['a: [', /rules\.yaml/],
    'with a member twice': ['format: stele.rules/1\nrules: []\nrules: []', /unique/],
    'with an alias': ['format: &a stele.rules/1\nversion: *a\nrules: []', /alias/i],
    'with an unknown member': [one(', replaces: y'), /rules\[0\]\.replaces/],
    'with an expression that is none': [one('').replace('find: x', 'find: "("'), /rule r: Invalid/],
    'with one that finds nothing everywhere': [
      one('').replace('find: x', 'find: "a*"'),
      /empty text/,
    ],
    'with an action that is none': [one('').replace('flag', 'drop'), /action: "drop"/],
    'with quotes in what it replaces by': [
      one('').replace('action: flag', `action: redact, replace: 'a"b'`),
      /replace/,
    ],
    'with a replacement where nothing is replaced': [one(', replace: y'), /its action is flag/],
    'with a rule twice': [`${one('')}\n  - {rule: r, find: y, action: flag}`, /there twice/],
    'with a time that is none': [`${one('')}\ntimeout_ms: 0`, /timeout_ms/],
    'with 65 rules': [
      `format: stele.rules/1\nrules:\n${Array.from({ length: 65 }, (_, i) => `  - {rule: r${i}, find: x, action: flag}\n`).join('')}`,
      /65 items/,
    ],
  };
  test.each(Object.entries(refused))('%s is refused', (_, [text, rule]) => {
    expect(() => parseRules(text, 'rules.yaml')).toThrow(rule);
  });

  test('may have no rules, and a time', () => {
    const text = 'format: stele.rules/1\nversion: 2026-11-29\nrules: []\ntimeout_ms: 50';
    expect(() => parseRules(text, 'rules.yaml')).not.toThrow();
  });
});
