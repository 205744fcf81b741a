/** A log changes its keys: which trust files find what they know under heads of which phase. */
import { describe, expect, it } from 'vitest';
import { formatReceipt } from '../../server/core/receipt.ts';
import { formatRecord } from '../../server/core/record.ts';
import type { Trust, TrustedKey } from '../../server/core/trust.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { heartbeatRecord, type MadeKey, MadeLog, makeKey, verifierKeyOf } from './make.ts';

const log = new MadeLog();
const beat = () => log.appendSigned(formatRecord(heartbeatRecord(log.origin, log.entries.length)));
const entry = beat();
const next = { identity: makeKey('ed25519'), anchor: makeKey('ecdsa-p256') };
const before = log.entries.length;
log.logKey('rotate', 'identity', next.identity);
log.logKey('rotate', 'anchor', next.anchor);
beat();
const during = log.entries.length;
log.logKey('revoke', 'identity', log.identity);
/** The last size that the old identity key signs. */
const last = log.entries.length;
beat();
const after = log.entries.length;
log.logKey('revoke', 'anchor', log.anchor);
const lastAnchor = log.entries.length;
beat();
const end = log.entries.length;

/** What the log signs at each size. */
const LINES: ReadonlyMap<string, { readonly size: number; readonly signers: readonly MadeKey[] }> =
  new Map([
    ['before', { size: before, signers: [log.identity, log.anchor] }],
    ['during', { size: during, signers: [log.identity, next.identity, log.anchor, next.anchor] }],
    ['at the last size', { size: last, signers: [log.identity, next.identity, next.anchor] }],
    ['after', { size: after, signers: [next.identity, log.anchor, next.anchor] }],
    ['at the end', { size: end, signers: [next.identity, next.anchor] }],
  ]);

function trustOf(...keys: readonly (readonly [MadeKey, number?])[]): Trust {
  const trusted = keys.map(([key, untilSize]): TrustedKey => {
    const verifierKey = verifierKeyOf(log.origin, key);
    return untilSize === undefined ? { key: verifierKey } : { key: verifierKey, untilSize };
  });
  return { logs: [{ origin: log.origin, keys: trusted, gateways: [] }] };
}

const TRUST = {
  old: trustOf([log.identity], [log.anchor]),
  'old, told of the end': trustOf([log.identity, last], [log.anchor, lastAnchor]),
  both: trustOf([log.identity, last], [next.identity], [log.anchor, lastAnchor], [next.anchor]),
  new: trustOf([next.identity], [next.anchor]),
} as const;

function verdictOf(
  trust: Trust,
  head: { readonly size: number; readonly signers: readonly MadeKey[] },
) {
  const bytes = log.receipt(entry, head);
  return verifyReceipt(bytes, trust, { check: checkSignatureNative });
}

function detailOf(verdict: ReturnType<typeof verifyReceipt>): string {
  return verdict.steps.find(({ step }) => step === 'checkpoint')?.detail ?? '';
}

describe('a receipt under a head from', () => {
  const holds: Record<keyof typeof TRUST, readonly string[]> = {
    old: ['before', 'during', 'at the last size'],
    'old, told of the end': ['before', 'during', 'at the last size'],
    both: ['before', 'during', 'at the last size', 'after', 'at the end'],
    new: ['during', 'at the last size', 'after', 'at the end'],
  };

  for (const [phase, head] of LINES) {
    it.each(Object.keys(TRUST) as (keyof typeof TRUST)[])(`${phase}: trust file %s`, (name) => {
      const verdict = verdictOf(TRUST[name], head);
      expect(verdict.holds, JSON.stringify(verdict.steps)).toBe(holds[name].includes(phase));
    });
  }

  it('the end, signed by the old key alone, is refused with the size that the key is good for', () => {
    const forged = { size: end, signers: [log.identity, log.anchor] };
    const rule = `is good up to size ${last}, and this is of size ${end}`;
    for (const trust of [TRUST.both, TRUST['old, told of the end']]) {
      const verdict = verdictOf(trust, forged);
      expect(verdict.holds).toBe(false);
      expect(detailOf(verdict)).toContain(rule);
    }
    // Who was never told cannot know.
    expect(verdictOf(TRUST.old, forged).holds).toBe(true);
    expect(verdictOf(TRUST.new, forged).holds).toBe(false);
  });

  it('one size past the last, signed by the old key alone, is refused, and the last is not', () => {
    const signers = [log.identity];
    expect(verdictOf(TRUST.both, { size: last, signers }).holds).toBe(true);
    const past = verdictOf(TRUST.both, { size: last + 1, signers });
    expect(detailOf(past)).toContain(`good up to size ${last}, and this is of size ${last + 1}`);
  });

  it('after the end says to an old trust file that it is out of date', () => {
    const verdict = verdictOf(TRUST.old, { size: end, signers: [next.identity, next.anchor] });
    expect(detailOf(verdict)).toMatch(/the line was changed, or the trust file is out of date/);
  });
});

describe('an anchor key that followed by schedule', () => {
  it('makes no trust file out of date: its line is listed, and counts for nothing', () => {
    const head = { size: end, signers: [log.identity, next.anchor] };
    const trust = trustOf([log.identity], [log.anchor]);
    const verdict = verdictOf(trust, head);
    expect(verdict.holds).toBe(true);
    const { keyId } = verifierKeyOf(log.origin, next.anchor);
    expect(verdict.steps).toContainEqual({
      step: 'line',
      status: 'no-trust',
      detail: `The trust file does not know key ${log.origin}+${keyId}.`,
    });
  });
});

describe('a changed line', () => {
  const parts = (signers: readonly MadeKey[], size: number) =>
    log.receiptParts(entry, { size, signers });

  it.each([...LINES])('of a head %s spoils the receipt, whichever byte it is', (_, head) => {
    const receipt = parts(head.signers, head.size);
    const { checkpoint } = receipt;
    const held: number[] = [];
    for (let at = checkpoint.indexOf('\n\n') + 2; at < checkpoint.length; at++) {
      const letter = checkpoint.charAt(at);
      // Within base64 and names alike: a letter that may stand there.
      const other = letter === 'A' ? 'B' : letter === 'a' ? 'b' : letter < 'a' ? 'A' : 'a';
      const changed = checkpoint.slice(0, at) + other + checkpoint.slice(at + 1);
      const verdict = verifyReceipt(
        formatReceipt({ ...receipt, checkpoint: changed }),
        TRUST.both,
        {
          check: checkSignatureNative,
        },
      );
      if (verdict.holds) held.push(at);
    }
    expect(held).toEqual([]);
  });

  it('put in place of the old key’s, or taken from another head, does not hold', () => {
    const good = parts([log.identity, next.identity], during);
    const [text = '', lines = ''] = good.checkpoint.split('\n\n');
    const other = log.checkpoint({ size: last, signers: [log.identity] }).split('\n\n')[1] ?? '';
    const [old = '', fresh = ''] = lines.split('\n');
    const spoiled = {
      'no line': `${text}\n\n`,
      'a line of another head': `${text}\n\n${other}`,
      'a good line and one of another head': `${text}\n\n${fresh}\n${other}`,
      'the signature of one under the ID of the other': `${text}\n\n${swapped(old, fresh)}\n`,
    };
    for (const [what, checkpoint] of Object.entries(spoiled)) {
      const bytes = formatReceipt({ ...good, checkpoint });
      expect(verifyReceipt(bytes, TRUST.both).holds, what).toBe(false);
    }
    const alone = formatReceipt({ ...good, checkpoint: `${text}\n\n${fresh}\n` });
    expect(verifyReceipt(alone, TRUST.new).holds).toBe(true);
  });
});

/** The line of `old` with the signature of `fresh`. */
function swapped(old: string, fresh: string): string {
  const blob = (line: string) => Buffer.from(line.split(' ')[2] ?? '', 'base64');
  const mixed = Buffer.concat([blob(old).subarray(0, 4), blob(fresh).subarray(4)]);
  return `${old.split(' ').slice(0, 2).join(' ')} ${mixed.toString('base64')}`;
}
