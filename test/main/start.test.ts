/** What was started is stopped, whatever fails on the way. */
import { expect, test } from 'vitest';
import { stop } from '../../server/main/start.ts';
import { temporaryFolder } from '../proxy/harness.ts';

test('a service that cannot be closed leaves no other open, and is told of', async () => {
  const closed: string[] = [];
  const one = (name: string) => ({ close: () => void closed.push(name) });
  const failing = { close: () => Promise.reject(new Error('the disk is full')) };
  const instance = { data: temporaryFolder(), close: async () => void closed.push('instance') };
  await expect(stop(instance, [one('server'), failing, one('last')])).rejects.toThrow(
    'disk is full',
  );
  expect(closed).toEqual(['last', 'server', 'instance']);
});
