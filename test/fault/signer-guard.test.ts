/**
 * What a signer does where a history could split, and what the operator is told (P2): a copy of the data
 * folder, a memory that is old or lost, keys that are others.
 */
import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Author } from './author.ts';
import { Ledger } from './ledger.ts';
import { Place } from './process.ts';
import { type SignerPlace, signerPlace } from './signer-place.ts';
import { straceMissing, Tracer } from './strace.ts';

interface Started {
  readonly signer: SignerPlace;
  readonly place: Place;
  readonly ledger: Ledger;
  /** Submits one record to a place: its own, or a copy of it. */
  submit(to?: Place): Promise<unknown>;
}

async function started(): Promise<Started> {
  const signer = await signerPlace();
  const place = newPlace(signer);
  await place.start();
  const author = new Author((await place.log('read').head()).origin, 'gateway');
  await place.register(author.signer);
  const ledger = new Ledger(place.trust());
  const submit = async (to = place) => {
    const entry = await author.sign(author.next());
    const { receipt } = await to.log('submit').submit(entry);
    ledger.receipt(receipt);
  };
  await submit();
  return { signer, place, ledger, submit };
}

function newPlace({ tap }: SignerPlace): Place {
  const place = new Place({ STELE_SIGNER_SOCKET: tap.path, STELE_LOG_LEVEL: 'info' });
  onTestFinished(() => place.close());
  return place;
}

/** Tries until it is taken. */
async function taken(submit: () => Promise<unknown>): Promise<void> {
  const until = Date.now() + 30_000;
  for (;;) {
    try {
      await submit();
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
      await pause(50);
    }
  }
}

/** Submits until it is refused for this reason, and not because the signer is on its way. */
async function refused(submit: () => Promise<unknown>, reason: RegExp): Promise<void> {
  const until = Date.now() + 30_000;
  for (;;) {
    const error = await submit().then(
      () => new Error('it was taken'),
      (cause: unknown) => cause as Error,
    );
    if (reason.test(error.message)) {
      expect(error).toMatchObject({ code: 'storage' });
      return;
    }
    if (Date.now() > until) throw error;
    await pause(50);
  }
}

test('of two servers on copies of one log the signer serves one, and the other stops', async () => {
  const { signer, place, ledger, submit } = await started();
  await place.stop();
  // Another machine, whose state folder knows nothing, and somebody who says that it is the only one.
  const copy = newPlace(signer);
  cpSync(place.data, copy.data, { recursive: true });
  expect((await copy.stele('restore', '--data', copy.data, '--accept')).code).toBe(0);
  await place.start();
  await copy.start();
  await submit();
  const late = submit(copy);
  await expect(late).rejects.toMatchObject({ code: 'split_view' });
  await expect(late).rejects.toThrow(/does not continue the one that was signed, of 5 entries/);
  // The one that is refused is read as before; the other goes on.
  expect((await copy.log('read').head()).size).toBe(4);
  await submit();
  await ledger.checkAll(place.log('read'));
  // A start of its own tells the same.
  await copy.stop();
  const again = await copy.start();
  expect(again.output).toContain('Log default accepts nothing');
  expect(again.output).toContain('was signed before (signer:');
  await expect(submit(copy)).rejects.toMatchObject({ code: 'split_view' });
}, 120_000);

test('a signer whose state folder is an old copy makes up for it, and it is said', async () => {
  const { signer, place, ledger, submit } = await started();
  await signer.running.kill('SIGTERM');
  const old = `${signer.state}.old`;
  cpSync(signer.state, old, { recursive: true });
  await signer.start();
  await taken(submit);
  await submit();
  await place.stop();
  await signer.running.kill('SIGTERM');
  rmSync(signer.state, { recursive: true });
  renameSync(old, signer.state);
  await signer.start();
  const running = await place.start();
  await submit();
  expect(running.output).toMatch(
    /the signer remembers 4 of 6 entries, so its state folder is an old copy/,
  );
  await ledger.checkAll(place.log('read'));
}, 120_000);

test('a signer whose state folder is lost signs nothing until it is told where the logs are', async () => {
  const { signer, place, ledger, submit } = await started();
  await signer.running.kill('SIGTERM');
  rmSync(signer.state, { recursive: true });
  await signer.start();
  const { signatures } = signer.tap;
  await refused(submit, /start it once with --expect and the newest checkpoint/);
  expect(signer.tap.signatures).toBe(signatures);
  expect((await place.log('read').head()).size).toBe(4);
  const heads = join(place.folder, 'heads');
  expect((await place.stele('log', 'heads', heads, '--data', place.data)).code).toBe(0);
  await signer.running.kill('SIGTERM');
  const told = await signer.start('--expect', heads);
  expect(told.output).toMatch(/noted +\S+\/logs\/default: 4 entries/);
  await taken(submit);
  await ledger.checkAll(place.log('read'));
}, 120_000);

test('a signer with other keys is refused by name, and the right one is taken without a restart', async () => {
  const { signer, place, ledger, submit } = await started();
  await signer.running.kill('SIGTERM');
  renameSync(signer.keys, `${signer.keys}.right`);
  await signer.start();
  await refused(submit, /the signer has no keys for \S+\/logs\/default/);
  // Keys are there now, and they are not the log's.
  const { origin } = await place.log('read').head();
  expect((await place.stele('signer', 'add', origin, '--keys', signer.keys)).code).toBe(0);
  await refused(submit, /has no identity key [0-9a-f]{64} for .*; it has [0-9a-f]{64}/);
  expect((await place.log('read').head()).size).toBe(4);
  await signer.running.kill('SIGTERM');
  rmSync(signer.keys, { recursive: true });
  renameSync(`${signer.keys}.right`, signer.keys);
  await signer.start();
  await taken(submit);
  await ledger.checkAll(place.log('read'));
}, 180_000);

test('without the signer a server starts, is read, and says in readyz and doctor that it takes nothing', async () => {
  const { signer, place, submit } = await started();
  await place.stop();
  await signer.running.kill();
  await place.start();
  const { server } = place.addresses();
  const ready = await fetch(`${server}/readyz`);
  expect(ready.status).toBe(503);
  expect(Number(ready.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await place.log('read').head()).size).toBe(4);
  const checked = await place.stele('doctor', '--data', place.data);
  expect(checked.output).toContain('is away');
  const posted = fetch(`${server}/logs/default/v1/entries`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${place.token('submit')}`,
      'content-type': 'application/protobuf',
    },
    body: new Uint8Array([1]),
  });
  expect((await posted).status).toBe(503);
  expect(Number((await posted).headers.get('retry-after'))).toBeGreaterThan(0);
  const figures = async () => {
    const headers = { authorization: `Bearer ${place.token('admin')}` };
    return (await fetch(`${server}/metrics`, { headers })).text();
  };
  expect(await figures()).toMatch(/^stele_logs_without_signer [12]$/m);
  await signer.start();
  await taken(submit);
  expect((await fetch(`${server}/readyz`)).status).toBe(200);
  expect(await figures()).toMatch(/^stele_logs_without_signer 0$/m);
}, 120_000);

test.skipIf(straceMissing !== undefined)(
  `a failed fsync of what it remembers ends the signer before it signs (skipped: ${straceMissing ?? 'never here'})`,
  async () => {
    const { signer, place, ledger, submit } = await started();
    const { origin, size } = await place.log('read').head();
    const fault = { inject: 'fdatasync:error=EIO:when=1' };
    const tracer = await Tracer.attach(signer.running, place.folder, fault);
    await expect(submit()).rejects.toMatchObject({ code: 'storage' });
    const { code, output } = await signer.running.ended;
    expect(code).toBe(2);
    expect(output).toContain('fsync failed');
    expect(await tracer.end()).toBe(true);
    const larger = [...signer.tap.signed(origin).keys()].filter((signed) => signed > size);
    expect(larger).toEqual([]);
    await signer.start();
    await taken(submit);
    await ledger.checkAll(place.log('read'));
  },
  120_000,
);

test('a log whose keys were files goes on with a signer, and its keys leave the server', async () => {
  const signer = await signerPlace();
  await signer.running.kill('SIGTERM');
  const place = new Place();
  onTestFinished(() => place.close());
  await place.start();
  const author = new Author((await place.log('read').head()).origin, 'gateway');
  await place.register(author.signer);
  const ledger = new Ledger(place.trust());
  const submit = async (to: Place) => {
    const entry = await author.sign(author.next());
    ledger.receipt((await to.log('submit').submit(entry)).receipt);
  };
  await submit(place);
  const { origin } = await place.log('read').head();
  await place.stop();

  const heads = join(place.folder, 'heads');
  expect((await place.stele('log', 'heads', heads, '--data', place.data)).code).toBe(0);
  for (const [name, of] of [
    ['_admin', origin.replace(/default$/, '_admin')],
    ['default', origin],
    ['default.access', `${origin}.access`],
  ] as const) {
    const folder = join(place.data, 'keys', 'logs', name);
    const added = await place.stele(
      ...['signer', 'add', of, '--keys', signer.keys],
      ...['--identity-key', join(folder, 'identity.pem')],
      ...['--anchor-key', join(folder, 'anchor.pem'), '--sth-key', join(folder, 'sth.pem')],
    );
    expect(added.code, added.output).toBe(0);
  }
  await signer.start('--expect', heads);
  const moved = newPlace(signer);
  rmSync(moved.data, { recursive: true });
  renameSync(place.data, moved.data);
  await moved.start();
  await submit(moved);
  await moved.stop();
  for (const purpose of ['identity', 'anchor', 'sth']) {
    rmSync(join(moved.data, 'keys', 'logs', 'default', `${purpose}.pem`));
  }
  await moved.start();
  await submit(moved);
  await ledger.checkAll(moved.log('read'));
}, 120_000);
