/** Lists of calls: read in pieces of every size, compared in bounded memory, and refused with their line. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MATCHED, Match, REPEATED, SHARED } from '../../server/cli/reconcile/match.ts';
import { PRESETS, type Preset, type PresetName } from '../../server/cli/reconcile/presets.ts';
import { type Row, type RowsOptions, rowsOf } from '../../server/cli/reconcile/rows.ts';
import { Spill, SpillFolder } from '../../server/cli/reconcile/spill.ts';
import { timeOf } from '../../server/cli/reconcile/time.ts';

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

type Call = Omit<Row, 'isOther'>;

async function read(text: string | Uint8Array, options: Partial<RowsOptions> = {}, size = 7) {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const rows: Call[] = [];
  for await (const row of rowsOf(inPieces(bytes, size), { ...OPTIONS, ...options })) {
    const { isOther, ...call } = row;
    if (!isOther) rows.push(call);
  }
  return rows;
}

const idsOf = (rows: readonly Call[]) => rows.map(({ line, id }) => [line, id]);

describe('a list in CSV', () => {
  test('in pieces of every size says the same', async () => {
    const text =
      '\uFEFFwho,id,at\r\n"A, ""B""\r\nü",a,2026-05-01\r\n\r\n€,"b""c",2026-05-01T10:00:00+02:00\r\n,,\r\nlast,d,';
    const expected: Call[] = [
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
    ['a cell too many', 'id,at\na,,\nx,a,b\n', 'line 3: 3 columns, and the first row has 2'],
    ['two columns of one name', 'id,at,id\na,,b\n', 'list: two columns are "id"'],
    ['a time that is none', 'id,at\na,yesterday\n', 'list line 2: "yesterday" is no time'],
  ] as const)('refuses %s', async ([, text, rule]) => {
    await expect(read(text)).rejects.toThrow(rule);
  });

  test('has the delimiter by which its header has the column', async () => {
    const lists = ['who;id;at', 'who\tid\tat', 'who|id|at', '"who";"id";"at"', 'a,b;id;at'];
    for (const header of lists) {
      const delimiter = /;|\t|\|/.exec(header)?.[0] ?? '';
      const row = ['x, y', 'a', '2026-05-01'].join(delimiter);
      expect(idsOf(await read(`${header}\r\n${row}\r\n`)), header).toEqual([[2, 'a']]);
    }
    expect(idsOf(await read('x^id\n,^a\n', { delimiter: '^' }))).toEqual([[2, 'a']]);
  });

  test('has an id in the JSON of a column', async () => {
    const text = `when,answer\n2026-05-01,"{""body"":{""id"":""a""}}"\n2026-05-02,none\n`;
    expect(idsOf(await read(text, { fields: ['answer.body.id'] }))).toEqual([
      [2, 'a'],
      [3, undefined],
    ]);
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

describe('a list in JSON', () => {
  const json = { form: 'json' } as const;

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

  test('is a list, pages of lists, and values without lines, in pieces of every size', async () => {
    const rows = ['a', 'b"]}', 'c'].map((id) => ({ note: '[{\\"', body: [{}], id }));
    const ids = (found: readonly Call[]) => found.map(({ id }) => id);
    const texts = [
      JSON.stringify(rows),
      JSON.stringify(rows, null, 2),
      JSON.stringify({ object: 'list', data: rows, has_more: false }, null, 2),
      rows.map((row) => JSON.stringify({ data: [row], has_more: row !== rows[2] })).join('\n'),
      JSON.stringify([{ events: rows }]),
      JSON.stringify(rows.map(({ id }) => id)),
      rows.map((row) => JSON.stringify(row)).join(''),
      ` ${rows.map((row) => JSON.stringify(row)).join('\r\n\r\n')} `,
    ];
    for (const text of texts) {
      const { length } = Buffer.from(text);
      for (let size = 1; size <= length; size += size < 9 ? 1 : 41) {
        expect(ids(await read(text, json, size)), `${size} of ${text}`).toEqual(['a', 'b"]}', 'c']);
      }
    }
    // The line of an element is its own.
    expect(idsOf(await read('[\n{"id":"a"},\n\n{"id":"b"}\n]', json))).toEqual([
      [2, 'a'],
      [4, 'b'],
    ]);
  });

  test('a row with a list in it is a row', async () => {
    expect(idsOf(await read('{"id":"a","data":[{"id":"b"}]}', json))).toEqual([[1, 'a']]);
  });

  test('has an id in a string that holds an object', async () => {
    const text = JSON.stringify({ message: JSON.stringify({ requestId: 'a' }) });
    expect(idsOf(await read(text, { ...json, fields: ['message.requestId'] }))).toEqual([[1, 'a']]);
  });

  test.for([
    ['an id that is neither text nor a number', '{"id":["a"]}', 'list line 1: the id is neither'],
    ['a number that is not exact', '{"id":90071992547409931}', 'line 1: the id is a number'],
    ['an object cut off', '{"id":"a"}\n{"id":\n', 'list line 2: what begins here has no end'],
    ['a text cut off', '"a"\n"b', 'list line 2: what begins here has no end'],
    ['a list cut off', '[{"id":"a"},\n{"id":"b"}', 'list line 1: the list has no end'],
    ['what is no JSON', '{"id":"a"}\nid: b\n', 'list line 2: it is not JSON'],
    ['brackets that do not meet', '{"id":"a"]', 'list line 1: it is not JSON'],
    [
      'the first page of several',
      '{"object":"list","data":[{"id":"a"}],"has_more":true}',
      'line 1: a page says that there are more',
    ],
  ] as const)('refuses %s', async ([, text, rule]) => {
    for (const size of [1, 7, 4_096]) await expect(read(text, json, size)).rejects.toThrow(rule);
  });

  test('is read a row at a time, however many there are', async () => {
    const row = Buffer.from(`{"id":"a","filler":"${'x'.repeat(100_000)}"},`);
    const count = 2_000;
    async function* list() {
      yield Buffer.from('[');
      for (let n = 0; n < count; n++) yield row;
      yield Buffer.from('"last"]');
    }
    let rows = 0;
    let most = 0;
    for await (const { id } of rowsOf(list(), { ...OPTIONS, ...json })) {
      rows++;
      if (rows % 200 === 0) most = Math.max(most, process.memoryUsage().heapUsed);
      if (id !== 'a') expect(id).toBe('last');
    }
    expect(rows).toBe(count + 1);
    // All of it would be 200 MB.
    expect(most).toBeLessThan(150_000_000);
  });
});

describe('a packed list', () => {
  test('is unpacked, whatever its name is, also several in one', async () => {
    const packed = Buffer.concat([gzipSync('id\na\n'), gzipSync('b\n')]);
    for (let size = 1; size <= packed.length; size++) {
      expect(idsOf(await read(packed, {}, size))).toEqual([
        [2, 'a'],
        [3, 'b'],
      ]);
    }
  });

  test('that is cut off, damaged or followed by something else is refused', async () => {
    const packed = gzipSync('id\na\n');
    const damaged = Buffer.from(packed);
    damaged.writeUInt8(damaged.readUInt8(packed.length - 6) ^ 1, packed.length - 6);
    for (const bytes of [
      packed.subarray(0, -9),
      damaged,
      Buffer.concat([packed, packed, Buffer.from('c\n')]),
    ]) {
      await expect(read(bytes)).rejects.toThrow('list: its gzip cannot be read to the end');
    }
  });

  test.for([
    ['504b0304', 'a ZIP archive or a spreadsheet'],
    ['50415231', 'Parquet'],
    ['fffe6900', 'UTF-16'],
    ['28b52ffd', 'packed with Zstandard'],
  ] as const)('in another format is named: %s is %s', async ([first, what]) => {
    const bytes = Buffer.concat([Buffer.from(first, 'hex'), Buffer.from('rest')]);
    await expect(read(bytes, {}, 1)).rejects.toThrow(`list: it is ${what}`);
  });
});

describe('a time', () => {
  test.for([
    ['2026-05-01', '2026-05-01T00:00:00.000Z'],
    ['2026-05-01T10:00:00.1234567Z', '2026-05-01T10:00:00.123Z'],
    ['2026-05-01 10:00:00', '2026-05-01T10:00:00.000Z'],
    ['2026-05-01 10:00:00.5 UTC', '2026-05-01T10:00:00.500Z'],
    ['2026-05-01t10:00:00+0200', '2026-05-01T08:00:00.000Z'],
    ['2026-05-01 10:00:00.25-07', '2026-05-01T17:00:00.250Z'],
    ['5/1/2026, 12:05:06.789 AM', '2026-05-01T00:05:06.789Z'],
    ['12/31/2026, 12:05:06.789 PM', '2026-12-31T12:05:06.789Z'],
    ['1777629600', '2026-05-01T10:00:00.000Z'],
    ['1777629600.25', '2026-05-01T10:00:00.250Z'],
    ['1777629600123', '2026-05-01T10:00:00.123Z'],
    ['1777629600123456', '2026-05-01T10:00:00.123Z'],
    ['1777629600123456789', '2026-05-01T10:00:00.123Z'],
  ] as const)('may be %s', ([text, expected]) => {
    expect(new Date(timeOf(text, 'x') ?? 0).toISOString()).toBe(expected);
  });

  test.for([
    '2026-02-30',
    '2026-05-01T25:00Z',
    '31/12/2026, 1:00:00.000 AM',
    '5/1/2026',
    '12/31/2026, 13:00:00.000 AM',
    'now',
    '0',
  ])('is not %s', (text) => {
    expect(() => timeOf(text, 'list line 1')).toThrow(`list line 1: ${JSON.stringify(text)} is no`);
  });
});

/** Written by hand in the published shape; operating.md says where each is published. */
describe('lists of', () => {
  const optionsOf = (name: PresetName, form: RowsOptions['form']): Partial<RowsOptions> => {
    const { fields, timeFields, kind }: Preset = PRESETS[name];
    return { form, fields, timeFields, ...(kind === undefined ? {} : { kind }) };
  };
  const at = (time: string) => Date.parse(time);

  test('OpenAI: stored completions, in pages', async () => {
    const completion = (id: string) => ({
      ...{ id, object: 'chat.completion', created: 1_777_629_600, model: 'gpt-4o-2024-08-06' },
      ...{ request_id: 'req_1', choices: [{ index: 0, message: { content: 'hi' } }], metadata: {} },
    });
    const page = (ids: readonly string[], more: boolean) => ({
      ...{ object: 'list', data: ids.map(completion) },
      ...{ first_id: ids[0], last_id: ids.at(-1), has_more: more },
    });
    const pages = [page(['chatcmpl-1', 'chatcmpl-2'], true), page(['chatcmpl-3'], false)];
    const text = pages.map((one) => JSON.stringify(one, null, 2)).join('\n');
    const rows = await read(text, optionsOf('openai', 'json'));
    expect(rows.map(({ id }) => id)).toEqual(['chatcmpl-1', 'chatcmpl-2', 'chatcmpl-3']);
    expect(rows[0]?.timeMs).toBe(at('2026-05-01T10:00:00Z'));
  });

  const azure = {
    ...{ time: '2026-05-01T10:00:00.1230000Z', resourceId: '/SUBSCRIPTIONS/1', tenant: 'eastus' },
    ...{ operationName: 'ChatCompletions_Create', category: 'RequestResponse' },
    ...{ resultSignature: '200', durationMs: 84, event: 'ShoeboxCallResult', location: 'eastus' },
    correlationId: 'c-1',
    properties: JSON.stringify({ modelDeploymentName: 'gpt', streamType: 'Non-Streaming' }),
  };

  test('Azure: diagnostic logs of a storage account', async () => {
    const lines = [azure, { ...azure, category: 'Audit', correlationId: 'c-2' }, azure];
    const text = lines.map((line) => JSON.stringify(line)).join('\r\n');
    expect(await read(text, optionsOf('azure', 'json'))).toEqual([
      { line: 1, id: 'c-1', timeMs: at('2026-05-01T10:00:00.123Z') },
      { line: 3, id: 'c-1', timeMs: at('2026-05-01T10:00:00.123Z') },
    ]);
    expect(PRESETS.azure.isOneCallPerId).toBe(true);
  });

  test('Azure: an export of Log Analytics', async () => {
    const text =
      '\uFEFFTenantId,"TimeGenerated [UTC]",Category,OperationName,CorrelationId,"properties_s"\r\n' +
      't,"5/1/2026, 10:00:00.123 AM",RequestResponse,ChatCompletions_Create,c-1,"{""a"":1}"\r\n' +
      't,"5/1/2026, 10:00:00.200 AM",AzureOpenAIRequestUsage,,c-1,"{""a"":1}"\r\n';
    expect(await read(text, optionsOf('azure', 'csv'))).toEqual([
      { line: 2, id: 'c-1', timeMs: at('2026-05-01T10:00:00.123Z') },
    ]);
  });

  const bedrock = {
    ...{ schemaType: 'ModelInvocationLog', schemaVersion: '1.0', accountId: '1' },
    ...{ timestamp: '2026-05-01T10:00:00Z', region: 'us-east-1', requestId: 'amzn-1' },
    ...{ operation: 'Converse', modelId: 'us.amazon.nova-lite-v1:0' },
    input: { inputContentType: 'application/json', inputBodyJson: {}, inputTokenCount: 3 },
    output: { outputContentType: 'application/json', outputBodyJson: {}, outputTokenCount: 1 },
  };

  test('Bedrock: invocation logs, packed as S3 has them, and as CloudWatch answers', async () => {
    const packed = gzipSync(`${JSON.stringify(bedrock)}\n`);
    const expected = { id: 'amzn-1', timeMs: at('2026-05-01T10:00:00Z') };
    expect(await read(Buffer.concat([packed, packed]), optionsOf('bedrock', 'json'))).toEqual([
      { line: 1, ...expected },
      { line: 2, ...expected },
    ]);
    const events = [
      { timestamp: 1_777_629_600_000, message: JSON.stringify(bedrock), eventId: '1' },
      { timestamp: 1_777_629_600_000, message: '{"schemaType":"Other","requestId":"x"}' },
    ];
    const answer = JSON.stringify({ events, searchedLogStreams: [] }, null, 4);
    expect(await read(answer, optionsOf('bedrock', 'json'))).toEqual([{ line: 1, ...expected }]);
  });

  test('Vertex: rows of the table of requests and responses', async () => {
    const response = { candidates: [], usageMetadata: {}, responseId: 'r-1' };
    const row = { logging_time: '2026-05-01 10:00:00.123456 UTC', request_id: '71', model: 'm' };
    const expected = { id: 'r-1', timeMs: at('2026-05-01T10:00:00.123Z') };
    for (const full_response of [response, JSON.stringify(response)]) {
      const text = JSON.stringify({ ...row, full_response });
      expect(await read(text, optionsOf('vertex', 'json'))).toEqual([{ line: 1, ...expected }]);
    }
    const cell = JSON.stringify(response).replaceAll('"', '""');
    const csv = `logging_time,request_id,full_response\n${row.logging_time},71,"${cell}"\n`;
    expect(await read(csv, optionsOf('vertex', 'csv'))).toEqual([{ line: 2, ...expected }]);
  });

  test('LiteLLM: spend logs', async () => {
    const row = { call_type: 'acompletion', spend: 0.1, model: 'gpt-4o', metadata: {} };
    const text = JSON.stringify([
      { ...row, request_id: 'chatcmpl-1', startTime: '2026-05-01T10:00:00.123000Z' },
      { ...row, request_id: 'chatcmpl-2', startTime: '2026-05-01T10:00:00.123000+00:00' },
    ]);
    const timeMs = at('2026-05-01T10:00:00.123Z');
    expect(await read(text, optionsOf('litellm', 'json'))).toEqual([
      { line: 1, id: 'chatcmpl-1', timeMs },
      { line: 1, id: 'chatcmpl-2', timeMs },
    ]);
  });

  const sums: Record<string, [PresetName, RowsOptions['form'], string]> = {
    'OpenAI, the usage API': [
      ...(['openai', 'json'] as const),
      JSON.stringify({
        ...{ object: 'page', has_more: false, next_page: null },
        data: [
          {
            ...{ object: 'bucket', start_time: 1_777_593_600, end_time: 1_777_680_000 },
            results: [{ object: 'organization.usage.completions.result', num_model_requests: 5 }],
          },
        ],
      }),
    ],
    'OpenAI, the dashboard': [
      ...(['openai', 'csv'] as const),
      'start_time,end_time,project_id,num_model_requests,model,input_tokens\n1,2,p,5,gpt-4o,9\n',
    ],
    'Anthropic, the usage API': [
      ...(['anthropic', 'json'] as const),
      JSON.stringify({
        data: [{ starting_at: '2026-05-01T00:00:00Z', results: [{ uncached_input_tokens: 9 }] }],
        has_more: false,
      }),
    ],
    'Anthropic, the console': [
      ...(['anthropic', 'csv'] as const),
      'usage_date_utc,model_version,api_key,usage_input_tokens_no_cache,usage_output_tokens\n',
    ],
    'LiteLLM, by day': [
      ...(['litellm', 'json'] as const),
      '[{"startTime":"2026-05-01","spend":1.5,"users":{},"models":{"gpt-4o":1.5}}]',
    ],
  };
  test.for(Object.entries(sums))('sums are refused: %s', async ([, [name, form, text]]) => {
    await expect(read(text, optionsOf(name, form))).rejects.toThrow('these are sums of calls');
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
