/** Strangers who wait on a public log leave room for those who hold a token. */
import { expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { World } from './world.ts';

test('strangers that wait never keep a token holder from waiting (P8)', async () => {
  const world = await World.start({ settings: { waitersMax: 4 } });
  const { log, gateway } = await world.log('open', 'public');
  const token = world.token({ roles: ['read'], logs: ['open'] });
  let waiting = 0;
  let counted: () => void = () => undefined;
  const grown = log.grown.bind(log);
  log.grown = (beyond, signal) => {
    waiting++;
    counted();
    return grown(beyond, signal);
  };
  const until = (count: number) =>
    new Promise<void>((resolve) => {
      counted = () => {
        if (waiting >= count) resolve();
      };
      counted();
    });
  const { bytes, recordId } = await gateway.make();
  const path = `/logs/open/v1/receipts/${recordId}?wait=20`;
  const strangers = [world.get(path), world.get(path)];
  await until(2);
  const refused = await world.get(path);
  expect([refused.status, refused.json().code]).toEqual([429, 'pushback']);
  const holders = [world.get(path, { token }), world.get(path, { token })];
  await until(4);
  await log.submit([{ admitted: await log.admit(decodeEntry(bytes)) }]);
  const answers = await Promise.all([...strangers, ...holders]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  await world.stop();
});
