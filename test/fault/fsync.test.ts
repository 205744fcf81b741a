/**
 * One system call fails, or the process dies in it, at every step from a submission to its answer (P1,
 * P2, P7, P9).
 *
 * After a failed fsync nobody knows what is on disk: the process must end, with a word why, and without
 * an answer. After a failed write everything is known, and the process goes on. After a kill the next
 * start knows what was done: what was answered is there, and what is sent again gets one index.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseCheckpoint } from '../../server/core/checkpoint.ts';
import { SteleError } from '../../server/core/errors.ts';
import { parseNote } from '../../server/core/note.ts';
import { ownExchange } from '../replay/exchanges.ts';
import { startReplay } from '../replay/replay.ts';
import { Author, type Draft } from './author.ts';
import { digest, drained, Evidence, recordsOf } from './evidence.ts';
import { Ledger } from './ledger.ts';
import { call, type ProxyCall } from './load.ts';
import { Place } from './process.ts';
import { upstreams } from './provider.ts';
import { type Fault, straceMissing, Tracer } from './strace.ts';

/** What becomes of the process. */
type Outcome = 'ends' | 'dies' | 'refuses';

interface Case {
  readonly name: string;
  readonly fault: Fault;
  readonly outcome: Outcome;
  /** The fault comes after the answer. */
  readonly isAnswered?: true;
  /** Something else than a submission. */
  readonly work?: (place: Place, known: Draft) => Promise<unknown>;
}

const failing = (syscall: string, n: number | string = 1) => `${syscall}:error=EIO:when=${n}`;
const killing = (syscall: string, n = 1) => `${syscall}:signal=SIGKILL:when=${n}`;

const WAL = 'logs/default.db-wal';
const HIGH_WATER = 'high water';
const KEYS = 'vault-keys/default.db-wal';

const SUBMISSIONS: readonly Case[] = [
  {
    name: "fsync of the log's commit fails",
    fault: { inject: failing('fsync'), path: WAL },
    outcome: 'ends',
  },
  {
    name: "fsync of the content's file fails",
    fault: { inject: failing('fsync') },
    outcome: 'ends',
  },
  {
    name: "fsync of the content's key fails",
    fault: { inject: failing('fsync'), path: KEYS },
    outcome: 'ends',
  },
  {
    name: 'fsync of a published head fails',
    fault: { inject: failing('fsync', 2), path: WAL },
    outcome: 'ends',
    isAnswered: true,
  },
  {
    name: 'fsync of a new token fails',
    fault: { inject: failing('fsync'), path: 'stele.db-wal' },
    outcome: 'ends',
    work: (place) => place.admin().createToken({ holder: 'a', roles: ['read'], logs: ['*'] }),
  },
  {
    name: 'fsync of the trace of a content read fails',
    fault: { inject: failing('fsync'), path: 'logs/default.access.db-wal' },
    outcome: 'ends',
    work: (place, { recordId }) =>
      place.log('content').disclosure(recordId, 'request.body', { reason: 'a test' }),
  },
  {
    name: 'a write of the trace of a content read fails',
    // Every one: the first may be that of a head that is published.
    fault: { inject: failing('pwrite64', '1+'), path: 'logs/default.access.db-wal' },
    outcome: 'refuses',
    work: (place, { recordId }) =>
      place.log('content').disclosure(recordId, 'request.body', { reason: 'a test' }),
  },
  {
    name: "a write of the log's commit fails",
    fault: { inject: failing('pwrite64', 3), path: WAL },
    outcome: 'refuses',
  },
  {
    name: "a write of the content's key fails",
    fault: { inject: failing('pwrite64', 2), path: KEYS },
    outcome: 'refuses',
  },
  {
    name: "the content's file cannot get its name",
    fault: { inject: failing('rename') },
    outcome: 'refuses',
  },
  {
    name: "killed in the first write of the log's commit",
    fault: { inject: killing('pwrite64'), path: WAL },
    outcome: 'dies',
  },
  {
    name: "killed in a later write of the log's commit",
    fault: { inject: killing('pwrite64', 6), path: WAL },
    outcome: 'dies',
  },
  {
    name: "killed in the log's fsync",
    fault: { inject: killing('fsync'), path: WAL },
    outcome: 'dies',
  },
  {
    name: 'killed between the commit and the high-water file',
    fault: { inject: killing('pwrite64'), path: HIGH_WATER },
    outcome: 'dies',
  },
  {
    name: "killed in the write of the content's key",
    fault: { inject: killing('pwrite64', 2), path: KEYS },
    outcome: 'dies',
  },
  {
    name: 'killed before the content has its name',
    fault: { inject: killing('rename') },
    outcome: 'dies',
  },
];

/**
 * `at`: before the request is on disk, when the whole answer has come and is not on disk yet, or when its
 * record goes into the log.
 */
const CALLS: readonly (Case & { readonly at: 'request' | 'answer' | 'record' })[] = [
  {
    name: "fsync of a call's request fails",
    at: 'request',
    fault: { inject: failing('fdatasync') },
    outcome: 'ends',
  },
  {
    name: "fsync of a call's answer fails",
    at: 'answer',
    fault: { inject: failing('fdatasync') },
    outcome: 'ends',
  },
  {
    name: "a write of a call's request fails",
    at: 'request',
    fault: { inject: failing('pwritev') },
    outcome: 'refuses',
  },
  {
    name: "fsync of a call's content fails in the vault",
    at: 'record',
    fault: { inject: failing('fsync') },
    outcome: 'ends',
  },
  {
    name: 'killed in the commit of a record',
    at: 'record',
    fault: { inject: killing('pwrite64'), path: WAL },
    outcome: 'dies',
  },
  {
    name: "killed in the fsync of a call's request",
    at: 'request',
    fault: { inject: killing('fdatasync') },
    outcome: 'dies',
  },
  {
    name: "killed in the fsync of a call's answer",
    at: 'answer',
    fault: { inject: killing('fdatasync') },
    outcome: 'dies',
  },
];

const SAID = /fsync failed|a sync failed/;

const title = `system calls that fail${straceMissing === undefined ? '' : ` (${straceMissing})`}`;

describe.skipIf(straceMissing !== undefined)(title, () => {
  test('on the way of a submission with content', async () => {
    const place = new Place();
    onTestFinished(() => place.close());
    await place.start();
    const ledger = new Ledger(place.trust());
    const author = new Author((await place.log('read').head()).origin, 'gateway');
    await place.register(author.signer);
    const drafts = [contentOf(author, 0)];
    // The first opens the vault, so that its set-up is not what is counted below.
    ledger.receipt(await submit(place, author, drafts[0] as Draft));
    for (const one of SUBMISSIONS) {
      const draft = contentOf(author, drafts.length);
      drafts.push(draft);
      const work = one.work ?? (() => submit(place, author, draft));
      const answer = await under(place, one, () => work(place, drafts[0] as Draft));
      if (one.isAnswered) ledger.receipt(answer as Uint8Array);
      else expect(answer, one.name).toBeInstanceOf(SteleError);
      // Sent again it gets its one index.
      ledger.receipt(await submit(place, author, draft));
      const entries = await ledger.checkAll(place.log('read'));
      expect(recordsOf(entries).size, one.name).toBe(entries.length);
    }
    const entries = await ledger.checkAll(place.log('read'));
    const evidence = new Evidence(place.log('content'), recordsOf(entries));
    for (const draft of drafts) await evidence.checkContent(draft);
    const [source] = (await place.log('read').sources()).filter(({ id }) => id === 'gateway');
    expect(source).toMatchObject({ next: drafts.length, holes: [], forks: 0 });
    await auditHolds(place);
  }, 240_000);

  test('on the way of a call through the proxy', async () => {
    let atEnd: () => Promise<void> = async () => {};
    const stream = ownExchange('openai-chat.sse', {
      pieces: 400,
      beforePiece: (sent) => (sent >= 800 ? atEnd() : Promise.resolve()),
    });
    const provider = await startReplay({ exchanges: [stream] });
    onTestFinished(() => provider.close());
    const place = new Place(upstreams(provider));
    onTestFinished(() => place.close());
    await place.start();
    const ledger = new Ledger(place.trust());
    for (const one of CALLS) {
      const body = Buffer.from(
        JSON.stringify({ model: 'm', stream: true, messages: [], n: one.name }),
      );
      const reached = provider.requests.length;
      const send = () => call(`${place.addresses().proxy}/openai/v1/chat/completions`, body);
      let answer: ProxyCall;
      if (one.at === 'request') {
        answer = (await under(place, one, send)) as ProxyCall;
        expect(provider.requests.length, `${one.name}: nothing was forwarded`).toBe(reached);
      } else if (one.at === 'record') {
        answer = (await under(place, one, send)) as ProxyCall;
      } else {
        let tracer: Promise<Tracer> | undefined;
        atEnd = async () => {
          tracer ??= attach(place, one.fault);
          await tracer;
        };
        answer = (await under(place, one, send, () => tracer as Promise<Tracer>)) as ProxyCall;
        atEnd = async () => {};
        expect(provider.requests.length).toBe(reached + 1);
        expect(Buffer.from(answer.answer).toString()).toContain('data: {');
        expect(Buffer.from(answer.answer).toString()).not.toContain('data: [DONE]\n');
      }
      // Its caller has the whole answer before the record is made.
      const isWhole = one.at === 'record';
      expect(answer.isComplete && answer.status === 200, one.name).toBe(isWhole);
      await drained(place.addresses().proxy);
      const records = recordsOf(await ledger.checkAll(place.log('read')));
      const evidence = new Evidence(place.log('content'), records);
      if (one.at !== 'request') expect(await evidence.checkCall(answer)).toBe(isWhole);
      const recorded = await evidence.requests();
      expect(
        provider.requests.every((r) => recorded.has(digest(r.body))),
        one.name,
      ).toBe(true);
    }
    const sources = await place.log('read').sources();
    expect(sources.flatMap(({ holes }) => holes)).toEqual([]);
    await auditHolds(place);
  }, 180_000);
});

/** Runs one step under a fault, and brings the process back where the fault ended it. */
async function under<T>(
  place: Place,
  { name, fault, outcome }: Case,
  work: () => Promise<T>,
  attached?: () => Promise<Tracer>,
): Promise<T | SteleError> {
  const running = place.running!;
  await published(place);
  const early = attached === undefined ? await attach(place, fault) : undefined;
  const answer = await work().catch((error: unknown) => {
    if (error instanceof SteleError) return error;
    throw error;
  });
  const tracer = early ?? (await attached?.());
  if (outcome === 'refuses') {
    expect(await tracer?.end(), `${name}: the fault came about`).toBe(true);
    expect(running.isRunning, running.output).toBe(true);
    return answer;
  }
  const { code, signal, output } = await within(running.ended, name);
  expect(await tracer?.end(), `${name}: the fault came about`).toBe(true);
  if (outcome === 'ends') {
    expect({ name, code, signal }, output).toEqual({ name, code: 2, signal: null });
    expect(output, name).toMatch(SAID);
  } else expect({ name, signal }).toEqual({ name, signal: 'SIGKILL' });
  await place.start();
  return answer;
}

function attach(place: Place, { inject, path }: Fault): Promise<Tracer> {
  const own = path === undefined ? {} : { path: pathOf(place, path) };
  return Tracer.attach(place.running!, place.folder, { inject, ...own });
}

function pathOf(place: Place, path: string): string {
  if (path !== HIGH_WATER) return join(place.data, path);
  const [log] = place.trust().logs;
  const name = createHash('sha256')
    .update(log?.origin ?? '')
    .digest('hex');
  return join(place.folder, 'state', 'high-water', name);
}

/** A process that a fault should end must not outlive it. */
async function within<T>(ended: Promise<T>, name: string): Promise<T> {
  const late = new AbortController();
  const timer = pause(20_000, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${name}: the process goes on`);
  });
  try {
    return await Promise.race([ended, timer]);
  } finally {
    late.abort();
    timer.catch(() => {});
  }
}

/** Waits until the newest head is the published one: what is written next is not the publisher's. */
async function published(place: Place): Promise<void> {
  const log = place.log('read');
  for (;;) {
    const { size } = await log.head();
    const note = Buffer.from(await log.checkpoint()).toString();
    if (parseCheckpoint(parseNote(Buffer.from(note)).text).size === size) return;
    await pause(20);
  }
}

function contentOf(author: Author, n: number): Draft {
  return author.next([{ field: 'request.body', bytes: new Uint8Array(10_000).fill(n) }]);
}

async function submit(place: Place, author: Author, draft: Draft): Promise<Uint8Array> {
  const { disclosures, bodies } = draft;
  const content = bodies.map(({ field, bytes }) => ({
    field,
    bytes: bytes.length,
    open: async function* () {
      yield bytes;
    },
  }));
  const entry = await author.sign(draft);
  return (await place.log('submit').submit(entry, { disclosures, bodies: content })).receipt;
}

async function auditHolds(place: Place): Promise<void> {
  await place.stop();
  const { code, output } = await place.stele('audit', '--files', '--data', place.data);
  expect(output).toContain('HOLDS');
  expect(code).toBe(0);
}
