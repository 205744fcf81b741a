/** A witness over HTTP: every status of C2SP tlog-witness, what is kept of a refusal, and what is shown. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { cosignatureTime } from '../../server/core/cosignature.ts';
import { SteleError } from '../../server/core/errors.ts';
import { parseVerifierKey } from '../../server/core/note.ts';
import {
  ADD_CHECKPOINT_BYTES_MAX,
  checkpointPathOf,
  openCosignatures,
} from '../../server/core/tlog-witness.ts';
import { BAD_PROOFS_MAX, EVIDENCE_MAX } from '../../server/storage/witnessed.ts';
import { logKey, mldsaKey, witnessKey } from '../core/note-keys.ts';
import { type Answer, World } from '../http/world.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { makeCosigner, makeWitness, WITNESS } from './make.ts';
import { OtherLog } from './other-log.ts';

let world: World;
const log = new OtherLog();
const own = makeCosigner().keys;

beforeEach(async () => {
  world = await World.start();
});

afterEach(() => world.stop());

function send(body: string | Uint8Array, at = world): Promise<Answer> {
  return at.ask('POST', '/witness/add-checkpoint', { body });
}

async function newest(): Promise<string> {
  return (await world.get(`/witness/${checkpointPathOf(log.origin)}`)).text;
}

async function evidence(at = world) {
  const token = at.token({ roles: ['admin'] });
  const answer = await at.get('/v1/admin/witness/evidence', { token });
  return answer.json<{ evidence: Record<string, unknown>[] }>().evidence;
}

describe('a checkpoint that continues the last one', () => {
  test('is cosigned by both keys, and shown with the lines of the log and of the witness', async () => {
    for (const [old, size] of [
      [0, 3],
      [3, 8],
      [8, 8],
      [8, 21],
    ] as const) {
      const answer = await send(log.ask(size, { old }));
      expect(answer.status, answer.text).toBe(200);
      expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
      const latest = world.now / 1_000;
      const found = openCosignatures(answer.bytes, log.text(size), own, { latest });
      expect(found.map(({ key }) => key.text)).toEqual(own.map(({ text }) => text));
      expect(found.map(({ time }) => time)).toEqual([latest, latest]);
      expect(answer.text.split('\n')).toHaveLength(3);
      world.now += 10_000;
    }
    const opened = openCheckpoint(utf8(await newest()), log.origin, [log.key.key, ...own]);
    expect(opened.checkpoint.size).toBe(21);
    expect(opened.verified).toHaveLength(3);
    expect(opened.unknown).toEqual([]);
  });

  test('may be the empty tree, any number of times, and then the first entries', async () => {
    for (const size of [0, 0, 5]) expect((await send(log.ask(size))).status).toBe(200);
  });

  test('may have extension lines, which the Ed25519 cosignature covers', async () => {
    const extensions = 'Timestamp: 1\n';
    const answer = await send(log.ask(3, { extensions }));
    expect(answer.status).toBe(200);
    const text = log.text(3, { extensions });
    const found = openCosignatures(answer.bytes, text, own, { latest: world.now });
    expect(found).toHaveLength(2);
    expect(() => openCosignatures(answer.bytes, log.text(3), own, { latest: world.now })).toThrow();
  });

  test('is taken whatever its type is called, and without one', async () => {
    for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'x', undefined]) {
      const body = log.ask(0);
      const asked = { body, ...(type === undefined ? {} : { type }) };
      const answer = await world.ask('POST', '/witness/add-checkpoint', asked);
      expect(answer.status).toBe(200);
    }
  });

  test('never gets a time before the last one, if the clock is a little behind', async () => {
    const timeOf = async (old: number, size: number) => {
      const { bytes } = await send(log.ask(size, { old }));
      const [found] = openCosignatures(bytes, log.text(size), own, { latest: world.now });
      return cosignatureTime(found!.line.signature);
    };
    const first = await timeOf(0, 1);
    world.now -= 200_000;
    expect(await timeOf(1, 2)).toBe(first);
    world.now -= 1_000_000;
    expect(await timeOf(2, 3)).toBe(world.now / 1_000);
  });

  test('stays the newest after the server was started again', async () => {
    await send(log.ask(3));
    const before = await newest();
    await world.server.close();
    await world.listen();
    expect(await newest()).toBe(before);
    expect((await send(log.ask(5, { old: 0 }))).status).toBe(409);
  });
});

describe('lines', () => {
  test('of the witness’ own name that came with the checkpoint go no further', async () => {
    const forged = { ...witnessKey(WITNESS, 9), key: own[0]! };
    const line = { name: WITNESS, keyId: own[0]!.keyId };
    const keys = [
      log.key,
      { ...forged, line: (text: string) => ({ ...witnessKey(WITNESS, 9).line(text), ...line }) },
    ];
    expect((await send(log.ask(3, { keys }))).status).toBe(200);
    const opened = openCheckpoint(utf8(await newest()), log.origin, [log.key.key, ...own]);
    expect(opened.note.signatures).toHaveLength(3);
    expect((await send(log.ask(5, { old: 3 }))).status).toBe(200);
  });

  test('of others are not looked at, and not kept', async () => {
    const keys = [witnessKey('w.example', 3), mldsaKey('m.example', 4), log.key];
    expect((await send(log.ask(3, { keys }))).status).toBe(200);
    expect(await newest()).not.toContain('w.example');
  });

  test('of two keys of the log are both kept; one of them is enough, and none may be wrong', async () => {
    const second = logKey(log.origin, 8);
    const keys = [log.key.key, second.key];
    const other = await World.start({
      witness: ({ instance }) =>
        makeWitness(instance, { nowMs: () => world.now, logs: [{ origin: log.origin, keys }] }),
    });
    try {
      expect((await send(log.ask(2, { keys: [second] }), other)).status).toBe(200);
      expect((await send(log.ask(3, { old: 2, keys: [log.key, second] }), other)).status).toBe(200);
      const wrong = { ...second, line: (text: string) => ({ ...second.line(`${text} `) }) };
      const answer = await send(log.ask(4, { old: 3, keys: [log.key, wrong] }), other);
      expect(answer.status).toBe(403);
    } finally {
      await other.stop();
    }
  });
});

describe('what is refused', () => {
  const good = () => log.ask(5, { old: 3 });
  const spoiled: Record<string, [body: () => string | Uint8Array, status: number]> = {
    'an empty body': [() => '', 400],
    'no old line': [() => good().replace('old 3\n', ''), 400],
    'another word for old': [() => good().replace('old', 'new'), 400],
    'an old size with a leading zero': [() => good().replace('old 3', 'old 03'), 400],
    'an old size with a sign': [() => good().replace('old 3', 'old +3'), 400],
    'an old size past 2^53': [() => good().replace('old 3', 'old 9007199254740993'), 400],
    'line ends of two characters': [() => good().replaceAll('\n', '\r\n'), 400],
    'no empty line before the checkpoint': [() => good().replace('\n\n', '\n'), 400],
    'a hash of 31 bytes': [
      () => good().replace(/\n[^\n]{44}\n/, `\n${Buffer.alloc(31).toString('base64')}\n`),
      400,
    ],
    'a hash that is not in its one spelling': [() => good().replace(/=\n/, '\n'), 400],
    '64 hashes': [
      () => log.ask(5, { old: 3, proof: new Array<Uint8Array>(64).fill(log.root(1)) }),
      400,
    ],
    'no signature': [() => good().slice(0, good().lastIndexOf('\n—') + 1), 400],
    'bytes that are no text': [() => Buffer.concat([utf8(good()), Buffer.of(0xff, 0x0a)]), 400],
    'a byte order mark': [() => `\u{feff}${good()}`, 400],
    'a root of 31 bytes': [() => log.ask(5, { old: 3, root: new Uint8Array(31) }), 400],
    'a checkpoint that is smaller than old': [() => log.ask(3, { old: 5, proof: [] }), 400],
    'an empty extension line': [() => log.ask(5, { old: 3, extensions: '\nx\n' }), 400],
    'a log that is not known': [() => new OtherLog('unknown.example/log').ask(1), 404],
    'an origin in other letters': [
      () => new OtherLog(log.origin.toUpperCase()).ask(5, { old: 3 }),
      404,
    ],
    'no line of the log': [() => log.ask(5, { old: 3, keys: [logKey('x.example', 2)] }), 403],
    'a line by another key of the same name': [
      () => log.ask(5, { old: 3, keys: [logKey(log.origin, 2)] }),
      403,
    ],
    'a signature of another checkpoint': [
      () => {
        const key = { ...log.key, line: () => log.key.line(log.text(4)) };
        return log.ask(5, { old: 3, keys: [key] });
      },
      403,
    ],
    'an older size': [() => log.ask(5, { old: 2 }), 409],
    'none at all, where one was cosigned': [() => log.ask(5), 409],
    'no proof': [() => log.ask(5, { old: 3, proof: [] }), 422],
    'a proof with a hash too many': [
      () => log.ask(5, { old: 3, proof: [...log.proof(3, 5), log.root(1)] }),
      422,
    ],
    'a proof with a hash too few': [
      () => log.ask(5, { old: 3, proof: log.proof(3, 5).slice(1) }),
      422,
    ],
    'a proof between other sizes': [() => log.ask(5, { old: 3, proof: log.proof(2, 5) }), 422],
    'a proof between equal sizes': [() => log.ask(3, { old: 3, proof: [log.root(1)] }), 422],
    'another root of the same size': [() => log.forkedAt(1).ask(3, { old: 3 }), 422],
    'another history': [() => log.forkedAt(1).ask(5, { old: 3 }), 422],
  };

  test.each(Object.entries(spoiled))('%s: and nothing changes', async (_, [body, status]) => {
    expect((await send(log.ask(3))).status).toBe(200);
    const before = await newest();
    const answer = await send(body());
    expect(answer.status, answer.text).toBe(status);
    if (status === 409) {
      expect(answer.headers['content-type']).toBe('text/x.tlog.size');
      expect(answer.text).toBe('3\n');
    } else {
      expect(answer.json()).toMatchObject({ status });
    }
    expect(await newest()).toBe(before);
    expect((await send(good())).status).toBe(200);
  });

  test('a first checkpoint with a proof, and an empty tree with a root: 422', async () => {
    expect((await send(log.ask(3, { proof: [log.root(1)] }))).status).toBe(422);
    expect((await send(log.ask(0, { root: log.root(1) }))).status).toBe(422);
    expect(await world.get(`/witness/${checkpointPathOf(log.origin)}`)).toMatchObject({
      status: 404,
    });
  });

  test('an old size where nothing was cosigned yet: 409 and 0', async () => {
    const answer = await send(log.ask(5, { old: 3 }));
    expect([answer.status, answer.text]).toEqual([409, '0\n']);
  });

  test('a body that is too long, before it is read; and one that is compressed', async () => {
    const headers = { 'content-length': String(ADD_CHECKPOINT_BYTES_MAX + 1), connection: 'close' };
    const long = await world.ask('POST', '/witness/add-checkpoint', { body: 'old 0\n', headers });
    expect(long.status).toBe(413);
    const packed = { body: log.ask(1), headers: { 'content-encoding': 'gzip' } };
    expect((await world.ask('POST', '/witness/add-checkpoint', packed)).status).toBe(415);
  });

  test('no byte of a request can be another, gone, or twice', async () => {
    await send(log.ask(3));
    const body = Buffer.from(log.ask(7, { old: 3 }));
    for (const [at, byte] of body.entries()) {
      for (const spoiled of [
        Buffer.concat([body.subarray(0, at), Buffer.of(byte ^ 1), body.subarray(at + 1)]),
        Buffer.concat([body.subarray(0, at), body.subarray(at + 1)]),
        Buffer.concat([body.subarray(0, at), Buffer.of(byte), body.subarray(at)]),
      ]) {
        const said = await world.witness.add(spoiled).then(
          (answer) => answer.kind,
          (error: unknown) => (error instanceof SteleError ? error.code : String(error)),
        );
        const allowed = ['malformed', 'not_found', 'forbidden', 'unverified', 'conflict'];
        expect(allowed, `${at}: ${said}`).toContain(said);
      }
    }
    expect((await send(body)).status).toBe(200);
  });

  test('more than a log’s share: 429 with a time, and only what was cosigned counts', async () => {
    const other = await World.start({
      witness: ({ instance }) =>
        makeWitness(instance, {
          nowMs: () => world.now,
          logs: [{ origin: log.origin, keys: [log.key.key] }],
          perDay: 96,
        }),
    });
    try {
      for (let i = 0; i < 30; i++)
        expect((await send(log.ask(5, { old: 3 }), other)).status).toBe(409);
      for (let i = 0; i < 10; i++) expect((await send(log.ask(0), other)).status).toBe(200);
      const over = await send(log.ask(0), other);
      expect([over.status, over.headers['retry-after']]).toEqual([429, '900']);
      world.now += 900_000;
      expect((await send(log.ask(0), other)).status).toBe(200);
      expect((await send(log.ask(0), other)).status).toBe(429);
    } finally {
      await other.stop();
    }
  });

  test('what is held, asked for again by anybody, does not use up the share of a log that grows', async () => {
    const other = await World.start({
      witness: ({ instance }) =>
        makeWitness(instance, {
          nowMs: () => world.now,
          logs: [{ origin: log.origin, keys: [log.key.key] }],
          perDay: 96,
        }),
    });
    try {
      expect((await send(log.ask(5, { old: 0 }), other)).status).toBe(200);
      for (let i = 0; i < 10; i++)
        expect((await send(log.ask(5, { old: 5 }), other)).status).toBe(200);
      expect((await send(log.ask(5, { old: 5 }), other)).status).toBe(429);
      expect((await send(log.ask(6, { old: 5 }), other)).status).toBe(200);
    } finally {
      await other.stop();
    }
  });

  test('everything, where the witness was put back: 503 and no reason for strangers', async () => {
    const other = await World.start({
      witness: ({ instance }) =>
        makeWitness(instance, {
          nowMs: () => world.now,
          logs: [{ origin: log.origin, keys: [log.key.key] }],
          stopped: new SteleError('storage', 'a secret place'),
        }),
    });
    try {
      const answer = await send(log.ask(1), other);
      expect(answer.status).toBe(503);
      expect(answer.text).not.toContain('secret');
      expect((await other.get('/witness')).text).toContain('cosigns nothing');
    } finally {
      await other.stop();
    }
  });
});

describe('evidence', () => {
  test('is kept of what the log signed and what it was held against, and nothing of the rest', async () => {
    await send(log.ask(3));
    const forked = log.forkedAt(1);
    await send(forked.ask(3, { old: 3 }));
    await send(forked.ask(3, { old: 0 }));
    await send(forked.ask(6, { old: 3 }));
    await send(log.ask(6, { old: 3, proof: [] }));
    await send(log.ask(6, { old: 2 }));
    await send(log.ask(6, { old: 3, keys: [logKey(log.origin, 2)] }));
    const kept = await evidence();
    expect(kept.map(({ kind, size, old }) => [kind, size, old])).toEqual([
      ['bad_proof', 6, 3],
      ['forked', 6, 3],
      ['same_size', 3, 3],
    ]);
    for (const { checkpoint, held } of kept) {
      for (const note of [checkpoint, held]) {
        const opened = openCheckpoint(utf8(String(note)), log.origin, [log.key.key]);
        expect(opened.unknown).toEqual([]);
      }
    }
    expect(kept[1]!.proof).toEqual(
      forked.proof(3, 6).map((hash) => Buffer.from(hash).toString('base64')),
    );
    const page = (await world.get('/witness')).text;
    expect(page).toContain('2 checkpoints that this log had signed contradict');
  });

  test('of a second tree of the size that is held is kept whatever old size was named', async () => {
    await send(log.ask(3));
    const answer = await send(log.forkedAt(1).ask(3, { old: 0 }));
    expect([answer.status, answer.text]).toEqual([409, '3\n']);
    expect((await evidence()).map(({ kind }) => kind)).toEqual(['same_size']);
  });

  test('is bounded, and proofs that anybody can send push nothing out', async () => {
    await send(log.ask(3));
    await send(log.forkedAt(1).ask(6, { old: 3 }));
    for (let size = 4; size < 30; size++) {
      await send(log.ask(size, { old: 3, proof: [] }));
      const root = new Uint8Array(32).fill(size);
      await send(log.ask(3, { old: 3, root, proof: [] }));
    }
    const kinds = (await evidence()).map(({ kind }) => String(kind));
    const count = (kind: string) => kinds.filter((one) => one === kind).length;
    expect(count('bad_proof')).toBe(BAD_PROOFS_MAX);
    expect(count('same_size')).toBe(EVIDENCE_MAX);
    expect(count('forked')).toBe(1);
  });

  test('comes in pages, the newest first', async () => {
    await send(log.ask(3));
    for (let i = 0; i < 5; i++) {
      await send(log.ask(3, { old: 3, root: new Uint8Array(32).fill(i), proof: [] }));
    }
    const token = world.token({ roles: ['admin'] });
    const page = async (query: string) =>
      (await world.get(`/v1/admin/witness/evidence?${query}`, { token }))
        .json<{ evidence: { id: number }[] }>()
        .evidence.map(({ id }) => id);
    const [first = 0, second = 0] = await page('limit=2');
    expect(first).toBeGreaterThan(second);
    expect(await page(`limit=50&before=${second}`)).toHaveLength(3);
  });
});

describe('many at once', () => {
  test('of one log: never two that contradict, and never back', async () => {
    const forked = log.forkedAt(2);
    await send(log.ask(2));
    const asked = Array.from({ length: 60 }, (_, i) => {
      const side = i % 2 === 0 ? log : forked;
      const size = 3 + (i % 20);
      return { side, size, body: side.ask(size, { old: 2 }) };
    });
    const answers = await Promise.all(asked.map(({ body }) => send(body)));
    const taken = asked.filter((_, i) => answers[i]!.status === 200);
    expect(taken).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(59);
    const { size, side } = taken[0]!;
    for (const { status, text } of answers) if (status === 409) expect(text).toBe(`${size}\n`);
    expect(await newest()).toContain(side.text(size));
  });

  test('of one log that each goes on where it is told: sizes only grow', async () => {
    const cosigned: number[] = [];
    const climb = async (start: number) => {
      let old = 0;
      for (let size = start; size <= 60; ) {
        const answer = await send(log.ask(size, { old }));
        if (answer.status === 200) {
          cosigned.push(size);
          old = size;
          size += 7;
        } else {
          expect(answer.status).toBe(409);
          old = Number(answer.text);
          while (size < old) size += 7;
        }
      }
    };
    await Promise.all([1, 2, 3, 4, 5, 6, 7].map(climb));
    expect(Number((await newest()).split('\n')[1])).toBe(Math.max(...cosigned));
    const [row] = world.witness.list(10);
    expect(row?.times).toBe(cosigned.length);
  });

  test('of many logs share transactions', async () => {
    const logs = Array.from({ length: 40 }, (_, i) => new OtherLog(`l${i}.example`, i + 10));
    let commits = 0;
    const other = await World.start({
      witness: ({ instance }) =>
        makeWitness(instance, {
          nowMs: () => world.now,
          logs: logs.map(({ origin, key }) => ({ origin, keys: [key.key] })),
          written: (judged) => {
            ({ commits } = judged);
          },
        }),
    });
    try {
      const answers = await Promise.all(logs.map((one) => send(one.ask(3), other)));
      expect(answers.map(({ status }) => status)).toEqual(logs.map(() => 200));
      expect(commits).toBeLessThan(40);
      expect(other.witness.count()).toBe(40);
    } finally {
      await other.stop();
    }
  });
});

describe('what is shown', () => {
  test('to people: who, when, at what size, in words; nothing is loaded, and origins are text', async () => {
    const origin = 'x.example/<img-src=y>&amp;"\'';
    const evil = new OtherLog(origin, 5);
    const other = await World.start({
      witness: ({ instance }) =>
        makeWitness(instance, {
          nowMs: () => world.now,
          logs: [evil, log].map(({ origin, key }) => ({ origin, keys: [key.key] })),
        }),
    });
    try {
      expect((await other.get('/witness')).text).toContain('None has been witnessed yet.');
      await send(evil.ask(1), other);
      await send(evil.ask(12, { old: 1 }), other);
      const page = await other.get('/witness');
      expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
      expect(page.headers['content-security-policy']).toMatch(
        /^default-src 'none'; style-src 'sha256-/,
      );
      expect(page.text).not.toContain('<img');
      expect(page.text).not.toMatch(/(?:src|href)="(?!\/)/);
      const plain = page.text.replace(/<style>[\s\S]*?<\/style>|<[^>]+>/g, '');
      expect(plain).toContain(
        'Last witnessed on 15 January 2027 at 08:00:00 UTC, with 12 entries.',
      );
      expect(plain).toContain('It was witnessed 2 times since');
      expect(plain).toContain('It witnesses 2 logs. 1 log has been witnessed so far.');
    } finally {
      await other.stop();
    }
  });

  test('to programs: its name and keys, in three places', async () => {
    await send(log.ask(3));
    const known = own.map(({ text }) => text);
    const shown = (await world.get('/v1/witness')).json();
    expect(shown).toMatchObject({ name: WITNESS, keys: known, known: 1, witnessed: 1 });
    expect(shown.logs).toMatchObject([{ origin: log.origin, size: 3, times: 1 }]);
    expect((await world.get('/v1/keys')).json()).toMatchObject({ witness: known });
    expect((await world.get('/.well-known/stele')).json()).toMatchObject({ witness: '/witness' });
  });

  test('in figures: requests by what came of them', async () => {
    await send(log.ask(3));
    await send('nonsense');
    await send(log.ask(5, { old: 3, proof: [] }));
    const token = world.token({ roles: ['metrics'] });
    const { text } = await world.get('/metrics', { token });
    expect(text).toContain('stele_witness_requests_total{result="cosigned"} 1');
    expect(text).toContain('stele_witness_requests_total{result="malformed"} 1');
    expect(text).toContain('stele_witness_requests_total{result="refused"} 1');
    expect(text).toContain('stele_witness_evidence{kind="bad_proof"} 1');
    expect(text).toContain('stele_witness_logs 1');
  });

  test('of a log that was never cosigned, or by no hash: 404 and 400', async () => {
    const id = toHex(new Uint8Array(32));
    expect((await world.get(`/witness/${id}/checkpoint`)).status).toBe(404);
    expect((await world.get('/witness/abc/checkpoint')).status).toBe(400);
    expect((await world.get(`/witness/${id.replaceAll('0', 'A')}/checkpoint`)).status).toBe(400);
  });
});

describe.skipIf(sharedMissing)('the published requests', () => {
  interface Vectors {
    readonly log: { readonly origin: string; readonly vkey: string };
    readonly steps: readonly {
      readonly name: string;
      readonly body: string;
      readonly status: number;
      readonly alsoAcceptable?: readonly number[];
      readonly responseBody?: string;
    }[];
  }

  test('each get the status that other witnesses give', async () => {
    const vectors = sharedJson('vectors', 'tlog-notes', 'witness-add-checkpoint.json') as Vectors;
    const { origin, vkey } = vectors.log;
    const other = await World.start({
      witness: ({ instance }) =>
        makeWitness(instance, {
          nowMs: () => world.now,
          logs: [{ origin, keys: [parseVerifierKey(vkey)] }],
        }),
    });
    try {
      for (const { name, body, status, alsoAcceptable = [], responseBody } of vectors.steps) {
        const answer = await send(body, other);
        if (responseBody !== undefined) expect(answer.text, name).toBe(responseBody);
        expect([status, ...alsoAcceptable], name).toContain(answer.status);
      }
      expect(vectors.steps.length).toBeGreaterThan(8);
    } finally {
      await other.stop();
    }
  });
});
