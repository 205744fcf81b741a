/** Who speaks for a log: its identity key, by a line that was verified, and nobody in its place. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { rawEd25519 } from '../../server/core/keys.ts';
import { formatNote, makeVerifierKey, NOTE_COSIGNATURE } from '../../server/core/note.ts';
import { formatReceipt } from '../../server/core/receipt.ts';
import { formatRecord } from '../../server/core/record.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { treeSize } from '../../server/core/units.ts';
import { NOTE_OTHER, NOTE_TREE_HEAD } from '../../server/core/verifier-key.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { heartbeatRecord, MadeLog, makeKey, treeHash } from './make.ts';

const log = new MadeLog();
const index = log.appendSigned(formatRecord(heartbeatRecord(log.origin)));
const size = log.entries.length;
const text = formatCheckpoint({
  origin: log.origin,
  size: treeSize(size),
  root: treeHash(log.leaves()),
});
const anchored = {
  name: log.anchorKey.name,
  keyId: log.anchorKey.keyId,
  signature: log.anchor.sign(utf8(text)),
};

function trustOf(vkeys: readonly string[], policy?: string) {
  const logs = [{ origin: log.origin, keys: vkeys.map((vkey) => ({ vkey })) }];
  const file = { format: 'stele.trust/1', logs, ...(policy === undefined ? {} : { policy }) };
  return parseTrust(utf8(JSON.stringify(file)));
}

describe('a line that nobody verifies', () => {
  it.each([
    ['a tree head key', NOTE_TREE_HEAD],
    ['a key of another algorithm', NOTE_OTHER],
    ['a cosignature key', NOTE_COSIGNATURE],
  ])('does not stand for the identity key beside a true anchor line: %s', (_, type) => {
    const material =
      type === NOTE_COSIGNATURE ? rawEd25519(makeKey().publicKey) : new Uint8Array(33).fill(7);
    const idle = makeVerifierKey(log.origin, type, material);
    const { name, keyId } = idle;
    const signatures = [{ name, keyId, signature: new Uint8Array(80) }, anchored];
    const checkpoint = formatNote({ text, signatures });
    const receipt = formatReceipt({ ...log.receiptParts(index), checkpoint });
    const verdict = verifyReceipt(receipt, trustOf([idle.text, log.anchorKey.text]));
    expect(verdict.holds).toBe(false);
    expect(verdict.steps.find(({ step }) => step === 'checkpoint')?.status).not.toBe('valid');
  });
});

describe('a witness', () => {
  const witness = makeKey();
  const honest = makeVerifierKey('w.example', NOTE_COSIGNATURE, rawEd25519(witness.publicKey));

  it('is somebody else than a log of the trust file', () => {
    const own = makeVerifierKey('w.example', NOTE_COSIGNATURE, rawEd25519(log.identity.publicKey));
    const named = makeVerifierKey(log.origin, NOTE_COSIGNATURE, rawEd25519(witness.publicKey));
    for (const { text: vkey } of [own, named]) {
      const policy = `witness w ${vkey}\nquorum w\n`;
      expect(() => trustOf([log.identityKey.text], policy)).toThrow(
        /witness "w" has the name or the key of a log/,
      );
    }
    const policy = `witness w ${honest.text}\nquorum w\n`;
    expect(trustOf([log.identityKey.text], policy).policy?.parsed.quorum).toBe('w');
  });
});
