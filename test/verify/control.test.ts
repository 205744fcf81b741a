/** Control records: who may say who may sign. */
import { describe, expect, it } from 'vitest';
import { toBase64 } from '../../server/core/bytes.ts';
import { decodeEntry, type Entry } from '../../server/core/entry.ts';
import { formatRecord } from '../../server/core/record.ts';
import { checkControlEntry, openGenesis, openKeyRecord } from '../../server/verify/control.ts';
import { codeOf } from '../core/codes.ts';
import { heartbeatRecord, MadeLog, makeKey, signed } from './make.ts';

const log = new MadeLog();
const { origin } = log;
const operator = log.operator.publicKey;
const genesis = decodeEntry(log.entries[0] ?? new Uint8Array());
const key = decodeEntry(log.entries[1] ?? new Uint8Array());
const stranger = makeKey();

describe('a control record', () => {
  it('holds: genesis, and a key record', () => {
    expect(
      codeOf(() => checkControlEntry({ entry: genesis, index: 0, origin, operator: undefined })),
    ).toBe(undefined);
    expect(codeOf(() => checkControlEntry({ entry: key, index: 1, origin, operator }))).toBe(
      undefined,
    );
    expect(
      openGenesis(log.entries[0] ?? new Uint8Array(), { index: 0, origin }).operator.keyid,
    ).toBe(operator.keyid);
    const at = { index: 1, origin, operator };
    const opened = openKeyRecord(log.entries[1] ?? new Uint8Array(), at);
    expect(opened.key.keyid).toBe(log.gateways[0]?.publicKey.keyid);
  });

  const byStranger = (entry: Entry) => signed(entry.payload, [stranger]);
  const foreignKeyid = { ...log.keyRecord(stranger.publicKey) };
  const cases: Record<string, Parameters<typeof checkControlEntry>[0]> = {
    'genesis signed by another key': {
      entry: byStranger(genesis),
      index: 0,
      origin,
      operator: undefined,
    },
    'genesis that is not entry 0': { entry: genesis, index: 1, origin, operator },
    'entry 0 that is not genesis': { entry: key, index: 0, origin, operator },
    'a key record without a known operator': { entry: key, index: 1, origin, operator: undefined },
    'a key record by a gateway': { entry: byStranger(key), index: 1, origin, operator },
    'a second signature': {
      entry: signed(key.payload, [log.operator, stranger]),
      index: 1,
      origin,
      operator,
    },
    'the right keyid over another signature': {
      entry: { ...key, signatures: [{ keyid: operator.keyid, sig: new Uint8Array(64) }] },
      index: 1,
      origin,
      operator,
    },
    'a record of another log': { entry: key, index: 1, origin: 'example.org/other', operator },
    'another source': {
      entry: signed(
        formatRecord({ ...foreignKeyid, source: { ...foreignKeyid.source, id: 'gateway-1' } }),
        [log.operator],
      ),
      index: 1,
      origin,
      operator,
    },
    'a keyid that is not the key’s': {
      entry: signed(
        formatRecord({ ...foreignKeyid, key: { ...foreignKeyid.key, keyid: operator.keyid } }),
        [log.operator],
      ),
      index: 1,
      origin,
      operator,
    },
    'a key that breaks the rule of its algorithm': {
      entry: signed(
        formatRecord({
          ...foreignKeyid,
          key: { ...foreignKeyid.key, spki: toBase64(new Uint8Array(44)) },
        }),
        [log.operator],
      ),
      index: 1,
      origin,
      operator,
    },
    'a record that is not control': {
      entry: signed(formatRecord(heartbeatRecord(origin)), [log.operator]),
      index: 1,
      origin,
      operator,
    },
    'opaque bytes': {
      entry: signed(key.payload, [log.operator], 'text/plain'),
      index: 1,
      origin,
      operator,
    },
  };

  it.each(Object.entries(cases))('does not hold: %s', (_, claim) => {
    expect(['malformed', 'unverified']).toContain(codeOf(() => checkControlEntry(claim)));
  });
});
