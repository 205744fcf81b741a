/** A receipt with content: small bodies inside it, large ones in files beside it. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type ContentClient, withContent } from '../../server/cli/content.ts';
import { sha256, toBase64url, utf8 } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import type { Json } from '../../server/core/json.ts';
import { INLINE_BODY_BYTES_MAX } from '../../server/core/limits.ts';
import { formatReceipt, parseReceipt } from '../../server/core/receipt.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import { leafIndex } from '../../server/core/units.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { temporaryFolder } from '../temporary.ts';

const ID = '0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f';

function bodyValue(body: Uint8Array): Json {
  return { bytes: body.length, media_type: 'text/plain', sha256: toBase64url(sha256(body)) };
}

/** A receipt of an inference record that commits to these values, and a server that has them. */
function world(
  values: Readonly<Record<string, Json>>,
  bodies: Readonly<Record<string, Uint8Array>>,
) {
  const disclosures = new Map<string, string>();
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    const { disclosure, digest } = makeDisclosure(name, value, new Uint8Array(randomBytes(16)));
    disclosures.set(name, disclosure);
    fields[name] = digest;
  }
  const example = sharedJson('fixtures', 'record', 'example-inference.json') as object;
  const commitments = { alg: 'sha-256', form: 'sd-disclosure/1', fields };
  const source = { ...(example as { source: object }).source, seq: 0 };
  const record = { ...example, log: 'log.example/logs/a', commitments, source };
  const entry = encodeEntry({
    payloadType: RECORD_TYPE,
    payload: formatRecord(record as unknown as AuditRecord),
    signatures: [{ keyid: '00'.repeat(32), sig: new Uint8Array(64) }],
  });
  const receipt = formatReceipt({
    origin: 'log.example/logs/a',
    index: leafIndex(2),
    entry,
    proof: [],
    checkpoint: 'x\n',
    keys: [],
    anchors: [],
  });
  const asked: string[] = [];
  const client: ContentClient = {
    disclosure: async (id, field, { reason, source: from }) => {
      asked.push(`${id} ${from} ${field}: ${reason}`);
      const found = disclosures.get(field);
      if (found === undefined || values[field] === null) {
        throw new SteleError('not_found', 'it is not stored');
      }
      return found;
    },
    body: async function* (_, field) {
      const body = bodies[field];
      if (body === undefined) throw new SteleError('not_found', 'it is not stored');
      for (let at = 0; at < body.length; at += 65_536) yield body.subarray(at, at + 65_536);
    },
  };
  return { receipt, client, asked, disclosures };
}

const quiet = () => undefined;

test.skipIf(sharedMissing)('every stored field is read, each for the reason given', async () => {
  const small = utf8('hello');
  const { receipt, client, asked, disclosures } = world(
    { 'principal.id': 'alice', 'request.body': bodyValue(small), user_agent: null },
    { 'request.body': small },
  );
  const folder = temporaryFolder();
  const result = await withContent(client, receipt, { reason: 'why', folder, progress: quiet });
  expect(asked).toEqual([
    `${ID} proxy-eu-1 principal.id: why`,
    `${ID} proxy-eu-1 request.body: why`,
    `${ID} proxy-eu-1 user_agent: why`,
  ]);
  expect(result).toMatchObject({ files: [], missing: ['user_agent'] });
  expect(parseReceipt(result.receipt).disclosures).toEqual([
    { disclosure: disclosures.get('principal.id') },
    { disclosure: disclosures.get('request.body'), body: small },
  ]);
  expect(readdirSync(folder)).toEqual([]);
});

test.skipIf(sharedMissing)(
  'a body over 1 MiB goes into a file that the receipt names',
  async () => {
    const exact = new Uint8Array(INLINE_BODY_BYTES_MAX).fill(1);
    const large = new Uint8Array(INLINE_BODY_BYTES_MAX + 1).fill(2);
    const { receipt, client } = world(
      { 'request.body': bodyValue(exact), 'response.body': bodyValue(large) },
      { 'request.body': exact, 'response.body': large },
    );
    const folder = temporaryFolder();
    const result = await withContent(client, receipt, { reason: 'why', folder, progress: quiet });
    const file = `${ID}.response.body`;
    expect(result.files).toEqual([file]);
    expect(readdirSync(folder)).toEqual([file]);
    expect(new Uint8Array(readFileSync(join(folder, file)))).toEqual(large);
    const { disclosures } = parseReceipt(result.receipt);
    expect(disclosures?.map((one) => [one.body?.length, one.body_file])).toEqual([
      [exact.length, undefined],
      [undefined, file],
    ]);
    await expect(
      withContent(client, receipt, { reason: 'why', folder: undefined, progress: quiet }),
    ).rejects.toThrow(/goes into a file beside the receipt: name the receipt with -o/);
  },
);

test.skipIf(sharedMissing)(
  'a body that is longer than its disclosure says is refused',
  async () => {
    const said = utf8('hello');
    const large = new Uint8Array(INLINE_BODY_BYTES_MAX + 1);
    const folder = temporaryFolder();
    const wanted = { reason: 'why', folder, progress: quiet };
    const small = world({ 'request.body': bodyValue(said) }, { 'request.body': large });
    await expect(withContent(small.client, small.receipt, wanted)).rejects.toMatchObject({
      code: 'unverified',
    });
    const more = new Uint8Array(2 * INLINE_BODY_BYTES_MAX);
    const big = world({ 'request.body': bodyValue(large) }, { 'request.body': more });
    await expect(withContent(big.client, big.receipt, wanted)).rejects.toMatchObject({
      code: 'unverified',
    });
    expect(existsSync(join(folder, `${ID}.request.body`))).toBe(false);
  },
);
