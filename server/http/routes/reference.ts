/**
 * GET /openapi.json and /docs: the description of every route, for programs and for people.
 *
 * Both are made once, when first asked for, and sent from one copy in memory however many ask. They go
 * out in pieces: a slow reader holds one piece and no more, so it needs no room among the large answers.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { HTML_TYPE, JSON_TYPE, sendHead, type TaggedBody, tagged } from '../answer.ts';
import type { Parts } from '../app.ts';
import type { Call, InstanceRoute, Route } from '../call.ts';
import { describeApi } from '../openapi/document.ts';
import { formatPage, STYLE } from '../openapi/page.ts';
import { setPage } from '../security.ts';

/** The page's own style, and nothing else: no script, no image, no form, no frame around it. */
const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

interface Reference {
  readonly json: Pieces;
  readonly page: Pieces;
}

interface Pieces {
  readonly head: TaggedBody;
  readonly bytes: Buffer;
}

export function referenceRoutes(
  parts: Parts,
  allRoutes: () => readonly Route[],
): readonly InstanceRoute[] {
  let made: Reference | undefined;
  const reference = (): Reference => {
    if (made === undefined) {
      const document = describeApi(allRoutes(), parts.version);
      made = { json: pieces(JSON.stringify(document)), page: pieces(formatPage(document)) };
    }
    return made;
  };
  const base = { on: 'instance', method: 'GET', access: 'open' } as const;
  return [
    {
      ...base,
      pattern: '/openapi.json',
      handle: (call) => sendPieces(call, JSON_TYPE, reference().json),
    },
    {
      ...base,
      pattern: '/docs',
      handle(call) {
        sendPieces(call, HTML_TYPE, reference().page);
        setPage(call.ctx.res, PAGE_POLICY);
      },
    },
  ];
}

function pieces(text: string): Pieces {
  return { head: tagged(text), bytes: Buffer.from(text) };
}

const PIECE_BYTES = 16_384;

/** The same for everyone, whatever token came with the request. */
function sendPieces(call: Call, type: string, { head, bytes }: Pieces): void {
  const { ctx } = call;
  sendHead({ ...call, shared: true }, type, head);
  if (ctx.status === 304) return;
  ctx.body = Readable.from(cut(bytes), { objectMode: false });
  ctx.length = bytes.length;
}

function* cut(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    yield bytes.subarray(at, at + PIECE_BYTES);
  }
}
