/**
 * From an entry to a receipt that others have cosigned: a real server, strict doubles of witnesses behind HTTP,
 * and the command that verifies it alone.
 */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseUtf8, utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { isQuorumMet, parsePolicy } from '../../server/core/policy.ts';
import { checkInclusion } from '../../server/core/proof.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseTlogProof } from '../../server/core/tlog-proof.ts';
import { Author } from '../fault/author.ts';
import { Place } from '../fault/process.ts';
import { temporaryFolder } from '../temporary.ts';
import { SILENCE, WitnessDouble } from '../witness/double.ts';
import { introduce, policyFile, policyText } from '../witness/place.ts';

let one: WitnessDouble;
let two: WitnessDouble;
let place: Place;
let author: Author;
let origin: string;

beforeAll(async () => {
  one = new WitnessDouble({ name: 'one.example', seed: 1 });
  two = new WitnessDouble({ name: 'two.example', seed: 2, mldsa: true });
  await one.listen();
  await two.listen();
  const policy = policyFile(temporaryFolder(afterAll), [one, two]);
  place = new Place({ STELE_WITNESSES_POLICY: policy, STELE_COSIGNED_SHUT_FAIL: 'closed' }, [
    'serve',
  ]);
  await place.start();
  origin = await introduce(place, [one, two]);
  author = new Author(origin, 'gateway');
  await place.register(author.signer);
}, 120_000);

afterAll(async () => {
  one.close();
  two.close();
  await place.close();
});

async function submit(): Promise<number> {
  const { receipt } = await place.log('submit').submit(await author.sign(author.next()));
  return parseReceipt(receipt).index;
}

function ask(path: string, log = 'default'): Promise<Response> {
  return fetch(`${place.addresses().server}/logs/${log}/${path}`, {
    headers: { authorization: `Bearer ${place.token('read')}` },
  });
}

async function headOf(log = 'default'): Promise<Record<string, unknown>> {
  return (await (await ask('v1/tree-head', log)).json()) as Record<string, unknown>;
}

function trust(name: string, more: object): string {
  const file = join(place.folder, name);
  const known = JSON.parse(readFileSync(join(place.data, 'trust.json'), 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...known, ...more }));
  return file;
}

describe('with fail: open', () => {
  test('a receipt with the quorum is there once it can be, and is verified without anybody', async () => {
    one.plan.push(() => ({ status: 503 }));
    const index = await submit();
    const early = await ask(`v1/receipts/${index}?require=quorum`);
    expect(early.status).toBe(404);
    expect(Number(early.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await early.json()).toMatchObject({ code: 'not_yet' });

    const done = await place.admin().witnessLog('default');
    const size = (await place.log('read').head()).size;
    await place.admin().witnessLog('default');
    expect(done).toMatchObject({ witnessing: [{ witness: 'one.example' }, { size }] });
    const file = join(place.folder, 'receipt.json');
    const got = await place.stele(
      ...['receipt', String(index), '--data', place.data, '--require', 'quorum', '--wait', '20'],
      ...['-o', file],
    );
    expect(got.output).toContain(`entry ${index} of`);

    const policy = policyText([one, two]);
    const policyPath = policyFile(place.folder, [one, two]);
    const printed = await place.stele(
      ...['log', 'trust', 'default', '--policy', policyPath, '--data', place.data],
    );
    const handedOut = join(place.folder, 'handed-out.json');
    writeFileSync(handedOut, printed.output);
    const held = await place.stele('verify', file, '--trust', handedOut);
    expect(held.output).toContain('HOLDS');
    expect(held.output).toMatch(/valid +witness +Witness one\.example,.* cosigned it at/);
    expect(held.output).toMatch(/valid +witness +Witness two\.example-mldsa,/);
    expect(held.output).toMatch(/valid +witnesses .*quorum all is met/);
    expect(held.code).toBe(0);

    // Somebody who knows other witnesses as well is told that these did not cosign.
    const stranger = new WitnessDouble({ name: 'three.example', seed: 3 });
    const asksMore = trust('more.json', { policy: policyText([one, two, stranger]) });
    const open = await place.stele('verify', file, '--trust', asksMore);
    expect(open.output).toMatch(/absent +witness +Witness three\.example/);
    expect(open.output).toContain('DOES NOT HOLD');
    expect(open.code).toBe(1);

    // A line that was changed is no line.
    const spoiled = readFileSync(file, 'utf8').replace(/two\.example \w{8}/, (text) =>
      text.replace(/\w$/, (last) => (last === 'A' ? 'B' : 'A')),
    );
    writeFileSync(join(place.folder, 'spoiled.json'), spoiled);
    const bad = await place.stele(
      ...['verify', join(place.folder, 'spoiled.json'), '--trust', trust('known.json', { policy })],
    );
    expect(bad.code).toBe(1);
  });

  test('the same as a tlog-proof satisfies the policy in the hands of others', async () => {
    await place.admin().witnessLog('default');
    const bytes = new Uint8Array(
      await (await ask('v1/receipts/1?format=tlog-proof&require=quorum')).arrayBuffer(),
    );
    const { index, proof, checkpoint, extra = new Uint8Array() } = parseTlogProof(bytes);
    const policy = parsePolicy(utf8(policyText([one, two])));
    const [{ keys } = { keys: [] }] = place.trust().logs;
    const opened = openCheckpoint(utf8(checkpoint), origin, [
      ...keys.map(({ key }) => key),
      ...policy.witnesses.map(({ key }) => key),
    ]);
    expect(isQuorumMet(policy, opened.verified)).toBe(true);
    const { size, root } = opened.checkpoint;
    checkInclusion({ index, size, leafHash: leafHash(extra), proof, root });
  });

  test('heads say what they have, and are kept with it', async () => {
    await place.admin().witnessLog('default');
    const cosigned = await headOf();
    expect(cosigned).toMatchObject({ quorum: { met: true, fail: 'open' } });
    const names = (cosigned.cosignatures as { name: string }[]).map(({ name }) => name);
    expect(names.toSorted()).toEqual(['one.example', 'two.example', 'two.example']);
    await submit();
    const newer = await headOf();
    expect(newer).toMatchObject({
      cosignatures: [],
      quorum: { met: false, newest: cosigned.size },
    });
    const kept = await (await ask(`v1/tree-head/${String(cosigned.size)}`)).json();
    expect(kept).toMatchObject({ checkpoint: cosigned.checkpoint, quorum: { met: true } });
    const metrics = await fetch(`${place.addresses().server}/metrics`, {
      headers: { authorization: `Bearer ${place.token('admin')}` },
    });
    expect(await metrics.text()).toContain(
      `stele_log_witnessed_entries{log="default"} ${String(cosigned.size)}`,
    );
  });

  test('a witness that never answers slows no submission, and the hole is seen', async () => {
    const gone = Promise.withResolvers<typeof SILENCE>();
    const asked = Promise.withResolvers<void>();
    one.plan.push(() => {
      asked.resolve();
      return gone.promise;
    });
    await submit();
    const asking = place.admin().witnessLog('default');
    await asked.promise;
    // It has been asked, and goes on not answering: every one of these is answered meanwhile.
    for (let i = 0; i < 20; i++) await submit();
    const { size } = await place.log('read').head();
    expect(await headOf()).toMatchObject({ size });
    gone.resolve(SILENCE);
    await asking;
    const listed = await place.stele('witness', 'list', '--data', place.data);
    expect(listed.output).toMatch(/one\.example +sent/);
    await place.admin().witnessLog('default');
    expect(await headOf()).toMatchObject({ size, quorum: { met: true } });
  });

  test('a server that is killed while it asks goes on with the same head', async () => {
    const asked = Promise.withResolvers<void>();
    await submit();
    one.plan.push((honest) => {
      honest();
      asked.resolve();
      return SILENCE;
    });
    two.plan.push(() => new Promise<never>(() => {}));
    const asking = place
      .admin()
      .witnessLog('default')
      .catch(() => undefined);
    await asked.promise;
    await place.running?.kill();
    await asking;
    two.plan.length = 0;
    await place.start();
    await place.admin().witnessLog('default');
    const { size } = await place.log('read').head();
    expect(await headOf()).toMatchObject({ size, quorum: { met: true, newest: size } });
  });
});

describe('with fail: closed', () => {
  beforeAll(async () => {
    one.plan.push(() => ({ status: 503 }));
    await place.admin().createLog({ name: 'shut', visibility: 'public' });
    await introduce(place, [one, two], 'shut');
  }, 60_000);

  test('nothing is published before the quorum, and submissions are answered all the same', async () => {
    const own = new Author(`${origin.slice(0, -'default'.length)}shut`, 'gateway');
    await place.register(own.signer, 'shut');
    const { receipt } = await place.log('submit', 'shut').submit(await own.sign(own.next()));
    const { index } = parseReceipt(receipt);
    for (const path of ['checkpoint', 'v1/tree-head']) {
      const answer = await ask(path, 'shut');
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({ code: 'not_yet' });
    }
    await place.admin().witnessLog('shut');
    const published = parseUtf8(
      new Uint8Array(await (await ask('checkpoint', 'shut')).arrayBuffer()),
      'note',
    );
    expect(published).toContain('one.example');
    expect(published).toContain('two.example');
    expect(await headOf('shut')).toMatchObject({
      checkpoint: published,
      quorum: { met: true, fail: 'closed' },
    });

    // The next entry is in the log, and not in what is shown of it.
    await place.log('submit', 'shut').submit(await own.sign(own.next()));
    expect(await headOf('shut')).toMatchObject({ checkpoint: published });
    const waiting = ask(`v1/tree-head?wait=20&beyond=${index + 1}`, 'shut');
    await place.admin().witnessLog('shut');
    expect(await (await waiting).json()).toMatchObject({
      size: index + 2,
      quorum: { met: true, newest: index + 2 },
    });
  });
});

describe('what witnesses remember', () => {
  /** Every file of the place, as a snapshot of the whole machine has it. */
  function snapshot(): () => void {
    const files = readdirSync(place.folder, { recursive: true, encoding: 'utf8' })
      .map((name) => join(place.folder, name))
      .filter((path) => statSync(path).isFile())
      .map((path) => [path, readFileSync(path)] as const);
    const known = new Set(files.map(([path]) => path));
    return () => {
      for (const name of readdirSync(place.folder, { recursive: true, encoding: 'utf8' })) {
        const path = join(place.folder, name);
        if (statSync(path).isFile() && !known.has(path)) rmSync(path);
      }
      // Written into the same files: their inodes are what they were.
      for (const [path, bytes] of files) writeFileSync(path, bytes);
    };
  }

  test('keeps a machine that was put back from signing', async () => {
    await place.admin().witnessLog('default');
    await place.stop();
    const putBack = snapshot();
    await place.start();
    await submit();
    await place.admin().witnessLog('default');
    const { size } = await place.log('read').head();
    await place.stop();
    const goOn = snapshot();
    putBack();
    // By the checkpoint that they serve, or by what they answer to the one that they cosigned last.
    for (const serves of [true, false]) {
      one.serves = two.serves = serves;
      await place.start();
      const refused = place.log('submit').submit(await author.sign(author.next()));
      await expect(refused).rejects.toMatchObject({ code: 'split_view' });
      await expect(refused).rejects.toThrow(`a head of ${size} was signed before`);
      await expect(refused).rejects.toThrow('witness: ');
      const ready = await (await fetch(`${place.addresses().server}/readyz`)).json();
      expect(JSON.stringify(ready)).toContain('"kind":"witness"');
      await place.stop();
    }
    const doctor = await place.stele('doctor', '--data', place.data);
    expect(doctor.output).toContain(`a head of ${size} was signed before`);
    goOn();
    await place.start();
    // The ones that were refused are in their author's chain and not in the log: a hole, and no harm.
    await submit();
  }, 120_000);

  test('is not waited for where they are away, unless one of them has to answer', async () => {
    await place.stop();
    const { url } = one;
    const port = Number(new URL(url).port);
    one.close();
    const settings = join(place.folder, 'one.txt');
    writeFileSync(settings, `witness one ${one.keys()[0]?.key.text} ${url}\nquorum one\n`);
    const env = { ...place.env, STELE_WITNESSES_POLICY: settings };
    const apart = new Place({ ...env, STELE_STATE: join(place.folder, 'state') }, ['serve']);
    Object.assign(apart, { data: place.data });
    try {
      await apart.start();
      const { receipt } = await apart.log('submit').submit(await author.sign(author.next()));
      expect(parseReceipt(receipt).index).toBeGreaterThan(0);
      await apart.stop();
      const strict = new Place({ ...env, STELE_GUARD_REQUIRE: 'witness' }, ['serve']);
      Object.assign(strict, { data: place.data });
      await strict.start();
      const refused = strict.log('submit').submit(await author.sign(author.next()));
      await expect(refused).rejects.toMatchObject({ code: 'split_view' });
      await expect(refused).rejects.toThrow('cannot ask what was signed before (witness)');
      await strict.stop();
      await one.listen(port);
      await strict.start();
      await strict.log('submit').submit(await author.sign(author.next()));
      await strict.close();
    } finally {
      await apart.close();
    }
  }, 120_000);
});
