/**
 * Every step that the vault asks of the disk is stopped once: the process dies before it or after it,
 * the power fails and takes what was not synced, or the disk refuses before it or does it and reports
 * a failure. Then the vault is opened again.
 */
import { cpSync, rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { CHUNK_BYTES } from '../../server/vault/chunks.ts';
import { FsyncFailed } from '../../server/vault/files.ts';
import type { Vault } from '../../server/vault/vault.ts';
import {
  type Content,
  content,
  contentFiles,
  FAULT_KINDS,
  type FaultKind,
  Faults,
  isWhole,
  Killed,
  makeFolder,
  openVault,
  plain,
  stage,
  store,
} from './fixture.ts';

const old = content('old', { 'input.raw': plain(50), f: 'old' });
const fresh = content('fresh', { 'input.raw': plain(CHUNK_BYTES + 3), f: 'fresh' });
const small = content('small', { f: 'small' });

/** A first record, a second in the same batch, and a repeat that supplies what was missing. */
async function submit(vault: Vault): Promise<void> {
  const stagings = [await stage(vault, fresh), await stage(vault, small), await stage(vault, old)];
  await vault.commitAll(stagings);
}

const template = makeFolder();
const first = await openVault(template);
await store(first, old, ['f']);
await first.close();

async function prepared(): Promise<{ folder: string; faults: Faults; vault: Vault }> {
  const folder = makeFolder();
  cpSync(template, folder, { recursive: true });
  const faults = new Faults();
  return { folder, faults, vault: await openVault(folder, { faults }) };
}

/** The steps of `work` when nothing fails. */
async function stepsOf(work: (vault: Vault) => Promise<void>): Promise<readonly string[]> {
  const { faults, vault } = await prepared();
  const steps = await faults.during(() => work(vault));
  await vault.close();
  return steps;
}

const isLogged =
  (...records: readonly Content[]) =>
  async (key: Content['key']) =>
    records.some((record) => record.key.recordId === key.recordId);

async function outcome(work: Promise<void>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

const submission = await stepsOf(submit);
const erasure = await stepsOf((vault) => vault.erase(old.key));
const sweeping = await stepsOf((vault) => sweepOld(vault));

function sweepOld(vault: Vault): Promise<void> {
  return vault.sweep(isLogged(), 0, 1_000).then(() => undefined);
}

/** A step that changes nothing is the same before and after it. */
const CHANGES_NOTHING = /^(read|exists|open|close|list)/;

const rows = (steps: readonly string[], kinds: readonly FaultKind[] = FAULT_KINDS) =>
  steps.flatMap((step) =>
    kinds
      .filter((kind) => kind.endsWith('before') || !CHANGES_NOTHING.test(step))
      .filter((kind) => kind !== 'without power before' || !CHANGES_NOTHING.test(step))
      .map((kind) => [kind, step] as const),
  );
const deaths: readonly FaultKind[] = ['killed after', 'without power after'];

test('the matrix has the steps that matter', () => {
  const count = (steps: readonly string[], name: string) =>
    steps.filter((step) => step.startsWith(name)).length;
  // Three files, and the first of them is written in two pieces.
  for (const name of ['create', 'fsync file', 'close vault/default/staging', 'rename']) {
    expect([name, count(submission, name)]).toEqual([name, 3]);
  }
  for (const name of ['write', 'add keys', 'fsync folder']) {
    expect([name, count(submission, name) > 0]).toEqual([name, true]);
  }
  for (const name of ['erase keys', 'remove vault', 'remove keys']) {
    expect([name, count(erasure, name)]).toEqual([name, 1]);
  }
  for (const name of ['read unsettled', 'remove vault', 'remove keys']) {
    expect([name, count(sweeping, name) > 0]).toEqual([name, true]);
  }
  // Else two rows of the matrix would be the same one, and a third would be missing.
  for (const steps of [submission, erasure, sweeping])
    expect(new Set(steps).size).toBe(steps.length);
});

test('the same work takes the same steps, in whatever order the disk serves them', async () => {
  expect([...(await stepsOf(submit))].sort()).toEqual([...submission].sort());
});

describe('a submission', () => {
  test.each(rows(submission))('%s: %s', async (kind: FaultKind, step) => {
    const { folder, faults, vault } = await prepared();
    faults.plan(step, kind);
    const error = await outcome(submit(vault));
    expect(error).toBeDefined();

    if (kind.startsWith('failing')) {
      if (step.startsWith('fsync')) {
        expect(error).toBeInstanceOf(FsyncFailed);
        // Nobody goes on: whatever is asked of this vault from now on fails the same way.
        await expect(submit(vault)).rejects.toBeInstanceOf(FsyncFailed);
        await expect(vault.fields(old.key)).rejects.toBeInstanceOf(FsyncFailed);
      } else {
        expect(error).toMatchObject({ code: 'storage' });
        // Once the disk works again, so does the vault, without a restart.
        await submit(vault);
        for (const record of [old, fresh, small]) expect(await isWhole(vault, record)).toBe(true);
      }
    } else {
      expect(error).toBeInstanceOf(Killed);
    }
    await faults.bury();

    const done = kind.startsWith('failing') && !step.startsWith('fsync');
    const next = await openVault(folder);
    await next.sweep(done ? isLogged(old, fresh, small) : isLogged(old), 0, 1_000);
    expect((await isWhole(next, old)) || (await next.fields(old.key)).length > 0).toBe(true);
    expect(await next.disclosure(old.key, 'f')).toBe(old.disclosures.get('f'));
    for (const record of [fresh, small]) {
      expect(await isWhole(next, record)).toBe(done);
      if (!done) expect(await next.fields(record.key)).toEqual([]);
    }
    if (!done) expect(contentFiles(folder).length).toBeLessThanOrEqual(2);
    expect(contentFiles(folder).filter((path) => path.includes('staging'))).toEqual([]);

    // The submitter tries again, and the log takes it this time.
    await submit(next);
    await next.sweep(isLogged(old, fresh, small), 0, 1_000);
    for (const record of [old, fresh, small]) expect(await isWhole(next, record)).toBe(true);
    await next.close();
  });

  test.each(rows(submission, deaths))(
    '%s: %s, and sent again before a sweep',
    async (kind, step) => {
      const { folder, faults, vault } = await prepared();
      faults.plan(step, kind);
      expect(await outcome(submit(vault))).toBeDefined();
      await faults.bury();
      const next = await openVault(folder);
      await submit(next);
      await next.sweep(isLogged(old, fresh, small), 0, 1_000);
      for (const record of [old, fresh, small]) expect(await isWhole(next, record)).toBe(true);
      await next.sweep(isLogged(), 0, 1_000);
      for (const record of [old, fresh, small]) expect(await isWhole(next, record)).toBe(true);
      await next.close();
    },
  );
});

describe('an erasure', () => {
  test.each(rows(erasure))('%s: %s', async (kind, step) => {
    const { folder, faults, vault } = await prepared();
    faults.plan(step, kind);
    expect(await outcome(vault.erase(old.key))).toBeDefined();
    await faults.bury();
    const next = await openVault(folder);
    const begun = step !== erasure[0] || kind.endsWith('after');
    await next.sweep(isLogged(old), 0, 1_000);
    expect((await next.fields(old.key)).length).toBe(begun ? 0 : 1);
    expect(contentFiles(folder)).toHaveLength(begun ? 0 : 1);
    await next.erase(old.key);
    expect(contentFiles(folder)).toEqual([]);
    await expect(next.begin(old.key, old.commitments)).rejects.toMatchObject({ code: 'conflict' });
    await next.close();
  });
});

describe('a sweep', () => {
  test.each(rows(sweeping))('%s: %s', async (kind, step) => {
    const { folder, faults, vault } = await prepared();
    faults.plan(step, kind);
    expect(await outcome(sweepOld(vault))).toBeDefined();
    await faults.bury();
    const next = await openVault(folder);
    await sweepOld(next);
    expect(contentFiles(folder)).toEqual([]);
    await store(next, old);
    await next.sweep(isLogged(old), 0, 1_000);
    expect(await isWhole(next, old)).toBe(true);
    await next.close();
  });
});

describe('without power right after it resolved', () => {
  const cut = async (faults: Faults) => {
    await faults.bury();
    faults.power.cut();
  };

  test('a commit is still there', async () => {
    const { folder, faults, vault } = await prepared();
    await submit(vault);
    await cut(faults);
    const next = await openVault(folder);
    for (const record of [old, fresh, small]) expect(await isWhole(next, record)).toBe(true);
    await next.close();
  });

  test('the first commit of a vault is still there', async () => {
    const folder = makeFolder();
    const faults = new Faults();
    await store(await openVault(folder, { faults }), small);
    await cut(faults);
    const next = await openVault(folder);
    expect(await isWhole(next, small)).toBe(true);
    await next.close();
  });

  test('an erasure and a sweep still hold', async () => {
    for (const work of [(vault: Vault) => vault.erase(old.key), sweepOld]) {
      const { folder, faults, vault } = await prepared();
      await work(vault);
      await cut(faults);
      expect(contentFiles(folder)).toEqual([]);
      const next = await openVault(folder);
      expect(await next.fields(old.key)).toEqual([]);
      await next.close();
    }
  });
});

test('a file that is gone though its record was logged is an error, not an absence', async () => {
  const folder = makeFolder();
  const vault = await openVault(folder);
  await store(vault, small);
  await vault.sweep(isLogged(small), 0, 1_000);
  for (const path of contentFiles(folder)) rmSync(path);
  await expect(vault.disclosure(small.key, 'f')).rejects.toThrow(SteleError);
  await expect(vault.fields(small.key)).rejects.toMatchObject({ code: 'storage' });
  await vault.close();
});
