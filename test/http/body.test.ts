/** Memory that requests hold: one bound for all of them, and every byte given back. */
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import { hasCode } from '../../server/core/errors.ts';
import { HeldBytes, mediaType } from '../../server/http/body.ts';
import type { Call } from '../../server/http/call.ts';

const call = () => ({ heldBytes: 0 }) as Call;
const response = () => new EventEmitter() as EventEmitter & ServerResponse;

function isPushedBack(work: () => void): boolean {
  try {
    work();
  } catch (error) {
    return hasCode(error, 'pushback');
  }
  return false;
}

describe('held bytes', () => {
  test('of bodies count together, until each request is answered', () => {
    const held = new HeldBytes(100);
    const [a, b] = [call(), call()];
    held.take(a, 60);
    held.take(b, 40);
    expect(isPushedBack(() => held.take(a, 1))).toBe(true);
    held.giveBack(b);
    held.take(a, 40);
    expect(a.heldBytes).toBe(100);
    held.giveBack(a);
    held.giveBack(a);
    held.take(b, 100);
    expect(isPushedBack(() => held.take(a, 1))).toBe(true);
  });

  test('of answers count until their clients have them or are gone', () => {
    const held = new HeldBytes(100);
    const [a, b] = [response(), response()];
    held.takeAnswer(a, 70);
    expect(isPushedBack(() => held.takeAnswer(b, 31))).toBe(true);
    a.emit('close');
    held.takeAnswer(b, 100);
    b.emit('close');
    b.emit('close');
    held.takeAnswer(a, 100);
    expect(isPushedBack(() => held.takeAnswer(b, 1))).toBe(true);
  });
});

test.each([
  ['application/json', 'application/json'],
  ['Application/JSON ; charset=utf-8', 'application/json'],
  [undefined, ''],
  [';', ''],
])('the media type of %j is %j', (header, type) => {
  expect(mediaType(header)).toBe(type);
});
