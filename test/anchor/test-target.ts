/** A target that does what a test wants, and remembers everything that it was sent. */

import type { AnchoredHead, Checked, Target } from '../../server/anchor/target.ts';
import { parseUtf8, toHex, utf8 } from '../../server/core/bytes.ts';
import { unverified } from '../../server/core/errors.ts';

export class TestTarget implements Target {
  readonly name: string;
  readonly kind = 'rekor';
  /** Every request as it came, repeats included. */
  readonly asked: string[] = [];
  /** Different requests: what a log would have taken up. */
  readonly entries = new Set<string>();
  /** What happens to the next requests, first to last; then they are answered. */
  readonly plan: ((request: Uint8Array) => Promise<Uint8Array> | Uint8Array)[] = [];
  /** Requests that were made: each with a number, as a signature or a nonce would differ. */
  made = 0;
  /** Sizes that were checked, with what was remembered at the time. */
  readonly checked: [size: number, last: string | undefined][] = [];

  constructor(name = 'double') {
    this.name = name;
  }

  async request({ text }: AnchoredHead): Promise<Uint8Array> {
    return utf8(`${++this.made} ${toHex(text)}`);
  }

  async ask(request: Uint8Array): Promise<Uint8Array> {
    this.asked.push(parseUtf8(request, 'request'));
    this.entries.add(parseUtf8(request, 'request'));
    const next = this.plan.shift();
    return next === undefined ? this.answer(request) : next(request);
  }

  answer(request: Uint8Array): Uint8Array {
    return utf8(`yes to ${parseUtf8(request, 'request')}`);
  }

  async check(
    { size }: AnchoredHead,
    request: Uint8Array,
    answer: Uint8Array,
    last: Uint8Array | undefined,
  ): Promise<Checked> {
    const said = parseUtf8(answer, 'answer');
    if (said !== `yes to ${parseUtf8(request, 'request')}`) throw unverified('answer', 'not mine');
    this.checked.push([size, last && parseUtf8(last, 'last')]);
    return { anchor: { type: 'rekor', size }, last: utf8(String(size)), timeMs: 1_000 + size };
  }
}
