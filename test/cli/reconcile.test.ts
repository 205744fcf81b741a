/** Lists of calls: read in pieces of every size, compared in bounded memory, and refused with their line. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MATCHED, Match, REPEATED, SHARED } from '../../server/cli/reconcile/match.ts';
import { type Row, type RowsOptions, rowsOf } from '../../server/cli/reconcile/rows.ts';
import { Spill, SpillFolder } from '../../server/cli/reconcile/spill.ts';

const OPTIONS: RowsOptions = {
  form: 'csv',
  fields: ['id'],
  timeFields: ['at'],
  hasHeader: true,
  name: 'list',
};

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string | Uint8Array, options: Partial<RowsOptions> = {}, size = 7) {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const rows: Row[] = [];
  for await (const row of rowsOf(inPieces(bytes, size), { ...OPTIONS, ...options })) rows.push(row);
  return rows;
}

const idsOf = (rows: readonly Row[]) => rows.map(({ line, id }) => [line, id]);

describe('a list in CSV', () => {
  test('in pieces of every size says the same', async () => {
    const text =
      '\uFEFFwho,id,at\r\n"A, ""B""\r\nü",a,2026-05-01\r\n\r\n€,"b""c",2026-05-01T10:00:00+02:00\r\n,,\r\nlast,d,';
    const expected: Row[] = [
      { line: 2, id: 'a', timeMs: Date.UTC(2026, 4, 1) },
      { line: 5, id: 'b"c', timeMs: Date.UTC(2026, 4, 1, 8) },
      { line: 6, id: undefined, timeMs: undefined },
      { line: 7, id: 'd', timeMs: undefined },
    ];
    const { length } = Buffer.from(text);
    for (let size = 1; size <= length; size++) {
      expect(await read(text, {}, size), `pieces of ${size}`).toEqual(expected);
    }
  });

  test('with line ends of every kind, and without a header', async () => {
    for (const end of ['\n', '\r\n', '\r']) {
      for (const last of ['', end]) {
        const text = ['1,x', '2,y', '3,z'].join(end) + last;
        const rows = await read(text, { hasHeader: false, fields: ['2'] });
        expect(idsOf(rows)).toEqual([
          [1, 'x'],
          [2, 'y'],
          [3, 'z'],
        ]);
      }
    }
  });

  test('that a program writes is read as it was meant, whatever is in its cells', async () => {
    const cell = fc.string({ unit: 'grapheme' }).map((s) => s.replace(/^\uFEFF/, ''));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(cell, cell), { maxLength: 8 }), async (cells) => {
        const quoted = (s: string) => `"${s.replaceAll('"', '""')}"`;
        const lines = cells.map(([a, b]) => `${quoted(a)},${quoted(b)}`);
        const rows = await read(['x,id', ...lines].join('\n'), {}, 3);
        expect(rows.map(({ id }) => id)).toEqual(cells.map(([, b]) => b.trim() || undefined));
      }),
    );
  });

  test.for([
    ['text behind a quoted cell', 'id\n"a"b\n', 'list line 2: text behind a quoted cell'],
    ['a quote without an end', 'id\nx\n"a\n\n', 'list line 3: a quoted cell has no end'],
    ['no such column', 'a,b\n1,2\n', 'list: no column id; there are "a", "b"'],
    ['an id that no record has room for', `id\n${'x'.repeat(1_025)}`, 'at most 1024'],
    ['a time that is none', 'id,at\na,yesterday\n', 'list line 2: "yesterday" is no time'],
  ] as const)('refuses %s', async ([, text, rule]) => {
    await expect(read(text)).rejects.toThrow(rule);
  });

  test('refuses a column of times that it has not, where one was named', async () => {
    const named = { timeFields: ['when'], isTimeNamed: true };
    await expect(read('id,at\na,1\n', named)).rejects.toThrow(
      'no column when; there are "id", "at"',
    );
    expect(await read('id,at\na,1\n', { timeFields: ['when'] })).toHaveLength(1);
  });

  test('refuses what is not UTF-8', async () => {
    await expect(read(Uint8Array.of(0x69, 0x64, 0x0a, 0xff))).rejects.toThrow('it is not UTF-8');
  });
});

describe('a list in lines of JSON', () => {
  const json = { form: 'jsonl' } as const;

  test('has the id in a member, in a member of a member, or is it', async () => {
    const text =
      '{"id":"a","at":1790000000}\n\n{"body":{"id":"b"},"at":1790000000123}\n"c"\n{"id":7}';
    const rows = await read(text, { ...json, fields: ['id', 'body.id'] }, 5);
    expect(rows).toEqual([
      { line: 1, id: 'a', timeMs: 1_790_000_000_000 },
      { line: 3, id: 'b', timeMs: 1_790_000_000_123 },
      { line: 4, id: 'c', timeMs: undefined },
      { line: 5, id: '7', timeMs: undefined },
    ]);
  });

  test('a member of its prototype is none of its own', async () => {
    const rows = await read('{}', { ...json, fields: ['constructor', 'toString.name'] });
    expect(idsOf(rows)).toEqual([[1, undefined]]);
  });

  test('refuses an id that is neither text nor a number', async () => {
    await expect(read('{"id":["a"]}', json)).rejects.toThrow('list line 1: the id is neither');
  });
});

describe('two sides', () => {
  function folder() {
    const parent = mkdtempSync(join(tmpdir(), 'stele-reconcile-test-'));
    onTestFinished(() => rmSync(parent, { recursive: true }));
    return { parent, spills: new SpillFolder(parent) };
  }

  /** What is said of each row and record, by brute force. */
  function expected(rows: readonly string[], records: readonly (readonly string[])[]) {
    const of = (id: string) => records.flatMap((ids, i) => (ids.includes(id) ? [i] : []));
    const rowBits = rows.map((id, i) => {
      const before = rows.slice(0, i).filter((other) => other === id).length;
      const all = rows.filter((other) => other === id).length;
      const there = of(id).length;
      const isRepeated = all > there && before >= Math.max(1, there);
      return (there > 0 ? MATCHED : 0) | (isRepeated ? REPEATED : 0);
    });
    const recordBits = records.map((ids, i) =>
      ids.reduce((bits, id) => {
        const here = rows.filter((row) => row === id).length;
        const shared = here > 0 && here <= of(id).length && of(id).indexOf(i) >= here;
        return bits | (here > 0 ? MATCHED : 0) | (shared ? SHARED : 0);
      }, 0),
    );
    return { rowBits, recordBits };
  }

  test('are compared as by hand, with repetitions on either', () => {
    const id = fc.constantFrom('a', 'b', 'c', 'd', 'é');
    fc.assert(
      fc.property(
        fc.array(id, { maxLength: 8 }),
        fc.array(fc.uniqueArray(id, { maxLength: 3 }), { maxLength: 8 }),
        (rows, records) => {
          const match = new Match(new SpillFolder());
          for (const [i, row] of rows.entries()) match.row(i, row);
          for (const [i, ids] of records.entries()) match.record(i, new Set(ids));
          match.compare();
          const { rowBits, recordBits } = expected(rows, records);
          expect(rows.map((_, i) => match.ofRow(i))).toEqual(rowBits);
          expect(records.map((_, i) => match.ofRecord(i))).toEqual(recordBits);
          match.close();
        },
      ),
    );
  });

  test('larger than memory is meant to hold go through files that leave nothing behind', () => {
    const { parent, spills } = folder();
    const match = new Match(spills);
    const name = (n: number) => `call-${n}-${'x'.repeat(900)}`;
    const count = 60_000;
    for (let n = 0; n < count; n++) match.row(n, name(n));
    // Something was too much for memory.
    expect(readdirSync(parent)).toHaveLength(1);
    expect(readdirSync(join(parent, readdirSync(parent)[0] ?? ''))).toEqual([]);
    for (let n = 1; n < count; n += 2) match.record(n, new Set([name(n), `other-${n}`]));
    match.compare();
    for (let n = 0; n < count; n++) expect(match.ofRow(n)).toBe(n % 2 === 1 ? MATCHED : 0);
    match.close();
    spills.close();
    expect(readdirSync(parent)).toEqual([]);
  });

  test('a spill gives back what it was given, in order, wherever the pieces lie', () => {
    const { spills } = folder();
    const spill = new Spill(spills, 1_000);
    const pieces = Array.from({ length: 5_000 }, (_, i) => Buffer.alloc(i % 700, i % 251));
    for (const piece of pieces) spill.push(piece);
    let at = 0;
    for (const piece of spill.pieces()) {
      if (!pieces[at]?.equals(piece)) throw new Error(`piece ${at} is another`);
      at++;
    }
    expect(at).toBe(pieces.length);
    spill.close();
    spills.close();
  });
});
