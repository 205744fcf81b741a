/** What Rekor logs of a head: one spelling, made again rather than read. */
import { describe, expect, test } from 'vitest';
import { parseUtf8, sha256, utf8 } from '../../../server/core/bytes.ts';
import {
  checkHashedRekord,
  hashedRekord,
  hashedRekordRequest,
  readHashedRekordRequest,
} from '../../../server/core/sigstore/hashedrekord.ts';
import { AnchorKey } from '../../anchor/heads.ts';
import { acceptV1, acceptV2 } from '../../anchor/rekor-double/accept.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../../shared.ts';
import { codeOf } from '../codes.ts';
import { expectOneSpelling } from '../near-miss.ts';

const { text, signature, key } = new AnchorKey().head(4242);
const signed = { digest: sha256(text), signature, key };

describe.each([1, 2] as const)('an entry of rekor v%i', (version) => {
  const request = hashedRekordRequest(version, signed);
  const entry = hashedRekord(version, signed);

  test('is what a server makes of the request', () => {
    const made = version === 1 ? acceptV1('application/json', request) : acceptV2(request);
    expect(parseUtf8(new Uint8Array(made), 'entry')).toBe(parseUtf8(entry, 'entry'));
  });

  test('follows from its request', () => {
    expect(readHashedRekordRequest(version, request)).toEqual(signed);
    expect(hashedRekord(version, readHashedRekordRequest(version, request))).toEqual(entry);
  });

  test('that is near a good one is asked for in no other way', () => {
    expectOneSpelling(
      [request],
      (bytes) => hashedRekordRequest(version, readHashedRekordRequest(version, bytes)),
      { runs: 500 },
    );
  });

  test('is refused with the member that differs', () => {
    const other = new AnchorKey().head(4242);
    const changed = {
      digest: { ...signed, digest: sha256(utf8('another text')) },
      signature: { ...signed, signature: other.signature },
      key: { ...signed, key: other.key },
    };
    const places = {
      1: {
        digest: /spec\.data\.hash\.value/,
        signature: /spec\.signature\.content/,
        key: /publicKey/,
      },
      2: { digest: /data\.digest/, signature: /signature\.content/, key: /publicKey\.rawBytes/ },
    }[version];
    for (const name of ['digest', 'signature', 'key'] as const) {
      const check = () => checkHashedRekord(hashedRekord(version, changed[name]), entry);
      expect(codeOf(check)).toBe('unverified');
      expect(check).toThrow(places[name]);
    }
    checkHashedRekord(entry, entry);
  });

  test('is refused in another spelling, with more in it, or as something else', () => {
    const json = JSON.parse(parseUtf8(entry, 'entry')) as Record<string, unknown>;
    const spelled = utf8(JSON.stringify(json, null, 1));
    expect(() => checkHashedRekord(spelled, entry)).toThrow(/canonical spelling/);
    const more = utf8(JSON.stringify({ ...json, extra: 1 }));
    expect(() => checkHashedRekord(more, entry)).toThrow(/extra/);
    for (const odd of ['null', '[]', '"x"', '{}', `{"spec":${'['.repeat(20)}${']'.repeat(20)}}`]) {
      expect(codeOf(() => checkHashedRekord(utf8(odd), entry))).toBe('unverified');
    }
    for (const odd of ['', '{', `${'['.repeat(40)}${']'.repeat(40)}`]) {
      expect(codeOf(() => checkHashedRekord(utf8(odd), entry))).toBe('malformed');
    }
  });

  test('of the other generation is not one of this', () => {
    const other = version === 1 ? 2 : 1;
    expect(() => checkHashedRekord(hashedRekord(other, signed), entry)).toThrow(/apiVersion/);
    expect(codeOf(() => readHashedRekordRequest(version, hashedRekordRequest(other, signed)))).toBe(
      'malformed',
    );
  });
});

describe.skipIf(sharedMissing)('the recorded requests', () => {
  const folder = ['fixtures', 'rekor', 'generated'];

  test.each([1, 2] as const)(
    'of v%i are made the same, and lead to the recorded entry',
    (version) => {
      const json = sharedJson(...folder, `v${version}`, 'request.json');
      const read = readHashedRekordRequest(version, utf8(JSON.stringify(json)));
      expect(sha256(sharedBytes(...folder, 'checkpoint.txt'))).toEqual(read.digest);
      expect(JSON.parse(parseUtf8(hashedRekordRequest(version, read), 'request'))).toEqual(json);
      const { body } = sharedJson(...folder, `v${version}`, 'response-201.json') as {
        readonly body: Readonly<Record<string, unknown>>;
      };
      const [first] = Object.values(body) as [{ readonly body?: string }];
      const logged = version === 1 ? first.body : body.canonicalizedBody;
      expect(Buffer.from(hashedRekord(version, read)).toString('base64')).toBe(logged);
    },
  );
});
