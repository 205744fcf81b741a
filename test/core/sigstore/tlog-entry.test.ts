/** What Rekor answers, of both generations, as one thing. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../server/core/bytes.ts';
import { SteleError } from '../../../server/core/errors.ts';
import {
  parseAnswerV1,
  parseAnswerV2,
  promiseMessage,
} from '../../../server/core/sigstore/tlog-entry.ts';
import { sharedJson, sharedMissing } from '../../shared.ts';
import { codeOf } from '../codes.ts';
import { nearMiss } from '../near-miss.ts';

const hex = 'ab'.repeat(32);
const uuid = `0123456789abcdef${hex}`;
const body = btoa('{"apiVersion":"0.0.1","kind":"hashedrekord"}');

const answerV1 = {
  body,
  integratedTime: 1_795_231_520,
  logID: hex,
  logIndex: 921,
  verification: {
    inclusionProof: {
      checkpoint: 'a note',
      hashes: [hex],
      logIndex: 21,
      rootHash: hex,
      treeSize: 22,
    },
    signedEntryTimestamp: 'AAAA',
  },
};

const answerV2 = {
  logIndex: '130',
  logId: { keyId: Buffer.alloc(32, 1).toString('base64') },
  kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
  integratedTime: '0',
  inclusionPromise: null,
  inclusionProof: {
    logIndex: '130',
    rootHash: Buffer.alloc(32, 2).toString('base64'),
    treeSize: '131',
    hashes: [],
    checkpoint: { envelope: 'a note' },
  },
  canonicalizedBody: body,
};

const bytesOf = (value: unknown) => utf8(JSON.stringify(value));

describe('an answer of v1', () => {
  test('has an index over all shards, and another in the proof', () => {
    const entry = parseAnswerV1(bytesOf({ [uuid]: answerV1 }));
    expect([entry.index, entry.proof.index, entry.proof.treeSize]).toEqual([921, 21, 22]);
    expect([entry.kind, entry.version]).toEqual(['hashedrekord', '0.0.1']);
    expect(Buffer.from(entry.keyId).toString('hex')).toBe(hex);
  });

  test('may have more in it than is known, such as an attestation', () => {
    const more = { ...answerV1, attestation: { data: 'AAAA' } };
    expect(parseAnswerV1(bytesOf({ [uuid]: more }))).toEqual(
      parseAnswerV1(bytesOf({ [uuid]: answerV1 })),
    );
  });

  test('is promised with the index over all shards, in the order of JCS', () => {
    const entry = parseAnswerV1(bytesOf({ [uuid]: answerV1 }));
    expect(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(promiseMessage(entry)),
    ).toBe(`{"body":"${body}","integratedTime":1795231520,"logID":"${hex}","logIndex":921}`);
  });

  const spoiled: Record<string, unknown> = {
    'no entry': {},
    'two entries': { [uuid]: answerV1, [hex]: answerV1 },
    'a list': [answerV1],
    'an ID that is none': { abc: answerV1 },
    'an ID in upper case': { [uuid.toUpperCase()]: answerV1 },
    'no promise': {
      [uuid]: {
        ...answerV1,
        verification: { inclusionProof: answerV1.verification.inclusionProof },
      },
    },
    'no proof': { [uuid]: { ...answerV1, verification: { signedEntryTimestamp: 'AAAA' } } },
    'a time that is text': { [uuid]: { ...answerV1, integratedTime: '1795231520' } },
    'an index below zero': { [uuid]: { ...answerV1, logIndex: -1 } },
    'a body that is no JSON': { [uuid]: { ...answerV1, body: btoa('no') } },
    'a body without a kind': { [uuid]: { ...answerV1, body: btoa('{}') } },
    'a body that is null': { [uuid]: { ...answerV1, body: btoa('null') } },
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, value) => {
    expect(codeOf(() => parseAnswerV1(bytesOf(value)))).toBe('malformed');
  });
});

describe('an answer of v2', () => {
  test('has one index, no promise and no time', () => {
    const entry = parseAnswerV2(bytesOf(answerV2));
    expect([entry.index, entry.proof.index, entry.proof.treeSize]).toEqual([130, 130, 131]);
    expect([entry.promise, entry.integratedTime]).toEqual([undefined, 0]);
  });

  test('may have more in it than is known, and may leave out what is zero or empty', () => {
    const { hashes: _, ...proof } = answerV2.inclusionProof;
    const { integratedTime: __, inclusionPromise: ___, ...rest } = answerV2;
    expect(parseAnswerV2(bytesOf({ ...rest, inclusionProof: proof, news: 1 }))).toEqual(
      parseAnswerV2(bytesOf(answerV2)),
    );
  });

  const spoiled: Record<string, unknown> = {
    null: null,
    'no proof': { ...answerV2, inclusionProof: null },
    'no log': { ...answerV2, logId: null },
    'hashes in hex': { ...answerV2, inclusionProof: { ...answerV2.inclusionProof, rootHash: hex } },
    'a size that is a number': {
      ...answerV2,
      inclusionProof: { ...answerV2.inclusionProof, treeSize: 131 },
    },
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, value) => {
    expect(codeOf(() => parseAnswerV2(bytesOf(value)))).toBe('malformed');
  });
});

test.each([
  ['v1', bytesOf({ [uuid]: answerV1 }), parseAnswerV1],
  ['v2', bytesOf(answerV2), parseAnswerV2],
] as const)('near an answer of %s is an entry or malformed, and nothing else', (_, good, parse) => {
  fc.assert(
    fc.property(fc.oneof(nearMiss(good), fc.uint8Array({ maxLength: 64 })), (bytes) => {
      try {
        parse(bytes);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        expect(error.code).toBe('malformed');
      }
    }),
    { numRuns: 1_000 },
  );
});

describe.skipIf(sharedMissing)('recorded answers', () => {
  test.each([1, 2] as const)('of v%i are read', (version) => {
    const folder = ['fixtures', 'rekor', 'generated', `v${version}`];
    const { body: answer } = sharedJson(...folder, 'response-201.json') as { body: unknown };
    const entry = (version === 1 ? parseAnswerV1 : parseAnswerV2)(bytesOf(answer));
    expect([entry.index, entry.proof.index]).toEqual(
      version === 1 ? [121_904_283, 21] : [130, 130],
    );
  });
});
