/** The keys of a log itself over HTTP: changed by who may, and told to everybody, those that ended too. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseTrust } from '../../server/core/trust.ts';
import type { LeafIndex } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { World } from './world.ts';

const DAY_MS = 86_400_000;

let world: World;
let keys: string;

beforeAll(async () => {
  world = await World.start();
  keys = world.token({ roles: ['keys'], holder: 'keeper' });
  for (const name of ['team', 'other']) await world.log(name);
  await world.log('hidden', 'private');
});

afterAll(() => world.stop());

const post = (path: string, value: unknown, token: string | undefined = keys) =>
  world.ask('POST', `/v1/admin/logs/${path}`, {
    ...(token === undefined ? {} : { token }),
    type: 'application/json',
    body: JSON.stringify(value),
  });

interface Row {
  readonly log: string;
  readonly origin: string;
  readonly purpose: string;
  readonly vkey: string;
  readonly registered: number;
  readonly revoked?: number;
  readonly last_size?: number;
}

async function servedKeys(name: string, token?: string): Promise<Row[]> {
  const answer = await world.get('/v1/keys', token === undefined ? {} : { token });
  return answer.json<{ keys: Row[] }>().keys.filter(({ log }) => log === name);
}

describe('a change of the identity key', () => {
  test('is told by /v1/keys, and what is told makes a trust file for every receipt', async () => {
    const { log } = await world.logs.lease('team');
    const receipts: Uint8Array[] = [];
    const take = async () => {
      for (let index = 0; index < log.head().size; index++) {
        receipts.push(await log.receipt(index as LeafIndex, { head: log.head() }));
      }
    };
    await take();
    const rotated = await post('team/keys/rotate', { purpose: 'identity' });
    expect(rotated.status).toBe(201);
    await take();
    const early = await post('team/keys/retire', { purpose: 'identity' });
    expect(early.json()).toMatchObject({ status: 409, code: 'conflict' });
    expect(early.json().detail).toContain('signs until');
    world.now += 31 * DAY_MS;
    const retired = await post('team/keys/retire', { purpose: 'identity' });
    expect(retired.status).toBe(200);
    await take();
    // Asked for again, perhaps since the answer was lost.
    const { keyid } = retired.json<{ keyid: string }>();
    expect((await post('team/keys/retire', { purpose: 'identity', keyid })).json()).toEqual(
      retired.json(),
    );
    const served = await servedKeys('team');
    const identity = served.filter(({ purpose }) => purpose === 'identity');
    expect(identity).toMatchObject([
      { registered: 0, revoked: 3, last_size: 4 },
      { registered: 2, vkey: rotated.json().vkey },
    ]);
    const trust = parseTrust(
      Buffer.from(
        JSON.stringify({
          format: 'stele.trust/1',
          logs: [
            {
              origin: log.origin,
              keys: served.map(({ vkey, last_size }) => ({
                vkey,
                ...(last_size === undefined ? {} : { until_size: last_size }),
              })),
            },
          ],
        }),
      ),
    );
    expect(receipts).toHaveLength(2 + 3 + 4);
    for (const receipt of receipts) {
      const { holds } = verifyReceipt(receipt, trust, { check: checkSignatureNative });
      expect(holds).toBe(true);
    }
  });

  test('is an answer of its own for a key that others may have', async () => {
    const answer = await post('other/keys/rotate', { purpose: 'identity', compromised: true });
    expect(answer.json()).toMatchObject({
      purpose: 'identity',
      registered: 2,
      others: [{ registered: 0, revoked: 3, last_size: 4 }],
    });
  });

  test('of an access log is for who may change those of its log', async () => {
    const body = { purpose: 'anchor' };
    const elsewhere = world.token({ roles: ['keys'], logs: ['other'] });
    expect((await post('team.access/keys/rotate', body, elsewhere)).json()).toMatchObject({
      code: 'not_found',
    });
    const bound = world.token({ roles: ['keys'], logs: ['team'] });
    expect((await post('team.access/keys/rotate', body, bound)).status).toBe(201);
    const listed = await world.get('/v1/admin/keys', { token: bound });
    const anchors = listed
      .json<{ keys: Row[] }>()
      .keys.filter(({ log, purpose }) => log === 'team.access' && purpose === 'anchor');
    expect(anchors).toHaveLength(2);
  });
});

test('the keys of a private log are told to nobody else', async () => {
  await post('hidden/keys/rotate', { purpose: 'identity' });
  expect(await servedKeys('hidden')).toEqual([]);
  const reader = world.token({ roles: ['read'], logs: ['hidden'] });
  expect(await servedKeys('hidden', reader)).toHaveLength(4);
});

describe('what is refused changes nothing', () => {
  test.each<[string, string, unknown, string]>([
    ['the key of tree heads', 'rotate', { purpose: 'sth' }, 'body.purpose'],
    ['no purpose', 'rotate', {}, 'body.purpose'],
    ['a purpose of gateways', 'rotate', { purpose: 'gateway' }, 'body.purpose'],
    ['a key of one’s own', 'rotate', { purpose: 'identity', key: 'x' }, 'body.key'],
    ['a wish that is no yes or no', 'rotate', { purpose: 'anchor', finish: 'yes' }, 'body.finish'],
    ['a list', 'rotate', ['identity'], 'body'],
    ['nothing at all', 'retire', null, 'body'],
    ['a key ID that is none', 'retire', { purpose: 'identity', keyid: 'x' }, 'body.keyid'],
    ['finish with an end', 'retire', { purpose: 'identity', finish: true }, 'body.finish'],
  ])('%s', async (_, act, body, place) => {
    const log = (await world.logs.lease('team')).log;
    const before = log.head();
    const answer = await post(`team/keys/${act}`, body);
    expect(answer.json(), answer.text).toMatchObject({ status: 400, code: 'malformed' });
    expect(answer.json().detail).toContain(place);
    expect(log.head()).toBe(before);
  });

  test('a key that the log never had, the only one of its purpose, and a second change', async () => {
    const log = (await world.logs.lease('other')).log;
    const before = log.head();
    const unknown = { purpose: 'identity', keyid: 'f'.repeat(64), compromised: true };
    expect((await post('other/keys/retire', unknown)).json()).toMatchObject({ code: 'not_found' });
    const only = await post('other/keys/retire', { purpose: 'anchor', compromised: true });
    expect(only.json()).toMatchObject({ code: 'conflict' });
    expect(only.json().detail).toContain('announce another first');
    expect(log.head()).toBe(before);
    expect((await post('other/keys/rotate', { purpose: 'anchor' })).status).toBe(201);
    const second = await post('other/keys/rotate', { purpose: 'anchor' });
    expect(second.json()).toMatchObject({ status: 409, code: 'conflict' });
    expect(second.json().detail).toContain('changes its anchor key already');
  });

  test('a log that has ended', async () => {
    await world.log('ended');
    await world.logs.freeze('ended', {});
    const answer = await post('ended/keys/rotate', { purpose: 'identity' });
    expect(answer.json()).toMatchObject({ status: 423, code: 'frozen' });
    expect((await servedKeys('ended')).length).toBe(3);
  });

  test('a log that there is not', async () => {
    const answer = await post('nowhere/keys/rotate', { purpose: 'identity' });
    expect(answer.json()).toMatchObject({ code: 'not_found' });
  });
});
