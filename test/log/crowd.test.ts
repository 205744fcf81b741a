/** A record id that many sources use: none of them may keep the others from being logged or found. */
import { describe, expect, test } from 'vitest';
import type { Entry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { Log } from '../../server/log/log.ts';
import { CANDIDATES_MAX } from '../../server/storage/store.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, checkWhole, Gateway, logOptions, startLog, submit } from './make.ts';

const ID = '019b7676-4c00-7abc-8abc-0123456789ab';

/** `count` records of one gateway key, all with one id, each of a source of its own. */
function crowd(gateway: Gateway, count: number, from = 0): Promise<Entry[]> {
  return Promise.all(
    Array.from({ length: count }, (_, i) => {
      const source = {
        id: `crowd-${from + i}`,
        instance: 'a',
        seq: 0,
        prev: null,
        provenance: 'observed',
        completeness: 'full',
        software: 'test/0',
      };
      return gateway.make({ seq: 0, prev: null }, { record_id: ID, source });
    }),
  );
}

describe.each([
  ['at once', 1],
  ['one after the other', CANDIDATES_MAX + 36],
])('a record id that too many sources use, %s', (_, batches) => {
  test('is refused to the next one alone, and every earlier record stays found (P1, P3)', async () => {
    const options = logOptions({ stateFolder: temporaryFolder() });
    const { log, gateway } = await startLog(options);
    const victim = await gateway.next({ record_id: ID });
    const [index] = await append(log, victim);
    const stranger = new Gateway();
    await log.registerGateway(stranger.signer.publicKey);

    const entries = await crowd(stranger, CANDIDATES_MAX + 36);
    const size = Math.ceil(entries.length / batches);
    const outcomes = [];
    for (let at = 0; at < entries.length; at += size) {
      outcomes.push(...(await submit(log, ...entries.slice(at, at + size))));
    }
    const refused = outcomes.filter((one) => one instanceof SteleError);
    expect(outcomes.length - refused.length).toBe(CANDIDATES_MAX - 1);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['conflict']));

    // Beside one more of them, others are logged, and the first record is repeated and found.
    const [more] = await crowd(stranger, 1, 1_000);
    const honest = await gateway.next();
    const next = log.head().size;
    expect(await submit(log, more!, honest, victim)).toMatchObject([
      { code: 'conflict' },
      { index: next, repeat: false },
      { index, repeat: true },
    ]);
    expect(await log.findRecord(ID, gateway.source)).toBe(index);
    await checkWhole(log);
    const opened = await Log.open(options);
    expect(await submit(opened, victim)).toMatchObject([{ index, repeat: true }]);
  });
});
