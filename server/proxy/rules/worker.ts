/**
 * A thread that judges requests, one after the other: first the rules, then the operator's module.
 *
 * It is ended from outside when it takes too long, so nothing here has to be quick. What a module does wrong is
 * an event of its own, and never the end of the proxy.
 */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { sha256, toHex } from '../../core/bytes.ts';
import { invariant } from '../../core/errors.ts';
import { isJsonObject, type Json } from '../../core/json.ts';
import { Rules } from './apply.ts';
import { isAlmostJson } from './json-texts.ts';
import {
  EVENTS_MAX,
  type JudgedCall,
  type Judgment,
  type RuleEvent,
  readEvents,
} from './judgment.ts';
import type { Rule } from './rules.ts';

export interface ThreadSetup {
  readonly rules: readonly Rule[];
  /** Absolute path of the module. */
  readonly module: string | undefined;
  readonly onError: 'block' | 'warn';
}

export interface ThreadTask {
  readonly call: JudgedCall;
  readonly body: Uint8Array;
}

export type ThreadReply =
  | { readonly kind: 'ready'; readonly moduleDigest: string | undefined }
  | { readonly kind: 'judged'; readonly judgment: Judgment };

type Hook = (request: object) => unknown;

invariant(parentPort !== null, 'a thread that judges is started by the judge');
const port = parentPort;
const { rules: list, module, onError } = workerData as ThreadSetup;
const rules = new Rules(list);
const hook = module === undefined ? undefined : await hookOf(module);
port.on('message', (task: ThreadTask) => {
  judged(task).then(
    (judgment) => reply({ kind: 'judged', judgment }),
    (error: unknown) => {
      // Ends the thread, which the judge notices.
      setImmediate(() => {
        throw error;
      });
    },
  );
});
reply({ kind: 'ready', moduleDigest: hook?.digest });

function reply(message: ThreadReply): void {
  port.postMessage(message);
}

async function hookOf(path: string): Promise<{ readonly digest: string; readonly judge: Hook }> {
  const digest = digestOf(path);
  const loaded = (await import(pathToFileURL(path).href)) as { readonly judge?: unknown };
  if (typeof loaded.judge !== 'function') throw new Error('it exports no function "judge"');
  // What was read and what was loaded are the same.
  if (digestOf(path) !== digest) throw new Error('it was changed while it was loaded');
  return { digest, judge: loaded.judge as Hook };
}

function digestOf(path: string): string {
  return toHex(sha256(new Uint8Array(readFileSync(path))));
}

async function judged({ call, body }: ThreadTask): Promise<Judgment> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return failed('not-text', 'the body is not text');
  }
  // No text in UTF-8 has one; between all its letters there is one in UTF-16.
  if (text.includes('\0')) return failed('not-text', 'the body is not text in UTF-8');
  if (isAlmostJson(text)) return failed('not-json', 'only some readers take the body for JSON');
  const applied = rules.apply(text);
  const said = await hooked(call, applied.text);
  const events = [...applied.events, ...said.events];
  const changed = said.text ?? applied.text;
  return {
    events,
    replaced: applied.replaced,
    ...(changed === text ? {} : { body: new TextEncoder().encode(changed) }),
  };
}

interface Said {
  readonly events: readonly RuleEvent[];
  readonly text?: string;
}

/** What the module says of the request as the rules left it. */
async function hooked(call: JudgedCall, text: string): Promise<Said> {
  if (hook === undefined) return { events: [] };
  try {
    const outcome: unknown = await hook.judge({ ...call, text, body: parsed(text) });
    if (outcome === undefined || outcome === null) return { events: [] };
    const json = JSON.parse(JSON.stringify(outcome)) as Json;
    if (!isJsonObject(json)) throw new Error('it gave something else than an object');
    const unknown = Object.keys(json).find((name) => name !== 'events' && name !== 'body');
    if (unknown !== undefined) throw new Error(`it gave a member "${unknown.slice(0, 40)}"`);
    const events = readEvents(json.events ?? [], 'module');
    if (events.length + list.length > EVENTS_MAX)
      throw new Error(`it gave ${events.length} events`);
    if (json.body === undefined) return { events };
    return { events, text: JSON.stringify(json.body) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return failed('module', reason.slice(0, 1_000).toWellFormed() || 'it failed');
  }
}

function failed(rule: string, reason: string) {
  const event: RuleEvent = { rule, verdict: 'error', action: onError, category: 'error', reason };
  return { events: [event], replaced: [] };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
