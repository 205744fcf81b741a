/** POST one entry: 201 with a receipt, 200 for a repeat, and a specific refusal for everything else. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import type { Log } from '../../server/log/log.ts';
import { type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;

beforeAll(async () => {
  world = await World.start();
  ({ log, gateway } = await world.log('a'));
  token = world.token({ roles: ['submit'], logs: ['a'] });
});

afterAll(() => world.stop());

const PROTOBUF = 'application/protobuf';

function post(body: Uint8Array | string, type = PROTOBUF) {
  return world.ask('POST', '/logs/a/v1/entries', { token, body, type });
}

describe('an entry', () => {
  test.each([
    ['protobuf', PROTOBUF, (bytes: Uint8Array) => bytes],
    ['protobuf, by its old name', 'application/x-protobuf', (bytes: Uint8Array) => bytes],
    ['bytes', 'application/octet-stream', (bytes: Uint8Array) => bytes],
    ['a DSSE envelope', 'application/vnd.dsse.envelope.v1+json', envelope],
    ['an envelope', 'application/vnd.stele.envelope.v1+json', envelope],
    ['JSON with a charset', 'Application/JSON; charset=utf-8', envelope],
  ])('as %s gets a receipt that has it', async (_, type, spell) => {
    const bytes = await gateway.entry();
    const answer = await post(spell(bytes), type);
    expect(answer.text).toContain('stele.receipt/1');
    expect(answer.status).toBe(201);
    expect(answer.headers['content-type']).toBe('application/vnd.stele.receipt.v1+json');
    expect(answer.headers['cache-control']).toBe('private, no-store');
    const receipt = parseReceipt(answer.bytes);
    expect(receipt.entry).toEqual(bytes);
    expect(receipt.index).toBe(log.head().size - 1);
    expect(answer.headers.location).toBe(`/logs/a/v1/entries/${receipt.index}`);
  });

  test('again is a repeat: 200 and the first index', async () => {
    const bytes = await gateway.entry();
    const first = await post(bytes);
    await post(await gateway.entry());
    const again = await post(bytes);
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(parseReceipt(again.bytes).index).toBe(parseReceipt(first.bytes).index);
    expect(again.headers.location).toBe(first.headers.location);
  });
});

function envelope(bytes: Uint8Array): string {
  return formatEnvelopeJson(decodeEntry(bytes));
}
