import { once } from 'node:events';
import { createBrotliCompress, createDeflate, createGzip, createZstdCompress } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeContent } from '../../server/proxy/decode.ts';
import { HoldBack } from '../../server/proxy/holdback.ts';
import { piecesOf } from './reading.ts';

const CODERS = {
  gzip: createGzip,
  deflate: createDeflate,
  br: createBrotliCompress,
  zstd: createZstdCompress,
};

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

describe('a body', () => {
  test('lags behind its last byte that is no space, so that it is never whole before its time', () => {
    const unit = fc.constantFrom('{', '}', 'é', ' ', '\n', '\t', '\r');
    const body = fc.array(fc.string({ unit, maxLength: 9 }));
    fc.assert(
      fc.property(body, fc.boolean(), (chunks, isDeclared) => {
        const whole = bytes(chunks.join(''));
        const hold = new HoldBack(isDeclared ? whole.length : undefined);
        const out: Uint8Array[] = [];
        let received = '';
        for (const chunk of chunks) {
          received += chunk;
          out.push(...hold.push(bytes(chunk), 'body'));
          const { length } = bytes(received);
          const space = length - bytes(received.trimEnd()).length;
          // Space alone is no body that could be whole; one byte of it lags.
          const lag = received.trim() === '' ? 1 : space + 1;
          expect(Buffer.concat(out).length).toBe(Math.max(0, length - lag));
        }
        expect(Buffer.concat([...out, ...hold.release()]).equals(whole)).toBe(true);
      }),
    );
  });

  test('keeps no more space than is anybody’s', () => {
    const hold = new HoldBack(undefined);
    expect(text(hold.push(bytes('{}'), 'body'))).toBe('{');
    expect(text(hold.push(bytes(' '.repeat(4_095)), 'body'))).toBe('');
    expect(text(hold.push(bytes(' '), 'body'))).toBe(`}${' '.repeat(4_095)}`);
    expect(text(hold.release())).toBe(' ');
  });

  test.each(['gzip', 'deflate', 'br', 'zstd'] as const)(
    'that is compressed (%s) cannot be decoded as far as its last bracket, also where it was flushed',
    async (coding) => {
      for (const isFlushed of [false, true]) {
        const coder = CODERS[coding]();
        const parts: Buffer[] = [];
        coder.on('data', (part: Buffer) => parts.push(part));
        const over = once(coder, 'end');
        coder.write(`{"text":"${'Hello, you. '.repeat(50)}","n":[1,2,3]}\n`);
        if (isFlushed) await new Promise<void>((resolve) => coder.flush(resolve));
        coder.end();
        await over;
        for (const size of [1, 7, 1_000]) {
          const hold = new HoldBack(undefined);
          const pieces = piecesOf(Buffer.concat(parts), size);
          const sent = pieces.flatMap((piece) => hold.push(piece, 'coded'));
          const decoded = decodeContent(Buffer.concat(sent), coding, 10_000) ?? new Uint8Array();
          expect(Buffer.from(decoded).includes(']}')).toBe(false);
          const whole = decodeContent(Buffer.concat([...sent, ...hold.release()]), coding, 10_000);
          expect(Buffer.from(whole ?? []).includes(']}')).toBe(true);
        }
      }
    },
  );
});
