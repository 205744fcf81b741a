/**
 * The pieces of a Responses stream, kept to check the final event and to stand in where it is missing.
 */
import { Rope } from '../rope.ts';
import { Budget } from './draft.ts';
import { items, type Members, members, textOf } from './values.ts';

export class Deltas {
  readonly #budget = new Budget();
  readonly #texts = new Map<string, Rope>();

  /** Past the bound the pieces are no longer kept, and nothing is said about them. */
  get isFull(): boolean {
    return this.#budget.isSpent;
  }

  add(event: Members): void {
    const { delta } = event;
    if (typeof delta !== 'string') return;
    const place = placeOf(textOf(event.type) ?? '', event.content_index);
    if (place === undefined) return;
    const key = `${event.output_index} ${place}`;
    const before = this.#texts.get(key);
    const cost = delta.length + (before === undefined ? 256 : 0);
    if (!this.#budget.take(cost)) {
      if (this.#texts.size > 0) this.#texts.clear();
      return;
    }
    const rope = before ?? new Rope();
    if (before === undefined) this.#texts.set(key, rope);
    rope.add(delta);
  }

  /** Whether each text that came in pieces is the one in the final output. */
  agrees(output: readonly unknown[]): boolean {
    if (this.isFull) return true;
    for (const [key, { text }] of this.#texts) {
      const [index = '', place = ''] = key.split(' ');
      if (textAt(members(output[Number(index)]), place) !== text) return false;
    }
    return true;
  }

  /** An item as far as it came: what was announced, with the pieces put in. */
  complete(index: number, value: unknown): unknown {
    const item = members(value);
    const args = this.#texts.get(`${index} args`)?.text;
    if (item.type !== 'message') {
      if (args === undefined || textOf(item.arguments ?? item.input)) return item;
      return { ...item, arguments: args };
    }
    const content = [...items(item.content)];
    for (const [key, { text }] of this.#texts) {
      const [of, place = ''] = key.split(' ');
      const at = Number(place.slice(1));
      if (of !== String(index) || place === 'args' || content[at] !== undefined) continue;
      content.push(
        place.startsWith('t') ? { type: 'output_text', text } : { type: 'refusal', refusal: text },
      );
    }
    return { ...item, content };
  }
}

/** "t0" is the text of content part 0, "r0" its refusal, "args" a tool's input. */
function placeOf(type: string, contentIndex: unknown): string | undefined {
  const at = Number.isSafeInteger(contentIndex) ? Number(contentIndex) : 0;
  if (type === 'response.output_text.delta') return `t${at}`;
  if (type === 'response.refusal.delta') return `r${at}`;
  const isInput = /^response\.(?:function_call_arguments|custom_tool_call_input)\.delta$/.test(
    type,
  );
  return isInput ? 'args' : undefined;
}

function textAt(item: Members, place: string): string | undefined {
  if (place === 'args') return textOf(item.arguments) ?? textOf(item.input);
  const part = members(items(item.content)[Number(place.slice(1))]);
  return place.startsWith('t') ? textOf(part.text) : textOf(part.refusal);
}
