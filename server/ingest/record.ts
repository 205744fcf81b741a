/**
 * What does the record of a call say that somebody else reported?
 *
 * The same eight groups as the proxy's, with provenance `reported` or `imported`: the numbers and labels as they were reported,
 * content as commitments, and beside them the whole report as it came, so that nothing that has no place in a
 * record is lost. What was said to be cut off, or is seen to be missing, makes the record `truncated`.
 */
import { sha256, toBase64url, utf8 } from '../core/bytes.ts';
import { canonicalize } from '../core/canonical.ts';
import type { Json } from '../core/json.ts';
import { RECORD_LIST_MAX } from '../core/limits.ts';
import type { AnnotationRecord, GapRecord, InferenceRecord } from '../core/record.ts';
import { timestampUs } from '../proxy/clock.ts';
import { Committed } from '../proxy/committed.ts';
import type { AnswerFacts, Reported } from './reported.ts';

/** Where a record stands in its source, and who makes it. */
export interface Standing {
  readonly log: string;
  readonly recordId: string;
  readonly source: string;
  readonly instance: string;
  readonly seq: number;
  readonly prev: string | null;
  readonly software: string;
  readonly retentionClass: string;
  readonly receivedUs: number;
  readonly provenance: 'reported' | 'imported';
  readonly random: (bytes: number) => Uint8Array;
}

export interface Built<R> {
  readonly record: R;
  readonly disclosures: readonly string[];
  readonly content: readonly { readonly field: string; readonly bytes: Uint8Array }[];
}

/** Tool calls whose arguments get a commitment of their own, beside that to the whole answer. */
const TOOL_ARGS_MAX = 24;

/** The latest time that a record can spell. */
const YEAR_10000_US = 253_402_300_800_000_000;

/** The record of a call. With `isShort`, without the lists that could make it larger than an entry may be. */
export function buildReported(
  reported: Reported,
  report: Uint8Array,
  standing: Standing,
  isShort = false,
): Built<InferenceRecord> {
  const { request, answer, outcome, format, ids } = reported;
  const committed = new Committed(standing.random);
  const inputBytes = commitRequest(committed, reported);
  const outputBytes = commitAnswer(committed, answer);
  committed.value('response.error', reported.error);
  committed.value('principal.id', reported.principal);
  committed.value('on_behalf_of', reported.onBehalfOf);
  commitReport(committed, 'report.body', report);
  const output = answer && outputOf(reported, answer, outputBytes, committed, isShort);
  const missing = missingOf(reported, isShort);
  const begin = clamped(reported.beginUs || standing.receivedUs);
  const end = Math.max(begin, clamped(reported.endUs || standing.receivedUs));
  // Without the time of its beginning a call has one that is not the reporter's, and nothing else is said beside it.
  const firstByte =
    reported.firstByteUs !== undefined &&
    reported.firstByteUs >= begin &&
    reported.firstByteUs <= end
      ? reported.firstByteUs
      : undefined;
  const usage = answer?.usage;
  const record: InferenceRecord = {
    schema: 'stele.record/1',
    kind: 'inference',
    log: standing.log,
    record_id: standing.recordId,
    source: {
      ...sourceOf(standing, reported.reporter),
      ...completenessOf(reported, missing, standing),
    },
    time: {
      received: timestampUs(begin),
      completed: timestampUs(end),
      // How the clock is kept that gave these times, nobody said.
      clock: { source: 'reported' },
      ...(firstByte === undefined ? {} : { upstream_first_byte: timestampUs(clamped(firstByte)) }),
    },
    ids: known({
      gateway_request: ids.gatewayRequest ?? standing.recordId,
      attempt: 1,
      trace: ids.trace,
      span: ids.span,
      conversation: ids.conversation,
      previous_response: request.previousResponse,
      response: answer?.id,
    }),
    // Who called is what the reporter says; the token that it came by is the reporter's.
    auth: {
      tenant: 'default',
      method: 'reported',
      principal_type: reported.principal === undefined ? 'unknown' : 'user',
    },
    input: known({
      format,
      context: request.context,
      bytes_class: bitLength(inputBytes),
      messages: request.messages,
      tools: request.tools,
      attachments: request.attachments,
      prompt_name: reported.promptName,
      prompt_version: reported.promptVersion,
    }),
    model: known({
      provider: reported.provider,
      operation: reported.operation,
      requested: request.model,
      served: answer?.served,
      system_fingerprint: answer?.systemFingerprint,
      service_tier: answer?.serviceTier,
      endpoint: reported.endpoint,
      api_version: reported.apiVersion,
      params: request.params,
    }),
    policy: { events: [] },
    ...(output === undefined ? {} : { output }),
    metrics: known({
      duration_us: end - begin,
      usage_source: usage === undefined ? ('none' as const) : ('provider' as const),
      ttfb_us:
        firstByte === undefined || answer === undefined ? undefined : clamped(firstByte) - begin,
      input_tokens: usage?.inputTokens,
      output_tokens: usage?.outputTokens,
      cache_read_input_tokens: usage?.cacheReadInputTokens,
      cache_write_input_tokens: usage?.cacheWriteInputTokens,
      reasoning_output_tokens: usage?.reasoningOutputTokens,
      cost_nano_usd: reported.costNanoUsd,
    }),
    outcome,
    commitments: { alg: 'sha-256', form: 'sd-disclosure/1', fields: committed.fields },
    retention: { class: standing.retentionClass },
  };
  return { record, disclosures: committed.disclosures, content: committed.content };
}

/** What came too late for the call's own record: a later word about it, with the whole report. */
export function buildLate(
  record: string,
  reporter: string,
  report: Uint8Array,
  standing: Standing,
): Built<AnnotationRecord> {
  const committed = new Committed(standing.random);
  const target = commitReport(committed, 'annotation.target', report, false);
  return {
    record: {
      schema: 'stele.record/1',
      kind: 'annotation',
      log: standing.log,
      record_id: standing.recordId,
      source: {
        ...sourceOf(standing, reporter),
        provenance: standing.provenance,
        completeness: 'full',
      },
      time: { received: timestampUs(clamped(standing.receivedUs)) },
      annotation: known({
        records: [record],
        source: standing.source,
        type: 'late-report',
        role: 'submit',
        target_commit: target,
      }),
    },
    disclosures: committed.disclosures,
    content: committed.content,
  };
}

/** A number of the server's own source that will never come: the log refused its record. */
export function buildGap(seq: number, standing: Standing): GapRecord {
  const { source, receivedUs, software } = standing;
  return {
    schema: 'stele.record/1',
    kind: 'gap',
    log: standing.log,
    record_id: standing.recordId,
    source: {
      ...sourceOf(standing, ''),
      software,
      provenance: 'observed',
      completeness: 'full',
    },
    time: { received: timestampUs(receivedUs) },
    gap: { reason: 'refused', source, seq_from: seq, seq_to: seq, count: 1 },
  };
}

function sourceOf({ source, instance, seq, prev, software }: Standing, reporter: string) {
  return { id: source, instance, seq, prev, software: `${reporter} by ${software}` };
}

function completenessOf(
  { request, answer }: Reported,
  missing: readonly string[],
  { provenance }: Standing,
): Pick<InferenceRecord['source'], 'provenance' | 'completeness' | 'truncated_fields'> {
  const hasContent = request.normalized !== undefined || answer?.normalized !== undefined;
  const isFull = missing.length === 0;
  // Without any content all that is missing is that, unless the reporter says more.
  const isBare = !hasContent && missing.every((field) => CONTENT.has(field));
  return {
    provenance,
    completeness: isBare ? 'metadata-only' : isFull ? 'full' : 'truncated',
    ...(isBare || isFull ? {} : { truncated_fields: missing.slice(0, RECORD_LIST_MAX) }),
  };
}

const CONTENT: ReadonlySet<string> = new Set(['request.messages', 'response.messages']);

/** What the reporter says is missing, and what a whole report would have. */
function missingOf({ request, answer, outcome, operation, truncated }: Reported, isShort: boolean) {
  const missing = new Set(truncated);
  if (request.normalized === undefined) missing.add('request.messages');
  const hasAnswer = answer?.normalized !== undefined;
  if (!hasAnswer && outcome.status === 'ok' && !/embedding/.test(operation)) {
    missing.add('response.messages');
  }
  if (isShort) missing.add('output.lists');
  return [...missing];
}

/** Returns the bytes of the input that is committed to. */
function commitRequest(committed: Committed, { request }: Reported): number {
  committed.value('request.messages', request.normalized);
  committed.value('request.system', request.system);
  committed.value('request.tools', request.toolDefinitions);
  committed.value('request.stop', request.stop);
  return bytesOf(request.normalized);
}

function commitAnswer(committed: Committed, answer: AnswerFacts | undefined): number {
  committed.value('response.messages', answer?.normalized);
  committed.value('response.reasoning', answer?.reasoning);
  return bytesOf(answer?.normalized);
}

/** As a body, however short: who reads it later gets the bytes as they were reported. */
function commitReport(
  committed: Committed,
  field: string,
  report: Uint8Array,
  isField = true,
): string | undefined {
  committed.content.push({ field, bytes: report });
  const described = {
    bytes: report.length,
    media_type: 'application/json',
    sha256: toBase64url(sha256(report)),
  };
  return committed.value(field, described, isField);
}

function outputOf(
  { format }: Reported,
  answer: AnswerFacts,
  bytes: number,
  committed: Committed,
  isShort: boolean,
): NonNullable<InferenceRecord['output']> {
  const { finishReasons, refused, choices, toolCalls } = answer;
  return known({
    format,
    refused,
    finish_reasons: isShort ? [] : listOf('output.finish_reasons', finishReasons, committed),
    choices,
    bytes_class: bytes === 0 ? undefined : bitLength(bytes),
    tool_calls: isShort ? undefined : toolCallsOf(toolCalls, committed),
  });
}

function toolCallsOf(calls: AnswerFacts['toolCalls'], committed: Committed) {
  if (calls.length === 0) return undefined;
  if (calls.length > RECORD_LIST_MAX) {
    return listOf(
      'output.tool_calls',
      calls.map((call) => ({ ...call })),
      committed,
    );
  }
  return calls.map((call, i) =>
    known({
      name: call.name ?? 'unnamed',
      id: call.id,
      args_commit:
        i < TOOL_ARGS_MAX
          ? committed.value(`tool_calls.${i}.args`, call.arguments, false)
          : undefined,
    }),
  );
}

/** A list, or its count and a commitment to all of it where it is too long for a record. */
function listOf<T extends Json>(name: string, items: readonly T[], committed: Committed) {
  if (items.length <= RECORD_LIST_MAX) return items;
  const commit = committed.value(name, items, false);
  return commit === undefined ? [] : { count: items.length, commit };
}

function bytesOf(value: Json | undefined): number {
  return value === undefined ? 0 : utf8(canonicalize(value)).length;
}

/** Bits that a byte count needs. */
function bitLength(n: number): number {
  return n === 0 ? 0 : Math.floor(Math.log2(n)) + 1;
}

function clamped(us: number): number {
  return Math.min(Math.max(0, Math.floor(us)), YEAR_10000_US - 1);
}

type Known<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Without the members that are not known: absent, never null. */
function known<T extends object>(members: T): Known<T> {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined),
  ) as Known<T>;
}
