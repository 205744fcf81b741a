/**
 * How is a refusal said to a client that speaks OTLP? As a `google.rpc.Status` in the form that the request had.
 *
 * SPEC: "The response body for all HTTP 4xx and HTTP 5xx responses MUST be a Protobuf-encoded Status message".
 * Only 429, 502, 503 and 504 make a client send again, so what may pass is never said with another status.
 */
import protobuf from 'protobufjs/minimal.js';
import { mediaType } from './body.ts';
import type { Problem } from './problem.ts';

export const PROTOBUF_TYPE = 'application/x-protobuf';

/** [google.rpc.Code] What each of our statuses is there. */
const RPC_CODES: Readonly<Record<number, number>> = {
  400: 3, // INVALID_ARGUMENT
  401: 16, // UNAUTHENTICATED
  403: 7, // PERMISSION_DENIED
  404: 5, // NOT_FOUND
  413: 8, // RESOURCE_EXHAUSTED
  415: 3,
  423: 9, // FAILED_PRECONDITION
  429: 8,
  503: 14, // UNAVAILABLE
};
const UNKNOWN = 2;

/** A problem as its client reads it: a body that came too slowly may be sent again. */
export function asOtlp(problem: Problem): Problem {
  return problem.status === 408 ? { ...problem, status: 503, retry_after: 1 } : problem;
}

export function statusBody(
  { status, title, detail = title }: Problem,
  contentType: string | undefined,
): { readonly type: string; readonly body: Buffer | string } {
  const code = RPC_CODES[status] ?? UNKNOWN;
  if (mediaType(contentType) !== PROTOBUF_TYPE) {
    return { type: 'application/json', body: JSON.stringify({ code, message: detail }) };
  }
  const writer = protobuf.Writer.create();
  writer.uint32(0x08).int32(code).uint32(0x12).string(detail);
  return { type: PROTOBUF_TYPE, body: Buffer.from(writer.finish()) };
}
