/** The command line as a whole: help, statuses, and the Node that it wants. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { EXIT, exitOf, Unusable } from '../../server/cli/exit.ts';
import { COMMAND_NAMES, runCli } from '../../server/cli/program.ts';
import { lineOf, table, voiceOf, type World } from '../../server/cli/terminal.ts';
import { CODES, SteleError } from '../../server/core/errors.ts';
import { startersOf } from '../../server/main.ts';

/** A world that keeps what is said. */
function world(isTerminal = false): World & { readonly said: () => string } {
  const said: string[] = [];
  const say = (text: string | Uint8Array) => void said.push(String(text));
  return {
    env: {},
    cwd: '/nowhere',
    isTerminal,
    out: say,
    err: say,
    stdin: async function* () {},
    now: () => 0,
    interrupted: new AbortController().signal,
    said: () => said.join(''),
  };
}

const starters = startersOf({
  version: '1.2.3',
  fatal: (error) => {
    throw error;
  },
});

async function run(...argv: readonly string[]) {
  const here = world();
  return { status: await runCli(argv, here, starters), said: here.said() };
}

describe('help', () => {
  test.for(COMMAND_NAMES)('of %s has an example, and so have its parts', async (name) => {
    const { status, said } = await run(name, '--help');
    expect(status).toBe(0);
    expect(said).toContain(`Usage: stele ${name}`);
    expect(said).toMatch(/\nExample:\n {2}\$ (.+ \| )?stele /);
    const parts = [...(said.split('\nCommands:\n')[1] ?? '').matchAll(/^ {2}([a-z]+) /gm)];
    for (const [, part] of parts.filter(([, p]) => p !== 'help')) {
      const inner = await run(name, part ?? '', '--help');
      expect(inner.said, `${name} ${part}`).toMatch(/\nExample:\n {2}\$ stele /);
      expect(inner.said, `${name} ${part}`).toContain('--json');
    }
    const runsUntilStopped = ['up', 'serve', 'proxy'].includes(name);
    if (parts.length === 0 && !runsUntilStopped) expect(said).toContain('--json');
  });

  test('names every command, and is what one gets who says nothing', async () => {
    const { status, said } = await run();
    expect(status).toBe(0);
    for (const name of COMMAND_NAMES) expect(said).toMatch(new RegExp(`^ {2}${name} `, 'm'));
    expect((await run('help', 'audit')).said).toContain('Usage: stele audit');
    expect((await run('--version')).said).toBe('1.2.3\n');
  });
});

describe('statuses', () => {
  test('0 holds, 1 does not hold, 2 could not tell', () => {
    expect(CODES.filter((code) => EXIT[code] === 1)).toEqual([
      'malformed',
      'conflict',
      'too_large',
      'unverified',
      'split_view',
    ]);
    expect(CODES.filter((code) => (EXIT[code] as number) === 0)).toEqual([]);
    expect(exitOf(new Unusable('no'))).toBe(2);
    expect(exitOf(new TypeError('ours'))).toBe(2);
  });

  test.for([
    [['nothing']],
    [['verify']],
    [['verify', 'a', 'b', '--trust', 'c']],
    [['audit', '--nothing']],
    [['token', 'create', '--holder', 'x', '--role', 'king']],
    [['receipt', '1', '--wait', '21', '--server', 'http://127.0.0.1:1']],
  ])('a command line that cannot be used: %s', async ([argv]) => {
    const { status, said } = await run(...(argv ?? []));
    expect(status).toBe(2);
    expect(said).toMatch(/^stele: /);
  });

  test('with --json an error is JSON too', async () => {
    const { status, said } = await run('get', '0', '--server', 'http://127.0.0.1:1', '--json');
    expect(status).toBe(2);
    const [json, line] = said.split('\n');
    expect(JSON.parse(json ?? '')).toMatchObject({ error: { code: 'storage' } });
    expect(line).toMatch(/^stele: 127\.0\.0\.1:1: /);
  });
});

describe('what is said', () => {
  test('an error is one line, whatever a server put into it', () => {
    const error = new SteleError('not_found', 'no\n\u001b[31mred\u202e text', { retryAfterS: 3 });
    expect(lineOf(error)).toBe('no [31mred text (again in 3 s)');
  });

  test('a line shows what would move the cursor or turn text around', () => {
    const here = world();
    voiceOf(here, false).say('a\u001b[2Jb\u202ec\td\ne');
    expect(here.said()).toBe('a\uFFFD[2Jb\uFFFDc\td\uFFFDe\n');
  });

  test('columns are aligned, and the last is left alone', () => {
    expect(
      table([
        ['a', 'bbb', 'c'],
        ['dddd', 'e', 'ffff'],
        ['g', 'h', ''],
      ]),
    ).toEqual(['a     bbb  c', 'dddd  e    ffff', 'g     h']);
  });

  test('progress is for terminals only, and leaves no trace', () => {
    const pipe = world();
    voiceOf(pipe, false).progress('50 %');
    expect(pipe.said()).toBe('');
    const terminal = world(true);
    const voice = voiceOf(terminal, false);
    voice.progress('50 %');
    voice.progress('9 %');
    voice.say('done');
    expect(terminal.said()).toBe('\r50 %\r9 % \r   \rdone\n');
  });
});

describe('the Node it wants', () => {
  const STELE = fileURLToPath(new URL('../../server/cli/stele.js', import.meta.url));
  const manifest = JSON.parse(
    readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8'),
  ) as { engines: { node: string }; bin: { stele: string } };

  /** `stele --version` under a Node that says it is another. */
  function pretending(version: string): Promise<{ code: number; said: string }> {
    const source = `Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
    const preload = `data:text/javascript,${encodeURIComponent(source)}`;
    const args = ['--import', preload, STELE, '--version'];
    return new Promise((resolve) => {
      execFile(process.execPath, args, (error, out, err) => {
        resolve({ code: Number(error?.code ?? 0), said: out + err });
      });
    });
  }

  test('is that of package.json', async () => {
    expect(manifest.engines.node).toBe('^22.22.2 || ^24.15.0 || >=26');
    expect(manifest.bin.stele).toBe('server/cli/stele.js');
    const good = ['22.22.2', '22.23.0', '24.15.0', '24.21.0', '26.0.0', '27.1.0'];
    const old = ['18.0.0', '20.20.2', '22.22.1', '23.11.0', '24.14.9', '25.9.0'];
    for (const version of good) {
      expect((await pretending(version)).code, version).toBe(0);
    }
    for (const version of old) {
      const { code, said } = await pretending(version);
      expect(code, version).toBe(2);
      expect(said).toMatch(new RegExp(`^stele: this is Node ${version}, and Stele needs .+\n$`));
    }
  });
});
