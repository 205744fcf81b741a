/** What docs/formats.md shows is what the code takes, and it names everything that the code knows. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseBase64, parseHex, parseUtf8, toHex, utf8 } from '../../server/core/bytes.ts';
import { canonicalize } from '../../server/core/canonical.ts';
import { checkTreeHead, decodeTreeHead } from '../../server/core/ct.ts';
import { parseDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { type Json, parseJson } from '../../server/core/json.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { pae } from '../../server/core/pae.ts';
import { CONTINUITIES, KEY_ACTIONS, KEY_PURPOSES } from '../../server/core/record/control.ts';
import {
  INPUT_CONTEXTS,
  INPUT_FORMATS,
  OUTCOMES,
  STREAM_ENDS,
  USAGE_SOURCES,
} from '../../server/core/record/inference.ts';
import {
  COMMITMENT_NAMES,
  ITEM_COMMITMENT_NAMES,
  MEMBER_COMMITMENT_NAMES,
} from '../../server/core/record/names.ts';
import { KINDS, parseRecord } from '../../server/core/record.ts';
import { buildWindow } from '../../server/core/window.ts';

const doc = readFileSync(new URL('../../docs/formats.md', import.meta.url), 'utf8');

describe('docs/formats.md', () => {
  it.each([
    ...KINDS,
    ...INPUT_FORMATS,
    ...INPUT_CONTEXTS,
    ...STREAM_ENDS,
    ...USAGE_SOURCES,
    ...OUTCOMES,
    ...CONTINUITIES,
    ...KEY_ACTIONS,
    ...KEY_PURPOSES,
    ...COMMITMENT_NAMES,
    ...ITEM_COMMITMENT_NAMES,
    ...MEMBER_COMMITMENT_NAMES,
  ])('names `%s`', (name) => {
    expect(doc).toContain(`\`${name}\``);
  });

  it('shows a record that is one', () => {
    const text = /```json record\n([^`]*)```/.exec(doc)?.[1] ?? '';
    const json: Json = parseJson(utf8(text), 'example', { integersOnly: true });
    expect(parseRecord(utf8(canonicalize(json)), 'example.org/logs/a').kind).toBe('inference');
  });

  it('shows an entry that is one', () => {
    const keyid = 'a'.repeat(64);
    const hex = `0a0568656c6c6f120a746578742f706c61696e1a470a030102031240${toHex(utf8(keyid))}`;
    const entry = decodeEntry(parseHex(hex, 'entry'));
    expect(entry.payloadType).toBe('text/plain');
    for (const part of [
      '0a 05 68656c6c6f',
      '12 0a 746578742f706c61696e',
      '1a 47',
      '0a 03 010203',
    ]) {
      expect(doc).toContain(part);
      expect(hex).toContain(part.replaceAll(' ', ''));
    }
    expect(doc).toContain(`    ${parseUtf8(pae(entry.payloadType, entry.payload), 'PAE')} `);
  });

  it('shows a disclosure and its digest', () => {
    const [, text = '', digest = ''] = /^ {4}(WyJ\S+) .*\n {4}(\S{43}) /m.exec(doc) ?? [];
    expect(parseDisclosure(text)).toMatchObject({ name: 'principal.id', digest });
  });

  it('shows a tree head of RFC 6962, which its key signed', () => {
    const [, message = '', signature = '', key = ''] =
      /^ {4}(00 01 [0-9a-f ]+)\n {4}(04 03 [0-9a-f ]+)\n {4}(MFkw\S+)$/m.exec(doc) ?? [];
    const bytes = (hex: string) => parseHex(hex.replaceAll(' ', ''), 'example');
    const head = decodeTreeHead(bytes(message));
    expect(head.size).toBe(70_000);
    expect(new Date(head.timeMs).toISOString()).toBe('2026-01-01T00:00:00.123Z');
    const spki = parsePublicKey('ecdsa-p256', parseBase64(key, 'example'));
    checkTreeHead({ ...head, signature: bytes(signature) }, spki);
  });

  it('shows what a window of three signs', () => {
    const statements = [0, 1, 2].map((n) => ({
      payloadType: RECORD_TYPE,
      payload: utf8(`{"n":${n}}`),
    }));
    const { message } = buildWindow('example.org/logs/a', statements);
    const [, ...lines] = parseUtf8(message, 'message').trimEnd().split('\n');
    expect(doc).toContain(['stele window v1', ...lines].map((line) => `    ${line}`).join('\n'));
  });
});
