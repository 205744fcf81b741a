/** How records go to the log: a few at once, in order, and none waits for more than its own turn. */
import { expect, test } from 'vitest';
import { chat, chatProvider } from './calls.ts';
import { gate, refusal, setUp } from './harness.ts';

test('a record that takes the log long delays only itself', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url, limits: { inFlight: 2 } });
  const slow = gate();
  log.refuse = async ({ source }) => {
    if (source.seq === 0) await slow.passed;
  };
  for (let i = 0; i < 10; i++) await chat(proxy);
  // Nine go past the one that is held, two places at a time.
  await log.untilCalls(9);
  expect(log.calls.map(({ source }) => source.seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(1);
  slow.open();
  await log.untilCalls(10);
  log.checkChain();
  expect(log.attempts).toHaveLength(10);
});

test('behind one that is not taken no other is started', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({
    upstream: provider.url,
    limits: { inFlight: 2 },
    timeouts: { retryMs: 60_000 },
  });
  log.refuse = () => {
    throw refusal('storage');
  };
  await chat(proxy);
  await expect.poll(() => log.attempts.length).toBe(1);
  for (let i = 0; i < 5; i++) await chat(proxy);
  await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(6);
  expect(log.attempts).toHaveLength(1);
});
