/** `/metrics`: what is counted, who sees it, and how little of it there is. */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { World } from './world.ts';

let world: World;

afterEach(() => world.stop());

/** The samples by name and labels, as they are written. */
async function figures(token: string): Promise<ReadonlyMap<string, number>> {
  const answer = await world.get('/metrics', { token });
  expect([answer.status, answer.headers['content-type'], answer.headers['cache-control']]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
    'private, no-store',
  ]);
  const lines = answer.text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

/** A head of this size is to be shown to a target. */
function plan(log: string, size: number): number {
  const bytes = new Uint8Array([1]);
  const { anchors } = world.instance;
  anchors.plan({
    ...{ log, target: 'one', kind: 'rfc3161', size, text: 'a head' },
    ...{ root: new Uint8Array(32), signature: bytes, spki: bytes, plannedMs: world.now },
  });
  return anchors.due('one', world.now, 1)[0]?.id ?? 0;
}

/** One was shown, and the answer is good. */
function anchored(log: string, size: number): void {
  const { anchors } = world.instance;
  const id = plan(log, size);
  anchors.change(id, 'planned', { state: 'received', attempts: 1 }, world.now);
  anchors.publish(id, { anchor: '{}', timeMs: world.now }, world.now);
}

describe('figures', () => {
  test('tell of the last check of each log that the token may know of, open or not', async () => {
    world = await World.start();
    await world.log('a');
    await world.log('b', 'private');
    const row = { beganMs: 1_000, endedMs: 90_500, size: 7, files: 2, found: [] };
    const holds = { ...row, tree: 'holds', content: 'holds' } as const;
    world.instance.putCheck({ ...holds, log: 'a' });
    world.instance.putCheck({ ...holds, log: 'a.access', tree: 'unknown' });
    world.instance.putCheck({ ...holds, log: 'b', content: 'damaged' });
    world.instance.putCheck({ ...holds, log: 'gone' });
    const all = await figures(world.token({ roles: ['metrics'], logs: ['*'] }));
    expect(all.get('stele_log_checked_timestamp_seconds{log="a"}')).toBe(90.5);
    expect(all.get('stele_log_checked_entries{log="a"}')).toBe(7);
    expect(all.get('stele_log_checked_content_files{log="a"}')).toBe(2);
    expect(all.get('stele_log_check_holds{log="a"}')).toBe(1);
    expect(all.get('stele_log_check_holds{log="a.access"}')).toBe(0);
    expect(all.get('stele_log_check_holds{log="b"}')).toBe(0);
    expect(all.has('stele_log_check_holds{log="gone"}')).toBe(false);
    const own = await figures(world.token({ roles: ['metrics'], logs: ['a'] }));
    expect(own.has('stele_log_check_holds{log="b"}')).toBe(false);
    expect(own.get('stele_log_check_holds{log="a"}')).toBe(1);
  });

  test('tell how far each target has got with each log, and when the certificate ends', async () => {
    world = await World.start({ certificateEndsMs: 1_900_000_000_000 });
    await world.log('a');
    await world.log('b', 'private');
    const watch = world.token({ roles: ['metrics'] });
    expect([...(await figures(watch)).keys()].filter((name) => /anchor/.test(name))).toEqual([]);
    world.tallies.set('one', { attempts: 5, failures: 3, published: 2 });
    world.tallies.set('silent', { attempts: 0, failures: 0, published: 0 });
    anchored('a', 1);
    anchored('b', 1);
    world.now += 60_000;
    const id = plan('a', 2);
    const { anchors } = world.instance;
    anchors.change(id, 'planned', { state: 'sent', attempts: 3 }, world.now);
    world.now += 5_000;
    const all = await figures(watch);
    const of = (name: string) => all.get(`${name}{log="a",target="one"}`);
    expect(of('stele_log_anchored_entries')).toBe(1);
    expect(of('stele_log_anchored_behind_entries')).toBe(1);
    expect(of('stele_log_anchored_age_seconds')).toBe(65);
    expect(of('stele_log_anchor_waiting_seconds')).toBe(5);
    expect(of('stele_log_anchors_missed')).toBe(0);
    expect(all.get('stele_anchors_total{target="one"}')).toBe(2);
    expect(all.get('stele_anchor_attempts_total{target="one"}')).toBe(5);
    expect(all.get('stele_anchor_failures_total{target="one"}')).toBe(3);
    expect(all.get('stele_anchor_attempts_total{target="silent"}')).toBe(0);
    // It is given up for a newer one, and that is seen at once.
    plan('a', 3);
    const later = await figures(watch);
    expect(later.get('stele_log_anchors_missed{log="a",target="one"}')).toBe(1);
    expect(all.get('stele_tls_certificate_not_after_timestamp_seconds')).toBe(1_900_000_000);
    // A log of one's own, and no other.
    const own = await figures(world.token({ roles: ['metrics'], logs: ['a'] }));
    const logs = [...own.keys()].filter((name) => name.includes('log="b"'));
    expect(logs).toEqual([]);
  });

  test('count what was done', async () => {
    world = await World.start();
    const { log, gateway } = await world.log('a');
    const submit = world.token({ roles: ['submit'] });
    const watch = world.token({ roles: ['metrics'] });
    const before = await figures(watch);
    const type = 'application/protobuf';
    const path = '/logs/a/v1/entries';
    const entry = await gateway.entry();
    for (const body of [entry, entry, await gateway.entry()]) {
      expect((await world.ask('POST', path, { token: submit, body, type })).status).toBeLessThan(
        300,
      );
    }
    await world.ask('POST', path, { token: submit, body: 'nonsense', type });
    await world.get('/logs/a/v1/tree-head');
    await world.get('/logs/nothing/checkpoint');
    await world.get('/wp-admin/setup');
    const after = await figures(watch);
    const grew = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
    expect(grew('stele_entries_total')).toBe(2);
    expect(grew('stele_batch_entries_count')).toBe(2);
    expect(grew('stele_batch_entries_bucket{le="1"}')).toBe(2);
    expect(grew('stele_commit_seconds_count')).toBe(2);
    expect(grew('stele_commit_seconds_bucket{le="+Inf"}')).toBe(2);
    expect(grew('stele_commit_seconds_sum')).toBeGreaterThan(0);
    expect(grew('stele_refused_total{code="malformed"}')).toBe(1);
    expect(grew('stele_refused_total{code="not_found"}')).toBe(2);
    const requests = (method: string, route: string, status: number) =>
      grew(`stele_http_requests_total{method="${method}",route="${route}",status="${status}"}`);
    expect(requests('POST', '/logs/{log}/v1/entries', 201)).toBe(2);
    expect(requests('POST', '/logs/{log}/v1/entries', 200)).toBe(1);
    expect(requests('POST', '/logs/{log}/v1/entries', 400)).toBe(1);
    expect(requests('GET', '/logs/{log}/v1/tree-head', 200)).toBe(1);
    expect(requests('GET', '/logs/{log}/checkpoint', 404)).toBe(1);
    expect(requests('none', 'none', 404)).toBe(1);
    expect(after.get('stele_log_entries{log="a"}')).toBe(log.head().size);
    expect(after.get('stele_logs')).toBe(1);
    expect(after.get('stele_logs_stopped')).toBe(0);
    expect(after.get('stele_logs_without_signer')).toBe(0);
    expect(after.get('stele_queue_bytes')).toBe(0);
    expect(after.get('stele_process_resident_memory_bytes')).toBeGreaterThan(0);
  });

  test('count the entries of a batch that were refused, and pushbacks', async () => {
    world = await World.start({ settings: { feedsMax: 0 } });
    const { gateway } = await world.log('a');
    const submit = world.token({ roles: ['submit', 'read'] });
    const watch = world.token({ roles: ['metrics'] });
    const framed = (bytes: Uint8Array) =>
      Buffer.concat([Buffer.from([(bytes.length & 127) | 128, bytes.length >> 7]), bytes]);
    const body = Buffer.concat([framed(await gateway.entry()), framed(new Uint8Array(200))]);
    const type = 'application/protobuf';
    await world.ask('POST', '/logs/a/v1/entries/batch', { token: submit, body, type });
    expect((await world.get('/logs/a/v1/feed', { token: submit })).status).toBe(429);
    const after = await figures(watch);
    expect(after.get('stele_refused_total{code="malformed"}')).toBe(1);
    expect(after.get('stele_refused_total{code="pushback"}')).toBe(1);
    expect(after.get('stele_pushbacks_total')).toBe(1);
  });

  test('say which log accepts nothing, and how old its published head is', async () => {
    world = await World.start();
    const { log } = await world.log('a');
    const watch = world.token({ roles: ['metrics'] });
    world.now += 90_000;
    await log.close();
    const after = await figures(watch);
    expect(after.get('stele_log_stopped{log="a"}')).toBe(1);
    expect(after.get('stele_logs_stopped')).toBe(1);
    expect(after.get('stele_log_published_age_seconds{log="a"}')).toBeLessThanOrEqual(90);
    expect(after.get('stele_log_published_entries{log="a"}')).toBe(log.head().size);
  });
});

describe('who sees them', () => {
  test('a token of role metrics or admin, and nobody else', async () => {
    world = await World.start();
    expect((await world.get('/metrics')).status).toBe(401);
    for (const role of ['submit', 'read', 'content', 'approve', 'keys'] as const) {
      const token = world.token({ roles: [role] });
      expect((await world.get('/metrics', { token })).status, role).toBe(403);
    }
    await figures(world.token({ roles: ['metrics'] }));
    await figures(world.token({ roles: ['admin'] }));
  });

  test('names of private logs only where the token may know of them', async () => {
    world = await World.start();
    await world.log('hidden', 'private');
    await world.log('half');
    for (const name of ['half', 'hidden']) await world.logs.lease(`${name}.access`);
    const names = async (logs: readonly string[]) => {
      const all = await figures(world.token({ roles: ['metrics'], logs }));
      const shown = [...all.keys()].filter((name) => name.startsWith('stele_log_entries{'));
      return shown.map((name) => /log="([^"]+)"/.exec(name)?.[1]);
    };
    expect(await names(['*'])).toEqual(['half', 'half.access', 'hidden', 'hidden.access']);
    expect(await names(['half'])).toEqual(['half', 'half.access']);
    expect(await names(['hidden'])).toEqual(['half', 'hidden', 'hidden.access']);
  });

  test('no label comes from a request', async () => {
    world = await World.start();
    const watch = world.token({ roles: ['metrics'] });
    await figures(watch);
    const count = (await figures(watch)).size;
    for (let i = 0; i < 30; i++) {
      await world.ask('BREW', `/planted-${i}`);
      await world.get(`/logs/planted-${i}/checkpoint`);
      await world.get(`/healthz?planted-${i}=1`);
    }
    const after = await figures(watch);
    expect([...after.keys()].join()).not.toContain('planted');
    expect(after.size - count).toBeLessThan(60);
  });
});

describe('the dashboard', () => {
  test('asks only for figures that there are', async () => {
    world = await World.start({ certificateEndsMs: 1 });
    await world.log('a');
    const check = { beganMs: 1, endedMs: 1, size: 1, files: 0, found: [] };
    world.instance.putCheck({ ...check, log: 'a', tree: 'holds', content: 'holds' });
    anchored('a', 1);
    world.tallies.set('one', { attempts: 1, failures: 0, published: 1 });
    const head = { size: 1, root: new Uint8Array(32), note: 'note', headMs: 0 };
    world.instance.witnesses.plan('a', 'witness.example/w1', head, 0);
    const watch = world.token({ roles: ['metrics'] });
    await world.get('/nothing');
    await world.get('/metrics', { token: watch });
    const all = [...(await figures(watch)).keys()].map((name) => name.replace(/\{.*/, ''));
    const text = readFileSync(new URL('../../docs/grafana.json', import.meta.url), 'utf8');
    const { panels } = JSON.parse(text) as { panels: { targets: { expr: string }[] }[] };
    const asked = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(asked.length).toBeGreaterThan(10);
    for (const expr of asked) {
      for (const [name] of expr.matchAll(/stele_\w+/g)) expect(all, expr).toContain(name);
    }
  });
});
