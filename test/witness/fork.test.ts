/**
 * A log's folder is copied, and both copies go on: whoever is shown both of them notices, and the one that comes
 * second signs nothing more (P2).
 */
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { Place } from '../fault/process.ts';
import { makeSigner } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';
import { WitnessDouble } from './double.ts';
import { introduce, policyFile } from './place.ts';

describe.each([
  ['serves what it cosigned', true],
  ['serves nothing', false],
])('a witness that %s', (_, serves) => {
  let witness: WitnessDouble;
  let first: Place;
  let second: Place;
  let origin: string;
  let policy: string;

  beforeAll(async () => {
    witness = new WitnessDouble();
    witness.serves = serves;
    await witness.listen();
    policy = policyFile(temporaryFolder(afterAll), [witness]);
    const env = { STELE_WITNESSES_POLICY: policy };
    first = new Place(env, ['serve']);
    second = new Place(env, ['serve']);
    await first.start();
    origin = await introduce(first, [witness]);
    await first.admin().witnessLog('default');
    await first.stop();
    rmSync(second.data, { recursive: true });
    cpSync(first.data, second.data, { recursive: true });
  }, 120_000);

  afterAll(async () => {
    witness.close();
    await first.close();
    await second.close();
  });

  test('notices a copy that was taken for the only one, and both sign', async () => {
    const before = witness.sizeOf(origin);
    expect(before).toBeGreaterThan(0);
    const accepted = await second.stele('restore', '--accept', '--data', second.data);
    expect(accepted.code).toBe(0);
    // One after the other: each has the port that it was given.
    await first.start();
    await second.start();
    for (let i = 0; i < 3; i++) await first.register(makeSigner());
    for (let i = 0; i < 5; i++) await second.register(makeSigner());
    await first.admin().witnessLog('default');
    expect(witness.sizeOf(origin)).toBe(before + 3);

    const told = await second.admin().witnessLog('default');
    expect(told).toMatchObject({
      witnessing: [{ disputes: `has another root at size ${before + 3}` }],
    });
    await expect(second.register(makeSigner())).rejects.toMatchObject({ code: 'split_view' });
    const listed = await second.log('read').witnesses();
    expect(listed.evidence).toMatchObject([{ witness: 'w.example', proven: serves }]);
    const [found] = listed.evidence as { asked: { checkpoint: string }; checkpoint?: string }[];
    // Both heads are the log's own: each is by its key, and neither leads to the other.
    const keys = second.trust().logs.flatMap((log) => log.keys.map(({ key }) => key));
    const own = openCheckpoint(utf8(found?.asked.checkpoint ?? ''), origin, keys).checkpoint;
    expect(own.size).toBe(before + 5);
    if (serves) {
      const theirs = openCheckpoint(utf8(found?.checkpoint ?? ''), origin, keys).checkpoint;
      expect(theirs.size).toBe(before + 3);
      const mine = await (
        await fetch(`${second.addresses().server}/logs/default/v1/tree-head/${theirs.size}`)
      ).json();
      expect(mine).not.toMatchObject({ root: Buffer.from(theirs.root).toString('base64') });
    }
    const shown = await second.stele('witness', 'list', '--data', second.data);
    expect(shown.output).toContain('DISPUTES: w.example has another root');

    // It is as stopped after a restart, and the other one goes on.
    await second.stop();
    await second.start();
    await expect(second.register(makeSigner())).rejects.toMatchObject({ code: 'split_view' });
    await first.register(makeSigner());
    await first.admin().witnessLog('default');
    expect(witness.sizeOf(origin)).toBe(before + 4);

    // Whoever takes the witness out has seen to what it only said; what is proven counts for good.
    await second.stop();
    const stranger = new WitnessDouble({ name: 'stranger.example', seed: 9 });
    writeFileSync(policy, `${stranger.policyLines('http://127.0.0.1:1')}quorum none\n`);
    await second.start();
    const registered = second.register(makeSigner());
    if (serves) await expect(registered).rejects.toMatchObject({ code: 'split_view' });
    else await registered;
    const kept = await second.log('read').witnesses();
    expect(kept.evidence).toMatchObject([{ witness: 'w.example', asked: { size: before + 5 } }]);
    expect(JSON.stringify(kept.evidence).includes('let_go')).toBe(!serves);
  }, 120_000);
});
