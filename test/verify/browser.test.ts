/** The verifier in a real browser: a true receipt holds, and a spoiled one does not. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256, toBase64url, utf8 } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { formatRecord } from '../../server/core/record.ts';
import { formatTrust } from '../../server/core/trust.ts';
import type { Verdict } from '../../server/verify/verify.ts';
import { bundleVerifier } from './bundle.ts';
import { inferenceRecord, MadeLog } from './make.ts';

const CHROMIUM = process.env.STELE_CHROMIUM ?? '/usr/bin/chromium';
const missing = !existsSync(CHROMIUM);
if (missing) console.warn(`skipped: no browser at ${CHROMIUM} (STELE_CHROMIUM)`);

declare const verifyReceipt: (receipt: Uint8Array, trust: unknown) => Verdict;
declare const parseTrust: (bytes: Uint8Array) => unknown;

describe.skipIf(missing)(`in ${CHROMIUM}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'stele-browser-'));
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    context = await chromium.launchPersistentContext(folder, {
      executablePath: CHROMIUM,
      headless: true,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    page = await context.newPage();
    await page.setContent('<!doctype html><title>verify</title>');
    await page.addScriptTag({ content: (await bundleVerifier()).code });
  });

  afterAll(async () => {
    await context?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const log = new MadeLog({ gateways: ['ed25519', 'ecdsa-p384', 'rsa-pss'] });
  const body = utf8('the body');
  const value = { bytes: body.length, media_type: 'text/plain', sha256: toBase64url(sha256(body)) };
  const { disclosure, digest } = makeDisclosure('request.body', value, new Uint8Array(16).fill(7));
  const payload = formatRecord(inferenceRecord(log.origin, { 'request.body': digest }));
  const index = log.appendSigned(payload, log.gateways);
  const receipt = log.receipt(index, {
    keys: [0, 1, 2, 3],
    anchored: true,
    disclosures: [{ disclosure, body }],
  });
  const trust = formatTrust(log.trust({ pinned: true }));

  function verdictOn(bytes: Uint8Array): Promise<Verdict> {
    return page.evaluate(
      ([receiptBytes, trustText]) =>
        verifyReceipt(Uint8Array.from(receiptBytes), parseTrust(Uint8Array.from(trustText))),
      [[...bytes], [...utf8(trust)]] as const,
    );
  }

  it('a receipt with Ed25519, ECDSA and RSA-PSS signatures and a body holds', async () => {
    const verdict = await verdictOn(receipt);
    expect(verdict.steps.filter(({ status }) => status === 'invalid')).toEqual([]);
    expect(verdict).toMatchObject({
      holds: true,
      index,
      fields: [{ name: 'request.body', state: 'disclosed-ok' }],
    });
  });

  it('a receipt with a byte of its body changed does not, and content is named', async () => {
    const at = Buffer.from(receipt).indexOf('"body":"') + 8;
    const spoiled = Uint8Array.from(receipt);
    spoiled[at] = (spoiled[at] as number) ^ 0x02;
    const verdict = await verdictOn(spoiled);
    expect(verdict.holds).toBe(false);
    expect(verdict.steps.find(({ step }) => step === 'content')?.status).toBe('invalid');
  });

  it('a receipt with a byte of its entry changed does not, and inclusion is named', async () => {
    const spoiled = Buffer.from(receipt);
    const at = spoiled.indexOf('"entry":"') + 9 + 200;
    spoiled[at] = spoiled[at] === 0x41 ? 0x42 : 0x41;
    const verdict = await verdictOn(new Uint8Array(spoiled));
    expect(verdict.holds).toBe(false);
    expect(verdict.steps.find(({ step }) => step === 'inclusion')?.status).toBe('invalid');
  });
});
