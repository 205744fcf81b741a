/** Lists of logs that would like to be witnessed. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { parseLogList } from '../../server/core/log-list.ts';
import { codeOf } from './codes.ts';
import { logKey } from './note-keys.ts';

const a = logKey('a.example/log', 1).key;
const b = logKey('b.example', 2).key;
const whole = `#
# List: testing
#
logs/v0

vkey ${a.text}
qpd 96
contact sysadmin (at) a.example | page

# the second
  vkey ${b.text}
origin b's own name
qpd 2147483647\t
contact b
`;

describe('a list', () => {
  test('is read into its logs', () => {
    expect(parseLogList(utf8(whole))).toEqual([
      { origin: 'a.example/log', key: a, perDay: 96, contact: 'sysadmin (at) a.example | page' },
      { origin: "b's own name", key: b, perDay: 2_147_483_647, contact: 'b' },
    ]);
    expect(parseLogList(utf8(whole.replaceAll('\n', '\r\n')))).toHaveLength(2);
    expect(parseLogList(utf8('logs/v0'))).toEqual([]);
  });

  test('may have several keys of one log', () => {
    const more = `vkey ${logKey('a.example/log', 5).key.text}\nqpd 96\ncontact a\n`;
    expect(parseLogList(utf8(whole + more)).map(({ origin }) => origin)).toEqual([
      'a.example/log',
      "b's own name",
      'a.example/log',
    ]);
  });

  const spoiled: Record<string, string> = {
    'nothing in it': '',
    'no header': whole.replace('logs/v0\n', ''),
    'another version': whole.replace('logs/v0', 'logs/v1'),
    'no key': whole.replace(/vkey .*\n/, ''),
    'no rate': whole.replace('qpd 96\n', ''),
    'no contact': whole.replace(/contact b\n/, ''),
    'an empty contact': whole.replace(/contact b\n/, 'contact \n'),
    'the rate before the origin': whole.replace(/(origin .*\n)(qpd .*\n)/, '$2$1'),
    'a word that is none': whole.replace('contact b', 'bastion none'),
    'a comment behind a value': whole.replace('qpd 96', 'qpd 96 # a day'),
    'a key that is none': whole.replace(a.text, 'a+b+c'),
    'two words for a key': whole.replace(a.text, `${a.text} more`),
    'a rate of 0': whole.replace('qpd 96', 'qpd 0'),
    'a rate with a zero before it': whole.replace('qpd 96', 'qpd 096'),
    'a rate beyond 2^31 - 1': whole.replace('2147483647', '2147483648'),
    'an origin over 255 bytes': whole.replace("b's own name", 'é'.repeat(128)),
    'an origin with a control character': whole.replace("b's own name", 'b\u0007'),
    'bytes that are no text': whole.replace('contact b', 'contact \uFFFE'),
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (name, text) => {
    const bytes = utf8(text);
    if (name === 'bytes that are no text') bytes[bytes.indexOf(0xbf)] = 0xff;
    expect(codeOf(() => parseLogList(bytes))).toBe('malformed');
  });

  test('of others loses no good log for a bad one', () => {
    const said: string[] = [];
    const bad = whole.replace(a.text, 'a+b+c');
    const left = parseLogList(utf8(bad), (error) => said.push(error.message));
    expect(left.map(({ origin }) => origin)).toEqual(["b's own name"]);
    expect(said.join()).toContain('log list line 6');
    // What is not a list of logs is none, whoever made it.
    expect(codeOf(() => parseLogList(utf8(whole.replace('qpd 96\n', '')), () => {}))).toBe(
      'malformed',
    );
  });

  test('is bounded', () => {
    expect(() => parseLogList(new Uint8Array(16_777_217))).toThrow('at most 16777216');
  });
});
