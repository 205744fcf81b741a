/** Usage reports beside records, by day and model: written by hand in the shape that is published. */
import { describe, expect, test } from 'vitest';
import { FAILS, HOLDS, UNKNOWN } from '../../server/cli/exit.ts';
import { parseCondition } from '../../server/cli/reconcile/records.ts';
import { compareSums, type SumsOptions } from '../../server/cli/reconcile/sums.ts';
import { sumsOf, USAGE_PRESETS, type UsageName } from '../../server/cli/reconcile/usage.ts';
import { encodeEntry } from '../../server/core/entry.ts';
import { formatRecord, type InferenceRecord, RECORD_TYPE } from '../../server/core/record.ts';
import { inferenceRecord } from '../verify/make.ts';

interface Call {
  readonly at: string;
  readonly model?: string;
  readonly tokens?: readonly [input: number, output: number];
  readonly status?: number;
  readonly provider?: string;
}

function recordOf({ at, model = 'gpt-4o-2024-08-06', tokens, status = 200, provider }: Call) {
  const record = inferenceRecord('log.example/1');
  return {
    ...record,
    time: { ...record.time, received: at, completed: at },
    model: { provider: provider ?? 'openai', operation: 'chat', served: model },
    metrics: {
      duration_us: 1,
      usage_source: tokens === undefined ? 'none' : 'provider',
      ...(tokens === undefined ? {} : { input_tokens: tokens[0], output_tokens: tokens[1] }),
    },
    outcome: { status: status === 200 ? 'ok' : 'upstream-error', http_status: status },
  } satisfies InferenceRecord;
}

async function* feedOf(records: readonly InferenceRecord[]) {
  for (const [index, record] of records.entries()) {
    const payload = formatRecord(record);
    const signatures = [{ keyid: 'a'.repeat(64), sig: new Uint8Array(64) }];
    yield {
      index,
      entry: encodeEntry({ payloadType: RECORD_TYPE, payload, signatures }),
      text: '',
    };
  }
}

async function* once(text: string) {
  yield Buffer.from(text);
}

const ALL = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };

function compare(
  text: string,
  records: readonly InferenceRecord[],
  more: Partial<SumsOptions> & { readonly preset?: UsageName; readonly form?: 'csv' | 'json' } = {},
) {
  const { preset = 'openai-usage', form = 'json', ...rest } = more;
  const usage = USAGE_PRESETS[preset];
  return compareSums({
    sums: sumsOf(once(text), { form, preset: usage, name: 'list' }),
    logs: [{ log: 'default', feed: feedOf(records) }],
    only: usage.only.map(parseCondition),
    period: ALL,
    name: 'list',
    progress: () => {},
    ...rest,
  });
}

const DAY = 86_400;
const MAY_1 = Date.UTC(2026, 4, 1) / 1_000;

const bucket = (start: number, width: number, ...results: readonly object[]) => ({
  ...{ object: 'bucket', start_time: start, end_time: start + width },
  results: results.map((one) => ({ object: 'organization.usage.completions.result', ...one })),
});
const result = (model: string | null, calls: number, input: number, output: number) => ({
  ...{ input_tokens: input, output_tokens: output, num_model_requests: calls, project_id: null },
  ...{ input_cached_tokens: 0, model, batch: null },
});
const page = (...data: readonly object[]) =>
  JSON.stringify({ object: 'page', data, has_more: false, next_page: null }, null, 2);

const MODEL = 'gpt-4o-2024-08-06';
const two = [
  recordOf({ at: '2026-05-01T10:00:00.000000Z', tokens: [14, 7] }),
  recordOf({ at: '2026-05-01T23:59:59.999999Z', tokens: [10, 1] }),
];

describe('OpenAI’s report', () => {
  test('holds where the sums are the same, by the day, the hour or the minute', async () => {
    const day = page(bucket(MAY_1, DAY, result(MODEL, 2, 24, 8)), bucket(MAY_1 + DAY, DAY));
    const hours = page(
      bucket(MAY_1 + 36_000, 3_600, result(MODEL, 1, 14, 7)),
      bucket(MAY_1 + 82_800, 3_600, result(MODEL, 1, 10, 1)),
    );
    for (const [text, days] of [
      [day, 2],
      [hours, 1],
    ] as const) {
      expect(await compare(text, two)).toMatchObject({
        ...{ verdict: HOLDS, days, differences: [], calls_without_tokens: 0 },
        list: { calls: 2, input_tokens: 24, output_tokens: 8 },
        log: { calls: 2, input_tokens: 24, output_tokens: 8 },
      });
    }
  });

  test('names the day, the model and the count where they are not', async () => {
    const text = page(
      bucket(MAY_1, DAY, result(MODEL, 3, 24, 8), result('o3', 1, 5, 5)),
      bucket(MAY_1 + DAY, DAY),
    );
    const late = recordOf({ at: '2026-05-02T00:00:00.000000Z', tokens: [1, 1] });
    const compared = await compare(text, [...two, late]);
    expect(compared.verdict).toBe(FAILS);
    expect(
      compared.differences.map(({ day, model, measure, list, log }) =>
        [day, model, measure, list, log].join(' '),
      ),
    ).toEqual([
      `2026-05-01 ${MODEL} calls 3 2`,
      '2026-05-01 o3 calls 1 0',
      '2026-05-01 o3 input_tokens 5 0',
      '2026-05-01 o3 output_tokens 5 0',
      `2026-05-02 ${MODEL} calls 0 1`,
      `2026-05-02 ${MODEL} input_tokens 0 1`,
      `2026-05-02 ${MODEL} output_tokens 0 1`,
    ]);
  });

  test('is of its own days, of answered calls, and of its provider', async () => {
    const text = page(bucket(MAY_1, DAY, result(MODEL, 2, 24, 8)));
    const others = [
      recordOf({ at: '2026-04-30T23:59:59.999999Z', tokens: [1, 1] }),
      recordOf({ at: '2026-05-02T00:00:00.000000Z', tokens: [1, 1] }),
      recordOf({ at: '2026-05-01T10:00:00.000000Z', status: 429 }),
      recordOf({ at: '2026-05-01T10:00:00.000000Z', provider: 'gpt' }),
    ];
    expect(await compare(text, [...others, ...two])).toMatchObject({
      ...{ verdict: HOLDS, records_not_asked: 1, other_providers: ['gpt'] },
    });
  });

  test('cannot be told where answers said nothing of tokens, unless the log has more', async () => {
    const without = recordOf({ at: '2026-05-01T11:00:00.000000Z' });
    const more = page(bucket(MAY_1, DAY, result(MODEL, 3, 30, 9)));
    expect(await compare(more, [...two, without])).toMatchObject({
      ...{ verdict: UNKNOWN, differences: [], calls_without_tokens: 1 },
    });
    const less = page(bucket(MAY_1, DAY, result(MODEL, 3, 20, 9)));
    expect(await compare(less, [...two, without])).toMatchObject({
      ...{ verdict: FAILS, differences: [{ measure: 'input_tokens', list: 20, log: 24 }] },
    });
  });

  test('as the dashboard exports it, with rows for each key and none of empty buckets', async () => {
    const text =
      'start_time,end_time,start_time_iso,end_time_iso,num_model_requests,model,input_tokens,output_tokens\r\n' +
      `${MAY_1},${MAY_1 + 60},2026-05-01T00:00:00+00:00,2026-05-01T00:01:00+00:00,,,,\r\n` +
      `${MAY_1 + 60},${MAY_1 + 120},x,x,1.0,${MODEL},14,7\r\n` +
      `${MAY_1 + 60},${MAY_1 + 120},x,x,1.0,${MODEL},10,1\r\n`;
    expect((await compare(text, two, { form: 'csv' })).verdict).toBe(HOLDS);
  });

  test('is of whole days of a period', async () => {
    const text = page(
      bucket(MAY_1, DAY, result(MODEL, 2, 24, 8)),
      bucket(MAY_1 + DAY, DAY, result(MODEL, 9, 9, 9)),
    );
    const period = { from: MAY_1 * 1_000, to: (MAY_1 + DAY) * 1_000 };
    expect(await compare(text, two, { period })).toMatchObject({ verdict: HOLDS, days: 1 });
    const hour = { ...period, from: period.from + 3_600_000 };
    await expect(compare(text, two, { period: hour })).rejects.toThrow('by days in UTC');
    const other = { from: 0, to: 86_400_000 };
    await expect(compare(text, two, { period: other })).rejects.toThrow('no sum of the period');
  });

  test.for([
    ['a sum over all models', page(bucket(MAY_1, DAY, result(null, 1, 1, 1))), 'grouped by model'],
    ['more than a day', page(bucket(MAY_1, 2 * DAY)), 'is no day in UTC'],
    ['a day elsewhere', page(bucket(MAY_1 - 7_200, DAY)), 'is no day in UTC'],
    [
      'what is no count',
      page(bucket(MAY_1, DAY, { ...result(MODEL, 1, -1, 1) })),
      '"-1" is no count',
    ],
    ['what is no report', '{"id":"chatcmpl-1"}', 'list line 1: it is no bucket of a usage report'],
    ['some of its pages', '{"object":"page","data":[],"has_more":true}', 'there are more'],
  ] as const)('with %s is refused', async ([, text, rule]) => {
    await expect(compare(text, two)).rejects.toThrow(rule);
  });
});

describe('Anthropic’s report', () => {
  const model = 'claude-sonnet-4-20250514';
  const records = [
    recordOf({ at: '2026-05-01T10:00:00.000000Z', provider: 'anthropic', model, tokens: [30, 7] }),
  ];

  test('counts no calls, and input with what caches read and wrote', async () => {
    const text = JSON.stringify({
      data: [
        {
          ...{ starting_at: '2026-05-01T00:00:00Z', ending_at: '2026-05-02T00:00:00Z' },
          results: [
            {
              ...{ uncached_input_tokens: 10, cache_read_input_tokens: 5, output_tokens: 7, model },
              cache_creation: { ephemeral_1h_input_tokens: 9, ephemeral_5m_input_tokens: 6 },
              server_tool_use: { web_search_requests: 0 },
            },
          ],
        },
      ],
      ...{ has_more: false, next_page: null },
    });
    const compared = await compare(text, records, { preset: 'anthropic-usage' });
    expect(compared).toMatchObject({
      ...{ verdict: HOLDS, list: { input_tokens: 30, output_tokens: 7 }, log: { calls: 1 } },
    });
    expect(compared.list).not.toHaveProperty('calls');
  });

  test('may be what the console exports', async () => {
    const text =
      'usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,' +
      'usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,' +
      'usage_output_tokens,web_search_count,inference_geo,speed\n' +
      `2026-05-01,${model},key,Default,standard,≤ 200k,10,6,9,5,7,0,global,\n`;
    const more = { preset: 'anthropic-usage', form: 'csv' } as const;
    expect(await compare(text, records, more)).toMatchObject({ verdict: HOLDS, days: 1 });
  });
});
