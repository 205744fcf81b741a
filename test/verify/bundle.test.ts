/** The verifier is one file that any page can load: no Node, nothing fetched. */
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { beforeAll, expect, it } from 'vitest';
import { formatRecord } from '../../server/core/record.ts';
import { formatTrust } from '../../server/core/trust.ts';
import { makeCertificate, makeResponse, pemOf } from '../core/made-tsa.ts';
import { type Bundle, bundleVerifier } from './bundle.ts';
import { heartbeatRecord, MadeLog } from './make.ts';

let bundle: Bundle;

beforeAll(async () => {
  bundle = await bundleVerifier();
});

it('bundles for a browser without a warning', () => {
  expect(bundle.warnings).toEqual([]);
  expect(bundle.code.length).toBeGreaterThan(10_000);
});

it('takes only core, verify, generated code and pure libraries', () => {
  const allowed =
    /^(?:server\/(?:core|verify|gen)\/|test\/verify\/browser-page|node_modules\/(?:@noble\/|@protobufjs\/|protobufjs\/|micro-rsa-dsa-dh\/|long\/))/;
  const strangers = Object.keys(bundle.inputs).filter((path) => !allowed.test(path));
  expect(strangers).toEqual([]);
});

it('stays small enough to be read', () => {
  expect(gzipSync(bundle.code).length).toBeLessThan(120_000);
});

it('runs where there is nothing but the language and text encodings', () => {
  const log = new MadeLog();
  const receipt = log.receipt(log.appendSigned(formatRecord(heartbeatRecord(log.origin))));
  const spoiled = Uint8Array.from(receipt, (byte, i) => (i === 900 ? byte ^ 1 : byte));
  const trust = Buffer.from(formatTrust(log.trust()));
  const page = createContext({ TextEncoder, TextDecoder, receipt, spoiled, trust });
  runInContext(bundle.code, page);
  const holds = (name: string) =>
    runInContext(
      `verifyReceipt(new Uint8Array(${name}), parseTrust(new Uint8Array(trust))).holds`,
      page,
      { timeout: 30_000 },
    );
  expect(holds('receipt')).toBe(true);
  expect(holds('spoiled')).toBe(false);
});

it('judges a time stamp there, by every kind of signature', () => {
  for (const kind of ['p256', 'p384', 'p521', 'rsa', 'ed25519'] as const) {
    const root = makeCertificate({ kind, isAuthority: true });
    const signer = makeCertificate({ kind, by: root });
    const message = Uint8Array.of(1, 2, 3);
    const response = makeResponse({ signer, message, time: '20261121032522.5Z' });
    const page = createContext({ TextEncoder, TextDecoder, message, response, pem: pemOf(root) });
    runInContext(bundle.code, page);
    const timeOf = (bytes: string) =>
      runInContext(
        `checkTimestamp({
          message: new Uint8Array(message),
          response: new Uint8Array(${bytes}),
          authorities: [parseTsaRoots(pem, 'roots')],
        }).timeMs`,
        page,
        { timeout: 30_000 },
      );
    expect(timeOf('response')).toBe(Date.UTC(2026, 10, 21, 3, 25, 22, 500));
    expect(() => timeOf('response.with(-1, response.at(-1) ^ 1)')).toThrow('signature');
  }
});
