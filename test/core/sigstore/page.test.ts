/** What docs/formats-rekor.md shows is what the code makes and takes. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sha256, toHex, utf8 } from '../../../server/core/bytes.ts';
import { parseJson } from '../../../server/core/json.ts';
import { leafHash } from '../../../server/core/merkle.ts';
import { checkSignature } from '../../../server/core/signature.ts';
import {
  hashedRekord,
  readHashedRekordRequest,
} from '../../../server/core/sigstore/hashedrekord.ts';
import { readTrustedRoot } from '../../../server/core/sigstore/trusted-root.ts';
import { parseCheckpoint } from '../../../server/core/tree-head.ts';

const page = readFileSync(new URL('../../../docs/formats-rekor.md', import.meta.url), 'utf8');

function block(info: string): string {
  const [, text = ''] = new RegExp(`\`\`\`${info}\\n([^\`]*)\`\`\``).exec(page) ?? [];
  return text;
}

describe('docs/formats-rekor.md', () => {
  const text = block('text rekor');
  const shown = utf8(text);
  const v1 = utf8(block('json rekor v1').trimEnd());
  const signed = readHashedRekordRequest(1, v1);

  test('shows a head, its digest, and a signature that holds', () => {
    expect(parseCheckpoint(text).size).toBe(4242);
    expect(signed.digest).toEqual(sha256(shown));
    expect(page).toContain(`\`${toHex(sha256(shown))}\``);
    checkSignature(signed.key, shown, signed.signature);
  });

  test.each([1, 2] as const)('shows the entry of v%i and its leaf hash', (version) => {
    const entry = utf8(block(`json rekor v${version}`).trimEnd());
    expect(entry).toEqual(hashedRekord(version, signed));
    expect(page).toContain(`\`${toHex(leafHash(entry))}\``);
  });

  test('shows a trusted root that can be used', () => {
    const json = parseJson(utf8(block('json rekor trusted_root')), 'example');
    expect(readTrustedRoot(json).logs.map((log) => log.usable)).toEqual([true]);
  });
});
