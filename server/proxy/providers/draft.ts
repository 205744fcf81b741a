/**
 * The answer's messages while they are being put together from whatever pieces the provider sends.
 *
 * All formats end in one shape, {messages: [{role, parts: […], finish_reason?}]}. Reasoning goes apart,
 * in the same shape, so that one can be disclosed or erased without the other. Memory is bounded by a
 * budget for the text and for each part; past it the answer has no normalized form, only its raw bytes.
 */
import type { Json } from '../../core/json.ts';
import { Rope } from '../rope.ts';
import type { ToolCall } from './provider.ts';
import { labelOf, normal } from './values.ts';

/**
 * Characters of text, and what stands for them in memory: as much as a million tokens. A normalized form is held a
 * few times over while it is made, so this decides what a call costs.
 */
export const NORMALIZED_CHARS_MAX = 4_194_304;

/** What a part costs besides its text. */
const PART_COST = 256;

export interface Part {
  readonly type: 'text' | 'refusal' | 'tool_call' | 'tool_result' | 'reasoning' | 'other';
  /** Text, or a tool call's arguments. */
  text: string;
  id?: string | undefined;
  name?: string | undefined;
  /** The provider's own type, where it says more than ours. */
  raw_type?: string | undefined;
  signature?: string;
  /** Whatever else there is, as it came. */
  value?: unknown;
}

export class Budget {
  #left: number;

  constructor(max: number = NORMALIZED_CHARS_MAX) {
    this.#left = max;
  }

  /** False once there is no room; from then on it stays so. */
  take(amount: number): boolean {
    this.#left = this.#left < amount ? -1 : this.#left - amount;
    return this.#left >= 0;
  }

  get isSpent(): boolean {
    return this.#left < 0;
  }
}

export class Message {
  role = 'assistant';
  finish: string | undefined;
  readonly #budget: Budget;
  readonly #parts: Part[] = [];
  /** Texts that are growing. */
  readonly #ropes = new Map<Part, Rope>();
  #isDropped = false;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  get parts(): readonly Part[] {
    for (const [part, rope] of this.#ropes) part.text = rope.text;
    return this.#parts;
  }

  /** A new part; past the budget it is kept by nobody. */
  add(type: Part['type'], rest: Partial<Part> = {}): Part {
    const part: Part = { text: '', ...rest, type };
    if (this.#budget.take(PART_COST + part.text.length)) this.#parts.push(part);
    return part;
  }

  append(part: Part, text: unknown): void {
    if (typeof text !== 'string') return;
    if (!this.#budget.take(text.length)) {
      this.#drop();
      return;
    }
    let rope = this.#ropes.get(part);
    if (rope === undefined) {
      rope = new Rope(part.text);
      this.#ropes.set(part, rope);
    }
    rope.add(text);
  }

  /** Past the budget nothing is normalized, and what there was need not be kept. */
  #drop(): void {
    // A map that is cleared gets a new table each time, and a long stream comes by here with every event.
    if (this.#isDropped) return;
    this.#isDropped = true;
    this.#ropes.clear();
    for (const part of this.#parts) part.text = '';
  }

  toolCalls(): ToolCall[] {
    return this.parts
      .filter((part) => part.type === 'tool_call')
      .map((part) => {
        const id = labelOf(part.id);
        const name = labelOf(part.name);
        return { ...(id && { id }), ...(name && { name }), arguments: part.text };
      });
  }

  /** The message with its reasoning, or with everything else; nothing if it cannot be normalized. */
  toJson(which: 'content' | 'reasoning'): Json | undefined {
    const parts = this.parts.filter((p) => (p.type === 'reasoning') === (which === 'reasoning'));
    return normal({
      role: this.role,
      parts: parts.map(partMembers),
      finish_reason: which === 'content' ? this.finish : undefined,
    });
  }
}

function partMembers(part: Part): Record<string, unknown> {
  const { type, text, id, name, raw_type, signature, value } = part;
  const common = { type, id, name, raw_type, signature, value };
  if (type === 'tool_call') return { ...common, arguments: text };
  return type === 'other' || type === 'tool_result' ? common : { ...common, text };
}
