/**
 * The recorded exchanges: small ones of our own, and the published fixtures where they are.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sharedBytes, sharedJson } from '../shared.ts';
import type { Exchange } from './replay.ts';

const PATHS: readonly (readonly [RegExp, string])[] = [
  [/^(?:anthropic\/|synthetic\/anthropic-|anthropic-)/, '/v1/messages'],
  [/^(?:openai-responses\/|synthetic\/responses-|responses[-.])/, '/v1/responses'],
  [/^openai\/embedding/, '/v1/embeddings'],
  [/^openai\/completion-/, '/v1/completions'],
  [/^/, '/v1/chat/completions'],
];

/** The path that a fixture answers to, by its name. */
export function pathOf(name: string): string {
  return PATHS.find(([form]) => form.test(name))?.[1] ?? '/';
}

function typeOf(name: string): string {
  if (name.endsWith('.sse')) return 'text/event-stream; charset=utf-8';
  return name.endsWith('.html') ? 'text/html' : 'application/json';
}

export function ownBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(import.meta.dirname, 'fixtures', name)));
}

/** One of `test/replay/fixtures`: "openai-chat.sse". */
export function ownExchange(name: string, rest: Partial<Exchange> = {}): Exchange {
  return exchange(name, ownBytes(name), rest);
}

/** One of the published fixtures: "synthetic/openai-chat-crlf.sse". */
export function sharedExchange(name: string, rest: Partial<Exchange> = {}): Exchange {
  return exchange(name, sharedBytes('fixtures', 'llm', name), rest);
}

/** A recorded exchange with its own path, status and headers: "openai/chat-basic". */
export function cassette(folder: string, rest: Partial<Exchange> = {}): Exchange {
  const meta = sharedJson('fixtures', 'llm', folder, 'meta.json') as {
    readonly path: string;
    readonly status: number;
    readonly response_headers: Readonly<Record<string, string>>;
  };
  const isStream = meta.response_headers['content-type']?.startsWith('text/event-stream');
  const body = sharedBytes('fixtures', 'llm', folder, `response.${isStream ? 'sse' : 'json'}`);
  // The bodies were indented by the recorder, so the recorded length is not theirs.
  const { 'content-length': _, ...headers } = meta.response_headers;
  return { path: meta.path, status: meta.status, headers, body, ...rest };
}

function exchange(name: string, body: Uint8Array, rest: Partial<Exchange>): Exchange {
  const headers = { 'content-type': typeOf(name), ...rest.headers };
  return { path: pathOf(name), body, ...rest, headers };
}
