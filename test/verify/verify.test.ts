/** The verdict on receipts: true ones hold, and each named way of spoiling one is named by its step. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseUtf8, sha256, toBase64url, utf8 } from '../../server/core/bytes.ts';
import { canonicalize } from '../../server/core/canonical.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import type { Json } from '../../server/core/json.ts';
import { rawEd25519 } from '../../server/core/keys.ts';
import {
  formatNote,
  makeVerifierKey,
  NOTE_COSIGNATURE,
  parseNote,
} from '../../server/core/note.ts';
import { formatReceipt, type Receipt } from '../../server/core/receipt.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { leafIndex } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { type Verdict, verifyReceipt } from '../../server/verify/verify.ts';
import { mldsaKey, witnessKey } from '../core/note-keys.ts';
import { heartbeatRecord, inferenceRecord, MadeLog, makeKey, signed } from './make.ts';

function statusOf(verdict: Verdict, step: string) {
  return verdict.steps.find((found) => found.step === step)?.status;
}

function invalidSteps(verdict: Verdict): string[] {
  return verdict.steps.filter(({ status }) => status === 'invalid').map(({ step }) => step);
}

function detailOf(verdict: Verdict, step: string): string {
  return verdict.steps.find((found) => found.step === step)?.detail ?? '';
}

function heartbeat(log: MadeLog, seq = 0): Uint8Array {
  return formatRecord(heartbeatRecord(log.origin, seq));
}

describe('a receipt that is true', () => {
  const log = new MadeLog({ gateways: ['ed25519', 'ecdsa-p256', 'ecdsa-p384', 'rsa-pss'] });
  const [ed, p256, p384, rsa] = log.gateways;
  const plain = log.appendSigned(heartbeat(log));
  const byP256 = log.appendSigned(heartbeat(log, 1), p256 && [p256]);
  const byP384 = log.appendSigned(heartbeat(log, 2), p384 && [p384]);
  const byRsa = log.appendSigned(heartbeat(log, 3), rsa && [rsa]);
  const byTwo = log.appendSigned(heartbeat(log, 4), ed && rsa && [ed, rsa]);
  const opaque = log.appendSigned(utf8('anything'), undefined, 'text/plain');
  const windowed = log.appendWindow(
    Array.from({ length: 5 }, (_, i) => ({
      payloadType: 'application/vnd.stele.record.v1+json',
      payload: heartbeat(log, 10 + i),
    })),
  );
  const trust = log.trust();

  it.each([
    ['of genesis', 0, []],
    ['of a key record', 1, [0]],
    ['signed with Ed25519', plain, [0, 1]],
    ['signed with ECDSA P-256', byP256, [0, 2]],
    ['signed with ECDSA P-384', byP384, [0, 3]],
    ['signed with RSA-PSS', byRsa, [0, 4]],
    ['signed twice', byTwo, [0, 1, 4]],
    ['with an opaque payload', opaque, [0, 1]],
    ['in a window, first', windowed, [0, 1]],
    ['in a window, last', windowed + 4, [0, 1]],
  ])('holds: %s', (_, index, keys) => {
    const verdict = verifyReceipt(log.receipt(index, { keys }), trust);
    expect(verdict.steps.filter(({ status }) => status === 'invalid')).toEqual([]);
    expect(verdict).toMatchObject({ holds: true, origin: log.origin, index });
  });

  it('holds under a head with an anchor line', () => {
    const verdict = verifyReceipt(log.receipt(plain, { anchored: true }), trust);
    expect(verdict.holds).toBe(true);
    expect(detailOf(verdict, 'checkpoint')).toContain(log.anchorKey.keyId);
  });

  it('says that a key is registered by the log, and that revocation was not checked', () => {
    const verdict = verifyReceipt(log.receipt(plain), trust);
    expect(detailOf(verdict, 'signatures')).toMatch(/registered by the log at 1/);
    expect(verdict.notes.join()).toMatch(/revoked before entry \d+ cannot be checked/);
  });

  it('says that a key is pinned', () => {
    const verdict = verifyReceipt(log.receipt(plain), log.trust({ pinned: true }));
    expect(detailOf(verdict, 'signatures')).toMatch(/pinned in the trust file/);
  });

  it('says that an opaque payload is not bound to a log', () => {
    const verdict = verifyReceipt(log.receipt(opaque), trust);
    expect(statusOf(verdict, 'record')).toBe('absent');
    expect(verdict.notes.join()).toMatch(/not bound to a log/);
  });

  it('gives the record', () => {
    expect(verifyReceipt(log.receipt(plain), trust).record).toMatchObject({ kind: 'heartbeat' });
  });

  it('holds with anchors of unknown kinds, which count for nothing', () => {
    const verdict = verifyReceipt(log.receipt(plain, { anchors: [{ kind: 'moon' }] }), trust);
    expect(verdict.holds).toBe(true);
    expect(statusOf(verdict, 'anchors')).toBe('no-trust');
  });

  it('lists a line of an unknown witness, which counts for nothing', () => {
    const parts = log.receiptParts(plain);
    const checkpoint = `${parts.checkpoint}— witness.example AQIDBAAAAABq${'A'.repeat(88)}AA==\n`;
    const verdict = verifyReceipt(formatReceipt({ ...parts, checkpoint }), trust);
    expect(verdict.holds).toBe(true);
    expect(verdict.steps).toContainEqual({
      step: 'line',
      status: 'no-trust',
      detail: 'The trust file does not know key witness.example+01020304.',
    });
  });
});

describe('a receipt whose keys are not trusted', () => {
  const log = new MadeLog();
  const index = log.appendSigned(heartbeat(log));
  const receipt = log.receipt(index);

  it('does not hold for a reader who does not know the log', () => {
    const verdict = verifyReceipt(receipt, new MadeLog({ origin: 'example.org/other' }).trust());
    expect(verdict.holds).toBe(false);
    expect(statusOf(verdict, 'log')).toBe('no-trust');
    expect(statusOf(verdict, 'signatures')).toBe('absent');
  });

  it('does not hold for a reader who has other keys under the same origin', () => {
    const verdict = verifyReceipt(receipt, new MadeLog().trust());
    expect(verdict.holds).toBe(false);
    expect(statusOf(verdict, 'checkpoint')).not.toBe('valid');
  });

  it('does not hold for a reader who has the anchor key alone', () => {
    const [known] = log.trust().logs;
    const anchorOnly = { logs: known ? [{ ...known, keys: known.keys.slice(1) }] : [] };
    const verdict = verifyReceipt(log.receipt(index, { anchored: true }), anchorOnly);
    expect(verdict.holds).toBe(false);
    expect(statusOf(verdict, 'log')).toBe('no-trust');
  });

  it('does not hold past the size that the key is good for', () => {
    const [known] = log.trust().logs;
    const until = (untilSize: number) => ({
      logs: known ? [{ ...known, keys: known.keys.map((key) => ({ ...key, untilSize })) }] : [],
    });
    expect(verifyReceipt(receipt, until(log.entries.length)).holds).toBe(true);
    const verdict = verifyReceipt(receipt, until(log.entries.length - 1));
    expect(verdict.holds).toBe(false);
    expect(detailOf(verdict, 'checkpoint')).toMatch(/is good up to size 2/);
  });

  it('holds for a reader with a policy without a quorum, and not without its quorum', () => {
    const policy = `log ${log.identityKey.text}\nquorum none\n`;
    expect(verifyReceipt(receipt, parseTrust(utf8(policy))).holds).toBe(true);
    const witness = makeVerifierKey(
      'witness.example',
      NOTE_COSIGNATURE,
      rawEd25519(makeKey().publicKey),
    );
    const asking = `log ${log.identityKey.text}\nwitness w ${witness.text}\nquorum w\n`;
    const verdict = verifyReceipt(receipt, parseTrust(utf8(asking)));
    expect(verdict.holds).toBe(false);
    expect(detailOf(verdict, 'witnesses')).toMatch(/quorum w is not met/);
  });

  it('holds with the cosignature that its quorum asks for, and not with a bad one', () => {
    const key = makeKey();
    const witness = makeVerifierKey('w.example', NOTE_COSIGNATURE, rawEd25519(key.publicKey));
    const asking = `log ${log.identityKey.text}\nwitness w ${witness.text}\nquorum w\n`;
    const parts = log.receiptParts(index);
    const time = 1_788_000_000;
    const text = parts.checkpoint.slice(0, parts.checkpoint.indexOf('\n\n') + 1);
    const cosigned = (over: string) => {
      const line = Buffer.alloc(12 + 64);
      line.write(witness.keyId, 'hex');
      line.writeBigUInt64BE(BigInt(time), 4);
      line.set(key.sign(utf8(`cosignature/v1\ntime ${time}\n${over}`)), 12);
      const checkpoint = `${parts.checkpoint}— w.example ${line.toString('base64')}\n`;
      return verifyReceipt(formatReceipt({ ...parts, checkpoint }), parseTrust(utf8(asking)));
    };
    expect(cosigned(text)).toMatchObject({ holds: true });
    expect(statusOf(cosigned(text), 'witnesses')).toBe('valid');
    const bad = cosigned(`${text} `);
    expect(bad.holds).toBe(false);
    expect(statusOf(bad, 'checkpoint')).toBe('invalid');
  });
});

describe('a policy with groups and both kinds of witness keys', () => {
  const log = new MadeLog();
  const index = log.appendSigned(heartbeat(log));
  const parts = log.receiptParts(index);
  const text = parts.checkpoint.slice(0, parts.checkpoint.indexOf('\n\n') + 1);
  const witnesses = {
    a: witnessKey('a.example', 1, 1_788_000_000),
    b: mldsaKey('b.example', 2, 1_788_000_001),
    c: mldsaKey('c.example', 3, 1_788_000_002),
    d: witnessKey('d.example', 4, 1_788_000_003),
  };
  type Name = keyof typeof witnesses;
  const policy =
    `log ${log.identityKey.text}\n` +
    Object.entries(witnesses)
      .map(([name, { key }]) => `witness ${name} ${key.text}\n`)
      .join('') +
    'group pair 2 a b c\ngroup all all pair d\nquorum all\n';
  const judged = (names: readonly Name[], over = text) => {
    const note = parseNote(utf8(parts.checkpoint));
    const lines = names.map((name) => witnesses[name].line(over));
    const checkpoint = formatNote({ ...note, signatures: [...note.signatures, ...lines] });
    return verifyReceipt(formatReceipt({ ...parts, checkpoint }), parseTrust(utf8(policy)));
  };

  it.each([
    [[], false],
    [['a', 'b', 'c'], false],
    [['a', 'd'], false],
    [['d', 'b', 'a'], true],
    [['b', 'c', 'd'], true],
    [['a', 'b', 'c', 'd'], true],
  ] as const)('of %j, its quorum is met: %s', (names, met) => {
    const verdict = judged(names);
    expect(verdict.holds).toBe(met);
    expect(statusOf(verdict, 'witnesses')).toBe(met ? 'valid' : 'absent');
    // Every witness has its own line in the verdict.
    const each = verdict.steps.filter(({ step }) => step === 'witness');
    expect(each.map(({ status }) => status)).toEqual(
      (['a', 'b', 'c', 'd'] as const).map((name) =>
        (names as readonly Name[]).includes(name) ? 'valid' : 'absent',
      ),
    );
  });

  it('says who cosigned and when, and what each group has', () => {
    const verdict = judged(['a', 'c']);
    const { key } = witnesses.c;
    expect(verdict.steps.find(({ detail }) => detail.startsWith('Witness c'))?.detail).toBe(
      `Witness c, key c.example+${key.keyId}, cosigned it at 2026-08-29T10:40:02.000Z by its own clock.`,
    );
    expect(detailOf(verdict, 'witnesses')).toBe(
      'Cosigned by a, c: quorum all is not met (pair 2 of 3 where 2 are needed; all 1 of 2 where 2 are needed).',
    );
  });

  it.each(['a', 'b', 'c', 'd'] as const)('does not hold where the line of %s is bad', (name) => {
    const verdict = judged([name], text.replace(/\n\d+\n/, '\n1\n'));
    expect(statusOf(verdict, 'checkpoint')).toBe('invalid');
    expect(detailOf(verdict, 'checkpoint')).toContain(`${name}.example`);
    expect(verdict.holds).toBe(false);
  });
});

describe('spoiled receipts', () => {
  const log = new MadeLog({ gateways: ['ed25519', 'ed25519'] });
  const [gateway, second] = log.gateways;
  const index = log.appendSigned(heartbeat(log));
  const other = log.appendSigned(heartbeat(log, 1));
  const late = makeKey();
  const tooEarly = log.appendSigned(heartbeat(log, 2), [late]);
  const lateAt = log.register(late);
  const stranger = makeKey();
  const byStranger = log.appendSigned(heartbeat(log, 3), [stranger]);
  const selfRegistered = log.appendSigned(formatRecord(log.keyRecord(stranger.publicKey)), [
    gateway ?? stranger,
  ]);
  const secondGenesis = log.appendSigned(formatRecord(log.genesisRecord()), [log.operator]);
  const operatorHeartbeat = log.appendSigned(heartbeat(log, 4), [log.operator]);
  const reserved = log.appendSigned(
    formatRecord({
      ...heartbeatRecord(log.origin, 5),
      source: { ...heartbeatRecord(log.origin).source, id: '_mine' },
    }),
  );
  const foreign = log.appendSigned(formatRecord(heartbeatRecord('example.org/logs/other')));
  const revocation = log.appendSigned(
    formatRecord({
      ...log.keyRecord(second?.publicKey ?? stranger.publicKey),
      key: { ...log.keyRecord(second?.publicKey ?? stranger.publicKey).key, action: 'revoke' },
    }),
    [log.operator],
  );
  const bySecond = log.appendSigned(heartbeat(log, 6), second && [second]);
  const notCanonical = log.append(
    signed(utf8(`${parseUtf8(heartbeat(log, 7), 'payload')} `), gateway ? [gateway] : []),
  );
  const badSignature = log.append({
    ...signed(heartbeat(log, 8), gateway ? [gateway] : []),
    payload: heartbeat(log, 9),
  });
  const trust = log.trust();
  const good = log.receiptParts(index);

  const spoilers: Record<string, [step: string, receipt: () => Receipt]> = {
    'another index': ['inclusion', () => ({ ...good, index: leafIndex(other) })],
    'an index past the tree': ['inclusion', () => ({ ...good, index: leafIndex(1_000) })],
    'one hash short': ['inclusion', () => ({ ...good, proof: good.proof.slice(1) })],
    'one hash extra': [
      'inclusion',
      () => ({ ...good, proof: [...good.proof, ...good.proof.slice(0, 1)] }),
    ],
    'another entry': ['inclusion', () => ({ ...good, entry: log.included(other).entry })],
    'no key records': ['keys', () => ({ ...good, keys: [] })],
    'genesis alone': ['keys', () => ({ ...good, keys: good.keys.slice(0, 1) })],
    'a key record too many': ['keys', () => ({ ...good, keys: [...good.keys, log.included(2)] })],
    'the key record of another gateway': [
      'keys',
      () => ({ ...good, keys: [log.included(0), log.included(2)] }),
    ],
    'the records in another order': ['keys', () => ({ ...good, keys: good.keys.toReversed() })],
    'a second genesis in place of the first': [
      'keys',
      () => ({ ...good, keys: [log.included(secondGenesis), log.included(1)] }),
    ],
    'a key registered after the entry': [
      'keys',
      () => log.receiptParts(tooEarly, { keys: [0, lateAt] }),
    ],
    'a key that a gateway registered': [
      'keys',
      () => log.receiptParts(byStranger, { keys: [0, selfRegistered] }),
    ],
    'a control record by a gateway': [
      'keys',
      () => log.receiptParts(selfRegistered, { keys: [0] }),
    ],
    'a genesis that is not entry 0': ['keys', () => log.receiptParts(secondGenesis, { keys: [0] })],
    'a gateway record by the operator': [
      'keys',
      () => log.receiptParts(operatorHeartbeat, { keys: [0, 1] }),
    ],
    'a revocation in place of a registration': [
      'keys',
      () => log.receiptParts(bySecond, { keys: [0, revocation] }),
    ],
    'a reserved source': ['record', () => log.receiptParts(reserved)],
    'a record of another log': ['record', () => log.receiptParts(foreign)],
    'a record in another spelling': ['record', () => log.receiptParts(notCanonical)],
    'a signature of another statement': ['signatures', () => log.receiptParts(badSignature)],
    'a checkpoint of another log': [
      'checkpoint',
      () => ({ ...good, checkpoint: new MadeLog({ origin: 'example.org/else' }).checkpoint() }),
    ],
    'an older checkpoint': [
      'inclusion',
      () => ({ ...good, checkpoint: log.checkpoint({ size: 2 }) }),
    ],
    'the anchor line under the name of a witness': [
      'checkpoint',
      () => ({
        ...good,
        checkpoint: log
          .checkpoint({ anchored: true })
          .replace(/— \S+ (\S+)\n$/, '— witness.example $1\n'),
      }),
    ],
  };

  it('starts from one that holds', () => {
    expect(verifyReceipt(formatReceipt(good), trust).holds).toBe(true);
  });

  it.each(Object.entries(spoilers))('%s', (_, [step, spoiled]) => {
    const verdict = verifyReceipt(formatReceipt(spoiled()), trust);
    expect(verdict.holds).toBe(false);
    expect(invalidSteps(verdict)).toContain(step);
  });
});

describe('content', () => {
  const log = new MadeLog();
  const salt = (n: number) => new Uint8Array(16).fill(n);
  const body = utf8('{"model":"m"}');
  const value = { bytes: body.length, media_type: 'text/plain', sha256: toBase64url(sha256(body)) };
  const request = makeDisclosure('request.body', value, salt(1));
  const principal = makeDisclosure('principal.id', 'alice@example.com', salt(2));
  const fields = { 'request.body': request.digest, 'principal.id': principal.digest };
  const index = log.appendSigned(formatRecord(inferenceRecord(log.origin, fields)));
  const trust = log.trust();
  const verdictOf = (
    disclosures: Receipt['disclosures'] & object,
    read?: (file: string) => Uint8Array | undefined,
  ) => verifyReceipt(log.receipt(index, { disclosures }), trust, read ? { body: read } : {});

  it('is withheld where nothing is disclosed, and the receipt holds', () => {
    const verdict = verifyReceipt(log.receipt(index), trust);
    expect(verdict.holds).toBe(true);
    expect(verdict.fields).toEqual([
      { name: 'principal.id', state: 'withheld' },
      { name: 'request.body', state: 'withheld' },
    ]);
  });

  it('is opened by its disclosures, with a body inline', () => {
    const verdict = verdictOf([{ disclosure: request.disclosure, body }]);
    expect(verdict.holds).toBe(true);
    expect(verdict.fields).toEqual([
      { name: 'principal.id', state: 'withheld' },
      { name: 'request.body', state: 'disclosed-ok' },
    ]);
  });

  it('is opened with a body in a file beside the receipt', () => {
    const disclosures = [{ disclosure: request.disclosure, body_file: 'request.bin' }];
    const verdict = verdictOf(disclosures, (file) => (file === 'request.bin' ? body : undefined));
    expect(verdict.holds).toBe(true);
    expect(verdictOf(disclosures).holds).toBe(false);
    expect(detailOf(verdictOf(disclosures), 'content')).toMatch(/"request.bin".*is missing/);
  });

  it.each([
    ['another value', [{ disclosure: makeDisclosure('principal.id', 'bob', salt(2)).disclosure }]],
    ['another salt', [{ disclosure: makeDisclosure('request.body', value, salt(9)).disclosure }]],
    ['another body', [{ disclosure: request.disclosure, body: utf8('{"model":"n"}') }]],
    ['a shorter body', [{ disclosure: request.disclosure, body: body.slice(1) }]],
    ['a body to what has none', [{ disclosure: principal.disclosure, body }]],
    ['one twice', [{ disclosure: principal.disclosure }, { disclosure: principal.disclosure }]],
    ['what is no disclosure', [{ disclosure: 'AAAA' }]],
  ])('does not hold with %s', (_, disclosures) => {
    const verdict = verdictOf(disclosures);
    expect(verdict.holds).toBe(false);
    expect(invalidSteps(verdict)).toEqual(['content']);
  });

  it('does not hold with a disclosure that the record did not commit to', () => {
    const stray = makeDisclosure('user_agent', 'curl', salt(3));
    const verdict = verdictOf([{ disclosure: stray.disclosure }]);
    expect(verdict.holds).toBe(false);
    expect(detailOf(verdict, 'content')).toMatch(/no commitment of this name/);
  });
});

describe('any byte of a receipt changed', () => {
  const log = new MadeLog();
  const body = utf8('the body');
  const value = { bytes: body.length, media_type: 'text/plain', sha256: toBase64url(sha256(body)) };
  const { disclosure, digest } = makeDisclosure('request.body', value, new Uint8Array(16).fill(7));
  const record: AuditRecord = inferenceRecord(log.origin, { 'request.body': digest });
  const index = log.appendSigned(formatRecord(record));
  const receipt = log.receipt(index, { anchored: true, disclosures: [{ disclosure, body }] });
  const trust = log.trust({ pinned: true });
  // Twenty thousand receipts: the native engine, whose verdicts are the portable one's.
  const engine = { check: checkSignatureNative };

  it('starts from one that holds', () => {
    expect(verifyReceipt(receipt, trust).holds).toBe(true);
  });

  const changes: readonly [string, (byte: number) => number][] = [
    ['its lowest bit flipped', (byte) => byte ^ 0x01],
    ['its case bit flipped', (byte) => byte ^ 0x20],
    ['its top bit flipped', (byte) => byte ^ 0x80],
    ['the next base64 digit but one', nextDigit],
  ];

  it.each(changes)('does not hold: %s', (_, change) => {
    const held: number[] = [];
    for (let at = 0; at < receipt.length; at++) {
      const spoiled = Uint8Array.from(receipt);
      spoiled[at] = change(spoiled[at] as number);
      const verdict = verifyReceipt(spoiled, trust, engine);
      const named = verdict.steps.some(
        ({ status }) => status === 'invalid' || status === 'no-trust',
      );
      if (verdict.holds || !named) held.push(at);
    }
    expect(held).toEqual([]);
  });

  it('never throws, and never holds, with any part of it replaced', () => {
    const json = JSON.parse(Buffer.from(receipt).toString()) as { [name: string]: Json };
    // Anchors of unknown kinds count for nothing, so any may be put in.
    const names = Object.keys(json).filter((name) => name !== 'anchors');
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constantFrom(...Object.values(json))),
        (name, value) => {
          const changed = { ...json, [name]: value as Json };
          let bytes: Uint8Array;
          try {
            bytes = utf8(`${canonicalize(changed)}\n`);
          } catch {
            return;
          }
          if (Buffer.from(bytes).equals(Buffer.from(receipt))) return;
          expect(verifyReceipt(bytes, trust, engine).holds).toBe(false);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('does not hold with a byte taken away or put in anywhere', () => {
    const held: number[] = [];
    for (let at = 0; at < receipt.length; at++) {
      const shorter = Uint8Array.from([...receipt.slice(0, at), ...receipt.slice(at + 1)]);
      const longer = Uint8Array.from([...receipt.slice(0, at), 0x20, ...receipt.slice(at)]);
      if (verifyReceipt(shorter, trust, engine).holds) held.push(at);
      if (verifyReceipt(longer, trust, engine).holds) held.push(at);
    }
    expect(held).toEqual([]);
  });

  /** Stays base64 where it was, so that the change reaches the bytes inside. */
  function nextDigit(byte: number): number {
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const at = digits.indexOf(String.fromCharCode(byte));
    return at < 0 ? byte ^ 0x04 : digits.charCodeAt((at + 21) % 64);
  }
});
