/** The parts of a gateway by themselves: rounds, fates, the line, and a record that is made anew. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Line, type Waiting } from '../../../server/client/gateway/line.ts';
import {
  type Item,
  itemOf,
  type Making,
  makeRound,
  remakeRound,
  withLost,
} from '../../../server/client/gateway/round.ts';
import { type Fate, fatesOf, type Heard } from '../../../server/client/gateway/settle.ts';
import type { Lost } from '../../../server/client/gateway/state.ts';
import { BadAnswer } from '../../../server/client/problem.ts';
import { keptFrom, remade } from '../../../server/client/remake.ts';
import { sha256, toBase64url, utf8 } from '../../../server/core/bytes.ts';
import { decodeEntry, signedMessage } from '../../../server/core/entry.ts';
import { CODES, type Code, SteleError } from '../../../server/core/errors.ts';
import { formatRecord, parseRecord } from '../../../server/core/record.ts';
import { checkSignature } from '../../../server/core/signature.ts';
import { uuidv7 } from '../../../server/core/uuid.ts';
import { makeSigner } from '../../log/make.ts';
import { annotation } from './make.ts';

const OLD = 'log.example/logs/a';
const NEXT = 'log.example/logs/a-2027';

const signer = makeSigner();

function makingFor(log: string): Making {
  return {
    log,
    signer,
    speaker: { source: 'gw.1', instance: 'i', software: 'test/1' },
    newRecordId: () => uuidv7(1_800_000_000_000, new Uint8Array(randomBytes(10))),
    now: () => '2026-11-01T00:00:00.000000Z',
  };
}

function waiting(statement: Waiting['statement']): Waiting {
  return { statement, content: undefined, bytes: 1, logged: () => {}, refused: () => {} };
}

const records = (count: number) => Array.from({ length: count }, () => waiting(annotation()));
const opaque = (text: string) => waiting({ payloadType: 'text/plain', payload: utf8(text) });
const seqsOf = (items: readonly Item[]) => items.map(({ link }) => link?.seq);
const digestOf = (record: Parameters<typeof formatRecord>[0]) =>
  toBase64url(sha256(formatRecord(record)));
const recordsOf = (items: readonly Item[]) =>
  items.flatMap(({ entry, link }) => (link ? [parseRecord(decodeEntry(entry).payload)] : []));

describe('a round', () => {
  test('numbers and chains records, gaps first, and signs them together', async () => {
    const lost = [{ from: 3, to: 4, reason: 'refused' }];
    const taken = [...records(2), opaque('x'), ...records(1)];
    const from = { next: 5, prev: 'A'.repeat(43) };
    const { items, next } = await makeRound(makingFor(OLD), from, lost, taken);
    expect(seqsOf(items)).toEqual([5, 6, 7, undefined, 8]);
    expect(next).toBe(9);
    expect(items[0]?.explains).toEqual(lost[0]);
    const own = recordsOf(items);
    expect(own[0]).toMatchObject({ kind: 'gap', gap: { seq_from: 3, seq_to: 4, count: 2 } });
    expect(own[0]?.source.prev).toBe('A'.repeat(43));
    for (const { entry } of items) {
      const decoded = decodeEntry(entry);
      const [signature] = decoded.signatures;
      expect(signature?.window?.size).toBe(decoded.payloadType === 'text/plain' ? undefined : 4);
      checkSignature(signer.publicKey, signedMessage(decoded, signature!, OLD), signature!.sig);
    }
    // What was signed is read back as what it was.
    for (const item of items) {
      expect(itemOf(item.entry)).toMatchObject({ link: item.link, told: undefined });
    }
    expect(itemOf(items[0]!.entry).explains).toEqual({ from: 3, to: 4, reason: 'refused' });
  });

  test('made again for the next log keeps numbers that end the chain, and ids', async () => {
    const first = await makeRound(
      makingFor(OLD),
      { next: 0, prev: null },
      [],
      [...records(3), opaque('x'), ...records(3)],
    );
    const all = [...first.items];
    // 1 was logged, and with it the beginning of nothing: 0 gets a new number, 2 to 5 keep theirs.
    const left = all.filter(({ link }) => link?.seq !== 1);
    const again = await remakeRound(makingFor(NEXT), first, [], left, 'rolled-over');
    expect(seqsOf(again.items)).toEqual([undefined, 2, 3, 4, 5, 6, 7]);
    expect(again.next).toBe(8);
    const made = recordsOf(again.items);
    expect(made[0]?.source.prev).toBe(recordsOf(all)[2]?.source.prev);
    for (const [i, { source }] of made.entries()) {
      if (i > 0) expect(source.prev).toBe(digestOf(made[i - 1]!));
    }
    expect(made.every(({ log }) => log === NEXT)).toBe(true);
    expect(made[4]).toMatchObject({
      kind: 'gap',
      gap: { reason: 'rolled-over', seq_from: 0, seq_to: 0 },
    });
    const ids = (some: typeof made) =>
      some.filter(({ kind }) => kind !== 'gap').map((r) => r.record_id);
    expect(ids(made).toSorted()).toEqual(ids(recordsOf(left)).toSorted());
    // Opaque bytes are bound to no log: they go as they are.
    expect(again.items[0]?.entry).toBe(all[3]?.entry);
    for (const item of again.items) {
      const decoded = decodeEntry(item.entry);
      const [signature] = decoded.signatures;
      const log = item.link === undefined ? OLD : NEXT;
      checkSignature(signer.publicKey, signedMessage(decoded, signature!, log), signature!.sig);
    }
  });

  test('made again in its own log keeps none of its numbers', async () => {
    const first = await makeRound(makingFor(OLD), { next: 0, prev: null }, [], records(3));
    const lost = [{ from: 0, to: 0, reason: 'refused' }];
    const left = first.items.slice(1);
    const again = await remakeRound(makingFor(OLD), first, lost, left, 'refused');
    expect(seqsOf(again.items)).toEqual([3, 4, 5]);
    expect(recordsOf(again.items)[0]).toMatchObject({ gap: { seq_from: 0, seq_to: 2 } });
  });
});

describe('numbers', () => {
  test('are kept from where nothing behind them is taken', () => {
    expect(keptFrom([], 7)).toBe(0);
    expect(keptFrom([5, 6], 7)).toBe(0);
    expect(keptFrom([3, 5, 6], 7)).toBe(1);
    expect(keptFrom([3, 5], 7)).toBe(2);
    expect(keptFrom([0, 1, 2], 3)).toBe(0);
  });

  test('that are lost are runs, each for one reason', () => {
    const reason = fc.constantFrom('refused', 'rolled-over');
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(40), { maxLength: 20 }),
        fc.array(reason, { minLength: 20, maxLength: 20 }),
        (seqs, reasons) => {
          let lost: readonly Lost[] = [];
          for (const [i, seq] of seqs.entries()) lost = withLost(lost, [seq], reasons[i] as string);
          const all = lost.flatMap(({ from, to, reason: why }) =>
            Array.from({ length: to - from + 1 }, (_, i) => `${from + i} ${why}`),
          );
          const expected = seqs.map((seq, i) => `${seq} ${reasons[i]}`);
          expect(all.toSorted()).toEqual(expected.toSorted());
          for (const [i, run] of lost.entries()) {
            const next = lost[i + 1];
            if (next?.reason === run.reason) expect(next.from).toBeGreaterThan(run.to + 1);
          }
        },
      ),
    );
  });
});

describe('a record made anew', () => {
  const source = {
    id: 'gw',
    instance: 'i',
    seq: 4,
    prev: 'A'.repeat(43),
    provenance: 'observed',
    completeness: 'full',
    software: 'x/1',
  } as const;
  const common = {
    schema: 'stele.record/1',
    log: OLD,
    record_id: '0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f',
    source,
    time: { received: '2026-11-01T00:00:00.000000Z' },
  } as const;
  const standing = { log: NEXT, seq: 9, prev: 'B'.repeat(42).concat('A') };

  test('has another place, and says the same otherwise', () => {
    const beat = formatRecord({ ...common, kind: 'heartbeat', heartbeat: { seq: 4 } });
    expect(remade(beat, standing)).toEqual({
      ...common,
      kind: 'heartbeat',
      log: NEXT,
      source: { ...source, seq: 9, prev: standing.prev },
      heartbeat: { seq: 9 },
    });
    const gap = (seq_from: number, seq_to: number, of = 'gw') =>
      remade(
        formatRecord({
          ...common,
          kind: 'gap',
          gap: { reason: 'x', source: of, seq_from, seq_to },
        }),
        standing,
      );
    // A gap without missing numbers names its own; what others miss stays theirs.
    expect(gap(4, 4)).toMatchObject({ gap: { seq_from: 9, seq_to: 9 } });
    expect(gap(2, 3)).toMatchObject({ gap: { seq_from: 2, seq_to: 3 } });
    expect(gap(4, 4, 'other')).toMatchObject({ gap: { seq_from: 4, seq_to: 4 } });
    expect(formatRecord(gap(1, 1)).length).toBeGreaterThan(100);
  });
});

describe('fates', () => {
  const error = (code: Code) => new SteleError(code, code);
  const heard = (outcome: string | SteleError, more: Partial<Heard<string>> = {}) => ({
    outcome,
    unsure: false,
    isChained: true,
    isBehindLost: false,
    ...more,
  });
  const kinds = (all: readonly Heard<string>[], isPatient = () => false) =>
    fatesOf(all, isPatient).map(({ kind }: Fate<string>) => kind);

  test('of each code, alone', () => {
    const fates = Object.fromEntries(CODES.map((code) => [code, kinds([heard(error(code))])[0]]));
    expect(fates).toEqual({
      malformed: 'refused',
      unauthenticated: 'refused',
      forbidden: 'refused',
      not_found: 'refused',
      not_yet: 'again',
      conflict: 'refused',
      too_large: 'refused',
      unverified: 'refused',
      frozen: 'ended',
      pushback: 'again',
      storage: 'again',
      split_view: 'again',
    });
    expect(kinds([heard(new BadAnswer('x'))])).toEqual(['again']);
    for (const code of ['unauthenticated', 'forbidden', 'not_found'] as const) {
      expect(kinds([heard(error(code))], () => true)).toEqual(['again']);
    }
  });

  test('a refusal is believed only where nothing before it is open', () => {
    expect(kinds([heard(error('storage')), heard(error('malformed'))])).toEqual(['again', 'again']);
    expect(kinds([heard(error('malformed')), heard(error('storage'))])).toEqual([
      'refused',
      'again',
    ]);
    expect(kinds([heard(error('malformed'), { unsure: true })])).toEqual(['again']);
    expect(fatesOf([heard(error('malformed'), { unsure: true })], () => false)).toEqual([
      { kind: 'again', error: undefined },
    ]);
  });

  test('a conflict behind a lost number asks for another one, where the log minds holes', () => {
    const [lost, conflict] = [heard(error('unverified')), heard(error('conflict'))];
    expect(kinds([lost, conflict, conflict])).toEqual(['refused', 'renumber', 'renumber']);
    expect(kinds([heard(error('conflict'), { isBehindLost: true })])).toEqual(['renumber']);
    // It took one behind it: the conflict is about the statement.
    expect(kinds([lost, conflict, heard('logged')])).toEqual(['refused', 'refused', 'logged']);
    const aside = heard('logged', { isChained: false });
    expect(kinds([lost, conflict, aside])).toEqual(['refused', 'renumber', 'logged']);
    expect(kinds([heard(error('malformed'), { isChained: false }), conflict])).toEqual([
      'refused',
      'refused',
    ]);
  });
});

describe('the line', () => {
  const of = (bytes: number): Waiting => ({ ...waiting(annotation()), bytes });

  test('is bounded by statements and by bytes, and gives out what fits a round', async () => {
    const line = new Line({ statements: 3, bytes: 100 });
    line.add(of(10));
    line.add(of(95));
    expect(() => line.add(of(1))).toThrow('2 statements of 105 bytes wait already');
    const room = line.whenRoom();
    expect(line.take({ statements: 9, bytes: 50 })).toHaveLength(1);
    await room;
    expect(line.length).toBe(1);
    // One that is larger than a round goes alone.
    const [large] = line.take({ statements: 9, bytes: 50 });
    expect(large?.bytes).toBe(95);
    expect(line.take({ statements: 9, bytes: 50 })).toEqual([]);
  });

  test('takes back what got no number, in front', () => {
    const line = new Line({ statements: 9, bytes: 100 });
    const all = [of(1), of(2), of(3)];
    for (const one of all) line.add(one);
    line.putBack(line.take({ statements: 2, bytes: 100 }));
    expect(line.leave(all[1] as Waiting)).toBe(true);
    expect(line.leave(all[1] as Waiting)).toBe(false);
    expect(line.take({ statements: 9, bytes: 100 })).toEqual([all[0], all[2]]);
  });
});
