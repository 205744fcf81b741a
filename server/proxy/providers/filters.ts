/**
 * What did the provider's content filters find? Azure's, Gemini's and Bedrock's, and OpenAI's moderation.
 *
 * Results come per prompt, per choice and again with every chunk of a stream. One event is kept for each
 * stage and category: the gravest. Everything that was looked at is kept, also where nothing was found:
 * that a filter was on is part of the evidence.
 */
import type { PolicyEvent } from './provider.ts';
import { items, members, textOf, wordOf } from './values.ts';

/** More categories than any filter has. */
const EVENTS_MAX = 64;

const SEVERITIES = ['clear', 'safe', 'negligible', 'low', 'medium', 'high', 'detected'];

export class Filters {
  readonly #events = new Map<string, PolicyEvent>();
  #isStopped = false;

  /** `{hate: {filtered, severity}, jailbreak: {filtered, detected}, …}` */
  read(stage: PolicyEvent['stage'], results: unknown): void {
    for (const [name, value] of Object.entries(members(results))) {
      const category = wordOf(name);
      const { filtered, detected, severity } = members(value);
      const isResult = [filtered, detected, severity].some((member) => member !== undefined);
      if (category === undefined || !isResult) continue;
      const verdict =
        wordOf(severity) ?? (detected === true || filtered === true ? 'detected' : 'clear');
      const action = filtered === true ? 'block' : 'allow';
      this.#keep({ rule: 'azure.content_filter', stage, verdict, action, category });
    }
  }

  /** Chat: `prompt_filter_results` beside the choices, `content_filter_results` in each. */
  readChat(chunk: unknown): void {
    const { prompt_filter_results, prompt_annotations, choices } = members(chunk);
    for (const prompt of items(prompt_filter_results ?? prompt_annotations)) {
      this.read('input', members(prompt).content_filter_results);
    }
    for (const choice of items(choices)) {
      this.read('output', members(choice).content_filter_results);
    }
  }

  /** Responses: a list of its own, each with where the text came from. */
  readResponses(response: unknown): void {
    for (const filter of items(members(response).content_filters)) {
      const { source_type, content_filter_results } = members(filter);
      this.read(source_type === 'prompt' ? 'input' : 'output', content_filter_results);
    }
  }

  /** A prompt that was refused: status 400, with the results inside the error. */
  readError(error: unknown): void {
    const inner = members(members(error).innererror);
    this.read('input', inner.content_filter_result ?? inner.content_filter_results);
  }

  /** `[{category: "HARM_CATEGORY_…", probability: "LOW", blocked: true}, …]` */
  readGemini(stage: PolicyEvent['stage'], ratings: unknown): void {
    for (const rating of items(ratings)) {
      const { category, probability, blocked } = members(rating);
      const name = wordOf(category)?.replace(/^harm_category_/, '');
      if (name === undefined) continue;
      const verdict = wordOf(probability) ?? (blocked === true ? 'detected' : 'clear');
      const action = blocked === true ? 'block' : 'allow';
      this.#keep({ rule: 'gemini.safety', stage, verdict, action, category: name });
    }
  }

  /**
   * A guardrail's trace: by stage and guardrail, by policy, lists of what it found. How each policy names what
   * it looked for differs.
   */
  readBedrock(trace: unknown): void {
    const { inputAssessment, outputAssessments } = members(trace);
    for (const one of Object.values(members(inputAssessment))) this.#assessment('input', one);
    for (const list of Object.values(members(outputAssessments))) {
      for (const one of items(list)) this.#assessment('output', one);
    }
  }

  /** Something was blocked, and only a word says why. */
  block(rule: string, stage: PolicyEvent['stage'], category: string): void {
    this.#keep({ rule, stage, verdict: 'detected', action: 'block', category });
  }

  #assessment(stage: PolicyEvent['stage'], assessment: unknown): void {
    const found = Object.values(members(assessment)).flatMap((policy) =>
      Object.values(members(policy)).flatMap(items),
    );
    for (const finding of found) {
      const { type, name, action, confidence } = members(finding);
      const category = wordOf(type) ?? wordOf(name) ?? 'other';
      const verdict = wordOf(confidence) ?? 'detected';
      const isBlocked = textOf(action) === 'BLOCKED';
      const done = isBlocked ? 'block' : 'allow';
      this.#keep({ rule: 'bedrock.guardrail', stage, verdict, action: done, category });
    }
  }

  /** `[{flagged, categories: {"hate/threatening": false, …}}, …]` of OpenAI's moderation, which blocks nothing itself. */
  readModeration(results: unknown): void {
    for (const result of items(results)) {
      for (const [name, found] of Object.entries(members(members(result).categories))) {
        const category = wordOf(name.replaceAll('/', '.'));
        if (category === undefined) continue;
        const verdict = found === true ? 'detected' : 'clear';
        const rule = 'openai.moderation';
        this.#keep({ rule, stage: 'input', verdict, action: 'allow', category });
      }
    }
  }

  /** The answer was ended by a filter, of which there may be no results. */
  stopped(): void {
    this.#isStopped = true;
  }

  events(): PolicyEvent[] {
    const events = [...this.#events.values()];
    const isSaid = events.some(({ stage, action }) => stage === 'output' && action === 'block');
    if (!this.#isStopped || isSaid) return events;
    const rule = 'content_filter';
    const found = { verdict: 'detected', action: 'block', category: 'other' } as const;
    return [...events, { rule, stage: 'output', ...found }];
  }

  #keep(event: PolicyEvent): void {
    const key = `${event.rule} ${event.stage} ${event.category}`;
    const known = this.#events.get(key);
    if (known === undefined && this.#events.size >= EVENTS_MAX) return;
    if (known === undefined || gravity(event) > gravity(known)) this.#events.set(key, event);
  }
}

function gravity(event: PolicyEvent): number {
  return (event.action === 'block' ? 100 : 0) + SEVERITIES.indexOf(event.verdict);
}
