/** What is in a backup and what is not, and that whatever is spoiled is named (P2, P4, P10). */
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { formatManifest } from '../../server/backup/manifest.ts';
import { restoreBackup } from '../../server/backup/restore.ts';
import { readManifest, verifyPart } from '../../server/backup/verify.ts';
import { checkPlace } from '../../server/log/guard.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { Random } from '../fault/random.ts';
import {
  copyOf,
  type Made,
  makeData,
  makeFolder,
  openData,
  pathsBelow,
  placesIn,
  program,
  take,
  watching,
} from './folder.ts';

let made: Made;
/** One backup of all parts. */
let to: ReturnType<typeof placesIn>;
beforeAll(async () => {
  made = await makeData();
  to = placesIn(makeFolder());
  const { findings } = await take(made.data, { to });
  expect(findings).toEqual([]);
});

async function verify(folder: string) {
  return verifyPart(folder, await readManifest(folder), watching);
}

describe('a backup', () => {
  test('has the logs, the content and the settings, and its keys are apart', async () => {
    const content = pathsBelow(join(made.data, 'vault')).map((path) => `vault/${path}`);
    expect(content).toHaveLength(3);
    expect(pathsBelow(to.data)).toEqual(
      [
        'backup.json',
        'logs/_admin.db',
        'logs/default.access.db',
        'logs/default.db',
        'stele.db',
        'stele.yaml',
        'trust.json',
        ...content,
        'vault/default.files',
      ].sort(),
    );
    expect(pathsBelow(to['vault-keys'])).toEqual(['backup.json', 'vault-keys/default.db']);
    expect(pathsBelow(to.keys)).toEqual(
      [
        'backup.json',
        ...['keys', 'tokens'].flatMap((name) =>
          pathsBelow(join(made.data, name)).map((path) => `${name}/${path}`),
        ),
      ].sort(),
    );
    for (const folder of Object.values(to)) expect((await verify(folder)).findings).toEqual([]);
  });

  test('has the callers of a proxy, where there are some', async () => {
    const callers = join(made.data, 'callers.json');
    writeFileSync(callers, '{"format":"stele.callers/1","callers":[]}\n');
    onTestFinished(() => rmSync(callers));
    const again = placesIn(makeFolder());
    await take(made.data, { to: again });
    expect(readFileSync(join(again.data, 'callers.json'), 'utf8')).toContain('stele.callers/1');
    expect((await verify(again.data)).findings).toEqual([]);
  });

  test('says of each log how far it got, and of its parts that they belong together', async () => {
    const [data, keys, vaultKeys] = await Promise.all(Object.values(to).map(readManifest));
    expect(data?.logs).toMatchObject([
      { name: '_admin' },
      { name: 'default', size: 305, checkpoint: expect.stringContaining('\n305\n') },
      { name: 'default.access', size: 2 },
    ]);
    expect(data).toMatchObject({ part: 'data', version: program.version, except: [] });
    expect(keys).toMatchObject({ part: 'keys', id: data?.id, logs: [] });
    expect(vaultKeys).toMatchObject({ part: 'vault-keys', id: data?.id, logs: [] });
  });

  test('is for its owner alone, and every file of it stands alone', () => {
    for (const folder of Object.values(to)) {
      for (const path of pathsBelow(folder)) {
        expect([path, statSync(join(folder, path)).mode & 0o077]).toEqual([path, 0]);
      }
    }
  });

  test('without folders for them has no key and no token in it', async () => {
    const alone = join(makeFolder(), 'alone');
    await take(made.data, { to: { data: alone } });
    const secrets = pathsBelow(join(made.data, 'keys')).map((path) => join('keys', path));
    for (const path of [...secrets, 'tokens/admin', 'tokens/content']) {
      const secret = readFileSync(join(made.data, path)).toString('latin1').trim();
      const line = secret.split('\n')[1] ?? secret;
      for (const file of pathsBelow(alone)) {
        expect(readFileSync(join(alone, file)).includes(Buffer.from(line, 'latin1'))).toBe(false);
      }
    }
    expect((await verify(alone)).findings).toEqual([]);
  });

  test('leaves out a log whose creation is not complete, and logs that were named', async () => {
    const data = copyOf(made.data);
    const instance = new InstanceStore(join(data, 'stele.db'));
    const row = { visibility: 'proofs', rules: '{}', createdMs: 0, state: 'creating' } as const;
    instance.insertLog({ name: 'half', origin: 'a/logs/half', ...row });
    instance.close();
    const whole = join(makeFolder(), 'whole');
    await take(data, { to: { data: whole } });
    expect(rowsOf(join(whole, 'stele.db'))).toEqual(['_admin', 'default']);
    // Of a log that is left out on purpose the row stays: its name is not given again.
    const none = join(makeFolder(), 'none');
    await take(data, { to: { data: none }, except: ['default'] });
    expect(rowsOf(join(none, 'stele.db'))).toEqual(['_admin', 'default']);
    expect(await readManifest(none)).toMatchObject({
      except: ['default'],
      logs: [{ name: '_admin' }],
    });
    const unknown = join(makeFolder(), 'unknown');
    await expect(take(data, { to: { data: unknown }, except: ['half'] })).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining(`${unknown} has no backup.json and is no backup`),
    });
  });

  test('goes into a new or an empty folder, and nowhere else', async () => {
    const folder = makeFolder();
    const full = join(folder, 'full');
    mkdirSync(full);
    writeFileSync(join(full, 'x'), '');
    await expect(take(made.data, { to: { data: full } })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('"x"'),
    });
    const a = join(folder, 'a');
    for (const wrong of [
      { data: join(made.data, 'backup') },
      { data: a, keys: join(a, 'keys') },
      { data: join(a, 'data'), keys: a },
      { data: a, 'vault-keys': a },
    ]) {
      await expect(take(made.data, { to: wrong })).rejects.toMatchObject({ code: 'conflict' });
      expect(existsSync(a)).toBe(false);
    }
    await expect(take(folder, { to: { data: a } })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('that was interrupted has no manifest', async () => {
    const folder = join(makeFolder(), 'cut');
    const interrupt = new AbortController();
    const progress = (line: string) => {
      if (line.startsWith('vault/')) interrupt.abort();
    };
    const cut = take(made.data, { to: { data: folder }, progress, signal: interrupt.signal });
    await expect(cut).rejects.toMatchObject({ message: expect.stringContaining('interrupted') });
    expect(existsSync(join(folder, 'logs', 'default.db'))).toBe(true);
    await expect(readManifest(folder)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('is no backup'),
    });
  });

  test('names content that is lost, and is whole all the same', async () => {
    const data = copyOf(made.data);
    const [lost = ''] = pathsBelow(join(data, 'vault'));
    rmSync(join(data, 'vault', lost));
    const keys = new Database(join(data, 'vault-keys', 'default.db'));
    keys.exec('UPDATE content_file SET state = 1');
    keys.close();
    const backup = await take(data, { to: { data: join(makeFolder(), 'lossy') } });
    expect(backup.lost).toEqual({ count: 1, some: [`vault/${lost}`] });
    expect(backup.findings).toEqual([]);
  });
});

function rowsOf(path: string): unknown[] {
  const db = new Database(path, { readonly: true });
  try {
    return db.prepare('SELECT name FROM log ORDER BY name').pluck().all();
  } finally {
    db.close();
  }
}

describe('a log that is damaged', () => {
  const spoilers: Record<string, readonly [sql: string, RegExp]> = {
    'a bit of an entry': [
      `UPDATE chunk SET data = unhex(replace(hex(data), hex('gateway'), hex('gatewax'))) WHERE begin = 66`,
      /entry 66 was changed/,
    ],
    'a bit of a tile': [
      "UPDATE tile SET data = unhex('00' || substr(hex(data), 3)) WHERE id = 0",
      /tile 0\/0 was changed/,
    ],
    'a tile': ['DELETE FROM tile WHERE id = 0', /tile 0\/0 is missing/],
    'an entry': ['DELETE FROM chunk WHERE begin = 66', /entry 66 is missing/],
    'its signature': [
      "UPDATE head SET checkpoint = replace(checkpoint, '— ', '— x')",
      /head|key name|signature/,
    ],
  };

  test.each(Object.entries(spoilers))('by %s gives no backup', async (_what, [sql, said]) => {
    const data = copyOf(made.data);
    spoil(join(data, 'logs', 'default.db'), sql);
    const folder = join(makeFolder(), 'damaged');
    const outcome = await take(data, { to: { data: folder } }).then(
      ({ findings }) => findings.map(({ path, what }) => `${path}: ${what}`).join('\n'),
      (error: Error) => error.message,
    );
    expect(outcome).toMatch(said);
    expect(outcome).toContain('default.db');
    expect(existsSync(join(folder, 'backup.json'))).toBe(false);
  });
});

/** Changes rows that nobody may change. */
function spoil(path: string, sql: string): void {
  const db = new Database(path);
  try {
    const triggers = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").pluck();
    for (const name of triggers.all()) db.exec(`DROP TRIGGER ${String(name)}`);
    expect(db.prepare(sql).run().changes).toBe(1);
  } finally {
    db.close();
  }
}

/** Ways to spoil one file. */
const SPOILERS: Record<string, (path: string) => void> = {
  changed: (path) => {
    const bytes = readFileSync(path);
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  },
  'cut short': (path) => truncateSync(path, statSync(path).size - 1),
  longer: (path) => appendFileSync(path, 'x'),
  missing: (path) => rmSync(path),
  renamed: (path) => renameSync(path, `${path}x`),
  'a folder': (path) => {
    rmSync(path);
    mkdirSync(path);
  },
};

describe('a backup with one file spoiled', () => {
  const places = () =>
    Object.entries(to).flatMap(([part, folder]) =>
      pathsBelow(folder)
        .filter((path) => path !== 'backup.json')
        .map((path) => [part as keyof typeof to, path] as const),
    );

  test.each(Object.keys(SPOILERS))('is refused with its name, whichever it is: %s', async (how) => {
    for (const [part, path] of places()) {
      const copy = copyOf(to[part]);
      SPOILERS[how]?.(join(copy, path));
      const { findings, wrong } = await verify(copy);
      expect(wrong).toBeGreaterThan(0);
      expect(findings.map((finding) => finding.path)).toContain(path);
      if (how !== 'changed' && how !== 'missing') continue;
      const data = join(makeFolder(), 'restored');
      const { findings: refused } = await restoreBackup({
        ...watching,
        from: { ...to, [part]: copy },
        data,
      });
      expect(refused).toContainEqual(expect.objectContaining({ folder: copy, path }));
      expect(existsSync(data)).toBe(false);
    }
  });

  test('is refused with the name of what is too much, wherever it lies', async () => {
    const [inside = ''] = pathsBelow(to.data).filter((path) => /^vault\/default\/000/.test(path));
    for (const extra of [
      'x',
      'logs/other.db',
      'logs/default.db-wal',
      'proxy/default/1',
      'vault/other',
      'vault/default/x',
      'vault/default/001/000/x',
      inside.replace(/[^/]+$/, 'f'.repeat(64)),
    ]) {
      const copy = copyOf(to.data);
      mkdirSync(join(copy, extra, '..'), { recursive: true });
      writeFileSync(join(copy, extra), '');
      const { findings } = await verify(copy);
      expect(findings).toHaveLength(1);
      expect(`${extra}/`).toContain(`${findings[0]?.path}/`);
    }
    const copy = copyOf(to.data);
    rmSync(join(copy, 'trust.json'));
    symlinkSync(join(to.data, 'trust.json'), join(copy, 'trust.json'));
    expect((await verify(copy)).findings).toEqual([
      { path: 'trust.json', what: 'it is no plain file' },
    ]);
  });

  test('whose manifest was made to fit is found by the log itself', async () => {
    const copy = copyOf(to.data);
    spoil(
      join(copy, 'logs', 'default.db'),
      `UPDATE chunk SET data = unhex(replace(hex(data), hex('gateway'), hex('gatewax'))) WHERE begin = 66`,
    );
    const manifest = await readManifest(copy);
    const { sumOf } = await import('../../server/backup/files.ts');
    const sum = await sumOf(join(copy, 'logs', 'default.db'));
    const files = manifest.files.map((file) =>
      file.path === 'logs/default.db' ? { ...file, ...sum } : file,
    );
    writeFileSync(join(copy, 'backup.json'), formatManifest({ ...manifest, files }));
    const { findings } = await verify(copy);
    expect(findings.map(({ what }) => what).join()).toMatch(/entry 66 was changed/);
    expect(new Set(findings.map(({ path }) => path))).toEqual(new Set(['logs/default.db']));
  });

  test('any byte of the manifest', async () => {
    const random = new Random();
    const bytes = readFileSync(join(to.data, 'backup.json'));
    console.log(`STELE_SEED=${random.seed}`);
    for (let i = 0; i < 60; i++) {
      const copy = copyOf(to['vault-keys']);
      const own = readFileSync(join(copy, 'backup.json'));
      const at = random.int(0, own.length);
      own[at] = (own[at] ?? 0) ^ (1 << random.int(0, 8));
      writeFileSync(join(copy, 'backup.json'), own);
      await expect(heldTo(copy)).rejects.toThrow();
    }
    expect(bytes.length).toBeGreaterThan(0);
  });
});

/** Rejects unless the manifest is read and names just what is there. Some members are words about it. */
async function heldTo(folder: string): Promise<void> {
  const manifest = await readManifest(folder);
  const known = await readManifest(to['vault-keys']);
  const { findings } = await verifyPart(folder, manifest, watching);
  if (findings.length > 0) throw new Error('it does not hold');
  const { version, time, id } = manifest;
  if (version !== known.version || time !== known.time || id !== known.id) throw new Error('words');
}

describe('a restore', () => {
  test('puts back what there was, in a place that is its own', async () => {
    const folder = makeFolder();
    const data = join(folder, 'data');
    const { findings, manifest } = await restoreBackup({ ...watching, from: to, data });
    expect(findings).toEqual([]);
    expect(manifest.logs).toHaveLength(3);
    expect(readdirSync(data).sort()).toEqual(
      [
        'keys',
        'logs',
        'stele.db',
        'stele.yaml',
        'tokens',
        'trust.json',
        'vault',
        'vault-keys',
      ].sort(),
    );
    for (const path of ['keys/operator.pem', 'tokens/admin', 'trust.json']) {
      expect(readFileSync(join(data, path))).toEqual(readFileSync(join(made.data, path)));
    }
    const instance = new InstanceStore(join(data, 'stele.db'));
    checkPlace(instance);
    instance.close();
    const opened = await openData(folder);
    try {
      await opened.logs.use('default', (log) => {
        expect(log.head().size).toBe(305);
        expect(log.stopped).toBeUndefined();
      });
      const vault = await opened.vaults.get('default');
      for (const { recordId, bodies } of made.drafts) {
        const key = { source: 'gateway', recordId };
        const { chunks } = await vault.body(key, 'request.body');
        const parts: Uint8Array[] = [];
        for await (const chunk of chunks) parts.push(chunk);
        expect(Buffer.concat(parts).equals(bodies[0]?.bytes ?? new Uint8Array())).toBe(true);
      }
    } finally {
      await opened.close();
    }
  });

  test('goes into a new or an empty folder, and takes each part for what it is', async () => {
    const from = { data: to.data };
    await expect(restoreBackup({ ...watching, from, data: made.data })).rejects.toMatchObject({
      code: 'conflict',
    });
    const data = join(makeFolder(), 'data');
    for (const wrong of [
      { data: to.keys },
      { data: to.data, keys: to['vault-keys'] },
      { data: to.data, 'vault-keys': to.keys },
    ]) {
      await expect(restoreBackup({ ...watching, from: wrong, data })).rejects.toThrow(
        /it is the part/,
      );
    }
    await expect(
      restoreBackup({ ...watching, from, data: join(to.data, 'restored') }),
    ).rejects.toMatchObject({ code: 'conflict' });
    expect(existsSync(data)).toBe(false);
  });

  test('that was cut short leaves nothing that starts', async () => {
    for (const at of ['logs/default.db', 'keys/operator.pem', 'vault-keys/default.db']) {
      const folder = makeFolder();
      const data = join(folder, 'data');
      const interrupt = new AbortController();
      const progress = (line: string) => {
        if (existsSync(data) && line === at) interrupt.abort();
      };
      await expect(
        restoreBackup({ from: to, data, progress, signal: interrupt.signal }),
      ).rejects.toThrow(/is no data folder yet/);
      await expect(openData(folder)).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining('is not complete'),
      });
    }
  });

  test('without its vault’s keys begins no new ones', async () => {
    const folder = makeFolder();
    const { keys, data } = to;
    await restoreBackup({ ...watching, from: { data, keys }, data: join(folder, 'data') });
    const opened = await openData(folder);
    try {
      await expect(opened.vaults.get('default')).rejects.toMatchObject({
        code: 'storage',
        message: expect.stringContaining('bring vault-keys/ back'),
      });
    } finally {
      await opened.close();
    }
    cpSync(join(to['vault-keys'], 'vault-keys'), join(folder, 'data', 'vault-keys'), {
      recursive: true,
    });
    const again = await openData(folder);
    const vault = await again.vaults.get('default');
    const [draft] = made.drafts;
    const key = { source: 'gateway', recordId: draft?.recordId ?? '' };
    expect(await vault.fields(key)).toHaveLength(1);
    await again.close();
  });
});
