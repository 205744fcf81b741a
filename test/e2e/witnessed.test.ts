/** One Stele is the witness of another: heads go there and come back cosigned by both of its keys. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { parseVerifierKey } from '../../server/core/note.ts';
import { checkpointPathOf } from '../../server/core/tlog-witness.ts';
import { Place } from '../fault/process.ts';
import { makeSigner } from '../log/make.ts';

const logs = new Place({}, ['serve']);
const witness = new Place({ STELE_WITNESS_NAME: 'witness.example/w1' }, ['serve']);

afterAll(async () => {
  await logs.close();
  await witness.close();
});

test('heads of one instance are cosigned by another, which refuses what is older', async () => {
  await logs.start();
  const [identity] = (await logs.admin().keys()).filter(
    ({ log, purpose }) => log === 'default' && purpose === 'identity',
  );
  const origin = String(identity?.origin);
  Object.assign(witness.env, { STELE_WITNESSED_LOGS: String(identity?.vkey) });
  await witness.start();
  const { server: address } = witness.addresses();
  const keys = ((await witness.admin().witness()).keys as string[]).map(parseVerifierKey);

  await logs.stop();
  const policy = join(logs.folder, 'witnesses.txt');
  const lines = keys.map(({ text }, i) => `witness w${i} ${text} ${address}/witness\n`);
  writeFileSync(policy, `${lines.join('')}group both all w0 w1\nquorum both\n`);
  Object.assign(logs.env, { STELE_WITNESSES_POLICY: policy });
  await logs.start();
  for (let i = 0; i < 4; i++) {
    await logs.register(makeSigner());
    await logs.admin().witnessLog('default');
  }
  const head = (await (
    await fetch(`${logs.addresses().server}/logs/default/v1/tree-head`)
  ).json()) as { size: number };
  const newest = await fetch(`${address}/witness/${checkpointPathOf(origin)}`);
  const log = parseVerifierKey(String(identity?.vkey));
  const shown = openCheckpoint(utf8(await newest.text()), origin, [log, ...keys]);
  expect(shown.verified).toHaveLength(3);
  expect(shown.checkpoint.size).toBe(head.size);

  // What the log publishes has the same two lines, and whoever has the keys can see it.
  const published = await fetch(`${logs.addresses().server}/logs/default/checkpoint`);
  const note = utf8(await published.text());
  const opened = openCheckpoint(note, origin, [log, ...keys]);
  expect(opened.verified.map(({ text }) => text)).toEqual(
    expect.arrayContaining(keys.map(({ text }) => text)),
  );
  const given = await witness.admin().witness();
  expect(given).toMatchObject({ witnessed: 1, logs: [{ origin, size: head.size }] });
  expect((await witness.admin().witnessEvidence()).evidence).toEqual([]);
}, 240_000);
