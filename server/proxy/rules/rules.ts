/**
 * The rules file: what is looked for in requests, and what is done about it.
 *
 *     format: stele.rules/1
 *     version: "2026-11"
 *     rules:
 *       - rule: provider-keys
 *         find: '\bsk-[A-Za-z0-9_-]{20,}'
 *         action: redact
 *         replace: '[key]'
 *       - rule: project-x
 *         find: 'project x'
 *         ignore_case: true
 *         action: block
 *         message: Project X is not for this model.
 *
 * The file is the operator's. It is closed, and read whole or not at all: a rule with a misspelled member would
 * be one that nobody has.
 */
import { parseDocument } from 'yaml';
import { malformed } from '../../core/errors.ts';
import { isJsonObject, type Json } from '../../core/json.ts';
import {
  bool,
  constant,
  int,
  list,
  object,
  oneOf,
  pattern,
  read,
  type Shaped,
  text,
} from '../../core/schema.ts';
import { category, EVENTS_MAX, message, ruleId } from './judgment.ts';

export const RULES_BYTES_MAX = 1_048_576;

const rule = object(
  { rule: ruleId, find: text(4_096), action: oneOf(['flag', 'redact', 'block'] as const) },
  {
    ignore_case: bool,
    /** In place of what was found; it has to fit into a text inside a text. */
    replace: pattern(/^[^"\\\p{Cc}]*$/u, 'text without quotes, backslashes and control characters'),
    category,
    message,
  },
);

const file = object(
  { format: constant('stele.rules/1'), rules: list(rule, EVENTS_MAX) },
  {
    version: text(100),
    /** How long a request may be looked at. */
    timeout_ms: int(10, 60_000),
    /** What becomes of a request that could not be judged. */
    on_error: oneOf(['block', 'warn'] as const),
  },
);

export type RulesFile = Shaped<typeof file>;
export type Rule = Shaped<typeof rule>;

export const REPLACEMENT = '[redacted]';

/** Reads the file; throws `malformed` with the place, the value and the rule. */
export function parseRules(source: string, what: string): RulesFile {
  const document = parseDocument(source, { uniqueKeys: true, strict: true });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) throw malformed(what, problem.message.split('\n')[0] ?? '');
  const rules = read(file, plain(document.toJS({ maxAliasCount: 0 }), what), what);
  const known = new Set<string>();
  for (const one of rules.rules) {
    if (known.has(one.rule)) throw malformed(what, `rule ${one.rule} is there twice`);
    known.add(one.rule);
    if (one.replace !== undefined && one.action !== 'redact') {
      throw malformed(what, `rule ${one.rule} replaces something, and its action is ${one.action}`);
    }
    if (expressionOf(one, what).test('')) {
      throw malformed(what, `rule ${one.rule} finds something in an empty text`);
    }
  }
  return rules;
}

export function expressionOf({ rule: id, find, ignore_case }: Rule, what: string): RegExp {
  try {
    return new RegExp(find, ignore_case === true ? 'giu' : 'gu');
  } catch (cause) {
    throw malformed(what, `rule ${id}: ${(cause as Error).message}`, { cause });
  }
}

/** YAML knows more than JSON does: times, sets, numbers that are none. */
function plain(value: unknown, what: string): Json {
  const json = JSON.parse(JSON.stringify(value ?? null)) as Json;
  if (!isJsonObject(json)) throw malformed(what, 'it is not a map');
  return json;
}
