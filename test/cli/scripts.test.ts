/** Runs every script of `test/scripts`; the format is described in `script.ts`. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startersOf } from '../../server/main.ts';
import { matches, parseScript, Shell } from './script.ts';
import { startUpstream, type Upstream } from './upstream.ts';

const SCRIPTS = fileURLToPath(new URL('../scripts/', import.meta.url));

let upstream: Upstream;
beforeAll(async () => {
  upstream = await startUpstream();
});
afterAll(() => upstream.close());

const scripts = readdirSync(SCRIPTS)
  .filter((file) => file.endsWith('.txt'))
  .map((file) => ({ file, ...parseScript(readFileSync(join(SCRIPTS, file), 'utf8')) }));

test.for(scripts)('$file: $title', async ({ file, steps }) => {
  const cwd = mkdtempSync(join(tmpdir(), 'stele-script-'));
  const env = {
    STELE_STATE: join(cwd, 'state'),
    STELE_LISTEN: '127.0.0.1:0',
    STELE_PROXY_LISTEN: '127.0.0.1:0',
    STELE_UPSTREAM_OPENAI: upstream.url,
    STELE_LOG_LEVEL: 'silent',
    STELE_VERIFY_THREADS: '1',
  };
  const fatal = (error: Error) => {
    throw error;
  };
  const shell = new Shell(cwd, env, startersOf({ version: '0.0.0-test', fatal }));
  try {
    expect(steps.length).toBeGreaterThan(0);
    for (const step of steps) {
      const { status, output } = await shell.run(step.command);
      const lines = output
        .replaceAll(cwd, 'DIR')
        .replace(/^\n+|\n+$/g, '')
        .split('\n');
      const said = lines.length === 1 && lines[0] === '' ? [] : lines.map((l) => l.trimEnd());
      const where = `${file}:${step.line}: $ ${step.command}`;
      if (!matches(step.expected, said)) expect(said, where).toEqual(step.expected);
      expect(status, `${where}: status`).toBe(step.status);
    }
  } finally {
    await shell.close();
    rmSync(cwd, { recursive: true });
  }
});
