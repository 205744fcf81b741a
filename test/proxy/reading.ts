/** Feeding a reader the way a wire does, and watching what it lets through. */

import { providerFor } from '../../server/proxy/providers/index.ts';
import type { ResponseFacts, ResponseReader } from '../../server/proxy/providers/provider.ts';
import { pathOf, typeOf } from '../replay/exchanges.ts';

/** Streams of our own that end in a terminal event. */
export const STREAMS = [
  'openai-chat.sse',
  'openai-chat-crlf.sse',
  'openai-chat-cr.sse',
  'openai-chat-tools.sse',
  'openai-chat-error.sse',
  'anthropic-messages.sse',
  'anthropic-messages-no-blank-line.sse',
  'anthropic-overloaded.sse',
  'responses.sse',
];

export const PIECES = [1, 7, 37, 4096];

export function piecesOf(bytes: Uint8Array, size: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

export interface Reading {
  readonly facts: ResponseFacts;
  /** Offsets in the whole body. */
  readonly cuts: readonly number[];
}

export function feed(
  reader: ResponseReader,
  pieces: readonly Uint8Array[],
  how: 'eof' | 'cut' = 'eof',
): Reading {
  const cuts: number[] = [];
  let received = 0;
  for (const piece of pieces) {
    // A copy, filled with rubbish afterwards: a reader must not keep what it was lent.
    const lent = Uint8Array.from(piece);
    for (const cut of reader.push(lent)) cuts.push(received + cut);
    lent.fill(0x58);
    received += piece.length;
  }
  return { facts: reader.end(how), cuts };
}

export function readerFor(name: string, status = 200, headers: Record<string, string> = {}) {
  const type = typeOf(name);
  const upstream = name.includes('anthropic') ? 'anthropic' : 'openai';
  const provider = providerFor(upstream, 'POST', pathOf(name));
  return provider.response({ status, headers: { 'content-type': type, ...headers } });
}

type Parts = readonly {
  readonly type: string;
  readonly text?: string;
  readonly arguments?: string;
}[];

interface Normalized {
  readonly messages: readonly { readonly parts: Parts; readonly finish_reason?: string }[];
}

/** Each message's text. */
export function textsOf(value: unknown): string[] {
  const { messages } = (value ?? { messages: [] }) as Normalized;
  return messages.map(({ parts }) =>
    parts
      .filter(({ type }) => type === 'text' || type === 'reasoning')
      .map(({ text }) => text)
      .join(''),
  );
}
