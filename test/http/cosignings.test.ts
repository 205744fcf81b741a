/** What witnesses were asked is for everybody to see, holes included; what names hosts is not. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { World } from './world.ts';

let world: World;
const LIST = '/logs/a/v1/witnesses';

interface Listed {
  readonly witnessing: readonly object[];
  readonly asked: readonly { readonly size: number; readonly state: string }[];
  readonly evidence: readonly object[];
}

beforeAll(async () => {
  world = await World.start();
  await world.log('a');
  const { witnesses: rows } = world.instance;
  for (const size of [1, 2, 3, 4]) {
    const head = { size, root: new Uint8Array(32), note: `note ${size}`, headMs: 0 };
    rows.plan('a', 'w.example', head, world.now);
    const [row] = rows.due('w.example', world.now, 1);
    if (row === undefined) throw new Error('nothing is planned');
    if (size === 2) {
      rows.change(row.id, 'planned', { state: 'received', answer: new Uint8Array() }, world.now);
      rows.cosigned(row, world.now, world.now);
    } else rows.change(row.id, 'planned', { reason: 'host.internal: no answer' }, world.now);
  }
});

afterAll(() => world.stop());

async function listed(query = '', token?: string): Promise<Listed> {
  const answer = await world.get(LIST + query, token === undefined ? {} : { token });
  expect(answer.status).toBe(200);
  return answer.json<Listed>();
}

describe('the list', () => {
  test('has the newest first, with what was given up, and how far each witness is', async () => {
    const { asked, witnessing, evidence } = await listed();
    expect(asked.map(({ size, state }) => `${size} ${state}`)).toEqual([
      ...['4 planned', '3 superseded', '2 cosigned', '1 superseded'],
    ]);
    expect(witnessing).toMatchObject([
      { witness: 'w.example', size: 2, missed: 1, pending: { size: 4, attempts: 0 } },
    ]);
    expect(evidence).toEqual([]);
  });

  test('is read in pages', async () => {
    const sizes = async (query: string) => (await listed(query)).asked.map(({ size }) => size);
    expect(await sizes('?limit=2')).toEqual([4, 3]);
    expect(await sizes('?before=3&limit=2')).toEqual([2, 1]);
    for (const query of ['?limit=0', '?limit=101', '?limit=x', '?before=-1', '?after=1']) {
      expect((await world.get(LIST + query)).status).toBe(400);
    }
  });

  test('says why to those who hold a token, and to nobody else', async () => {
    expect(JSON.stringify(await listed())).not.toContain('host.internal');
    const token = world.token({ roles: ['read'], logs: ['a'] });
    expect(JSON.stringify(await listed('', token))).toContain('host.internal');
  });

  test('has what a witness holds against the log, also once it counts no more', async () => {
    const { witnesses: rows } = world.instance;
    const [row] = rows.due('w.example', world.now, 1);
    if (row === undefined) throw new Error('nothing is planned');
    const held = { witness: 'w.example', said: 'has 9 entries of it', proven: false };
    rows.dispute(row, held.said, JSON.stringify(held), world.now);
    const disputed = await listed();
    expect(disputed.evidence).toEqual([held]);
    expect(disputed.witnessing).toMatchObject([{ disputes: held.said }]);
    expect(disputed.asked[0]).toMatchObject({ size: 4, state: 'disputed' });
    const head = (await world.get('/logs/a/v1/tree-head')).json<{
      witnessing: readonly object[];
    }>();
    expect(head.witnessing).toMatchObject([{ disputes: held.said }]);

    rows.letGo('a', 'w.example', world.now);
    expect(rows.evidence('a')).toEqual([]);
    const after = await listed();
    expect(after.evidence).toEqual([{ ...held, let_go: new Date(world.now).toISOString() }]);
    expect(after.witnessing[0]).not.toHaveProperty('disputes');
    // It may say it again.
    rows.dispute(row, held.said, JSON.stringify(held), world.now);
    expect(rows.evidence('a')).toHaveLength(1);
  });
});

test('a receipt with a quorum is not there where nobody is asked for one', async () => {
  const token = world.token({ roles: ['read'], logs: ['a'] });
  for (const query of ['?require=quorum', '?require=quorum&wait=0', '?require=rfc3161,quorum']) {
    const answer = await world.get(`/logs/a/v1/receipts/0${query}`, { token });
    expect(answer.status).toBe(404);
    expect(answer.json()).toMatchObject({ code: 'not_yet' });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  }
  const head = await world.get('/logs/a/v1/tree-head');
  expect(head.json()).not.toHaveProperty('quorum');
});
