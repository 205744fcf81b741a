/** The state in a file: one spelling, whole or refused, and durable before it counts. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatState, parseState, type State } from '../../../server/client/gateway/state.ts';
import { StateFile, StateUnknown } from '../../../server/client/gateway/state-file.ts';
import { utf8 } from '../../../server/core/bytes.ts';
import { temporaryFolder } from '../../temporary.ts';

const STATE: State = {
  series: 'team-a',
  source: 'gw.9f3a01bc',
  log: { origin: 'log.example/logs/team-a' },
  next: 43,
  prev: 'A'.repeat(43),
  lost: [{ from: 7, to: 9, reason: 'refused' }],
  pending: [utf8('one'), utf8('two')],
};

describe('a state', () => {
  test('is read as it was written, with and without what may be missing', () => {
    const bare = { ...STATE, prev: null, next: 0, lost: [], pending: [] };
    const learned = { ...STATE, log: { ...STATE.log, keys: ['a+1+x'] } };
    for (const state of [STATE, bare, learned])
      expect(parseState(formatState(state))).toEqual(state);
  });

  test('that is not whole, or that anybody changed, is refused', () => {
    const bytes = formatState(STATE);
    for (let at = 0; at < bytes.length; at += 7) {
      expect(() => parseState(bytes.slice(0, at)), `cut at ${at}`).toThrow();
      expect(() => parseState(bytes.with(at, bytes[at]! ^ 1)), `changed at ${at}`).toThrow();
    }
    expect(() => parseState(new Uint8Array([...bytes, 10]))).toThrow();
    const other = formatState({ ...STATE, more: 1 } as State);
    expect(() => parseState(other)).toThrow('more');
  });
});

describe('a state file', () => {
  /** Counts what is done to the disk, and fails the step that a test names. */
  function failing(at: number, how: 'before' | 'after', steps: string[]) {
    const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const n = steps.push(name) - 1;
      const fail = () => {
        if (n === at) throw Object.assign(new Error('made up'), { code: 'EIO' });
      };
      if (how === 'before') fail();
      const result = await work();
      if (how === 'after') fail();
      return result;
    };
    const opening = async (...args: Parameters<typeof open>) => {
      const file = await step('open', () => open(...args));
      return new Proxy(file, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name, target);
          if (typeof value !== 'function') return value;
          const method = value.bind(target) as (...all: unknown[]) => Promise<unknown>;
          if (name !== 'sync' && name !== 'writeFile') return method;
          return (...all: unknown[]) => step(String(name), () => method(...all));
        },
      });
    };
    return {
      open: opening as typeof open,
      rename: ((from: string, to: string) =>
        step('rename', () => rename(from, to))) as typeof rename,
    };
  }

  test('is synced before it has its name, and the folder after it', async () => {
    const steps: string[] = [];
    const file = StateFile.open(join(temporaryFolder(), 'state'), failing(-1, 'before', steps));
    expect(await file.read()).toBeUndefined();
    await file.write(STATE);
    expect(steps).toEqual(['open', 'writeFile', 'sync', 'rename', 'open', 'sync']);
    expect(await file.read()).toEqual(STATE);
    await file.close();
  });

  test('holds the old state or the new one, whichever step fails', async () => {
    const later = { ...STATE, next: 44 };
    for (const how of ['before', 'after'] as const) {
      for (let at = 0; at < 6; at++) {
        const path = join(temporaryFolder(), 'state');
        writeFileSync(path, formatState(STATE));
        const steps: string[] = [];
        const file = StateFile.open(path, failing(at, how, steps));
        const error = await file.write(later).catch((reason: unknown) => reason);
        const where = `${how} ${steps[at]} ${at}`;
        const isSync = steps[at] === 'sync';
        if (isSync) expect(error, where).toBeInstanceOf(StateUnknown);
        else expect(error, where).toMatchObject({ code: 'storage' });
        expect([43, 44], where).toContain((await file.read())?.next);
        // After a failed sync nothing is promised any more; anything else may be tried again.
        if (isSync) await expect(file.write(later), where).rejects.toBeInstanceOf(StateUnknown);
        else {
          await file.write(later);
          expect(await file.read(), where).toEqual(later);
        }
        await file.close();
      }
    }
  });

  test('that is damaged says so, and is not begun anew', async () => {
    const path = join(temporaryFolder(), 'state');
    writeFileSync(path, formatState(STATE).slice(0, -3));
    const file = StateFile.open(path);
    await expect(file.read()).rejects.toMatchObject({
      code: 'malformed',
      message: expect.stringContaining(path),
    });
    expect(readFileSync(path).length).toBeGreaterThan(10);
    await file.close();
  });

  test('in a folder that is not there, or is one itself, is refused', async () => {
    const folder = temporaryFolder();
    expect(() => StateFile.open(join(folder, 'none', 'state'))).toThrow('cannot be locked');
    const path = join(folder, 'state');
    mkdirSync(path);
    const file = StateFile.open(path);
    await expect(file.read()).rejects.toMatchObject({ code: 'storage' });
    await expect(file.write(STATE)).rejects.toMatchObject({ code: 'storage' });
    await file.close();
    expect(existsSync(path)).toBe(true);
  });
});
