/**
 * The recorded exchanges: small ones of our own, and the published fixtures where they are.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sharedBytes, sharedJson } from '../shared.ts';
import { bedrockStream } from './eventstream.ts';
import type { Exchange } from './replay.ts';

const PATHS: readonly (readonly [RegExp, string])[] = [
  [/^(?:anthropic\/|synthetic\/anthropic-|anthropic-)/, '/v1/messages'],
  [/^(?:openai-responses\/|synthetic\/responses-|responses[-.])/, '/v1/responses'],
  [/^openai\/embedding/, '/v1/embeddings'],
  [/^openai\/completion-/, '/v1/completions'],
  [/^gemini.*\.sse$/, '/v1beta/models/gemini-test:streamGenerateContent?alt=sse'],
  [/^gemini-array/, '/v1beta/models/gemini-test:streamGenerateContent'],
  [/^gemini/, '/v1beta/models/gemini-test:generateContent'],
  [/^bedrock.*\.json$/, '/model/nova-test%3A0/converse'],
  [/^bedrock/, '/model/nova-test%3A0/converse-stream'],
  [/^ollama-generate/, '/api/generate'],
  [/^(?:synthetic\/)?ollama-/, '/api/chat'],
  [/^/, '/v1/chat/completions'],
];

/** The path that a fixture answers to, by its name; with a query where that says what is answered. */
export function pathOf(name: string): string {
  return PATHS.find(([form]) => form.test(name))?.[1] ?? '/';
}

export function typeOf(name: string): string {
  if (name.endsWith('.sse')) return 'text/event-stream; charset=utf-8';
  if (name.endsWith('.ndjson')) return 'application/x-ndjson';
  if (isBinary(name)) return 'application/vnd.amazon.eventstream';
  return name.endsWith('.html') ? 'text/html' : 'application/json';
}

export function ownBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(import.meta.dirname, 'fixtures', name)));
}

/** One of `test/replay/fixtures`: "openai-chat.sse". Of a binary stream there are the events, a line each. */
export function ownExchange(name: string, rest: Partial<Exchange> = {}): Exchange {
  return exchange(name, wireOf(name, ownBytes(name)), rest);
}

/** One of the published fixtures: "synthetic/openai-chat-crlf.sse". */
export function sharedExchange(name: string, rest: Partial<Exchange> = {}): Exchange {
  return exchange(name, wireOf(name, sharedBytes('fixtures', 'llm', name)), rest);
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

/** The bytes on the wire of a fixture. */
export function wireOf(name: string, bytes: Uint8Array): Uint8Array {
  if (!isBinary(name)) return bytes;
  return new Uint8Array(bedrockStream(Buffer.from(bytes).toString()));
}

/** Of these the framing is put back here. */
function isBinary(name: string): boolean {
  return name.startsWith('bedrock') && !name.endsWith('.json');
}

function exchange(name: string, body: Uint8Array, rest: Partial<Exchange>): Exchange {
  const headers = { 'content-type': typeOf(name), ...rest.headers };
  const [path = ''] = pathOf(name).split('?');
  return { path, body, ...rest, headers };
}
