/**
 * Looks for every rule in a request, and replaces what is to be replaced.
 *
 * In JSON every text counts that is a value; anything else is one text. Rules go in the order of the file, each
 * over what the one before it left. In a body that is no JSON nothing can be replaced without breaking it, so
 * a rule that would is one that blocks.
 */

import { changeTexts, isJson } from './json-texts.ts';
import type { Judgment, RuleEvent } from './judgment.ts';
import { expressionOf, REPLACEMENT, type Rule } from './rules.ts';

interface Compiled {
  readonly rule: Rule;
  readonly expression: RegExp;
}

export class Rules {
  readonly #rules: readonly Compiled[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules.map((rule) => ({ rule, expression: expressionOf(rule, 'rules') }));
  }

  /** `text` is the whole body. */
  apply(text: string): Omit<Judgment, 'body'> & { readonly text: string } {
    const canChange = isJson(text);
    const events: RuleEvent[] = [];
    const replaced: { rule: string; count: number }[] = [];
    let left = text;
    for (const one of this.#rules) {
      const { found, changed } = canChange ? inJson(one, left) : inText(one, left);
      const isRedacted = changed !== left;
      left = changed;
      if (isRedacted) replaced.push({ rule: one.rule.rule, count: found });
      events.push(eventOf(one.rule, found > 0, canChange));
    }
    return { events, replaced, text: left };
  }
}

function inJson({ rule, expression }: Compiled, json: string) {
  let found = 0;
  const isRedacted = rule.action === 'redact';
  const by = rule.replace ?? REPLACEMENT;
  const changed = changeTexts(json, (text) => {
    // One is enough to know, and many are counted only where they are replaced.
    if (!isRedacted) {
      if (found === 0 && text.search(expression) >= 0) found = 1;
      return text;
    }
    return text.replace(expression, (match) => {
      if (match === '') return match;
      found++;
      return by;
    });
  });
  return { found, changed };
}

function inText({ expression }: Compiled, text: string) {
  return { found: text.search(expression) >= 0 ? 1 : 0, changed: text };
}

function eventOf(rule: Rule, isFound: boolean, canChange: boolean): RuleEvent {
  const { rule: id, category, message } = rule;
  const common = { rule: id, ...(category === undefined ? {} : { category }) };
  if (!isFound) return { ...common, verdict: 'pass', action: 'none' };
  switch (rule.action) {
    case 'flag':
      return { ...common, verdict: 'flag', action: 'warn' };
    case 'redact':
      if (canChange) return { ...common, verdict: 'violation', action: 'redact' };
      return { ...common, verdict: 'violation', action: 'block', message: message ?? NO_REDACTION };
    case 'block':
      return {
        ...common,
        verdict: 'violation',
        action: 'block',
        ...(message === undefined ? {} : { message }),
      };
  }
}

const NO_REDACTION = 'what was found can be taken out of JSON only';
