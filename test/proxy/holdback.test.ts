import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HoldBack } from '../../server/proxy/holdback.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (parts: readonly Uint8Array[]) => Buffer.concat(parts).toString();

describe('events', () => {
  test('go at once, up to the line end of the terminal one', () => {
    const hold = new HoldBack(undefined);
    expect(text(hold.push(bytes('data: 1\n\n'), 'events'))).toBe('data: 1\n\n');
    expect(text(hold.push(bytes('data: [DONE]\n\n'), 'events', 12))).toBe('data: [DONE]');
    expect(hold.isHolding).toBe(true);
    // Behind a cut everything waits, in order.
    expect(text(hold.push(bytes('more'), 'events'))).toBe('');
    expect(text(hold.release())).toBe('\n\nmore');
    expect(text(hold.push(bytes('after'), 'events'))).toBe('after');
  });

  test('of declared length keep their last byte, whatever it is', () => {
    const hold = new HoldBack(9);
    expect(text(hold.push(bytes('data: '), 'events'))).toBe('data: ');
    expect(text(hold.push(bytes('1\n\n'), 'events'))).toBe('1\n');
    expect(text(hold.release())).toBe('\n');
  });
});

describe('other answers', () => {
  test('lag one byte, so that the last is never out before its time', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 9 })), fc.boolean(), (chunks, isDeclared) => {
        const whole = chunks.join('');
        const declared = isDeclared ? bytes(whole).length : undefined;
        const hold = new HoldBack(declared);
        const out: Uint8Array[] = [];
        let received = 0;
        for (const chunk of chunks) {
          received += bytes(chunk).length;
          out.push(...hold.push(bytes(chunk), 'other'));
          expect(Buffer.concat(out).length).toBe(Math.max(0, received - 1));
        }
        expect(text([...out, ...hold.release()])).toBe(whole);
      }),
    );
  });
});
