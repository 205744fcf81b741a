/** The logs that a proxy of its own writes to, over HTTP: held to its trust file, and known when the first is gone. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { RemoteSeries } from '../../server/main/remote-series.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { lying, note, start } from '../client/served.ts';
import { temporaryFolder } from '../temporary.ts';

beforeAll(() => useNativePrimitives());

test('is followed as far as the trust file proves it, and that is remembered', async () => {
  const { client, gateway, instance, log, server, token, trust } = await start();
  const learned = join(temporaryFolder(), 'proxy-trust.json');
  const options = { server: server.url, token, trust, learned };
  const series = new RemoteSeries(options);
  const first = await series.log(log.origin).submit(await note('one', gateway));
  expect(parseReceipt(await client.receipt(`${first}`)).origin).toBe(log.origin);
  await expect(series.next(log.origin)).rejects.toMatchObject({ code: 'not_yet' });
  expect(existsSync(learned)).toBe(false);
  await instance.logs.roll('notes', 'next');
  const late = series.log(log.origin).submit(await note('two', gateway));
  await expect(late).rejects.toMatchObject({ code: 'frozen' });
  const next = await series.next(log.origin);
  expect(next).toBe(instance.logs.originOf('next'));
  const known = parseTrust(utf8(readFileSync(learned, 'utf8')));
  expect(known.logs.map(({ origin }) => origin)).toEqual([next]);

  // Another process, when nobody can ask the first log any more.
  const again = new RemoteSeries(options);
  const index = await again.log(next).submit(await note('three', gateway));
  expect(await instance.logs.use('next', async (log) => log.head().size)).toBe(index + 1);
  expect((await again.log(next).sources()).map(({ id }) => id)).toEqual(['_log']);

  const other = parseReceipt(await client.receipt('1'));
  const liar = new RemoteSeries({
    ...options,
    fetch: lying(({ path, bytes }) =>
      path.endsWith('/entries')
        ? utf8(bytes.toString().replace(next, other.origin.padEnd(next.length, 'x')))
        : undefined,
    ),
  });
  await expect(liar.log(next).submit(await note('four', gateway))).rejects.toMatchObject({
    name: 'BadAnswer',
  });
  await expect(
    again.log('nowhere.example/a').submit(await note('x', gateway)),
  ).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('without a trust file takes the server’s word, and writes nothing down', async () => {
  const { instance, log, server, token } = await start();
  const learned = join(temporaryFolder(), 'proxy-trust.json');
  const series = new RemoteSeries({ server: server.url, token, learned });
  await instance.logs.roll('notes', 'next');
  expect(await series.next(log.origin)).toBe(instance.logs.originOf('next'));
  expect(existsSync(learned)).toBe(false);
});
